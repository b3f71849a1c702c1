//! One foreign filter between a client and an origin.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use sidegate_tests::{Answer, Origin, Request, Response, Sidegate};

/// Bytes of the body that [`origin`] gives to most requests.
pub(crate) const FINE: &str = "fine";

/// What a running test talks to.
pub(crate) struct Stage {
    pub(crate) origin: Origin,
    pub(crate) sidegate: Sidegate,
}

/// A filter by the name of its file, without configuration.
pub(crate) fn plain(filter: &str) -> Stage {
    Stage::start(filter, "", "")
}

/// A filter with these configuration bytes.
pub(crate) fn configured(filter: &str, config: &str) -> Stage {
    Stage::start(filter, "", &format!(", config: {config:?}"))
}

impl Stage {
    /// `plugin` and `entry` are further keys of the plugin and of its chain entry, written as `, key: value`.
    pub(crate) fn start(filter: &str, plugin: &str, entry: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/filters-foreign");
        let file = folder.join(format!("{filter}.wasm"));
        let module = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self::of_module(module, plugin, entry)
    }

    /// The same with a module in binary or in text form.
    pub(crate) fn of_module(module: impl AsRef<[u8]>, plugin: &str, entry: &str) -> Self {
        let module = wat::parse_bytes(module.as_ref()).unwrap().into_owned();
        let origin = origin();
        // The folder keeps compiled code, so that each filter is compiled once.
        let config = format!(
            "stateDir: {}/foreign-state\n\
             plugins: [{{name: foreign, url: \"file:foreign.wasm\"{plugin}}}]\n\
             listeners: [{{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: foreign{entry}}}]}}]\n\
             clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}, {{name: httpbin, endpoints: [{{address: \"{origin}\"}}]}}]\n",
            env!("CARGO_TARGET_TMPDIR"),
        );
        let sidegate = Sidegate::configured(&config)
            .with_file("foreign.wasm", module)
            .with_environment("RUST_LOG", "info,guest=trace")
            .start();
        Self { origin, sidegate }
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.sidegate.get(target)
    }

    /// Sends bytes as a client would type them, and reads one answer.
    pub(crate) fn say(&self, bytes: &str) -> Response {
        let mut client = self.sidegate.connect();
        client.write(bytes.as_bytes()).unwrap();
        client.read_response().unwrap()
    }

    /// The newest request to this target as the origin saw it.
    pub(crate) fn seen(&self, target: &str) -> Request {
        let requests = self.origin.requests();
        requests.into_iter().rfind(|request| request.target == target).unwrap_or_else(|| panic!("no {target} upstream"))
    }
}

/// Every answer has repeated headers. `/bytes/1` is an even byte, then an odd one, and so on.
fn origin() -> Origin {
    let bytes = AtomicUsize::new(0);
    Origin::answering(move |request| {
        let answer = match request.target.as_str() {
            "/bytes/1" => Answer::ok([2 - (bytes.fetch_add(1, Ordering::SeqCst) % 2) as u8]),
            "/secret" => Answer::ok("this is a secret\n"),
            "/204" => Answer::status(204),
            "/chunks" => {
                let chunks = "4\r\none-\r\n4\r\ntwo-\r\n5\r\nthree\r\n0\r\n\r\n";
                return Answer::raw(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"));
            }
            _ => Answer::ok(FINE),
        };
        let fields = [
            ("x-upstream", "main"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-multi", "m1"),
            ("x-multi", "m2"),
        ];
        fields.into_iter().fold(answer, |answer, (name, value)| answer.with_header(name, value))
    })
}

/// A POST whose body "abcd" comes in two chunks.
pub(crate) const CHUNKED: &str =
    "POST /chunked HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n";

/// All values of a header.
pub(crate) fn values<'a>(response: &'a Response, name: &'a str) -> Vec<&'a str> {
    response.headers.all(name).collect()
}
