//! Every way to fault, in every hook.

use std::time::{Duration, Instant};

use serde_json::Value;
use sidegate_tests::prometheus::sum;
use sidegate_tests::{Request, eventually};

use super::arena::{Arena, Case, case, map};
use crate::guest::FOREVER;

const PARTS: &str = "(type $nothing (func)) (table $t 8 funcref) (elem (i32.const 0) $again)
    (func $again (call_indirect (type $nothing) #0))
    (func $deeper (param i32) (result i32) (i32.add #1 (call $deeper (local.get 0))))";

/// The default of `limits.cpuPerCall` and what an answer may need besides.
const DEADLINE: Duration = Duration::from_millis(10 + 50);

const WAYS: [(&str, &str); 7] = [
    ("loop", FOREVER),
    ("trap", "unreachable"),
    ("overflow", "(drop (call $deeper #1))"),
    ("detour", "(call $again)"),
    ("zero", "(drop (i32.div_u #1 #0))"),
    ("outside", "(drop (i32.load #4294967295))"),
    ("indirect", "(call_indirect (type $nothing) #7)"),
];

/// What the client gets when the hook faults.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gets {
    /// 503: the request ends here.
    Refused,
    /// The response has begun, and is cut short.
    Cut,
    /// The answer, for the fault came too late to matter.
    Served,
}

const HOOKS: [(&str, Gets); 14] = [
    ("context_create", Gets::Refused),
    ("request_headers", Gets::Refused),
    ("request_body", Gets::Refused),
    ("request_trailers", Gets::Refused),
    ("response_headers", Gets::Refused),
    ("response_body", Gets::Cut),
    ("response_trailers", Gets::Cut),
    ("log", Gets::Served),
    ("done", Gets::Served),
    ("delete", Gets::Served),
    ("tick", Gets::Served),
    ("queue_ready", Gets::Served),
    ("foreign_function", Gets::Served),
    ("http_call_response", Gets::Refused),
];

fn fault(hook: &str, way: &str, body: &str) -> Case {
    let call = map(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
    let call = format!("(drop (call $http_call <app> {call} <> <> #5000 #48)) (return #1)");
    let before = match hook {
        "tick" => "(drop (call $set_tick #5))",
        "queue_ready" => "(drop (call $register_queue <q> #48)) (drop (call $enqueue (i32.load #48) <item>))",
        "foreign_function" => "(drop (call $foreign <sidegate_timer> <\\01\\00\\00\\00> #48 #52))",
        "http_call_response" => &call,
        _ => "",
    };
    case(&format!("{way}-{}", hook.replace('_', "-")), PARTS, &[("request_headers", before), (hook, body)])
}

#[test]
fn a_fault_in_any_hook_is_answered_and_leaves_the_rest() {
    let cases = WAYS.iter().flat_map(|(way, body)| HOOKS.map(|(hook, _)| fault(hook, way, body))).collect();
    let arena = Arena::open(cases);
    let mut loops = Vec::new();
    for (way, _) in WAYS {
        for (hook, gets) in HOOKS {
            let name = format!("{way}-{}", hook.replace('_', "-"));
            let started = Instant::now();
            let answer = arena.attack(&name);
            if way == "loop" && gets == Gets::Refused {
                loops.push(started.elapsed());
            }
            let got = match &answer {
                Ok(answer) if answer.status == 200 => Gets::Served,
                Ok(answer) if answer.status == 503 => Gets::Refused,
                Ok(answer) => panic!("{name}: {}", answer.status),
                Err(_) => Gets::Cut,
            };
            assert_eq!(got, gets, "{name}");
            let of_hook = [("plugin", name.as_str()), ("hook", &format!("on_{hook}"))];
            let counted =
                eventually(Duration::from_secs(5), || sum(&arena.page(), "sidegate_plugin_faults_total", &of_hook));
            assert!(counted.is_some(), "{name} is not counted");
            // Without a path the constructor cannot tell the innocent.
            if hook != "context_create" {
                arena.recovers(&name);
            }
        }
    }
    // A busy machine delays some; one that is not delayed shows what we add.
    loops.sort();
    println!("loops were answered after {:?} to {:?}", loops.first(), loops.last());
    assert!(loops.first().is_some_and(|fastest| *fastest <= DEADLINE), "{loops:?}");
    let plugins = arena.sidegate.ask_admin(&Request::get("/plugins"));
    let plugins: Value = serde_json::from_slice(&plugins.body).unwrap();
    for plugin in plugins["plugins"].as_array().unwrap() {
        assert!(plugin["faults"].as_object().is_some_and(|hooks| !hooks.is_empty()), "{plugin}");
    }
    arena.close();
}

#[test]
fn trailers_that_a_filter_holds_for_ever_end_with_its_pause() {
    let hold = |hook: &'static str, action: u32| {
        case(&format!("{}-{action}", hook.replace('_', "-")), "", &[(hook, &format!("(return #{action})"))])
            .with(", limits: {pause: 300ms}")
    };
    let hooks = ["request_trailers", "response_trailers"];
    let arena = Arena::open(hooks.iter().flat_map(|hook| [hold(hook, 1), hold(hook, 77)]).collect());
    for action in [1, 77] {
        let answer = arena.attack(&format!("request-trailers-{action}")).unwrap();
        assert_eq!(answer.status, 504, "{action}");
        let answer = arena.attack(&format!("response-trailers-{action}"));
        assert!(answer.is_err(), "{action}: its head has left: {answer:?}");
    }
    arena.close();
}
