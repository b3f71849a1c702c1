//! Filters that ask for too much of everything: the host stays small, the worker stays quick, the answer is the contract's.

use super::arena::{Arena, Case, case, map};
use crate::guest::times;

/// KiB that the proxy may grow while one attack lasts: the guest's own 26 MiB, and as much again for what is on its way.
const GROWTH: u64 = 96 << 10;
/// Fills 26 MB behind the two pages that every guest has.
const FILLED: &str = "(drop (memory.grow #400)) (memory.fill #131072 #120 #26000000)";
/// Address and length of the most that a guest has to offer.
const MOST: &str = "#131072 #26000000";
/// What is neither text nor text as Rust wants it.
const NO_TEXT: &str = "(memory.fill #131072 #255 #26000000)";

struct Bomb {
    name: &'static str,
    /// Status codes that the client may get; 0: the response is cut.
    gets: &'static [u16],
    hook: &'static str,
    body: String,
    /// Another hook that has to be there.
    beside: &'static str,
}

fn bomb(name: &'static str, gets: &'static [u16], hook: &'static str, body: impl Into<String>) -> Bomb {
    Bomb { name, gets, hook, body: body.into(), beside: "" }
}

fn of_memory() -> Vec<Bomb> {
    let hook = "request_headers";
    vec![
        bomb("steps", &[503], hook, "(loop $l (drop (memory.grow #1)) (br $l))"),
        bomb("touched", &[503], hook, "(loop $l (memory.fill (i32.mul #65536 (memory.grow #1)) #1 #65536) (br $l))"),
        bomb("table", &[503], hook, "(loop $l (drop (table.grow $t (ref.null func) #1000)) (br $l))"),
        bomb(
            "shared-keys",
            &[200, 503],
            hook,
            times(200_000, "(i32.store #200 (local.get $i)) (drop (call $set_shared #200 #4 #1024 #4000 #0))"),
        ),
        bomb(
            "shared-value",
            &[200],
            hook,
            format!("{FILLED} {}", times(8, &format!("(drop (call $set_shared {MOST} {MOST} #0))"))),
        ),
        bomb(
            "queue-names",
            &[200],
            hook,
            format!(
                "{FILLED} {}",
                times(60, &format!("(i32.store #131072 (local.get $i)) (drop (call $register_queue {MOST} #300))"))
            ),
        ),
        bomb(
            "queue-items",
            &[200, 503],
            hook,
            format!(
                "(drop (call $register_queue <q> #300)) {}",
                times(100_000, "(drop (call $enqueue (i32.load #300) #0 #65000))")
            ),
        ),
        bomb(
            "metric-names",
            &[200, 503],
            hook,
            format!("{FILLED} {NO_TEXT} {}", times(20, &format!("(drop (call $define_metric #0 {MOST} #300))"))),
        ),
        bomb(
            "properties",
            &[200, 503],
            hook,
            times(50_000, "(i32.store #200 (local.get $i)) (drop (call $set_property #200 #4 #1024 #60000))"),
        ),
        bomb(
            "property-path",
            &[200],
            hook,
            format!("{FILLED} {}", times(8, &format!("(drop (call $set_property {MOST} <v>))"))),
        ),
        bomb("log", &[200, 503], hook, format!("{FILLED} {}", times(1000, &format!("(drop (call $log #4 {MOST}))")))),
        bomb(
            "callout-names",
            &[200, 503],
            hook,
            format!(
                "{FILLED} {NO_TEXT} {}",
                times(20, &format!("(drop (call $http_call {MOST} <> {MOST} <> #1000 #300))"))
            ),
        ),
    ]
}

fn of_messages() -> Vec<Bomb> {
    let add = |map: u32| format!("{FILLED} (drop (call $add_header #{map} <x> #131072 #10000000))");
    let grow = |buffer: u32| {
        format!("{FILLED} {}", times(10, &format!("(drop (call $set_buffer #{buffer} #2147483647 #0 {MOST}))")))
    };
    let many = |map: u32| {
        times(
            10_000,
            &format!(
                "(i32.store8 #200 (i32.add #97 (i32.rem_u (local.get $i) #26))) (drop (call $add_header #{map} #200 #1 <v>))"
            ),
        )
    };
    let again = |map: u32| {
        format!("{FILLED} {}", times(100, &format!("(drop (call $set_header #{map} <x> #131072 #1000000))")))
    };
    let reply = |status: u32, details: &str, body: &str, headers: &str| {
        format!("{FILLED} (drop (call $reply #{status} {details} {body} {headers} (i32.const -1)))")
    };
    vec![
        bomb("many-request-headers", &[503], "request_headers", many(0)),
        bomb("many-response-headers", &[502], "response_headers", many(2)),
        bomb("large-request-header", &[503], "request_headers", add(0)),
        bomb("large-response-header", &[502], "response_headers", add(2)),
        bomb("request-header-again", &[503], "request_headers", again(0)),
        bomb("response-header-again", &[502], "response_headers", again(2)),
        bomb(
            "large-path",
            &[404, 503],
            "request_headers",
            format!("{FILLED} (drop (call $set_header #0 <:path> {MOST}))"),
        ),
        bomb(
            "large-authority",
            &[503],
            "request_headers",
            format!("{FILLED} (drop (call $set_header #0 <:authority> {MOST}))"),
        ),
        bomb("large-request-trailer", &[503], "request_trailers", add(1)),
        bomb("large-response-trailer", &[0], "response_trailers", add(3)),
        bomb("request-body", &[503], "request_body", grow(0)),
        bomb("response-body", &[0, 502], "response_body", grow(1)),
        bomb(
            "header-map",
            &[200, 404, 503],
            "request_headers",
            format!("{FILLED} (drop (call $set_headers #0 {MOST}))"),
        ),
        bomb("large-reply", &[502], "request_headers", reply(403, "<>", MOST, "<>")),
        bomb("large-reply-late", &[502], "response_headers", reply(403, "<>", MOST, "<>")),
        bomb(
            "large-details",
            &[403],
            "request_headers",
            format!("{FILLED} {NO_TEXT} (drop (call $reply #403 {MOST} <no> <> (i32.const -1)))"),
        ),
        bomb("reply-headers", &[403], "request_headers", reply(403, "<>", "<no>", MOST)),
        bomb(
            "many-replies",
            &[403, 503],
            "request_headers",
            times(100_000, "(drop (call $reply #403 <> <no> <> (i32.const -1)))"),
        ),
    ]
}

