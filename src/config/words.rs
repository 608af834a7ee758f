//! Kinds of text, and lists of it.

use std::path::PathBuf;

use toml::Value;

use super::kind::{Fault, Kind, Raw};
use super::value::{REDACTED, Secret, is_address_block, is_name, is_origin, is_pattern};

/// Text that satisfies a test; empty text stands for "not set" in the tree and can never be given.
pub(super) struct Text {
    pub(super) fits: fn(&str) -> bool,
    pub(super) allowed: &'static str,
}

/// A name of a room or node.
pub(super) const NAME: Text = Text { fits: is_name, allowed: "1 to 64 of A-Z a-z 0-9 _ . : @ -" };
/// A name in which `*` stands for anything.
pub(super) const PATTERN: Text = Text {
    fits: is_pattern,
    allowed: "a room name in which * stands for anything, 1 to 64 of A-Z a-z 0-9 _ . : @ - *",
};
/// A claim's value.
pub(super) const CLAIM: Text =
    Text { fits: |text| (1..=256).contains(&text.len()), allowed: "1 to 256 bytes of text" };
/// Directives of the log filter.
pub(super) const FILTER: Text = Text {
    fits: is_filter,
    allowed: "a level (off, error, warn, info, debug, trace) or directives like info,throng::registry=debug",
};

/// The filter itself takes any bare word for a module's name, so that `warning` would silence everything.
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

/// A public key in PEM. Whether it is a good one for its algorithm is known only when both are.
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
    fn faults(&self, _: Raw<'_>) -> Vec<Fault> {
        // The likeliest mistake is the private key in its place.
        let problem = format!("must be {}", self.allowed());
        vec![Fault { place: String::new(), given: Some(REDACTED.into()), problem }]
    }
}

/// A path of a file or folder.
pub(super) struct Place;

impl Kind for Place {
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

/// Something that nobody must see; length in bytes from and to.
pub(super) struct Hidden(pub(super) usize, pub(super) usize);

impl Kind for Hidden {
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

/// A secret that is sent in a header: long enough not to be guessed, and nothing that a header would lose.
pub(super) struct HeaderKey;

impl Kind for HeaderKey {
    type Value = Secret;
    const SECRET: bool = true;
    fn parse(&self, raw: Raw<'_>) -> Option<Secret> {
        let fits =
            |text: &&str| (16..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        raw.text().filter(fits).map(Secret::new)
    }
    fn show(&self, _: &Secret) -> Option<Value> {
        Some(Value::String(REDACTED.into()))
    }
    fn allowed(&self) -> String {
        "16 to 256 visible ASCII characters without blanks".into()
    }
}

/// As [`List`], but each on a line of its own, as in a file; empty lines do not count. Not empty.
pub(super) struct Lines<K>(pub(super) K);

impl<K: Kind> Kind for Lines<K> {
    type Value = Vec<K::Value>;
    const SECRET: bool = K::SECRET;
    fn parse(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let lines = raw.text()?.lines().map(str::trim).filter(|line| !line.is_empty());
        let items: Vec<K::Value> = lines.map(|line| self.0.parse(Raw::Text(line))).collect::<Option<_>>()?;
        (1..=List::<K>::MOST).contains(&items.len()).then_some(items)
    }
    fn show(&self, value: &Self::Value) -> Option<Value> {
        let shown: Vec<Value> = value.iter().filter_map(|item| self.0.show(item)).collect();
        (!shown.is_empty()).then_some(Value::Array(shown))
    }
    fn allowed(&self) -> String {
        format!("1 to {} lines, each {}", List::<K>::MOST, self.0.allowed())
    }
}

/// What need not be set.
pub(super) struct Maybe<K>(pub(super) K);

impl<K: Kind> Kind for Maybe<K> {
    type Value = Option<K::Value>;
    const SECRET: bool = K::SECRET;
    fn parse(&self, raw: Raw<'_>) -> Option<Self::Value> {
        self.0.parse(raw).map(Some)
    }
    fn show(&self, value: &Self::Value) -> Option<Value> {
        self.0.show(value.as_ref()?)
    }
    fn allowed(&self) -> String {
        self.0.allowed()
    }
    fn faults(&self, raw: Raw<'_>) -> Vec<Fault> {
        self.0.faults(raw)
    }
}

/// At most [`List::MOST`] of `K`; in the environment separated by commas.
pub(super) struct List<K>(pub(super) K);

impl<K> List<K> {
    /// No list of a configuration is longer.
    const MOST: usize = 1024;
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;
    const SECRET: bool = K::SECRET;
    fn parse(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let items: Vec<K::Value> = match raw {
            Raw::Toml(value) => {
                value.as_array()?.iter().map(|v| self.0.parse(Raw::Toml(v))).collect::<Option<_>>()?
            }
            Raw::Text(text) => {
                text.split(',').map(|t| self.0.parse(Raw::Text(t.trim()))).collect::<Option<_>>()?
            }
        };
        (items.len() <= Self::MOST).then_some(items)
    }
    fn show(&self, value: &Self::Value) -> Option<Value> {
        let shown: Vec<Value> = value.iter().filter_map(|item| self.0.show(item)).collect();
        (!shown.is_empty()).then_some(Value::Array(shown))
    }
    fn allowed(&self) -> String {
        format!("a list (in the environment with commas) of up to {}, each {}", Self::MOST, self.0.allowed())
    }
}

/// An IP address or address block.
pub(super) const ADDRESS_BLOCK: Text =
    Text { fits: is_address_block, allowed: "an IP address or block like 10.0.0.0/8" };

/// A list of origins, or `any`, which is the empty list in the tree. An empty list cannot be *given*: it is what an
/// unset variable in a deployment file turns into, and it must not open the door.
pub(super) struct Origins;

impl Origins {
    const ITEM: Text = Text { fits: is_origin, allowed: "scheme://host[:port] without a path" };
}

impl Kind for Origins {
    type Value = Vec<String>;
    fn parse(&self, raw: Raw<'_>) -> Option<Vec<String>> {
        let word = match raw {
            Raw::Toml(Value::Array(items)) if items.len() == 1 => items[0].as_str(),
            other => other.text(),
        };
        if matches!(word, Some("any" | "*")) {
            return Some(Vec::new());
        }
        List(Self::ITEM).parse(raw).filter(|list| !list.is_empty())
    }
    fn show(&self, value: &Vec<String>) -> Option<Value> {
        Some(List(Self::ITEM).show(value).unwrap_or_else(|| Value::String("any".into())))
    }
    fn allowed(&self) -> String {
        format!("\"any\" or {}", List(Self::ITEM).allowed())
    }
}
