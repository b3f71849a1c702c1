//! The probe itself, as text of a module.
//!
//! Its memory: what calls return at 16, the line of a report at 4096, the program at 65536 (a count, then steps of 64
//! bytes: phase, call, fourteen words of arguments; then data), and from 196608 on what the host asks for.

use std::fmt::Write;

use super::calls::{Abi, CALLS, Call};
use super::phase;

/// Where results are put: address, length, and eight bytes for numbers.
pub(super) const OUT: u32 = 16;
pub(super) const WORD: u32 = 24;
pub(super) const PROGRAM: u32 = 65536;
pub(super) const STEP_BYTES: u32 = 64;

/// Steps that are no hostcall, with what they do; `SILENT` keeps a step out of the log.
pub(super) const SPECIALS: [(&str, &str); 5] = [
    ("return", "(global.set $result (i32.load offset=8 (local.get $at))) (global.get $silent)"),
    ("trap", "unreachable"),
    ("spin", "(loop $ever (br $ever)) (i32.const 0)"),
    (
        "arguments",
        "(i32.store (i32.const 24) (global.get $a)) (i32.store (i32.const 28) (global.get $b)) (i32.const 0)",
    ),
    ("switch", "(call $proxy_set_effective_context (global.get $stream))"),
];

const CODE: &str = r#"
  (memory (export "memory") 17)
  (data (i32.const 4096) "probe ")
  (type $step (func (param i32) (result i32)))
  (global $heap (mut i32) (i32.const 196608))
  (global $cursor (mut i32) (i32.const 0))
  (global $result (mut i32) (i32.const 0))
  (global $silent i32 (i32.const 65535))
  (global $a (mut i32) (i32.const 0))
  (global $b (mut i32) (i32.const 0))
  (global $stream (mut i32) (i32.const 0))

  ;; What the host gives is read at once: begin again before the memory ends.
  (func (export "malloc") (param $len i32) (result i32)
    (local $at i32)
    (if (i32.gt_u (local.get $len) (i32.const 524288)) (then (return (i32.const 0))))
    (if (i32.gt_u (i32.add (global.get $heap) (local.get $len)) (i32.const 1114104))
      (then (global.set $heap (i32.const 196608))))
    (local.set $at (global.get $heap))
    (global.set $heap (i32.and (i32.add (i32.add (local.get $at) (local.get $len)) (i32.const 7)) (i32.const -8)))
    (local.get $at))

  (func $nibble (param $at i32) (result i32)
    (local $digit i32)
    (local.set $digit (i32.load8_u (local.get $at)))
    (if (result i32) (i32.lt_u (local.get $digit) (i32.const 58))
      (then (i32.sub (local.get $digit) (i32.const 48)))
      (else (i32.sub (local.get $digit) (i32.const 87)))))

  ;; Reads the VM's configuration, hexadecimal digits, into the program's place.
  (func $load
    (local $from i32) (local $to i32) (local $end i32)
    (drop (call $proxy_get_buffer_bytes
      (i32.const 6) (i32.const 0) (i32.const 240000) (i32.const 16) (i32.const 20)))
    (local.set $from (i32.load (i32.const 16)))
    (local.set $end (i32.add (local.get $from) (i32.load (i32.const 20))))
    (local.set $to (i32.const 65536))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $from) (local.get $end)))
      (i32.store8 (local.get $to)
        (i32.or (i32.shl (call $nibble (local.get $from)) (i32.const 4))
          (call $nibble (i32.add (local.get $from) (i32.const 1)))))
      (local.set $from (i32.add (local.get $from) (i32.const 2)))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (br $next))))

  ;; Appends the lowest digits of a number to the line.
  (func $digits (param $value i32) (param $count i32)
    (local $digit i32)
    (loop $next
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (local.set $digit (i32.and (i32.const 15)
        (i32.shr_u (local.get $value) (i32.shl (local.get $count) (i32.const 2)))))
      (i32.store8 (global.get $cursor) (i32.add (local.get $digit)
        (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $digit) (i32.const 10)))))
      (global.set $cursor (i32.add (global.get $cursor) (i32.const 1)))
      (br_if $next (local.get $count))))

  (func $field (param $value i32)
    (call $digits (local.get $value) (i32.const 8))
    (i32.store8 (global.get $cursor) (i32.const 32))
    (global.set $cursor (i32.add (global.get $cursor) (i32.const 1))))

  (func $report (param $index i32) (param $status i32)
    (local $at i32) (local $end i32)
    (if (i32.eq (local.get $status) (global.get $silent)) (then (return)))
    (global.set $cursor (i32.const 4102))
    (call $field (local.get $index))
    (call $field (local.get $status))
    (call $field (i32.load (i32.const 24)))
    (call $field (i32.load (i32.const 28)))
    (local.set $at (i32.load (i32.const 16)))
    (local.set $end (i32.add (local.get $at)
      (select (i32.load (i32.const 20)) (i32.const 1024) (i32.lt_u (i32.load (i32.const 20)) (i32.const 1024)))))
    (block $done
      ;; Only what lies in memory: a script may have written nonsense there.
      (br_if $done (i32.ge_u (local.get $at) (i32.const 1113088)))
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (call $digits (i32.load8_u (local.get $at)) (i32.const 2))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (drop (call $proxy_log (i32.const 2) (i32.const 4096) (i32.sub (global.get $cursor) (i32.const 4096)))))

  (func $run (param $phase i32) (param $neutral i32) (result i32)
    (local $at i32) (local $index i32)
    (global.set $result (local.get $neutral))
    (local.set $at (i32.const 65540))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $index) (i32.load (i32.const 65536))))
      (if (i32.eq (i32.load (local.get $at)) (local.get $phase)) (then
        (i64.store (i32.const 16) (i64.const 0))
        (i64.store (i32.const 24) (i64.const 0))
        (call $report (local.get $index)
          (call_indirect (type $step) (local.get $at) (i32.load offset=4 (local.get $at))))))
      (local.set $at (i32.add (local.get $at) (i32.const 64)))
      (local.set $index (i32.add (local.get $index) (i32.const 1)))
      (br $next)))
    (global.set $a (i32.const 0))
    (global.set $b (i32.const 0))
    (global.get $result))
