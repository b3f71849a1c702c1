//! Structs: one field per key.

use std::borrow::Cow;

use crate::{
    cursor::Cursor,
    nearest::suggestion,
    not_yet::{self, Verdict},
    read::Read,
    tree::{Value, scalar::quoted},
};

/// Defines a struct and how it is read. A field is a key of the same name in camelCase, or the one after `as`. It is
/// required unless a default follows `=`; `where` names a check of what was written. Doc comments become the
/// descriptions of the schema. After the struct, `at FIELD` adds a field with the place of the map, and `then FUNCTION`
/// names a last step that sees the whole value.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident: Default { $($body:tt)* }
        $($rest:tt)*
    ) => {
        $crate::read::section! { $(#[doc = $about])* pub struct $name { $($body)* } $($rest)* }
        $crate::read::section! { @default $name { $($body)* } }
    };
    (@default $name:ident {
        $(
            $(#[doc = $doc:literal])*
            pub $field:ident: $type:ty $(as $key:literal)? $(where $check:path)? = $default:expr,
        )*
    }) => {
        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                pub $field:ident: $type:ty $(as $key:literal)? $(where $check:path)? $(= $default:expr)?,
            )*
        }
        $(at $location:ident)?
        $(then $finish:path)?
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])* pub $field: $type,)*
            $(
                /// Where it stands in the configuration.
                pub $location: $crate::Location,
            )?
        }

        impl $crate::read::Read for $name {
            fn read(at: &$crate::cursor::Cursor<'_>) -> Option<Self> {
                let keys = $crate::read::Keys::open(
                    at,
                    vec![$($crate::read::section!(@key $field $($key)?)),*],
                )?;
                $(
                    #[allow(unused_mut, unused_assignments, reason = "not every field has a check")]
                    let $field: Option<$type> = {
                        let mut check: Option<$crate::read::Check<$type>> = None;
                        $(check = Some(|value| $check(value));)?
                        let key = $crate::read::section!(@key $field $($key)?);
                        $crate::read::section!(@read keys, &key, check $(, $default)?)
                    };
                )*
                let value = Self {
                    $($field: $field?,)*
                    $($location: at.location(),)?
                };
                $(let value = $finish(value, at)?;)?
                Some(value)
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> serde_json::Value {
                let mut object = $crate::read::ObjectSchema::new(&[$($about),*]);
                $(object.key(
                    &$crate::read::section!(@key $field $($key)?),
                    &[$($doc),*],
                    <$type as $crate::read::Read>::schema(generator),
                    $crate::read::section!(@required $($default)?),
                );)*
                object.finish()
            }
        }
    };
    (@key $field:ident) => { $crate::read::camel_case(stringify!($field)) };
    (@key $field:ident $key:literal) => { std::borrow::Cow::Borrowed($key) };
    (@read $keys:ident, $key:expr, $check:expr) => { $keys.required($key, $check) };
    (@read $keys:ident, $key:expr, $check:expr, $default:expr) => { $keys.optional($key, $check, || $default) };
    (@required) => { true };
    (@required $default:expr) => { false };
}
pub(crate) use section;

/// Looks at a value that could be read; the error says what is wrong with it.
pub(crate) type Check<T> = fn(&T) -> Result<(), String>;

/// A map being read as a struct.
pub(crate) struct Keys<'c, 'a> {
    at: &'c Cursor<'a>,
    /// Values that are not read because they are refused, or accepted without meaning anything yet.
    settled: Vec<&'a str>,
}

impl<'c, 'a> Keys<'c, 'a> {
    /// Starts reading: reports keys that are unknown or not supported yet. `None` when this is not a map. Nothing at
    /// all counts as an empty map, as in `drain:` with its keys commented out.
    pub(crate) fn open(at: &'c Cursor<'a>, known: Vec<Cow<'static, str>>) -> Option<Self> {
        if !at.is_null() && !matches!(at.value(), Value::Map(_)) {
            return at.expected("a map", None);
        }
        let mut settled = Vec::new();
        for (key, id) in at.entries() {
            let child = at.child(key, *id);
            match not_yet::judge(&child) {
                Verdict::Read => {}
                Verdict::Skip => {
                    settled.push(&*key.text);
                    continue;
                }
                Verdict::Refuse { message, at_key, fix } => {
                    settled.push(&*key.text);
                    if at_key {
                        at.key_error(key, message, fix)
                    } else {
                        child.error(message, fix)
                    }
                    continue;
                }
            }
            if !known.iter().any(|name| *name == *key.text) {
                let words = known.iter().map(Cow::as_ref).chain(not_yet::keys_under(&at.path));
                at.key_error(key, format!("unknown key {}", quoted(&key.text)), suggestion(&key.text, words));
            }
        }
        Some(Self { at, settled })
    }

    /// The value of a key that must be there.
    pub(crate) fn required<T: Read>(&self, key: &str, check: Option<Check<T>>) -> Option<T> {
        if self.settled.contains(&key) {
            return None;
        }
        match self.at.key(key).filter(|value| !value.is_null()) {
            Some(value) => checked(&value, check),
            None => {
                self.at.error(format!("missing key {key:?}"), None);
                None
            }
        }
    }

    /// The value of a key, or its default.
    pub(crate) fn optional<T: Read>(
        &self,
        key: &str,
        check: Option<Check<T>>,
        default: impl FnOnce() -> T,
    ) -> Option<T> {
        if self.settled.contains(&key) {
            return Some(default());
        }
        match self.at.key(key).filter(|value| !value.is_null()) {
            Some(value) => checked(&value, check),
            None => Some(default()),
        }
    }
}

fn checked<T: Read>(at: &Cursor<'_>, check: Option<Check<T>>) -> Option<T> {
    let value = T::read(at)?;
    match check.map_or(Ok(()), |check| check(&value)) {
        Ok(()) => Some(value),
        Err(message) => {
            at.error(message, None);
            None
        }
    }
}

/// `max_connections` as `maxConnections`.
pub(crate) fn camel_case(field: &str) -> Cow<'static, str> {
    let mut name = String::with_capacity(field.len());
    let mut upper = false;
    for c in field.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                name.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => name.push(c),
        }
    }
    Cow::Owned(name)
}

/// The JSON Schema of a section while it is put together.
pub(crate) struct ObjectSchema {
    description: String,
    properties: serde_json::Map<String, serde_json::Value>,
    required: Vec<String>,
}

impl ObjectSchema {
    pub(crate) fn new(docs: &[&str]) -> Self {
        Self { description: prose(docs), properties: serde_json::Map::new(), required: Vec::new() }
    }

    pub(crate) fn key(&mut self, key: &str, docs: &[&str], mut schema: serde_json::Value, required: bool) {
        let description = prose(docs);
        if let (false, Some(schema)) = (description.is_empty(), schema.as_object_mut()) {
            schema.insert("description".to_owned(), description.into());
        }
        self.properties.insert(key.to_owned(), schema);
        if required {
            self.required.push(key.to_owned());
        }
    }

    pub(crate) fn finish(self) -> serde_json::Value {
        let mut schema = serde_json::json!({
            "type": "object",
            "description": self.description,
            "properties": self.properties,
            "additionalProperties": false,
        });
        if let (false, Some(schema)) = (self.required.is_empty(), schema.as_object_mut()) {
            schema.insert("required".to_owned(), self.required.into());
        }
        schema
    }
}

/// The lines of a doc comment as one paragraph.
pub(crate) fn prose(docs: &[&str]) -> String {
    docs.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}
