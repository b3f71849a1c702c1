//! Operators and functions that take values to a value. What costs more than a step says so first.

use std::cmp::Ordering;

use cel::common::ast::operators as op;

use super::evaluate::{Budget, Failed};
use super::text::Pattern;
use super::time;
use super::value::{Value, find};

/// Whether a function of this name takes so many values, its target counted.
pub(super) fn is_known(name: &str, arguments: usize) -> bool {
    match name {
        op::CONDITIONAL => arguments == 3,
        op::LOGICAL_AND
        | op::LOGICAL_OR
        | op::SUBSTRACT
        | op::ADD
        | op::MULTIPLY
        | op::DIVIDE
        | op::MODULO
        | op::EQUALS
        | op::NOT_EQUALS
        | op::GREATER_EQUALS
        | op::LESS_EQUALS
        | op::GREATER
        | op::LESS
        | op::INDEX
        | op::IN
        | "contains"
        | "startsWith"
        | "endsWith"
        | "matches" => arguments == 2,
        op::LOGICAL_NOT
        | op::NEGATE
        | op::NOT_STRICTLY_FALSE
        | "size"
        | "string"
        | "bytes"
        | "int"
        | "uint"
        | "double"
        | "duration"
        | "timestamp"
        | "dyn"
        | "type"
        | "getFullYear"
        | "getMonth"
        | "getDate"
        | "getDayOfMonth"
        | "getDayOfWeek"
        | "getDayOfYear"
        | "getHours"
        | "getMinutes"
        | "getSeconds"
        | "getMilliseconds" => arguments == 1,
        _ => false,
    }
}

