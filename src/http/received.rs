//! The body of a request, read whole, within a bound in bytes and one in time.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

/// The body of a request that has not been read yet.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    patience: Duration,
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// It has more bytes than allowed.
    TooLarge,
    /// It did not arrive in time.
    Timeout,
    /// The connection failed, or the body's form is wrong: no answer arrives.
    Lost,
}

impl RequestBody {
    /// Wraps a body that has to arrive within `patience`.
    pub(super) fn new(incoming: Incoming, patience: Duration) -> Self {
        Self { incoming, patience }
    }

    /// Reads the body, of at most `max` bytes. One that announces more is not read.
    ///
    /// # Errors
    /// The body is too large, too slow, or lost.
    ///
    /// # Cancel safety
    /// Dropping the future loses the bytes that were read.
    pub async fn read(self, max: usize) -> Result<Vec<u8>, BodyError> {
        if self.incoming.size_hint().lower() > max as u64 {
            return Err(BodyError::TooLarge);
        }
        let whole = timeout(self.patience, Limited::new(self.incoming, max).collect()).await;
        match whole.map_err(|_elapsed| BodyError::Timeout)? {
            Ok(whole) => Ok(whole.to_bytes().into()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(BodyError::TooLarge),
            Err(_) => Err(BodyError::Lost),
        }
    }
}
