//! Rules for rooms by the pattern of their name: `[[rooms]]`.

use std::time::Duration;

use toml::Value;

use super::kind::{Choice, Count, Fault, Flag, Kind, Raw, Size, Time};
use super::mistake::nearest;
use super::schema::settings;
use super::units::{GIB, KIB};
use super::value::QueuePolicy;
use super::words::{Maybe, PATTERN};

settings! {
    /// What differs for rooms whose name matches; absent fields stay as the general settings say.
    RoomRule of RoomRule {
        /// The room names meant, `*` standing for anything; the first rule that matches wins.
        pattern: String = String::new(), PATTERN;
        /// In place of `queue.policy`.
        queue_policy: Option<QueuePolicy> = None, Maybe(Choice(QueuePolicy::ALL));
        /// In place of `history.messages`; 0 to 1,000,000.
        history_messages: Option<usize> = None, Maybe(Count(0, 1_000_000));
        /// In place of `history.bytes`; 1KiB to 1GiB. Memory: this much per matching room at worst.
        history_bytes: Option<usize> = None, Maybe(Size(KIB, GIB));
        /// In place of `history.ttl`; 1ms to 30d.
        history_ttl: Option<Duration> = None, Maybe(Time(1, 30 * 86_400_000));
        /// False: nobody is told who comes and goes.
        presence: Option<bool> = None, Maybe(Flag);
    }
}

/// A list of rules, as `[[rooms]]` in the file or as the same list inline in the environment.
pub(super) struct Rules;

impl Rules {
    /// Each lookup of a room's rule walks the list.
    const MOST: usize = 256;

    fn read(&self, raw: Raw<'_>) -> Result<Vec<RoomRule>, Vec<Fault>> {
        let wrong = |place: String, given: Option<String>, problem: String| Fault { place, given, problem };
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

        let (mut rules, mut faults) = (Vec::new(), Vec::new());
        for (index, item) in list.iter().enumerate() {
            let Some(table) = item.as_table() else {
                faults.push(wrong(
                    format!("[{index}]"),
                    Some(Raw::Toml(item).shown()),
                    "must be a table".into(),
                ));
                continue;
            };
            let mut rule = RoomRule::default();
            for (name, value) in table {
                match RoomRule::KEYS.iter().find(|key| key.path == name) {
                    Some(key) => {
                        let found = (key.set)(&mut rule, Raw::Toml(value)).err().unwrap_or_default();
                        faults.extend(
                            found.into_iter().map(|f| wrong(format!("[{index}].{name}"), f.given, f.problem)),
                        );
                    }
                    None => {
                        let meant = nearest(name, RoomRule::KEYS.iter().map(|key| key.path));
                        let hint = meant.map(|key| format!(", did you mean {key}?")).unwrap_or_default();
                        faults.push(wrong(format!("[{index}].{name}"), None, format!("unknown key{hint}")));
                    }
                }
            }
            if !table.contains_key("pattern") {
                faults.push(wrong(
                    format!("[{index}].pattern"),
                    None,
                    format!("must be set: {}", PATTERN.allowed),
                ));
            }
            rules.push(rule);
        }
        if faults.is_empty() { Ok(rules) } else { Err(faults) }
    }
}

impl Kind for Rules {
    type Value = Vec<RoomRule>;

    fn parse(&self, raw: Raw<'_>) -> Option<Vec<RoomRule>> {
        self.read(raw).ok()
    }

    fn show(&self, value: &Vec<RoomRule>) -> Option<Value> {
        let table = |rule| {
            RoomRule::KEYS.iter().filter_map(|key| Some((key.path.to_owned(), (key.show)(rule)?))).collect()
        };
        (!value.is_empty())
            .then(|| Value::Array(value.iter().map(|rule| Value::Table(table(rule))).collect()))
    }

    fn allowed(&self) -> String {
        format!("a list of up to {} tables, each with a pattern and any of {}", Self::MOST, {
            let names: Vec<&str> = RoomRule::KEYS.iter().skip(1).map(|key| key.path).collect();
            names.join(", ")
        })
    }

    fn faults(&self, raw: Raw<'_>) -> Vec<Fault> {
        self.read(raw).err().unwrap_or_default()
    }
}
