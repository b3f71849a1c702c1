//! `expr_create`, `expr_evaluate` and `expr_delete`: expressions in CEL over the attributes of an exchange.
//!
//! The parser is the `cel` crate's. Values are computed here, because an expression is a guest's code that no CPU
//! budget of the guest ends: every step and every byte it makes is counted, and attributes are read when they are
//! asked for.

mod attributes;
mod evaluate;
mod functions;
mod text;
mod time;
mod value;

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use cel::parser::PrattParser;
use sidegate_wasm_host::abi::Status;

pub(super) use self::attributes::Attributes;
use self::evaluate::Evaluation;
use self::text::Pattern;
use crate::exchange::view::View;

/// Bytes of an expression. The parser's stack grows with it, so it is far below what a worker's stack holds.
const TEXT_BYTES: usize = 2 << 10;
/// Parts of a parsed expression, after macros were expanded, and how deep they nest: evaluation recurses.
const NODES: usize = 1000;
const DEPTH: usize = 128;
/// Live expressions of one VM: some 10 MiB at worst.
const EXPRESSIONS: usize = 128;

/// The expressions of one VM by their token.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    next: u32,
    live: BTreeMap<u32, Expression>,
}

#[derive(Debug)]
struct Expression {
    root: IdedExpr,
    /// Regular expressions that are written out, compiled once.
    patterns: BTreeMap<String, Pattern>,
}

impl Expressions {
    /// Argument: the text. Result: a token as u32.
    pub(super) fn create(&mut self, argument: &[u8], out: &mut Vec<u8>) -> Status {
        let Ok(text) = std::str::from_utf8(argument) else { return Status::BadArgument };
        let expression = match Expression::parse(text) {
            Ok(expression) => expression,
            Err(problem) => {
                tracing::info!("expr_create: {problem}");
                return Status::BadArgument;
            }
        };
        if self.live.len() >= EXPRESSIONS {
            return Status::InternalFailure;
        }
        while self.live.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let token = self.next;
        self.next = token.wrapping_add(1);
        self.live.insert(token, expression);
        out.extend_from_slice(&token.to_le_bytes());
        Status::Ok
    }

    /// Argument: a token. Result: the value, encoded as a property is. An expression that fails, or uses up its
    /// steps, is an internal failure.
    pub(super) fn evaluate(&self, argument: &[u8], attributes: &Attributes<'_>, out: &mut Vec<u8>) -> Status {
        let Ok(token) = <[u8; 4]>::try_from(argument) else { return Status::BadArgument };
        let Some(expression) = self.live.get(&u32::from_le_bytes(token)) else { return Status::NotFound };
        let evaluated = Evaluation::new(attributes, &expression.patterns).run(&expression.root);
        match evaluated {
            Ok(value) => value.encode(out),
            Err(problem) => {
                tracing::debug!("expr_evaluate: {problem}");
                Status::InternalFailure
            }
        }
    }

    /// Argument: a token, of a live expression or not.
    pub(super) fn delete(&mut self, argument: &[u8]) -> Status {
        let Ok(token) = <[u8; 4]>::try_from(argument) else { return Status::BadArgument };
        self.live.remove(&u32::from_le_bytes(token));
        Status::Ok
    }
}

/// An expression of an access log, shown as text.
#[derive(Debug)]
pub struct LogExpression {
    text: String,
    expression: Expression,
}

impl LogExpression {
    /// Reads an expression over the attributes of an exchange.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Whatever its value is, a line has room for a text.
        Ok(Self { text: text.to_owned(), expression: Expression::parse(&format!("string({text})"))? })
    }

    /// Appends its value; nothing where it has none, or fails.
    pub fn render(&self, view: &View, out: &mut Vec<u8>) {
        let attributes = Attributes::of_log(view);
        if let Ok(value) = Evaluation::new(&attributes, &self.expression.patterns).run(&self.expression.root) {
            value.encode(out);
        }
    }
}

impl PartialEq for LogExpression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Expression {
    fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES {
            return Err(format!("an expression may have {TEXT_BYTES} bytes"));
        }
        let parser = PrattParser::new().error_recovery_limit(1).error_reporting_limit(1);
        let root = parser.max_expression_node_count(NODES).parse(text).map_err(|problems| problems.to_string())?;
        let mut expression = Self { root: IdedExpr::default(), patterns: BTreeMap::new() };
        expression.check(&root)?;
        expression.root = root;
        Ok(expression)
    }

    /// Refuses what could never be evaluated, and collects patterns. A list instead of recursion: depth is what it
    /// measures.
    fn check(&mut self, root: &IdedExpr) -> Result<(), String> {
        let (mut nodes, mut work) = (0, vec![(root, 1)]);
        while let Some((node, depth)) = work.pop() {
            nodes += 1;
            if nodes > NODES || depth > DEPTH {
                return Err(format!("an expression may have {NODES} parts, nested {DEPTH} deep"));
            }
            let mut add = |child| work.push((child, depth + 1));
            match &node.expr {
                Expr::Unspecified => return Err("an empty expression".to_owned()),
                Expr::Struct(_) => return Err("messages cannot be made".to_owned()),
                Expr::Ident(_) | Expr::Literal(_) => {}
                Expr::Select(select) => add(&select.operand),
                Expr::List(list) => list.elements.iter().for_each(add),
                Expr::Map(map) => {
                    for entry in &map.entries {
                        if let EntryExpr::MapEntry(entry) = &entry.expr {
                            add(&entry.key);
                            add(&entry.value);
                        }
                    }
                }
                Expr::Comprehension(loops) => {
                    for part in [&loops.iter_range, &loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result]
                    {
                        add(part);
                    }
                }
                Expr::Call(call) => {
                    let arguments = call.args.len() + usize::from(call.target.is_some());
                    if !functions::is_known(&call.func_name, arguments) {
                        return Err(format!("no function {} of {arguments} values", call.func_name));
                    }
                    if call.func_name == "matches"
                        && let Some(IdedExpr { expr: Expr::Literal(LiteralValue::String(pattern)), .. }) =
                            call.args.last()
                    {
                        let compiled = Pattern::compile(pattern.inner())?;
                        self.patterns.insert(pattern.inner().to_owned(), compiled);
                    }
                    call.target.iter().for_each(|target| add(target));
                    call.args.iter().for_each(add);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
