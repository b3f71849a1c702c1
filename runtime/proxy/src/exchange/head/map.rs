//! A head as filters see it: a map with pseudo headers in front, whose framing they cannot touch, and which takes only
//! so much.

use http::header::{self, Entry, HeaderName, HeaderValue};
use sidegate_wasm_host::Headers;

use super::joined;
use super::pseudo::Pseudo;
use super::{RequestHead, ResponseHead, Trailers, is_framing};

/// Fields of one head after filters added theirs; a head that grows beyond it ends the exchange.
const MAX_FIELDS: usize = 1000;

/// A name as the map knows it; `None` for what cannot be a field name.
fn lookup(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok()
}

/// A field that can be sent.
fn sendable(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    HeaderName::from_bytes(name).ok().zip(HeaderValue::from_bytes(value).ok())
}

/// What filters wrote that cannot be sent, without pseudo headers that have a place of their own.
fn misfits<P: Pseudo>(head: &P) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.edits().unsendable().filter(|(name, _)| P::pseudo(name).is_none())
}

fn count<P: Pseudo>(head: &P) -> usize {
    let pseudo = P::NAMES.iter().filter(|name| head.pseudo_value(name).is_some()).count();
    let hidden = head.edits().length_hidden && head.fields().contains_key(header::CONTENT_LENGTH);
    pseudo + misfits(head).count() + head.fields().len() - usize::from(hidden)
}

