//! The kind of a list of tables, each with keys of its own: `[[rooms]]` in the file, or the same list inline in the
//! environment.

use std::marker::PhantomData;

use toml::Value;

use super::error::nearest;
use super::kind::{InvalidValue, Kind, Raw};
use super::schema::{Key, Section};

/// A table of a list.
pub(super) trait Row: Section<Self> + Default + 'static {
    /// The name of the list in messages and in inline text.
    const LIST: &'static str;
    /// Most tables of the list.
    const MOST: usize;
    /// The key that every table must have, and its accepted text.
    const REQUIRED: (&'static str, &'static str);
}

/// A list of tables.
pub(super) struct Tables<T>(PhantomData<T>);

impl<T: Row> Tables<T> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }

    fn read(&self, raw: Raw<'_>) -> Result<Vec<T>, Vec<InvalidValue>> {
        let general = || vec![wrong(String::new(), Some(raw.shown()), format!("must be {}", self.allowed()))];
        let inline = match raw {
            Raw::Text(text) => toml::from_str(&format!("{} = {text}", T::LIST)).map_err(|_| general())?,
            Raw::Toml(_) => toml::Table::new(),
        };
        let list = match raw {
            Raw::Toml(value) => Some(value),
            Raw::Text(_) if inline.len() == 1 => inline.get(T::LIST),
            Raw::Text(_) => None,
        };
        let list = list.and_then(Value::as_array).filter(|list| list.len() <= T::MOST).ok_or_else(general)?;

        let (mut rows, mut errors) = (Vec::new(), Vec::new());
        for (index, item) in list.iter().enumerate() {
            match item.as_table() {
                Some(table) => rows.push(Self::row(index, table, &mut errors)),
                None => errors.push(wrong(
                    format!("[{index}]"),
                    Some(Raw::Toml(item).shown()),
                    "must be a table".into(),
                )),
            }
        }
        if errors.is_empty() { Ok(rows) } else { Err(errors) }
    }

    fn row(index: usize, table: &toml::Table, errors: &mut Vec<InvalidValue>) -> T {
        let keys: &[Key<T>] = T::KEYS;
        let mut row = T::default();
        for (name, value) in table {
            match keys.iter().find(|key| key.path == name) {
                Some(key) => {
                    let found = (key.set)(&mut row, Raw::Toml(value)).err().unwrap_or_default();
                    errors.extend(
                        found.into_iter().map(|f| wrong(format!("[{index}].{name}"), f.given, f.problem)),
                    );
                }
                None => {
                    let meant = nearest(name, keys.iter().map(|key| key.path));
                    let hint = meant.map(|key| format!(", did you mean {key}?")).unwrap_or_default();
                    errors.push(wrong(format!("[{index}].{name}"), None, format!("unknown key{hint}")));
                }
            }
        }
        let (required, allowed) = T::REQUIRED;
        if !table.contains_key(required) {
            errors.push(wrong(format!("[{index}].{required}"), None, format!("must be set: {allowed}")));
        }
        row
    }
}

fn wrong(part: String, given: Option<String>, problem: String) -> InvalidValue {
    InvalidValue { part, given, problem }
}

impl<T: Row> Kind for Tables<T> {
    type Value = Vec<T>;

    fn parse(&self, raw: Raw<'_>) -> Option<Vec<T>> {
        self.read(raw).ok()
    }

    fn show(&self, value: &Vec<T>) -> Option<Value> {
        let keys: &[Key<T>] = T::KEYS;
        let table =
            |row| keys.iter().filter_map(|key| Some((key.path.to_owned(), (key.show)(row)?))).collect();
        (!value.is_empty()).then(|| Value::Array(value.iter().map(|row| Value::Table(table(row))).collect()))
    }

    fn allowed(&self) -> String {
        let (required, _) = T::REQUIRED;
        let others: Vec<&str> =
            T::KEYS.iter().map(|key: &Key<T>| key.path).filter(|key| *key != required).collect();
        format!("a list of up to {} tables, each with a {required} and any of {}", T::MOST, others.join(", "))
    }

    fn explain(&self, raw: Raw<'_>) -> Vec<InvalidValue> {
        self.read(raw).err().unwrap_or_default()
    }
}
