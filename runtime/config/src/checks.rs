//! Checks of single values, named in the model after `where`.

use std::time::Duration;

use crate::Size;

/// Something of which there must be more than nothing.
pub(crate) trait Amount {
    fn is_zero(&self) -> bool;
}

impl Amount for u32 {
    fn is_zero(&self) -> bool {
        *self == 0
    }
}

impl Amount for Duration {
    fn is_zero(&self) -> bool {
        Duration::is_zero(self)
    }
}

impl Amount for Size {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

pub(crate) fn positive(value: &impl Amount) -> Result<(), String> {
    if value.is_zero() { Err("must be more than 0".to_owned()) } else { Ok(()) }
}

/// Names are shown in logs, metrics and tables, so they are short words one can see.
pub(crate) fn printable(value: &str) -> Result<(), String> {
    if value.is_empty() {
        return Err("a name must not be empty".to_owned());
    }
    if value.len() > 253 {
        return Err("a name has at most 253 bytes".to_owned());
    }
    if value.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("a name must not contain spaces or control characters".to_owned());
    }
    Ok(())
}

pub(crate) fn all_printable(values: &[String]) -> Result<(), String> {
    values.iter().try_for_each(|value| printable(value))
}

/// A page of WebAssembly is the least a module can have; 4Gi is all that it can address.
pub(crate) fn guest_memory(value: &Size) -> Result<(), String> {
    if (64 << 10..=4 << 30).contains(&value.0) { Ok(()) } else { Err("must be from 64Ki to 4Gi".to_owned()) }
}

/// Less than 1Ki could not even hold the request line.
pub(crate) fn header_size(value: &Size) -> Result<(), String> {
    if (1 << 10..=1 << 20).contains(&value.0) { Ok(()) } else { Err("must be from 1Ki to 1Mi".to_owned()) }
}
