//! The context of a span on the wire: W3C's `traceparent`, and B3 in the form in which it came.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// Which span this is, and whether it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    pub trace: u128,
    pub id: u64,
    /// The span before it; 0: none.
    pub parent: u64,
    pub sampled: bool,
    b3: Form,
    /// `tracestate` belongs to a `traceparent` that could be read; any other is dropped.
    keeps_state: bool,
}

/// In which form B3 came, and so goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    None,
    Single,
    Multi,
}

/// What a client said.
#[derive(Clone, Copy, Default)]
struct Said {
    ids: Option<(u128, u64)>,
    sampled: Option<bool>,
}

impl SpanContext {
    /// A child of what the client sent, else a new trace. Whether it is drawn the client says; where it does not,
    /// `percentage` of the exchanges are.
    pub fn begin(headers: &HeaderMap, percentage: f64, mut draw: impl FnMut() -> u64) -> Self {
        let w3c = headers.get(TRACEPARENT).and_then(|value| traceparent(value.as_bytes()));
        let (form, b3) = said_in_b3(headers);
        let ids = w3c.map(|(trace, parent, _)| (trace, parent)).or(b3.ids);
        let sampled = w3c.map(|(_, _, sampled)| sampled).or(b3.sampled);
        let (trace, parent) = ids.unwrap_or_else(|| (u128::from(draw()) << 64 | u128::from(draw()) | 1, 0));
        let sampled = sampled.unwrap_or_else(|| is_drawn(percentage, &mut draw));
        Self { trace, id: draw() | 1, parent, sampled, b3: form, keeps_state: w3c.is_some() }
    }

    /// A span of its own below this one.
    pub(super) fn child(&self, id: u64) -> Self {
        Self { id, parent: self.id, ..*self }
    }

    /// Writes it for a receiver that is to become a child of `id`.
    pub fn inject(&self, headers: &mut HeaderMap, id: u64) {
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&self.traceparent(id))) {
            headers.insert(TRACEPARENT, value);
        }
        if !self.keeps_state {
            headers.remove(TRACESTATE);
        }
        if self.b3 != Form::None {
            self.inject_b3(headers, id);
        }
    }

    /// `00-TRACE-ID-FLAGS`
    pub fn traceparent(&self, id: u64) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(text.get_mut(3..35), self.trace);
        write_hex(text.get_mut(36..52), id.into());
        write_hex(text.get_mut(53..55), u8::from(self.sampled).into());
        text
    }

    fn inject_b3(&self, headers: &mut HeaderMap, id: u64) {
        let trace = if self.trace >> 64 == 0 { format!("{:016x}", self.trace) } else { format!("{:032x}", self.trace) };
        let sampled = u8::from(self.sampled);
        let before = if id == self.id { self.parent } else { self.id };
        let mut put = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        match self.b3 {
            Form::None => {}
            Form::Single => put(B3, format!("{trace}-{id:016x}-{sampled}")),
            Form::Multi => {
                put(B3_TRACE, trace);
                put(B3_SPAN, format!("{id:016x}"));
                put(B3_SAMPLED, sampled.to_string());
                if before != 0 {
                    put(B3_PARENT, format!("{before:016x}"));
                }
                headers.remove(B3_FLAGS);
            }
        }
    }
}

fn is_drawn(percentage: f64, mut draw: impl FnMut() -> u64) -> bool {
    // 53 bits are what an f64 holds exactly.
    percentage > 0.0 && (draw() >> 11) as f64 / (1_u64 << 53) as f64 * 100.0 < percentage
}

//= W3C Trace Context section 3.2.2
fn traceparent(text: &[u8]) -> Option<(u128, u64, bool)> {
    let mut parts = text.split(|byte| *byte == b'-');
    let version = parts.next().filter(|part| part.len() == 2).and_then(hex)?;
    let trace = parts.next().filter(|part| part.len() == 32).and_then(hex)?;
    let parent = parts.next().filter(|part| part.len() == 16).and_then(hex)?;
    let flags = parts.next().filter(|part| part.len() == 2).and_then(hex)?;
    // A later version may have more parts; this one has not.
    let is_version = version != 0xff && (version != 0 || parts.next().is_none());
    let is_lower = !text.iter().any(u8::is_ascii_uppercase);
    (is_version && is_lower && trace != 0 && parent != 0).then_some((
        trace,
        u64::try_from(parent).ok()?,
        flags & 1 == 1,
    ))
}

fn said_in_b3(headers: &HeaderMap) -> (Form, Said) {
    if let Some(value) = headers.get(B3) {
        let mut parts = value.as_bytes().split(|byte| *byte == b'-');
        let said = match (parts.next(), parts.next()) {
            (Some(state), None) => Said { ids: None, sampled: b3_state(state) },
            (Some(trace), Some(span)) => Said { ids: b3_ids(trace, span), sampled: parts.next().and_then(b3_state) },
            (None, _) => Said::default(),
        };
        return (Form::Single, said);
    }
    let value = |name: &HeaderName| headers.get(name).map(HeaderValue::as_bytes);
    // Nobody sends the span without the trace; a decision may come alone.
    let (trace, sampled) = (value(&B3_TRACE), value(&B3_SAMPLED));
    if trace.is_none() && sampled.is_none() {
        return (Form::None, Said::default());
    }
    let ids = trace.zip(value(&B3_SPAN)).and_then(|(trace, span)| b3_ids(trace, span));
    let sampled = if value(&B3_FLAGS) == Some(b"1") { Some(true) } else { sampled.and_then(b3_state) };
    (Form::Multi, Said { ids, sampled })
}

