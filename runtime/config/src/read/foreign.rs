//! Types of other crates that are read through serde.
//!
//! serde gives up at the first problem of a value. To find all of them, the value is read again without the part that
//! was refused, until it is whole or nothing new is found.

use std::{cell::RefCell, collections::HashSet, fmt};

use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Visitor, value::StrDeserializer};

use crate::{
    cursor::Cursor,
    nearest::suggestion,
    tree::{ElementId, Value, scalar::Scalar, scalar::quoted},
};

/// Attempts to read one value around its problems.
const MAX_ATTEMPTS: usize = 20;

/// Reads the element as a `T`; `None` when it has problems, which then have been reported.
pub(crate) fn read<T: DeserializeOwned>(at: &Cursor<'_>) -> Option<T> {
    let refused = RefCell::new(HashSet::new());
    let mut clean = true;
    for _ in 0..MAX_ATTEMPTS {
        match T::deserialize(Source { at: at.clone(), refused: &refused }) {
            Ok(value) => return (clean && refused.borrow().is_empty()).then_some(value),
            Err(refusal) => {
                clean = false;
                let Some((id, path)) = refusal.at else { return report(at, refusal.message, refusal.fix) };
                let place = Cursor { id, path, ..at.clone() };
                // What a map lacks because a part of it was left out is no second problem.
                if !place.entries().iter().any(|(_, id)| refused.borrow().contains(id)) {
                    place.error(refusal.message, refusal.fix);
                }
                if id == at.id || !refused.borrow_mut().insert(id) {
                    return None;
                }
            }
        }
    }
    None
}

fn report<T>(at: &Cursor<'_>, message: String, fix: Option<String>) -> Option<T> {
    at.error(message, fix);
    None
}

/// An element as serde sees it.
#[derive(Clone)]
struct Source<'a> {
    at: Cursor<'a>,
    /// Elements whose problems are known; they are left out.
    refused: &'a RefCell<HashSet<ElementId>>,
}

/// Why serde could not go on, and at which element.
#[derive(Debug)]
struct Refusal {
    at: Option<(ElementId, String)>,
    message: String,
    fix: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    fn new(message: String, fix: Option<String>) -> Self {
        Self { at: None, message, fix }
    }
}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), None)
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(format!("expected {}, found {}", in_words(&expected.to_string()), describe(found)), None)
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let message = format!("expected {}, found {}", expected.join(" or "), quoted(variant));
        Self::new(message, suggestion(variant, expected.iter().copied()))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown key {}", quoted(field)), suggestion(field, expected.iter().copied()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing key {field:?}"), None)
    }
}

/// serde expects integers by the names of their Rust types.
fn in_words(expected: &str) -> String {
    let max = match expected {
        "u8" => u8::MAX.into(),
        "u16" => u16::MAX.into(),
        "u32" => u32::MAX.into(),
        "u64" | "usize" => u64::MAX,
        "f32" | "f64" => return "a number".to_owned(),
        other => return other.to_owned(),
    };
    format!("a whole number from 0 to {max}")
}

fn describe(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Str(text) => format!("the string {}", quoted(text)),
        de::Unexpected::Bool(value) => value.to_string(),
        de::Unexpected::Signed(value) => format!("the number {value}"),
        de::Unexpected::Unsigned(value) => format!("the number {value}"),
        de::Unexpected::Float(value) => format!("the number {value}"),
        de::Unexpected::Unit => "nothing".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}

impl<'a> Source<'a> {
    fn with(&self, at: Cursor<'a>) -> Self {
        Self { at, refused: self.refused }
    }

    /// Gives an error the place of this element, unless it has a nearer one.
    fn placed<T>(&self, result: Result<T, Refusal>) -> Result<T, Refusal> {
        result.map_err(|refusal| Refusal {
            at: refusal.at.or_else(|| Some((self.at.id, self.at.path.clone()))),
            ..refusal
        })
    }

    fn is_refused(&self, id: ElementId) -> bool {
        self.refused.borrow().contains(&id)
    }

