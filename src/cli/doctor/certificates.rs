//! Checks the certificates for TLS: that keys belong to them, that they hold for a while, and that their chains lead to
//! an authority.

use std::path::Path;
use std::time::SystemTime;

use crate::config::{Config, Finding};
use crate::tls::{Chain, Identity, Pair, client_authorities};

/// Days before its end at which a certificate should have been renewed. Automatic renewal begins 30 days before it.
const SOON_DAYS: u64 = 14;
const SUBJECT: &str = "tls";

/// Runs the checks. There is nothing to check without a certificate.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for (cert_file, key_file) in config.tls.pairs() {
        match Identity::load(Pair { cert_file, key_file }) {
            Ok(identity) => {
                found.push(names(&identity));
                found.push(time(&identity, SystemTime::now()));
                found.push(chain(&identity));
            }
            Err(error) => {
                found.push(Finding::error(SUBJECT, error.to_string(), "the server does not start with it"))
            }
        }
    }
    found.extend(config.tls.client_ca_file.as_deref().map(authorities));
    found
}

fn shown(identity: &Identity) -> String {
    format!("{:?}", identity.pair.cert_file)
}

/// Checks that the certificate has names, and says which. Its key fits already.
fn names(identity: &Identity) -> Finding {
    let file = shown(identity);
    if identity.names.is_empty() {
        let text =
            format!("{file} is for no name: clients compare the host with its alternative names alone");
        return Finding::error(SUBJECT, text, "have it issued for the names of this server");
    }
    Finding::ok(SUBJECT, format!("{file} has its key, and is for {}", identity.names.join(", ")))
}

/// Checks that all certificates of the chain hold now, and for some days more.
fn time(identity: &Identity, now: SystemTime) -> Finding {
    let (file, validity) = (shown(identity), identity.validity);
    let days =
        |from: SystemTime, to: SystemTime| to.duration_since(from).map_or(0, |time| time.as_secs() / 86_400);
    let left = days(now, validity.until);
    if now < validity.from {
        let text = format!("{file} does not hold before {} days from now", days(now, validity.from) + 1);
        return Finding::error(SUBJECT, text, "check this machine's clock, or have it issued again");
    }
    if !validity.contains(now) {
        let text = format!("{file} or one of its chain has expired, {} days ago", days(validity.until, now));
        return Finding::error(SUBJECT, text, "renew it: clients refuse it");
    }
    if left < SOON_DAYS {
        return Finding::warning(
            SUBJECT,
            format!("{file} or one of its chain expires in {left} days"),
            "renew it",
        );
    }
    Finding::ok(SUBJECT, format!("{file} and its chain hold for {left} days more"))
}

/// Checks that the chain leads to an authority.
fn chain(identity: &Identity) -> Finding {
    let file = shown(identity);
    match identity.follow_chain() {
        Chain::Trusted => {
            Finding::ok(SUBJECT, format!("the chain of {file} leads to an authority that is trusted here"))
        }
        Chain::OwnAuthority { name } => Finding::warning(
            SUBJECT,
            format!("the chain of {file} leads to {name}, which this machine does not trust"),
            "only clients that are told to trust it can connect; browsers are not",
        ),
        Chain::Open { issuer } => Finding::warning(
            SUBJECT,
            format!(
                "the chain of {file} ends with one that is signed by {issuer}, which this machine does not know"
            ),
            "append the certificates in between (often called fullchain.pem), or have clients trust that authority",
        ),
        Chain::Broken { number, issuer } => Finding::error(
            SUBJECT,
            format!("in {file}, certificate {number} is signed by {issuer}, which does not follow it"),
            "order them: the server's own first, then the one that signed it, and so on",
        ),
    }
}

/// Checks that the authorities of callers can be used.
fn authorities(path: &Path) -> Finding {
    match client_authorities(path) {
        Ok(roots) => {
            let text =
                format!("callers at `api.listen` need a certificate of the {} in {path:?}", roots.len());
            Finding::ok(SUBJECT, text)
        }
        Err(error) => Finding::error(SUBJECT, error.to_string(), "the server does not start with it"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::config::Level;

    fn identity() -> Identity {
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
        let file = |name: &str| -> PathBuf { keys.join(format!("TEST-ONLY-localhost.{name}.pem")) };
        let pair = Pair { cert_file: file("certificate"), key_file: file("private") };
        Identity::load(pair).expect("a certificate and its key")
    }

    #[test]
    fn a_certificate_is_renewed_in_time() {
        let identity = identity();
        let until = identity.validity.until;
        for (now, level, words) in [
            (until - Duration::from_secs(100 * 86_400), Level::Ok, "100 days more"),
            (until - Duration::from_secs(13 * 86_400), Level::Warning, "in 13 days"),
            (until + Duration::from_secs(2 * 86_400), Level::Error, "2 days ago"),
            (identity.validity.from - Duration::from_secs(90_000), Level::Error, "before 2 days from now"),
        ] {
            let found = time(&identity, now);
            assert!(found.level == level && found.text.contains(words), "{found:?}");
        }
    }

    #[test]
    fn a_certificate_that_has_signed_itself_is_for_those_who_know_it() {
        let found = chain(&identity());
        assert!(found.level == Level::Warning && found.text.contains("CN=localhost"), "{found:?}");
        assert_eq!(names(&identity()).level, Level::Ok);
    }
}
