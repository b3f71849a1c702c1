//! What follows an upgrade: bytes in both directions, until either side stops.

use std::pin::pin;
use std::rc::Rc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::Exchange;
use crate::upstream::InFlight;

/// Bytes that one direction may have in hand.
const BUFFER: usize = 16 << 10;

/// Joins the two connections once both have switched. The exchange lives as long as the tunnel.
pub(super) fn spawn(exchange: Rc<Exchange>, client: OnUpgrade, server: OnUpgrade, in_flight: InFlight) {
    tokio::task::spawn_local(async move {
        let (client, server) = match tokio::join!(client, server) {
            (Ok(client), Ok(server)) => (client, server),
            (Err(error), _) | (_, Err(error)) => {
                tracing::debug!("upgrade failed: {error}");
                exchange.finish(false);
                return;
            }
        };
        let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
        let copying = pin!(tokio::io::copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER));
        // A version that must go takes its tunnels with it.
        let copied = exchange.or_outcome(copying).await;
        if let Ok(Ok((up, down))) = copied {
            exchange.count_tunnel(up, down);
        }
        exchange.finish(matches!(copied, Ok(Ok(_))));
        drop(in_flight);
    });
}
