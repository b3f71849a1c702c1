//! One evaluation: from a parsed expression to a value, within its steps and bytes.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, operators as op};

use super::attributes::Attributes;
use super::functions;
use super::text::Pattern;
use super::value::Value;

/// Steps of one evaluation: some milliseconds, about as much as a hook may take.
const STEPS: usize = 50_000;
/// Bytes that one evaluation may make or read.
const BYTES: usize = 4 << 20;

/// Why there is no value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("no such attribute, key or index")]
    Absent,
    #[error("unknown name {0}")]
    Unknown(String),
    #[error("{0}")]
    Types(String),
    #[error("a number overflows, or is divided by zero")]
    Overflow,
    #[error("more than {STEPS} steps or {BYTES} bytes")]
    TooMuch,
}

impl Failed {
    pub(super) fn types(function: &str, values: &[&Value]) -> Self {
        let kinds: Vec<_> = values.iter().map(|value| value.kind()).collect();
        Self::Types(format!("{function} cannot be applied to {}", kinds.join(", ")))
    }
}

/// What an evaluation may still use.
pub(super) struct Budget<'a> {
    steps: usize,
    bytes: usize,
    patterns: &'a BTreeMap<String, Pattern>,
}

impl<'a> Budget<'a> {
    pub(super) fn steps(&mut self, count: usize) -> Result<(), Failed> {
        self.steps = self.steps.checked_sub(count).ok_or(Failed::TooMuch)?;
        Ok(())
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<(), Failed> {
        self.bytes = self.bytes.checked_sub(count).ok_or(Failed::TooMuch)?;
        Ok(())
    }

    /// Patterns that are compiled already.
    pub(super) fn patterns(&self) -> &'a BTreeMap<String, Pattern> {
        self.patterns
    }
}

