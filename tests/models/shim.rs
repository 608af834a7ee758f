//! The parts of `parking_lot` and `tokio` that the sources under test use, made of shuttle's parts, so that its
//! scheduler decides at each lock and each wait which thread goes on.

use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};

/// `parking_lot::Mutex`.
#[derive(Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

/// The guard of a [`Mutex`].
pub struct MutexGuard<'a, T>(shuttle::sync::MutexGuard<'a, T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(self.0.lock().expect("a panic ends the model"))
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

/// `tokio::sync::oneshot`.
pub mod oneshot {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::Mutex;

    #[derive(Debug)]
    struct Slot<T> {
        value: Option<T>,
        is_over: bool,
        waiting: Option<Waker>,
    }

    #[derive(Debug)]
    pub struct Sender<T>(Arc<Mutex<Slot<T>>>);
    #[derive(Debug)]
    pub struct Receiver<T>(Arc<Mutex<Slot<T>>>);
    /// The error of a receiver whose sender is gone.
    #[derive(Debug)]
    pub struct RecvError;

    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let slot = Arc::new(Mutex::new(Slot { value: None, is_over: false, waiting: None }));
        (Sender(Arc::clone(&slot)), Receiver(slot))
    }

    impl<T> Sender<T> {
        pub fn send(self, value: T) -> Result<(), T> {
            self.0.lock().value = Some(value);
            Ok(())
        }

        pub fn is_closed(&self) -> bool {
            Arc::strong_count(&self.0) == 1
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            let waiting = {
                let mut slot = self.0.lock();
                slot.is_over = true;
                slot.waiting.take()
            };
            if let Some(waker) = waiting {
                waker.wake();
            }
        }
    }

    impl<T> Receiver<T> {
        pub fn is_empty(&self) -> bool {
            self.0.lock().value.is_none()
        }

        pub fn try_recv(&mut self) -> Result<T, RecvError> {
            self.0.lock().value.take().ok_or(RecvError)
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, RecvError>;
        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let mut slot = self.0.lock();
            match (slot.value.take(), slot.is_over) {
                (Some(value), _) => Poll::Ready(Ok(value)),
                (None, true) => Poll::Ready(Err(RecvError)),
                (None, false) => {
                    slot.waiting = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        }
    }
}

/// `tokio::time`: no time passes in a model.
pub mod time {
    use std::time::Duration;

    use super::Future;

    /// Waits for the future without a limit: nothing times out.
    pub async fn timeout<F: Future>(_: Duration, future: F) -> Result<F::Output, std::convert::Infallible> {
        Ok(future.await)
    }

    /// Yields to the other threads instead of waiting.
    pub async fn sleep(_: Duration) {
        shuttle::future::yield_now().await;
    }
}
