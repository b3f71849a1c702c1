use sidegate_wasm_host::abi::Status;
use sidegate_wasm_host::testing::{FakeHost, FakeStream};

use crate::guest::{Guest, in_tick, spec};

#[test]
fn results_statuses_and_ignored_results() {
    let host = FakeHost::new()
        .with_function("double", |argument, out| {
            out.extend_from_slice(argument);
            out.extend_from_slice(argument);
            Status::Ok
        })
        .with_function("fail", |_, _| Status::SerializationFailure)
        .with_function("miss", |_, _| Status::NotFound);
    let mut run = Guest::new(
        "request_headers",
        r"(call $say (call $proxy_call_foreign_function 'double' 'ab' #16 #20)) (call $out)
          (call $say (call $proxy_call_foreign_function 'double' '' #16 #20)) (call $say (i32.load #16))
          (call $say (call $proxy_call_foreign_function 'double' 'ab' #0 #0))
          (i32.store #16 #9) (i32.store #20 #9)
          (call $say (call $proxy_call_foreign_function 'double' 'ab' #0 #20)) (call $say (i32.load #20))
          (call $say (call $proxy_call_foreign_function 'fail' 'ab' #16 #20)) (call $say (i32.load #16)) (call $say (i32.load #20))
          (i32.store #20 #9)
          (call $say (call $proxy_call_foreign_function 'none' 'ab' #16 #20)) (call $say (i32.load #20))
          (call $say (call $proxy_call_foreign_function 'miss' 'ab' #16 #20)) (call $say (i32.load #20))
          (call $say (call $proxy_call_foreign_function '\ff' 'ab' #16 #20))",
    )
    .start_with(spec(), host);
    let id = run.open(FakeStream::get("/"));
    run.request_headers(id);
    assert_eq!(run.said(), ["0", "abab", "0", "0", "0", "0", "4", "3", "0", "0", "1", "9", "1", "0", "1"]);
    assert_eq!(run.host.foreign_calls[0], (Some(100), "double".into(), b"ab".to_vec()));
}

#[test]
fn there_is_no_route_cache_call_but_a_foreign_function() {
    assert_eq!(in_tick("(call $say (call $proxy_call_foreign_function 'clear_route_cache' '' #16 #20))"), ["1"]);
}
