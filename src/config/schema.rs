//! The one list of keys. `settings!` writes a section's struct, its defaults and its rows of the list from a single
//! declaration, so that file, environment, flags, `--print-config` and the documentation cannot drift apart.

use toml::Value;

use super::kind::{Fault, Kind, Raw};

/// One row of the list: a key of a tree `T` and what can be done with it.
pub(super) struct Key<T> {
    /// From the root, with dots.
    pub(super) path: &'static str,
    /// The field's documentation.
    pub(super) meaning: &'static str,
    /// True where the value must never be shown.
    pub(super) secret: bool,
    /// Reads a value into its place, or says what is wrong with it and leaves the place alone.
    pub(super) set: fn(&mut T, Raw<'_>) -> Result<(), Vec<Fault>>,
    /// The value as TOML, secrets redacted; nothing where it is not set.
    pub(super) show: fn(&T) -> Option<Value>,
}

impl<T> Key<T> {
    /// The last word of the path: how the key is called within its section.
    pub(super) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The section that the key stands in, none for the root.
    pub(super) fn section(&self) -> Option<&'static str> {
        self.path.rsplit_once('.').map(|(section, _)| section)
    }
}

pub(super) const fn is_secret<K: Kind>(_: &K) -> bool {
    K::SECRET
}

pub(super) fn assign<K: Kind>(kind: &K, place: &mut K::Value, raw: Raw<'_>) -> Result<(), Vec<Fault>> {
    *place = kind.parse(raw).ok_or_else(|| kind.faults(raw))?;
    Ok(())
}

/// A struct whose fields are keys: `settings! { Name of Root at SECTION { /// doc  field: Type = default, kind; } }`
/// for a section, without `at SECTION` for the fields of a root (which may hold more besides, `and { … }`).
macro_rules! settings {
    (
        $(#[doc = $title:literal])+
        $Name:ident of $Root:ident $(at $section:ident)? {
            $($(#[doc = $doc:literal])+ $field:ident : $Type:ty = $default:expr, $kind:expr;)+
        }
        $(and { $($(#[doc = $inner_doc:literal])+ $inner:ident : $Inner:ty;)+ })?
    ) => {
        $(#[doc = $title])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $Name {
            $($(#[doc = $doc])+ pub $field: $Type,)+
            $($($(#[doc = $inner_doc])+ pub $inner: $Inner,)+)?
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default,)+ $($($inner: <$Inner>::default(),)+)? }
            }
        }

        impl $Name {
            settings!(@keys $Root [$($section)?] $($field $kind, [$($doc)+];)+);
        }
    };
    (@keys $Root:ident $section:tt $($field:ident $kind:expr, $doc:tt;)+) => {
        pub(in crate::config) const KEYS: &'static [$crate::config::schema::Key<$Root>] =
            &[$(settings!(@key $Root $section $field $kind, $doc)),+];
    };
    (@key $Root:ident [$section:ident] $field:ident $kind:expr, [$($doc:literal)+]) => {
        $crate::config::schema::Key {
            path: concat!(stringify!($section), ".", stringify!($field)),
            meaning: concat!($($doc),+),
            secret: $crate::config::schema::is_secret(&$kind),
            set: |tree: &mut $Root, raw| $crate::config::schema::assign(&$kind, &mut tree.$section.$field, raw),
            show: |tree: &$Root| $crate::config::kind::Kind::show(&$kind, &tree.$section.$field),
        }
    };
    (@key $Root:ident [] $field:ident $kind:expr, [$($doc:literal)+]) => {
        $crate::config::schema::Key {
            path: stringify!($field),
            meaning: concat!($($doc),+),
            secret: $crate::config::schema::is_secret(&$kind),
            set: |tree: &mut $Root, raw| $crate::config::schema::assign(&$kind, &mut tree.$field, raw),
            show: |tree: &$Root| $crate::config::kind::Kind::show(&$kind, &tree.$field),
        }
    };
}

pub(super) use settings;