fn visit<P: Pseudo>(head: &P, each: &mut dyn FnMut(&[u8], &[u8])) {
    for name in P::NAMES {
        if let Some(value) = head.pseudo_value(name) {
            each(name.as_bytes(), value);
        }
    }
    misfits(head).for_each(|(name, value)| each(name, value));
    for (name, value) in head.fields() {
        if !head.edits().length_hidden || name != header::CONTENT_LENGTH {
            each(name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

fn first<'h, P: Pseudo>(head: &'h P, name: &[u8]) -> Option<&'h [u8]> {
    if let Some(name) = P::pseudo(name) {
        return head.pseudo_value(name);
    }
    if head.edits().length_hidden && name.eq_ignore_ascii_case(b"content-length") {
        return None;
    }
    let field = lookup(name).and_then(|name| head.fields().get(name));
    field.map(HeaderValue::as_bytes).or_else(|| head.edits().find(name))
}

fn add<P: Pseudo>(head: &mut P, name: &[u8], value: &[u8]) {
    let keeps_one = |_: &&[u8]| P::pseudo(name).is_some() || P::PART.keeps_one(name);
    if let Some(before) = first(head, name).filter(keeps_one) {
        // All of the list counts as written: a filter could else have much copied by small additions.
        let list = joined::appended(before.to_vec(), value);
        return replace(head, name, &list);
    }
    write(head, name, value, false);
}

fn replace<P: Pseudo>(head: &mut P, name: &[u8], value: &[u8]) {
    write(head, name, value, true);
}

/// Writes a field; `anew` in place of those of its name.
fn write<P: Pseudo>(head: &mut P, name: &[u8], value: &[u8], anew: bool) {
    // A field without a name is nothing that anybody could look for.
    if name.is_empty() || !head.edits_mut().has_room(name.len() + value.len()) {
        return;
    }
    if let Some(name) = P::pseudo(name) {
        return head.set_pseudo(name, Some(value));
    }
    if is_framing(name) {
        return;
    }
    if head.fields().len() + head.edits().unsendable().count() >= MAX_FIELDS {
        return head.edits_mut().overflow();
    }
    let Some((name, value)) = sendable(name, value) else {
        if anew {
            remove(head, name);
        }
        return head.edits_mut().keep(name, value);
    };
    let put = if anew {
        head.edits_mut().forget(name.as_str().as_bytes());
        head.fields_mut().try_insert(name, value).is_ok()
    } else {
        head.fields_mut().try_append(name, value).is_ok()
    };
    if !put {
        head.edits_mut().overflow();
    }
}

fn remove<P: Pseudo>(head: &mut P, name: &[u8]) {
    if let Some(name) = P::pseudo(name) {
        return head.set_pseudo(name, None);
    }
    if is_framing(name) {
        head.edits_mut().length_hidden |= name.eq_ignore_ascii_case(b"content-length");
        return;
    }
    head.edits_mut().forget(name);
    if let Ok(name) = HeaderName::from_bytes(name)
        && let Entry::Occupied(entry) = head.fields_mut().entry(name)
    {
        entry.remove_entry_mult();
    }
}

fn replace_all<P: Pseudo>(head: &mut P, pairs: &[(&[u8], &[u8])]) {
    let framing = head.fields().iter().filter(|(name, _)| is_framing(name.as_str().as_bytes()));
    let framing: Vec<_> = framing.map(|(name, value)| (name.clone(), value.clone())).collect();
    P::NAMES.iter().for_each(|name| head.set_pseudo(name, None));
    head.edits_mut().forget_all();
    head.fields_mut().clear();
    for (name, value) in framing {
        head.fields_mut().append(name, value);
    }
    for (name, value) in pairs {
        add(head, name, value);
    }
}

macro_rules! headers_of {
    ($($head:ty),*) => {$(
        impl Headers for $head {
            fn count(&self) -> usize {
                count(self)
            }

            fn byte_size(&self) -> usize {
                let mut size = 0;
                visit(self, &mut |name, value| size += name.len() + value.len());
                size
            }

            fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
                visit(self, each);
            }

            fn first(&self, name: &[u8]) -> Option<&[u8]> {
                first(self, name)
            }

            fn add(&mut self, name: &[u8], value: &[u8]) {
                add(self, name, value);
            }

            fn replace(&mut self, name: &[u8], value: &[u8]) {
                replace(self, name, value);
            }

            fn remove(&mut self, name: &[u8]) {
                remove(self, name);
            }

            fn replace_all(&mut self, pairs: &[(&[u8], &[u8])]) {
                replace_all(self, pairs);
            }
        }
    )*};
}

headers_of!(RequestHead, ResponseHead, Trailers);

#[cfg(test)]
mod tests {
    use http::header::HeaderMap;
    use http::uri::PathAndQuery;
    use http::{Method, StatusCode};

    use super::super::edits::{Edits, MAX_WRITTEN};
    use super::*;

    fn request() -> RequestHead {
        RequestHead {
            method: Some(Method::GET),
            scheme: Some(HeaderValue::from_static("http")),
            authority: Some(HeaderValue::from_static("a.test")),
            path: Some(PathAndQuery::from_static("/p?q")),
            headers: HeaderMap::new(),
            edits: Edits::default(),
        }
    }

    #[test]
    fn framing_is_the_hosts() {
        let mut head = request();
        head.headers.insert("content-length", HeaderValue::from_static("5"));
        head.replace(b"Content-Length", b"9");
        head.add(b"transfer-encoding", b"chunked");
        head.remove(b"content-length");
        head.replace_all(&[(b":path", b"/x"), (b"connection", b"close")]);
        assert_eq!(head.headers.get("content-length").unwrap(), "5");
        assert_eq!(head.headers.len(), 1);
        assert_eq!(head.first(b":path"), Some(&b"/x"[..]));
        assert_eq!(head.first(b":method"), None, "a map without it has none");
    }

    #[test]
    fn a_removed_length_is_gone_for_guests_only() {
        let mut head = request();
        head.headers.insert("content-length", HeaderValue::from_static("5"));
        assert_eq!((head.count(), head.first(b"content-length")), (5, Some(&b"5"[..])));
        head.remove(b"Content-Length");
        assert_eq!((head.count(), head.first(b"content-length")), (4, None));
        assert!(head.headers.contains_key("content-length"));
    }

    #[test]
    fn what_would_break_the_message_ends_the_exchange() {
        let bad: [(&[u8], &[u8]); 9] = [
            (b"x", b"a\r\nb"),
            (b"x\n", b"v"),
            (b":path", b"/\0"),
            (b":authority", b"a\r"),
            (b"x", b"\x7f"),
            (b"x y", b"v"),
            (b"x:", b"v"),
            (b"x\xff", b"v"),
            (b":status", b"200"),
        ];
        for (name, value) in bad {
            let mut head = request();
            head.add(b"x", b"1");
            head.replace(name, value);
            assert!(head.is_broken(), "{name:?} {value:?}");
            assert_eq!(head.first(name), Some(value), "filters read back what they wrote");
            assert_eq!(
                head.count(),
                if name == b"x" || [&b":path"[..], b":authority"].contains(&name) { 5 } else { 6 }
            );
            head.remove(name);
            assert!(!head.is_broken(), "{name:?} is gone");
        }
        let mut head = ResponseHead::new(StatusCode::OK, HeaderMap::new());
        head.add(b":path", b"/a");
        assert_eq!((head.first(b":path"), head.count(), head.is_broken()), (Some(&b"/a"[..]), 2, false));
        head.add(b"x", b"a\nb");
        assert!(head.is_broken());
        head.replace(b"X", b"ab");
        assert!(!head.is_broken() && head.headers.len() == 1);
    }

    #[test]
    fn pseudo_headers_in_any_spelling() {
        let mut head = request();
        head.replace(b":PATH", b"/b");
        head.replace(b":Method", b"PUT");
        assert_eq!((head.first(b":Path"), head.first(b":METHOD")), (Some(&b"/b"[..]), Some(&b"PUT"[..])));
        head.replace(b":path", b"relative");
        assert_eq!((head.first(b":path"), &head.path, head.count()), (Some(&b"relative"[..]), &None, 4));
        head.remove(b":Scheme");
        assert_eq!((head.first(b":scheme"), head.count()), (None, 3));
        head.replace(b"", b"nothing");
        assert_eq!((head.first(b""), head.count(), head.is_broken()), (None, 3, false));
        let mut head = ResponseHead::new(StatusCode::OK, HeaderMap::new());
        head.replace(b":Status", b"204");
        assert_eq!(head.status, Some(StatusCode::NO_CONTENT));
        head.replace(b":status", b"abc");
        assert_eq!((head.first(b":status"), head.status), (Some(&b"abc"[..]), None));
    }

    #[test]
    fn what_filters_write_into_a_head_is_bounded() {
        let mut head = request();
        for _ in 0..16 {
            head.replace(b"x", &[b'v'; MAX_WRITTEN / 16 - 1]);
        }
        assert!(!head.is_broken(), "as much as may be");
        head.replace(b":authority", b"a");
        assert!(head.is_broken());
        let mut head = request();
        head.add(b"x", &vec![b'v'; MAX_WRITTEN]);
        assert!(head.is_broken() && head.headers.is_empty());
    }

    #[test]
    fn host_and_authority_are_one() {
        let mut head = request();
        assert_eq!(head.first(b"Host"), Some(&b"a.test"[..]));
        head.replace(b"host", b"b.test");
        assert_eq!(head.first(b":authority"), Some(&b"b.test"[..]));
        assert_eq!(head.count(), 4);
    }

    #[test]
    fn repeated_fields() {
        let mut head = ResponseHead::new(StatusCode::OK, HeaderMap::new());
        head.add(b"Set-Cookie", b"a=1");
        head.add(b"set-cookie", b"b=2");
        assert_eq!(head.first(b"SET-COOKIE"), Some(&b"a=1"[..]));
        head.replace(b"set-cookie", b"c");
        assert_eq!(head.count(), 2);
        head.add(b"Vary", b"a");
        head.add(b"vary", b"b");
        assert_eq!((head.first(b"vary"), head.count()), (Some(&b"a,b"[..]), 3));
        head.add(b":status", b"200");
        assert_eq!(head.status, None, "200,200 is no status");
        head.replace(b":status", b"100");
        assert_eq!(head.status, None, "100 cannot answer");
        let mut head = request();
        head.add(b":path", b"/x");
        head.add(b"Host", b"b.test");
        head.replace_all(&[(b":path", b"/a"), (b":authority", b"a"), (b":path", b"/b"), (b"host", b"b")]);
        assert_eq!((head.first(b":path"), head.first(b":authority")), (Some(&b"/a,/b"[..]), Some(&b"a,b"[..])));
    }

    #[test]
    fn lists_that_grow_count_whole() {
        let mut head = request();
        (0..2000).for_each(|_| head.add(b"via", b"v"));
        assert!(head.is_broken() && head.headers.get("via").unwrap().len() < 2100, "2000 additions copy 4 MB");
    }
}
