//! A thread of its own for requests to other servers, so that no worker waits for TLS or for a name.

use std::io;
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

/// Most threads that resolve names at once, for which the system has no calls that do not block.
const RESOLVERS: usize = 4;

/// A thread with a runtime. It ends when its future does.
#[derive(Debug)]
pub struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Thread {
    /// Starts a thread that runs the future of `make` to its end.
    ///
    /// # Errors
    /// The thread or its runtime cannot be made.
    pub fn start<F: Future<Output = ()>>(
        name: &str,
        make: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(RESOLVERS)
            .build()?;
        let run = move || {
            runtime.block_on(make());
            // A name that is still being resolved is not waited for.
            runtime.shutdown_background();
        };
        Ok(Self(Mutex::new(Some(thread::Builder::new().name(name.into()).spawn(run)?))))
    }

    /// Waits until the thread has ended. Its future has to be told before.
    pub fn join(&self) {
        let thread = self.0.lock().take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("a thread for requests to other servers has panicked");
        }
    }
}
