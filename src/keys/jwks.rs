//! JSON Web Key Sets (RFC 7517): the public keys of an issuer of tokens, of which a token names one.
//!
//! Keys of another algorithm than the configured one are left out, symmetric ones above all: a set never decides how a
//! token is verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::{BigUint, RsaPublicKey};
use serde::Deserialize;
use simd_json::Buffers;
use thiserror::Error;

use super::{Algorithm, PublicKey};

/// Most bytes of a set.
pub(crate) const MAX_BYTES: usize = 256 * 1024;
/// Most keys of a set, those that are left out included.
const MAX_KEYS: usize = 64;
/// Deepest nesting. A key may have a list of certificates; nothing of a set is deeper.
const MAX_DEPTH: usize = 16;

/// Why a set cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeySetError {
    /// It is no JSON object with a list `keys`, or a field of a key has the wrong type.
    #[error("is not a JSON Web Key Set: an object with a list 'keys'")]
    Malformed,
    /// It has more than 256 KiB.
    #[error("has more than {} KiB", MAX_BYTES / 1024)]
    TooLong,
    /// It has more than 64 keys.
    #[error("has more than {MAX_KEYS} keys")]
    TooMany,
    /// No key is for the configured algorithm.
    #[error("has no key for auth.algorithm")]
    NoKey,
}

/// Public keys of one algorithm, with their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    /// At least one. A key without a name can only be used alone.
    pub keys: Box<[(Option<Box<str>>, PublicKey)]>,
}

#[derive(Deserialize)]
struct WireSet {
    keys: Vec<WireKey>,
}

#[derive(Deserialize)]
struct WireKey {
    kty: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(default)]
    crv: Option<String>,
    #[serde(default)]
    n: Option<String>,
    #[serde(default)]
    e: Option<String>,
    #[serde(default)]
    x: Option<String>,
    #[serde(default)]
    y: Option<String>,
}

impl KeySet {
    /// Parses a set, and keeps the keys that are for `algorithm`, meant for signatures, and safe.
    ///
    /// # Errors
    /// The set cannot be used; the text completes a sentence that begins with "the set".
    pub fn parse(algorithm: Algorithm, text: &str) -> Result<Self, KeySetError> {
        if text.len() > MAX_BYTES {
            return Err(KeySetError::TooLong);
        }
        // The parser would take a list for an object.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(KeySetError::Malformed);
        }
        let mut bytes = text.as_bytes().to_vec();
        let mut buffers = Buffers::with_max_depth(bytes.len(), MAX_DEPTH);
        let set: WireSet = simd_json::serde::from_slice_with_buffers(&mut bytes, &mut buffers)
            .map_err(|_| KeySetError::Malformed)?;
        if set.keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let usable = set.keys.into_iter().filter_map(|key| {
            let public = key.public(algorithm)?;
            Some((key.kid.map(String::into_boxed_str), public))
        });
        let keys: Box<[_]> = usable.collect();
        if keys.is_empty() { Err(KeySetError::NoKey) } else { Ok(Self { keys }) }
    }
}

