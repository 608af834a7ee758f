//! Tokens: JSON web tokens signed with HS256 (RFC 7519, RFC 7515). Where they stand in a request, what makes one
//! good, and how one is made.
//!
//! Nothing in here prints a token: [`Token`] hides itself and no error carries one.

use std::fmt;

use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The subprotocol whose next neighbour in the offer is the token: browsers can set no other header.
pub const BEARER: &str = "bearer";

/// A token as it came, not yet verified. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// Takes what looks like a token: printable ASCII without spaces, at most [`MAX_TOKEN_BYTES`].
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let plausible =
            (1..=MAX_TOKEN_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        plausible.then(|| Self(text.into()))
    }

    /// The secret itself, for [`Verifier::verify`]. Never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// What a request says about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// No token anywhere.
    Absent,
    /// There is one, but it cannot be a token, or there are two `Authorization` headers.
    Malformed,
    /// This one; the first of the three places counts.
    Token(Token),
}

/// Looks for a token in `Authorization: Bearer`, then among the offered subprotocols behind [`BEARER`], then in the
/// query's `token`. Another scheme than Bearer is somebody else's (a proxy's) and ignored.
pub fn find<'a>(
    authorization: impl IntoIterator<Item = &'a [u8]>,
    offered: &[&str],
    query: Option<&str>,
) -> Found {
    let mut authorization = authorization.into_iter();
    if let Some(value) = authorization.next() {
        if authorization.next().is_some() {
            return Found::Malformed;
        }
        if let Some(credentials) = bearer_credentials(value) {
            return take(std::str::from_utf8(credentials).ok());
        }
    }
    if let Some(place) = offered.iter().position(|protocol| *protocol == BEARER) {
        return take(offered.get(place + 1).copied());
    }
    query.map_or(Found::Absent, |text| take(Some(text)))
}

fn take(text: Option<&str>) -> Found {
    text.and_then(Token::new).map_or(Found::Malformed, Found::Token)
}

fn bearer_credentials(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    let of_bearer =
        scheme.eq_ignore_ascii_case(BEARER.as_bytes()) && rest.first().is_none_or(|byte| *byte == b' ');
    of_bearer.then(|| rest.trim_ascii())
}

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
    /// Not signed with our secret.
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
        self.rooms.as_ref().is_none_or(|patterns| patterns.iter().any(|pattern| matches(pattern, room)))
    }
}

/// True when `name` is as `pattern` says, in which `*` stands for any characters, none included.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, mut tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    // Between two stars the first place that fits is as good as any.
    while let Some((middle, after)) = tail.split_once('*') {
        let Some(at) = rest.find(middle) else { return false };
        rest = &rest[at + middle.len()..];
        tail = after;
    }
    rest.ends_with(tail)
}

/// The claims we read. `exp` may have a fraction (RFC 7519 section 2).
#[derive(Deserialize)]
struct Wire {
    sub: String,
    exp: f64,
    name: Option<String>,
    rooms: Option<Vec<String>>,
}

/// Tells good tokens from bad ones.
pub struct Verifier {
    key: DecodingKey,
    rules: Validation,
}

impl Verifier {
    /// Accepts HS256 and nothing else. `exp` is required, `nbf` honoured, both to the second without leeway; `aud`
    /// and `iss` are required when configured and ignored otherwise.
    ///
    /// # Errors
    /// [`TokenError::EmptySecret`]: anybody could sign with it.
    pub fn hs256(
        secret: &[u8],
        audience: Option<String>,
        issuer: Option<String>,
    ) -> Result<Self, TokenError> {
        if secret.is_empty() {
            return Err(TokenError::EmptySecret);
        }
        let mut rules = Validation::new(Algorithm::HS256);
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
        Ok(Self { key: DecodingKey::from_secret(secret), rules })
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

/// What to put into a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The user id.
    pub sub: String,
    /// Seconds since the Unix epoch at which it expires.
    pub exp: u64,
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Patterns of the rooms that may be entered; `None` is all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<String>>,
    /// The audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// The issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
}

/// Makes a token, signed with HS256.
///
/// # Errors
/// [`TokenError::EmptySecret`], [`TokenError::Subject`], or [`TokenError::TooLong`]: no token that
/// [`Verifier::verify`] would refuse for its form is made.
pub fn mint(secret: &[u8], claims: &Claims) -> Result<String, TokenError> {
    if secret.is_empty() {
        return Err(TokenError::EmptySecret);
    }
    if claims.sub.is_empty() {
        return Err(TokenError::Subject);
    }
    let token = encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret))?;
    if token.len() > MAX_TOKEN_BYTES { Err(TokenError::TooLong) } else { Ok(token) }
}

#[cfg(test)]
mod tests;
