//! Fuzzes tokens: the verifier accepts only tokens signed with its key, and never panics.
//!
//! The first byte of the input chooses how the token is signed. The rest is its header and claims, separated by a zero
//! byte.

#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use throng::testing::admission::token::{RequiredClaims, FoundToken, Key, Verifier, find};

const SECRET: &[u8] = b"a secret of the fuzzer's, long enough for HS256";

/// The time at which the tokens are verified, in milliseconds since the Unix epoch.
const NOW_MS: i64 = 1_700_000_000_000;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    Verifier::new(Key::Secret(SECRET), RequiredClaims::default()).expect("a secret that is not empty")
});

fn sign(key: &[u8], text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(text.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((how, rest)) = input.split_first() else { return };
    // The input itself as the token of a request.
    let offered = ["bearer", std::str::from_utf8(rest).unwrap_or_default()];
    if let FoundToken::Token(token) = find([rest], &offered, None) {
        let accepted = VERIFIER.verify(token.expose(), None, NOW_MS);
        assert!(accepted.is_err() || is_signed(token.expose()), "{accepted:?}");
    }
    let mut texts = rest.splitn(2, |byte| *byte == 0);
    let (header, claims) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = match how % 4 {
        0 => sign(SECRET, &signed),
        1 => sign(b"another secret of the same length as the right", &signed),
        2 => String::new(),
        _ => URL_SAFE_NO_PAD.encode(claims.get(..32).unwrap_or_default()),
    };
    let token = format!("{signed}.{signature}");
    let Ok(identity) = VERIFIER.verify(&token, None, NOW_MS) else { return };
    assert!(is_signed(&token), "accepted without a signature: {token}");
    assert!(!identity.sub.is_empty());
    let Some(claims) = read(claims) else { return };
    assert_eq!(claims["sub"].as_str(), Some(identity.sub.as_str()), "the claims are those that were signed");
    assert!(claims["exp"].as_f64().is_some_and(|exp| exp >= 1.7e9), "a token without an end: {claims}");
    let Some(header) = read(header) else { return };
    assert_eq!((header["alg"].as_str(), header.get("crit")), (Some("HS256"), None), "{header}");
});

/// Parses an accepted header or claims, which must be JSON. Returns `None` if an ignored field has a number beyond the
/// range of this parser. Texts in ignored fields need not be UTF-8.
fn read(accepted: &[u8]) -> Option<serde_json::Value> {
    match serde_json::from_str(&String::from_utf8_lossy(accepted)) {
        Ok(read) => Some(read),
        Err(error) => {
            assert!(error.to_string().contains("out of range"), "accepted, and no JSON: {error}");
            None
        }
    }
}

fn is_signed(token: &str) -> bool {
    token.rsplit_once('.').is_some_and(|(signed, signature)| sign(SECRET, signed) == signature)
}
