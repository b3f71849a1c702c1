//! One test for each sentence that Istio's reference says about a match.

#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use std::borrow::Cow;

use proptest::prelude::*;
use sidegate_matching::{HttpMatchRequest, RequestView};

#[derive(Default)]
struct Request {
    path: &'static str,
    authority: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    claims: Option<&'static str>,
    port: Option<u16>,
}

impl RequestView for Request {
    fn path(&self) -> &str {
        self.path
    }
    fn method(&self) -> &str {
        "GET"
    }
    fn scheme(&self) -> &str {
        "https"
    }
    fn authority(&self) -> &str {
        self.authority
    }
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let values: Vec<&str> = self.headers.iter().filter(|(key, _)| *key == name).map(|(_, value)| *value).collect();
        (!values.is_empty()).then(|| values.join(",").into())
    }
    fn claims(&self) -> Option<Cow<'_, str>> {
        self.claims.map(Cow::Borrowed)
    }
    fn local_port(&self) -> Option<u16> {
        self.port
    }
}

fn matches(written: serde_json::Value, request: &Request) -> bool {
    let written: HttpMatchRequest = serde_json::from_value(written).unwrap();
    written.compile().unwrap().matches(request)
}

macro_rules! json { ($($t:tt)*) => { serde_json::json!($($t)*) } }

fn path(path: &'static str) -> Request {
    Request { path, ..Request::default() }
}

fn headers(headers: &[(&'static str, &'static str)]) -> Request {
    Request { path: "/", headers: headers.to_vec(), ..Request::default() }
}

#[test]
fn the_uri_is_the_path_without_query_and_case_counts() {
    assert!(matches(json!({"uri": {"exact": "/a"}}), &path("/a?x=1")));
    assert!(!matches(json!({"uri": {"exact": "/a"}}), &path("/A")));
    assert!(matches(json!({"uri": {"prefix": "/foo"}}), &path("/foobar")));
    assert!(!matches(json!({"uri": {"regex": "/v[0-9]"}}), &path("/v1/x")));
    assert!(matches(json!({"uri": {"regex": "/v[0-9]/.*"}}), &path("/v1/x?y")));
    assert!(matches(json!({"uri": {"prefix": ""}}), &path("/any")));
}

#[test]
fn case_is_ignored_for_exact_and_prefix_only() {
    assert!(matches(json!({"uri": {"exact": "/a"}, "ignoreUriCase": true}), &path("/A")));
    assert!(matches(json!({"uri": {"prefix": "/Ab"}, "ignoreUriCase": true}), &path("/aBc")));
    assert!(!matches(json!({"uri": {"prefix": "/Ab"}, "ignoreUriCase": true}), &path("/a")));
    assert!(!matches(json!({"uri": {"regex": "/a"}, "ignoreUriCase": true}), &path("/A")));
}

#[test]
fn scheme_method_authority_and_port_are_conditions_too() {
    let request = Request { path: "/", authority: "a.b:8080", port: Some(8080), ..Request::default() };
    assert!(matches(json!({"scheme": {"exact": "https"}, "method": {"regex": "GET|HEAD"}}), &request));
    assert!(!matches(json!({"method": {"exact": "get"}}), &request));
    assert!(matches(json!({"authority": {"prefix": "a."}}), &request));
    assert!(!matches(json!({"authority": {"exact": "a.b"}}), &request));
    assert!(matches(json!({"port": 8080}), &request));
    assert!(!matches(json!({"port": 80}), &request));
    assert!(!matches(json!({"port": 80}), &path("/")));
}

#[test]
fn an_empty_entry_matches_everything() {
    assert!(matches(json!({}), &path("/x")));
    assert!(matches(json!({"name": "n", "gateways": ["mesh"], "sourceLabels": {"a": "b"}}), &path("/x")));
}

#[test]
fn a_header_may_be_asked_for_presence_in_three_spellings() {
    for spelling in [json!({}), json!(null), json!({"regex": "*"})] {
        assert!(matches(json!({"headers": {"x-a": spelling}}), &headers(&[("x-a", "")])));
        assert!(!matches(json!({"headers": {"x-a": spelling}}), &headers(&[])));
    }
}

#[test]
fn a_repeated_header_is_one_value_joined_by_comma() {
    let request = headers(&[("x-a", "1"), ("x-a", "2")]);
    assert!(matches(json!({"headers": {"x-a": {"exact": "1,2"}}}), &request));
    assert!(!matches(json!({"headers": {"x-a": {"exact": "2"}}}), &request));
    assert!(matches(json!({"headers": {"X-A": {"regex": ".*2"}}}), &request));
}

#[test]
fn header_names_that_mean_the_entry_itself_are_ignored() {
    assert!(matches(json!({"headers": {"uri": {"exact": "/y"}, "method": {"exact": "POST"}}}), &path("/x")));
}

