//! The standard filters inside this binary: their modules, and compiled code where the build made it.

include!(concat!(env!("OUT_DIR"), "/builtins.rs"));

/// A filter that ships with the proxy.
pub struct Builtin {
    pub name: &'static str,
    pub wasm: &'static [u8],
    /// Lower-case hex sha256 of `wasm`, taken when this binary was built.
    pub digest: &'static str,
    /// The same digest in bytes, followed by code for `Policy::Builtin`; empty when it was not precompiled.
    pub artifact: &'static [u8],
}

/// The names of all of them.
pub fn names() -> Vec<&'static str> {
    BUILTINS.iter().map(|builtin| builtin.name).collect()
}

pub fn find(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

/// Why there is no filter of this name, for people.
pub fn unknown_builtin(name: &str) -> String {
    let known = names();
    if known.is_empty() {
        format!("builtin:{name}: this binary holds no standard filters; run cargo xtask build")
    } else {
        format!("builtin:{name} does not exist; there are {}", known.join(", "))
    }
}

/// The digests of all of them.
pub fn digests() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|builtin| builtin.digest)
}
