//! Guests whose allocator is wicked: results are the only place where the host calls back into a guest.

use sidegate_wasm_host::FaultReason;
use sidegate_wasm_host::testing::FakeStream;

use crate::guest::{Guest, Running};

const READ: &str = "(call $say (call $proxy_get_header_map_value #0 ':path' #16 #20))";

fn malloc(body: &str) -> String {
    format!("(func (export \"malloc\") (param $len i32) (result i32) {body})")
}

fn with_allocator(text: &str) -> Guest {
    Guest::new("request_headers", READ).allocator(text)
}

fn fault(guest: &Guest) -> (FaultReason, String) {
    let mut run = guest.start();
    let id = run.open(FakeStream::get("/"));
    let fault = run.vm.request_headers(&mut run.host, id, 4, true).err().unwrap();
    assert!(run.vm.is_dead());
    (fault.reason, fault.detail)
}

fn said(mut run: Running) -> Vec<String> {
    run.said()
}

#[test]
fn bad_malloc_returns_zero_or_lies() {
    for answer in ["#0", "#-1", "#196607", "#2147483647"] {
        let guest = with_allocator(&malloc(answer));
        let read = Guest::start_request(&guest, FakeStream::get("/longer")).0;
        assert_eq!(said(read), ["6"], "malloc returned {answer}");
    }
}

#[test]
fn an_empty_value_needs_no_memory() {
    let guest = with_allocator(&malloc("unreachable"));
    let mut stream = FakeStream::get("/");
    stream.request_headers = Some([(":path", "")][..].into());
    assert_eq!(said(guest.start_request(stream).0), ["0"]);
}

#[test]
fn trapping_malloc() {
    let (reason, detail) = fault(&with_allocator(&malloc("unreachable")));
    assert_eq!(reason, FaultReason::Trap);
    assert!(detail.contains("unreachable"), "{detail}");
}

#[test]
fn endless_malloc_meets_the_deadline() {
    assert_eq!(fault(&with_allocator(&malloc("(loop $l (br $l)) #0"))).0, FaultReason::Deadline);
}

#[test]
fn malloc_that_calls_back_is_ended() {
    for body in [
        "(drop (call $proxy_get_header_map_value #0 ':path' #16 #20)) #4096",
        "(drop (call $proxy_log #2 'x')) #4096",
        "(drop (call $proxy_done)) #4096",
        "(drop (call $fd_write #1 #0 #0 #24)) #4096",
    ] {
        let (reason, detail) = fault(&with_allocator(&malloc(body)));
        assert_eq!(reason, FaultReason::Trap);
        assert!(detail.contains("from inside the guest's allocator"), "{detail}");
    }
}

#[test]
fn malloc_may_read_the_clock_and_grow_memory() {
    let body = "(drop (call $clock_time_get #1 (i64.const 0) #32)) (i32.mul (memory.grow #1) #65536)";
    assert_eq!(said(with_allocator(&malloc(body)).start_request(FakeStream::get("/")).0), ["0"]);
}

#[test]
fn malloc_is_preferred_over_proxy_on_memory_allocate() {
    let second = "(func (export \"proxy_on_memory_allocate\") (param i32) (result i32) #8192)";
    let address = "(call $say (i32.load #16))";
    let guest = |allocator: &str| {
        let guest = Guest::new("request_headers", &format!("{READ} {address}")).allocator(allocator);
        said(guest.start_request(FakeStream::get("/")).0)
    };
    assert_eq!(guest(&format!("{second} {}", malloc("#4096"))), ["0", "4096"]);
    assert_eq!(guest(second), ["0", "8192"]);
}

#[test]
fn the_scratch_area_is_used_first_and_anew_in_every_hook() {
    let read =
        "(call $say (call $proxy_get_header_map_value #0 ':path' #16 #20)) (call $say (i32.load #16)) (call $out)";
    let guest = Guest::new("request_headers", &format!("{read}{read}{read}(return #1)"))
        .hook("request_body", read)
        .top("(func (export \"sidegate_scratch_begin\") (result i32) #4096) (func (export \"sidegate_scratch_size\") (result i32) #16)");
    let mut run = guest.start();
    let id = run.open(FakeStream::get("/abc").request_body("x"));
    run.request_headers(id);
    assert_eq!(
        run.said(),
        ["0", "4096", "/abc", "0", "4104", "/abc", "0", "131072", "/abc"],
        "what does not fit is allocated"
    );
    run.request_body(id, true);
    assert_eq!(run.said(), ["0", "4096", "/abc"]);
}

#[test]
fn a_lying_scratch_area_is_an_invalid_address() {
    let guest = Guest::new("request_headers", READ)
        .top("(func (export \"sidegate_scratch_begin\") (result i32) #-8) (func (export \"sidegate_scratch_size\") (result i32) #-1)");
    assert_eq!(said(guest.start_request(FakeStream::get("/")).0), ["6"]);
}
