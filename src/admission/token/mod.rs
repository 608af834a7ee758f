//! JSON web tokens (RFC 7519, RFC 7515): finds the token of a request, verifies it ([`Verifier`]), and makes tokens for
//! testing.
//!
//! Nothing here prints a token: [`Token`] is redacted and no error carries one.

mod claims;
mod verify;

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

pub use self::verify::{Identity, Key, RequiredClaims, TokenError, Verifier};

/// Longest token that is accepted, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The subprotocol after which a token follows in the offer. Browsers can set no other header of a handshake.
pub const BEARER: &str = "bearer";

/// A token that is not verified yet. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// Accepts text that can be a token: printable ASCII without spaces, at most [`MAX_TOKEN_BYTES`].
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let plausible =
            (1..=MAX_TOKEN_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        plausible.then(|| Self(text.into()))
    }

    /// Returns the text, for [`Verifier::verify`]. It must not be logged.
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

/// The result of looking for a token in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundToken {
    /// The request has no token.
    Absent,
    /// The text cannot be a token, or there are two `Authorization` headers.
    Malformed,
    /// The token has this many bytes, more than [`MAX_TOKEN_BYTES`].
    TooLong(usize),
    /// The token, from the first of the three sources that has one.
    Token(Token),
}

/// Looks for a token in `Authorization: Bearer`, then among the offered subprotocols after [`BEARER`], then in the
/// query's `token`. An `Authorization` of another scheme is meant for a proxy, and is ignored.
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
    if let Some(index) = offered.iter().position(|protocol| *protocol == BEARER) {
        return take(offered.get(index + 1).copied());
    }
    query.map_or(FoundToken::Absent, |text| take(Some(text)))
}

fn take(text: Option<&str>) -> FoundToken {
    match text {
        Some(text) if text.len() > MAX_TOKEN_BYTES => FoundToken::TooLong(text.len()),
        _ => text.and_then(Token::new).map_or(FoundToken::Malformed, FoundToken::Token),
    }
}

/// Returns the text after `Bearer` in an `Authorization` header (RFC 6750, section 2.1).
#[must_use]
pub fn bearer_credentials(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    let of_bearer =
        scheme.eq_ignore_ascii_case(BEARER.as_bytes()) && rest.first().is_none_or(|byte| *byte == b' ');
    of_bearer.then(|| rest.trim_ascii())
}

/// The claims of a token to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The user id.
    pub sub: String,
    /// The expiry, in seconds since the Unix epoch.
    pub exp: u64,
    /// The moment at which the token is made, in the same seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// The name to show to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Patterns of the rooms that the user may enter; `None` allows all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<String>>,
    /// The audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// The issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
}

/// Makes a token, signed with HS256. Every token that it returns is one that [`Verifier::verify`] accepts in form.
///
/// # Errors
/// [`TokenError::EmptySecret`], [`TokenError::Subject`] or [`TokenError::TooLong`].
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
