//! Enums: one variant per word.

/// Defines a set of words: each variant is written as the string after `=`; strings after `|` mean the same.
macro_rules! words {
    (
        $(#[doc = $about:literal])*
        pub enum $name:ident {
            $($(#[doc = $doc:literal])* $variant:ident = $word:literal $(| $alias:literal)*,)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[doc = $doc])* $variant,)*
        }

        impl $name {
            /// The word that stands for it in a configuration.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl $crate::read::Read for $name {
            fn read(at: &$crate::cursor::Cursor<'_>) -> Option<Self> {
                match at.text() {
                    $(Some($word $(| $alias)*) => Some(Self::$variant),)*
                    _ => $crate::read::unknown_word(at, &[$($word),*]),
                }
            }

            fn schema(_: &mut schemars::SchemaGenerator) -> serde_json::Value {
                serde_json::json!({"type": "string", "enum": [$($word, $($alias,)*)*]})
            }
        }
    };
}
pub(crate) use words;

use crate::{cursor::Cursor, nearest::suggestion};

pub(crate) fn unknown_word<T>(at: &Cursor<'_>, words: &[&str]) -> Option<T> {
    let fix = at.text().and_then(|text| suggestion(&text.to_ascii_uppercase(), words.iter().copied()));
    match words {
        [only] => at.expected(only, fix),
        [some @ .., last] => at.expected(&format!("{} or {last}", some.join(", ")), fix),
        [] => None,
    }
}
