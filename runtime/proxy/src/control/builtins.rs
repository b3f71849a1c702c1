//! The standard filters inside this binary: their modules, and compiled code where the build made it.

include!(concat!(env!("OUT_DIR"), "/builtins.rs"));

/// A filter that ships with the proxy.
pub struct Builtin {
    pub name: &'static str,
    pub wasm: &'static [u8],
    /// Lower-case hex sha256 of `wasm`, taken when this binary was built.
    pub digest: &'static str,
    pub compiled: Option<Compiled>,
}

/// What was made of a filter before it was embedded.
pub struct Compiled {
    /// What the module says about itself, as JSON.
    pub outline: &'static str,
    /// Code for `Policy::Builtin`.
    pub code: &'static [u8],
}

/// Bytes that begin at a page: code among them runs where it lies.
#[cfg_attr(target_arch = "x86_64", repr(align(4096)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(align(65536)))]
#[allow(dead_code, reason = "a binary that is built before its filters embeds none")]
struct Paged<Bytes>(Bytes);

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
