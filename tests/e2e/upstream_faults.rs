//! An upstream that is absent, breaks, lies or attacks: the client gets a clean answer or a visible cut, and the next
//! request is not harmed.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use sidegate_tests::h2::Http2Client;
use sidegate_tests::port::FreePort;
use sidegate_tests::{Answer, Client, Origin, Request, Sidegate};

use crate::guest::guest;
use crate::setup::{logged, plain, routed};

/// How long a line of the access log may take to appear.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn nobody_there_is_503_with_uf() {
    let nobody = FreePort::claim().unwrap();
    let sidegate = Sidegate::start(&logged("", nobody.address(), ""));
    assert_eq!(sidegate.get("/x").status, 503);
    let line = sidegate.stdout().line_with("/x", PATIENCE).unwrap();
    assert!(line.starts_with("503 UF "), "{line}");
}

#[test]
fn an_upstream_that_comes_late_is_used_at_once() {
    let port = FreePort::claim().unwrap();
    let sidegate = plain(port.address());
    assert_eq!(sidegate.get("/").status, 503);
    let _origin = Origin::answering_on(port.address(), |_| Answer::ok("here")).unwrap();
    assert_eq!(sidegate.get("/").text(), "here");
}

#[test]
fn a_close_instead_of_an_answer_is_503() {
    let origin = Origin::answering(|_| Answer::nothing());
    let sidegate = Sidegate::start(&logged("", &origin, ""));
    let mut client = sidegate.connect();
    for _ in 0..2 {
        assert_eq!(client.get("/x").unwrap().status, 503);
    }
    let line = sidegate.stdout().line_with("/x", PATIENCE).unwrap();
    assert!(line.starts_with("503 UC "), "{line}");
}

#[test]
fn a_broken_connection_is_503_with_uc_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // What was sent is left unread: the kernel answers with a reset.
    let origin = std::thread::spawn(move || listener.accept().unwrap().0.peek(&mut [0; 16]).unwrap());
    let sidegate = Sidegate::start(&logged("", address, ""));
    assert_eq!(sidegate.get("/x").status, 503);
    assert!(origin.join().unwrap() > 0);
    let line = sidegate.stdout().line_with("/x", PATIENCE).unwrap();
    assert!(line.starts_with("503 UC upstream_reset_before_response_started{connection_termination} "), "{line}");
}

