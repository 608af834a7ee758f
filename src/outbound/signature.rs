//! Signs requests as Standard Webhooks are signed, for which receivers have libraries. Also names and spreads texts in
//! ways that nobody outside can foresee or undo.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};

use crate::config::Secret;

/// The secrets that sign a receiver's requests. While secrets are being exchanged there are several, and all sign.
pub struct Signer {
    keys: Vec<hmac::Key>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({} keys)", self.keys.len())
    }
}

impl Signer {
    /// Makes a signer. The configuration has checked the secrets.
    #[must_use]
    pub fn new(secrets: &[Secret]) -> Self {
        let keys = secrets.iter().filter_map(Secret::signing_key);
        Self { keys: keys.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key)).collect() }
    }

    /// Returns the headers of a request that is sent at `unix_s`, in seconds since the Unix epoch. The signature holds
    /// for some minutes, so each attempt needs a new one; `id` is the same in all of them.
    #[must_use]
    pub fn headers(&self, id: &str, unix_s: u64, body: &[u8]) -> Vec<(String, String)> {
        let signatures: Vec<String> = self.keys.iter().map(|key| sign(key, id, unix_s, body)).collect();
        vec![
            ("content-type".into(), "application/json".into()),
            ("webhook-id".into(), id.into()),
            ("webhook-timestamp".into(), unix_s.to_string()),
            ("webhook-signature".into(), signatures.join(" ")),
        ]
    }
}

fn sign(key: &hmac::Key, id: &str, unix_s: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{id}.{unix_s}.").as_bytes());
    context.update(body);
    format!("v1,{}", STANDARD.encode(context.sign()))
}

/// Returns 32 hexadecimal digits that stand for a text and do not tell it.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Spreads texts evenly, always in the same way for the same key.
#[derive(Debug)]
pub struct Spread(hmac::Key);

impl Spread {
    /// Makes it from a key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Returns a number that is as good as random, the same for the same text.
    #[must_use]
    pub fn number(&self, text: &str) -> u64 {
        let tag = hmac::sign(&self.0, text.as_bytes());
        tag.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification and of its libraries' tests.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn signature(secrets: &[&str]) -> String {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(*text)).collect();
        let headers = Signer::new(&secrets).headers(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        headers.into_iter().find(|(name, _)| name == "webhook-signature").unwrap().1
    }

    #[test]
    fn the_public_vector_is_signed_as_published() {
        assert_eq!(signature(&[SECRET]), SIGNATURE);
    }

    #[test]
    fn texts_are_named_and_spread_as_ever() {
        // The first half of the published digest of "abc", and the beginning of a published code (RFC 4231, case 2).
        assert_eq!(fingerprint("abc"), "ba7816bf8f01cfea414140de5dae2223");
        assert_eq!(Spread::new(b"Jefe").number("what do ya want for nothing?"), 0x5bdc_c146_bf60_754e);
    }

    #[test]
    fn every_secret_signs_in_its_order() {
        let other = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
        assert_eq!(signature(&[other, SECRET]), format!("{} {SIGNATURE}", signature(&[other])));
        assert_ne!(signature(&[other]), SIGNATURE);
    }
}
