//! Finds exported hooks that do nothing, so that they need not be called.

use serde::{Deserialize, Serialize};
use wasmparser::{BinaryReaderError, FunctionBody, Operator, ValType};

/// What a function without effect returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Trivial {
    Nothing,
    Constant(i32),
}

/// Whether the body can only return: constants, parameters, drops. No call, memory, global, branch or trap.
pub(crate) fn body(body: &FunctionBody<'_>) -> Result<Option<Trivial>, BinaryReaderError> {
    let mut locals = body.get_locals_reader()?;
    for _ in 0..locals.get_count() {
        let (_, ty) = locals.read()?;
        if !matches!(ty, ValType::I32 | ValType::I64) {
            return Ok(None);
        }
    }
    let mut stack: Vec<Option<i32>> = Vec::new();
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Nop => {}
            Operator::I32Const { value } => stack.push(Some(value)),
            Operator::LocalGet { .. } => stack.push(None),
            Operator::Drop => {
                stack.pop();
            }
            Operator::Return | Operator::End => {
                return Ok(match stack.pop() {
                    None => Some(Trivial::Nothing),
                    Some(Some(value)) => Some(Trivial::Constant(value)),
                    Some(None) => None,
                });
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}
