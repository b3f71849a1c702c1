//! Embeds the standard filters from `$SIDEGATE_FILTERS_DIR` (default `target/filters`) if they are there, with their
//! digests, and with what `sidegate compile --embeddable` made of exactly these bytes.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use sha2::{Digest, Sha256};

/// What ships inside the binary. Other modules in the folder are examples.
const STANDARD: [&str; 5] = ["auth", "fault", "ratelimit", "router", "telemetry"];
/// The length of the outline, little endian.
const LENGTH_BYTES: usize = 4;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed=SIDEGATE_FILTERS_DIR");
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = match env::var_os("SIDEGATE_FILTERS_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => manifest.join("../../target/filters"),
    };
    let out = PathBuf::from(env::var("OUT_DIR").unwrap_or_default());
    let mut found = false;
    let mut list = String::from("static BUILTINS: &[Builtin] = &[\n");
    for name in STANDARD {
        let wasm = folder.join(format!("{name}.wasm"));
        if !wasm.is_file() {
            continue;
        }
        found = true;
        println!("cargo::rerun-if-changed={}", wasm.display());
        let digest = Sha256::digest(fs::read(&wasm)?);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let compiled = compiled(&folder.join(format!("{name}.cwasm")), &digest, &out.join(name))?;
        let wasm = include(&wasm.canonicalize()?);
        let _ =
            writeln!(list, "    Builtin {{ name: {name:?}, wasm: {wasm}, digest: {hex:?}, compiled: {compiled} }},");
    }
    if !found {
        // Cargo runs this again until the folder is there; a file that is missing would do so for ever.
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    list.push_str("];\n");
    fs::write(out.join("builtins.rs"), list)
}

/// What was made of this module, or none: code of other bytes is not embedded. Its parts become files named after
/// `stem`.
fn compiled(path: &Path, digest: &[u8], stem: &Path) -> io::Result<String> {
    // Named before it is there: the build that makes it is followed by one that embeds it.
    println!("cargo::rerun-if-changed={}", path.display());
    if !path.is_file() {
        return Ok("None".to_owned());
    }
    let bytes = fs::read(path)?;
    let Some((outline, code)) = bytes.strip_prefix(digest).and_then(parts) else { return Ok("None".to_owned()) };
    let (outline_file, code_file) = (stem.with_extension("json"), stem.with_extension("cwasm"));
    fs::write(&outline_file, outline)?;
    fs::write(&code_file, code)?;
    let (outline, code) = (outline_file.display(), include(&code_file));
    Ok(format!("Some(Compiled {{ outline: include_str!(\"{outline}\"), code: &Paged(*{code}).0 }})"))
}

/// The outline and the code.
fn parts(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

fn include(path: &Path) -> String {
    format!("include_bytes!({path:?})")
}
