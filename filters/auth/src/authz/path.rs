//! Paths: a policy about `/admin` is about every spelling of it.

use std::borrow::Cow;

use super::text::Text;

/// A condition on a path, once as it was written and once with its escapes resolved.
#[derive(Debug, Clone)]
pub(crate) struct PathPattern {
    written: Form,
    resolved: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Text(Text),
    Template(Box<[Segment]>),
}

#[derive(Debug, Clone)]
enum Segment {
    Text(Box<str>),
    /// `{*}`: one segment that is not empty.
    One,
    /// `{**}`: any number of segments.
    Many,
}

/// A path in its two readings: as it came, and as a service that resolves escapes, dots and slashes reads it.
#[derive(Debug)]
pub(crate) struct Path<'p> {
    raw: &'p str,
    resolved: Cow<'p, str>,
}

impl PathPattern {
    /// Reads a path, a prefix, a suffix or a template.
    pub(crate) fn new(written: &str) -> Result<Self, String> {
        if !written.contains(['{', '}']) {
            let text = Text::new(written);
            let resolved = Form::Text(text.map(|text| decode(text).into_owned()));
            return Ok(Self { written: Form::Text(text), resolved });
        }
        let segments = template(written)?;
        let resolved = segments.iter().map(|segment| match segment {
            Segment::Text(text) => Segment::Text(decode(text).into()),
            operator => operator.clone(),
        });
        let resolved = Form::Template(resolved.collect());
        Ok(Self { written: Form::Template(segments), resolved })
    }

    /// Whether a path matches, for each way to read it.
    pub(crate) fn readings(&self, path: &Path<'_>) -> [bool; 2] {
        [self.written.matches(path.raw), self.resolved.matches(&path.resolved)]
    }
}

impl Form {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Text(text) => text.matches(path),
            Self::Template(segments) => {
                let Some(path) = path.strip_prefix('/') else { return false };
                let found: Vec<&str> = path.split('/').collect();
                let fits = |segments: &[Segment], found: &[&str]| {
                    segments.len() == found.len()
                        && segments.iter().zip(found).all(|(segment, text)| segment.fits(text))
                };
                let Some(many) = segments.iter().position(|segment| matches!(segment, Segment::Many)) else {
                    return fits(segments, &found);
                };
                let (before, after) = segments.split_at(many);
                let after = after.get(1..).unwrap_or_default();
                // The slash before `{**}` is part of the path: at least an empty segment stands for it.
                if found.len() < before.len() + 1 + after.len() {
                    return false;
                }
                let (head, rest) = found.split_at(before.len());
                let (_, tail) = rest.split_at(rest.len() - after.len());
                fits(before, head) && fits(after, tail)
            }
        }
    }
}

impl Segment {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Text(wanted) => **wanted == *text,
            Self::One => !text.is_empty(),
            Self::Many => true,
        }
    }
}

impl<'p> Path<'p> {
    /// Takes a path without query.
    pub(crate) fn new(raw: &'p str) -> Self {
        let is_plain = !raw.contains(['%', '\\']) && !raw.contains("//") && !raw.contains("/.");
        let resolved = if is_plain { Cow::Borrowed(raw) } else { Cow::Owned(resolve(raw)) };
        Self { raw, resolved }
    }
}

fn template(written: &str) -> Result<Box<[Segment]>, String> {
    let Some(path) = written.strip_prefix('/') else { return Err("a path template begins with /".to_owned()) };
    if written.replace("{**}", "").replace("{*}", "").contains(['{', '}', '*']) {
        return Err("a path template has only {*} and {**}, and no * beside them".to_owned());
    }
    let mut has_many = false;
    let segments = path.split('/').map(|segment| match segment {
        _ if has_many && segment.contains('{') => Err("{**} must be the last of a path template".to_owned()),
        "{*}" => Ok(Segment::One),
        "{**}" => {
            has_many = true;
            Ok(Segment::Many)
        }
        text if text.contains('{') => Err("{*} and {**} stand for whole segments".to_owned()),
        text => Ok(Segment::Text(text.into())),
    });
    segments.collect()
}

/// Resolves escapes once, takes `\` for `/`, merges slashes, resolves `.` and `..`.
fn resolve(raw: &str) -> String {
    let plain = decode(raw).replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_open = false;
    for segment in plain.split('/') {
        ends_open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            text => segments.push(text),
        }
    }
    let mut out = String::with_capacity(plain.len() + 1);
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if ends_open || out.is_empty() {
        out.push('/');
    }
    out
}

/// Resolves escapes; what is none stays, and bytes that make no text become U+FFFD.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let escaped = match (digit(0), digit(1)) {
            (Some(high), Some(low)) if *byte == b'%' => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        out.push(escaped.unwrap_or(*byte));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Path, PathPattern};

    fn readings(pattern: &str, path: &str) -> [bool; 2] {
        PathPattern::new(pattern).unwrap().readings(&Path::new(path))
    }

    #[test]
    fn templates_stand_for_segments() {
        for (pattern, yes, no) in [
            ("/foo/{*}", "/foo/bar", "/foo/bar/baz"),
            ("/foo/{*}", "/foo/bar", "/foo/"),
            ("/foo/{**}/", "/foo/bar/baz.txt/", "/foo/bar"),
            ("/foo/{**}", "/foo/", "/foo"),
            ("/{*}/bar/{**}", "/x/bar/a/b", "/x/y/bar/a"),
            ("/{**}", "/", "x"),
        ] {
            assert_eq!(readings(pattern, yes), [true; 2], "{pattern} {yes}");
            assert_eq!(readings(pattern, no), [false; 2], "{pattern} {no}");
        }
        for wrong in ["/{**}/{*}", "/{**}/{**}", "/a{*}", "/{a}", "/{*}/*", "{*}", "/{*}b", "/}"] {
            assert!(PathPattern::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_escape_in_the_pattern_is_an_escape_in_the_path() {
        assert_eq!(readings("/a%20b", "/a%20b"), [true; 2]);
        assert_eq!(readings("/files/*", "/files/a%2Fb"), [true; 2]);
        assert_eq!(readings("/admin", "/%61dmin"), [false, true]);
    }
}
