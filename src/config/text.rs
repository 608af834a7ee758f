//! Kinds of values that are text: names, patterns, addresses, paths, keys and secrets.

use std::path::PathBuf;

use toml::Value;

use super::address::Address;
use super::kind::{InvalidValue, Kind, Raw};
use super::list::Several;
use super::types::{REDACTED, Secret, is_address_block, is_name, is_pattern};
use super::url::Url;

/// Text that passes a check. In the tree, empty text means "not set"; no check may accept it.
pub(super) struct Text {
    /// The check.
    pub(super) fits: fn(&str) -> bool,
    /// The accepted text, as the end of a sentence that begins with "must be".
    pub(super) allowed: &'static str,
}

/// The name of a room or node.
pub(super) const NAME: Text = Text { fits: is_name, allowed: "1 to 64 of A-Z a-z 0-9 _ . : @ -" };
/// The id of a user.
pub(super) const USER: Text =
    Text { fits: |text| text.len() >= 3 && is_name(text), allowed: "3 to 64 of A-Z a-z 0-9 _ . : @ -" };
/// A pattern for room names, in which `*` stands for any characters.
pub(super) const PATTERN: Text = Text {
    fits: is_pattern,
    allowed: "a room name in which * stands for anything, 1 to 64 of A-Z a-z 0-9 _ . : @ - *",
};
/// The value of a token's claim.
pub(super) const CLAIM: Text =
    Text { fits: |text| (1..=256).contains(&text.len()), allowed: "1 to 256 bytes of text" };
/// Certificates in PEM, as a file contains them.
pub(super) const CERTIFICATES: Text = Text {
    fits: |text| text.contains("-----BEGIN CERTIFICATE-----"),
    allowed: "a certificate in PEM, with a line -----BEGIN CERTIFICATE-----",
};
/// A private key in PEM, as a file contains it.
pub(super) const PRIVATE_KEY: Text = Text {
    fits: |text| text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----"),
    allowed: "a private key in PEM, with a line BEGIN PRIVATE KEY between dashes",
};
/// The name of a header.
pub(super) const HEADER: Text = Text {
    fits: |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    },
    allowed: "the name of a header: 1 to 64 of A-Z a-z 0-9 - _",
};
/// The name of a user or master of the engine, which is sent as one word.
pub(super) const LABEL: Text = Text {
    fits: |text| (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()),
    allowed: "1 to 256 visible ASCII characters without blanks",
};
/// The first part of the name of every key in the engine.
pub(super) const PREFIX: Text =
    Text { fits: |text| text.len() <= 32 && is_name(text), allowed: "1 to 32 of A-Z a-z 0-9 _ . : @ -" };
/// A JSON Web Key Set, which the loader parses once it knows the algorithm.
pub(super) const KEY_SET: Text = Text {
    fits: |text| text.trim_start().starts_with('{') && text.len() <= crate::keys::jwks::MAX_BYTES,
    allowed: "a JSON Web Key Set of at most 256KiB, like {\"keys\":[…]}",
};
/// An IP address or address block.
pub(super) const ADDRESS_BLOCK: Text =
    Text { fits: is_address_block, allowed: "an IP address or block like 10.0.0.0/8" };
/// Directives of the log filter.
pub(super) const FILTER: Text = Text {
    fits: is_filter,
    allowed: "a level (off, error, warn, info, debug, trace) or directives like info,throng::server=debug",
};

/// Returns true for directives that the log filter understands as they are meant: it takes any bare word for a module's
/// name, so that `warning` would silence everything.
fn is_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let is_bare = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric());
    text.split(',').all(|part| !is_bare(part) || is_level(part))
        && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

impl Kind for Text {
    type Value = String;
    fn parse(&self, raw: Raw<'_>) -> Option<String> {
        raw.text().filter(|text| (self.fits)(text)).map(Into::into)
    }
    fn show(&self, value: &String) -> Option<Value> {
        (!value.is_empty()).then(|| Value::String(value.clone()))
    }
    fn allowed(&self) -> String {
        self.allowed.into()
    }
}

/// A public key in PEM. The loader checks whether it fits the algorithm, once it knows both.
pub(super) struct Pem;

impl Kind for Pem {
    type Value = String;
    fn parse(&self, raw: Raw<'_>) -> Option<String> {
        raw.text().filter(|text| text.trim_start().starts_with("-----BEGIN PUBLIC KEY-----")).map(Into::into)
    }
    fn show(&self, value: &String) -> Option<Value> {
        Some(Value::String(value.clone()))
    }
    fn allowed(&self) -> String {
        "a public key in PEM, beginning with -----BEGIN PUBLIC KEY-----".into()
    }
    fn explain(&self, _: Raw<'_>) -> Vec<InvalidValue> {
        // Redacted: the likeliest mistake is to give the private key instead.
        let problem = format!("must be {}", self.allowed());
        vec![InvalidValue { part: String::new(), given: Some(REDACTED.into()), problem }]
    }
}

/// One public key or several, one PEM block behind the other.
pub(super) const PEMS: Several<Pem> =
    Several { kind: Pem, divide: pem_blocks, divided: "one PEM block behind the other" };

