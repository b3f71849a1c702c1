//! Ports that nobody else uses, across test processes that run at the same time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

/// Below the ephemeral range, so that no outgoing connection takes a port between claim and use.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port of 127.0.0.1, claimed for as long as this value lives. The claim is a name in the abstract socket
/// namespace: it keeps other tests away without holding the port itself, and ends with the process.
#[derive(Debug)]
pub struct FreePort {
    number: u16,
    _claim: UnixListener,
}

impl FreePort {
    /// Claims a port on which nobody listens. Fails when there is none.
    pub fn claim() -> io::Result<Self> {
        let offset = u16::try_from(std::process::id() % u32::try_from(PORTS.len()).unwrap_or(1)).unwrap_or(0);
        let from_offset = (PORTS.start + offset..PORTS.end).chain(PORTS.start..PORTS.start + offset);
        from_offset
            .filter_map(|number| {
                let name = UnixAddr::from_abstract_name(format!("sidegate-test-port-{number}")).ok()?;
                let claim = UnixListener::bind_addr(&name).ok()?;
                TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
                Some(Self { number, _claim: claim })
            })
            .next()
            .ok_or_else(|| io::Error::other("every test port is taken"))
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_never_get_one_port() {
        let (one, two) = (FreePort::claim().unwrap(), FreePort::claim().unwrap());
        assert_ne!(one.address(), two.address());
        TcpListener::bind(one.address()).unwrap();
    }
}
