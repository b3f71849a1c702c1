//! From the parser's events to the tree.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Tag, options};

use crate::{
    bounds::{MAX_ALIASED, MAX_DEPTH, MAX_ELEMENTS},
    path,
    report::Report,
    tree::{ElementId, Key, Place, Tree, Value, scalar::Scalar, scalar::quoted},
};

/// Adds the text of file number `file` to the tree and gives its root; `None` when it holds nothing but comments, and
/// an error when what follows a problem cannot be read. Other problems are reported and stepped over.
pub(crate) fn add_text(
    tree: &mut Tree,
    file: u32,
    text: &str,
    report: &Report,
) -> Result<Option<ElementId>, Unreadable> {
    let mut options = options! {};
    options.set_emit_comments(false);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder =
        Builder { tree, file, report, stack: Vec::new(), anchors: HashMap::new(), root: None, aliased: 0 };
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => builder.take(event, builder.place(&span.start))?,
            Err(error) => return builder.stop(builder.place(error.marker()), error.info(), None),
        }
    }
    Ok(builder.root)
}

/// The rest of a text cannot be read; why has been reported.
#[derive(Debug)]
pub(crate) struct Unreadable;

struct Builder<'a> {
    tree: &'a mut Tree,
    file: u32,
    report: &'a Report,
    stack: Vec<Frame>,
    anchors: HashMap<usize, ElementId>,
    root: Option<ElementId>,
    /// What aliases have added so far, in nodes and text bytes.
    aliased: usize,
}

/// A list or map whose end has not come yet.
struct Frame {
    place: Place,
    anchor: usize,
    open: Open,
}

enum Open {
    List(Vec<ElementId>),
    Map { entries: Vec<(Key, ElementId)>, seen: HashMap<Box<str>, Place>, key: Pending },
}

