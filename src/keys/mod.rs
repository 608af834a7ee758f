//! Parses the public keys that tokens are verified with, and checks that a key fits its algorithm and is safe to use.
//!
//! Both the configuration and the verifier of tokens need this. The configuration parses the key while it is loaded, so
//! that a bad key is reported with the other mistakes instead of leaving a server that refuses every token.

pub(crate) mod jwks;

use ed25519_dalek::VerifyingKey;
use rsa::RsaPublicKey;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::pkcs8::{Document, ObjectIdentifier, SubjectPublicKeyInfoRef};
use rsa::traits::PublicKeyParts as _;
use thiserror::Error;

/// Length of the shortest RSA key that is accepted, in bits (RFC 7518, section 3.3).
const LEAST_RSA_BITS: usize = 2048;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A signature algorithm of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256, which signs and verifies with one secret.
    Hs256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// EdDSA with Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm with its name (RFC 7518, section 3.1; RFC 8037, section 3.1).
    pub const ALL: &'static [(&'static str, Self)] =
        &[("HS256", Self::Hs256), ("RS256", Self::Rs256), ("ES256", Self::Es256), ("EdDSA", Self::EdDsa)];
}

/// A public key that has been checked for its algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// A key for RS256: `RSAPublicKey` in DER (RFC 8017, appendix A.1.1), 2,048 to 4,096 bits.
    Rsa(Box<[u8]>),
    /// A key for ES256: a point of the curve in the encoding of SEC 1.
    P256(Box<[u8]>),
    /// A key for EdDSA: a compressed point of the curve.
    Ed25519([u8; 32]),
}

/// The reason for which a key is refused. No variant carries a part of the text: it may be a private key by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The text is not PEM, or not a `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
    #[error("is not a public key in PEM: it is damaged or cut off")]
    Malformed,
    /// The PEM holds something else: a private key or a certificate, for example.
    #[error("is not a public key: what stands there is of another kind")]
    Label,
    /// The secret of HS256 is empty, so that anybody could sign with it.
    #[error("the secret is empty")]
    EmptySecret,
    /// HS256 is configured, which uses a secret and no public key.
    #[error("HS256 takes no public key")]
    Symmetric,
    /// The key belongs to another algorithm than the configured one.
    #[error("is {found}, but auth.algorithm {algorithm} takes {wanted}")]
    OtherKind {
        /// The kind of the given key.
        found: &'static str,
        /// The configured algorithm.
        algorithm: &'static str,
        /// The kind of key that the algorithm needs.
        wanted: &'static str,
    },
    /// An RSA key is too short to be safe, or longer than is supported.
    #[error(
        "has {bits} bits, RS256 takes {LEAST_RSA_BITS} (RFC 7518, section 3.3) to {}",
        RsaPublicKey::MAX_SIZE
    )]
    RsaBits {
        /// The length of the key's modulus.
        bits: usize,
    },
    /// The numbers in the key do not form a key of its kind.
    #[error("is not a valid key of its kind")]
    Invalid,
    /// An Ed25519 key is a point of small order, for which anybody can make signatures.
    #[error("is a weak key: anybody can sign for it")]
    Weak,
}

impl PublicKey {
    /// Parses a key for `algorithm` from PEM (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// The first problem that was found; its text completes a sentence that begins with "the key".
    pub fn parse(algorithm: Algorithm, pem: &str) -> Result<Self, KeyError> {
        let (label, document) = Document::from_pem(pem.trim()).map_err(|_| KeyError::Malformed)?;
        if label != "PUBLIC KEY" {
            return Err(KeyError::Label);
        }
        let info: SubjectPublicKeyInfoRef<'_> = document.decode_msg().map_err(|_| KeyError::Malformed)?;
        let curve = info.algorithm.parameters_oid().ok();
        let key = info.subject_public_key.as_bytes().ok_or(KeyError::Malformed)?;
        match (algorithm, info.algorithm.oid) {
            (Algorithm::Hs256, _) => Err(KeyError::Symmetric),
            (Algorithm::Rs256, RSA) => Self::of_rsa_numbers(key),
            (Algorithm::Es256, EC) if curve == Some(P256) => Self::of_p256_point(key),
            (Algorithm::EdDsa, ED25519) => Self::of_ed25519(key),
            (algorithm, oid) => Err(other_kind(algorithm, oid, curve)),
        }
    }

    /// Checks `RSAPublicKey` in DER.
    fn of_rsa_numbers(der: &[u8]) -> Result<Self, KeyError> {
        check_rsa(der)?;
        Ok(Self::Rsa(der.into()))
    }

    /// Checks a point in the encoding of SEC 1.
    fn of_p256_point(point: &[u8]) -> Result<Self, KeyError> {
        p256::PublicKey::from_sec1_bytes(point).map_err(|_| KeyError::Invalid)?;
        Ok(Self::P256(point.into()))
    }

    /// Checks a compressed point of Ed25519.
    fn of_ed25519(point: &[u8]) -> Result<Self, KeyError> {
        let bytes = point.try_into().map_err(|_| KeyError::Invalid)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Invalid)?;
        if key.is_weak() { Err(KeyError::Weak) } else { Ok(Self::Ed25519(bytes)) }
    }
}

