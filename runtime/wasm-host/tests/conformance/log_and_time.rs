use std::time::Duration;

use sidegate_wasm_host::abi::LogLevel;
use sidegate_wasm_host::testing::{FakeStream, LogLine};

use crate::guest::{Guest, in_tick};

#[test]
fn a_line_has_level_and_speaker() {
    let log = "(call $say (call $proxy_log #5 'bad')) (call $say (call $proxy_log #6 'x')) (call $say (call $proxy_log #-1 'x'))";
    let mut run = Guest::new("request_headers", log).hook("tick", "(drop (call $proxy_log #0 ''))").start();
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    run.tick();
    let line = |stream, level, text: &[u8]| LogLine { stream, level, text: text.to_vec() };
    assert_eq!(run.host.logs[0], line(Some(100), LogLevel::Critical, b"bad"));
    assert_eq!(run.host.logs.last(), Some(&line(None, LogLevel::Trace, b"")));
    assert_eq!(run.said(), ["bad", "0", "2", "2", ""]);
}

#[test]
fn the_level_and_the_clock() {
    assert_eq!(in_tick("(call $say (call $proxy_get_log_level #24)) (call $word)"), ["0", "2"]);
    let mut run = Guest::new(
        "tick",
        "(call $say (call $proxy_get_current_time_nanoseconds #24)) (call $word) (call $say (i32.load #28))",
    )
    .start();
    run.host.wall = Duration::from_nanos((3 << 32) + 5);
    run.tick();
    assert_eq!(run.said(), ["0", "5", "3"]);
}

#[test]
fn a_stream_sets_the_timer_of_its_root_and_zero_stops_it() {
    let body = "(call $say (call $proxy_set_tick_period_milliseconds #20)) (call $say (call $proxy_set_tick_period_milliseconds #0))";
    let (mut run, _) = Guest::new("request_headers", body).start_request(FakeStream::get("/"));
    assert_eq!(run.said(), ["0", "0"]);
    assert_eq!(run.host.ticks, [Some(Duration::from_millis(20)), None]);
}
