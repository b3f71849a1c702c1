//! A head as filters see it: a map with pseudo headers in front, whose framing they cannot touch, and which takes only so
//! much.

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use sidegate_wasm_host::Headers;

use super::joined::{self, Part};
use super::{RequestHead, ResponseHead, Trailers, is_framing};

/// Fields of one head after filters added theirs; a head that grows beyond it ends the exchange.
const MAX_FIELDS: usize = 1000;

/// Bytes of names and values that filters may write into one head, replaced ones included: Envoy's bound for a whole map.
/// Beyond, the exchange ends.
const MAX_WRITTEN: usize = 1 << 20;

fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// A name as the map knows it; `None` for what cannot be a field name.
fn lookup(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok()
}

/// What the writing of one field needs.
struct Field {
    name: HeaderName,
    value: HeaderValue,
}

impl Field {
    /// `Err(true)` when the text would break the message, `Err(false)` when it is to be ignored.
    fn parse(name: &[u8], value: &[u8]) -> Result<Self, bool> {
        if has_control(name) || has_control(value) {
            return Err(true);
        }
        if is_framing(name) {
            return Err(false);
        }
        // Anything else that cannot be a field is refused at encode time in Envoy; the exchange ends here as well.
        let name = HeaderName::from_bytes(name).map_err(|_| true)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| true)?;
        Ok(Self { name, value })
    }
}

/// The fields of a head that have a place of their own.
trait Pseudo {
    /// Whose standard fields this head has one entry of.
    const PART: Part;
    fn fields(&self) -> &HeaderMap;
    fn fields_mut(&mut self) -> &mut HeaderMap;
    fn poison(&mut self);
    /// Counts the bytes that guests write.
    fn written(&mut self) -> &mut usize;
    /// Whether this much may still be written; else the head is poisoned.
    fn has_room(&mut self, bytes: usize) -> bool {
        *self.written() = self.written().saturating_add(bytes);
        let fits = *self.written() <= MAX_WRITTEN;
        if !fits {
            self.poison();
        }
        fits
    }
    /// Whether guests see a content length; writing `true` hides it.
    fn length_hidden(&mut self) -> &mut bool;
    fn is_length_hidden(&self) -> bool;
    /// Calls `each` with every pseudo header that is present.
    fn pseudo(&self, each: &mut dyn FnMut(&[u8], &[u8]));
    /// The value of a pseudo header; the outer `None`: the name is not one.
    fn pseudo_value(&self, name: &[u8]) -> Option<Option<&[u8]>>;
    /// Sets or clears a pseudo header. `false`: the name is not one.
    fn set_pseudo(&mut self, name: &[u8], value: Option<&[u8]>) -> bool;
}

/// The part of [`Pseudo`] that is the same for all: where the fields are, and what is noted of them.
macro_rules! kept_in {
    ($map:ident) => {
        fn fields(&self) -> &HeaderMap {
            &self.$map
        }
        fn fields_mut(&mut self) -> &mut HeaderMap {
            &mut self.$map
        }
        fn poison(&mut self) {
            self.poisoned = true;
        }
        fn written(&mut self) -> &mut usize {
            &mut self.written
        }
        fn length_hidden(&mut self) -> &mut bool {
            &mut self.length_hidden
        }
        fn is_length_hidden(&self) -> bool {
            self.length_hidden
        }
    };
}

