//! Every hostcall in every phase: a status, never a panic of the host, and where it matters the same as in Envoy.

use std::collections::BTreeSet;

use sidegate_tests::probe::rows::{LOUD, QUIET};
use sidegate_tests::probe::{Abi, CALLS, PHASES, Script};
use sidegate_wasm_host::FaultReason;

use crate::probe::run;

/// A step, and its status: one number for all phases, or one digit for each. The groups of digits are
/// `vm_start configure tick context_create`, the request's `headers body body_end trailers`, the response's,
/// `log done delete`, `http_call_response queue_ready root_done root_delete`, and a callout's hook that has switched to
/// its stream.
const EXPECTED: &[(&str, &str)] = &[
    ("arguments", "0"),
    ("proxy_log 2 'x'", "0"),
    ("proxy_log 6 'x'", "2"),
    ("proxy_get_log_level word", "0"),
    ("proxy_get_current_time_nanoseconds word", "0"),
    ("proxy_get_buffer_bytes 0 0 9 out", "0"),
    ("proxy_get_buffer_bytes 1 0 9 out", "0"),
    ("proxy_get_buffer_bytes 4 0 9 out", "1111 1111 1111 111 0111 0"),
    ("proxy_get_buffer_bytes 6 0 4 out", "0"),
    ("proxy_get_buffer_bytes 7 0 9 out", "1011 1111 1111 111 1111 1"),
    ("proxy_get_buffer_bytes 8 0 9 out", "1"),
    ("proxy_get_buffer_bytes 9 0 9 out", "2"),
    ("proxy_get_buffer_status 0 24 28", "0"),
    ("proxy_get_buffer_status 7 24 28", "1011 1111 1111 111 1111 1"),
    ("proxy_get_header_map_pairs 5 out", "0"),
    ("proxy_get_header_map_pairs 8 out", "2"),
    ("proxy_get_header_map_value 0 ':path' out", "2222 0222 2222 022 2222 0"),
    ("proxy_get_header_map_value 0 'x-none' out", "2222 1222 2222 122 2222 1"),
    ("proxy_get_header_map_value 1 'x-request-trailer' out", "2222 2200 2222 022 2222 2"),
    ("proxy_get_header_map_value 2 ':status' out", "2222 2222 0222 022 2222 2"),
    ("proxy_get_header_map_value 3 'x-response-trailer' out", "2222 2222 2200 022 2222 2"),
    ("proxy_get_header_map_value 6 ':status' out", "2222 2222 2222 122 0222 0"),
    ("proxy_get_header_map_value 8 'x' out", "2"),
    ("proxy_get_header_map_size 4 word", "2"),
    ("proxy_set_buffer_bytes 4 0 0 'x'", "1111 1111 1111 111 2111 2"),
    ("proxy_set_buffer_bytes 6 0 0 'x'", "2"),
    ("proxy_set_buffer_bytes 7 0 0 'x'", "1211 1111 1111 111 1111 1"),
    ("proxy_set_buffer_bytes 8 0 0 'x'", "2"),
    ("proxy_set_buffer_bytes 9 0 0 'x'", "2"),
    ("proxy_set_header_map_pairs 6 [a=b]", "2"),
    ("proxy_add_header_map_value 6 'a' 'b'", "2"),
    ("proxy_replace_header_map_value 8 'a' 'b'", "2"),
    ("proxy_remove_header_map_value 7 'a'", "2"),
    ("proxy_get_property '' out", "3"),
    ("proxy_get_property 'nope' out", "1"),
    ("proxy_get_property 'request' out", "1113 3333 3333 333 1111 3"),
    ("proxy_get_property 'request\\0path' out", "1111 0111 1111 011 1111 0"),
    ("proxy_get_property 'request\\0method' out", "1111 0111 1111 011 1111 0"),
    ("proxy_get_property 'response\\0code' out", "1"),
    ("proxy_get_property 'plugin_name' out", "0"),
    ("proxy_get_property 'plugin_root_id' out", "0"),
    ("proxy_set_effective_context 99", "2"),
    ("proxy_set_effective_context 0", "0"),
    ("proxy_continue_stream 3", "12"),
    ("proxy_continue_stream 4", "2"),
    ("proxy_close_stream 4", "2"),
    ("proxy_done", "1111 1111 1111 111 1101 1"),
    ("proxy_http_call 'nowhere' [:method=GET|:path=/|:authority=a] '' '' 0 word", "2"),
    ("proxy_http_call 'auth' [:method=GET|:path=/] '' '' 0 word", "2"),
    ("proxy_http_call 'auth' [:method=GET|:path=/|:authority=a] '' '' -1 word", "2"),
    ("proxy_grpc_call 'nowhere' 's' 'm' '' '' 0 word", "4"),
    ("proxy_grpc_stream 'nowhere' 's' 'm' '' word", "4"),
    ("proxy_grpc_send 6 '' 0", "1"),
    ("proxy_grpc_send 5 '' 0", "2"),
    ("proxy_grpc_cancel 5", "1"),
    ("proxy_grpc_cancel 4", "2"),
    ("proxy_grpc_close 6", "1"),
    ("proxy_get_shared_data 'none' out word", "1"),
    ("proxy_resolve_shared_queue 'nowhere' 'q' word", "1"),
    ("proxy_enqueue_shared_queue 999 'x'", "1"),
    ("proxy_dequeue_shared_queue 999 out", "1"),
    ("proxy_define_metric 3 'x' word", "2"),
    ("proxy_increment_metric 400 1", "1"),
    ("proxy_record_metric 400 1", "1"),
    ("proxy_get_metric 402 word", "2"),
    ("proxy_call_foreign_function 'nope' '' out", "1"),
    ("proxy_get_property -1 4 out", "6"),
    ("proxy_log 2 -1 9", "6"),
    ("proxy_get_status word out", "0"),
    ("pthread_equal 3 3", "1"),
    ("fd_write 9 0 0 word", "8"),
    ("fd_read 0 0 0 word", "52"),
    ("fd_seek 1 0 0 word", "0"),
    ("fd_close 1", "0"),
    ("fd_fdstat_get 1 64", "0"),
    ("fd_fdstat_get 9 64", "8"),
    ("fd_prestat_get 3 word", "8"),
    ("fd_prestat_dir_name 3 24 4", "52"),
    ("clock_time_get 2 0 word", "58"),
    ("random_get 64 65537", "28"),
    ("environ_sizes_get 24 28", "0"),
    ("environ_get 64 96", "0"),
    ("args_sizes_get 24 28", "0"),
    ("args_get 64 96", "0"),
    ("poll_oneoff 0 0 0 word", "0"),
    ("sched_yield", "0"),
    ("path_open 3 0 0 0 0 0 0 0 word", "44"),
    ("proxy_set_tick_period_milliseconds 0", "0"),
    ("proxy_set_buffer_bytes 0 0 2 'J'", "2222 2000 0000 000 2222 2"),
    ("proxy_set_buffer_bytes 0 2 0 'J'", "2222 2222 0000 000 2222 2"),
    ("proxy_set_buffer_bytes 1 0 2 'J'", "2222 2222 2000 000 2222 2"),
    ("proxy_set_header_map_pairs 1 [x-new=1]", "2222 2200 2222 222 2222 2"),
    ("proxy_add_header_map_value 0 'x-added' '1'", "2222 0222 2222 222 2222 0"),
    ("proxy_add_header_map_value 1 'x-added' '1'", "2222 2200 2222 222 2222 2"),
    ("proxy_add_header_map_value 2 'x-added' '1'", "2222 2222 0222 222 2222 2"),
    ("proxy_add_header_map_value 3 'x-added' '1'", "2222 2222 2200 222 2222 2"),
    ("proxy_replace_header_map_value 2 'x-added' '2'", "2222 2222 0222 222 2222 2"),
    ("proxy_remove_header_map_value 0 'x-gone'", "2222 0222 2222 222 2222 0"),
    ("proxy_get_header_map_size 0 word", "2222 0222 2222 222 2222 0"),
    ("proxy_set_property 'mine' 'v'", "1110 0000 0000 000 1111 0"),
    ("proxy_send_local_response 403 'no way' 'body' [k=v] -1", "0"),
    ("proxy_continue_stream 0", "0"),
    ("proxy_continue_stream 1", "0"),
    ("proxy_continue_stream 2", "0"),
    ("proxy_close_stream 0", "0"),
    ("proxy_http_call 'auth' [:method=GET|:path=/|:authority=a] '' '' 1000 word", "0"),
    ("proxy_set_shared_data 'k' 'v' 0", "0"),
    ("proxy_register_shared_queue 'q' word", "0"),
    ("proxy_define_metric 0 'm' word", "0"),
];

