//! Values that are read often and replaced seldom: a [`Live`] value.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// A value that all threads read, and that a reload replaces as a whole.
///
/// Reading waits for nobody, and writes to no memory that other threads read. It is cheap enough for each command of a
/// client, and not meant for each delivery.
pub struct Live<T>(ArcSwap<T>);

impl<T> Live<T> {
    /// Makes a value that can be replaced.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(ArcSwap::from_pointee(value))
    }

    /// Returns the value for a short time: for one statement, or a function that does not wait.
    pub fn read(&self) -> impl Deref<Target = Arc<T>> + use<T> {
        self.0.load()
    }

    /// Returns the value for as long as it is needed. It stays the same although it may be replaced meanwhile.
    #[must_use]
    pub fn share(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces the value for all who read it from now on.
    pub fn replace(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.load().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_the_new_value_and_who_shares_the_old_one_keeps_it() {
        let live = Live::new(1);
        let shared = live.share();
        live.replace(2);
        assert_eq!((*shared, **live.read()), (1, 2));
    }
}
