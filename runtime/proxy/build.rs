//! Embeds the standard filters from `$SIDEGATE_FILTERS_DIR` (default `target/filters`) if they are there, with their
//! digests, and with compiled code that was made from exactly these bytes.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use sha2::{Digest, Sha256};

/// What ships inside the binary. Other modules in the folder are examples.
const STANDARD: [&str; 5] = ["auth", "fault", "ratelimit", "router", "telemetry"];
/// Compiled code begins with the digest of its module.
const DIGEST_BYTES: usize = 32;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=SIDEGATE_FILTERS_DIR");
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = match env::var_os("SIDEGATE_FILTERS_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => manifest.join("../../target/filters"),
    };
    let mut found = false;
    let mut list = String::from("const BUILTINS: &[Builtin] = &[\n");
    for name in STANDARD {
        let wasm = folder.join(format!("{name}.wasm"));
        if !wasm.is_file() {
            continue;
        }
        found = true;
        println!("cargo::rerun-if-changed={}", wasm.display());
        let digest = Sha256::digest(fs::read(&wasm)?);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let artifact = artifact(&folder.join(format!("{name}.cwasm")), &digest)?;
        let wasm = include(&wasm)?;
        let _ =
            writeln!(list, "    Builtin {{ name: {name:?}, wasm: {wasm}, digest: {hex:?}, artifact: {artifact} }},");
    }
    if !found {
        // Cargo runs this again until the folder is there; a file that is missing would do so for ever.
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    list.push_str("];\n");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    fs::write(out.join("builtins.rs"), list)
}

/// Code of this module, or none: what was made from other bytes is not embedded.
fn artifact(path: &Path, digest: &[u8]) -> io::Result<String> {
    // Named before it is there: the build that makes it is followed by one that embeds it.
    println!("cargo::rerun-if-changed={}", path.display());
    if !path.is_file() {
        return Ok("&[]".to_owned());
    }
    let bytes = fs::read(path)?;
    if bytes.get(..DIGEST_BYTES) == Some(digest) { include(path) } else { Ok("&[]".to_owned()) }
}

fn include(path: &Path) -> io::Result<String> {
    Ok(format!("include_bytes!({:?})", path.canonicalize()?))
}