/// The key whose value comes next.
enum Pending {
    None,
    Key(Key),
    /// The key was refused; its value is dropped.
    Refused,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, place: Place) -> Result<(), Unreadable> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let fix = "put each document into a file of its own and name their folder".to_owned();
                return self.stop(place, "a second YAML document in one file", Some(fix));
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, anchor, tag.as_deref(), place),
            Event::SequenceStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", place);
                return self.open(Frame { place, anchor, open: Open::List(Vec::new()) });
            }
            Event::MappingStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", place);
                let open = Open::Map { entries: Vec::new(), seen: HashMap::new(), key: Pending::None };
                return self.open(Frame { place, anchor, open });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => return self.alias(anchor, place),
            _ => {}
        }
        if self.tree.elements.len() > MAX_ELEMENTS {
            return self.stop(place, format!("more than {MAX_ELEMENTS} values in one configuration"), None);
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, tag: Option<&Tag>, place: Place) {
        let plain = style == ScalarStyle::Plain;
        if self.awaits_key() {
            if anchor != 0 {
                let id = self.tree.add(place, Value::Scalar(Scalar::Text(text.into())));
                self.anchors.insert(anchor, id);
            }
            return self.key(text, plain, place);
        }
        let scalar = self.resolve(text, plain, tag, place);
        let id = self.tree.add(place, Value::Scalar(scalar));
        self.anchors.insert(anchor, id);
        self.attach(id);
    }

    /// A word with its tag, as `!!str 5`.
    fn resolve(&self, text: &str, plain: bool, tag: Option<&Tag>, place: Place) -> Scalar {
        let Some(tag) = tag else {
            return if plain { Scalar::plain(text) } else { Scalar::Text(text.into()) };
        };
        let resolved = Scalar::plain(text);
        match (tag.core_suffix(), &resolved) {
            (Some("str"), _) => Scalar::Text(text.into()),
            (Some("int"), Scalar::Int(_)) | (Some("bool"), Scalar::Bool(_)) | (Some("null"), Scalar::Null) => resolved,
            (Some("float"), Scalar::Float(_) | Scalar::Int(_)) => resolved,
            (Some(name), _) => {
                self.error(place, format!("{} is no !!{name}", quoted(text)), None);
                Scalar::Null
            }
            (None, _) if tag.suffix().is_empty() => Scalar::Text(text.into()),
            (None, _) => {
                self.error(
                    place,
                    format!("the tag {} has no meaning here", tag.original()),
                    Some("leave it out".into()),
                );
                resolved
            }
        }
    }

    fn collection_tag(&self, tag: Option<&Tag>, allowed: &str, place: Place) {
        if let Some(tag) = tag
            && tag.core_suffix() != Some(allowed)
            && !tag.suffix().is_empty()
        {
            self.error(place, format!("the tag {} has no meaning here", tag.original()), Some("leave it out".into()));
        }
    }

    fn awaits_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { open: Open::Map { key: Pending::None, .. }, .. }))
    }

    fn key(&mut self, text: &str, plain: bool, place: Place) {
        let Some(Frame { open: Open::Map { seen, key, .. }, .. }) = self.stack.last_mut() else { return };
        let first = seen.get(text).copied();
        let merge = plain && text == "<<";
        if first.is_none() && !merge {
            seen.insert(text.into(), place);
            *key = Pending::Key(Key { text: text.into(), place });
            return;
        }
        *key = Pending::Refused;
        let (message, fix) = match first {
            Some(first) if !merge => {
                (format!("key {} is given twice, first in line {}", quoted(text), first.line), "keep one of them")
            }
            _ => {
                let message = "merge keys (<<) are not part of YAML 1.2".to_owned();
                (message, "write the keys out, or use an alias for the whole value")
            }
        };
        let path = path::key(&self.path(), text);
        self.report.error(self.tree.location(place), &path, message, Some(fix.to_owned()));
    }

    fn open(&mut self, frame: Frame) -> Result<(), Unreadable> {
        if self.stack.len() >= MAX_DEPTH {
            return self.stop(frame.place, format!("more than {MAX_DEPTH} levels of lists and maps"), None);
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self) {
        let Some(frame) = self.stack.pop() else { return };
        let value = match frame.open {
            Open::List(items) => Value::List(items),
            Open::Map { entries, .. } => Value::Map(entries),
        };
        let id = self.tree.add(frame.place, value);
        self.anchors.insert(frame.anchor, id);
        self.attach(id);
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Unreadable> {
        let Some(&target) = self.anchors.get(&anchor) else {
            return self.stop(place, "an alias inside the value that it stands for", None);
        };
        if self.awaits_key()
            && let Value::Scalar(Scalar::Text(text)) = &self.tree.element(target).value
        {
            let text = text.clone();
            self.key(&text, false, place);
            return Ok(());
        }
        let depth = self.stack.len();
        match self.copy(target, depth) {
            Some(id) => {
                if let Some(element) = self.tree.elements.get_mut(id.0 as usize) {
                    element.place = place;
                }
                self.attach(id);
                Ok(())
            }
            None => self.stop(place, "aliases make this configuration too large or too deep", None),
        }
    }

    /// A copy of the element for one more place; `None` when the bound for aliases is reached.
    fn copy(&mut self, id: ElementId, depth: usize) -> Option<ElementId> {
        let element = self.tree.element(id).clone();
        self.aliased += match &element.value {
            Value::Scalar(Scalar::Text(text) | Scalar::Int(text)) => 1 + text.len(),
            Value::Map(entries) => 1 + entries.iter().map(|(key, _)| key.text.len()).sum::<usize>(),
            _ => 1,
        };
        if depth > MAX_DEPTH || self.aliased > MAX_ALIASED {
            return None;
        }
        let value = match element.value {
            Value::Scalar(scalar) => Value::Scalar(scalar),
            Value::List(items) => {
                Value::List(items.into_iter().map(|item| self.copy(item, depth + 1)).collect::<Option<_>>()?)
            }
            Value::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| Some((key, self.copy(value, depth + 1)?)))
                    .collect::<Option<_>>()?,
            ),
        };
        Some(self.tree.add(element.place, value))
    }

    /// Puts a finished value where it belongs.
    fn attach(&mut self, id: ElementId) {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(id);
            return;
        };
        match &mut frame.open {
            Open::List(items) => items.push(id),
            Open::Map { entries, key, .. } => match std::mem::replace(key, Pending::None) {
                Pending::Key(key) => entries.push((key, id)),
                Pending::Refused => {}
                Pending::None => {
                    *key = Pending::Refused;
                    self.error(self.tree.element(id).place, "a list or map as a key", Some("keys are words".into()));
                }
            },
        }
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for frame in &self.stack {
            match &frame.open {
                Open::List(items) => path = path::index(&path, items.len()),
                Open::Map { key: Pending::Key(key), .. } => path = path::key(&path, &key.text),
                Open::Map { .. } => {}
            }
        }
        path
    }

    fn place(&self, mark: &Marker) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { file: self.file, line: number(mark.line()).max(1), column: number(mark.col()).saturating_add(1) }
    }

    fn error(&self, place: Place, message: impl Into<String>, fix: Option<String>) {
        self.report.error(self.tree.location(place), &self.path(), message, fix);
    }

    fn stop<T>(&self, place: Place, message: impl Into<String>, fix: Option<String>) -> Result<T, Unreadable> {
        self.error(place, message, fix);
        Err(Unreadable)
    }
}
