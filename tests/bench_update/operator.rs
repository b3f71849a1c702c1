//! What an operator does to a proxy, and what it says.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use sidegate_tests::sidegate::Start;
use sidegate_tests::{Client, Origin, Request, Response, Sidegate};

const TOKEN: &str = "bench";

/// A proxy with the plugin `stamp` in front of this origin; its state and module lie in this folder.
pub(crate) fn proxy(place: &Path, origin: &Origin) -> Start {
    let place = place.display();
    Sidegate::configured(&format!(
        "stateDir: {place}/state\n\
         admin: {{tokenFile: token}}\n\
         plugins: [{{name: stamp, url: \"file:{place}/stamp.wasm\"}}]\n\
         listeners: [{{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: stamp}}]}}]\n\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
    ))
    .with_file("token", TOKEN)
    .with_environment("RUST_LOG", "warn")
}

/// Pushes a module; `query` may ask for a rollout.
pub(crate) fn push(admin: SocketAddr, query: &str, module: &[u8]) -> io::Result<Response> {
    let request = Request::new("PUT", &format!("/plugins/stamp/module{query}"))
        .with_header("authorization", &format!("Bearer {TOKEN}"))
        .with_body(module);
    Client::connect(admin)?.send(&request)
}

/// Goes back to the version before; the status of the answer.
pub(crate) fn rollback(sidegate: &Sidegate) -> u16 {
    let request =
        Request::new("POST", "/plugins/stamp/rollback").with_header("authorization", &format!("Bearer {TOKEN}"));
    sidegate.ask_admin(&request.with_header("content-length", "0")).status
}

/// Whether nothing is being rolled out.
pub(crate) fn is_settled(sidegate: &Sidegate) -> bool {
    sidegate.ask_admin(&Request::get("/plugins")).text().contains("\"rollout\": null")
}

/// How often a rollout went back so far.
pub(crate) fn rolled_back(sidegate: &Sidegate) -> u64 {
    let page = sidegate.ask_admin(&Request::get("/metrics")).text().into_owned();
    let labels = [("plugin", "stamp"), ("result", "rolled_back")];
    sidegate_tests::prometheus::sum(&page, "sidegate_plugin_swaps_total", &labels).unwrap_or_default() as u64
}