impl WireKey {
    /// Returns the key, if it is one for this algorithm.
    fn public(&self, algorithm: Algorithm) -> Option<PublicKey> {
        let name = Algorithm::ALL.iter().find(|(_, known)| *known == algorithm).map(|(name, _)| *name);
        if self.usage.as_deref().is_some_and(|usage| usage != "sig")
            || self.alg.is_some() && self.alg.as_deref() != name
        {
            return None;
        }
        let bytes = |field: &Option<String>| URL_SAFE_NO_PAD.decode(field.as_deref()?).ok();
        let curve = self.crv.as_deref();
        match (algorithm, self.kty.as_str()) {
            (Algorithm::Rs256, "RSA") => {
                let (n, e) =
                    (BigUint::from_bytes_be(&bytes(&self.n)?), BigUint::from_bytes_be(&bytes(&self.e)?));
                let key = RsaPublicKey::new(n, e).ok()?;
                PublicKey::of_rsa_numbers(key.to_pkcs1_der().ok()?.as_bytes()).ok()
            }
            (Algorithm::Es256, "EC") if curve == Some("P-256") => {
                let (x, y) = (bytes(&self.x)?, bytes(&self.y)?);
                let is_whole = x.len() == 32 && y.len() == 32;
                is_whole.then(|| PublicKey::of_p256_point(&[&[4], &x[..], &y[..]].concat()).ok())?
            }
            (Algorithm::EdDsa, "OKP") if curve == Some("Ed25519") => {
                PublicKey::of_ed25519(&bytes(&self.x)?).ok()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ES256: &str = include_str!("../../tests/keys/TEST-ONLY-es256.public.pem");
    const EDDSA: &str = include_str!("../../tests/keys/TEST-ONLY-eddsa.public.pem");
    const RS256: &str = include_str!("../../tests/keys/TEST-ONLY-rs256.public.pem");
    const SHORT: &str = include_str!("../../tests/keys/TEST-ONLY-rsa-of-1024-bits.public.pem");

    /// Returns a key as an issuer writes it.
    fn jwk(algorithm: Algorithm, pem: &str) -> String {
        use rsa::pkcs8::DecodePublicKey as _;
        use rsa::traits::PublicKeyParts as _;
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match algorithm {
            Algorithm::Rs256 => {
                let key = RsaPublicKey::from_public_key_pem(pem).unwrap();
                let (n, e) = (text(&key.n().to_bytes_be()), text(&key.e().to_bytes_be()));
                format!(r#""kty":"RSA","n":"{n}","e":"{e}""#)
            }
            _ => match PublicKey::parse(algorithm, pem).unwrap() {
                PublicKey::P256(point) => {
                    let (x, y) = (text(&point[1..33]), text(&point[33..]));
                    format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#)
                }
                PublicKey::Ed25519(key) => format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, text(&key)),
                PublicKey::Rsa(_) => unreachable!("handled above"),
            },
        }
    }

    fn set(keys: &[String]) -> String {
        let keys: Vec<String> = keys.iter().map(|key| format!("{{{key}}}")).collect();
        format!(r#"{{"else":[1],"keys":[{}]}}"#, keys.join(","))
    }

    #[test]
    fn each_algorithm_finds_its_own_keys_and_no_others() {
        let all = [(Algorithm::Rs256, RS256), (Algorithm::Es256, ES256), (Algorithm::EdDsa, EDDSA)];
        let oct = r#""kty":"oct","kid":"RS256","k":"c2VjcmV0","alg":"HS256""#.to_owned();
        let text = set(&[
            oct,
            format!(r#""kid":"a",{}"#, jwk(Algorithm::Rs256, RS256)),
            format!(r#""kid":"b","use":"sig","alg":"ES256",{}"#, jwk(Algorithm::Es256, ES256)),
            jwk(Algorithm::EdDsa, EDDSA),
            r#""kty":"EC","crv":"P-384","x":"","y":"""#.to_owned(),
        ]);
        for ((algorithm, pem), kid) in all.into_iter().zip([Some("a"), Some("b"), None]) {
            let found = KeySet::parse(algorithm, &text).unwrap().keys;
            let key = PublicKey::parse(algorithm, pem).unwrap();
            assert_eq!(*found, [(kid.map(Box::from), key)], "{algorithm:?}");
        }
        assert_eq!(KeySet::parse(Algorithm::Hs256, &text), Err(KeySetError::NoKey));
    }

    #[test]
    fn keys_that_are_not_for_signatures_or_not_safe_are_left_out() {
        let good = jwk(Algorithm::Es256, ES256);
        for bad in [
            format!(r#""use":"enc",{good}"#),
            format!(r#""alg":"ES384",{good}"#),
            jwk(Algorithm::Rs256, SHORT),
            r#""kty":"EC","crv":"P-256","x":"AA","y":"AA""#.to_owned(),
            r#""kty":"RSA","n":"!","e":"AQAB""#.to_owned(),
        ] {
            let found = [Algorithm::Rs256, Algorithm::Es256]
                .map(|all| KeySet::parse(all, &set(std::slice::from_ref(&bad))));
            assert_eq!(found, [Err(KeySetError::NoKey), Err(KeySetError::NoKey)], "{bad}");
        }
    }

    #[test]
    fn a_set_has_bounds() {
        let good = jwk(Algorithm::Es256, ES256);
        let parse = |text: &str| KeySet::parse(Algorithm::Es256, text).map(|set| set.keys.len());
        assert_eq!(parse(&set(&vec![good.clone(); 64])), Ok(64));
        assert_eq!(parse(&set(&vec![good.clone(); 65])), Err(KeySetError::TooMany));
        assert_eq!(parse(&" ".repeat(MAX_BYTES + 1)), Err(KeySetError::TooLong));
        let deep = format!(r#"{{"x":{}1{},"keys":[]}}"#, "[".repeat(100), "]".repeat(100));
        for malformed in
            ["", "[]", "{}", "null", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, r#"{"keys":[{}]}"#, &deep]
        {
            assert_eq!(parse(malformed), Err(KeySetError::Malformed), "{malformed:.80}");
        }
    }
}