/// One secret of tokens or several, one per line.
pub(super) const SECRETS: Several<SecretText> =
    Several { kind: SecretText(1, 4096), divide: secret_lines, divided: "one per line" };

/// Returns each PEM block of a text, the first one with what stands before it.
fn pem_blocks(text: &str) -> Vec<&str> {
    let starts = text.match_indices("-----BEGIN ").map(|(at, _)| at).skip(1);
    let mut from = 0;
    let mut blocks = Vec::new();
    for start in starts.chain([text.len()]) {
        blocks.push(&text[from..start]);
        from = start;
    }
    blocks
}

/// Returns the lines of a text that are not empty, without white space at their ends. A key in PEM stays whole: it is
/// no secret, and the loader says so.
fn secret_lines(text: &str) -> Vec<&str> {
    if text.starts_with("-----BEGIN ") {
        return vec![text];
    }
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect()
}

/// The path of a file or folder.
pub(super) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;
    fn parse(&self, raw: Raw<'_>) -> Option<PathBuf> {
        raw.text().filter(|text| !text.is_empty() && !text.contains('\0')).map(Into::into)
    }
    fn show(&self, value: &PathBuf) -> Option<Value> {
        Some(Value::String(value.to_string_lossy().into_owned()))
    }
    fn allowed(&self) -> String {
        "a path".into()
    }
}

/// The kind of an [`Address`].
pub(super) struct HostPort;

impl Kind for HostPort {
    type Value = Address;
    fn parse(&self, raw: Raw<'_>) -> Option<Address> {
        Address::parse(raw.text()?)
    }
    fn show(&self, value: &Address) -> Option<Value> {
        Some(Value::String(value.to_string()))
    }
    fn allowed(&self) -> String {
        "a host and a port, like redis.example:6379, 10.0.0.1:6379 or [::1]:6379".into()
    }
    fn explain(&self, raw: Raw<'_>) -> Vec<InvalidValue> {
        // The likeliest mistake is a URL, which may contain a password before its `@`.
        let shown = raw.shown();
        let given = if shown.contains('@') { REDACTED.into() } else { shown };
        let problem = format!("must be {}; user and password have keys of their own", self.allowed());
        vec![InvalidValue { part: String::new(), given: Some(given), problem }]
    }
}

/// Secret text of at least the first field and at most the second in bytes.
pub(super) struct SecretText(pub(super) usize, pub(super) usize);

impl Kind for SecretText {
    type Value = Secret;
    const SECRET: bool = true;
    fn parse(&self, raw: Raw<'_>) -> Option<Secret> {
        raw.text().filter(|text| (self.0..=self.1).contains(&text.len())).map(Secret::new)
    }
    fn show(&self, _: &Secret) -> Option<Value> {
        Some(Value::String(REDACTED.into()))
    }
    fn allowed(&self) -> String {
        format!("{} to {} bytes of text", self.0, self.1)
    }
}

/// A secret that clients send in a header: too long to be guessed, and only characters that a header preserves. A name
/// may stand before it: `NAME=SECRET`.
pub(super) struct HeaderSecret;

impl Kind for HeaderSecret {
    type Value = Secret;
    const SECRET: bool = true;
    fn parse(&self, raw: Raw<'_>) -> Option<Secret> {
        let secret = raw.text().map(Secret::new)?;
        let fits = |key: &[u8]| (16..=256).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
        fits(secret.named().1).then_some(secret)
    }
    fn show(&self, _: &Secret) -> Option<Value> {
        Some(Value::String(REDACTED.into()))
    }
    fn allowed(&self) -> String {
        "16 to 256 visible ASCII characters without blanks, with or without a name: NAME=KEY".into()
    }
}

/// The URL of another server.
pub(super) struct HttpUrl;

impl HttpUrl {
    pub(super) const ALLOWED: &'static str =
        "an https URL without a user and a fragment, or http to a loopback or private address";
}

impl Kind for HttpUrl {
    type Value = Url;
    fn parse(&self, raw: Raw<'_>) -> Option<Url> {
        Url::parse(raw.text()?)
    }
    fn show(&self, value: &Url) -> Option<Value> {
        (!value.as_str().is_empty()).then(|| Value::String(value.to_string()))
    }
    fn allowed(&self) -> String {
        Self::ALLOWED.into()
    }
    fn explain(&self, _: Raw<'_>) -> Vec<InvalidValue> {
        // It may hold a password before its `@`, or a secret in its path.
        let problem = format!("must be {}", self.allowed());
        vec![InvalidValue { part: String::new(), given: Some(REDACTED.into()), problem }]
    }
}

/// A secret of a webhook, as Standard Webhooks write it: `whsec_` and base64.
pub(super) struct SigningSecret;

impl Kind for SigningSecret {
    type Value = Secret;
    const SECRET: bool = true;
    fn parse(&self, raw: Raw<'_>) -> Option<Secret> {
        let secret = Secret::new(raw.text()?);
        let bytes = secret.signing_key()?;
        (16..=128).contains(&bytes.len()).then_some(secret)
    }
    fn show(&self, _: &Secret) -> Option<Value> {
        Some(Value::String(REDACTED.into()))
    }
    fn allowed(&self) -> String {
        "whsec_ followed by 16 to 128 bytes in base64".into()
    }
}
