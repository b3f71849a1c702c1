//! Modules from `https://` URLs: which registries are believed, and why others are not.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sidegate_tests::sidegate::Start;
use sidegate_tests::{Sidegate, eventually};

use crate::operator::{TOKEN, config, plugin, serves, stamp};
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(30);

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A registry that has one module everywhere but at `/moved.wasm`, which leads to `http://`. Its certificate is for this
/// name.
fn registry(name: &str, authority: &Authority, module: Vec<u8>) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap().der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = Arc::new(tls.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), stream));
            // A client that does not believe us breaks off.
            let _ = answer(&mut stream, &module);
        }
    });
    address
}

fn answer<S: Read + Write>(stream: &mut BufReader<S>, module: &[u8]) -> io::Result<()> {
    let mut lines = stream.by_ref().lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let stream = stream.get_mut();
    if first.contains("/moved.wasm") {
        let head = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/x.wasm\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(head.as_bytes())?;
    } else {
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", module.len())?;
        stream.write_all(module)?;
    }
    stream.flush()
}

/// A proxy that trusts this authority and no other, with `stamp` from this URL; the folder must outlive it.
fn proxy(url: &str, trusted: &Authority, upstream: impl Display) -> (Start, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    let roots = place.path().join("roots.pem");
    std::fs::write(&roots, trusted.pem()).unwrap();
    let start = Sidegate::configured(&config(url, upstream, "")).with_file("token", TOKEN);
    (start.with_environment("SSL_CERT_FILE", roots.to_str().unwrap()), place)
}

#[test]
fn a_registry_with_a_certificate_of_its_name_is_believed() {
    let (origin, authority) = (fine(), authority("ours"));
    for name in ["localhost", "127.0.0.1"] {
        let address = registry(name, &authority, stamp(name));
        let (start, _roots) = proxy(&format!("https://{name}:{}/stamp.wasm", address.port()), &authority, &origin);
        assert_eq!(serves(&start.start()), name);
    }
}

#[test]
fn a_registry_that_is_not_believed_says_why() {
    let (ours, strangers) = (authority("ours"), authority("strangers"));
    let other_name = registry("registry.example", &ours, stamp("b"));
    let stranger = registry("localhost", &strangers, stamp("b"));
    let good = registry("localhost", &ours, stamp("b"));
    for (address, path, words) in [
        (other_name, "stamp.wasm", "registry.example"),
        (stranger, "stamp.wasm", "UnknownIssuer"),
        (good, "moved.wasm", "a redirect leads away from https"),
    ] {
        let url = format!("https://localhost:{}/{path}", address.port());
        let (start, _roots) = proxy(&url, &ours, "127.0.0.1:1");
        let sidegate = start.without_ready().start();
        let told = || plugin(&sidegate)["lastError"].as_str().filter(|error| error.contains(words)).map(str::to_owned);
        let error =
            eventually(PATIENCE, told).unwrap_or_else(|| panic!("never {words}: {}", plugin(&sidegate)["lastError"]));
        assert!(error.contains("localhost") && !error.contains('\n'), "{error}");
        assert_eq!(sidegate.get("/").status, 503);
    }
}