/// An expression under evaluation.
pub(super) struct Evaluation<'a> {
    attributes: &'a Attributes<'a>,
    budget: Budget<'a>,
    /// Variables of the loops around the present part, the innermost last.
    variables: Vec<(&'a str, Value)>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(attributes: &'a Attributes<'a>, patterns: &'a BTreeMap<String, Pattern>) -> Self {
        Self { attributes, budget: Budget { steps: STEPS, bytes: BYTES, patterns }, variables: Vec::new() }
    }

    pub(super) fn run(mut self, root: &'a IdedExpr) -> Result<Value, Failed> {
        let value = self.value(root)?;
        self.materialised(value)
    }

    fn value(&mut self, node: &'a IdedExpr) -> Result<Value, Failed> {
        self.budget.steps(1)?;
        match &node.expr {
            Expr::Literal(literal) => self.literal(literal),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(loops) => self.comprehension(loops),
            Expr::List(list) => {
                let mut items = Vec::with_capacity(list.elements.len());
                for element in &list.elements {
                    items.push(self.whole(element)?);
                }
                self.made(Value::list(items))
            }
            Expr::Map(map) => {
                let mut items = Vec::with_capacity(map.entries.len());
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { return Err(Failed::Absent) };
                    items.push((self.whole(&entry.key)?, self.whole(&entry.value)?));
                }
                self.made(Value::map(items))
            }
            Expr::Struct(_) | Expr::Unspecified => Err(Failed::Absent),
        }
    }

    /// A value that is used as one: a header map is read whole.
    fn whole(&mut self, node: &'a IdedExpr) -> Result<Value, Failed> {
        let value = self.value(node)?;
        self.materialised(value)
    }

    fn materialised(&mut self, value: Value) -> Result<Value, Failed> {
        match &value {
            Value::Group(path) => match self.attributes.whole(path) {
                Some(map) => self.made(Some(map)),
                None => Ok(value),
            },
            _ => Ok(value),
        }
    }

    fn made(&mut self, value: Option<Value>) -> Result<Value, Failed> {
        let value = value.ok_or(Failed::TooMuch)?;
        self.budget.bytes(value.size())?;
        Ok(value)
    }

    fn literal(&mut self, literal: &LiteralValue) -> Result<Value, Failed> {
        self.made(Some(match literal {
            LiteralValue::Boolean(flag) => Value::Bool(*flag.inner()),
            LiteralValue::Int(number) => Value::Int(*number.inner()),
            LiteralValue::UInt(number) => Value::Uint(*number.inner()),
            LiteralValue::Double(number) => Value::Double(*number.inner()),
            LiteralValue::String(text) => Value::Text(text.inner().into()),
            LiteralValue::Bytes(bytes) => Value::Bytes(bytes.inner().into()),
            LiteralValue::Null => Value::Null,
        }))
    }

    fn name(&mut self, name: &str) -> Result<Value, Failed> {
        if let Some((_, value)) = self.variables.iter().rev().find(|(known, _)| *known == name) {
            return Ok(value.clone());
        }
        let value = self.attributes.read(name.as_bytes()).ok_or_else(|| Failed::Unknown(name.to_owned()))?;
        self.made(Some(value))
    }

    /// `operand.field`, or whether it is there.
    fn select(&mut self, select: &'a SelectExpr) -> Result<Value, Failed> {
        let found = match self.value(&select.operand) {
            Ok(operand) => self.below(&operand, &select.field),
            Err(failed) => Err(failed),
        };
        if !select.test {
            return found;
        }
        match found {
            Ok(_) => Ok(Value::Bool(true)),
            Err(Failed::Absent) => Ok(Value::Bool(false)),
            Err(failed) => Err(failed),
        }
    }

    fn below(&mut self, operand: &Value, field: &str) -> Result<Value, Failed> {
        match operand {
            Value::Group(group) => {
                let path = [group, &b"\0"[..], field.as_bytes()].concat();
                // A field with a NUL would be another path.
                let value = if field.contains('\0') { None } else { self.attributes.read(&path) };
                self.made(Some(value.ok_or(Failed::Absent)?))
            }
            _ => functions::binary(op::INDEX, operand, &Value::Text(field.into()), &mut self.budget),
        }
    }

    fn call(&mut self, call: &'a CallExpr) -> Result<Value, Failed> {
        let name = call.func_name.as_str();
        let mut arguments = call.target.as_deref().into_iter().chain(&call.args);
        match (arguments.next(), arguments.next(), arguments.next()) {
            (Some(test), Some(then), Some(otherwise)) => match self.value(test)? {
                Value::Bool(true) => self.value(then),
                Value::Bool(false) => self.value(otherwise),
                other => Err(Failed::types(name, &[&other])),
            },
            (Some(left), Some(right), None) => match name {
                op::LOGICAL_AND => self.either(left, right, false),
                op::LOGICAL_OR => self.either(left, right, true),
                op::INDEX => {
                    let operand = self.value(left)?;
                    match (&operand, self.whole(right)?) {
                        (Value::Group(_), Value::Text(field)) => self.below(&operand, &field),
                        (_, key) => functions::binary(name, &operand, &key, &mut self.budget),
                    }
                }
                op::IN => {
                    let key = self.whole(left)?;
                    let holder = self.value(right)?;
                    if let (Value::Group(_), Value::Text(field)) = (&holder, &key) {
                        return match self.below(&holder, field) {
                            Ok(_) => Ok(Value::Bool(true)),
                            Err(Failed::Absent) => Ok(Value::Bool(false)),
                            Err(failed) => Err(failed),
                        };
                    }
                    functions::binary(name, &key, &holder, &mut self.budget)
                }
                _ => {
                    let (left, right) = (self.whole(left)?, self.whole(right)?);
                    functions::binary(name, &left, &right, &mut self.budget)
                }
            },
            (Some(only), None, _) => {
                if name == op::NOT_STRICTLY_FALSE {
                    let value = self.value(only);
                    return match value {
                        Err(Failed::TooMuch) => value,
                        value => Ok(Value::Bool(!matches!(value, Ok(Value::Bool(false))))),
                    };
                }
                let value = self.whole(only)?;
                functions::unary(name, value, &mut self.budget)
            }
            _ => Err(Failed::Absent),
        }
    }

    /// `&&` and `||`: the side that decides does so even where the other one fails.
    fn either(&mut self, left: &'a IdedExpr, right: &'a IdedExpr, decisive: bool) -> Result<Value, Failed> {
        let left = self.value(left);
        match left {
            Ok(Value::Bool(flag)) if flag == decisive => return left,
            Err(Failed::TooMuch) => return left,
            _ => {}
        }
        let right = self.value(right)?;
        match (left, right) {
            (_, Value::Bool(flag)) if flag == decisive => Ok(Value::Bool(flag)),
            (Ok(Value::Bool(_)), Value::Bool(flag)) => Ok(Value::Bool(flag)),
            (Ok(left), right) => Err(Failed::types("logic", &[&left, &right])),
            (Err(failed), _) => Err(failed),
        }
    }

    /// What the macros `all`, `exists`, `exists_one`, `map` and `filter` are made of.
    fn comprehension(&mut self, loops: &'a ComprehensionExpr) -> Result<Value, Failed> {
        let range = self.whole(&loops.iter_range)?;
        let items: Vec<Value> = match &range {
            Value::List(list) => list.to_vec(),
            Value::Map(map) => map.iter().map(|(key, _)| key.clone()).collect(),
            other => return Err(Failed::types("a loop", &[other])),
        };
        self.budget.bytes(items.len() * size_of::<Value>())?;
        let start = self.whole(&loops.accu_init)?;
        let outer = self.variables.len();
        self.variables.push((&loops.accu_var, start));
        let ended = self.iterate(loops, items);
        let result = ended.and_then(|()| self.value(&loops.result));
        self.variables.truncate(outer);
        result
    }

    fn iterate(&mut self, loops: &'a ComprehensionExpr, items: Vec<Value>) -> Result<(), Failed> {
        let accumulator = self.variables.len() - 1;
        for item in items {
            self.variables.push((&loops.iter_var, item));
            let goes_on = self.value(&loops.loop_cond)?;
            if matches!(goes_on, Value::Bool(false)) {
                self.variables.truncate(accumulator + 1);
                return Ok(());
            }
            let next = self.value(&loops.loop_step)?;
            self.variables.truncate(accumulator + 1);
            if let Some((_, value)) = self.variables.get_mut(accumulator) {
                *value = next;
            }
        }
        Ok(())
    }
}
