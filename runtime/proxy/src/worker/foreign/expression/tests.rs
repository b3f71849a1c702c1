use std::sync::Arc;

use sidegate_wasm_host::VmSpec;

use super::*;
use crate::snapshot::{Clusters, Node};
use crate::worker::env::{Env, Process};

fn evaluate(text: &str) -> Result<Vec<u8>, Status> {
    let metadata = serde_json::json!({"NAME": "app", "LABELS": {"app": "shop"}, "weight": 2});
    let node = Node { id: "app-1".into(), metadata: metadata.as_object().unwrap().clone(), ..Node::default() };
    let env = Env::new(0, Arc::new(Process::new(1)), Arc::<Clusters>::default(), Arc::new(node));
    let spec = VmSpec { plugin: "probe".into(), ..VmSpec::default() };
    let (mut expressions, mut token, mut out) = (Expressions::default(), Vec::new(), Vec::new());
    match expressions.create(text.as_bytes(), &mut token) {
        Status::Ok => {}
        status => return Err(status),
    }
    match expressions.evaluate(&token, &Attributes::of(&env, &spec, None), &mut out) {
        Status::Ok => Ok(out),
        status => Err(status),
    }
}

#[track_caller]
fn holds(text: &str) {
    assert_eq!(evaluate(text), Ok(vec![1]), "{text}");
}

#[test]
fn the_language() {
    for text in [
        "1 + 2 * 3 == 7 && 7 / 2 == 3 && -7 % 3 == -1",
        "1u + 1u == 2u && 1.5 + 1.5 == 3.0 && 1 == 1.0 && 2u > 1",
        "'a' + 'b' == \"ab\" && b'a' + b'b' == b'ab' && 'a' < 'b'",
        "size('äö') == 2 && 'hello'.size() == 5 && size([1, 2]) == 2 && size({'a': 1}) == 1",
        "'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')",
        "'hello'.matches('l+') && !'hello'.matches('^l') && matches('aXb', '(?i)x')",
        "2 in [1, 2] && 'k' in {'k': 1} && !(3 in [1, 2])",
        "{'a': [1, 2]}.a[1] == 2 && has({'a': 1}.a) && !has({'a': 1}.b)",
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "!(false && 1 / 0 == 1)",
        "(1 < 2 ? 'yes' : 'no') == 'yes'",
        "[1, 2, 3].exists(x, x > 2) && [1, 2, 3].all(x, x > 0) && [1, 2, 3].exists_one(x, x == 1)",
        "[1, 2, 3].map(x, x * x) == [1, 4, 9] && [1, 2, 3].filter(x, x != 2) == [1, 3]",
        "[[1], [2, 3]].exists(list, list.exists(x, x == 3))",
        "{'a': 1, 'b': 2} == {'b': 2, 'a': 1} && [1] != ['1']",
        "int('5') + int(2.9) == 7 && uint(3) == 3u && double('1.5') == 1.5 && string(12) == '12'",
        "duration('90s') == duration('1m30s') && duration('1h').getMinutes() == 60",
        "timestamp('2026-11-20T22:00:00Z') - timestamp('2026-11-20T21:00:00Z') == duration('1h')",
        "timestamp('2026-11-20T22:00:00Z').getFullYear() == 2026 && int(timestamp(5)) == 5",
        "plugin_name == 'probe' && xds.node.id == 'app-1' && node.metadata.LABELS.app == 'shop'",
        "'NAME' in xds.node.metadata && xds.node.metadata['weight'] == 2.0",
    ] {
        holds(text);
    }
}