impl Pseudo for RequestHead {
    const PART: Part = Part::Request;
    kept_in!(headers);
    fn pseudo(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        if let Some(authority) = &self.authority {
            each(b":authority", authority.as_bytes());
        }
        if let Some(path) = &self.path {
            each(b":path", path.as_str().as_bytes());
        }
        if let Some(method) = &self.method {
            each(b":method", method.as_str().as_bytes());
        }
        each(b":scheme", self.scheme.as_bytes());
    }
    fn pseudo_value(&self, name: &[u8]) -> Option<Option<&[u8]>> {
        match name {
            b":path" => Some(self.path.as_ref().map(|path| path.as_str().as_bytes())),
            b":method" => Some(self.method.as_ref().map(|method| method.as_str().as_bytes())),
            b":scheme" => Some(Some(self.scheme.as_bytes())),
            _ if name == b":authority" || name.eq_ignore_ascii_case(b"host") => {
                Some(self.authority.as_ref().map(HeaderValue::as_bytes))
            }
            _ => None,
        }
    }
    fn set_pseudo(&mut self, name: &[u8], value: Option<&[u8]>) -> bool {
        let text = value.unwrap_or_default();
        match name {
            b":path" => {
                // Only origin-form and `*` can go upstream; everything else counts as missing, which is a 404.
                let sound = text.starts_with(b"/") || text == b"*";
                self.path = if sound { PathAndQuery::try_from(text).ok() } else { None };
            }
            b":method" => self.method = Method::from_bytes(text).ok(),
            b":scheme" => {
                if let Ok(scheme) = HeaderValue::from_bytes(text) {
                    self.scheme = scheme;
                }
            }
            _ if name == b":authority" || name.eq_ignore_ascii_case(b"host") => {
                self.authority = value.and_then(|value| HeaderValue::from_bytes(value).ok());
            }
            _ => return name.starts_with(b":"),
        }
        self.poisoned |= has_control(text);
        true
    }
}

impl Pseudo for ResponseHead {
    const PART: Part = Part::Response;
    kept_in!(headers);
    fn pseudo(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
        if let Some(status) = &self.status {
            each(b":status", status.as_str().as_bytes());
        }
    }
    fn pseudo_value(&self, name: &[u8]) -> Option<Option<&[u8]>> {
        (name == b":status").then(|| self.status.as_ref().map(|status| status.as_str().as_bytes()))
    }
    fn set_pseudo(&mut self, name: &[u8], value: Option<&[u8]>) -> bool {
        if name == b":status" {
            // Informational statuses cannot answer a request.
            let status = value.and_then(|value| StatusCode::from_bytes(value).ok());
            self.status = status.filter(|status| status.as_u16() >= 200);
            return true;
        }
        name.starts_with(b":")
    }
}

impl Pseudo for Trailers {
    const PART: Part = Part::Trailers;
    kept_in!(fields);
    fn pseudo(&self, _each: &mut dyn FnMut(&[u8], &[u8])) {}
    fn pseudo_value(&self, name: &[u8]) -> Option<Option<&[u8]>> {
        name.starts_with(b":").then_some(None)
    }
    fn set_pseudo(&mut self, name: &[u8], _value: Option<&[u8]>) -> bool {
        name.starts_with(b":")
    }
}

