//! What makes a token good: its signature, under one algorithm and one key, and its claims.

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use thiserror::Error;

use super::MAX_TOKEN_BYTES;
use crate::config::{self, Auth, KeyError, PublicKey};
use crate::names;

/// Why a token is not good. None of these carries the token or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Over [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not a token, an unknown algorithm (`none` is one), or a claim of the wrong type.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with another algorithm than the pinned one.
    #[error("the token's algorithm is not the configured one")]
    Algorithm,
    /// Not signed with the key that ours belongs to.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` has come.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `exp`, or a configured `aud` or `iss`, is missing.
    #[error("the token lacks a required claim")]
    MissingClaim,
    /// `aud` is not the configured audience.
    #[error("the token is for another audience")]
    Audience,
    /// `iss` is not the configured issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// `sub` is empty.
    #[error("the token names no subject")]
    Subject,
    /// The secret to sign or verify with is empty.
    #[error("the secret is empty")]
    EmptySecret,
}

impl From<JwtError> for TokenError {
    fn from(error: JwtError) -> Self {
        match error.kind() {
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Self::Algorithm,
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::NotYetValid,
            ErrorKind::MissingRequiredClaim(_) => Self::MissingClaim,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::InvalidIssuer => Self::Issuer,
            _ => Self::Malformed,
        }
    }
}

/// Who a good token says that somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user id; not empty, otherwise unchecked.
    pub sub: String,
    /// The name for people.
    pub name: Option<String>,
    /// Patterns of the rooms that may be entered; `None` is all.
    pub rooms: Option<Vec<String>>,
    /// Seconds since the Unix epoch from which on the token is no longer good.
    pub expires_at: u64,
}

impl Identity {
    /// True when the token allows the room: it has no `rooms` claim, or one of its patterns matches.
    #[must_use]
    pub fn allows(&self, room: &str) -> bool {
        self.rooms
            .as_ref()
            .is_none_or(|patterns| patterns.iter().any(|pattern| names::matches(pattern, room)))
    }
}

/// The claims we read. `exp` may have a fraction (RFC 7519 section 2).
#[derive(Deserialize)]
struct Wire {
    sub: String,
    exp: f64,
    name: Option<String>,
    rooms: Option<Vec<String>>,
}

/// What tokens are verified with: one key for one algorithm.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// HS256.
    Secret(&'a [u8]),
    /// RS256, ES256 or EdDSA, whichever it is for.
    Public(&'a PublicKey),
}

/// Tells good tokens from bad ones.
pub struct Verifier {
    key: DecodingKey,
    rules: Validation,
}

impl Verifier {
    /// Accepts the key's algorithm and nothing else. `exp` is required, `nbf` honoured, both to the second without
    /// leeway; `aud` and `iss` are required when configured and ignored otherwise.
    ///
    /// # Errors
    /// [`TokenError::EmptySecret`]: anybody could sign with it.
    pub fn new(key: Key<'_>, audience: Option<String>, issuer: Option<String>) -> Result<Self, TokenError> {
        let (algorithm, key) = match key {
            Key::Secret([]) => return Err(TokenError::EmptySecret),
            Key::Secret(secret) => (Algorithm::HS256, DecodingKey::from_secret(secret)),
            Key::Public(PublicKey::Rsa(der)) => (Algorithm::RS256, DecodingKey::from_rsa_der(der)),
            Key::Public(PublicKey::P256(point)) => (Algorithm::ES256, DecodingKey::from_ec_der(point)),
            Key::Public(PublicKey::Ed25519(key)) => (Algorithm::EdDSA, DecodingKey::from_ed_der(key)),
        };
        let mut rules = Validation::new(algorithm);
        rules.leeway = 0;
        // The library lets `exp` itself pass; RFC 7519 section 4.1.4: "on or after" is expired.
        rules.reject_tokens_expiring_in_less_than = 1;
        rules.validate_nbf = true;
        rules.validate_aud = audience.is_some();
        // A configured claim that is absent is not checked by the library unless it is required too.
        if let Some(audience) = audience {
            rules.set_audience(&[audience]);
            rules.required_spec_claims.insert("aud".to_owned());
        }
        if let Some(issuer) = issuer {
            rules.set_issuer(&[issuer]);
            rules.required_spec_claims.insert("iss".to_owned());
        }
        Ok(Self { key, rules })
    }

    /// The verifier that the settings ask for; `None` where no key is set.
    ///
    /// # Errors
    /// The key is not one for `auth.algorithm`. Loading the settings has ruled that out.
    pub fn from_config(auth: &Auth) -> Result<Option<Self>, KeyError> {
        let with = |key| Self::new(key, auth.audience.clone(), auth.issuer.clone()).ok();
        if auth.algorithm == config::Algorithm::Hs256 {
            return Ok(auth.secret.as_ref().and_then(|secret| with(Key::Secret(secret.expose()))));
        }
        let Some(pem) = &auth.public_key else { return Ok(None) };
        let key = PublicKey::parse(auth.algorithm, pem)?;
        Ok(with(Key::Public(&key)))
    }

    /// Verifies signature and claims, by the system's clock.
    ///
    /// # Errors
    /// What is wrong, for logs and metrics; the peer learns only that authentication failed.
    pub fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let data = decode::<Wire>(token, &self.key, &self.rules)?;
        // RFC 7515 section 4.1.11: extensions marked critical must be understood, and we know none.
        if data.header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let Wire { sub, exp, name, rooms } = data.claims;
        if sub.is_empty() {
            return Err(TokenError::Subject);
        }
        Ok(Identity { sub, name, rooms, expires_at: exp as u64 })
    }
}

#[cfg(test)]
mod tests {
    use crate::names;

    #[test]
    fn a_pattern_matches_whole_names() {
        for (pattern, name, expected) in [
            ("lobby", "lobby", true),
            ("lobby", "lobby2", false),
            ("*", "anything", true),
            ("live-*", "live-", true),
            ("live-*", "xlive-1", false),
            ("*-live", "a-live", true),
            ("*-live", "a-live-b", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(names::matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
