//! Verifies tokens: the signature, under one algorithm and any of several keys, and the claims.

use std::time::Duration;

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, decode_header};
use thiserror::Error;

use super::MAX_TOKEN_BYTES;
use super::claims::{Date, WireClaims};
use crate::config::Auth;
use crate::keys::jwks::KeySet;
use crate::keys::{self, KeyError, PublicKey};
use crate::names;
use crate::revocation::TokenMark;

/// Why a token is refused. No variant carries the token or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// The token is longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// The text is no token, names an unknown algorithm (as `none` is), has a claim of the wrong type, or lacks `sub`
    /// or `exp`.
    #[error("the token is malformed, or a claim is missing or of the wrong type")]
    Malformed,
    /// The token is signed with another algorithm than the configured one.
    #[error("the token's algorithm is not the configured one")]
    Algorithm,
    /// The signature belongs to none of the keys.
    #[error("the token's signature is wrong")]
    Signature,
    /// The token names a key that the set lacks, or none where the set has several.
    #[error("the token names no known key")]
    UnknownKey,
    /// `exp` and the leeway have passed; nothing else is wrong.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is in the future by more than the leeway; nothing else is wrong.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The configuration requires `aud`, `iss` or `iat`, and the token has none.
    #[error("the token lacks a required claim")]
    MissingClaim,
    /// From `iat` to `exp` it is longer than `auth.max_token_life`.
    #[error("the token lives longer than auth.max_token_life allows")]
    TooLongLived,
    /// `aud` is not the configured audience.
    #[error("the token is for another audience")]
    Audience,
    /// `iss` is not the configured issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// `sub` is empty, or differs from the user id that the request names.
    #[error("the token's subject is empty, or not the user id that is asked for")]
    Subject,
    /// The secret to sign with is empty.
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

/// The user that a verified token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user id. It is not empty, and otherwise unchecked.
    pub sub: String,
    /// The name to show to people.
    pub name: Option<String>,
    /// Patterns of the rooms that the user may enter; `None` allows all.
    pub rooms: Option<Vec<String>>,
    /// Expiry in milliseconds since the Unix epoch: `exp` and the leeway.
    pub until_unix_ms: i64,
    /// The token, as revocations know it.
    pub mark: TokenMark,
}

impl Identity {
    /// Returns true when the token allows the room: it has no `rooms` claim, or one of its patterns matches.
    #[must_use]
    pub fn allows(&self, room: &str) -> bool {
        self.rooms
            .as_ref()
            .is_none_or(|patterns| patterns.iter().any(|pattern| names::matches_pattern(pattern, room)))
    }
}

/// The key that tokens are verified with, for one algorithm.
#[derive(Debug, Clone, Copy)]
pub enum Key<'a> {
    /// The secret of HS256.
    Secret(&'a [u8]),
    /// A public key, which is for RS256, ES256 or EdDSA.
    Public(&'a PublicKey),
}

/// The claims that a token needs besides its user and its times, and the tolerance for the times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredClaims {
    /// Value that `aud` must have, or contain.
    pub audience: Option<String>,
    /// Value that `iss` must have.
    pub issuer: Option<String>,
    /// Longest time from `iat` to `exp`. Where it is given, `iat` is required.
    pub max_life: Option<Duration>,
    /// Largest accepted difference between the clock of the token's issuer and that of this server.
    pub leeway: Duration,
}

/// Verifies tokens with one key or several, all of one algorithm.
pub struct Verifier {
    /// At least one.
    keys: Box<[DecodingKey]>,
    /// The names of the keys, in their order; `None` where a token need not name one.
    names: Option<Box<[Option<Box<str>>]>>,
    rules: Validation,
    required: RequiredClaims,
}

impl Verifier {
    /// Creates a verifier with one key. `exp` is required, and `nbf` and `iat` are
    /// checked where they are present, each to the millisecond and with the leeway. `aud` and `iss` are required where
    /// `required` names them, and otherwise only have to be of the right type.
    ///
    /// # Errors
    /// [`KeyError::EmptySecret`].
    pub fn new(key: Key<'_>, required: RequiredClaims) -> Result<Self, KeyError> {
        Self::with_keys(&[key], required)
    }

    /// Creates a verifier as [`Verifier::new`] does, but with several keys. It accepts the algorithm of the first one
    /// and no other, and a signature that belongs to any of the keys.
    ///
    /// # Errors
    /// [`KeyError::EmptySecret`], also where there is no key at all.
    pub fn with_keys(keys: &[Key<'_>], required: RequiredClaims) -> Result<Self, KeyError> {
        let algorithm = match keys.first() {
            None => return Err(KeyError::EmptySecret),
            Some(Key::Secret(_)) => Algorithm::HS256,
            Some(Key::Public(PublicKey::Rsa(_))) => Algorithm::RS256,
            Some(Key::Public(PublicKey::P256(_))) => Algorithm::ES256,
            Some(Key::Public(PublicKey::Ed25519(_))) => Algorithm::EdDSA,
        };
        let keys = keys.iter().map(decoding_key).collect::<Result<_, _>>()?;
        // The library checks the signature alone. It would round dates to seconds, and take a claim of the wrong type
        // for one that is absent, so that the claims are checked in `verify`.
        let mut rules = Validation::new(algorithm);
        rules.required_spec_claims.clear();
        rules.validate_exp = false;
        rules.validate_nbf = false;
        rules.validate_aud = false;
        Ok(Self { keys, names: None, rules, required })
    }

    /// Creates the verifier that the configuration describes; returns `None` where no key is configured.
    ///
    /// # Errors
    /// A key does not fit `auth.algorithm`. Loading the configuration has ruled that out.
    pub fn from_config(auth: &Auth) -> Result<Option<Self>, KeyError> {
        if let Some(set) = &auth.jwks {
            let set = KeySet::parse(auth.algorithm, set).map_err(|_| KeyError::Malformed)?;
            return Self::with_key_set(auth, &set).map(Some);
        }
        let required = required(auth);
        let public: Vec<PublicKey>;
        let keys: Vec<Key<'_>> = if auth.algorithm == keys::Algorithm::Hs256 {
            auth.secret.iter().map(|secret| Key::Secret(secret.expose())).collect()
        } else {
            let parsed = auth.public_key.iter().map(|pem| PublicKey::parse(auth.algorithm, pem));
            public = parsed.collect::<Result<_, _>>()?;
            public.iter().map(Key::Public).collect()
        };
        if keys.is_empty() { Ok(None) } else { Self::with_keys(&keys, required).map(Some) }
    }