/// One value.
pub(super) fn unary(name: &str, value: Value, budget: &mut Budget) -> Result<Value, Failed> {
    let wrong = || Failed::types(name, &[&value]);
    Ok(match (name, &value) {
        (op::LOGICAL_NOT, Value::Bool(flag)) => Value::Bool(!flag),
        (op::NEGATE, Value::Int(number)) => Value::Int(number.checked_neg().ok_or(Failed::Overflow)?),
        (op::NEGATE, Value::Double(number)) => Value::Double(-number),
        ("dyn", _) => value,
        ("type", _) => Value::Type(value.kind()),
        ("size", Value::Text(text)) => {
            budget.steps(text.len() / 1024)?;
            count(text.chars().count())
        }
        ("size", Value::Bytes(bytes)) => count(bytes.len()),
        ("size", Value::List(list)) => count(list.len()),
        ("size", Value::Map(map)) => count(map.len()),
        ("string" | "bytes" | "int" | "uint" | "double" | "duration" | "timestamp", _) => {
            return convert(name, &value, budget);
        }
        (_, Value::Timestamp(at)) => Value::Int(time::of_timestamp(*at, name).ok_or_else(wrong)?),
        (_, Value::Duration(length)) => Value::Int(time::of_duration(*length, name).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    })
}

fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn convert(name: &str, value: &Value, budget: &mut Budget) -> Result<Value, Failed> {
    let wrong = || Failed::types(name, &[value]);
    let range = Failed::Overflow;
    budget.bytes(value.size())?;
    Ok(match (name, value) {
        ("string", Value::Text(_)) | ("bytes", Value::Bytes(_)) | ("int", Value::Int(_)) | ("uint", Value::Uint(_)) => {
            value.clone()
        }
        ("double", Value::Double(_)) | ("duration", Value::Duration(_)) | ("timestamp", Value::Timestamp(_)) => {
            value.clone()
        }
        ("string", Value::Bool(flag)) => Value::Text(flag.to_string().into()),
        ("string", Value::Int(number)) => Value::Text(number.to_string().into()),
        ("string", Value::Uint(number)) => Value::Text(number.to_string().into()),
        ("string", Value::Double(number)) => Value::Text(number.to_string().into()),
        ("string", Value::Bytes(bytes)) => Value::Text(std::str::from_utf8(bytes).map_err(|_| wrong())?.into()),
        ("string", Value::Duration(length)) => Value::Text(time::format_duration(*length).into()),
        ("string", Value::Timestamp(at)) => Value::Text(time::format_timestamp(*at).into()),
        ("bytes", Value::Text(text)) => Value::Bytes(text.as_bytes().into()),
        ("int", Value::Uint(number)) => Value::Int(i64::try_from(*number).map_err(|_| range)?),
        ("int", Value::Double(number)) => {
            let fits = number.is_finite() && *number > i64::MIN as f64 && *number < i64::MAX as f64;
            Value::Int(if fits { *number as i64 } else { return Err(range) })
        }
        ("int", Value::Text(text)) => Value::Int(text.parse().map_err(|_| wrong())?),
        ("int", Value::Timestamp(at)) => Value::Int(at.div_euclid(1_000_000_000)),
        ("uint", Value::Int(number)) => Value::Uint(u64::try_from(*number).map_err(|_| range)?),
        ("uint", Value::Double(number)) => {
            let fits = *number >= 0.0 && *number < u64::MAX as f64;
            Value::Uint(if fits { *number as u64 } else { return Err(range) })
        }
        ("uint", Value::Text(text)) => Value::Uint(text.parse().map_err(|_| wrong())?),
        ("double", Value::Int(number)) => Value::Double(*number as f64),
        ("double", Value::Uint(number)) => Value::Double(*number as f64),
        ("double", Value::Text(text)) => Value::Double(text.parse().map_err(|_| wrong())?),
        ("duration", Value::Text(text)) => Value::Duration(time::parse_duration(text).ok_or_else(wrong)?),
        ("timestamp", Value::Text(text)) => Value::Timestamp(time::parse_timestamp(text).ok_or_else(wrong)?),
        ("timestamp", Value::Int(seconds)) => Value::Timestamp(seconds.checked_mul(1_000_000_000).ok_or(range)?),
        _ => return Err(wrong()),
    })
}

/// Two values. Logic, which does not need both, is the evaluation's.
pub(super) fn binary(name: &str, left: &Value, right: &Value, budget: &mut Budget) -> Result<Value, Failed> {
    let wrong = || Failed::types(name, &[left, right]);
    match name {
        op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO => arithmetic(name, left, right, budget),
        op::EQUALS | op::NOT_EQUALS => {
            budget.steps(left.comparison_cost(right))?;
            Ok(Value::Bool(left.equals(right) == (name == op::EQUALS)))
        }
        op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS => {
            budget.steps(left.comparison_cost(right))?;
            let order = left.order(right);
            // Not a number is neither less nor greater.
            let number = |value: &Value| matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_));
            if order.is_none() && !(number(left) && number(right)) {
                return Err(wrong());
            }
            Ok(Value::Bool(match name {
                op::LESS => order == Some(Ordering::Less),
                op::LESS_EQUALS => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                op::GREATER => order == Some(Ordering::Greater),
                _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            }))
        }
        op::IN => {
            budget.steps(left.comparison_cost(right).max(right.size() / size_of::<Value>()))?;
            match right {
                Value::List(list) => {
                    for item in list.iter() {
                        budget.steps(left.comparison_cost(item))?;
                    }
                    Ok(Value::Bool(list.iter().any(|item| item.equals(left))))
                }
                Value::Map(map) => Ok(Value::Bool(find(map, left).is_some())),
                _ => Err(wrong()),
            }
        }
        op::INDEX => index(left, right, budget),
        _ => texts(name, left, right, budget),
    }
}

