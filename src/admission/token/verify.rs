//! What makes a token good: its signature, under one algorithm and one key, and its claims.

use std::time::Duration;

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use thiserror::Error;

use super::MAX_TOKEN_BYTES;
use super::claims::{Date, WireClaims};
use crate::config::Auth;
use crate::keys::{self, KeyError, PublicKey};
use crate::names;

/// Why a token is not good. None of these carries the token or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Over [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not a token, an unknown algorithm (`none` is one), a claim of the wrong type, or no `sub` or no `exp`.
    #[error("the token is malformed, or a claim is missing or of the wrong type")]
    Malformed,
    /// Signed with another algorithm than the pinned one.
    #[error("the token's algorithm is not the configured one")]
    Algorithm,
    /// Not signed with the key that ours belongs to.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` has come, and the leeway is over; nothing else is wrong.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is still to come, by more than the leeway; nothing else is wrong.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A configured `aud` or `iss` is missing.
    #[error("the token lacks a required claim")]
    MissingClaim,
    /// `aud` is not the configured audience.
    #[error("the token is for another audience")]
    Audience,
    /// `iss` is not the configured issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// `sub` is empty, or another than the user id that is asked for.
    #[error("the token's subject is empty, or not the user id that is asked for")]
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
    /// Milliseconds since the Unix epoch from which on the token is no longer taken: `exp` and the leeway.
    pub until_unix_ms: i64,
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

/// What tokens are verified with: one key for one algorithm.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// HS256.
    Secret(&'a [u8]),
    /// RS256, ES256 or EdDSA, whichever it is for.
    Public(&'a PublicKey),
}

/// What the claims of a good token have to be, beside the times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredClaims {
    /// What `aud` must be, or have in its list.
    pub audience: Option<String>,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// By how much the clock of whoever makes the tokens may differ from ours.
    pub leeway: Duration,
}

/// Tells good tokens from bad ones.
pub struct Verifier {
    key: DecodingKey,
    rules: Validation,
    required: RequiredClaims,
}

impl Verifier {
    /// Accepts the key's algorithm and nothing else. `exp` is required, `nbf` and `iat` are honoured where they are
    /// there, each to the millisecond and with the leeway; `aud` and `iss` are required when demanded, and otherwise
    /// only have to be of the right type.
    ///
    /// # Errors
    /// [`TokenError::EmptySecret`]: anybody could sign with it.
    pub fn new(key: Key<'_>, required: RequiredClaims) -> Result<Self, TokenError> {
        let (algorithm, key) = match key {
            Key::Secret([]) => return Err(TokenError::EmptySecret),
            Key::Secret(secret) => (Algorithm::HS256, DecodingKey::from_secret(secret)),
            Key::Public(PublicKey::Rsa(der)) => (Algorithm::RS256, DecodingKey::from_rsa_der(der)),
            Key::Public(PublicKey::P256(point)) => (Algorithm::ES256, DecodingKey::from_ec_der(point)),
            Key::Public(PublicKey::Ed25519(key)) => (Algorithm::EdDSA, DecodingKey::from_ed_der(key)),
        };
        // The library rounds dates to seconds, and takes a claim of the wrong type for one that is absent: the
        // signature is its part, the claims are ours.
        let mut rules = Validation::new(algorithm);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = false;
        Ok(Self { key, rules, required })
    }

    /// The verifier that the settings ask for; `None` where no key is set.
    ///
    /// # Errors
    /// The key is not one for `auth.algorithm`. Loading the settings has ruled that out.
    pub fn from_config(auth: &Auth) -> Result<Option<Self>, KeyError> {
        let (audience, issuer) = (auth.audience.clone(), auth.issuer.clone());
        let with = |key| Self::new(key, RequiredClaims { audience, issuer, leeway: auth.leeway }).ok();
        if auth.algorithm == keys::Algorithm::Hs256 {
            return Ok(auth.secret.as_ref().and_then(|secret| with(Key::Secret(secret.expose()))));
        }
        let Some(pem) = &auth.public_key else { return Ok(None) };
        let key = PublicKey::parse(auth.algorithm, pem)?;
        Ok(with(Key::Public(&key)))
    }

    /// Verifies signature and claims of a token shown at `unix_ms`, in milliseconds since the Unix epoch; `whose` is
    /// the `sub` that it must have, where only one is right.
    ///
    /// # Errors
    /// What is wrong. [`TokenError::Expired`] and [`TokenError::NotYetValid`] say that nothing else is; of the others
    /// the peer learns only that authentication failed.
    pub fn verify(&self, token: &str, whose: Option<&str>, unix_ms: i64) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let data = decode::<WireClaims>(token, &self.key, &self.rules)?;
        // RFC 7515 section 4.1.11: extensions marked critical must be understood, and we know none.
        if data.header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let WireClaims { sub, exp, nbf, iat, name, rooms, aud, iss } = data.claims;
        if sub.is_empty() || whose.is_some_and(|whose| sub != whose) {
            return Err(TokenError::Subject);
        }
        if let Some(audience) = &self.required.audience {
            let aud = aud.ok_or(TokenError::MissingClaim)?;
            aud.names(audience).then_some(()).ok_or(TokenError::Audience)?;
        }
        if let Some(issuer) = &self.required.issuer {
            let iss = iss.ok_or(TokenError::MissingClaim)?;
            (iss == *issuer).then_some(()).ok_or(TokenError::Issuer)?;
        }
        // The times last: what they say is that nothing else is wrong.
        let leeway_ms = i64::try_from(self.required.leeway.as_millis()).unwrap_or(i64::MAX);
        let until_unix_ms = exp.0.saturating_add(leeway_ms);
        if unix_ms >= until_unix_ms {
            return Err(TokenError::Expired);
        }
        let is_early = |from: Date| unix_ms < from.0.saturating_sub(leeway_ms);
        if nbf.is_some_and(is_early) || iat.is_some_and(is_early) {
            return Err(TokenError::NotYetValid);
        }
        Ok(Identity { sub, name, rooms, until_unix_ms })
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
