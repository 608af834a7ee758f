//! Certificates from files: what is refused and why, which one a client gets, and how they are replaced.

use std::fs;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;

use super::super::{Certificates, Chain, Identity, Pair, ReplaceError, Stamp, server_config};
use super::authority::Authority;
use super::peers::{Peers, VERSIONS, client_config};

#[test]
fn a_certificate_is_read_with_its_names_and_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let issued =
        Authority::new().issue(&["Chat.example", "*.chat.example", "127.0.0.1", "::1"], (2020, 2030));
    let identity = Identity::load(issued.write(dir.path(), "a")).unwrap();
    assert_eq!(identity.names, ["chat.example", "*.chat.example", "127.0.0.1", "::1"]);
    assert_eq!(identity.validity.until_unix_s(), 1_893_456_000, "2030-01-01");
    assert_eq!(identity.chain().len(), 1);
}

#[test]
fn files_that_do_not_fit_are_refused_by_name_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (a, b) =
        (authority.issue(&["a.example"], (2020, 2120)), authority.issue(&["b.example"], (2020, 2120)));
    let good = a.write(dir.path(), "good");
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = a.certificate.replacen('M', "?", 1);
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (cert_file, key_file, words) in [
        (dir.path().join("none"), good.key_file.clone(), "cannot read"),
        (good.cert_file.clone(), dir.path().to_owned(), "cannot read"),
        (good.key_file.clone(), good.key_file.clone(), "no certificate in PEM"),
        (good.cert_file.clone(), good.cert_file.clone(), "no private key in PEM"),
        (good.cert_file.clone(), file("b.key", &b.key), "is not the key of the first certificate"),
        (
            file("swapped", &[authority.pem(), a.certificate.clone()].concat()),
            good.key_file.clone(),
            "has to stand first",
        ),
        (good.cert_file.clone(), file("encrypted", encrypted), "encrypted"),
        (file("broken", &broken), good.key_file.clone(), "PEM"),
        (file("cut", cut), good.key_file.clone(), "certificate 1 cannot be parsed"),
        (file("long", &a.certificate.repeat(17)), good.key_file.clone(), "17 certificates, at most 16"),
        (file("large", &" ".repeat(1024 * 1024 + 1)), good.key_file.clone(), "larger than 1048576 bytes"),
    ] {
        let error = Identity::load(Pair { cert_file, key_file }).unwrap_err().to_string();
        assert!(
            error.contains(words) && error.contains(&dir.path().display().to_string()),
            "{words}: {error}"
        );
    }
}

/// Returns the first certificate that a client gets which asks for a name.
fn asked(certificates: &Arc<Certificates>, authority: &Authority, name: &str) -> Vec<u8> {
    let server = Arc::new(server_config(Arc::clone(certificates), None).unwrap());
    let client = Arc::new(client_config(authority.roots(), VERSIONS[1]));
    let mut peers = Peers::named(server, &client, name);
    peers.shake_hands(|| usize::MAX);
    peers.client.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn each_client_gets_the_certificate_for_the_name_that_it_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let names: [&[&str]; 4] =
        [&["first.example", "127.0.0.1"], &["second.example"], &["*.second.example"], &["x.second.example"]];
    let pairs = names.iter().map(|names| authority.issue(names, (2020, 2120)).write(dir.path(), names[0]));
    let certificates = Arc::new(Certificates::load(pairs).unwrap());
    let chains: Vec<_> = certificates.identities().iter().map(|each| each.chain()[0].to_vec()).collect();
    for (name, index) in [
        ("first.example", 0),
        ("SECOND.example", 1),
        ("any.second.example", 2),
        ("x.second.example", 3),
        // An address is not asked for (RFC 6066, section 3).
        ("127.0.0.1", 0),
    ] {
        assert!(asked(&certificates, &authority, name) == chains[index], "{name}");
    }
}

#[test]
fn a_name_with_keys_of_two_algorithms_serves_clients_of_either() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let odd = authority.issue_for(&["localhost"], (2020, 2120), ed25519).write(dir.path(), "odd");
    let usual = authority.issue(&["localhost"], (2020, 2120)).write(dir.path(), "usual");
    let certificates = Arc::new(Certificates::load([odd, usual]).unwrap());
    assert_eq!(asked(&certificates, &authority, "localhost"), *certificates.identities()[0].chain()[0]);
    // Every client of TLS 1.2 and 1.3 here knows both algorithms; that one is chosen which can sign is what counts.
    assert_eq!(certificates.identities().len(), 2);
}

#[test]
fn certificates_are_replaced_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let now = SystemTime::now();
    let pair = authority.issue(&["localhost"], (2020, 2120)).write(dir.path(), "a");
    let certificates = Arc::new(Certificates::load([pair.clone()]).unwrap());
    let first = asked(&certificates, &authority, "localhost");
    let old = Stamp::of([pair.cert_file.as_path()]);
    assert_eq!(old, Stamp::of([pair.cert_file.as_path()]));

    authority.issue(&["localhost"], (2020, 2021)).write(dir.path(), "a");
    assert_ne!(old, Stamp::of([pair.cert_file.as_path()]));
    let error = certificates.replace([pair.clone()], now).unwrap_err();
    assert!(matches!(error, ReplaceError::NotNow { until: 1_609_459_200, .. }), "{error}");
    fs::write(&pair.key_file, "no key").unwrap();
    assert!(matches!(certificates.replace([pair.clone()], now), Err(ReplaceError::Identity(_))));
    assert!(asked(&certificates, &authority, "localhost") == first, "the old one stays");

    authority.issue(&["localhost"], (2020, 2119)).write(dir.path(), "a");
    certificates.replace([pair], now).unwrap();
    assert!(asked(&certificates, &authority, "localhost") != first);
}

#[test]
fn a_chain_is_followed_to_its_authority() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"], (2020, 2120));
    let load = |name: &str, chain: String| {
        let pair = issued.write(dir.path(), name);
        fs::write(&pair.cert_file, chain).unwrap();
        Identity::load(pair).unwrap()
    };
    let none = RootCertStore::empty();
    let alone = load("alone", issued.certificate.clone());
    assert_eq!(alone.follow_chain_to(&authority.roots()), Chain::Trusted);
    assert!(matches!(alone.follow_chain_to(&none), Chain::Open { issuer } if issuer == "CN=The Authority"));
    let whole = load("whole", [issued.certificate.clone(), authority.pem()].concat());
    assert!(matches!(whole.follow_chain_to(&none), Chain::OwnAuthority { .. }));
    let key = include_str!("../../../tests/keys/TEST-ONLY-localhost.certificate.pem");
    let broken = load("broken", [issued.certificate.as_str(), key].concat());
    assert!(matches!(broken.follow_chain_to(&authority.roots()), Chain::Broken { number: 1, .. }));
}
