//! Modules from `http://` and `https://` URLs: one GET, bounded in time, bytes and redirects. TLS trusts the system's
//! certificates (or those that `SSL_CERT_FILE` names).

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Scheme, Uri};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// From the name to the last byte of one answer. A slow registry sends a module of some MiB in a few seconds.
const TIME: Duration = Duration::from_secs(15);
/// Redirects followed; release pages need two.
const REDIRECTS: usize = 5;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    New {
        bytes: Bytes,
        etag: Option<String>,
    },
    /// It is what the given entity tag says.
    Unchanged,
}

/// Gets what a URL leads to, within 15 s.
///
/// # Errors
/// The reason for people.
pub async fn get(url: &str, etag: Option<&str>, max_bytes: usize) -> Result<Fetched, String> {
    let answer = tokio::time::timeout(TIME, follow(url, etag, max_bytes)).await;
    let answer = answer.unwrap_or_else(|_| Err(format!("no whole answer within {TIME:?}")));
    answer.map_err(|error| format!("{url}: {error}"))
}

async fn follow(url: &str, etag: Option<&str>, max_bytes: usize) -> Result<Fetched, String> {
    let mut uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
    let secure = uri.scheme() == Some(&Scheme::HTTPS);
    for _ in 0..=REDIRECTS {
        let (status, headers, body) = one(&uri, etag, max_bytes).await?;
        match status {
            StatusCode::OK => {
                let etag = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
                return Ok(Fetched::New { bytes: body, etag });
            }
            StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Fetched::Unchanged),
            status if status.is_redirection() => {
                let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
                uri = redirected(&uri, location.unwrap_or_default())?;
                if secure && uri.scheme() != Some(&Scheme::HTTPS) {
                    return Err("a redirect leads away from https".to_owned());
                }
            }
            status => return Err(format!("answered with {status}")),
        }
    }
    Err(format!("more than {REDIRECTS} redirects"))
}

fn redirected(from: &Uri, location: &str) -> Result<Uri, String> {
    let bad = || format!("redirects to \"{location}\", which is no URL");
    if location.starts_with('/') && !location.starts_with("//") {
        let mut parts = from.clone().into_parts();
        parts.path_and_query = Some(location.parse().map_err(|_| bad())?);
        return Uri::from_parts(parts).map_err(|_| bad());
    }
    location.parse::<Uri>().ok().filter(|uri| uri.host().is_some()).ok_or_else(bad)
}

async fn one(uri: &Uri, etag: Option<&str>, max_bytes: usize) -> Result<(StatusCode, HeaderMap, Bytes), String> {
    let secure = uri.scheme() == Some(&Scheme::HTTPS);
    let host = uri.host().ok_or("names no host")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let tcp = TcpStream::connect((bare, port)).await.map_err(|error| format!("cannot connect: {error}"))?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse().map_err(|_| "not a URL")?;
    let authority = uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| "not a URL".to_owned());
    request.headers_mut().insert(header::HOST, value(authority.unwrap_or(host))?);
    request
        .headers_mut()
        .insert(header::USER_AGENT, HeaderValue::from_static(concat!("sidegate/", env!("CARGO_PKG_VERSION"))));
    if let Some(etag) = etag {
        request.headers_mut().insert(header::IF_NONE_MATCH, value(etag)?);
    }
    if !secure {
        return exchange(tcp, request, max_bytes).await;
    }
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| format!("{bare} is no name of a server"))?;
    let tls = TlsConnector::from(tls_client()?).connect(name, tcp).await.map_err(|error| format!("TLS: {error}"))?;
    exchange(tls, request, max_bytes).await
}

async fn exchange(
    io: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Empty<Bytes>>,
    max_bytes: usize,
) -> Result<(StatusCode, HeaderMap, Bytes), String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(io)).await.map_err(|error| format!("cannot speak HTTP: {error}"))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| format!("no answer: {error}"))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, max_bytes).collect().await.map_err(|error| format!("its body: {error}"))?;
        Ok((head.status, head.headers, body.to_bytes()))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answered = &mut answer => answered,
        _ = connection => answer.await,
    }
}

fn tls_client() -> Result<Arc<ClientConfig>, String> {
    static CLIENT: LazyLock<Result<Arc<ClientConfig>, String>> = LazyLock::new(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(found.certs);
        if good == 0 {
            return Err("this system has no trusted certificates; SSL_CERT_FILE names them".to_owned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let versions = versions.map_err(|error| error.to_string())?;
        Ok(Arc::new(versions.with_root_certificates(roots).with_no_client_auth()))
    });
    CLIENT.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_somewhere() {
        let from: Uri = "https://a.example:8443/x/y?z".parse().unwrap();
        assert_eq!(redirected(&from, "/w").unwrap(), "https://a.example:8443/w");
        assert_eq!(redirected(&from, "http://b.example/w").unwrap(), "http://b.example/w");
        assert!(redirected(&from, "").is_err() && redirected(&from, "//b").is_err());
    }
}