/// A request that waits for its callout's answer.
const SEND: &str = "proxy_http_call 'auth' [:method=GET|:path=/|:authority=a] '' '' 1000 word";

#[test]
fn every_hostcall_has_its_status_in_every_phase() {
    let wrong: Vec<String> = EXPECTED
        .iter()
        .map(|(row, expected)| (row, expected, statuses(row)))
        .filter(|(_, expected, found)| **expected != found.as_str())
        .map(|(row, expected, found)| format!("{row}: {found}, not {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_every_row_and_every_call() {
    let table: Vec<&str> = EXPECTED.iter().map(|(row, _)| *row).collect();
    let rows: Vec<&str> = QUIET.iter().chain(&LOUD).copied().collect();
    assert_eq!(table, rows);
    let tried: BTreeSet<&str> = rows.iter().filter_map(|row| row.split(' ').next()).collect();
    let calls = CALLS.iter().filter(|call| Abi::V0_2_1.has(call)).map(|call| call.name);
    let untried: Vec<&str> = calls.filter(|name| !tried.contains(name)).collect();
    assert!(untried.is_empty(), "no row tries {untried:?}");
}

#[test]
fn what_only_old_modules_import_is_answered_in_every_phase() {
    for call in CALLS.iter().filter(|call| Abi::V0_1_0.has(call) && !Abi::V0_2_1.has(call)) {
        let step = if call.params.is_empty() { call.name.to_owned() } else { format!("{} out", call.name) };
        for phase in PHASES.iter().filter(|phase| **phase != "http_call_response") {
            let told = run(Abi::V0_1_0, &Script::default().on(phase, &step));
            assert!(told.fault.is_none(), "{step} in {phase}: {:?}", told.fault);
            // There is no route cache behind this host.
            let is_stream =
                !["vm_start", "configure", "tick", "queue_ready", "root_done", "root_delete"].contains(phase);
            let expected = u32::from(call.name == "proxy_clear_route_cache" && is_stream);
            assert_eq!(told.reports[&0].status, expected, "{step} in {phase}");
        }
    }
}

#[test]
fn a_trap_in_any_phase_is_a_fault_of_that_hook() {
    for phase in PHASES.iter().filter(|phase| **phase != "http_call_response") {
        let told = run(Abi::V0_2_1, &Script::default().on(phase, "trap"));
        let fault = told.fault.unwrap_or_else(|| panic!("no fault in {phase}"));
        assert_eq!(fault.reason, FaultReason::Trap, "{phase}");
        let hook = phase.trim_end_matches("_end").replace("root_", "");
        assert_eq!(fault.hook.as_str(), format!("on_{hook}"), "{phase}");
    }
}

/// The statuses of a step as the table writes them.
fn statuses(row: &str) -> String {
    let columns = PHASES.iter().map(|phase| status(phase, row, false));
    let all: Vec<String> = columns.chain([status("http_call_response", row, true)]).collect();
    if all.iter().all(|one| *one == all[0]) {
        return all[0].clone();
    }
    let groups = [&all[..4], &all[4..8], &all[8..12], &all[12..15], &all[15..19], &all[19..]];
    groups.map(<[String]>::concat).join(" ")
}

fn status(phase: &str, row: &str, switched: bool) -> String {
    let mut script = Script::default();
    if phase == "http_call_response" {
        script = script.on("request_headers", SEND).returns("request_headers", 1);
    }
    if switched {
        script = script.on(phase, "switch");
    }
    let step = script.len();
    let told = run(Abi::V0_2_1, &script.on(phase, row));
    assert!(told.fault.is_none(), "{row} in {phase}: {:?}", told.fault);
    told.reports.get(&step).unwrap_or_else(|| panic!("{row} in {phase} said nothing")).status.to_string()
}
