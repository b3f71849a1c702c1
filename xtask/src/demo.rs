//! The quickstart: two services, the proxy between them and the world, and requests to try.

mod check;
mod proxy;
mod services;
mod swap;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

pub(crate) use check::Tally;
use proxy::Proxy;
use services::Services;

use crate::command::Failure;
use crate::workspace::Workspace;

const ADVICE: &str = "
Sidegate listens on 127.0.0.1:8080, its admin on 127.0.0.1:15000. Try, in another terminal:

  curl -i http://127.0.0.1:8080/hello                      # nine of ten answers come from v1; a filter adds x-greeting
  curl -H 'end-user: jason' http://127.0.0.1:8080/reviews  # always v2
  curl http://127.0.0.1:8080/about                         # answered by the router, without a service

The configuration is examples/quickstart/sidegate.yaml. Ctrl-C ends.
";

/// Time between two looks whether the demo is over.
const LOOK: Duration = Duration::from_millis(100);

/// Fails when something else listens where the quickstart will; to be asked before minutes of building.
pub(crate) fn demand_addresses() -> Result<(), Failure> {
    services::demand_addresses()?;
    proxy::demand_addresses()
}

/// Runs the quickstart with this proxy until Ctrl-C.
pub(crate) fn show(workspace: &Workspace, binary: &Path) -> Result<(), Failure> {
    // Registered before anything starts, so that Ctrl-C always ends the proxy too.
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&is_over))
            .map_err(|error| Failure::new(format!("cannot wait for Ctrl-C: {error}")))?;
    }
    let _services = Services::start()?;
    let mut proxy = Proxy::start(workspace, binary)?;
    proxy.wait_until_ready(|| is_over.load(Ordering::SeqCst))?;
    if !is_over.load(Ordering::SeqCst) {
        println!("{ADVICE}");
    }
    while !is_over.load(Ordering::SeqCst) {
        proxy.demand_running()?;
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Runs the quickstart with this proxy, sends its requests and verifies the answers. An answer that is wrong is a failure.
pub(crate) fn check(workspace: &Workspace, binary: &Path) -> Result<Tally, Failure> {
    let _services = Services::start()?;
    let mut proxy = Proxy::start_quietly(workspace, binary)?;
    proxy.wait_until_ready(|| false).map_err(|failure| proxy.with_log(&failure))?;
    let tally = check::check(workspace, &proxy);
    if tally.failed == 0 { Ok(tally) } else { Err(proxy.with_log(&Failure::new("the quickstart does not hold"))) }
}
