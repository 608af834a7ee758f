//! Compresses and decompresses whole messages for the extension permessage-deflate (RFC 7692, section 7.2), each by
//! itself: nothing of one message is kept for the next. It knows neither frames nor connections. Files for browsers are
//! compressed here, too.

mod deflater;
mod file;
mod inflater;

pub use self::deflater::Deflater;
pub use self::file::gzip;
pub use self::inflater::{InflateError, Inflater};

/// The end of every flush of a deflate stream, an empty block without compression. A sender leaves it out, and a
/// receiver appends it (RFC 7692, sections 7.2.1 and 7.2.2).
const FLUSH_END: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

#[cfg(test)]
mod tests;
