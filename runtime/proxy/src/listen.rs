//! Listening sockets: one per worker on the same address, and a claim that no second process can share.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket as Raw, Type};

use crate::snapshot::Address;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How long what a killed predecessor had may stay taken: the compiler that it was starting holds it, too, until it runs.
const INHERITED: Duration = Duration::from_secs(1);
const INHERITED_LOOK: Duration = Duration::from_millis(5);

/// Tries to take at the start what only one process can have; for a moment again when it is taken.
pub fn at_start<T>(mut take: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let until = Instant::now() + INHERITED;
    loop {
        match take() {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::WouldBlock)
                    && Instant::now() < until =>
            {
                std::thread::sleep(INHERITED_LOOK);
            }
            outcome => return outcome,
        }
    }
}

/// A bound and listening socket.
#[derive(Debug)]
pub enum Socket {
    Tcp(std::net::TcpListener),
    Unix(UnixListener),
}

/// Holds an address for this process. Sockets that share a port would let a second process take half of the traffic
/// unnoticed; the claim makes it fail instead.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "holding it is its purpose")] UnixListener);

/// Claims an address and opens one socket for each worker.
pub fn bind(address: &Address, workers: usize) -> io::Result<(Claim, Vec<Socket>)> {
    let claim = claim(address)?;
    let sockets = match address {
        Address::Tcp(tcp) => {
            // Without REUSEPORT first: fails when anybody else listens here.
            drop(tcp_socket(*tcp, false)?);
            (0..workers).map(|_| tcp_socket(*tcp, true).map(Socket::Tcp)).collect::<io::Result<_>>()?
        }
        Address::Unix(path) => {
            if std::os::unix::net::UnixStream::connect(path).is_err() {
                // Left behind by a process that is gone.
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            let first = UnixListener::bind(path)?;
            first.set_nonblocking(true)?;
            // Workers share one queue: a Unix socket has no REUSEPORT.
            let mut sockets = Vec::with_capacity(workers);
            for _ in 1..workers {
                sockets.push(Socket::Unix(first.try_clone()?));
            }
            sockets.push(Socket::Unix(first));
            sockets
        }
    };
    Ok((claim, sockets))
}

fn claim(address: &Address) -> io::Result<Claim> {
    let name = std::os::unix::net::SocketAddr::from_abstract_name(format!("sidegate/{address}"))?;
    match UnixListener::bind_addr(&name) {
        Ok(listener) => Ok(Claim(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(io::Error::new(error.kind(), "another sidegate listens here"))
        }
        Err(error) => Err(error),
    }
}

fn tcp_socket(address: std::net::SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Raw::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_for_a_moment_is_waited_for_and_no_longer() {
        let mut tries = 0;
        let mut taken_for = |times: u32, kind: io::ErrorKind| {
            tries = 0;
            at_start(|| {
                tries += 1;
                if tries > times { Ok(tries) } else { Err(kind.into()) }
            })
        };
        assert_eq!(taken_for(3, io::ErrorKind::AddrInUse).unwrap(), 4);
        assert_eq!(taken_for(3, io::ErrorKind::WouldBlock).unwrap(), 4);
        assert!(taken_for(3, io::ErrorKind::PermissionDenied).is_err(), "that does not pass");
        assert!(taken_for(u32::MAX, io::ErrorKind::AddrInUse).is_err());
    }
}
