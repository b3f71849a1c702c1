//! Pointers out of range are status 6 in every call, never a trap; misaligned ones work.

use crate::guest::{Guest, in_request};
use sidegate_wasm_host::testing::FakeStream;

#[test]
fn out_of_range() {
    for call in [
        "$proxy_log #2 #-1 #2",
        "$proxy_log #2 #196600 #9",
        "$proxy_get_log_level #-1",
        "$proxy_get_current_time_nanoseconds #196601",
        "$proxy_get_buffer_bytes #6 #0 #9 #-1 #20",
        "$proxy_get_buffer_bytes #6 #0 #9 #16 #196605",
        "$proxy_get_buffer_status #6 #-4 #24",
        "$proxy_get_buffer_status #6 #24 #-4",
        "$proxy_set_buffer_bytes #0 #0 #0 #-1 #8",
        "$proxy_get_header_map_pairs #0 #-4 #20",
        "$proxy_set_header_map_pairs #0 #-4 #20",
        "$proxy_get_header_map_value #0 #-1 #8 #16 #20",
        "$proxy_get_header_map_value #0 ':path' #-1 #20",
        "$proxy_get_header_map_value #0 ':path' #16 #-1",
        "$proxy_add_header_map_value #0 #-1 #4 'v'",
        "$proxy_add_header_map_value #0 'k' #-1 #4",
        "$proxy_replace_header_map_value #0 #-1 #4 'v'",
        "$proxy_remove_header_map_value #0 #-1 #4",
        "$proxy_get_header_map_size #0 #-1",
        "$proxy_get_property #-1 #4 #16 #20",
        "$proxy_get_property 'plugin_name' #16 #-1",
        "$proxy_set_property #-1 #4 'v'",
        "$proxy_set_property 'k' #-1 #4",
        "$proxy_send_local_response #200 #-1 #4 '' '' #0",
        "$proxy_send_local_response #200 '' #-1 #4 '' #0",
        "$proxy_send_local_response #200 '' '' #-1 #4 #0",
        "$proxy_get_status #-1 #16 #20",
        "$proxy_get_status #24 #-1 #20",
        "$proxy_http_call #-1 #4 '' '' '' #0 #24",
        "$proxy_http_call '' #-1 #4 '' '' #0 #24",
        "$proxy_grpc_call '' '' '' '' #-1 #4 #0 #24",
        "$proxy_grpc_stream '' #-1 #4 '' '' #24",
        "$proxy_get_shared_data #-1 #4 #16 #20 #24",
        "$proxy_set_shared_data #-1 #4 'v' #0",
        "$proxy_set_shared_data 'k' #-1 #4 #0",
        "$proxy_register_shared_queue #-1 #4 #24",
        "$proxy_register_shared_queue 'q' #-1",
        "$proxy_resolve_shared_queue #-1 #4 'q' #24",
        "$proxy_enqueue_shared_queue #1 #-1 #4",
        "$proxy_define_metric #0 #-1 #4 #24",
        "$proxy_define_metric #0 'm' #-1",
        "$proxy_call_foreign_function #-1 #4 '' #16 #20",
        "$proxy_call_foreign_function 'f' #-1 #4 #16 #20",
    ] {
        assert_eq!(in_request(&format!("(call $say (call {call}))")), ["6"], "{call}");
    }
}

#[test]
fn misaligned_out_pointers_work() {
    let body = "(call $say (call $proxy_get_header_map_value #0 ':path' #33 #39))
        (drop (call $proxy_log #2 (i32.load #33) (i32.load #39)))";
    let (mut run, _) = Guest::new("request_headers", body).start_request(FakeStream::get("/odd"));
    assert_eq!(run.said(), ["0", "/odd"]);
}

#[test]
fn the_whole_memory_may_be_used() {
    assert_eq!(in_request("(call $say (call $proxy_get_log_level #196604))"), ["0"]);
}
