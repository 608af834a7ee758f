//! Fuzzes the inflater of compressed messages: no payload makes more bytes than allowed, and the limit decides nothing
//! else about a message.

#![no_main]

use throng::testing::deflate::{Deflater, InflateError, Inflater};

/// The limit of the messages here, and a lower one.
const LIMITS: [usize; 2] = [64 * 1024, 1_000];

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    let mut inflater = Inflater::default();
    let [most, fewer] = LIMITS;
    let message = inflater.inflate(payload, most).map(<[u8]>::to_vec);
    assert!(message.as_ref().is_ok_and(|message| message.len() <= most) || message.is_err());
    // The state of one message is not seen in the next.
    let again = inflater.inflate(payload, fewer).map(<[u8]>::to_vec);
    match &message {
        Ok(message) if message.len() <= fewer => assert_eq!(again.as_ref(), Ok(message)),
        Ok(_) | Err(InflateError::TooLong) => assert_eq!(again, Err(InflateError::TooLong)),
        Err(InflateError::Corrupt) => assert!(again.is_err()),
    }
    // A message that was compressed comes back as it was.
    let mut deflater = Deflater::default();
    if let Some(form) = deflater.deflate(payload, payload.len()) {
        assert_eq!(inflater.inflate(form, most.max(payload.len())), Ok(payload));
    }
});
