//! Answers on standard output.

use std::io::{ErrorKind, Write as _};

use super::failure::{Failure, INTERNAL};

/// Writes to standard output. A reader that closes the pipe early (`| head`) is not an error.
///
/// # Errors
/// Standard output cannot be written ([`INTERNAL`]).
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error).context("cannot write to standard output");
            Err(Failure::new(INTERNAL, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
