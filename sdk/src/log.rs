//! Log lines. They carry the filter's text; the host adds plugin, version and level.
//!
//! ```
//! let tenant = "a";
//! sidegate_sdk::info!("tenant {tenant} has no quota");
//! sidegate_sdk::debug!("never formatted unless the host's level is debug or trace");
//! ```

use std::fmt::Arguments;

use crate::host;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// What an author wants to see.
    Debug,
    /// What an operator may want to see.
    Info,
    /// Something is odd and was dealt with.
    Warn,
    /// Something was not done.
    Error,
    /// The filter cannot go on.
    Critical,
}

/// Writes one line; the macros are the usual way.
pub fn write(level: Level, text: Arguments<'_>) {
    match text.as_str() {
        Some(text) => host::log(level as u32, text),
        None => host::log(level as u32, &text.to_string()),
    }
}

/// Whether the host keeps lines of this level.
#[must_use]
pub fn enabled(level: Level) -> bool {
    level as u32 >= host::log_level()
}

/// Logs at trace level; formats only if the host wants it.
#[macro_export]
macro_rules! trace {
    ($($t:tt)*) => { if $crate::log::enabled($crate::log::Level::Trace) { $crate::log::write($crate::log::Level::Trace, format_args!($($t)*)) } };
}

/// Logs at debug level; formats only if the host wants it.
#[macro_export]
macro_rules! debug {
    ($($t:tt)*) => { if $crate::log::enabled($crate::log::Level::Debug) { $crate::log::write($crate::log::Level::Debug, format_args!($($t)*)) } };
}

/// Logs at info level.
#[macro_export]
macro_rules! info {
    ($($t:tt)*) => { $crate::log::write($crate::log::Level::Info, format_args!($($t)*)) };
}

/// Logs at warn level.
#[macro_export]
macro_rules! warn {
    ($($t:tt)*) => { $crate::log::write($crate::log::Level::Warn, format_args!($($t)*)) };
}

/// Logs at error level.
#[macro_export]
macro_rules! error {
    ($($t:tt)*) => { $crate::log::write($crate::log::Level::Error, format_args!($($t)*)) };
}
