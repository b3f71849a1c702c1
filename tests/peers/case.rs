//! What both proxies are put through: a module, its configuration, the requests of a client.

use std::fs;
use std::path::Path;

use sidegate_tests::probe::{self, Abi, Script};

/// In a configuration: the name of the case's cluster.
pub(crate) const CLUSTER: &str = "THE-CLUSTER";

/// One filter and what is done to it.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) module: Module,
    /// The plugin's configuration; `None`: none.
    config: Option<String>,
    pub(crate) requests: Vec<Request>,
    /// Its log is not compared: the order of headers and what is different each time stands there.
    pub(crate) ignores_log: bool,
}

pub(crate) enum Module {
    /// A file below target/, without its ending.
    File(&'static str),
    Probe(Abi, Script),
}

/// Bytes as a client writes them, on a connection of their own.
pub(crate) struct Request {
    pub(crate) bytes: String,
}

pub(crate) fn get(target: &str) -> Request {
    Request { bytes: format!("GET {target} HTTP/1.1\r\nhost: peers\r\n\r\n") }
}

pub(crate) fn head(target: &str) -> Request {
    Request { bytes: format!("HEAD {target} HTTP/1.1\r\nhost: peers\r\n\r\n") }
}

/// A POST of "hello" with its length.
pub(crate) fn post(target: &str) -> Request {
    Request { bytes: format!("POST {target} HTTP/1.1\r\nhost: peers\r\ncontent-length: 5\r\n\r\nhello") }
}

/// A POST of "hello" in two chunks, with a trailer; all that a request can have.
pub(crate) fn chunked(target: &str) -> Request {
    let body = "2\r\nhe\r\n3\r\nllo\r\n0\r\nx-request-trailer: t\r\n\r\n";
    let head = format!("POST {target} HTTP/1.1\r\nhost: peers\r\nte: trailers\r\n");
    let head = format!("{head}trailer: x-request-trailer\r\ntransfer-encoding: chunked\r\n");
    Request { bytes: format!("{head}\r\n{body}") }
}

impl Request {
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.bytes = self.bytes.replacen("\r\n\r\n", &format!("\r\n{name}: {value}\r\n\r\n"), 1);
        self
    }
}

impl Case {
    pub(crate) fn file(file: &'static str, config: Option<&str>, requests: Vec<Request>) -> Self {
        let name = file.rsplit('/').next().unwrap_or_default();
        let name = if config.is_some() { format!("{name} with configuration") } else { name.to_owned() };
        Self { name, module: Module::File(file), config: config.map(str::to_owned), requests, ignores_log: false }
    }

    pub(crate) fn standard(name: String, file: &'static str, config: String, requests: Vec<Request>) -> Self {
        Self { name, module: Module::File(file), config: Some(config), requests, ignores_log: false }
    }

    pub(crate) fn probe(name: impl Into<String>, script: Script, requests: Vec<Request>) -> Self {
        Self::probe_of(Abi::V0_2_1, name, script, requests)
    }

    pub(crate) fn probe_of(abi: Abi, name: impl Into<String>, script: Script, requests: Vec<Request>) -> Self {
        let module = Module::Probe(abi, script);
        Self { name: name.into(), module, config: Some("plugin".to_owned()), requests, ignores_log: false }
    }

    /// For filters that log what is different each time.
    pub(crate) fn ignoring_log(mut self) -> Self {
        self.ignores_log = true;
        self
    }

    /// What the plugin is configured with, in the place of a proxy where this case stands.
    pub(crate) fn config(&self, index: usize) -> Option<String> {
        Some(self.config.as_ref()?.replace(CLUSTER, &Self::id(index)))
    }

    /// Whether the filter counts the messages of gRPC.
    pub(crate) fn counts_messages(&self) -> bool {
        matches!(self.module, Module::File("filters/telemetry"))
    }

    /// What the VM is configured with.
    pub(crate) fn vm_config(&self) -> String {
        match &self.module {
            Module::File(_) => String::new(),
            Module::Probe(_, script) => script.to_config(),
        }
    }

    /// The name that both proxies know it by.
    pub(crate) fn id(index: usize) -> String {
        format!("case-{index:03}")
    }
}

impl Module {
    /// A name for the file that holds the code.
    pub(crate) fn file(&self) -> String {
        match self {
            Self::File(file) => format!("{}.wasm", file.replace('/', "-")),
            Self::Probe(abi, _) => format!("probe-{abi:?}.wasm"),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::File(file) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(format!("{file}.wasm"));
                fs::read(&path)
                    .unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask test --peers` builds it", path.display()))
            }
            Self::Probe(abi, _) => wat::parse_str(probe::module(*abi)).unwrap(),
        }
    }
}
