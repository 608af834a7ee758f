//! The claims of a token on the wire (RFC 7519, section 4.1). A claim of the wrong type makes the token malformed, and
//! `null` is of the wrong type. Unknown claims are ignored.

use serde::{Deserialize, Deserializer};

/// The claims that are read.
#[derive(Deserialize)]
pub(super) struct WireClaims {
    pub(super) sub: String,
    pub(super) exp: Date,
    #[serde(default, deserialize_with = "present")]
    pub(super) nbf: Option<Date>,
    #[serde(default, deserialize_with = "present")]
    pub(super) iat: Option<Date>,
    #[serde(default, deserialize_with = "present")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) rooms: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) aud: Option<Audience>,
    #[serde(default, deserialize_with = "present")]
    pub(super) iss: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) jti: Option<String>,
}

/// Reads a claim that is present. serde alone would take `null` for an absent claim.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(claim: D) -> Result<Option<T>, D::Error> {
    T::deserialize(claim).map(Some)
}

/// A date in milliseconds since the Unix epoch. On the wire it is in seconds and may have a fraction (RFC 7519,
/// section 2). A date out of range becomes the nearest that can be represented.
#[derive(Clone, Copy)]
pub(super) struct Date(pub(super) i64);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(seconds: D) -> Result<Self, D::Error> {
        f64::deserialize(seconds).map(|seconds| Self((seconds * 1000.0).round() as i64))
    }
}

/// The audience of a token: one, or any of several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    /// Returns true when `audience` is among those that the token is for.
    pub(super) fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}
