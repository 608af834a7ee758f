//! A list that mostly has one entry, which then takes no memory outside it.

/// One entry or more.
#[derive(Debug)]
pub enum Few<T> {
    /// One entry.
    One(T),
    /// Several entries, in a box because a list is three words long.
    Many(Box<Vec<T>>),
}

impl<T> Few<T> {
    /// Returns the entries, at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(all) => all,
        }
    }

    /// Returns the entries, at least one, to be changed.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Self::One(only) => std::slice::from_mut(only),
            Self::Many(all) => all,
        }
    }

    /// Adds an entry behind the others.
    pub fn push(&mut self, new: T) {
        if let Self::Many(all) = self {
            return all.push(new);
        }
        if let Self::One(first) = std::mem::replace(self, Self::Many(Box::default())) {
            *self = Self::Many(Box::new(vec![first, new]));
        }
    }

    /// Keeps the entries for which `keep` returns true. Returns false when there would be none, and changes nothing
    /// then.
    #[must_use]
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) -> bool {
        if !self.as_slice().iter().any(&keep) {
            return false;
        }
        if let Self::Many(all) = self {
            all.retain(keep);
            if all.len() == 1
                && let Some(only) = all.pop()
            {
                *self = Self::One(only);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_and_go_and_one_always_stays() {
        let mut few = Few::One(1);
        assert!(!few.retain(|_| false) && few.retain(|entry| *entry == 1));
        (2..5).for_each(|entry| few.push(entry));
        assert_eq!(few.as_slice(), [1, 2, 3, 4]);
        assert!(!few.retain(|entry| *entry > 4));
        assert!(few.retain(|entry| entry % 2 == 0));
        few.as_mut_slice()[1] = 7;
        assert_eq!(few.as_slice(), [2, 7]);
        assert!(few.retain(|entry| *entry == 7) && matches!(few, Few::One(7)));
    }

    #[test]
    fn a_list_takes_little_memory() {
        assert_eq!(size_of::<Option<Few<u64>>>(), 16);
    }
}
