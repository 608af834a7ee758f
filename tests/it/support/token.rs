//! Tokens: valid ones from `throng token`, invalid ones built by hand.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::canary;
use super::server::run;

/// The secret of every server under test that checks tokens. Long enough for HS512.
pub(crate) const SECRET: &str = "a-secret-of-the-tests-that-is-64-bytes-long-so-that-hs512-takes-it";

/// Runs `throng token` with these arguments; returns the token.
#[track_caller]
pub(crate) fn mint(arguments: &[&str]) -> String {
    let output = run(&[&["token"], arguments].concat(), &[("auth.secret", SECRET)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout).expect("a token in ASCII").trim().to_owned();
    assert_eq!(token.split('.').count(), 3, "no token: {token:?}");
    canary::remember(&token);
    token
}

/// Signs a token with these claims.
#[track_caller]
pub(crate) fn signed(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).expect("claims can be signed")
}

/// A key pair in PEM, for `auth.public_key` and for signing. It is in the repository: it protects nothing.
pub(crate) struct KeyPair {
    /// The algorithm's name in `auth.algorithm`.
    pub(crate) name: &'static str,
    pub(crate) algorithm: Algorithm,
    pub(crate) public: &'static str,
    private: &'static str,
}

/// One key pair for each asymmetric algorithm.
pub(crate) const PAIRS: [KeyPair; 3] = [
    KeyPair {
        name: "RS256",
        algorithm: Algorithm::RS256,
        public: include_str!("../../keys/TEST-ONLY-rs256.public.pem"),
        private: include_str!("../../keys/TEST-ONLY-rs256.private.pem"),
    },
    KeyPair {
        name: "ES256",
        algorithm: Algorithm::ES256,
        public: include_str!("../../keys/TEST-ONLY-es256.public.pem"),
        private: include_str!("../../keys/TEST-ONLY-es256.private.pem"),
    },
    KeyPair {
        name: "EdDSA",
        algorithm: Algorithm::EdDSA,
        public: include_str!("../../keys/TEST-ONLY-eddsa.public.pem"),
        private: include_str!("../../keys/TEST-ONLY-eddsa.private.pem"),
    },
];

impl KeyPair {
    /// Signs a token with these claims.
    #[track_caller]
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(None, claims)
    }

    /// Signs a token with these claims, which names its key.
    #[track_caller]
    pub(crate) fn sign_as(&self, kid: Option<&str>, claims: &Value) -> String {
        let body: String = self.private.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).expect("PEM is base64");
        let key = match self.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_der(&der),
            Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            _ => EncodingKey::from_ed_der(&der),
        };
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &key).expect("claims can be signed")
    }
}

/// Builds a token of the algorithm `none`, which has no signature.
pub(crate) fn unsigned(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(claims))
}

/// Returns the seconds since the Unix epoch, `offset` from now.
pub(crate) fn seconds_from_now(offset: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(now).expect("before the year 292277026596") + offset
}
