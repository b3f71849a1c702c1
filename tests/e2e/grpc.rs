//! gRPC through the proxy: trailers, streams in both directions, and answers of our own in gRPC's form.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use sidegate_tests::h2::Http2Client;
use sidegate_tests::port::FreePort;
use sidegate_tests::{Origin, Request, Sidegate};
use tokio::net::TcpStream;

use crate::h2_origin;
use crate::setup::{config, fine};

fn before(upstream: SocketAddr) -> (Sidegate, Http2Client) {
    let sidegate = Sidegate::start(&config("", upstream, ", protocol: HTTP2"));
    let client = Http2Client::connect(sidegate.address("inbound")).unwrap();
    (sidegate, client)
}

fn call(path: &str) -> Request {
    Request::post(path, b"\0\0\0\0\x05hello".to_vec())
        .with_header("content-type", "application/grpc")
        .with_header("te", "trailers")
}

#[test]
fn a_call_comes_back_with_its_status_in_the_trailers() {
    let (upstream, seen) = h2_origin::start();
    let (_sidegate, mut client) = before(upstream);
    let answer = client.send(&call("/echo")).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"\0\0\0\0\x05hello"[..]));
    assert_eq!(answer.trailers.first("grpc-status"), Some("0"));
    assert_eq!(answer.header("content-type"), Some("application/grpc"));
    let (path, headers) = seen.lock().unwrap().pop().unwrap();
    assert_eq!((path.as_str(), headers.get("te").unwrap().as_bytes()), ("/echo", &b"trailers"[..]));
}

#[test]
fn trailers_of_the_client_reach_the_service() {
    let (upstream, _) = h2_origin::start();
    let (_sidegate, mut client) = before(upstream);
    let mut request = call("/echo");
    request.trailers.push("x-sum", "1");
    assert_eq!(client.send(&request).unwrap().trailers.first("x-sum"), Some("1"));
}

#[test]
fn a_refusal_in_the_head_alone_stays_one() {
    let (upstream, _) = h2_origin::start();
    let (_sidegate, mut client) = before(upstream);
    let answer = client.send(&call("/refuse")).unwrap();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("7")));
    assert_eq!((answer.header("grpc-message"), answer.body.len()), (Some("not you"), 0));
}

#[test]
fn resets_are_answered_or_passed_on() {
    let (upstream, _) = h2_origin::start();
    let (_sidegate, mut client) = before(upstream);
    let answer = client.send(&call("/reset")).unwrap();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")));
    let answer = client.send(&call("/half"));
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(client.send(&call("/echo")).unwrap().trailers.first("grpc-status"), Some("0"));
}

#[test]
fn many_calls_share_one_connection_in_both_directions() {
    let (upstream, _) = h2_origin::start();
    let (_sidegate, mut client) = before(upstream);
    let calls: Vec<_> = (0..90).map(|_| call("/echo")).collect();
    for answer in client.send_all(&calls).unwrap() {
        assert_eq!(answer.unwrap().trailers.first("grpc-status"), Some("0"));
    }
    let large: Vec<_> = (0..4).map(|_| call("/large")).collect();
    for answer in client.send_all(&large).unwrap() {
        let answer = answer.unwrap();
        assert_eq!((answer.body.len(), answer.trailers.first("grpc-status")), (4 << 20, Some("0")));
    }
}

#[test]
fn both_sides_of_a_stream_talk_in_turns() {
    let (upstream, _) = h2_origin::start();
    let (sidegate, _) = before(upstream);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let talk = async {
        let stream = TcpStream::connect(sidegate.address("inbound")).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("http://a/echo").header("te", "trailers").body(()).unwrap();
        let (answer, mut out) = sender.ready().await.unwrap().send_request(request, false).unwrap();
        out.send_data(Bytes::from_static(b"0"), false).unwrap();
        let mut body = answer.await.unwrap().into_body();
        for n in 1..=50 {
            let came = body.data().await.unwrap().unwrap();
            assert_eq!(came, (n - 1).to_string());
            body.flow_control().release_capacity(came.len()).unwrap();
            out.send_data(n.to_string().into(), n == 50).unwrap();
        }
        assert_eq!(body.data().await.unwrap().unwrap(), "50");
        assert_eq!(body.trailers().await.unwrap().unwrap().get("grpc-status").unwrap(), "0");
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), talk).await.unwrap() });
}

#[test]
fn our_own_answers_have_grpcs_form() {
    let nobody = FreePort::claim().unwrap();
    let (_sidegate, mut client) = before(nobody.address());
    let answer = client.send(&call("/echo")).unwrap();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("14")));
    assert_eq!((answer.header("content-type"), answer.body.len()), (Some("application/grpc"), 0));
    assert!(answer.header("grpc-message").is_some());

    let origin: Origin = fine();
    let sidegate = Sidegate::start(&format!(
        "listeners: [{{name: inbound, address: $inbound}}]\nclusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    ));
    let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
    let answer = client.send(&call("/nowhere")).unwrap();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("12")));
    assert_eq!(client.send(&Request::get("/nowhere")).unwrap().status, 404, "others get plain HTTP");
}

#[test]
fn http1_clients_reach_an_http2_upstream() {
    let (upstream, _) = h2_origin::start();
    let (sidegate, _) = before(upstream);
    let answer = sidegate.send(&Request::post("/echo", "hello"));
    assert_eq!((answer.status, answer.text().as_ref()), (200, "hello"));
}
