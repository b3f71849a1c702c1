//! One spelling for every path: what rules match, filters see and the upstream gets.

use http::StatusCode;
use http::uri::PathAndQuery;

use super::{Refusal, refuse};
use crate::snapshot::PathNormalization;

/// Normalises the path; the query stays as it came. Idempotent, and never leads above the root.
pub(super) fn normalize(target: PathAndQuery, rule: PathNormalization) -> Result<PathAndQuery, Refusal> {
    if rule == PathNormalization::None || is_clean(target.path(), rule) {
        return Ok(target);
    }
    let mut path = decode(target.path().as_bytes(), rule)?;
    path = remove_dot_segments(&path);
    if rule != PathNormalization::Base {
        path.dedup_by(|b, a| *a == b'/' && *b == b'/');
    }
    if let Some(query) = target.query() {
        path.push(b'?');
        path.extend_from_slice(query.as_bytes());
    }
    PathAndQuery::try_from(path).or(refuse(StatusCode::BAD_REQUEST, "bad_path"))
}

/// Whether there is nothing to do: the common case, without an allocation.
fn is_clean(path: &str, rule: PathNormalization) -> bool {
    let bytes = path.as_bytes();
    let mut previous = 0;
    for byte in bytes {
        match byte {
            b'%' | b'\\' => return false,
            b'/' if previous == b'/' && rule != PathNormalization::Base => return false,
            b'.' if previous == b'/' => return false,
            _ => {}
        }
        previous = *byte;
    }
    path.starts_with('/')
}

/// Decodes the escapes of characters that need none, upper-cases the others. `/`, `\` and NUL must not hide behind an
/// escape: refused, unless slashes are to be decoded.
fn decode(path: &[u8], rule: PathNormalization) -> Result<Vec<u8>, Refusal> {
    let decode_slashes = rule == PathNormalization::DecodeAndMergeSlashes;
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'\\' => out.push(b'/'),
            b'%' => {
                let Some(([high, low], tail)) = tail.split_first_chunk::<2>() else {
                    return refuse(StatusCode::BAD_REQUEST, "bad_escape_in_path");
                };
                rest = tail;
                let (Some(h), Some(l)) = (hex(*high), hex(*low)) else {
                    return refuse(StatusCode::BAD_REQUEST, "bad_escape_in_path");
                };
                match h * 16 + l {
                    0 => return refuse(StatusCode::BAD_REQUEST, "escaped_nul_in_path"),
                    b'/' | b'\\' if decode_slashes => out.push(b'/'),
                    b'/' | b'\\' => return refuse(StatusCode::BAD_REQUEST, "escaped_slash_in_path"),
                    plain if is_unreserved(plain) => out.push(plain),
                    _ => out.extend_from_slice(&[b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]),
                }
            }
            byte => out.push(*byte),
        }
    }
    Ok(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

//= RFC 3986 section 2.3
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

//= RFC 3986 section 5.2.4
fn remove_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let body = path.strip_prefix(b"/").unwrap_or(path);
    let mut trailing = false;
    for segment in body.split(|byte| *byte == b'/') {
        trailing = false;
        match segment {
            b"." => trailing = true,
            b".." => {
                segments.pop();
                trailing = true;
            }
            other => segments.push(other),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for segment in &segments {
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    if trailing || out.is_empty() {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(path: &str, rule: PathNormalization) -> Result<String, &'static str> {
        let target = PathAndQuery::try_from(path).map_err(|_| "uri")?;
        normalize(target, rule).map(|path| path.to_string()).map_err(|refusal| refusal.details)
    }

    #[test]
    fn every_spelling_of_admin_is_admin() {
        for spelling in [
            "/admin",
            "//admin",
            "///admin",
            "/./admin",
            "/x/../admin",
            "/x/%2e%2e/admin",
            "/x/%2E./admin",
            "/%61dmin",
            "/%61%64min",
            "/../admin",
            "/../../admin",
            "/a/./b/../../admin",
            "\\admin",
            "/x\\..\\admin",
            "/.//admin",
        ] {
            let got = run(spelling, PathNormalization::MergeSlashes);
            assert!(got == Ok("/admin".into()) || got == Err("uri"), "{spelling} became {got:?}");
        }
    }

    #[test]
    fn what_is_refused_and_what_is_kept() {
        let merge = |path| run(path, PathNormalization::MergeSlashes);
        assert_eq!(merge("/a%2fb"), Err("escaped_slash_in_path"));
        assert_eq!(merge("/a%5Cb"), Err("escaped_slash_in_path"));
        assert_eq!(merge("/a%00"), Err("escaped_nul_in_path"));
        assert_eq!(merge("/a%"), Err("bad_escape_in_path"));
        assert_eq!(merge("/a%zz"), Err("bad_escape_in_path"));
        assert_eq!(merge("/a%20b%c3%a9"), Ok("/a%20b%C3%A9".into()));
        assert_eq!(merge("/a?x=//..%2f%"), Ok("/a?x=//..%2f%".into()), "the query is untouched");
        assert_eq!(merge("/a//b/?q"), Ok("/a/b/?q".into()));
        assert_eq!(merge("/a/.."), Ok("/".into()));
        assert_eq!(merge("/a/b/."), Ok("/a/b/".into()));
        assert_eq!(run("/a%2Fb//c", PathNormalization::DecodeAndMergeSlashes), Ok("/a/b/c".into()));
        assert_eq!(run("/a%2f..%2fadmin", PathNormalization::DecodeAndMergeSlashes), Ok("/admin".into()));
        assert_eq!(run("/a//b/../c", PathNormalization::Base), Ok("/a//c".into()));
        assert_eq!(run("//a/%2e%2e/b", PathNormalization::None), Ok("//a/%2e%2e/b".into()));
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(path in "/[a-c./%\\\\25eEfF]{0,24}") {
            for rule in [PathNormalization::Base, PathNormalization::MergeSlashes, PathNormalization::DecodeAndMergeSlashes] {
                if let Ok(once) = run(&path, rule) {
                    prop_assert_eq!(run(&once, rule), Ok(once.clone()), "{:?} {}", rule, path);
                    prop_assert!(once.starts_with('/'));
                    prop_assert!(!once.split('/').any(|segment| segment == ".." || segment == "."), "{}", once);
                }
            }
        }
    }
}
