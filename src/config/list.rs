//! Kinds of values that contain others: lists, and values that need not be set.

use toml::Value;

use super::kind::{InvalidValue, Kind, Raw};
use super::text::Text;
use super::types::is_origin;

/// At least one and at most [`List::MOST`] of `K`, one per line of a file; empty lines are ignored.
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

/// At most [`Several::MOST`] of a kind: a list of TOML, or text that has one behind the other.
pub(super) struct Several<K> {
    /// The kind of each.
    pub(super) kind: K,
    /// Divides text into the parts that have one each.
    pub(super) divide: fn(&str) -> Vec<&str>,
    /// The way in which text has several, as the end of a sentence.
    pub(super) divided: &'static str,
}

impl<K> Several<K> {
    /// Most values. A change of keys needs two, and a token that fits none of them is tried with each.
    const MOST: usize = 8;
}

impl<K: Kind> Kind for Several<K> {
    type Value = Vec<K::Value>;
    const SECRET: bool = K::SECRET;
    fn parse(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let parts = match raw {
            Raw::Toml(Value::Array(items)) => items.iter().map(Raw::Toml).collect(),
            other => (self.divide)(other.text()?).into_iter().map(Raw::Text).collect::<Vec<_>>(),
        };
        let items: Vec<K::Value> =
            parts.into_iter().map(|part| self.kind.parse(part)).collect::<Option<_>>()?;
        (1..=Self::MOST).contains(&items.len()).then_some(items)
    }
    fn show(&self, value: &Self::Value) -> Option<Value> {
        match &value[..] {
            [] => None,
            [one] => self.kind.show(one),
            several => Some(Value::Array(several.iter().filter_map(|item| self.kind.show(item)).collect())),
        }
    }
    fn allowed(&self) -> String {
        format!("{}, or a list of up to {} (in text {})", self.kind.allowed(), Self::MOST, self.divided)
    }
    fn explain(&self, raw: Raw<'_>) -> Vec<InvalidValue> {
        let mut found = self.kind.explain(raw);
        found.iter_mut().for_each(|invalid| invalid.problem = format!("must be {}", self.allowed()));
        found
    }
}

/// A value that need not be set.
pub(super) struct Optional<K>(pub(super) K);

impl<K: Kind> Kind for Optional<K> {
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
    fn explain(&self, raw: Raw<'_>) -> Vec<InvalidValue> {
        self.0.explain(raw)
    }
}

/// Returns the elements of a list: those of an array of TOML, or the parts of a text between its commas. `None` for any
/// other type.
fn elements(raw: Raw<'_>) -> Option<Vec<Raw<'_>>> {
    match raw {
        Raw::Toml(value) => Some(value.as_array()?.iter().map(Raw::Toml).collect()),
        Raw::Text(text) => Some(text.split(',').map(|part| Raw::Text(part.trim())).collect()),
    }
}

/// A list of at most [`List::MOST`] of `K`; in the environment and in flags they are separated by commas.
pub(super) struct List<K>(pub(super) K);

impl<K> List<K> {
    /// Most elements of a list.
    const MOST: usize = 1024;
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;
    const SECRET: bool = K::SECRET;
    fn parse(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let items: Vec<K::Value> =
            elements(raw)?.into_iter().map(|item| self.0.parse(item)).collect::<Option<_>>()?;
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

/// A list of at least the second field and at most the third of `K`.
pub(super) struct Between<K>(pub(super) K, pub(super) usize, pub(super) usize);

impl<K: Kind> Kind for Between<K> {
    type Value = Vec<K::Value>;
    const SECRET: bool = K::SECRET;
    fn parse(&self, raw: Raw<'_>) -> Option<Self::Value> {
        let items: Vec<K::Value> =
            elements(raw)?.into_iter().map(|item| self.0.parse(item)).collect::<Option<_>>()?;
        (self.1..=self.2).contains(&items.len()).then_some(items)
    }
    fn show(&self, value: &Self::Value) -> Option<Value> {
        let shown: Vec<Value> = value.iter().filter_map(|item| self.0.show(item)).collect();
        (!shown.is_empty()).then_some(Value::Array(shown))
    }
    fn allowed(&self) -> String {
        let Self(kind, from, to) = self;
        format!("a list (in the environment with commas) of {from} to {to}, each {}", kind.allowed())
    }
    fn explain(&self, raw: Raw<'_>) -> Vec<InvalidValue> {
        let items = elements(raw).unwrap_or_default();
        let invalid = items.iter().enumerate().find(|(_, item)| self.0.parse(**item).is_none());
        let Some((index, item)) = invalid else {
            let (given, problem) = (raw.shown(), format!("must be {}", self.allowed()));
            return vec![InvalidValue { part: String::new(), given: Some(given), problem }];
        };
        // The kind of the element knows whether it may be shown.
        let mut found = self.0.explain(*item);
        found.iter_mut().for_each(|invalid| invalid.part.insert_str(0, &format!("[{index}]")));
        found
    }
}

/// A list of origins, or `any`, which is the empty list in the tree. An empty list is refused: it is what an unset
/// variable in a deployment file turns into, and that must not admit every page.
pub(super) struct Origins;

impl Origins {
    const ORIGIN: Text = Text { fits: is_origin, allowed: "scheme://host[:port] without a path" };
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
        List(Self::ORIGIN).parse(raw).filter(|list| !list.is_empty())
    }
    fn show(&self, value: &Vec<String>) -> Option<Value> {
        Some(List(Self::ORIGIN).show(value).unwrap_or_else(|| Value::String("any".into())))
    }
    fn allowed(&self) -> String {
        format!("\"any\" or {}", List(Self::ORIGIN).allowed())
    }
}
