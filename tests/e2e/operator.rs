//! An operator who pushes: a proxy with a plugin `stamp` whose modules write their name on every request and response.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use sidegate_tests::sidegate::Start;
use sidegate_tests::{Client, Request, Response, Sidegate};

use crate::guest::guest;

pub(crate) const TOKEN: &str = "secret";

/// A module that stamps requests and responses with `x-gen`.
pub(crate) fn stamp(value: &str) -> Vec<u8> {
    let add = |map: u8| format!("(drop (call $add_header #{map} <x-gen> <{value}>))");
    guest(&[("request_headers", &add(0)), ("response_headers", &add(2))])
}

/// A module that does not accept its configuration.
pub(crate) fn refusing() -> Vec<u8> {
    guest(&[("configure", "(return #0)")])
}

/// The usual proxy: `stamp` from `stamp.wasm`, which is version `a`. `top` are lines of the configuration, `plugin`
/// further keys of the plugin.
pub(crate) fn stamped(upstream: impl Display, top: &str, plugin: &str) -> Start {
    Sidegate::configured(&format!("{top}{}", config("file:stamp.wasm", upstream, plugin)))
        .with_file("token", TOKEN)
        .with_file("stamp.wasm", stamp("a"))
}

/// The configuration of a proxy with `stamp` from this URL.
pub(crate) fn config(url: &str, upstream: impl Display, plugin: &str) -> String {
    format!(
        "admin: {{tokenFile: token}}\n\
         plugins: [{{name: stamp, url: \"{url}\"{plugin}}}]\n\
         listeners: [{{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: stamp}}]}}]\n\
         clusters: [{{name: app, endpoints: [{{address: \"{upstream}\"}}]}}]\n"
    )
}

/// A request with the token.
pub(crate) fn change(method: &str, path: &str, body: &[u8]) -> Request {
    Request::new(method, path).with_header("authorization", &format!("Bearer {TOKEN}")).with_body(body)
}

pub(crate) fn push(sidegate: &Sidegate, module: &[u8]) -> Response {
    sidegate.ask_admin(&change("PUT", "/plugins/stamp/module", module))
}

pub(crate) fn rollback(sidegate: &Sidegate) -> Response {
    let request = change("POST", "/plugins/stamp/rollback", b"").with_header("content-length", "0");
    sidegate.ask_admin(&request)
}

/// The same from another thread, when the proxy may be killed meanwhile.
pub(crate) fn push_to(admin: SocketAddr, module: &[u8]) -> io::Result<Response> {
    Client::connect(admin)?.send(&change("PUT", "/plugins/stamp/module", module))
}

pub(crate) fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {}", response.text()))
}

/// What `/plugins` says of the plugin `stamp`.
pub(crate) fn plugin(sidegate: &Sidegate) -> Value {
    let plugins = json(&sidegate.ask_admin(&Request::get("/plugins")));
    plugins["plugins"].as_array().unwrap().iter().find(|plugin| plugin["name"] == "stamp").cloned().unwrap_or_default()
}

/// Version and state of everything that `/plugins` lists, what serves first.
pub(crate) fn states(sidegate: &Sidegate) -> Vec<(u64, String)> {
    let versions = plugin(sidegate)["versions"].as_array().cloned().unwrap_or_default();
    let state = |version: &Value| (version["version"].as_u64().unwrap(), version["state"].as_str().unwrap().to_owned());
    versions.iter().map(state).collect()
}

/// Who serves: the stamp on a response.
pub(crate) fn serves(sidegate: &Sidegate) -> String {
    sidegate.get("/").header("x-gen").unwrap_or_default().to_owned()
}
