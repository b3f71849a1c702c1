//! Connections of one worker that wait for their next request: per endpoint, last in first out.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use tokio::sync::Notify;

use super::connect;
use crate::exchange::bodies::RequestBody;
use crate::exchange::reply::Failure;
use crate::snapshot::cluster::Permit;
use crate::snapshot::{Cluster, Endpoint};

/// All pools of a worker.
#[derive(Default)]
pub struct Pools {
    endpoints: RefCell<HashMap<usize, Rc<Pool>>>,
}

/// The connections to one endpoint.
#[derive(Default)]
struct Pool {
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    /// An HTTP/2 connection is being opened; those who wait for it are told.
    opening: Cell<bool>,
    opened: Notify,
}

struct Idle {
    sender: http1::SendRequest<RequestBody>,
    local: Option<Arc<str>>,
    since: Instant,
    served: u32,
}

/// An HTTP/2 connection with the number of streams on it.
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    local: Option<Arc<str>>,
    streams: Cell<u32>,
    served: Cell<u32>,
    since: Cell<Instant>,
}

/// A connection for one request.
pub struct Lease {
    connection: Connection,
    local: Option<Arc<str>>,
    pool: Rc<Pool>,
    reused: bool,
    served: u32,
    max_requests: u32,
}

enum Connection {
    Http1(http1::SendRequest<RequestBody>),
    Http2(StreamCount),
}

/// An answer that is waited for, of either protocol.
enum Sending<A, B> {
    Http1(A),
    Http2(B),
}

/// One stream on a shared connection; counted until dropped.
struct StreamCount(Rc<Shared>);

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
        self.0.since.set(Instant::now());
    }
}

/// A request that was not answered. `unsent`: nothing of it was written.
pub struct SendError {
    pub error: hyper::Error,
    pub unsent: Option<Request<RequestBody>>,
}

impl Pools {
    /// A connection to this endpoint that can be used at once, if there is one.
    pub fn ready(&self, cluster: &Cluster, endpoint: &Endpoint, http2: bool) -> Option<Lease> {
        let pools = self.endpoints.borrow();
        let pool = pools.get(&endpoint.id)?;
        if http2 { pool.ready_http2(cluster) } else { pool.ready_http1(cluster) }
    }

    /// A connection to this endpoint: one that is free, else a new one.
    pub async fn lease(&self, cluster: &Arc<Cluster>, endpoint: &Endpoint, http2: bool) -> Result<Lease, Failure> {
        let pool = self.endpoints.borrow_mut().entry(endpoint.id).or_default().clone();
        if http2 { pool.lease_http2(cluster, endpoint).await } else { pool.lease_http1(cluster, endpoint).await }
    }

    /// Closes what has been idle for too long, and forgets endpoints that nobody knows any more.
    pub fn sweep(&self, known: &HashMap<usize, std::time::Duration>, now: Instant) {
        self.endpoints.borrow_mut().retain(|id, pool| {
            let Some(limit) = known.get(id).copied() else { return false };
            let fresh = |since: Instant| limit.is_zero() || now.duration_since(since) < limit;
            pool.idle.borrow_mut().retain(|idle| fresh(idle.since) && !idle.sender.is_closed());
            pool.shared
                .borrow_mut()
                .retain(|shared| !shared.sender.is_closed() && (shared.streams.get() > 0 || fresh(shared.since.get())));
            true
        });
    }
}

