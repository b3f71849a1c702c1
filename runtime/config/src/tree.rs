//! A configuration text as a tree in which every key and value knows its place.
//!
//! The tree is what all else reads from: the model, the checks, and later the problems that a filter finds in its own
//! part. Aliases are copied out while it is built, so that every element stands at one path only.

pub(crate) mod build;
pub(crate) mod json;
pub(crate) mod merge;
pub(crate) mod scalar;

use std::{path::Path, sync::Arc};

use crate::{Location, path, tree::scalar::Scalar};

/// The elements of all files of a configuration.
#[derive(Debug)]
pub(crate) struct Tree {
    files: Vec<Arc<Path>>,
    elements: Vec<Element>,
}

/// Names an element of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ElementId(u32);

#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<ElementId>),
    /// Entries in the order of the file; keys are unique.
    Map(Vec<(Key, ElementId)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) text: Box<str>,
    pub(crate) place: Place,
}

/// A [`Location`] that names its file by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

static NOTHING: Element = Element { place: Place { file: 0, line: 1, column: 1 }, value: Value::Scalar(Scalar::Null) };

impl Tree {
    pub(crate) fn new(files: Vec<Arc<Path>>) -> Self {
        Self { files, elements: Vec::new() }
    }

    pub(crate) fn add(&mut self, place: Place, value: Value) -> ElementId {
        let id = ElementId(u32::try_from(self.elements.len()).unwrap_or(u32::MAX));
        self.elements.push(Element { place, value });
        id
    }

    pub(crate) fn element(&self, id: ElementId) -> &Element {
        self.elements.get(id.0 as usize).unwrap_or(&NOTHING)
    }

    pub(crate) fn location(&self, place: Place) -> Location {
        let file = self.files.get(place.file as usize).cloned();
        Location { file: file.unwrap_or_else(|| Path::new("").into()), line: place.line, column: place.column }
    }

    /// Follows a JSON pointer (RFC 6901) from an element with this path, as far as it leads to something.
    pub(crate) fn nearest(&self, root: ElementId, path: String, json_pointer: &str) -> (ElementId, String) {
        let mut reached = (root, path);
        for token in json_pointer.split('/').skip(1) {
            match self.step(reached.0, &reached.1, token) {
                Some(next) => reached = next,
                None => break,
            }
        }
        reached
    }

    fn step(&self, id: ElementId, path: &str, token: &str) -> Option<(ElementId, String)> {
        match &self.element(id).value {
            Value::Scalar(_) => None,
            Value::List(items) => {
                let index: usize = token.parse().ok()?;
                Some((*items.get(index)?, path::index(path, index)))
            }
            Value::Map(entries) => {
                let name = token.replace("~1", "/").replace("~0", "~");
                let (key, child) = entries.iter().find(|(key, _)| *key.text == *name)?;
                Some((*child, path::key(path, &key.text)))
            }
        }
    }
}

impl Value {
    /// What it is, for messages: `a list`, `the number 5`.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Scalar(scalar) => scalar.describe(),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }
}