    /// Creates a verifier with a set of keys, of which a token names one, and with the claims of the configuration.
    ///
    /// # Errors
    /// The set has no key, which parsing has ruled out.
    pub fn with_key_set(auth: &Auth, set: &KeySet) -> Result<Self, KeyError> {
        let keys: Vec<Key<'_>> = set.keys.iter().map(|(_, key)| Key::Public(key)).collect();
        let names = set.keys.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self { names: Some(names), ..Self::with_keys(&keys, required(auth))? })
    }

    /// Verifies signature and claims of a token at the time `unix_ms`, in milliseconds since the Unix epoch. Where
    /// `user` is given, it is the only `sub` that is accepted.
    ///
    /// # Errors
    /// The first problem that was found. [`TokenError::Expired`] and [`TokenError::NotYetValid`] mean that everything
    /// else is right; for the others the peer is only told that authentication failed.
    pub fn verify(&self, token: &str, user: Option<&str>, unix_ms: i64) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let data = self.decode(token)?;
        // RFC 7515, section 4.1.11: extensions marked critical must be understood, and none is known here.
        if data.header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let WireClaims { sub, exp, nbf, iat, name, rooms, aud, iss, jti } = data.claims;
        if sub.is_empty() || user.is_some_and(|user| sub != user) {
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
        if let Some(max_life) = self.required.max_life {
            let Date(iat) = iat.ok_or(TokenError::MissingClaim)?;
            let max_ms = i64::try_from(max_life.as_millis()).unwrap_or(i64::MAX);
            (exp.0.saturating_sub(iat) <= max_ms).then_some(()).ok_or(TokenError::TooLongLived)?;
        }
        // The times are checked last: their errors mean that nothing else is wrong.
        let leeway_ms = i64::try_from(self.required.leeway.as_millis()).unwrap_or(i64::MAX);
        let until_unix_ms = exp.0.saturating_add(leeway_ms);
        if unix_ms >= until_unix_ms {
            return Err(TokenError::Expired);
        }
        let is_early = |from: Date| unix_ms < from.0.saturating_sub(leeway_ms);
        if nbf.is_some_and(is_early) || iat.is_some_and(is_early) {
            return Err(TokenError::NotYetValid);
        }
        let mark = TokenMark::new(&sub, jti.as_deref(), iat.map(|Date(iat)| iat));
        Ok(Identity { sub, name, rooms, until_unix_ms, mark })
    }

    /// Returns the name of the key that a token is to be verified with; `None` where all keys are tried. A token of
    /// another algorithm is refused here, so that it does not count as one with an unknown key.
    fn named_key(&self, token: &str) -> Result<Option<String>, TokenError> {
        let Some(names) = &self.names else { return Ok(None) };
        let header = decode_header(token)?;
        if !self.rules.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        match header.kid {
            None if names.len() == 1 => Ok(None),
            Some(kid) if names.iter().any(|name| name.as_deref() == Some(&kid)) => Ok(Some(kid)),
            _ => Err(TokenError::UnknownKey),
        }
    }

    /// Reads a token whose signature belongs to one of the keys, which are tried in their order.
    fn decode(&self, token: &str) -> Result<TokenData<WireClaims>, TokenError> {
        let name = self.named_key(token)?;
        let names = self.names.as_deref().unwrap_or_default();
        let is_named = |index: usize| match &name {
            None => true,
            Some(name) => names.get(index).is_some_and(|known| known.as_deref() == Some(name)),
        };
        for (_, key) in self.keys.iter().enumerate().filter(|(index, _)| is_named(*index)) {
            match decode::<WireClaims>(token, key, &self.rules).map_err(TokenError::from) {
                Err(TokenError::Signature) => {}
                other => return other,
            }
        }
        Err(TokenError::Signature)
    }
}

/// Returns what the configuration requires of a token besides its user and its times.
fn required(auth: &Auth) -> RequiredClaims {
    let (audience, issuer) = (auth.audience.clone(), auth.issuer.clone());
    RequiredClaims { audience, issuer, max_life: auth.max_token_life, leeway: auth.leeway }
}

fn decoding_key(key: &Key<'_>) -> Result<DecodingKey, KeyError> {
    Ok(match key {
        Key::Secret([]) => return Err(KeyError::EmptySecret),
        Key::Secret(secret) => DecodingKey::from_secret(secret),
        Key::Public(PublicKey::Rsa(der)) => DecodingKey::from_rsa_der(der),
        Key::Public(PublicKey::P256(point)) => DecodingKey::from_ec_der(point),
        Key::Public(PublicKey::Ed25519(key)) => DecodingKey::from_ed_der(key),
    })
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
            assert_eq!(names::matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }
}
