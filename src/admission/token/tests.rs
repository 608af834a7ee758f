use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::config::{self, PublicKey};

const SECRET: &[u8] = b"correct horse battery staple, 32 bytes and more";

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// A token of any header and claims, signed with HMAC-SHA-256 whatever the header says.
fn forge(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn signed(claims: &Value) -> String {
    forge(&json!({"alg": "HS256", "typ": "JWT"}), claims)
}

fn plain() -> Verifier {
    Verifier::new(Key::Secret(SECRET), None, None).unwrap()
}

fn claims() -> Claims {
    Claims { sub: "alice".into(), exp: now() + 60, ..Claims::default() }
}

#[test]
fn a_minted_token_is_good() {
    let claims = Claims { name: Some("Alice".into()), rooms: Some(vec!["live-*".into()]), ..claims() };
    let identity = plain().verify(&mint(SECRET, &claims).unwrap()).unwrap();
    let Claims { sub, exp, name, rooms, .. } = claims;
    assert_eq!(identity, Identity { sub, name, rooms, expires_at: exp });
}

#[test]
fn only_the_pinned_algorithm_counts() {
    let good = json!({"sub": "alice", "exp": now() + 60});
    for alg in ["none", "None", "NONE", "HS384", "HS512", "RS256", "ES256", "EdDSA", ""] {
        let token = forge(&json!({ "alg": alg }), &good);
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        for token in [token, unsigned] {
            let error = plain().verify(&token).unwrap_err();
            assert!(matches!(error, TokenError::Algorithm | TokenError::Malformed), "{alg}: {error:?}");
        }
    }
    assert_eq!(plain().verify(&forge(&json!({}), &good)), Err(TokenError::Malformed));
    let critical = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    assert_eq!(plain().verify(&forge(&critical, &good)), Err(TokenError::Malformed));
}

#[test]
fn claims_decide() {
    let now = now();
    for (claims, expected) in [
        (json!({"sub": "alice", "exp": now - 1}), TokenError::Expired),
        (json!({"sub": "alice", "exp": now}), TokenError::Expired),
        (json!({"sub": "alice", "exp": 0}), TokenError::Malformed),
        (json!({"sub": "alice", "exp": now + 60, "nbf": now + 30}), TokenError::NotYetValid),
        (json!({"sub": "alice", "exp": now + 60, "nbf": "soon"}), TokenError::Malformed),
        (json!({"sub": "alice"}), TokenError::Malformed),
        (json!({"sub": "alice", "exp": null}), TokenError::Malformed),
        (json!({"sub": "alice", "exp": "tomorrow"}), TokenError::Malformed),
        (json!({"sub": "alice", "exp": -5}), TokenError::MissingClaim),
        (json!({"sub": "alice", "exp": 1e300}), TokenError::MissingClaim),
        (json!({"exp": now + 60}), TokenError::Malformed),
        (json!({"sub": "", "exp": now + 60}), TokenError::Subject),
        (json!({"sub": 7, "exp": now + 60}), TokenError::Malformed),
        (json!({"sub": "alice", "exp": now + 60, "rooms": "lobby"}), TokenError::Malformed),
        (json!([]), TokenError::Malformed),
    ] {
        assert_eq!(plain().verify(&signed(&claims)), Err(expected), "{claims}");
    }
    let fraction = json!({"sub": "alice", "exp": now as f64 + 60.7, "nbf": now, "aud": "x", "iss": "y"});
    assert_eq!(plain().verify(&signed(&fraction)).unwrap().expires_at, now + 60);
}

#[test]
fn audience_and_issuer_are_checked_when_configured() {
    let with = |aud: Option<&str>, iss: Option<&str>| {
        let claims = Claims { aud: aud.map(Into::into), iss: iss.map(Into::into), ..claims() };
        mint(SECRET, &claims).unwrap()
    };
    let strict = Verifier::new(Key::Secret(SECRET), Some("throng".into()), Some("idp".into())).unwrap();
    assert!(strict.verify(&with(Some("throng"), Some("idp"))).is_ok());
    assert_eq!(strict.verify(&with(Some("other"), Some("idp"))), Err(TokenError::Audience));
    assert_eq!(strict.verify(&with(Some("throng"), Some("other"))), Err(TokenError::Issuer));
    assert_eq!(strict.verify(&with(None, Some("idp"))), Err(TokenError::MissingClaim));
    assert_eq!(strict.verify(&with(Some("throng"), None)), Err(TokenError::MissingClaim));
}

#[test]
fn a_changed_or_foreign_signature_is_refused() {
    let token = mint(b"another secret", &claims()).unwrap();
    assert_eq!(plain().verify(&token), Err(TokenError::Signature));
    let token = mint(SECRET, &claims()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let root = URL_SAFE_NO_PAD.encode(json!({"sub": "root", "exp": now() + 60}).to_string());
    assert_eq!(plain().verify(&format!("{header}.{root}.{signature}")), Err(TokenError::Signature));
    for garbage in ["", ".", "..", "a.b.c", &format!("{token}.x"), message, "💥"] {
        assert!(plain().verify(garbage).is_err(), "{garbage}");
    }
    assert_eq!(plain().verify(&"x".repeat(MAX_TOKEN_BYTES + 1)), Err(TokenError::TooLong));
}

#[test]
fn an_empty_secret_neither_signs_nor_verifies() {
    assert!(matches!(Verifier::new(Key::Secret(b""), None, None), Err(TokenError::EmptySecret)));
    assert_eq!(mint(b"", &claims()), Err(TokenError::EmptySecret));
}

#[test]
fn a_token_is_found_in_three_places_in_order() {
    let token = |text| Found::Token(Token::new(text).unwrap());
    let basic: &[u8] = b"Basic dXNlcjpwYXNz";
    let none: [&[u8]; 0] = [];
    assert_eq!(find(none, &[], None), Found::Absent);
    assert_eq!(find([&b"Bearer a.b.c"[..]], &["bearer", "x"], Some("y")), token("a.b.c"));
    assert_eq!(find([&b"bEARER   a.b.c "[..]], &[], None), token("a.b.c"));
    assert_eq!(find([basic], &["throng.v1", "bearer", "x.y"], Some("q")), token("x.y"));
    assert_eq!(find([basic], &["throng.v1"], Some("q")), token("q"));
    assert_eq!(find([basic], &["throng.v1"], None), Found::Absent);
    assert_eq!(find([&b"Bearerx"[..]], &[], None), Found::Absent);
    for malformed in [&b"Bearer"[..], b"Bearer ", b"Bearer a b", b"Bearer \xff"] {
        assert_eq!(find([malformed], &[], None), Found::Malformed, "{malformed:?}");
    }
    assert_eq!(find([&b"Bearer a"[..], b"Bearer a"], &[], None), Found::Malformed);
    assert_eq!(find(none, &["throng.v1", "bearer"], None), Found::Malformed);
    assert_eq!(find(none, &[], Some("")), Found::Malformed);
    assert_eq!(find(none, &[], Some(&"x".repeat(MAX_TOKEN_BYTES + 1))), Found::Malformed);
}

#[test]
fn nothing_prints_a_token() {
    let found = find([&b"Bearer canary"[..]], &[], None);
    assert!(!format!("{found:?}").contains("canary"), "{found:?}");
}

/// The keys that the tests sign with; everybody knows them.
const PAIRS: [(config::Algorithm, Algorithm, &str, &str); 3] = [
    (
        config::Algorithm::Rs256,
        Algorithm::RS256,
        include_str!("../../../tests/keys/TEST-ONLY-rs256.private.pem"),
        include_str!("../../../tests/keys/TEST-ONLY-rs256.public.pem"),
    ),
    (
        config::Algorithm::Es256,
        Algorithm::ES256,
        include_str!("../../../tests/keys/TEST-ONLY-es256.private.pem"),
        include_str!("../../../tests/keys/TEST-ONLY-es256.public.pem"),
    ),
    (
        config::Algorithm::EdDsa,
        Algorithm::EdDSA,
        include_str!("../../../tests/keys/TEST-ONLY-eddsa.private.pem"),
        include_str!("../../../tests/keys/TEST-ONLY-eddsa.public.pem"),
    ),
];

/// A key to sign with, out of PEM.
fn signing(algorithm: Algorithm, pem: &str) -> EncodingKey {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    match algorithm {
        Algorithm::RS256 | Algorithm::PS256 => EncodingKey::from_rsa_der(&der),
        Algorithm::ES256 => EncodingKey::from_ec_der(&der),
        _ => EncodingKey::from_ed_der(&der),
    }
}

#[test]
fn each_algorithm_verifies_its_own_signatures_and_no_others() {
    let tokens = PAIRS.map(|(_, algorithm, private, _)| {
        encode(&Header::new(algorithm), &claims(), &signing(algorithm, private)).unwrap()
    });
    let hmac = mint(SECRET, &claims()).unwrap();
    for (ours, (pinned, _, _, public)) in PAIRS.iter().enumerate() {
        let key = PublicKey::parse(*pinned, public).unwrap();
        let verifier = Verifier::new(Key::Public(&key), None, None).unwrap();
        assert_eq!(verifier.verify(&hmac), Err(TokenError::Algorithm));
        for (theirs, token) in tokens.iter().enumerate() {
            let result = verifier.verify(token);
            match ours == theirs {
                true => assert_eq!(result.unwrap().sub, "alice"),
                false => assert_eq!(result, Err(TokenError::Algorithm)),
            }
            assert_eq!(plain().verify(token), Err(TokenError::Algorithm));
        }
        // Another's claims under a good signature, and a signature that is no number of this kind.
        let (message, signature) = tokens[ours].rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let root = URL_SAFE_NO_PAD.encode(json!({"sub": "root", "exp": now() + 60}).to_string());
        for forged in
            [format!("{header}.{root}.{signature}"), format!("{message}."), format!("{message}.AAAA")]
        {
            assert_eq!(verifier.verify(&forged), Err(TokenError::Signature), "{pinned:?}");
        }
    }
}

#[test]
fn the_public_key_is_no_secret() {
    // 1. The server verifies with a public key. 2. Somebody signs HS256 with that key as the secret and says so.
    for (pinned, _, _, public) in PAIRS {
        let key = PublicKey::parse(pinned, public).unwrap();
        let verifier = Verifier::new(Key::Public(&key), None, None).unwrap();
        assert_eq!(verifier.verify(&mint(public.as_bytes(), &claims()).unwrap()), Err(TokenError::Algorithm));
    }
    // The same key under another scheme of the same family is another algorithm.
    let (pinned, _, private, public) = PAIRS[0];
    let pss = encode(&Header::new(Algorithm::PS256), &claims(), &signing(Algorithm::PS256, private)).unwrap();
    let key = PublicKey::parse(pinned, public).unwrap();
    let verifier = Verifier::new(Key::Public(&key), None, None).unwrap();
    assert_eq!(verifier.verify(&pss), Err(TokenError::Algorithm));
}

#[test]
fn the_settings_say_which_key_counts() {
    let mut auth = config::Config::default().auth;
    assert!(Verifier::from_config(&auth).unwrap().is_none());
    auth.secret = Some(config::Secret::new(std::str::from_utf8(SECRET).unwrap()));
    let verifier = Verifier::from_config(&auth).unwrap().unwrap();
    assert!(verifier.verify(&mint(SECRET, &claims()).unwrap()).is_ok());
    for (algorithm, _, _, public) in PAIRS {
        auth.algorithm = algorithm;
        auth.public_key = None;
        assert!(Verifier::from_config(&auth).unwrap().is_none(), "the secret is no key of {algorithm:?}");
        auth.public_key = Some(public.into());
        assert!(Verifier::from_config(&auth).unwrap().is_some());
    }
    auth.public_key = Some("-----BEGIN PUBLIC KEY-----".into());
    assert!(Verifier::from_config(&auth).is_err());
}