fn check_rsa(der: &[u8]) -> Result<(), KeyError> {
    // The length is checked first and by hand: the library's own limit would only say that the key is invalid.
    let numbers = rsa::pkcs1::RsaPublicKey::try_from(der).map_err(|_| KeyError::Invalid)?;
    let modulus = numbers.modulus.as_bytes();
    let leading = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = modulus.len() * 8 - leading;
    if !(LEAST_RSA_BITS..=RsaPublicKey::MAX_SIZE).contains(&bits) {
        return Err(KeyError::RsaBits { bits });
    }
    let key = RsaPublicKey::from_pkcs1_der(der).map_err(|_| KeyError::Invalid)?;
    debug_assert_eq!(key.n().bits(), bits, "both ways of counting agree");
    Ok(())
}

fn other_kind(algorithm: Algorithm, oid: ObjectIdentifier, curve: Option<ObjectIdentifier>) -> KeyError {
    let found = match oid {
        RSA => "an RSA key",
        EC if curve == Some(P256) => "an EC key on the curve P-256",
        EC => "an EC key on another curve than P-256",
        ED25519 => "an Ed25519 key",
        _ => "a key of an unknown kind",
    };
    let (algorithm, wanted) = match algorithm {
        Algorithm::Hs256 => return KeyError::Symmetric,
        Algorithm::Rs256 => ("RS256", "an RSA key"),
        Algorithm::Es256 => ("ES256", "an EC key on the curve P-256"),
        Algorithm::EdDsa => ("EdDSA", "an Ed25519 key"),
    };
    KeyError::OtherKind { found, algorithm, wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RS256: &str = include_str!("../../tests/keys/TEST-ONLY-rs256.public.pem");
    const ES256: &str = include_str!("../../tests/keys/TEST-ONLY-es256.public.pem");
    const EDDSA: &str = include_str!("../../tests/keys/TEST-ONLY-eddsa.public.pem");
    const ES384: &str = include_str!("../../tests/keys/TEST-ONLY-es384.public.pem");
    const ED448: &str = include_str!("../../tests/keys/TEST-ONLY-ed448.public.pem");
    const SHORT: &str = include_str!("../../tests/keys/TEST-ONLY-rsa-of-1024-bits.public.pem");
    const PRIVATE: &str = include_str!("../../tests/keys/TEST-ONLY-es256.private.pem");

    #[test]
    fn each_algorithm_takes_its_own_kind_and_no_other() {
        let own = [(Algorithm::Rs256, RS256), (Algorithm::Es256, ES256), (Algorithm::EdDsa, EDDSA)];
        for (algorithm, _) in own {
            for (fitting, pem) in own {
                let key = PublicKey::parse(algorithm, pem);
                assert_eq!(key.is_ok(), algorithm == fitting, "{algorithm:?}, key of {fitting:?}: {key:?}");
            }
        }
        // Blanks around a key and the line ends of another system are accepted.
        let windows = format!("\n{}  \n", ES256.replace('\n', "\r\n"));
        assert!(PublicKey::parse(Algorithm::Es256, &windows).is_ok());
        assert_eq!(PublicKey::parse(Algorithm::Hs256, ES256), Err(KeyError::Symmetric));
    }

    #[test]
    fn each_error_names_its_cause() {
        for (algorithm, pem, said) in [
            (Algorithm::Rs256, SHORT, "has 1024 bits"),
            (
                Algorithm::Rs256,
                ES256,
                "is an EC key on the curve P-256, but auth.algorithm RS256 takes an RSA",
            ),
            (Algorithm::Es256, ES384, "is an EC key on another curve than P-256"),
            (Algorithm::EdDsa, ED448, "is a key of an unknown kind"),
            (Algorithm::EdDsa, RS256, "is an RSA key"),
            (Algorithm::Es256, PRIVATE, "is not a public key:"),
            (Algorithm::Es256, "", "damaged or cut off"),
            (Algorithm::Es256, "-----BEGIN PUBLIC KEY-----", "damaged or cut off"),
            (Algorithm::Es256, &ES256[..ES256.len() / 2], "damaged or cut off"),
            (Algorithm::Es256, &ES256.replacen("MFk", "MFj", 1), "damaged or cut off"),
        ] {
            let error = PublicKey::parse(algorithm, pem).unwrap_err().to_string();
            assert!(error.contains(said), "{algorithm:?}: {error}, not {said:?}");
        }
    }

    /// Writes a key in PEM from its ASN.1 header and the contents of its bit string.
    fn pem(header: &[u8], key: &[u8]) -> String {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode([header, key].concat());
        let lines: Vec<&str> =
            body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    #[test]
    fn numbers_that_are_no_safe_key_are_refused() {
        let ed25519 = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        // The neutral element: every signature with R = S·B fits it, whatever the message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(PublicKey::parse(Algorithm::EdDsa, &pem(&ed25519, &neutral)), Err(KeyError::Weak));
        let mut no_point = [0; 32];
        no_point[0] = 2;
        assert_eq!(PublicKey::parse(Algorithm::EdDsa, &pem(&ed25519, &no_point)), Err(KeyError::Invalid));
        let p256 = [
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
            0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let mut beside_the_curve = [1; 65];
        beside_the_curve[0] = 4;
        let error = PublicKey::parse(Algorithm::Es256, &pem(&p256, &beside_the_curve));
        assert_eq!(error, Err(KeyError::Invalid));
    }
}
