//! Header operations: within a level removes run before sets, and sets before adds.

use std::borrow::Cow;

use sidegate_sdk::{HeadersMut, RequestHead, Result, Setup, escape_pointer};

use crate::config::HeaderOperations;
use crate::template::Template;

/// The operations of one level and direction, in the order they run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ops {
    pub(crate) list: Box<[Op]>,
    /// The host that a request gets: `:authority` or `host`, of `set` before `add`.
    pub(crate) host: Option<Box<Template>>,
}

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

/// What a name in an operation means.
enum Name {
    Header(Box<str>),
    Host,
    /// The problem has been told.
    Wrong,
}

impl Ops {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.host.is_none()
    }

    /// Checks and compiles; problems are told to `setup` below `pointer`.
    pub(crate) fn compile(written: &HeaderOperations, direction: Direction, pointer: &str, setup: &mut Setup) -> Self {
        let mut list = Vec::new();
        let mut host = None;
        for (index, name) in written.remove.iter().enumerate() {
            let place = || format!("{pointer}/remove/{index}");
            if let Name::Header(name) = checked(name, direction, OpKind::Remove, place, setup) {
                list.push(Op { kind: OpKind::Remove, name, value: Template::Fixed("".into()) });
            }
        }
        for (kind, word, map) in [(OpKind::Set, "set", &written.set), (OpKind::Add, "add", &written.add)] {
            let mut is_first = true;
            for (key, text) in map {
                let place = || format!("{pointer}/{word}/{}", escape_pointer(key));
                let name = checked(key, direction, kind, place, setup);
                if matches!(name, Name::Host) && !std::mem::take(&mut is_first) {
                    setup.error(place(), "the host is said twice: `host` and `:authority` are the same");
                }
                match (name, Template::read(text)) {
                    (_, Err(problem)) => setup.error(place(), problem),
                    (Name::Header(name), Ok(value)) => list.push(Op { kind, name, value }),
                    (Name::Host, Ok(value)) => {
                        host.get_or_insert(Box::new(value));
                    }
                    (Name::Wrong, Ok(_)) => {}
                }
            }
        }
        Self { list: list.into(), host }
    }
}

/// Whether a text may name a header or a method.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}

fn checked(name: &str, direction: Direction, kind: OpKind, place: impl Fn() -> String, setup: &mut Setup) -> Name {
    let lower = name.to_ascii_lowercase();
    if lower == "host" || lower == ":authority" {
        if direction == Direction::Request && kind != OpKind::Remove {
            return Name::Host;
        }
        setup.warning(place(), "the host is only changed by set or add of a request");
        return Name::Wrong;
    }
    if lower.starts_with(':') {
        setup.error(place(), "pseudo headers are not changed here; use rewrite");
        return Name::Wrong;
    }
    if !is_token(&lower) {
        setup.error(place(), format!("`{name}` is no header name"));
        return Name::Wrong;
    }
    Name::Header(lower.into())
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
