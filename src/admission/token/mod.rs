//! Tokens: JSON web tokens (RFC 7519, RFC 7515). Where they stand in a request, what makes one good ([`Verifier`]), and
//! how one is made.
//!
//! Nothing in here prints a token: [`Token`] hides itself and no error carries one.

mod claims;
mod verify;

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

pub use self::verify::{Identity, Key, RequiredClaims, TokenError, Verifier};

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
pub enum FoundToken {
    /// No token anywhere.
    Absent,
    /// There is one, but it cannot be a token, or there are two `Authorization` headers.
    Malformed,
    /// There is one of so many bytes, more than [`MAX_TOKEN_BYTES`].
    TooLong(usize),
    /// This one; the first of the three places counts.
    Token(Token),
}

/// Looks for a token in `Authorization: Bearer`, then among the offered subprotocols behind [`BEARER`], then in the
/// query's `token`. Another scheme than Bearer is somebody else's (a proxy's) and ignored.
pub fn find<'a>(
    authorization: impl IntoIterator<Item = &'a [u8]>,
    offered: &[&str],
    query: Option<&str>,
) -> FoundToken {
    let mut authorization = authorization.into_iter();
    if let Some(value) = authorization.next() {
        if authorization.next().is_some() {
            return FoundToken::Malformed;
        }
        if let Some(credentials) = bearer_credentials(value) {
            return take(std::str::from_utf8(credentials).ok());
        }
    }
    if let Some(place) = offered.iter().position(|protocol| *protocol == BEARER) {
        return take(offered.get(place + 1).copied());
    }
    query.map_or(FoundToken::Absent, |text| take(Some(text)))
}

fn take(text: Option<&str>) -> FoundToken {
    match text {
        Some(text) if text.len() > MAX_TOKEN_BYTES => FoundToken::TooLong(text.len()),
        _ => text.and_then(Token::new).map_or(FoundToken::Malformed, FoundToken::Token),
    }
}

/// What stands behind `Bearer` in an `Authorization` header (RFC 6750, section 2.1).
pub fn bearer_credentials(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    let of_bearer =
        scheme.eq_ignore_ascii_case(BEARER.as_bytes()) && rest.first().is_none_or(|byte| *byte == b' ');
    of_bearer.then(|| rest.trim_ascii())
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
