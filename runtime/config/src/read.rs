//! How a part of the tree becomes a Rust value, every problem of it reported on the way.
//!
//! A type says with [`Read`] how it is read and what its JSON Schema is. Structs get both from [`section!`], sets of
//! words from [`words!`]: what the operator may write stands once, in the definition of the type.

pub(crate) mod foreign;
pub(crate) mod primitives;
mod section;
mod words;

pub(crate) use section::{Check, Keys, ObjectSchema, camel_case, section};
pub(crate) use words::{unknown_word, words};

use schemars::SchemaGenerator;
use serde_json::Value as Json;

use crate::cursor::Cursor;

/// A value that a configuration can contain.
pub(crate) trait Read: Sized {
    /// Reads the element; `None` when it is refused, which then has been reported.
    fn read(at: &Cursor<'_>) -> Option<Self>;

    /// What editors check and offer.
    fn schema(generator: &mut SchemaGenerator) -> Json;
}