#[test]
fn what_is_no_response_is_502() {
    let garbage: [&[u8]; 14] = [
        b"hello\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 000 Zero\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 9999 Many\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 99 Few\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 600 Beyond\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 abc Word\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nno!",
        b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2x\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nx y: z\r\ncontent-length: 2\r\n\r\nno",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    ];
    let origin = Origin::answering(move |request| {
        let at: usize = request.target.trim_start_matches('/').parse().unwrap();
        Answer::raw(garbage[at])
    });
    let sidegate = plain(&origin);
    let mut wrong = Vec::new();
    for (at, bytes) in garbage.iter().enumerate() {
        let status = sidegate.get(&format!("/{at}")).status;
        // An upstream that ends in the middle of its head has only stopped.
        let is_cut = !bytes.ends_with(b"\n") && at == 13;
        if status != 502 && !(is_cut && status == 503) {
            wrong.push(format!("{:?}: {status}", String::from_utf8_lossy(bytes)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_head_without_end_is_502_and_not_memory() {
    let origin = Origin::answering(|request| {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        match request.target.as_str() {
            "/wide" => bytes.extend(format!("x: {}\r\n", "v".repeat(400_000)).into_bytes()),
            _ => (0..3000).for_each(|n| bytes.extend(format!("x-{n}: v\r\n").into_bytes())),
        }
        bytes.extend(b"content-length: 0\r\n\r\n");
        Answer::raw(bytes)
    });
    let sidegate = plain(&origin);
    assert_eq!(sidegate.get("/wide").status, 502);
    assert_eq!(sidegate.get("/many").status, 502);
}

#[test]
fn interim_responses_are_passed_over() {
    let origin = Origin::answering(|_| {
        Answer::raw(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine",
        )
    });
    let sidegate = plain(&origin);
    let answer = sidegate.get("/");
    assert_eq!((answer.status, answer.text().as_ref()), (200, "fine"));
    assert!(answer.interim.is_empty(), "{:?}", answer.interim);
}

#[test]
fn a_body_cut_short_is_cut_for_the_client() {
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/length" => Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"),
        "/chunked" => Answer::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nonly this\r\n"),
        "/half" => Answer::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n99\r\nonly this"),
        _ => Answer::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nonly this\r\n0\r\n\r\n"),
    });
    let sidegate = Sidegate::start(&logged("", &origin, ""));
    for target in ["/length", "/chunked", "/half", "/garbage"] {
        let mut client = sidegate.connect();
        client.write(Request::get(target).to_bytes("a").as_slice()).unwrap();
        let answer = client.read_response();
        assert!(answer.as_ref().map_or(true, |answer| answer.status >= 500), "{target}: {answer:?}");
        let answer = Http2Client::connect(sidegate.address("inbound")).unwrap().send(&Request::get(target));
        assert!(answer.as_ref().map_or(true, |answer| answer.status >= 500), "{target} over HTTP/2: {answer:?}");
    }
    let line = sidegate.stdout().line_with("/chunked", PATIENCE).unwrap();
    assert!(line.contains("UC"), "{line}");
}

#[test]
fn no_response_is_split_into_two() {
    let origin = Origin::answering(|request| match request.target.as_str() {
        "/header" => Answer::raw("HTTP/1.1 200 OK\r\nx: a\rset-cookie: b\r\ncontent-length: 4\r\n\r\nfine"),
        "/fold" => Answer::raw("HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 4\r\n\r\nfine"),
        "/both" => Answer::raw(
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n",
        ),
        _ => Answer::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n"),
    });
    let sidegate = plain(&origin);
    for target in ["/header", "/fold", "/both", "/twice"] {
        let mut client = sidegate.connect();
        let Ok(answer) = client.get(target) else { continue };
        assert_eq!(answer.header("set-cookie"), None, "{target}");
        let framings = answer.headers.all("content-length").count() + answer.headers.all("transfer-encoding").count();
        assert_eq!(framings, 1, "{target}: {}", String::from_utf8_lossy(&answer.raw));
        assert!(answer.status == 502 || answer.text() == "fine", "{target}: {}", String::from_utf8_lossy(&answer.raw));
    }
}

/// What an upstream says beyond its response belongs to nobody.
#[test]
fn extra_bytes_never_become_the_next_response() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    for first in [
        format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine{poison}"),
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine garbage".to_owned(),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n{poison}"),
        format!("HTTP/1.1 204 No Content\r\n\r\n{poison}"),
        format!("HTTP/1.1 204 No Content\r\ncontent-length: {}\r\n\r\n{poison}", poison.len()),
        format!("HTTP/1.1 304 Not Modified\r\ncontent-length: {}\r\n\r\n{poison}", poison.len()),
    ] {
        let origin = keeps_open(first.clone());
        let sidegate = plain(&origin);
        let mut client = sidegate.connect();
        let answer = client.get("/first").unwrap();
        assert!(matches!(answer.status, 200 | 204 | 304), "{first}");
        for _ in 0..4 {
            assert_eq!(client.get("/next").unwrap().text(), "next", "after {first}");
        }
    }
}

#[test]
fn the_body_of_a_response_to_head_never_becomes_the_next_response() {
    let origin = keeps_open(
        "HTTP/1.1 200 OK\r\ncontent-length: 45\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison".to_owned(),
    );
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    assert_eq!(client.send(&Request::new("HEAD", "/first")).unwrap().status, 200);
    for _ in 0..4 {
        assert_eq!(client.get("/next").unwrap().text(), "next");
    }
}

#[test]
fn a_response_without_framing_ends_with_its_connection() {
    let origin = Origin::answering(|_| Answer::ok("until the end").until_close());
    let sidegate = plain(&origin);
    let mut client = sidegate.connect();
    for _ in 0..2 {
        assert_eq!(client.get("/").unwrap().text(), "until the end");
    }
}

#[test]
fn a_silent_upstream_is_504_after_the_route_timeout() {
    let gate = sidegate_tests::Gate::closed();
    let held = gate.clone();
    let origin = Origin::answering(move |_| Answer::ok("late").when(&held));
    let route = "{timeout: 300ms, route: [{destination: {host: app}}]}";
    let sidegate = Sidegate::start(&routed("", &origin, route));
    assert_eq!(sidegate.get("/").status, 504);
    gate.open();
    assert_eq!(Client::get_once(sidegate.address("inbound"), "/").unwrap().status, 200);
}

/// A client whose requests pass a filter that sees bodies, and a route that gives them 300 ms.
fn read_within_a_route(origin: &Origin) -> (Sidegate, Client) {
    let sidegate = Sidegate::configured(&format!(
        "{}\
plugins: [{{name: reader, url: \"file:reader.wasm\"}}]
listeners:
- name: inbound
  address: $inbound
  filters:
  - plugin: reader
  - plugin: router
    config: {{virtualServices: [{{hosts: [\"*\"], http: [{{timeout: 300ms, route: [{{destination: {{host: app}}}}]}}]}}]}}
clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]
",
        crate::setup::standard_filters()
    ))
    .with_file("reader.wasm", guest(&[("response_body", "(drop (call $log #0 <seen>))")]))
    .start();
    let mut client = sidegate.connect();
    client.set_patience(Duration::from_secs(20)).unwrap();
    (sidegate, client)
}

#[test]
fn a_short_body_that_stalls_before_it_leaves_is_504() {
    let stalls = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n0123456789";
    let origin = Origin::answering(move |_| Answer::raw(stalls).staying_open());
    let (_sidegate, mut client) = read_within_a_route(&origin);
    assert_eq!(client.get("/").unwrap().status, 504);
}

#[test]
fn a_body_that_stalls_under_way_is_cut_by_its_route() {
    let stalls = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n";
    let origin = Origin::answering(move |_| Answer::raw(stalls).staying_open());
    let (_sidegate, mut client) = read_within_a_route(&origin);
    let cut = client.get("/").unwrap_err().kind();
    assert!(
        [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&cut),
        "{cut}: what never comes is awaited"
    );
}

/// Answers `/first` with these bytes, and everything else with `next`; never closes.
fn keeps_open(first: String) -> Origin {
    Origin::answering(move |request| match request.target.as_str() {
        "/first" => Answer::raw(first.clone()).staying_open(),
        _ => Answer::ok("next"),
    })
}