fn arithmetic(name: &str, left: &Value, right: &Value, budget: &mut Budget) -> Result<Value, Failed> {
    let int = |number: Option<i64>| number.ok_or(Failed::Overflow);
    Ok(match (left, right) {
        (Value::Int(a), Value::Int(b)) => Value::Int(int(match name {
            op::ADD => a.checked_add(*b),
            op::SUBSTRACT => a.checked_sub(*b),
            op::MULTIPLY => a.checked_mul(*b),
            op::DIVIDE => a.checked_div(*b),
            _ => a.checked_rem(*b),
        })?),
        (Value::Uint(a), Value::Uint(b)) => {
            let number = match name {
                op::ADD => a.checked_add(*b),
                op::SUBSTRACT => a.checked_sub(*b),
                op::MULTIPLY => a.checked_mul(*b),
                op::DIVIDE => a.checked_div(*b),
                _ => a.checked_rem(*b),
            };
            Value::Uint(number.ok_or(Failed::Overflow)?)
        }
        (Value::Double(a), Value::Double(b)) if name != op::MODULO => Value::Double(match name {
            op::ADD => a + b,
            op::SUBSTRACT => a - b,
            op::MULTIPLY => a * b,
            _ => a / b,
        }),
        (Value::Text(a), Value::Text(b)) if name == op::ADD => {
            budget.bytes(a.len() + b.len())?;
            Value::Text([&**a, &**b].concat().into())
        }
        (Value::Bytes(a), Value::Bytes(b)) if name == op::ADD => {
            budget.bytes(a.len() + b.len())?;
            Value::Bytes([&**a, &**b].concat().into())
        }
        (Value::List(a), Value::List(b)) if name == op::ADD => {
            budget.bytes((a.len() + b.len()) * size_of::<Value>())?;
            Value::list([&***a, &***b].concat()).ok_or(Failed::TooMuch)?
        }
        (Value::Duration(a), Value::Duration(b)) if name == op::ADD => Value::Duration(int(a.checked_add(*b))?),
        (Value::Duration(a), Value::Duration(b)) if name == op::SUBSTRACT => Value::Duration(int(a.checked_sub(*b))?),
        (Value::Timestamp(a), Value::Duration(b)) | (Value::Duration(b), Value::Timestamp(a)) if name == op::ADD => {
            Value::Timestamp(int(a.checked_add(*b))?)
        }
        (Value::Timestamp(a), Value::Duration(b)) if name == op::SUBSTRACT => Value::Timestamp(int(a.checked_sub(*b))?),
        (Value::Timestamp(a), Value::Timestamp(b)) if name == op::SUBSTRACT => Value::Duration(int(a.checked_sub(*b))?),
        _ => return Err(Failed::types(name, &[left, right])),
    })
}

fn index(left: &Value, right: &Value, budget: &mut Budget) -> Result<Value, Failed> {
    let found = match (left, right) {
        (Value::Map(map), key) => {
            budget.steps(map.len())?;
            find(map, key)
        }
        (Value::List(list), Value::Int(at)) => usize::try_from(*at).ok().and_then(|at| list.get(at)),
        (Value::List(list), Value::Uint(at)) => usize::try_from(*at).ok().and_then(|at| list.get(at)),
        _ => return Err(Failed::types(op::INDEX, &[left, right])),
    };
    found.cloned().ok_or(Failed::Absent)
}

fn texts(name: &str, left: &Value, right: &Value, budget: &mut Budget) -> Result<Value, Failed> {
    let (Value::Text(text), Value::Text(part)) = (left, right) else {
        return Err(Failed::types(name, &[left, right]));
    };
    budget.steps(text.len() / 256)?;
    Ok(Value::Bool(match name {
        "contains" => text.contains(&**part),
        "startsWith" => text.starts_with(&**part),
        "endsWith" => text.ends_with(&**part),
        "matches" => match budget.patterns().get(&**part) {
            Some(pattern) => {
                budget.steps(pattern.cost(text))?;
                pattern.is_in(text)
            }
            None => {
                budget.steps(COMPILE_STEPS)?;
                let pattern = Pattern::compile(part).map_err(|_| Failed::types(name, &[left, right]))?;
                budget.steps(pattern.cost(text))?;
                pattern.is_in(text)
            }
        },
        _ => return Err(Failed::types(name, &[left, right])),
    }))
}

/// Steps that it costs to compile a regular expression that is only known now.
const COMPILE_STEPS: usize = 10_000;