#[test]
fn values_come_as_properties_do() {
    assert_eq!(evaluate("'text'"), Ok(b"text".to_vec()));
    assert_eq!(evaluate("258"), Ok(258_i64.to_le_bytes().to_vec()));
    assert_eq!(evaluate("1.5"), Ok(1.5_f64.to_le_bytes().to_vec()));
    assert_eq!(evaluate("duration('1s')"), Ok(1_000_000_000_i64.to_le_bytes().to_vec()));
    assert_eq!(evaluate("{'k': 'v'}"), Ok(b"\x01\0\0\0\x01\0\0\0\x01\0\0\0k\0v\0".to_vec()));
    assert_eq!((evaluate("[]"), evaluate("{}")), (Ok(vec![0; 4]), Ok(vec![0; 4])), "a count of nothing");
    holds("type(1) == type(2) && type(1) != type('a')");
    assert!(evaluate("xds.node").unwrap().starts_with(b"\n\x05app-1"), "a message");
    assert_eq!(evaluate("xds.node.locality.zone + xds.node.user_agent_name"), Ok(b"sidegate".to_vec()));
    assert_eq!(evaluate("['k']"), Ok(b"\x01\0\0\0\x01\0\0\0\0\0\0\0k\0\0".to_vec()));
    for text in ["null", "[null]", "xds", "type(1)"] {
        assert_eq!(evaluate(text), Err(Status::SerializationFailure), "{text}");
    }
}

#[test]
fn what_cannot_be_parsed_or_does_not_exist_is_a_bad_argument() {
    for text in ["", "1 +", "a b", "'", "f(1)", "size(1, 2)", "Message{a: 1}", "'a'.matches('(')", "1 ? 2"] {
        assert_eq!(evaluate(text), Err(Status::BadArgument), "{text}");
    }
    assert_eq!(Expressions::default().create(b"\xff", &mut Vec::new()), Status::BadArgument);
}

#[test]
fn what_fails_is_an_internal_failure() {
    for text in
        ["1 / 0", "9223372036854775807 + 1", "'a' + 1", "none", "request.path", "[1][1]", "{}.a", "!1", "1 && true"]
    {
        assert_eq!(evaluate(text), Err(Status::InternalFailure), "{text}");
    }
}

#[test]
fn no_expression_takes_long_or_much() {
    let started = std::time::Instant::now();
    let many = format!("[{}]", vec!["1"; 60].join(","));
    let doubled = (0..24).fold("['aaaaaaaaaaaaaaaa']".to_owned(), |text, _| format!("{text}.map(a, a + a)"));
    let nested = (0..60).fold("[0]".to_owned(), |text, _| format!("{text}.map(x, [x, x])"));
    for text in [
        format!("{many}.all(a, {many}.all(b, {many}.all(c, {many}.all(d, true))))"),
        format!("{many}.map(a, {many}.map(b, {many}.map(c, 'text')))"),
        doubled,
        nested,
        format!("{many}.all(a, ('a' + string(a)).matches('(x' + string(a) + '{{1,50}}){{1,9}}'))"),
    ] {
        assert_eq!(evaluate(&text), Err(Status::InternalFailure), "{text}");
    }
    // Milliseconds, even where tests are slow.
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn no_text_takes_more_than_half_of_a_workers_stack() {
    let texts = || {
        let around =
            [("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("{'a':", "}"), ("size(", ")"), ("1+", ""), ("1?1:", "")];
        for (open, close) in around {
            let count = TEXT_BYTES / (open.len() + close.len()) - 1;
            let _ = evaluate(&format!("{}1{}", open.repeat(count), close.repeat(count)));
            let _ = evaluate(&format!("{}1", open.repeat(count)));
        }
        assert_eq!(evaluate(&format!("a{}", ".a".repeat(500))), Err(Status::BadArgument), "too deep");
        assert_eq!(evaluate(&format!("'{}'", "a".repeat(TEXT_BYTES))), Err(Status::BadArgument), "too long");
        assert_eq!(evaluate(&format!("[{}1]", "1,".repeat(999))), Err(Status::BadArgument), "too many parts");
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(texts).unwrap().join().unwrap();
}

#[test]
fn tokens_live_until_they_are_deleted() {
    let mut expressions = Expressions::default();
    let mut tokens = Vec::new();
    for _ in 0..EXPRESSIONS {
        assert_eq!(expressions.create(b"1", &mut tokens), Status::Ok);
    }
    assert_eq!(expressions.create(b"1", &mut tokens), Status::InternalFailure, "as many as may live");
    assert_eq!(expressions.delete(&tokens[..4]), Status::Ok);
    assert_eq!(expressions.delete(&tokens[..4]), Status::Ok, "again");
    assert_eq!(expressions.delete(b"abc"), Status::BadArgument);
    assert_eq!(expressions.create(b"1", &mut tokens), Status::Ok);
}
