//! The declaration of keys. `settings!` generates a section's struct, its defaults and its rows in the list of keys
//! from a single declaration, so that file, environment, flags, `--print-config` and the documentation cannot drift
//! apart.

use toml::Value;

use super::kind::{InvalidValue, Kind, Raw};

/// One row of the list of keys: a key of a tree `T`, and the functions that read and write its value.
pub(super) struct Key<T> {
    /// Path from the root, with dots.
    pub(super) path: &'static str,
    /// The field's documentation.
    pub(super) meaning: &'static str,
    /// True where the value must never be shown.
    pub(super) is_secret: bool,
    /// True where a reload can change the value in a running server; otherwise a change needs a restart.
    pub(super) is_live: bool,
    /// Parses a value into the tree, or says what is wrong with it and leaves the tree alone.
    pub(super) set: fn(&mut T, Raw<'_>) -> Result<(), Vec<InvalidValue>>,
    /// Returns the value as TOML, secrets redacted; `None` where it is not set.
    pub(super) show: fn(&T) -> Option<Value>,
    /// Takes the value of another tree.
    pub(super) copy: fn(&mut T, &T),
    /// Returns true when two trees have the same value.
    pub(super) is_same: fn(&T, &T) -> bool,
}

impl<T> Key<T> {
    /// Returns the last word of the path: the key's name within its section.
    pub(super) fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// Returns the section that the key belongs to, `None` for a key of the root.
    pub(super) fn section(&self) -> Option<&'static str> {
        self.path.rsplit_once('.').map(|(section, _)| section)
    }
}

/// A tree that contains the section `S`. It lets a section list its keys without knowing the tree.
pub(super) trait Contains<S> {
    fn section(&self) -> &S;
    fn section_mut(&mut self) -> &mut S;
}

/// The root of a tree is a section of itself.
impl<S> Contains<S> for S {
    fn section(&self) -> &S {
        self
    }
    fn section_mut(&mut self) -> &mut S {
        self
    }
}

/// A section of a tree `T`.
pub(super) trait Section<T: 'static> {
    /// The section's keys, with paths from the root of `T`.
    const KEYS: &'static [Key<T>];
}

/// Returns whether values of this kind must never be shown.
pub(super) const fn is_secret<K: Kind>(_: &K) -> bool {
    K::SECRET
}

/// Parses `raw` into `field`, which stays as it is where the value is not allowed.
pub(super) fn assign<K: Kind>(kind: &K, field: &mut K::Value, raw: Raw<'_>) -> Result<(), Vec<InvalidValue>> {
    *field = kind.parse(raw).ok_or_else(|| kind.explain(raw))?;
    Ok(())
}

/// Declares a struct whose fields are keys:
/// `settings! { Name at SECTION { /// doc  field: Type = default, kind, live; } }` for a section, without `at SECTION`
/// for a root, which may also contain sections (`and { /// doc  field: Type; }`).
/// The last word says when a changed value applies: `live`, from a reload on, or `restart`.
macro_rules! settings {
    (
        $(#[doc = $title:literal])+
        $Name:ident $(at $section:ident)? {
            $($(#[doc = $doc:literal])+ $field:ident : $Type:ty = $default:expr, $kind:expr, $applies:ident;)+
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

        $($(
            impl $crate::config::schema::Contains<$Inner> for $Name {
                fn section(&self) -> &$Inner {
                    &self.$inner
                }
                fn section_mut(&mut self) -> &mut $Inner {
                    &mut self.$inner
                }
            }
        )+)?

        settings!(@keys $Name concat!($(stringify!($section), ".")?), $($field $kind, $applies, [$($doc)+];)+);
    };
    (@keys $Name:ident $prefix:expr, $($field:ident $kind:expr, $applies:ident, [$($doc:literal)+];)+) => {
        impl<T: $crate::config::schema::Contains<Self> + 'static> $crate::config::schema::Section<T> for $Name {
            const KEYS: &'static [$crate::config::schema::Key<T>] = &[$(
                $crate::config::schema::Key {
                    path: concat!($prefix, stringify!($field)),
                    meaning: concat!($($doc),+),
                    is_secret: $crate::config::schema::is_secret(&$kind),
                    is_live: settings!(@is_live $applies),
                    set: |tree, raw| $crate::config::schema::assign(&$kind, &mut tree.section_mut().$field, raw),
                    show: |tree| $crate::config::kind::Kind::show(&$kind, &tree.section().$field),
                    copy: |tree, other| tree.section_mut().$field.clone_from(&other.section().$field),
                    is_same: |tree, other| tree.section().$field == other.section().$field,
                }
            ),+];
        }
    };
    (@is_live live) => { true };
    (@is_live restart) => { false };
}

pub(super) use settings;
