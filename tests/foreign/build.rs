//! Tells the tests which foreign filters `cargo xtask foreign` has built, so that those of the others count as ignored.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = manifest.join("../target/filters-foreign");
    // Cargo watches only what is there. If it cannot be made, it is looked for in every build.
    let _ = fs::create_dir_all(&folder);
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=foreign/build.rs");
    for (cfg, filter) in [("foreign_rust", "rs020_http_headers"), ("foreign_assemblyscript", "as_multi")] {
        println!("cargo::rustc-check-cfg=cfg({cfg})");
        if folder.join(format!("{filter}.wasm")).is_file() {
            println!("cargo::rustc-cfg={cfg}");
        }
    }
}