/// The map of a head: pseudo headers first, then its fields.
macro_rules! headers_of {
    ($($head:ty),*) => {$(
        impl Headers for $head {
            fn count(&self) -> usize {
                let mut count = self.fields().len();
                if self.is_length_hidden() && self.fields().contains_key(header::CONTENT_LENGTH) {
                    count -= 1;
                }
                self.pseudo(&mut |_, _| count += 1);
                count
            }

            fn byte_size(&self) -> usize {
                let mut size = 0;
                self.visit(&mut |name, value| size += name.len() + value.len());
                size
            }

            fn visit(&self, each: &mut dyn FnMut(&[u8], &[u8])) {
                self.pseudo(each);
                let hidden = self.is_length_hidden();
                for (name, value) in self.fields() {
                    if !hidden || name != header::CONTENT_LENGTH {
                        each(name.as_str().as_bytes(), value.as_bytes());
                    }
                }
            }

            fn first(&self, name: &[u8]) -> Option<&[u8]> {
                match self.pseudo_value(name) {
                    Some(value) => value,
                    None if self.is_length_hidden() && name.eq_ignore_ascii_case(b"content-length") => None,
                    None => self.fields().get(lookup(name)?).map(HeaderValue::as_bytes),
                }
            }

            fn add(&mut self, name: &[u8], value: &[u8]) {
                let keeps_one = |_: &&[u8]| self.pseudo_value(name).is_some() || Self::PART.keeps_one(name);
                if let Some(before) = self.first(name).filter(keeps_one) {
                    // All of the list counts as written: a filter could else have much copied by small additions.
                    let list = joined::appended(before.to_vec(), value);
                    return self.replace(name, &list);
                }
                if !self.has_room(name.len() + value.len()) || self.set_pseudo(name, Some(value)) {
                    return;
                }
                match Field::parse(name, value) {
                    Ok(field) => {
                        if self.fields().len() >= MAX_FIELDS || self.fields_mut().try_append(field.name, field.value).is_err() {
                            self.poison();
                        }
                    }
                    Err(true) => self.poison(),
                    Err(false) => {}
                }
            }

            fn replace(&mut self, name: &[u8], value: &[u8]) {
                if !self.has_room(name.len() + value.len()) || self.set_pseudo(name, Some(value)) {
                    return;
                }
                match Field::parse(name, value) {
                    Ok(field) => {
                        if self.fields().len() >= MAX_FIELDS || self.fields_mut().try_insert(field.name, field.value).is_err() {
                            self.poison();
                        }
                    }
                    Err(true) => self.poison(),
                    Err(false) => {}
                }
            }

            fn remove(&mut self, name: &[u8]) {
                if self.set_pseudo(name, None) {
                    return;
                }
                if is_framing(name) {
                    *self.length_hidden() |= name.eq_ignore_ascii_case(b"content-length");
                    return;
                }
                if let Some(name) = lookup(name)
                    && let Ok(name) = HeaderName::from_bytes(name.as_bytes())
                    && let Entry::Occupied(entry) = self.fields_mut().entry(name)
                {
                    entry.remove_entry_mult();
                }
            }

            fn replace_all(&mut self, pairs: &[(&[u8], &[u8])]) {
                let framing: Vec<_> = self
                    .fields()
                    .iter()
                    .filter(|(name, _)| is_framing(name.as_str().as_bytes()))
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                let mut names = Vec::new();
                self.pseudo(&mut |name, _| names.push(name.to_vec()));
                for name in names {
                    self.set_pseudo(&name, None);
                }
                self.fields_mut().clear();
                for (name, value) in framing {
                    self.fields_mut().append(name, value);
                }
                for (name, value) in pairs {
                    self.add(name, value);
                }
            }
        }
    )*};
}

headers_of!(RequestHead, ResponseHead, Trailers);

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> RequestHead {
        RequestHead {
            method: Some(Method::GET),
            scheme: HeaderValue::from_static("http"),
            authority: Some(HeaderValue::from_static("a.test")),
            path: Some(PathAndQuery::from_static("/p?q")),
            headers: HeaderMap::new(),
            length_hidden: false,
            poisoned: false,
            written: 0,
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
    fn line_breaks_poison() {
        for (name, value) in [(&b"x"[..], &b"a\r\nb"[..]), (b"x\n", b"v"), (b":path", b"/\0"), (b":authority", b"a\r")]
        {
            let mut head = request();
            head.replace(name, value);
            assert!(head.poisoned, "{name:?} {value:?}");
        }
    }

    #[test]
    fn what_filters_write_into_a_head_is_bounded() {
        let mut head = request();
        for _ in 0..16 {
            head.replace(b"x", &[b'v'; MAX_WRITTEN / 16 - 1]);
        }
        assert!(!head.poisoned, "as much as may be");
        head.replace(b":authority", b"a");
        assert!(head.poisoned);
        let mut head = request();
        head.add(b"x", &vec![b'v'; MAX_WRITTEN]);
        assert!(head.poisoned && head.headers.is_empty());
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
        assert!(head.poisoned && head.headers.get("via").unwrap().len() < 2100, "2000 additions copy 4 MB");
    }
}