impl Pool {
    /// Of the connections that can take a request now the one that served last. One whose previous exchange is not
    /// quite over (a client may still be uploading) is left where it is.
    fn ready_http1(self: &Rc<Self>, cluster: &Cluster) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let at = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        let found = idle.remove(at);
        drop(idle);
        Some(self.reuse(found, cluster))
    }

    fn reuse(self: &Rc<Self>, idle: Idle, cluster: &Cluster) -> Lease {
        Lease {
            connection: Connection::Http1(idle.sender),
            local: idle.local,
            pool: self.clone(),
            reused: true,
            served: idle.served + 1,
            max_requests: cluster.limits.max_requests_per_connection,
        }
    }

    async fn lease_http1(self: Rc<Self>, cluster: &Arc<Cluster>, endpoint: &Endpoint) -> Result<Lease, Failure> {
        let max_requests = cluster.limits.max_requests_per_connection;
        self.idle.borrow_mut().retain(|idle| !idle.sender.is_closed());
        let permit = match connection_permit(cluster) {
            Ok(permit) => permit,
            Err(full) => {
                // No more connections may be opened: one that is about to become free is waited for.
                let _pending = pending_permit(cluster)?;
                let mut idle = self.idle.borrow_mut().pop().ok_or(full)?;
                idle.sender.ready().await.map_err(|_| full)?;
                return Ok(self.reuse(idle, cluster));
            }
        };
        let _pending = pending_permit(cluster)?;
        let connect::Connected { sender, local } = connect::http1(endpoint, &cluster.limits, permit).await?;
        Ok(Lease { connection: Connection::Http1(sender), local, pool: self, reused: false, served: 1, max_requests })
    }

    fn ready_http2(self: &Rc<Self>, cluster: &Cluster) -> Option<Lease> {
        let max_requests = cluster.limits.max_requests_per_connection;
        let usable = |shared: &&Rc<Shared>| {
            !shared.sender.is_closed()
                && shared.streams.get() < cluster.limits.max_streams
                && (max_requests == 0 || shared.served.get() < max_requests)
        };
        let shared = self.shared.borrow().iter().find(usable).cloned()?;
        Some(self.join(shared, true, max_requests))
    }

    fn join(self: &Rc<Self>, shared: Rc<Shared>, reused: bool, max_requests: u32) -> Lease {
        shared.streams.set(shared.streams.get() + 1);
        shared.served.set(shared.served.get() + 1);
        let served = shared.served.get();
        let local = shared.local.clone();
        let connection = Connection::Http2(StreamCount(shared));
        Lease { connection, local, pool: self.clone(), reused, served, max_requests }
    }

    async fn lease_http2(self: Rc<Self>, cluster: &Arc<Cluster>, endpoint: &Endpoint) -> Result<Lease, Failure> {
        let _pending = pending_permit(cluster)?;
        loop {
            if let Some(lease) = self.ready_http2(cluster) {
                return Ok(lease);
            }
            if self.opening.get() {
                self.opened.notified().await;
                continue;
            }
            let permit = connection_permit(cluster)?;
            let opening = Opening::begin(&self);
            let connect::Connected { sender, local } = connect::http2(endpoint, &cluster.limits, permit).await?;
            let shared = Rc::new(Shared {
                sender,
                local,
                streams: Cell::new(0),
                served: Cell::new(0),
                since: Cell::new(Instant::now()),
            });
            self.shared.borrow_mut().push(shared.clone());
            drop(opening);
            return Ok(self.join(shared, false, cluster.limits.max_requests_per_connection));
        }
    }
}

/// Marks that a connection is being opened; those who wait are woken however it ends.
struct Opening<'a>(&'a Pool);

impl<'a> Opening<'a> {
    fn begin(pool: &'a Pool) -> Self {
        pool.opening.set(true);
        Self(pool)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.opened.notify_waiters();
    }
}

fn connection_permit(cluster: &Arc<Cluster>) -> Result<Permit, Failure> {
    Permit::take(cluster, |load| &load.connections, cluster.limits.max_connections).ok_or(Failure::Overflow)
}

fn pending_permit(cluster: &Arc<Cluster>) -> Result<Permit, Failure> {
    Permit::take(cluster, |load| &load.pending, cluster.limits.max_pending).ok_or(Failure::Overflow)
}

impl Lease {
    /// Whether the connection had served before: it may have been closed meanwhile.
    pub fn was_reused(&self) -> bool {
        self.reused
    }

    /// Our end of the connection, as `IP:port`.
    pub fn local(&self) -> Option<&Arc<str>> {
        self.local.as_ref()
    }

    /// Sends the request and waits for the head of the response.
    pub fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + use<> {
        // Both are sent here and now; only the answer is waited for.
        let sending = match &mut self.connection {
            Connection::Http1(sender) => Sending::Http1(sender.try_send_request(request)),
            Connection::Http2(stream) => Sending::Http2(stream.0.sender.clone().try_send_request(request)),
        };
        async move {
            let sent = match sending {
                Sending::Http1(sent) => sent.await,
                Sending::Http2(sent) => sent.await,
            };
            sent.map_err(|mut error| {
                let unsent = error.take_message();
                SendError { error: error.into_error(), unsent }
            })
        }
    }

    /// The response is complete.
    pub fn give_back(self) {
        let worn = self.max_requests != 0 && self.served >= self.max_requests;
        match self.connection {
            Connection::Http1(sender) if !worn && !sender.is_closed() => {
                let idle = Idle { sender, local: self.local, since: Instant::now(), served: self.served };
                self.pool.idle.borrow_mut().push(idle);
            }
            Connection::Http1(_) | Connection::Http2(_) => {}
        }
    }
}
