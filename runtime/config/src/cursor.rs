//! An element of the tree together with its path and the report that takes its problems.

use std::sync::Arc;

use crate::{
    Location, path,
    report::Report,
    tree::{Element, ElementId, Key, Place, Tree, Value, scalar::Scalar},
};

#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    pub(crate) tree: &'a Arc<Tree>,
    pub(crate) id: ElementId,
    /// `listeners[0].filters[2]`; empty for the whole.
    pub(crate) path: String,
    pub(crate) report: &'a Report,
}

impl<'a> Cursor<'a> {
    pub(crate) fn element(&self) -> &'a Element {
        self.tree.element(self.id)
    }

    pub(crate) fn value(&self) -> &'a Value {
        &self.element().value
    }

    pub(crate) fn location(&self) -> Location {
        self.tree.location(self.element().place)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value(), Value::Scalar(Scalar::Null))
    }

    /// The text of a string; nothing for all else.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match self.value() {
            Value::Scalar(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The entries of a map; none for all else.
    pub(crate) fn entries(&self) -> &'a [(Key, ElementId)] {
        match self.value() {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none for all else.
    pub(crate) fn items(&self) -> impl Iterator<Item = Cursor<'a>> + use<'a> {
        let items: &'a [ElementId] = match self.value() {
            Value::List(items) => items,
            _ => &[],
        };
        let (tree, report, parent) = (self.tree, self.report, self.path.clone());
        items.iter().enumerate().map(move |(index, id)| Cursor {
            tree,
            id: *id,
            path: path::index(&parent, index),
            report,
        })
    }

    /// The value of a key of this map.
    pub(crate) fn key(&self, name: &str) -> Option<Cursor<'a>> {
        let (key, id) = self.entries().iter().find(|(key, _)| &*key.text == name)?;
        Some(self.child(key, *id))
    }

    pub(crate) fn child(&self, key: &Key, id: ElementId) -> Cursor<'a> {
        Cursor { tree: self.tree, id, path: path::key(&self.path, &key.text), report: self.report }
    }

    /// Where a JSON pointer leads from here, or its nearest existing parent.
    pub(crate) fn at_pointer(&self, json_pointer: &str) -> Cursor<'a> {
        let (id, path) = self.tree.nearest(self.id, self.path.clone(), json_pointer);
        Cursor { tree: self.tree, id, path, report: self.report }
    }

    /// Reports a problem with this element.
    pub(crate) fn error(&self, message: impl Into<String>, fix: Option<String>) {
        self.report.error(self.location(), &self.path, message, fix);
    }

    /// Reports something suspicious about this element.
    pub(crate) fn warning(&self, message: impl Into<String>, fix: Option<String>) {
        self.report.warning(self.location(), &self.path, message, fix);
    }

    /// Reports a problem with a key of this map, at the key.
    pub(crate) fn key_error(&self, key: &Key, message: impl Into<String>, fix: Option<String>) {
        self.report.error(self.place(key.place), &path::key(&self.path, &key.text), message, fix);
    }

    /// Reports that another kind of value was expected.
    pub(crate) fn expected<T>(&self, what: &str, fix: Option<String>) -> Option<T> {
        self.error(format!("expected {what}, found {}", self.value().describe()), fix);
        None
    }

    fn place(&self, place: Place) -> Location {
        self.tree.location(place)
    }
}
