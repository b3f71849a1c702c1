//! Listeners and their filter chains.

use std::time::Duration;

use schemars::SchemaGenerator;
use serde_json::Value as Json;
use sidegate_matching::HttpMatchRequest;

use crate::{
    Size,
    checks::{all_printable, header_size, positive, printable},
    cursor::Cursor,
    model::{Address, FilterConfig},
    read::{Read, foreign, section, words},
};

section! {
    /// An address on which connections are accepted.
    pub struct Listener {
        /// The name by which logs and metrics know it.
        pub name: String where printable,
        /// `IP:port`, `[v6]:port` or `unix:PATH`.
        pub address: Address,
        /// Whether traffic goes to the workload or comes from it. Default: INBOUND.
        pub direction: Direction = Direction::Inbound,
        /// What is spoken. Default: HTTP.
        pub protocol: Protocol = Protocol::Http,
        /// How many proxies before this one are believed. Default: 0, then x-forwarded-* of clients are replaced.
        pub num_trusted_proxies: u32 = 0,
        /// Protocols that a request may switch to. Default: websocket.
        pub upgrades: Vec<String> where all_printable = vec!["websocket".to_owned()],
        /// What is done to paths before routes, filters and upstream see them. Default: MERGE_SLASHES.
        pub path_normalization: PathNormalization = PathNormalization::MergeSlashes,
        /// How long a client may take.
        pub request_timeouts: RequestTimeouts = RequestTimeouts::default(),
        /// The size of all request headers together, from 1Ki to 1Mi. Default: 64Ki.
        pub max_request_headers: Size where header_size = Size(64 << 10),
        /// The filter chain, in order; responses run it backwards.
        pub filters: Vec<FilterEntry> = Vec::new(),
        /// Where a request goes that no filter sent elsewhere.
        pub cluster: Option<String> = None,
    }
    then upgrades_in_lower_case
}

fn upgrades_in_lower_case(mut listener: Listener, _: &Cursor<'_>) -> Option<Listener> {
    listener.upgrades.iter_mut().for_each(|upgrade| upgrade.make_ascii_lowercase());
    Some(listener)
}

words! {
    /// Whether traffic goes to the workload or comes from it.
    pub enum Direction {
        /// To the workload.
        Inbound = "INBOUND",
        /// From the workload.
        Outbound = "OUTBOUND",
    }
}

words! {
    /// What a listener speaks.
    pub enum Protocol {
        /// HTTP/1.1 and HTTP/2, detected.
        Http = "HTTP",
        /// HTTP over TLS.
        Https = "HTTPS",
        /// Bytes.
        Tcp = "TCP",
        /// TLS that is passed on, by server name.
        Tls = "TLS",
    }
}

words! {
    /// What is done to paths.
    pub enum PathNormalization {
        /// Nothing.
        None = "NONE",
        /// Dot segments are resolved and escapes written in one way.
        Base = "BASE",
        /// As BASE, and repeated slashes become one.
        MergeSlashes = "MERGE_SLASHES",
        /// As MERGE_SLASHES, and escaped slashes and backslashes are decoded before.
        DecodeAndMergeSlashes = "DECODE_AND_MERGE_SLASHES",
    }
}

section! {
    /// How long a client may take.
    pub struct RequestTimeouts: Default {
        /// From the first byte of a request to the end of its headers. Default: 10s.
        pub headers: Duration where positive = Duration::from_secs(10),
        /// Between two requests of a connection. Default: 60s.
        pub idle: Duration where positive = Duration::from_secs(60),
        /// Between two pieces of a body. Default: 60s.
        pub body: Duration where positive = Duration::from_secs(60),
    }
}

section! {
    /// A link of a filter chain.
    pub struct FilterEntry {
        /// Its name in logs and tables. Default: the name of the plugin.
        pub name: String where printable = String::new(),
        /// The plugin that runs here; where none of this name is defined, the standard filter of this name.
        pub plugin: String where printable,
        /// The requests that it is for, decided before the filter sees anything. Default: all.
        pub matches: Vec<HttpMatchRequest> as "match" = Vec::new(),
        /// What the filter is configured with. A string is given as it is, anything else as JSON.
        pub config: FilterConfig = FilterConfig::default(),
    }
    at location
    then name_and_place
}

fn name_and_place(mut entry: FilterEntry, at: &Cursor<'_>) -> Option<FilterEntry> {
    if entry.name.is_empty() {
        entry.name.clone_from(&entry.plugin);
    }
    if entry.config.bytes().is_none() {
        entry.config = FilterConfig::absent(at);
    }
    Some(entry)
}

impl Read for HttpMatchRequest {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let request: Self = foreign::read(at)?;
        match request.compile() {
            Ok(_) => Some(request),
            Err(problem) => {
                at.at_pointer(&problem.pointer).error(problem.text, None);
                None
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Json {
        generator.subschema_for::<Self>().to_value()
    }
}
