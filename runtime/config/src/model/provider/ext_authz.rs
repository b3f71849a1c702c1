//! Services that are asked whether requests may pass. Filters ask them, so filters are told these words; what a word
//! means is theirs to say, and checked further by the filter that uses it.

use std::{collections::BTreeMap, time::Duration};

use schemars::SchemaGenerator;
use serde_json::{Map, Value as Json};

use crate::{
    checks::{positive, printable},
    cursor::Cursor,
    read::{Read, section},
};

/// Something that is checked here and told to filters as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Told<T> {
    /// What was read.
    pub words: T,
    /// The same as it was written.
    pub written: Map<String, Json>,
}

impl<T: Read> Read for Told<T> {
    fn read(at: &Cursor<'_>) -> Option<Self> {
        let words = T::read(at)?;
        let mut written = if at.is_null() { Map::new() } else { Map::read(at)? };
        // A key without a value is one that was left out.
        written.retain(|_, value| !value.is_null());
        Some(Self { words, written })
    }

    fn schema(generator: &mut SchemaGenerator) -> Json {
        T::schema(generator)
    }
}

section! {
    /// An HTTP service that decides: 200 lets a request pass, 5xx is an error, anything else is the client's answer.
    pub struct ExtAuthzHttp {
        /// A cluster, by its name or one of its hosts; `namespace/` before it is dropped.
        pub service: String where printable,
        /// The port of the service; `service:port` is looked up first.
        pub port: Option<u32> = None,
        /// How long an answer may take. Default: 200ms.
        pub timeout: Option<Duration> = None,
        /// Stands before the path of the request. Default: nothing.
        pub path_prefix: String = String::new(),
        /// Whether a request passes without an answer. Default: false.
        pub fail_open: bool = false,
        /// What a client gets without an answer, such as "503". Default: "403".
        pub status_on_error: Option<String> = None,
        /// Headers of the request that the service is told: names, `prefix*` or `*suffix`.
        pub include_request_headers_in_check: Vec<String> = Vec::new(),
        /// Istio's older name of includeRequestHeadersInCheck.
        pub include_headers_in_check: Vec<String> = Vec::new(),
        /// Headers that are added to the question. Every filter of this proxy can read them.
        pub include_additional_headers_in_check: BTreeMap<String, String> = BTreeMap::new(),
        /// Whether the service is told the request's body. Default: no.
        pub include_request_body_in_check: Option<RequestBodyInCheck> = None,
        /// Headers of the answer that replace the request's. Default: none.
        pub headers_to_upstream_on_allow: Vec<String> = Vec::new(),
        /// Headers of a refusal that the client gets. Default: all.
        pub headers_to_downstream_on_deny: Vec<String> = Vec::new(),
        /// Headers of the answer that the client gets with the response. Default: none.
        pub headers_to_downstream_on_allow: Vec<String> = Vec::new(),
    }
}

section! {
    /// A gRPC service that decides: `envoy.service.auth.v3.Authorization`.
    pub struct ExtAuthzGrpc {
        /// A cluster, by its name or one of its hosts; `namespace/` before it is dropped.
        pub service: String where printable,
        /// The port of the service; `service:port` is looked up first.
        pub port: Option<u32> = None,
        /// How long an answer may take. Default: 200ms.
        pub timeout: Option<Duration> = None,
        /// Whether a request passes without an answer. Default: false.
        pub fail_open: bool = false,
        /// What a client gets without an answer, such as "503". Default: "403".
        pub status_on_error: Option<String> = None,
        /// Whether the service is told the request's body. Default: no.
        pub include_request_body_in_check: Option<RequestBodyInCheck> = None,
        /// What else the service is told.
        pub context_extensions: BTreeMap<String, String> = BTreeMap::new(),
    }
}

section! {
    /// How much of a request's body a service is told.
    pub struct RequestBodyInCheck {
        /// Bytes that are held for it. A larger body is refused with 413.
        pub max_request_bytes: u32 where positive,
        /// Instead of refusing a larger body, only the beginning is told. Default: false.
        pub allow_partial_message: bool = false,
        /// Whether it is told as bytes instead of text, over gRPC. Default: false.
        pub pack_as_bytes: bool = false,
    }
}