#[test]
fn without_headers_takes_a_missing_header_as_empty() {
    assert!(matches(json!({"withoutHeaders": {"x-a": {"exact": "1"}}}), &headers(&[])));
    assert!(!matches(json!({"withoutHeaders": {"x-a": {"exact": "1"}}}), &headers(&[("x-a", "1")])));
    assert!(!matches(json!({"withoutHeaders": {"x-a": {"regex": ".*"}}}), &headers(&[])));
    assert!(!matches(json!({"withoutHeaders": {"x-a": {}}}), &headers(&[("x-a", "")])));
    assert!(matches(json!({"withoutHeaders": {"x-a": {}}}), &headers(&[])));
}

#[test]
fn query_parameters_compare_undecoded_first_values() {
    let request = path("/p?debug&v=1%202&v=3");
    assert!(matches(json!({"queryParams": {"debug": {"exact": ""}}}), &request));
    assert!(matches(json!({"queryParams": {"v": {"prefix": "1%20"}}}), &request));
    assert!(matches(json!({"queryParams": {"v": {}}}), &request));
    assert!(!matches(json!({"queryParams": {"v": {"exact": "3"}}}), &request));
    assert!(!matches(json!({"queryParams": {"w": {}}}), &request));
}

#[test]
fn jwt_claims_are_strings_or_list_members() {
    let request = Request { claims: Some(r#"{"group": ["dev", "ops"], "a": {"b": "c"}, "n": 1}"#), ..path("/") };
    assert!(matches(json!({"headers": {"@request.auth.claims.group": {"exact": "ops"}}}), &request));
    assert!(matches(json!({"headers": {"@request.auth.claims[a][b]": {"prefix": "c"}}}), &request));
    assert!(!matches(json!({"headers": {"@request.auth.claims.n": {"exact": "1"}}}), &request));
    assert!(!matches(json!({"headers": {"@request.auth.claims.group": {}}}), &path("/")));
    assert!(matches(json!({"withoutHeaders": {"@request.auth.claims.group": {"exact": "qa"}}}), &request));
}

#[test]
fn problems_name_the_place() {
    for (written, pointer, word) in [
        (json!({"uri": {"regex": ""}}), "/uri/regex", "empty"),
        (json!({"uri": {"regex": "["}}), "/uri/regex", "unclosed"),
        (json!({"method": {"prefix": ""}}), "/method/prefix", "empty prefix"),
        (json!({"headers": {"x/y": {"regex": "("}}}), "/headers/x~1y/regex", "unclosed"),
        (json!({"headers": {"@request.foo": {}}}), "/headers/@request.foo", "claims"),
        (json!({"queryParams": {"q": {"prefix": ""}}}), "/queryParams/q/prefix", "empty prefix"),
    ] {
        let written: HttpMatchRequest = serde_json::from_value(written).unwrap();
        let problem = written.compile().unwrap_err();
        assert_eq!(problem.pointer, pointer);
        assert!(problem.text.contains(word), "{problem}");
    }
}

#[test]
fn unknown_keys_and_two_conditions_in_one_are_refused() {
    for (written, word) in [
        (json!({"url": {}}), "unknown field `url`"),
        (json!({"uri": {}}), "one of exact"),
        (json!({"uri": {"exact": "a", "prefix": "b"}}), "only one of"),
        (json!({"headers": {"a": {"suffix": "b"}}}), "unknown field `suffix`"),
    ] {
        let problem = serde_json::from_value::<HttpMatchRequest>(written).unwrap_err().to_string();
        assert!(problem.contains(word), "{problem}");
    }
}

proptest! {
    /// A literal, quoted, matches exactly the path it was made of, by whichever of the three ways it is said.
    #[test]
    fn exact_prefix_and_quoted_regex_agree(text in "/[a-zA-Z0-9/._~-]{0,40}", other in "/[a-zA-Z0-9/._~-]{0,40}") {
        let quoted: String = text.chars().flat_map(|c| [if c.is_ascii_alphanumeric() || c == '/' { None } else { Some('\\') }, Some(c)]).flatten().collect();
        let said = |written| serde_json::from_value::<HttpMatchRequest>(json!({"uri": written})).unwrap().compile().unwrap();
        let (exact, prefix, regex) = (said(json!({"exact": text})), said(json!({"prefix": text})), said(json!({"regex": quoted})));
        for path in [text.clone(), other.clone(), format!("{text}{other}")] {
            let request = Request { path: path.clone().leak(), ..Request::default() };
            prop_assert_eq!(exact.matches(&request), path == text);
            prop_assert_eq!(regex.matches(&request), path == text);
            prop_assert_eq!(prefix.matches(&request), path.starts_with(&text));
        }
    }
}
