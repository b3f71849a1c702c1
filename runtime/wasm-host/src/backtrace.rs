//! A guest's backtrace as text. Names come from the module, which is not trusted: a mangled one of some hundred bytes
//! can stand for gigabytes. So each is read up to a bound, and written up to one.

use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, Symbol};
use wasmtime::{FrameInfo, WasmBacktrace};

/// Bytes of one name, as it stands in the module and as it is shown.
const NAME: usize = 512;
/// Frames that are shown, the innermost ones.
const FRAMES: usize = 20;

pub(crate) fn text(backtrace: &WasmBacktrace) -> String {
    let mut out = String::from("error while executing at wasm backtrace:");
    for (at, frame) in backtrace.frames().iter().take(FRAMES).enumerate() {
        let offset = frame.module_offset().unwrap_or_default();
        let _ = write!(out, "\n{at:>5}: {offset:#8x} - {}", name(frame));
    }
    out
}

fn name(frame: &FrameInfo) -> String {
    match frame.func_name() {
        Some(mangled) => demangled(mangled),
        None => format!("<wasm function {}>", frame.func_index()),
    }
}

fn demangled(mangled: &str) -> String {
    if mangled.len() > NAME {
        return Bounded::write(|out| out.write_str(mangled));
    }
    if let Ok(name) = rustc_demangle::try_demangle(mangled) {
        return Bounded::write(|out| write!(out, "{name}"));
    }
    match Symbol::new(mangled) {
        Ok(name) => Bounded::write(|out| name.structured_demangle(out, &DemangleOptions::default())),
        Err(_) => mangled.to_owned(),
    }
}

/// Text up to a bound; who writes more is stopped.
#[derive(Default)]
struct Bounded(String);

impl Bounded {
    fn write(write: impl FnOnce(&mut Self) -> fmt::Result) -> String {
        let mut bounded = Self::default();
        match write(&mut bounded) {
            Ok(()) => bounded.0,
            Err(_) => bounded.0 + "...",
        }
    }
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = NAME - self.0.len();
        let fits = text.floor_char_boundary(room);
        self.0.push_str(text.get(..fits).unwrap_or_default());
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        assert_eq!(
            demangled("_ZN4core9panicking5panic17h0123456789abcdefE"),
            "core::panicking::panic::h0123456789abcdef"
        );
        assert_eq!(demangled("_ZN3foo3barEi"), "foo::bar(int)");
        assert_eq!(demangled("main"), "main");
        assert_eq!(demangled(&"x".repeat(10_000)), format!("{}...", "x".repeat(NAME)));
    }

    #[test]
    fn a_name_that_stands_for_gigabytes_is_cut() {
        // Each argument is a pair of the one before.
        let mut mangled = String::from("_Z1fI1aIiiE");
        for pair in "123456789ABCDEFGHIJKLMNOPQRSTUVWXY".chars() {
            let _ = write!(mangled, "S0_IS{pair}_S{pair}_E");
        }
        mangled.push_str("Evv");
        let began = std::time::Instant::now();
        let name = demangled(&mangled);
        assert!(
            name.len() <= NAME + 3 && began.elapsed().as_millis() < 500,
            "{} bytes, {:?}",
            name.len(),
            began.elapsed()
        );
    }
}