"#;

/// The probe for one version of the ABI, in the text format.
pub fn module(abi: Abi) -> String {
    let mut text = String::from("(module\n");
    for call in CALLS.iter().filter(|call| abi.has(call)) {
        let Call { module, name, .. } = call;
        let params = types(call);
        let _ = writeln!(text, "(import \"{module}\" \"{name}\" (func ${name} (param {params}) (result i32)))");
    }
    let _ = writeln!(text, "(func (export \"{}\"))\n{CODE}", abi.marker());
    text += &steps(abi);
    text += &hooks(abi);
    text + ")"
}

fn types(call: &Call) -> String {
    call.params.chars().map(|param| if param == 'I' { "i64 " } else { "i32 " }).collect()
}

/// One function per call, which takes its arguments out of a step, and a table of them. A call that this version of
/// the ABI lacks is 99.
fn steps(abi: Abi) -> String {
    let mut text = String::new();
    let mut table = String::new();
    let mut step = |name: &str, body: &str| {
        let _ = writeln!(text, "(func $step_{name} (param $at i32) (result i32) {body})");
        let _ = write!(table, " $step_{name}");
    };
    for call in &CALLS {
        let mut offset = 8;
        let mut arguments = String::new();
        for param in call.params.chars() {
            let (load, size) = if param == 'I' { ("i64.load", 8) } else { ("i32.load", 4) };
            let _ = write!(arguments, " ({load} offset={offset} (local.get $at))");
            offset += size;
        }
        let body = if abi.has(call) { format!("(call ${}{arguments})", call.name) } else { "(i32.const 99)".into() };
        step(call.name, &body);
    }
    for (name, body) in SPECIALS {
        step(name, body);
    }
    let count = CALLS.len() + SPECIALS.len();
    format!("{text}(table {count} funcref)\n(elem (i32.const 0) func{table})\n")
}

fn hooks(abi: Abi) -> String {
    let note = "(global.set $a (local.get 1)) (global.set $b (local.get 2))";
    let note_one = "(global.set $a (local.get 1)) (global.set $b (i32.const 0))";
    let run = |name: &str, neutral: u32| format!("(call $run (i32.const {}) (i32.const {neutral}))", phase(name));
    let mut text = String::new();
    let mut hook = |name: &str, params: usize, result: bool, body: String| {
        let params = "i32 ".repeat(params);
        let (result, body) = if result { ("(result i32)", body) } else { ("", format!("(drop {body})")) };
        let _ = writeln!(text, "(func (export \"proxy_on_{name}\") (param {params}) {result} {body})");
    };
    hook("vm_start", 2, true, format!("(block (result i32) (call $load) {note_one} {})", run("vm_start", 1)));
    hook("configure", 2, true, format!("(block (result i32) {note_one} {})", run("configure", 1)));
    for name in ["request", "response"] {
        let headers = format!("{name}_headers");
        let (params, note_headers) = if abi == Abi::V0_1_0 { (2, note_one) } else { (3, note) };
        hook(&headers, params, true, format!("(block (result i32) {note_headers} {})", run(&headers, 0)));
        let (body, end) = (format!("{name}_body"), format!("{name}_body_end"));
        let either = format!("(if (result i32) (local.get 2) (then {}) (else {}))", run(&end, 0), run(&body, 0));
        hook(&body, 3, true, format!("(block (result i32) {note} {either})"));
        let trailers = format!("{name}_trailers");
        hook(&trailers, 2, true, format!("(block (result i32) {note_one} {})", run(&trailers, 0)));
    }
    // The parent of a root is 0.
    let created = format!(
        "(if (result i32) (local.get 1)
           (then (global.set $stream (local.get 0)) {}) (else (i32.const 0)))",
        run("context_create", 0)
    );
    hook("context_create", 2, false, created);
    for name in ["tick", "log"] {
        hook(name, 1, false, run(name, 0));
    }
    // The root is context 1 in every host that numbers from there.
    let of_stream = |stream: &str, root: &str, neutral: u32| {
        let (stream, root) = (run(stream, neutral), run(root, neutral));
        format!("(if (result i32) (i32.eq (local.get 0) (i32.const 1)) (then {root}) (else {stream}))")
    };
    hook("done", 1, true, of_stream("done", "root_done", 1));
    hook("delete", 1, false, of_stream("delete", "root_delete", 0));
    hook("http_call_response", 5, false, format!("(block (result i32) {note} {})", run("http_call_response", 0)));
    hook("queue_ready", 2, false, format!("(block (result i32) {note_one} {})", run("queue_ready", 0)));
    text
}
