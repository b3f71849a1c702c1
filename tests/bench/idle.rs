//! How fast one change is when nothing else happens. Every module is new to the proxy, so that it is compiled.

use crate::operator::Operator;
use crate::{Outcome, modules};

const TIMES: u8 = 9;

/// Milliseconds from a push to its answer.
pub(crate) fn pushes(operator: &Operator, module: &[u8]) -> Outcome<Vec<f64>> {
    let push = |mark| Ok(operator.push("hello", &modules::with_mark(module, mark))?.as_secs_f64() * 1e3);
    (0..TIMES).map(push).collect()
}

/// Milliseconds from a saved file to the first response with what it does. Leaves version `a` behind.
pub(crate) fn saves(operator: &Operator) -> Outcome<Vec<f64>> {
    let names = (1..TIMES).map(|number| format!("save{number}")).chain(["a".to_owned()]);
    names.map(|name| Ok(operator.save(&name)?.as_secs_f64() * 1e3)).collect()
}