fn of_work() -> Vec<Bomb> {
    let hook = "request_headers";
    let call = map(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
    let beside = |beside, bomb| Bomb { beside, ..bomb };
    let foreign = |name: &str, count: usize| {
        format!("{FILLED} {}", times(count, &format!("(drop (call $foreign <{name}> {MOST} #300 #304))")))
    };
    let parentheses = "(memory.fill #8192 #40 #2000) (drop (call $foreign <expr_create> #8192 #2000 #300 #304))
        (memory.fill #8192 #33 #2000) (drop (call $foreign <expr_create> #8192 #2000 #300 #304))
        (memory.fill #8192 #91 #2000) (drop (call $foreign <expr_create> #8192 #2000 #300 #304))";
    vec![
        beside(
            "queue_ready",
            bomb(
                "notices",
                &[200, 503],
                hook,
                format!(
                    "(drop (call $register_queue <q> #300)) {}",
                    times(
                        200_000,
                        "(drop (call $enqueue (i32.load #300) <i>)) (drop (call $dequeue (i32.load #300) #304 #308))"
                    )
                ),
            ),
        ),
        beside(
            "foreign_function",
            bomb(
                "timers",
                &[200, 503],
                hook,
                times(200_000, "(drop (call $foreign <sidegate_timer> <\\00\\00\\00\\00> #300 #304))"),
            ),
        ),
        beside("tick", bomb("ticks", &[200, 503], hook, times(1_000_000, "(drop (call $set_tick #1))"))),
        beside(
            "http_call_response",
            bomb(
                "callouts",
                &[200],
                hook,
                times(10_000, &format!("(drop (call $http_call <app> {call} <> <> #900 #300))")),
            ),
        ),
        bomb(
            "grpc-streams",
            &[200, 503],
            hook,
            times(
                20_000,
                "(drop (call $grpc_stream <app> <s> <m> <> #300)) (drop (call $grpc_cancel (i32.load #300)))",
            ),
        ),
        bomb("resumes", &[200, 503], hook, times(1_000_000, "(drop (call $resume #0))")),
        bomb("contexts", &[200, 503], hook, times(1_000_000, "(drop (call $set_context (local.get $i)))")),
        bomb("compress", &[200, 503], hook, foreign("compress", 20)),
        bomb("uncompress", &[200, 503], hook, foreign("uncompress", 20)),
        bomb("signature", &[200, 503], hook, foreign("verify_signature", 20)),
        bomb("expression", &[200, 503], hook, foreign("expr_create", 20)),
        bomb("token-bucket", &[200, 503], hook, foreign("sidegate_token_bucket", 20)),
        bomb("access-log", &[200, 503], hook, foreign("sidegate_access_log", 20)),
        bomb("nested-expression", &[200], hook, parentheses),
        bomb(
            "nested-json",
            &[503],
            hook,
            "(memory.fill #8192 #91 #50000) (drop (call $set_property <sidegate.upstream.mirrors> #8192 #50000))",
        ),
    ]
}

fn armed(bomb: &Bomb) -> Case {
    let mut hooks = vec![(bomb.hook, bomb.body.as_str())];
    if !bomb.beside.is_empty() {
        hooks.push((bomb.beside, "(drop (call $log #0 <beside>))"));
    }
    case(bomb.name, "(table $t 8 funcref)", &hooks).with(", limits: {cpuPerCall: 150ms}")
}

fn set_off(bombs: &[Bomb]) {
    let arena = Arena::open(bombs.iter().map(armed).collect());
    for bomb in bombs {
        let (answer, grown) = arena.weighed_attack(bomb.name);
        let got = answer.as_ref().map_or(0, |answer| answer.status);
        assert!(bomb.gets.contains(&got), "{}: {got} {:?}", bomb.name, answer.err());
        println!("{}: {got}, {grown} KiB", bomb.name);
        assert!(grown < GROWTH, "{}: {grown} KiB", bomb.name);
        arena.recovers(bomb.name);
    }
    let lines = arena.sidegate.log().lines().len();
    assert!(lines < 100 * bombs.len(), "{lines} lines in the log");
    assert!(arena.origin.request_count() > 0);
    arena.close();
}

#[test]
fn what_is_kept_is_bounded() {
    set_off(&of_memory());
}

#[test]
fn what_is_sent_is_bounded() {
    set_off(&of_messages());
}

#[test]
fn what_happens_after_a_hook_is_bounded() {
    set_off(&of_work());
}
