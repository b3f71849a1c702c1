//! Bytes that are refused, each with words that help.

use sidegate_wasm_host::abi::AbiVersion;
use sidegate_wasm_host::module::Outline;
use sidegate_wasm_host::testing::FakeHost;
use sidegate_wasm_host::{LoadError, Module, limits};

use crate::guest::{Guest, engine};

const MARKER: &str = r#"(func (export "proxy_abi_version_0_2_1"))"#;
const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const MALLOC: &str = r#"(func (export "malloc") (param i32) (result i32) (i32.const 0))"#;

fn error(wat: &str) -> LoadError {
    Module::<FakeHost>::compile(engine(), &wat::parse_str(wat).unwrap()).err().unwrap()
}

#[test]
fn what_a_module_must_export() {
    assert!(matches!(error("(module)"), LoadError::NoAbiVersion));
    let unknown = r#"(func (export "proxy_abi_version_9_0_0"))"#;
    assert!(matches!(error(&format!("(module {unknown} {MEMORY} {MALLOC})")), LoadError::NoAbiVersion));
    assert!(matches!(error(&format!("(module {MARKER} {MALLOC})")), LoadError::NoMemory));
    let other = r#"(memory (export "mem") 1)"#;
    assert!(matches!(error(&format!("(module {MARKER} {MALLOC} {other})")), LoadError::NoMemory));
    assert!(matches!(error(&format!("(module {MARKER} {MEMORY})")), LoadError::NoAllocator));
    let error = error(&format!("(module {MARKER} {MEMORY})")).to_string();
    assert_eq!(error, "exports neither malloc nor proxy_on_memory_allocate");
}

#[test]
fn imports_must_resolve_by_name_and_type() {
    let import = |line: &str| error(&format!("(module {line} {MARKER} {MEMORY} {MALLOC})")).to_string();
    let missing = import(r#"(import "env" "proxy_do_magic" (func))"#);
    assert!(missing.contains("cannot be linked") && missing.contains("env::proxy_do_magic"), "{missing}");
    let wrong = import(r#"(import "env" "proxy_done" (func (param i64) (result i32)))"#);
    assert!(wrong.contains("cannot be linked") && wrong.contains("proxy_done"), "{wrong}");
}

#[test]
fn a_hook_with_another_signature_is_refused_by_name() {
    let refuse = |guest: Guest| guest.load().err().unwrap().to_string();
    assert_eq!(
        refuse(Guest::default().top(r#"(func (export "proxy_on_tick") (param i64))"#)),
        "exports proxy_on_tick with another signature than the ABI's: (i64)"
    );
    let newer = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) #0)"#;
    assert_eq!(
        refuse(Guest::default().abi("0_1_0").top(newer)),
        "exports proxy_on_request_headers with another signature than the ABI's: (i32, i32, i32) -> i32"
    );
    let odd = r#"(func (export "malloc") (param i32 i32) (result i32) (i32.const 0))"#;
    let odd = error(&format!("(module {MARKER} {MEMORY} {odd})")).to_string();
    assert_eq!(odd, "exports malloc with another signature than the ABI's: (i32, i32) -> i32");
    let start = r#"(func (export "_start") (result i32) (i32.const 0))"#;
    assert_eq!(refuse(Guest::default().top(start)), "exports _start with another signature than the ABI's: () -> i32");
}

#[test]
fn bytes_that_are_no_module() {
    let load = |bytes: &[u8]| Module::<FakeHost>::compile(engine(), bytes).err().unwrap().to_string();
    assert!(load(b"").starts_with("not a WebAssembly module: "));
    assert!(load(b"#!/bin/sh\n").starts_with("not a WebAssembly module: "));
    let good = Guest::new("tick", "(call $say #1)").wasm();
    for cut in [4, 9, good.len() / 2, good.len() - 1] {
        assert!(load(&good[..cut]).starts_with("not a WebAssembly module: "), "cut at {cut}");
    }
    let component = wat::parse_str("(component)").unwrap();
    assert_eq!(load(&component), "is a WebAssembly component; Proxy-Wasm filters are core modules");
    let large = vec![0; limits::MODULE_BYTES + 1];
    assert_eq!(load(&large), "module has 33554433 bytes, more than the 33554432 allowed");
}

#[test]
fn a_flipped_bit_never_panics() {
    let good = Guest::new("tick", "(call $say #1)").wasm();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x41;
        // Most are refused; a few still are modules.
        let _ = Outline::read(&bad);
    }
}

#[test]
fn a_body_that_does_not_validate() {
    let mut wasm = Guest::new("tick", "(drop (i32.add #111 #112))").wasm();
    let at = wasm.windows(2).position(|pair| pair == [0x6a, 0x1a]).unwrap();
    wasm[at] = 0x01;
    let error = Module::<FakeHost>::compile(engine(), &wasm).err().unwrap();
    assert!(matches!(error, LoadError::Malformed(_)), "{error}");
}

#[test]
fn what_would_take_long_to_compile_or_much_to_keep_is_refused() {
    let many = |piece: &str, count: usize| piece.repeat(count);
    for (text, words) in [
        (many("(func)", 200_001), "200001 functions, more than the 200000 allowed"),
        (format!("(func {})", many("(drop (i32.const 0))", 400_000)), "bytes in one function, more than the 1048576"),
        (format!("(func $f) (elem func {})", many("$f ", 200_001)), "elements of tables"),
        (format!("(func ${})", many("x", 70_000)), "bytes in the name of a function"),
    ] {
        let error = error(&text).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_reason_is_no_longer_than_worth_telling() {
    let import = format!("(import \"env\" \"{}\" (func))", "x".repeat(90_000));
    let error = error(&format!("(module {import} {MARKER} {MEMORY} {MALLOC})")).to_string();
    assert!(error.contains("cannot be linked") && error.len() < 5000, "{} bytes", error.len());
}

#[test]
fn the_outline_tells_version_imports_and_hooks() {
    let outline = Guest::new("tick", "(call $say #1)").load().unwrap().outline().clone();
    assert_eq!(outline.abi, AbiVersion::V0_2_1);
    assert_eq!(outline.imports, ["env.proxy_log"]);
    assert!(outline.exports.contains("proxy_on_tick"));
}
