//! A proxy with a hostile module on one listener, and none on another.

use sidegate_tests::{Client, Origin, Sidegate};

/// A proxy whose first listener runs the module, and whose listener `plain` does not.
pub(crate) fn with_guest(wasm: Vec<u8>, plugin: &str, upstream: &Origin, workers: usize) -> Sidegate {
    Sidegate::configured(&config(plugin, upstream)).with_file("guest.wasm", wasm).with_workers(workers).start()
}

fn config(plugin: &str, upstream: &Origin) -> String {
    format!(
        "plugins: [{{name: guest, url: \"file:guest.wasm\"{plugin}}}]\n\
         listeners:\n\
         - {{name: inbound, address: $inbound, cluster: app, filters: [{{plugin: guest}}]}}\n\
         - {{name: plain, address: $plain, cluster: app}}\n\
         clusters: [{{name: app, endpoints: [{{address: \"{upstream}\"}}]}}]\n"
    )
}

pub(crate) fn plain(sidegate: &Sidegate) -> u16 {
    Client::get_once(sidegate.address("plain"), "/").unwrap().status
}

pub(crate) fn faults(sidegate: &Sidegate) -> f64 {
    sidegate.metric("sidegate_plugin_faults_total", &[("plugin", "guest")], |_| true)
}