fn b3_ids(trace: &[u8], span: &[u8]) -> Option<(u128, u64)> {
    let trace = Some(trace).filter(|trace| matches!(trace.len(), 16 | 32)).and_then(hex)?;
    let span = Some(span).filter(|span| span.len() == 16).and_then(hex)?;
    (trace != 0 && span != 0).then_some((trace, u64::try_from(span).ok()?))
}

fn b3_state(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"d" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}

fn hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0_u128, |value, digit| Some(value << 4 | u128::from(char::from(*digit).to_digit(16)?)))
}

fn write_hex(place: Option<&mut [u8]>, mut value: u128) {
    for digit in place.into_iter().flatten().rev() {
        let nibble = (value & 15) as u8;
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    /// Begins with these headers and passes on; what the receiver gets.
    fn through(list: &[(&'static str, &str)], percentage: f64) -> (SpanContext, HeaderMap) {
        let mut headers = headers(list);
        let mut next = 0x1111_u64;
        let context = SpanContext::begin(&headers, percentage, || {
            next += 2;
            next
        });
        context.inject(&mut headers, context.id);
        (context, headers)
    }

    #[test]
    fn a_trace_goes_on_with_the_decision_of_its_parent() {
        for (flags, sampled) in [("01", true), ("00", false), ("03", true)] {
            let parent = format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
            let (context, sent) = through(&[("traceparent", &parent), ("tracestate", "a=b")], 100.0);
            assert_eq!((context.sampled, context.parent), (sampled, 0x00f0_67aa_0ba9_02b7));
            let wanted = format!("00-{TRACE}-{:016x}-0{}", context.id, u8::from(sampled));
            assert_eq!(sent["traceparent"], wanted);
            assert_eq!(sent["tracestate"], "a=b");
        }
    }

    #[test]
    fn what_is_no_traceparent_begins_a_trace() {
        let long = format!("00-{TRACE}-00f067aa0ba902b7-01-x");
        let upper = format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase());
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        for wrong in ["", "00", "x", &long, &upper, &zero, &format!("ff-{TRACE}-00f067aa0ba902b7-01")] {
            let (context, sent) = through(&[("traceparent", wrong), ("tracestate", "a=b")], 0.0);
            assert_eq!((context.parent, context.sampled), (0, false), "{wrong}");
            assert!(!sent.contains_key("tracestate"), "the state of another trace");
        }
        let later = format!("01-{TRACE}-00f067aa0ba902b7-01-more");
        assert_eq!(through(&[("traceparent", &later)], 0.0).0.parent, 0x00f0_67aa_0ba9_02b7);
        let (none, all) = (through(&[], 0.0), through(&[], 100.0));
        assert!(!none.0.sampled && all.0.sampled && !all.1.contains_key("b3"));
    }

    #[test]
    fn b3_goes_on_in_its_form_beside_w3c() {
        let (context, sent) = through(&[("b3", &format!("{TRACE}-00f067aa0ba902b7-1"))], 0.0);
        assert!(context.sampled);
        assert_eq!(sent["b3"], format!("{TRACE}-{:016x}-1", context.id));
        assert_eq!(sent["traceparent"], format!("00-{TRACE}-{:016x}-01", context.id));
        let multi = [("x-b3-traceid", "a3ce929d0e0e4736"), ("x-b3-spanid", "00f067aa0ba902b7"), ("x-b3-sampled", "0")];
        let (context, sent) = through(&multi, 100.0);
        assert!(!context.sampled, "the parent's decision");
        assert_eq!(sent["x-b3-traceid"], "a3ce929d0e0e4736", "as wide as it came");
        assert_eq!(sent["x-b3-spanid"], format!("{:016x}", context.id));
        assert_eq!(
            (&sent["x-b3-parentspanid"], &sent["x-b3-sampled"]),
            (&"00f067aa0ba902b7".parse().unwrap(), &"0".parse().unwrap())
        );
        for (list, sampled) in
            [(&[("b3", "0")][..], false), (&[("b3", "d")], true), (&[("x-b3-sampled", "1"), ("x-b3-flags", "1")], true)]
        {
            let (context, _) = through(list, 50.0);
            assert_eq!((context.sampled, context.parent), (sampled, 0), "a decision without a trace");
        }
    }

    #[test]
    fn the_share_is_kept() {
        let mut seed = 1_u64;
        let mut draw = || {
            seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            seed
        };
        let drawn = (0..100_000).filter(|_| is_drawn(2.5, &mut draw)).count();
        assert!((2300..2700).contains(&drawn), "{drawn}");
    }
}
