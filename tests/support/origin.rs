//! The fake service behind the proxy: a small HTTP/1.1 server on threads, which answers by a closure.

mod answer;
mod connection;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

pub use answer::{Answer, Gate};

use crate::message::Request;

/// Requests that an origin remembers; of more, the newest.
const KEPT_REQUESTS: usize = 1_000;

/// A running origin; dropping it closes its listener and every connection.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the connections of an origin have in common.
struct Shared {
    answer: Box<dyn Fn(&Request) -> Answer + Send + Sync>,
    is_closed: AtomicBool,
    connections: AtomicUsize,
    requests: AtomicUsize,
    kept: Mutex<VecDeque<Request>>,
    open: Mutex<Vec<TcpStream>>,
}

impl Origin {
    /// Answers on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no port can be bound.
    #[expect(clippy::expect_used, reason = "a test without an origin has failed")]
    pub fn answering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::answering_on(any_port, answer).expect("an origin binds a free port of 127.0.0.1")
    }

    /// Answers on this address. Fails when it is taken.
    pub fn answering_on(
        address: SocketAddr,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            is_closed: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            kept: Mutex::default(),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Ok(Self { address, shared })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The newest requests, oldest first, each with its exact bytes.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.kept).iter().cloned().collect()
    }

    /// How many requests came, counted before they are answered.
    pub fn request_count(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many connections were accepted, closed ones included.
    pub fn connection_count(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes every connection that is open now; new ones are accepted.
    pub fn hang_up(&self) {
        close_all(&mut lock(&self.shared.open));
    }
}

/// The address, as a configuration names it: `127.0.0.1:41234`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.hang_up();
        // The accepting thread looks at the flag once more when a connection wakes it.
        drop(TcpStream::connect(self.address));
    }
}

// === impl Shared ===

impl Shared {
    fn remember(&self, request: &Request) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut kept = lock(&self.kept);
        if kept.len() == KEPT_REQUESTS {
            kept.pop_front();
        }
        kept.push_back(request.clone());
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        let mut open = lock(&shared.open);
        if shared.is_closed.load(Ordering::SeqCst) {
            return;
        }
        shared.connections.fetch_add(1, Ordering::SeqCst);
        open.retain(|stream| stream.peer_addr().is_ok());
        open.extend(stream.try_clone());
        drop(open);
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A connection that the peer breaks is for the test to notice at the peer.
            let _ = connection::serve(&stream, &shared);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        });
    }
}

fn close_all(open: &mut Vec<TcpStream>) {
    for stream in open.drain(..) {
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;

    #[test]
    fn requests_on_one_connection_are_answered_in_turn_and_kept_as_they_came() {
        let origin = Origin::answering(|request| Answer::ok(request.body.clone()).with_header("x-seen", "yes"));
        let mut client = Client::connect(origin.address()).unwrap();
        assert_eq!(client.get("/a").unwrap().header("X-Seen"), Some("yes"));
        let chunked = "POST /b HTTP/1.1\r\nHost: o\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        client.write(chunked.as_bytes()).unwrap();
        assert_eq!(client.read_response().unwrap().text(), "hi");
        assert_eq!(origin.requests()[1].raw, chunked.as_bytes());
        assert_eq!((origin.request_count(), origin.connection_count()), (2, 1));
    }

    #[test]
    fn an_origin_can_hold_back_misbehave_and_hang_up() {
        let gate = Gate::closed();
        let opener = gate.clone();
        let origin = Origin::answering(move |request| match request.target.as_str() {
            "/held" => Answer::ok("late").when(&gate),
            "/raw" => Answer::raw("garbage"),
            _ => Answer::nothing(),
        });
        assert_eq!(Client::say_once(origin.address(), &Request::get("/raw").to_bytes("o")).unwrap(), b"garbage");
        assert_eq!(Client::say_once(origin.address(), &Request::get("/").to_bytes("o")).unwrap(), b"");

        let mut held = Client::connect(origin.address()).unwrap();
        held.write(&Request::get("/held").to_bytes("o")).unwrap();
        crate::eventually(crate::client::PATIENCE, || (origin.request_count() == 3).then_some(())).unwrap();
        opener.open();
        assert_eq!(held.read_response().unwrap().text(), "late");
        origin.hang_up();
        assert!(held.is_closed_by_peer().unwrap());
    }

    #[test]
    fn a_dropped_origin_frees_its_port() {
        let origin = Origin::answering(|_| Answer::ok(""));
        let address = origin.address();
        drop(origin);
        let again = crate::eventually(crate::client::PATIENCE, || TcpListener::bind(address).ok());
        assert!(again.is_some());
    }
}
