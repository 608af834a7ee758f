//! `[[rooms]]`: rules that change settings for rooms whose name matches a pattern.

use std::time::Duration;

use toml::Value;

use crate::names::units::{GIB, KIB};

use super::error::nearest;
use super::kind::{Choice, Count, Flag, InvalidValue, Kind, Raw, Size, Time};
use super::list::Optional;
use super::schema::{Key, Section, settings};
use super::text::PATTERN;
use super::types::QueuePolicy;

settings! {
    /// Settings for rooms whose name matches a pattern. Fields that are not set keep the general settings.
    RoomRule {
        /// Pattern of room names, in which `*` stands for any characters; the first rule that matches applies.
        pattern: String = String::new(), PATTERN;
        /// Replaces `queue.policy`.
        queue_policy: Option<QueuePolicy> = None, Optional(Choice(QueuePolicy::ALL));
        /// Replaces `history.messages`; 0 to 1,000,000.
        history_messages: Option<usize> = None, Optional(Count(0, 1_000_000));
        /// Replaces `history.bytes`; 1KiB to 1GiB. Memory: this much per matching room at worst.
        history_bytes: Option<usize> = None, Optional(Size(KIB, GIB));
        /// Replaces `history.ttl`; 1ms to 30d.
        history_ttl: Option<Duration> = None, Optional(Time(1, 30 * 86_400_000));
        /// Whether members are told who joins and leaves; true unless set.
        presence: Option<bool> = None, Optional(Flag);
    }
}

/// The keys of one rule.
const KEYS: &[Key<RoomRule>] = RoomRule::KEYS;

/// A list of [`RoomRule`], as `[[rooms]]` in the file or as the same list inline in the environment.
pub(super) struct RoomRules;

impl RoomRules {
    /// Most rules: every lookup of a room's rule walks the whole list.
    const MOST: usize = 256;

    fn read(&self, raw: Raw<'_>) -> Result<Vec<RoomRule>, Vec<InvalidValue>> {
        let wrong =
            |part: String, given: Option<String>, problem: String| InvalidValue { part, given, problem };
        let general = || vec![wrong(String::new(), Some(raw.shown()), format!("must be {}", self.allowed()))];
        let inline = match raw {
            Raw::Text(text) => toml::from_str(&format!("rooms = {text}")).map_err(|_| general())?,
            Raw::Toml(_) => toml::Table::new(),
        };
        let list = match raw {
            Raw::Toml(value) => Some(value),
            Raw::Text(_) if inline.len() == 1 => inline.get("rooms"),
            Raw::Text(_) => None,
        };
        let list =
            list.and_then(Value::as_array).filter(|list| list.len() <= Self::MOST).ok_or_else(general)?;

        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        for (index, item) in list.iter().enumerate() {
            let Some(table) = item.as_table() else {
                errors.push(wrong(
                    format!("[{index}]"),
                    Some(Raw::Toml(item).shown()),
                    "must be a table".into(),
                ));
                continue;
            };
            let mut rule = RoomRule::default();
            for (name, value) in table {
                match KEYS.iter().find(|key| key.path == name) {
                    Some(key) => {
                        let found = (key.set)(&mut rule, Raw::Toml(value)).err().unwrap_or_default();
                        errors.extend(
                            found.into_iter().map(|f| wrong(format!("[{index}].{name}"), f.given, f.problem)),
                        );
                    }
                    None => {
                        let meant = nearest(name, KEYS.iter().map(|key| key.path));
                        let hint = meant.map(|key| format!(", did you mean {key}?")).unwrap_or_default();
                        errors.push(wrong(format!("[{index}].{name}"), None, format!("unknown key{hint}")));
                    }
                }
            }
            if !table.contains_key("pattern") {
                errors.push(wrong(
                    format!("[{index}].pattern"),
                    None,
                    format!("must be set: {}", PATTERN.allowed),
                ));
            }
            rules.push(rule);
        }
        if errors.is_empty() { Ok(rules) } else { Err(errors) }
    }
}

impl Kind for RoomRules {
    type Value = Vec<RoomRule>;

    fn parse(&self, raw: Raw<'_>) -> Option<Vec<RoomRule>> {
        self.read(raw).ok()
    }

    fn show(&self, value: &Vec<RoomRule>) -> Option<Value> {
        let table =
            |rule| KEYS.iter().filter_map(|key| Some((key.path.to_owned(), (key.show)(rule)?))).collect();
        (!value.is_empty())
            .then(|| Value::Array(value.iter().map(|rule| Value::Table(table(rule))).collect()))
    }

    fn allowed(&self) -> String {
        format!("a list of up to {} tables, each with a pattern and any of {}", Self::MOST, {
            let names: Vec<&str> = KEYS.iter().skip(1).map(|key| key.path).collect();
            names.join(", ")
        })
    }

    fn explain(&self, raw: Raw<'_>) -> Vec<InvalidValue> {
        self.read(raw).err().unwrap_or_default()
    }
}
