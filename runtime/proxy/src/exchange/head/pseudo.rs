//! The fields of a head that have a place of their own, and what tells the three kinds of heads apart.

use http::header::{HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};

use super::edits::Edits;
use super::joined::Part;
use super::{RequestHead, ResponseHead, Trailers};

pub trait Pseudo {
    /// Whose standard fields this head has one entry of.
    const PART: Part;
    /// The pseudo headers that it can have, in their order.
    const NAMES: &'static [&'static str];
    fn fields(&self) -> &HeaderMap;
    fn fields_mut(&mut self) -> &mut HeaderMap;
    fn edits(&self) -> &Edits;
    fn edits_mut(&mut self) -> &mut Edits;
    /// The value of one of `NAMES` that can be sent.
    fn sound(&self, name: &str) -> Option<&[u8]>;
    /// Sets or clears one of `NAMES`. A value that cannot be sent clears it.
    fn set_sound(&mut self, name: &str, value: Option<&[u8]>);

    /// One of `NAMES`, however it is written. `host` is another word for the authority.
    fn pseudo(name: &[u8]) -> Option<&'static str> {
        let named = Self::NAMES.iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes())).copied();
        let is_host = || Self::PART == Part::Request && name.eq_ignore_ascii_case(b"host");
        named.or_else(|| is_host().then_some(":authority"))
    }

    /// The value of one of `NAMES`, whatever it is worth.
    fn pseudo_value(&self, name: &'static str) -> Option<&[u8]> {
        self.sound(name).or_else(|| self.edits().find(name.as_bytes()))
    }

    fn set_pseudo(&mut self, name: &'static str, value: Option<&[u8]>) {
        self.edits_mut().forget(name.as_bytes());
        self.set_sound(name, value);
        if let (Some(value), None) = (value, self.sound(name)) {
            self.edits_mut().keep(name.as_bytes(), value);
        }
    }

    /// Whether the exchange must end because of what filters wrote into this head. A pseudo header that is missing or
    /// makes no sense is judged when the head leaves; a foreign one leaves with no response.
    fn is_broken(&self) -> bool {
        let breaks = |(name, value): (&[u8], &[u8])| match Self::pseudo(name) {
            Some(_) => Self::PART == Part::Request && value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)),
            None => Self::PART == Part::Request || !name.starts_with(b":"),
        };
        self.edits().is_overflown() || self.edits().unsendable().any(breaks)
    }
}

/// Where the fields are, and what filters did.
macro_rules! kept_in {
    ($map:ident) => {
        fn fields(&self) -> &HeaderMap {
            &self.$map
        }
        fn fields_mut(&mut self) -> &mut HeaderMap {
            &mut self.$map
        }
        fn edits(&self) -> &Edits {
            &self.edits
        }
        fn edits_mut(&mut self) -> &mut Edits {
            &mut self.edits
        }
    };
}

impl Pseudo for RequestHead {
    const PART: Part = Part::Request;
    const NAMES: &'static [&'static str] = &[":authority", ":path", ":method", ":scheme"];
    kept_in!(headers);

    fn sound(&self, name: &str) -> Option<&[u8]> {
        match name {
            ":authority" => self.authority.as_ref().map(HeaderValue::as_bytes),
            ":path" => self.path.as_ref().map(|path| path.as_str().as_bytes()),
            ":method" => self.method.as_ref().map(|method| method.as_str().as_bytes()),
            _ => self.scheme.as_ref().map(HeaderValue::as_bytes),
        }
    }

    fn set_sound(&mut self, name: &str, value: Option<&[u8]>) {
        match name {
            ":authority" => self.authority = value.and_then(field_value),
            // Only origin-form can go upstream, and what is parsed must be what was written.
            ":path" => {
                let sound = value.filter(|text| text.starts_with(b"/") && text.is_ascii() && !text.contains(&b'#'));
                self.path = sound.and_then(|text| PathAndQuery::try_from(text).ok());
            }
            ":method" => self.method = value.and_then(|text| Method::from_bytes(text).ok()),
            _ => self.scheme = value.and_then(field_value),
        }
    }
}

impl Pseudo for ResponseHead {
    const PART: Part = Part::Response;
    const NAMES: &'static [&'static str] = &[":status"];
    kept_in!(headers);

    fn sound(&self, _name: &str) -> Option<&[u8]> {
        self.status.as_ref().map(|status| status.as_str().as_bytes())
    }

    fn set_sound(&mut self, _name: &str, value: Option<&[u8]>) {
        // Informational statuses cannot answer a request.
        let status = value.and_then(|value| StatusCode::from_bytes(value).ok());
        self.status = status.filter(|status| status.as_u16() >= 200);
    }
}

impl Pseudo for Trailers {
    const PART: Part = Part::Trailers;
    const NAMES: &'static [&'static str] = &[];
    kept_in!(fields);

    fn sound(&self, _name: &str) -> Option<&[u8]> {
        None
    }

    fn set_sound(&mut self, _name: &str, _value: Option<&[u8]>) {}
}

fn field_value(text: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text).ok()
}
