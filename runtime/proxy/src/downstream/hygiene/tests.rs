use http::Request;
use http::header::HeaderName;

use super::*;

const RULES: Rules =
    Rules { normalization: PathNormalization::MergeSlashes, trusted_proxies: 0, max_headers: 65536, websocket: true };

fn run(request: http::request::Builder) -> Result<Admitted, &'static str> {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    admit(parts, RULES).map_err(|refusal| refusal.details)
}

fn get(fields: &[(&str, &str)]) -> Result<Admitted, &'static str> {
    let mut request = Request::get("/x").header("host", "a.test");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    run(request)
}

#[test]
fn one_host() {
    assert_eq!(run(Request::get("/")).unwrap_err(), "missing_host");
    assert_eq!(get(&[("host", "b.test")]).unwrap_err(), "multiple_hosts");
    assert_eq!(run(Request::get("http://a.test/x").header("host", "b.test")).unwrap_err(), "host_differs_from_target");
    assert_eq!(run(Request::get("ftp://a.test/x").header("host", "a.test")).unwrap_err(), "bad_scheme");
    assert_eq!(run(Request::get("*").header("host", "a.test")).unwrap_err(), "bad_request_target");
    let good = run(Request::get("http://a.test/x?y").header("host", "a.test")).unwrap();
    assert_eq!(good.head.path.unwrap(), "/x?y");
    assert_eq!(good.head.authority.unwrap(), "a.test");
    assert!(!good.head.headers.contains_key("host"));
    let bare = run(Request::get("http://a.test?y").header("host", "a.test")).unwrap();
    assert_eq!(bare.head.path.unwrap(), "/?y", "rules see a path in any case");
}

#[test]
fn one_authority_over_http2() {
    let h2 = |uri: &str| Request::get(uri).version(Version::HTTP_2);
    assert_eq!(run(h2("http://a.test/").header("host", "b.test")).unwrap_err(), "authority_differs_from_host");
    assert_eq!(run(h2("/")).unwrap_err(), "missing_authority");
    assert_eq!(run(h2("http://u@a.test/")).unwrap_err(), "bad_authority");
    assert_eq!(run(h2("/").header("host", "a.test")).unwrap().head.authority.unwrap(), "a.test");
}

#[test]
fn framing() {
    assert_eq!(get(&[("transfer-encoding", "chunked, chunked")]).unwrap_err(), "bad_transfer_encoding");
    assert_eq!(get(&[("transfer-encoding", "gzip, chunked")]).unwrap_err(), "bad_transfer_encoding");
    let twice = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
    assert_eq!(get(&twice).unwrap_err(), "bad_transfer_encoding");
    assert_eq!(get(&[("content-length", "+5")]).unwrap_err(), "bad_content_length");
    assert_eq!(get(&[("content-length", "5"), ("content-length", "5")]).unwrap_err(), "bad_content_length");
    let old = Request::post("/").version(Version::HTTP_10).header("host", "a").header("transfer-encoding", "chunked");
    assert_eq!(run(old).unwrap_err(), "bad_transfer_encoding");
    assert!(!get(&[("transfer-encoding", "Chunked")]).unwrap().head.headers.contains_key("transfer-encoding"));
}

#[test]
fn hop_by_hop_fields_end_here() {
    let head = get(&[
        ("connection", "close, X-Secret"),
        ("x-secret", "1"),
        ("keep-alive", "5"),
        ("proxy-connection", "x"),
        ("te", "trailers, deflate"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
        ("x-kept", "1"),
    ])
    .unwrap();
    let names: Vec<_> = head.head.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-kept"]);
    assert!(head.trailers && !head.upgrade);
    // the length of the body is not the client's to hide
    let head = get(&[("connection", "content-length"), ("content-length", "3")]).unwrap();
    assert!(head.head.headers.contains_key("content-length"));
}

#[test]
fn upgrades() {
    let websocket = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
    assert!(get(&websocket).unwrap().upgrade);
    assert!(!get(&websocket[..1]).unwrap().upgrade);
    assert!(!get(&websocket[1..]).unwrap().upgrade);
    assert!(!get(&[("connection", "upgrade"), ("upgrade", "websocket, h2c")]).unwrap().upgrade);
}

#[test]
fn claims_of_clients_are_not_believed() {
    let fields = [("x-forwarded-for", "1.2.3.4"), ("x-envoy-peer-metadata", "x"), ("x-forwarded-client-cert", "y")];
    assert_eq!(get(&fields).unwrap().head.headers.len(), 0);
    assert_eq!(get(&[("x-envoy-fault-abort-request", "503")]).unwrap().head.headers.len(), 1, "no claim but a wish");
    let (parts, ()) =
        Request::get("/").header("host", "a").header("x-forwarded-for", "1").body(()).unwrap().into_parts();
    let trusting = Rules { trusted_proxies: 1, ..RULES };
    assert!(admit(parts, trusting).unwrap().head.headers.contains_key("x-forwarded-for"));
}

#[test]
fn limits_and_methods() {
    assert_eq!(run(Request::connect("a.test:1").header("host", "a.test:1")).unwrap_err(), "method_not_allowed");
    assert_eq!(run(Request::trace("/").header("host", "a")).unwrap_err(), "method_not_allowed");
    let method = "M".repeat(33);
    assert_eq!(
        run(Request::builder().method(method.as_str()).uri("/").header("host", "a")).unwrap_err(),
        "method_too_long"
    );
    let many: Vec<_> = (0..101).map(|n| (format!("x-{n}"), "v".to_owned())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(get(&many).unwrap_err(), "too_many_headers");
    assert_eq!(get(&[("x", &"v".repeat(65536))]).unwrap_err(), "headers_too_large");
    assert_eq!(
        run(Request::get(format!("/{}", "a".repeat(65500))).header("host", "a").header("y", "v".repeat(64)))
            .unwrap_err(),
        "headers_too_large"
    );
    assert_eq!(get(&[("expect", "200-ok")]).unwrap_err(), "unknown_expectation");
    assert!(get(&[("expect", "100-Continue")]).is_ok());
}

#[test]
fn two_tokens_are_one_field() {
    let head = get(&[("authorization", "Bearer good"), ("x-a", "1"), ("authorization", "Bearer bad"), ("x-a", "2")]);
    let headers = head.unwrap().head.headers;
    assert_eq!(headers.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer good,Bearer bad"]);
    assert_eq!(headers.get_all("x-a").iter().count(), 2);
}

#[test]
fn cookie_crumbs_are_joined() {
    let request =
        Request::get("http://a.test/").version(Version::HTTP_2).header("cookie", "a=1").header("cookie", "b=2");
    assert_eq!(run(request).unwrap().head.headers.get("cookie").unwrap(), "a=1; b=2");
}
