//! Embeds the standard filters from `$SIDEGATE_FILTERS_DIR` (default `target/filters`) if they are there.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What ships inside the binary. Other modules in the folder are examples.
const STANDARD: [&str; 5] = ["auth", "fault", "ratelimit", "router", "telemetry"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=SIDEGATE_FILTERS_DIR");
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = match env::var_os("SIDEGATE_FILTERS_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => manifest.join("../../target/filters"),
    };
    let mut list = String::from("const BUILTINS: &[Builtin] = &[\n");
    for name in STANDARD {
        let wasm = folder.join(format!("{name}.wasm"));
        let artifact = folder.join(format!("{name}.cwasm"));
        println!("cargo::rerun-if-changed={}", wasm.display());
        println!("cargo::rerun-if-changed={}", artifact.display());
        if wasm.is_file() {
            let artifact = if artifact.is_file() { include(&artifact)? } else { "&[]".to_owned() };
            let wasm = include(&wasm)?;
            let _ = writeln!(list, "    Builtin {{ name: {name:?}, wasm: {wasm}, artifact: {artifact} }},");
        }
    }
    list.push_str("];\n");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    fs::write(out.join("builtins.rs"), list)
}

fn include(path: &Path) -> io::Result<String> {
    Ok(format!("include_bytes!({:?})", path.canonicalize()?))
}
