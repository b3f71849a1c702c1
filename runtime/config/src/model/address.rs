//! Socket addresses.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
};

use schemars::SchemaGenerator;
use serde_json::{Value as Json, json};

use crate::{cursor::Cursor, read::Read};

/// Where one listens or connects: `127.0.0.1:8080`, `[::1]:8080` or `unix:PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A Unix socket. The path is taken as it is written.
    Unix(PathBuf),
}

impl Address {
    /// The default of the administration interface, 127.0.0.1:15000.
    pub const ADMIN: Self = Self::Tcp(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 15000)));

    /// Reads the written form.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            // The length is what the kernel takes, the final NUL left out.
            Some(path) => {
                (!path.is_empty() && path.len() < 108 && !path.contains('\0')).then(|| Self::Unix(path.into()))
            }
            None => text.parse().ok().map(Self::Tcp),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Read for Address {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let fix = at.text().and_then(likely_fix);
        at.text().and_then(Self::parse).or_else(|| at.expected("IP:port, \"[v6]:port\" or unix:PATH", fix))
    }

    fn schema(_: &mut SchemaGenerator) -> Json {
        json!({"type": "string", "examples": ["127.0.0.1:8080", "[::1]:8080", "unix:/run/app.sock"]})
    }
}

fn likely_fix(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    match host {
        "" | "*" => Some(format!("for every interface write 0.0.0.0:{port}")),
        "localhost" => Some(format!("write 127.0.0.1:{port}")),
        _ if text.parse::<std::net::IpAddr>().is_ok() => Some("add a port".to_owned()),
        _ if text.starts_with('/') => Some(format!("write unix:{text}")),
        _ => None,
    }
}
