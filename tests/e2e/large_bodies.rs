//! Bodies larger than anything the proxy may keep: they flow through, and stop where the reader stops.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sidegate_tests::{Answer, Origin, Request, Sidegate, eventually};

use crate::frames::{DATA, Frames, SETTINGS, pseudo};
use crate::setup::{memory, plain};

const LARGE: usize = 50 << 20;
/// KiB that the proxy may grow by while it carries them.
const GROWTH: u64 = 16 << 10;
/// Bytes that may be under way between two ends that wait for each other: kernel buffers, mostly.
const UNDER_WAY: usize = 32 << 20;

#[test]
fn fifty_mebibytes_pass_both_ways_and_none_of_it_stays() {
    let origin = Origin::answering(|request| Answer::ok(request.body.clone()));
    let sidegate = plain(&origin);
    assert_eq!(sidegate.get("/").status, 200);
    let before = memory(&sidegate, "VmRSS");
    let answer = sidegate.send(&Request::post("/", vec![b'x'; LARGE]));
    assert_eq!(answer.body.len(), LARGE);
    let grown = memory(&sidegate, "VmHWM").saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB");
}

#[test]
fn a_client_that_does_not_read_stops_the_upstream() {
    let (address, written) = pouring(4 * LARGE);
    let sidegate = plain(address);
    let mut client = sidegate.connect();
    let before = memory(&sidegate, "VmRSS");
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let stopped = when_still(&written);
    assert!(stopped < UNDER_WAY, "{stopped} bytes were taken for a client that does not read");
    let grown = memory(&sidegate, "VmHWM").saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB");
    let answer = client.read_response().unwrap();
    assert_eq!(answer.body.len(), 4 * LARGE, "nothing is lost once it reads");
}

#[test]
fn an_upstream_that_does_not_read_stops_the_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sidegate = plain(listener.local_addr().unwrap());
    let before = memory(&sidegate, "VmRSS");
    let mut client = sidegate.connect();
    client.write(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", 4 * LARGE).as_bytes()).unwrap();
    let (_deaf, _) = listener.accept().unwrap();
    client.set_patience(Duration::from_secs(1)).unwrap();
    let chunk = vec![b'x'; 64 << 10];
    let taken = (0..4 * LARGE / chunk.len()).take_while(|_| client.write(&chunk).is_ok()).count() * chunk.len();
    assert!(taken < UNDER_WAY, "{taken} bytes were taken for an upstream that does not read");
    let grown = memory(&sidegate, "VmHWM").saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB");
}

#[test]
fn a_client_that_never_reads_is_cut() {
    let (address, written) = pouring(4 * LARGE);
    let sidegate = plain(address);
    let mut client = sidegate.connect();
    client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    when_still(&written);
    let clusters = || sidegate.ask_admin(&Request::get("/clusters")).text().into_owned();
    assert!(clusters().contains("app::rq_active::1"));
    let cut = eventually(Duration::from_secs(40), || clusters().contains("app::rq_active::0").then_some(()));
    assert!(cut.is_some());
    let (mut stream, _) = client.into_upgraded();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < 4 * LARGE);
}

#[test]
fn an_http2_client_that_grants_no_window_is_cut() {
    let (address, _) = pouring(LARGE);
    let sidegate = plain(address);
    let mut frames = Frames::silent(sidegate.address("inbound"));
    frames.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    frames.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).unwrap();
    frames.headers(1, &pseudo("GET", "/", "a"), true);
    assert_eq!(frames.status_of(1), Some(200));
    let came = frames.until(|frame| frame.kind == DATA && !frame.payload.is_empty());
    assert!(came.is_none(), "data without a window");
    let clusters = || sidegate.ask_admin(&Request::get("/clusters")).text().into_owned();
    let ended = eventually(Duration::from_secs(10), || clusters().contains("app::rq_active::0").then_some(()));
    assert!(ended.is_some());
}

#[test]
fn many_clients_that_do_not_read_cost_little() {
    let (address, written) = pouring(LARGE);
    let sidegate = Sidegate::start(&crate::setup::config("", address, ""));
    let before = memory(&sidegate, "VmRSS");
    let mut clients: Vec<_> = (0..16).map(|_| sidegate.connect()).collect();
    for client in &mut clients {
        client.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    }
    when_still(&written);
    let grown = memory(&sidegate, "VmHWM").saturating_sub(before);
    assert!(grown < 2 * GROWTH, "{grown} KiB");
}

/// An upstream that answers every connection with so many bytes; how many it got rid of.
fn pouring(length: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let total = written.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let total = total.clone();
            thread::spawn(move || pour(stream, length, &total));
        }
    });
    (address, written)
}

fn pour(mut stream: TcpStream, length: usize, total: &AtomicUsize) {
    let mut request = [0; 4096];
    if stream.read(&mut request).is_err() {
        return;
    }
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let chunk = vec![b'x'; 64 << 10];
    if stream.write_all(head.as_bytes()).is_ok() {
        for _ in 0..length / chunk.len() {
            if stream.write_all(&chunk).is_err() {
                return;
            }
            total.fetch_add(chunk.len(), Ordering::SeqCst);
        }
    }
}

/// The count once it has begun and not moved for a while.
fn when_still(count: &AtomicUsize) -> usize {
    let mut last = (0, Instant::now());
    let still = eventually(Duration::from_secs(30), || {
        let now = count.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, Instant::now());
        }
        (now > 0 && last.1.elapsed() > Duration::from_millis(500)).then_some(now)
    });
    still.unwrap()
}
