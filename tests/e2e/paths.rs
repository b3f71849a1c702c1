//! A rule on a path holds for every spelling of it, and the upstream sees the spelling that the rule saw.

use sidegate_tests::h2::Http2Client;
use sidegate_tests::{Origin, Request, Sidegate};

use crate::setup::{fine, routed};

/// Spellings that some server somewhere takes for `/admin`.
pub(crate) const SPELLINGS: [&str; 24] = [
    "/admin",
    "//admin",
    "///admin",
    "/./admin",
    "/x/../admin",
    "/x/y/../../admin",
    "/x/%2e%2e/admin",
    "/x/%2E%2e/admin",
    "/x/.%2e/admin",
    "/%61dmin",
    "/%61%64%6d%69%6e",
    "/%2e/admin",
    "/..//admin",
    "/../admin",
    "/x%2f..%2fadmin",
    "/%2fadmin",
    "/x%5c..%5cadmin",
    "/%5cadmin",
    "\\admin",
    "/\\admin",
    "/x\\..\\admin",
    "/admin%00",
    "/admin/",
    "/admin?x=/public",
];

#[test]
fn no_spelling_passes_a_rule_on_admin() {
    for normalization in ["BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] {
        let origin = fine();
        let sidegate = denying_admin(&origin, normalization);
        for spelling in SPELLINGS {
            // BASE leaves repeated slashes alone; then the upstream sees them too.
            if normalization == "BASE" && (spelling.contains("//") || spelling.contains("/\\")) {
                continue;
            }
            let mut client = sidegate.connect();
            client.write(format!("GET {spelling} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes()).unwrap();
            let status = client.read_response().map(|answer| answer.status);
            assert!(matches!(status, Ok(400 | 403)), "{normalization} {spelling}: {status:?}");
        }
        assert_eq!(origin.request_count(), 0);
    }
}

#[test]
fn no_spelling_passes_over_http2() {
    let origin = fine();
    let sidegate = denying_admin(&origin, "MERGE_SLASHES");
    let mut client = Http2Client::connect(sidegate.address("inbound")).unwrap();
    for spelling in SPELLINGS.iter().filter(|spelling| spelling.starts_with('/') && !spelling.contains('\\')) {
        let status = client.send(&Request::get(spelling)).map(|answer| answer.status);
        assert!(matches!(status, Ok(400 | 403)), "{spelling}: {status:?}");
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn the_upstream_sees_the_path_that_the_rules_saw() {
    let origin = fine();
    let sidegate = denying_admin(&origin, "MERGE_SLASHES");
    for (sent, seen) in [
        ("/a/../b//c/./d?q=/../x//y%2f", "/b/c/d?q=/../x//y%2f"),
        ("/%7euser/%41", "/~user/A"),
        ("/a%20b%c3%a9", "/a%20b%C3%A9"),
        ("/a/b/", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/", "/"),
    ] {
        assert_eq!(sidegate.get(sent).status, 200, "{sent}");
        assert_eq!(origin.requests().pop().unwrap().target, seen, "{sent}");
    }
}

#[test]
fn bad_escapes_are_refused() {
    let origin = fine();
    let sidegate = denying_admin(&origin, "MERGE_SLASHES");
    for path in ["/%", "/%a", "/%zz", "/a%2", "/%0", "/a%00b", "/a%2Fb", "/a%5Cb"] {
        assert_eq!(sidegate.get(path).status, 400, "{path}");
    }
    assert_eq!(origin.request_count(), 0);
}

#[test]
fn without_normalization_rules_and_upstream_see_the_path_as_it_came() {
    let origin = fine();
    let sidegate = denying_admin(&origin, "NONE");
    for path in ["/x/../public", "//public", "/a%2fb", "/%61"] {
        assert_eq!(sidegate.get(path).status, 200, "{path}");
        assert_eq!(origin.requests().pop().unwrap().target, path);
    }
    assert_eq!(sidegate.get("/admin").status, 403);
}

fn denying_admin(origin: &Origin, normalization: &str) -> Sidegate {
    let routes =
        "{match: [{uri: {prefix: /admin}}], directResponse: {status: 403}}, {route: [{destination: {host: app}}]}";
    Sidegate::start(&routed(&format!(", pathNormalization: {normalization}"), origin, routes))
}
