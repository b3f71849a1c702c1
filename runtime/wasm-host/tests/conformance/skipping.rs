//! Hooks that are never called because calling them can have no effect.

use sidegate_wasm_host::hooks::Hook;
use sidegate_wasm_host::testing::{FakeHost, FakeStream};

use crate::guest::{Guest, spec};

#[test]
fn trivial_bodies() {
    for (hook, body, called) in [
        (Hook::RequestHeaders, "", false),
        (Hook::RequestHeaders, "(return #0)", false),
        (Hook::RequestHeaders, "(drop (local.get $a)) nop", false),
        (Hook::RequestHeaders, "(return #1)", true),
        (Hook::RequestHeaders, "(return (local.get $a))", true),
        (Hook::RequestHeaders, "(i32.store #8 #1)", true),
        (Hook::RequestHeaders, "unreachable", true),
        (Hook::RequestHeaders, "(loop $l (br $l))", true),
        (Hook::Done, "(return #1)", false),
        (Hook::Done, "(return #0)", true),
        (Hook::Log, "", false),
        (Hook::Log, "(call $say #1)", true),
        (Hook::Delete, "", false),
    ] {
        let name = hook.export().strip_prefix("proxy_on_").unwrap();
        let run = Guest::new(name, body).start();
        assert_eq!(run.vm.has(hook), called, "{hook}: {body}");
    }
}

#[test]
fn a_constructor_without_effect() {
    assert!(!Guest::new("context_create", "").start().vm.creates_contexts());
    assert!(Guest::new("context_create", "(call $say #1)").start().vm.creates_contexts());
    assert!(!Guest::default().start().vm.creates_contexts());
}

fn chatty() -> Guest {
    ["request_headers", "response_headers", "log", "delete", "tick"]
        .iter()
        .fold(Guest::default(), |guest, hook| guest.hook(hook, "(call $say #1)"))
}

#[test]
fn hooks_that_the_module_declares() {
    let run = chatty().top(r#"(@custom "sidegate.hooks" "proxy_on_request_headers, proxy_on_request_body")"#).start();
    assert!(run.vm.has(Hook::RequestHeaders));
    assert!(!run.vm.has(Hook::RequestBody), "declared but absent");
    assert!(!run.vm.has(Hook::ResponseHeaders) && !run.vm.has(Hook::Log));
    assert!(run.vm.has(Hook::Delete) && run.vm.has(Hook::Tick), "these are never ruled out");
}

#[test]
fn an_empty_declaration_rules_out_all() {
    let run = chatty().top(r#"(@custom "sidegate.hooks" "")"#).start();
    assert!(!run.vm.has(Hook::RequestHeaders) && run.vm.has(Hook::Tick));
}

#[test]
fn hooks_that_the_operator_lists() {
    for name in ["proxy_on_log", "on_log", "log"] {
        let mut listed = spec();
        listed.hooks = vec![name.into()];
        let mut run = chatty().start_with(listed, FakeHost::new());
        assert!(run.vm.has(Hook::Log) && !run.vm.has(Hook::RequestHeaders) && run.vm.has(Hook::Delete), "{name}");
        let id = run.open(FakeStream::get("/"));
        run.request_headers(id);
        assert_eq!(run.said(), [""; 0]);
        run.log(id);
        assert_eq!(run.said(), ["1"]);
    }
}
