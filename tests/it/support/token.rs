//! Tokens: good ones from the product's own command line, bad ones by hand.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::server::run;

/// The key of the servers that have one. Long enough for HS512.
pub(crate) const SECRET: &str = "a-secret-of-the-tests-that-is-64-bytes-long-so-that-hs512-takes-it";

/// A token as `throng token` prints it.
#[track_caller]
pub(crate) fn mint(arguments: &[&str]) -> String {
    let output = run(&[&["token"], arguments].concat(), &[("auth.secret", SECRET)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout).expect("a token in ASCII").trim().to_owned();
    assert_eq!(token.split('.').count(), 3, "no token: {token:?}");
    token
}

/// A token with these claims, signed as told.
#[track_caller]
pub(crate) fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).expect("claims can be signed")
}

/// A token that says of itself that it needs no signature.
pub(crate) fn unsigned(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(claims))
}

/// Seconds since the Unix epoch, `offset` from now.
pub(crate) fn seconds_from_now(offset: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("before the year 292277026596") + offset
}
