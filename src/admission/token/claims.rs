//! What a token says (RFC 7519, section 4.1). A claim that is there has the right type, or the token is malformed:
//! `null`, too, is of the wrong one. What we do not know is ignored.

use serde::{Deserialize, Deserializer};

/// The claims we read.
#[derive(Deserialize)]
pub(super) struct WireClaims {
    pub(super) sub: String,
    pub(super) exp: Date,
    #[serde(default, deserialize_with = "there")]
    pub(super) nbf: Option<Date>,
    #[serde(default, deserialize_with = "there")]
    pub(super) iat: Option<Date>,
    #[serde(default, deserialize_with = "there")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "there")]
    pub(super) rooms: Option<Vec<String>>,
    #[serde(default, deserialize_with = "there")]
    pub(super) aud: Option<Audience>,
    #[serde(default, deserialize_with = "there")]
    pub(super) iss: Option<String>,
}

/// Reads a claim that is there; serde would take `null` for one that is not.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(claim: D) -> Result<Option<T>, D::Error> {
    T::deserialize(claim).map(Some)
}

/// A date in milliseconds since the Unix epoch. On the wire it is in seconds, and may have a fraction (RFC 7519,
/// section 2); what is farther away than any clock gets is as far as can be.
#[derive(Clone, Copy)]
pub(super) struct Date(pub(super) i64);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(seconds: D) -> Result<Self, D::Error> {
        f64::deserialize(seconds).map(|seconds| Self((seconds * 1000.0).round() as i64))
    }
}

/// For whom a token is: one, or any of several.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    pub(super) fn names(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => several.iter().any(|one| one == audience),
        }
    }
}
