//! What is known when a VM ends: the hook, the reason, the guest's backtrace.

use std::fmt;

use crate::hooks::Hook;
use crate::limits;

/// The end of a VM. It is never called again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason} in {hook}: {detail}{}", after(.calls))]
pub struct Fault {
    pub hook: Hook,
    pub reason: FaultReason,
    pub detail: String,
    /// The hostcalls before it, the last one last, with the answers that the guest got; empty when it made none.
    pub calls: String,
}

impl Fault {
    pub(crate) fn new(hook: Hook, reason: FaultReason, detail: impl fmt::Display) -> Self {
        Self { hook, reason, detail: cut(detail.to_string()), calls: String::new() }
    }

    /// The VM had ended before `hook` could run.
    #[cold]
    pub fn lost(hook: Hook) -> Self {
        Self::new(hook, FaultReason::VmLost, "the VM has ended")
    }
}

/// No more of a text than is worth telling.
pub(crate) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(limits::FAULT_TEXT));
    text
}

/// The text of a module or about it, for a log: other control characters than line ends are escaped, and no line but
/// the first begins at the margin, where it could pass for one of ours.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\n    "),
            '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

fn after(calls: &str) -> String {
    if calls.is_empty() { String::new() } else { format!("\nlast hostcalls: {calls}") }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultReason {
    /// The guest trapped: panic, unreachable, out of bounds, stack overflow.
    Trap,
    /// It used up its CPU time.
    Deadline,
    /// It trapped after it was refused memory.
    Memory,
    /// `on_vm_start` or `on_configure` returned false.
    Refused,
    /// The VM ended in another exchange's hook.
    VmLost,
    /// A bug of ours, caught at the boundary, or an engine that has no room for another VM.
    Host,
}

impl FaultReason {
    /// The value of the `reason` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Refused => "refused",
            Self::VmLost => "vm_lost",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for FaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_module_passes_for_a_line_of_ours() {
        assert_eq!(harmless("at f\n2026 ERROR\r\x1b[31m\0ü\t"), "at f\n    2026 ERROR\\r\\u{1b}[31m\\u{0}ü\t");
    }
}
