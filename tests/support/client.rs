//! An HTTP/1.1 client over one plain connection: keep-alive, and as impolite as a test wants.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::message::{Request, Response};
use crate::wire::Wire;

/// How long a read or a write may take before it is an error; see [`Client::set_patience`].
pub const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
pub struct Client {
    wire: Wire<TcpStream>,
    address: SocketAddr,
}

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        let mut client = Self { wire: Wire::new(stream), address };
        client.set_patience(PATIENCE)?;
        Ok(client)
    }

    /// Sends one GET on a connection of its own.
    pub fn get_once(address: SocketAddr, target: &str) -> io::Result<Response> {
        Self::connect(address)?.get(target)
    }

    /// Sends bytes on a connection of their own, and returns everything that comes until the peer closes.
    /// What was received counts also when the peer resets the connection or stays silent for [`PATIENCE`].
    pub fn say_once(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut client = Self::connect(address)?;
        client.write(bytes)?;
        let mut received = Vec::new();
        match client.wire.inner().read_to_end(&mut received) {
            Err(error) if !is_end(&error) => Err(error),
            _ => Ok(received),
        }
    }

    /// Sends a GET and waits for the answer.
    pub fn get(&mut self, target: &str) -> io::Result<Response> {
        self.send(&Request::get(target))
    }

    /// Sends a request and waits for the answer.
    pub fn send(&mut self, request: &Request) -> io::Result<Response> {
        self.write(&request.to_bytes(&self.address.to_string()))?;
        self.wire.response(request.method == "HEAD")
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.inner().write_all(bytes)
    }

    /// Waits for the answer to something written by [`Client::write`], not to a HEAD request.
    pub fn read_response(&mut self) -> io::Result<Response> {
        self.wire.response(false)
    }

    /// Waits for the answer to a HEAD request written by [`Client::write`].
    pub fn read_head_response(&mut self) -> io::Result<Response> {
        self.wire.response(true)
    }

    /// Waits for an interim (1xx) response; its status.
    pub fn read_interim(&mut self) -> io::Result<u16> {
        self.wire.interim()
    }

    /// Whether the peer closes before it sends anything more.
    pub fn is_closed_by_peer(&mut self) -> io::Result<bool> {
        match self.wire.head() {
            Ok(head) => Ok(head.is_none()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Closes the sending side: the peer sees the end, answers still arrive.
    pub fn finish(&mut self) -> io::Result<()> {
        self.wire.inner().shutdown(Shutdown::Write)
    }

    /// How long one read or write may take from now on.
    pub fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.wire.inner().set_read_timeout(Some(patience))?;
        self.wire.inner().set_write_timeout(Some(patience))
    }

    /// The connection after an upgrade, and what the peer has already sent on it.
    pub fn into_upgraded(self) -> (TcpStream, Vec<u8>) {
        self.wire.into_parts()
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
