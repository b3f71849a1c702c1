//! Header operations: within a level removes run before sets, and sets before adds.

use std::borrow::Cow;

use sidegate_sdk::{HeadersMut, RequestHead, Result, Setup, escape_pointer};

use crate::config::HeaderOperations;
use crate::template::Template;

/// The operations of one level and direction, in the order they run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ops(pub(crate) Box<[Op]>);

#[derive(Debug, Clone)]
pub(crate) struct Op {
    kind: OpKind,
    name: Box<str>,
    value: Template,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpKind {
    Remove,
    Set,
    Add,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

impl Ops {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the host is among what is written.
    pub(crate) fn rewrites_host(&self) -> bool {
        self.0.iter().any(|op| &*op.name == ":authority")
    }

    /// Checks and compiles; problems are told to `setup` below `pointer`.
    pub(crate) fn compile(written: &HeaderOperations, direction: Direction, pointer: &str, setup: &mut Setup) -> Self {
        let mut ops = Vec::new();
        for (index, name) in written.remove.iter().enumerate() {
            if let Some(name) = checked(name, direction, OpKind::Remove, || format!("{pointer}/remove/{index}"), setup)
            {
                ops.push(Op { kind: OpKind::Remove, name, value: Template::Fixed("".into()) });
            }
        }
        for (kind, word, map) in [(OpKind::Set, "set", &written.set), (OpKind::Add, "add", &written.add)] {
            for (key, text) in map {
                let place = || format!("{pointer}/{word}/{}", escape_pointer(key));
                let Some(name) = checked(key, direction, kind, place, setup) else { continue };
                // The host has one value: an add means a set, and gives way to one.
                let host = &*name == ":authority";
                let is_taken = host && ops.iter().any(|op: &Op| *op.name == *name);
                match Template::read(text) {
                    _ if is_taken => {}
                    Ok(value) => ops.push(Op { kind: if host { OpKind::Set } else { kind }, name, value }),
                    Err(problem) => setup.error(place(), problem),
                }
            }
        }
        Self(ops.into())
    }
}

fn checked(
    name: &str,
    direction: Direction,
    kind: OpKind,
    place: impl Fn() -> String,
    setup: &mut Setup,
) -> Option<Box<str>> {
    let lower = name.to_ascii_lowercase();
    if lower == "host" || lower == ":authority" {
        if direction == Direction::Request && kind != OpKind::Remove {
            return Some(":authority".into());
        }
        setup.warning(place(), "the host is only changed by set or add of a request");
        return None;
    }
    if lower.starts_with(':') {
        setup.error(place(), "pseudo headers are not changed here; use rewrite");
        return None;
    }
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    if lower.is_empty() || !lower.bytes().all(is_token) {
        setup.error(place(), format!("`{name}` is no header name"));
        return None;
    }
    Some(lower.into())
}

/// An operation with its value for one request.
#[derive(Debug)]
pub(crate) struct Evaluated<'t> {
    kind: OpKind,
    name: &'t str,
    value: Cow<'t, str>,
}

/// Puts values together while the request can be read.
pub(crate) fn evaluate<'t>(ops: impl Iterator<Item = &'t Op>, head: &RequestHead<'_>) -> Vec<Evaluated<'t>> {
    ops.filter_map(|op| Some(Evaluated { kind: op.kind, name: &op.name, value: op.value.value(head)? })).collect()
}

impl Evaluated<'_> {
    pub(crate) fn apply_all(ops: &[Self], headers: &mut HeadersMut<'_>) -> Result<()> {
        ops.iter().try_for_each(|op| match op.kind {
            OpKind::Remove => headers.remove(op.name),
            OpKind::Set => headers.set(op.name, &op.value),
            OpKind::Add => headers.append(op.name, &op.value),
        })
    }
}
