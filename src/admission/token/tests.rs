use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::config;
use crate::keys::{self, KeyError, PublicKey};
use crate::revocation::TokenMark;

const SECRET: &[u8] = b"correct horse battery staple, 32 bytes and more";

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// Signs any header and claims with HMAC-SHA-256, whatever algorithm the header names.
fn forge(header: &Value, claims: &Value) -> String {
    sign(&header.to_string(), &claims.to_string())
}

fn forge_text(claims: &str) -> String {
    sign(r#"{"alg":"HS256"}"#, claims)
}

fn sign(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

fn signed(claims: &Value) -> String {
    forge(&json!({"alg": "HS256", "typ": "JWT"}), claims)
}

fn plain() -> Verifier {
    Verifier::new(Key::Secret(SECRET), RequiredClaims::default()).unwrap()
}

/// Verifies a token now, for any user id.
fn verify(verifier: &Verifier, token: &str) -> Result<Identity, TokenError> {
    verifier.verify(token, None, now_ms())
}

fn now_ms() -> i64 {
    crate::clock::Clock::system().wall_ms()
}

fn claims() -> Claims {
    Claims { sub: "alice".into(), exp: now() + 60, ..Claims::default() }
}

#[test]
fn a_minted_token_is_good() {
    let claims = Claims { name: Some("Alice".into()), rooms: Some(vec!["live-*".into()]), ..claims() };
    let identity = verify(&plain(), &mint(SECRET, &claims).unwrap()).unwrap();
    let Claims { sub, exp, name, rooms, .. } = claims;
    let mark = TokenMark::new("alice", None, None);
    assert_eq!(identity, Identity { sub, name, rooms, until_unix_ms: exp as i64 * 1000, mark });
}

#[test]
fn only_the_pinned_algorithm_counts() {
    let good = json!({"sub": "alice", "exp": now() + 60});
    for alg in ["none", "None", "NONE", "HS384", "HS512", "RS256", "ES256", "EdDSA", ""] {
        let token = forge(&json!({ "alg": alg }), &good);
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        for token in [token, unsigned] {
            let error = verify(&plain(), &token).unwrap_err();
            assert!(matches!(error, TokenError::Algorithm | TokenError::Malformed), "{alg}: {error:?}");
        }
    }
    assert_eq!(verify(&plain(), &forge(&json!({}), &good)), Err(TokenError::Malformed));
    let critical = json!({"alg": "HS256", "crit": ["b64"], "b64": false});
    assert_eq!(verify(&plain(), &forge(&critical, &good)), Err(TokenError::Malformed));
}

#[test]
fn claims_decide() {
    let now = now();
    for (claims, expected) in [
        (json!({"sub": "alice", "exp": now - 1}), TokenError::Expired),
        (json!({"sub": "alice", "exp": now}), TokenError::Expired),
        (json!({"sub": "alice", "exp": 0}), TokenError::Expired),
        (json!({"sub": "alice", "exp": -5}), TokenError::Expired),
        (json!({"sub": "alice", "exp": -1e300}), TokenError::Expired),
        (json!({"sub": "alice", "exp": now + 60, "nbf": now + 30}), TokenError::NotYetValid),
        (json!({"sub": "alice", "exp": now + 60, "iat": now + 30}), TokenError::NotYetValid),
        (json!({"sub": "alice", "exp": 1e300, "nbf": 1e300}), TokenError::NotYetValid),
        (json!({"sub": "alice"}), TokenError::Malformed),
        (json!({"exp": now + 60}), TokenError::Malformed),
        (json!({"sub": "", "exp": now + 60}), TokenError::Subject),
        (json!([]), TokenError::Malformed),
        // Any other mistake is reported before the times.
        (json!({"sub": "", "exp": now - 60}), TokenError::Subject),
        (json!({"sub": "alice", "exp": now - 60, "rooms": "lobby"}), TokenError::Malformed),
    ] {
        assert_eq!(verify(&plain(), &signed(&claims)), Err(expected), "{claims}");
    }
    for claims in [
        json!({"sub": "alice", "exp": now + 60, "nbf": now, "iat": now, "aud": "x", "iss": "y"}),
        json!({"sub": "alice", "exp": now + 60, "nbf": -1, "iat": 0.5, "aud": ["x", "y"], "iss": ""}),
        json!({"sub": "alice", "exp": 1e300, "aud": [], "jti": "7", "else": [{"exp": null}]}),
        json!({"sub": "alice", "exp": i64::MAX, "rooms": []}),
    ] {
        assert!(verify(&plain(), &signed(&claims)).is_ok(), "{claims}");
    }
    assert_eq!(verify(&plain(), &forge_text(r#"{"sub":"a","exp":1e400}"#)), Err(TokenError::Malformed));
    assert_eq!(verify(&plain(), &forge_text(r#"{"sub":"a","exp":9,"exp":9e9}"#)), Err(TokenError::Malformed));
}

/// Regression: a claim of the wrong type must not count as absent.
#[test]
fn a_claim_of_the_wrong_type_is_not_an_absent_one() {
    let kinds = [json!(null), json!(7), json!(true), json!("7"), json!(["a"]), json!([7]), json!({"a": 1})];
    let fits = |claim: &str, value: &Value| match claim {
        "sub" | "name" | "iss" | "jti" => value.is_string(),
        "exp" | "nbf" | "iat" => value.is_number(),
        "rooms" => *value == json!(["a"]),
        _ => value.is_string() || *value == json!(["a"]),
    };
    for claim in ["sub", "name", "iss", "jti", "exp", "nbf", "iat", "rooms", "aud"] {
        for value in kinds.iter().filter(|value| !fits(claim, value)) {
            let mut claims = json!({"sub": "alice", "exp": now() + 60});
            claims[claim] = value.clone();
            assert_eq!(verify(&plain(), &signed(&claims)), Err(TokenError::Malformed), "{claims}");
        }
    }
}

#[test]
fn dates_are_taken_to_the_millisecond_and_with_the_leeway() {
    let at = 1_700_000_000;
    let with =
        |leeway_ms| RequiredClaims { leeway: Duration::from_millis(leeway_ms), ..RequiredClaims::default() };
    // The fractions of the claims, the leeway, when the token is shown, and whether it is accepted.
    for (claim, date, leeway_ms, shown_ms, expected) in [
        ("nbf", 0.6, 0, 700, Ok(())),
        ("nbf", 0.6, 0, 600, Ok(())),
        ("nbf", 0.6, 0, 599, Err(TokenError::NotYetValid)),
        ("nbf", 0.45, 0, 449, Err(TokenError::NotYetValid)),
        ("nbf", 0.45, 0, 450, Ok(())),
        ("iat", 0.6, 0, 599, Err(TokenError::NotYetValid)),
        ("iat", 0.6, 0, 600, Ok(())),
        ("exp", 0.6, 0, 599, Ok(())),
        ("exp", 0.6, 0, 600, Err(TokenError::Expired)),
        ("exp", 0.4, 0, 399, Ok(())),
        ("exp", 0.4, 0, 400, Err(TokenError::Expired)),
        ("nbf", 10.6, 10_000, 600, Ok(())),
        ("nbf", 10.6, 10_000, 599, Err(TokenError::NotYetValid)),
        ("iat", 1.0, 1_500, -500, Ok(())),
        ("iat", 1.0, 1_500, -501, Err(TokenError::NotYetValid)),
        ("exp", -10.4, 10_000, -401, Ok(())),
        ("exp", -10.4, 10_000, -400, Err(TokenError::Expired)),
    ] {
        let mut claims = json!({"sub": "alice", "exp": at + 3600});
        claims[claim] = json!(f64::from(at) + date);
        let verifier = Verifier::new(Key::Secret(SECRET), with(leeway_ms)).unwrap();
        let unix_ms = i64::from(at) * 1000 + shown_ms;
        let result = verifier.verify(&signed(&claims), None, unix_ms);
        assert_eq!(result.map(|_| ()), expected, "{claim} {date}, leeway {leeway_ms}, at {shown_ms}");
    }
    // The connection ends when the token would no longer be accepted.
    let claims = json!({"sub": "alice", "exp": f64::from(at) + 0.6});
    let verifier = Verifier::new(Key::Secret(SECRET), with(250)).unwrap();
    let until = verifier.verify(&signed(&claims), None, i64::from(at) * 1000).unwrap().until_unix_ms;
    assert_eq!(until, i64::from(at) * 1000 + 850);
    assert!(verifier.verify(&signed(&claims), None, until - 1).is_ok());
    assert_eq!(verifier.verify(&signed(&claims), None, until), Err(TokenError::Expired));
}

#[test]
fn a_token_may_have_to_belong_to_a_user() {
    let token = signed(&json!({"sub": "alice", "exp": now() + 60}));
    assert!(plain().verify(&token, Some("alice"), now_ms()).is_ok());
    assert_eq!(plain().verify(&token, Some("bob"), now_ms()), Err(TokenError::Subject));
    // An expired token of another user is reported as that of another user.
    let late = now_ms() + 3_600_000;
    assert_eq!(plain().verify(&token, Some("bob"), late), Err(TokenError::Subject));
    assert_eq!(plain().verify(&token, Some("alice"), late), Err(TokenError::Expired));
}

#[test]
fn audience_and_issuer_are_checked_when_configured() {
    let with = |aud: Option<&str>, iss: Option<&str>| {
        let claims = Claims { aud: aud.map(Into::into), iss: iss.map(Into::into), ..claims() };
        mint(SECRET, &claims).unwrap()
    };
    let required = RequiredClaims {
        audience: Some("throng".into()),
        issuer: Some("idp".into()),
        ..RequiredClaims::default()
    };
    let strict = Verifier::new(Key::Secret(SECRET), required).unwrap();
    assert!(verify(&strict, &with(Some("throng"), Some("idp"))).is_ok());
    assert_eq!(verify(&strict, &with(Some("other"), Some("idp"))), Err(TokenError::Audience));
    assert_eq!(verify(&strict, &with(Some("throng"), Some("other"))), Err(TokenError::Issuer));
    assert_eq!(verify(&strict, &with(None, Some("idp"))), Err(TokenError::MissingClaim));
    assert_eq!(verify(&strict, &with(Some("throng"), None)), Err(TokenError::MissingClaim));
}

#[test]
fn a_token_is_known_by_its_user_its_id_and_its_moment() {
    let claims = json!({"sub": "alice", "exp": now() + 60, "iat": 1_700_000_000.9, "jti": "7"});
    let mark = verify(&plain(), &signed(&claims)).unwrap().mark;
    assert_eq!(mark, TokenMark::new("alice", Some("7"), Some(1_700_000_000_900)));
}

#[test]
fn a_token_may_not_live_longer_than_allowed() {
    let required = RequiredClaims { max_life: Some(Duration::from_secs(60)), ..RequiredClaims::default() };
    let strict = Verifier::new(Key::Secret(SECRET), required).unwrap();
    let made = now() - 30;
    for (iat, exp, expected) in [
        (Some(made), made + 60, Ok(())),
        (Some(made), made + 61, Err(TokenError::TooLongLived)),
        (None, made + 60, Err(TokenError::MissingClaim)),
        // Any other mistake is reported before the times.
        (Some(made - 100), made, Err(TokenError::TooLongLived)),
        (Some(made - 60), made, Err(TokenError::Expired)),
    ] {
        let mut claims = json!({"sub": "alice", "exp": exp});
        iat.into_iter().for_each(|iat| claims["iat"] = json!(iat));
        assert_eq!(verify(&strict, &signed(&claims)).map(|_| ()), expected, "{claims}");
    }
}

#[test]
fn a_changed_or_foreign_signature_is_refused() {
    let token = mint(b"another secret", &claims()).unwrap();
    assert_eq!(verify(&plain(), &token), Err(TokenError::Signature));
    let token = mint(SECRET, &claims()).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let root = URL_SAFE_NO_PAD.encode(json!({"sub": "root", "exp": now() + 60}).to_string());
    assert_eq!(verify(&plain(), &format!("{header}.{root}.{signature}")), Err(TokenError::Signature));
    for garbage in ["", ".", "..", "a.b.c", &format!("{token}.x"), message, "💥"] {
        assert!(verify(&plain(), garbage).is_err(), "{garbage}");
    }
    assert_eq!(verify(&plain(), &"x".repeat(MAX_TOKEN_BYTES + 1)), Err(TokenError::TooLong));
}

#[test]
fn an_empty_secret_neither_signs_nor_verifies() {
    assert!(matches!(Verifier::new(Key::Secret(b""), RequiredClaims::default()), Err(KeyError::EmptySecret)));
    assert_eq!(mint(b"", &claims()), Err(TokenError::EmptySecret));
}

#[test]
fn a_token_is_found_in_three_places_in_order() {
    let token = |text| FoundToken::Token(Token::new(text).unwrap());
    let basic: &[u8] = b"Basic dXNlcjpwYXNz";
    let none: [&[u8]; 0] = [];
    assert_eq!(find(none, &[], None), FoundToken::Absent);
    assert_eq!(find([&b"Bearer a.b.c"[..]], &["bearer", "x"], Some("y")), token("a.b.c"));
    assert_eq!(find([&b"bEARER   a.b.c "[..]], &[], None), token("a.b.c"));
    assert_eq!(find([basic], &["throng.v1", "bearer", "x.y"], Some("q")), token("x.y"));
    assert_eq!(find([basic], &["throng.v1"], Some("q")), token("q"));
    assert_eq!(find([basic], &["throng.v1"], None), FoundToken::Absent);
    assert_eq!(find([&b"Bearerx"[..]], &[], None), FoundToken::Absent);
    for malformed in [&b"Bearer"[..], b"Bearer ", b"Bearer a b", b"Bearer \xff"] {
        assert_eq!(find([malformed], &[], None), FoundToken::Malformed, "{malformed:?}");
    }
    assert_eq!(find([&b"Bearer a"[..], b"Bearer a"], &[], None), FoundToken::Malformed);
    assert_eq!(find(none, &["throng.v1", "bearer"], None), FoundToken::Malformed);
    assert_eq!(find(none, &[], Some("")), FoundToken::Malformed);
    assert_eq!(find(none, &[], Some(&"x".repeat(MAX_TOKEN_BYTES))), token(&"x".repeat(MAX_TOKEN_BYTES)));
    assert_eq!(
        find(none, &[], Some(&"x".repeat(MAX_TOKEN_BYTES + 1))),
        FoundToken::TooLong(MAX_TOKEN_BYTES + 1)
    );
}

#[test]
fn nothing_prints_a_token() {
    let found = find([&b"Bearer canary"[..]], &[], None);
    assert!(!format!("{found:?}").contains("canary"), "{found:?}");
}

#[test]
fn a_signature_of_any_of_the_keys_is_good() {
    let other = b"the secret that follows, which has 32 bytes and more";
    let keys = [Key::Secret(SECRET), Key::Secret(other)];
    let both = Verifier::with_keys(&keys, RequiredClaims::default()).unwrap();
    for secret in [SECRET, other] {
        assert!(verify(&both, &mint(secret, &claims()).unwrap()).is_ok());
    }
    assert_eq!(verify(&both, &mint(b"a third one", &claims()).unwrap()), Err(TokenError::Signature));
    // The error of a token does not depend on the place of its key.
    let expired = mint(other, &Claims { exp: now() - 60, ..claims() }).unwrap();
    assert_eq!(verify(&both, &expired), Err(TokenError::Expired));
    let nothing = Verifier::with_keys(&[], RequiredClaims::default());
    assert!(matches!(nothing, Err(KeyError::EmptySecret)));
}

/// The keys that the tests sign with. They are public.
const PAIRS: [(keys::Algorithm, Algorithm, &str, &str); 3] = [
    (
        keys::Algorithm::Rs256,
        Algorithm::RS256,
        include_str!("../../../tests/keys/TEST-ONLY-rs256.private.pem"),
        include_str!("../../../tests/keys/TEST-ONLY-rs256.public.pem"),
    ),
    (
        keys::Algorithm::Es256,
        Algorithm::ES256,
        include_str!("../../../tests/keys/TEST-ONLY-es256.private.pem"),
        include_str!("../../../tests/keys/TEST-ONLY-es256.public.pem"),
    ),
    (
        keys::Algorithm::EdDsa,
        Algorithm::EdDSA,
        include_str!("../../../tests/keys/TEST-ONLY-eddsa.private.pem"),
        include_str!("../../../tests/keys/TEST-ONLY-eddsa.public.pem"),
    ),
];

/// Reads a key to sign with from PEM.
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
        let verifier = Verifier::new(Key::Public(&key), RequiredClaims::default()).unwrap();
        assert_eq!(verify(&verifier, &hmac), Err(TokenError::Algorithm));
        for (theirs, token) in tokens.iter().enumerate() {
            let result = verify(&verifier, token);
            match ours == theirs {
                true => assert_eq!(result.unwrap().sub, "alice"),
                false => assert_eq!(result, Err(TokenError::Algorithm)),
            }
            assert_eq!(verify(&plain(), token), Err(TokenError::Algorithm));
        }
        // Other claims under a good signature, and a signature that is not a valid one of its kind.
        let (message, signature) = tokens[ours].rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let root = URL_SAFE_NO_PAD.encode(json!({"sub": "root", "exp": now() + 60}).to_string());
        for forged in
            [format!("{header}.{root}.{signature}"), format!("{message}."), format!("{message}.AAAA")]
        {
            assert_eq!(verify(&verifier, &forged), Err(TokenError::Signature), "{pinned:?}");
        }
    }
}

#[test]
fn the_public_key_is_no_secret() {
    // 1. The server verifies with a public key. 2. An attacker signs with HS256 and that key as the secret.
    for (pinned, _, _, public) in PAIRS {
        let key = PublicKey::parse(pinned, public).unwrap();
        let verifier = Verifier::new(Key::Public(&key), RequiredClaims::default()).unwrap();
        assert_eq!(
            verify(&verifier, &mint(public.as_bytes(), &claims()).unwrap()),
            Err(TokenError::Algorithm)
        );
    }
    // The same key under another scheme of the same family is another algorithm.
    let (pinned, _, private, public) = PAIRS[0];
    let pss = encode(&Header::new(Algorithm::PS256), &claims(), &signing(Algorithm::PS256, private)).unwrap();
    let key = PublicKey::parse(pinned, public).unwrap();
    let verifier = Verifier::new(Key::Public(&key), RequiredClaims::default()).unwrap();
    assert_eq!(verify(&verifier, &pss), Err(TokenError::Algorithm));
}

#[test]
fn the_settings_say_which_key_counts() {
    let mut auth = config::Config::default().auth;
    assert!(Verifier::from_config(&auth).unwrap().is_none());
    auth.secret = vec![config::Secret::new(std::str::from_utf8(SECRET).unwrap())];
    let verifier = Verifier::from_config(&auth).unwrap().unwrap();
    assert!(verify(&verifier, &mint(SECRET, &claims()).unwrap()).is_ok());
    for (algorithm, _, _, public) in PAIRS {
        auth.algorithm = algorithm;
        auth.public_key.clear();
        assert!(Verifier::from_config(&auth).unwrap().is_none(), "the secret is no key of {algorithm:?}");
        auth.public_key.push(public.into());
        assert!(Verifier::from_config(&auth).unwrap().is_some());
    }
    auth.public_key = vec!["-----BEGIN PUBLIC KEY-----".into()];
    assert!(Verifier::from_config(&auth).is_err());
}