    fn scalar<'de, V: Visitor<'de>>(&self, scalar: &Scalar, visitor: V) -> Result<V::Value, Refusal> {
        match scalar {
            Scalar::Null => visitor.visit_unit(),
            Scalar::Bool(value) => visitor.visit_bool(*value),
            Scalar::Float(value) => visitor.visit_f64(*value),
            Scalar::Text(text) => visitor.visit_str(text),
            Scalar::Int(digits) => match (digits.parse::<u64>(), digits.parse::<i64>()) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => Err(Refusal::new("a whole number beyond 64 bits".to_owned(), None)),
            },
        }
    }
}

impl<'de> Deserializer<'de> for Source<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let result = match self.at.value() {
            Value::Scalar(scalar) => self.scalar(scalar, visitor),
            Value::List(_) => {
                let items: Vec<_> = self.at.items().filter(|item| !self.is_refused(item.id)).collect();
                visitor.visit_seq(Items { source: &self, items: items.into_iter() })
            }
            Value::Map(_) => visitor.visit_map(Entries { source: &self, next: 0, value: None }),
        };
        self.placed(result)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        if self.at.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        for (key, id) in self.at.entries() {
            if !fields.contains(&&*key.text) && self.refused.borrow_mut().insert(*id) {
                let fix = suggestion(&key.text, fields.iter().copied());
                self.at.key_error(key, format!("unknown key {}", quoted(&key.text)), fix);
            }
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let result = match self.at.value() {
            Value::Scalar(Scalar::Text(text)) => visitor.visit_enum(StrDeserializer::<Refusal>::new(text)),
            Value::Map(entries) if entries.len() == 1 => visitor.visit_enum(OneEntry { source: &self }),
            other => {
                let message = format!("expected one of {}, found {}", variants.join(", "), other.describe());
                Err(Refusal::new(message, None))
            }
        };
        self.placed(result)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit_struct seq tuple tuple_struct map identifier
    }
}

struct Items<'s, 'a> {
    source: &'s Source<'a>,
    items: std::vec::IntoIter<Cursor<'a>>,
}

impl<'de> de::SeqAccess<'de> for Items<'_, '_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        let Some(at) = self.items.next() else { return Ok(None) };
        let source = self.source.with(at);
        source.placed(seed.deserialize(source.clone())).map(Some)
    }
}

struct Entries<'s, 'a> {
    source: &'s Source<'a>,
    next: usize,
    value: Option<Cursor<'a>>,
}

impl<'de> de::MapAccess<'de> for Entries<'_, '_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        while let Some((key, id)) = self.source.at.entries().get(self.next) {
            self.next += 1;
            if self.source.is_refused(*id) {
                continue;
            }
            let value = self.source.at.child(key, *id);
            let read = seed.deserialize(StrDeserializer::<Refusal>::new(&key.text));
            let read = self.source.with(value.clone()).placed(read)?;
            self.value = Some(value);
            return Ok(Some(read));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let Some(at) = self.value.take() else { return Err(de::Error::custom("a value before its key")) };
        let source = self.source.with(at);
        source.placed(seed.deserialize(source.clone()))
    }
}

/// An enum with content: `{prefix: /api}`.
struct OneEntry<'s, 'a> {
    source: &'s Source<'a>,
}

impl<'s, 'a, 'de> de::EnumAccess<'de> for OneEntry<'s, 'a> {
    type Error = Refusal;
    type Variant = Content<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'a>), Refusal> {
        let Some((key, id)) = self.source.at.entries().first() else {
            return Err(de::Error::custom("expected one key, found none"));
        };
        let variant = seed.deserialize(StrDeserializer::<Refusal>::new(&key.text))?;
        Ok((variant, Content { source: self.source.with(self.source.at.child(key, *id)) }))
    }
}

struct Content<'a> {
    source: Source<'a>,
}

impl<'de> de::VariantAccess<'de> for Content<'_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        if self.source.at.is_null() {
            return Ok(());
        }
        let message = format!("expected nothing here, found {}", self.source.at.value().describe());
        self.source.placed(Err(Refusal::new(message, None)))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refusal> {
        self.source.placed(seed.deserialize(self.source.clone()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.source.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Refusal> {
        self.source.deserialize_struct("", fields, visitor)
    }
}
