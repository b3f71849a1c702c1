//! A gRPC service whose unary calls are answered by a closure, and messages written by hand.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

/// What a call brings.
pub(crate) enum Reply {
    /// This message.
    Message(Vec<u8>),
    /// No message, and this status.
    Status(u16),
    /// Nothing, ever.
    Silence,
}

/// A running service.
pub(crate) struct GrpcService {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// A call that came.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) path: String,
    /// Without gRPC's framing.
    pub(crate) message: Vec<u8>,
}

type Answer = dyn Fn(&Call) -> Reply + Send + Sync;

impl GrpcService {
    pub(crate) fn answering(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (answer, noted): (Arc<Answer>, _) = (Arc::new(answer), Arc::clone(&calls));
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(connection(stream, Arc::clone(&answer), Arc::clone(&noted)));
                }
            });
        });
        Self { address, calls }
    }

    /// The calls that came, oldest first.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }
}

impl std::fmt::Display for GrpcService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

impl Call {
    /// Whether the message contains a field of this number with this text.
    pub(crate) fn tells(&self, number: u8, text: &str) -> bool {
        let wanted = message(&[(number, text.as_bytes())]);
        self.message.windows(wanted.len()).any(|window| window == wanted)
    }
}

/// A Protocol Buffers message of texts and messages, each shorter than 128 bytes, with fields below 16.
pub(crate) fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, field) in fields {
        bytes.extend([number << 3 | 2, u8::try_from(field.len()).unwrap()]);
        bytes.extend_from_slice(field);
    }
    bytes
}

/// One of its numbers, below 128.
pub(crate) fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

async fn connection(stream: TcpStream, answer: Arc<Answer>, calls: Arc<Mutex<Vec<Call>>>) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(exchange) = connection.accept().await {
        let (request, respond) = exchange?;
        let (answer, calls) = (Arc::clone(&answer), Arc::clone(&calls));
        tokio::spawn(async move {
            // An error is a client that has gone.
            let _ = serve(request, respond, &answer, &calls).await;
        });
    }
    Ok(())
}

async fn serve(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: &Arc<Answer>,
    calls: &Mutex<Vec<Call>>,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let mut framed = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        framed.extend_from_slice(&data);
    }
    let call = Call { path: head.uri.path().to_owned(), message: framed.split_off(5) };
    calls.lock().unwrap().push(call.clone());
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    match answer(&call) {
        Reply::Silence => std::future::poll_fn(|cx| respond.poll_reset(cx)).await.map(|_| ()),
        Reply::Status(status) => {
            response.headers_mut().insert("grpc-status", HeaderValue::from(status));
            respond.send_response(response, true).map(|_| ())
        }
        Reply::Message(message) => {
            let mut out = respond.send_response(response, false)?;
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            out.send_data([&[0][..], &length, &message].concat().into(), false)?;
            let status = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
            out.send_trailers(HeaderMap::from_iter([status]))
        }
    }
}
