//! Fields of one connection: they end here, and so do those that `connection` names. In both directions.

use http::header::{self, HeaderMap, HeaderName};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What the fields asked for before they were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopByHop {
    pub websocket: bool,
    pub trailers: bool,
}

/// `connection` holds something that is not a field name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

//= RFC 9110 section 7.6.1
pub fn strip(headers: &mut HeaderMap) -> Result<HopByHop, Malformed> {
    let mut found = HopByHop::default();
    // One look at the names is cheaper than a search for each of these fields, which are rarely there.
    if !headers.keys().any(is_hop_by_hop) {
        return Ok(found);
    }
    if headers.contains_key(header::CONNECTION) {
        found.websocket = take_nominated(headers)?;
    }
    if let Some(te) = headers.remove(header::TE) {
        found.trailers = tokens(te.as_bytes()).any(|token| token.eq_ignore_ascii_case(b"trailers"));
    }
    found.websocket &= upgrades_to_websocket(headers);
    headers.remove(header::UPGRADE);
    headers.remove(header::TRANSFER_ENCODING);
    for name in [KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS] {
        headers.remove(name);
    }
    Ok(found)
}

/// Whether `upgrade` is exactly one `websocket`.
pub fn upgrades_to_websocket(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::UPGRADE).iter();
    let first = values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    first && values.next().is_none()
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    let names = [header::CONNECTION, header::TE, header::UPGRADE, header::TRANSFER_ENCODING];
    names.contains(name) || [KEEP_ALIVE, PROXY_CONNECTION, HTTP2_SETTINGS].contains(name)
}

/// Removes `connection` and what it names; whether it names `upgrade`.
fn take_nominated(headers: &mut HeaderMap) -> Result<bool, Malformed> {
    let mut upgrade = false;
    let mut nominated = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        for token in tokens(value.as_bytes()) {
            upgrade |= token.eq_ignore_ascii_case(b"upgrade");
            nominated.push(HeaderName::from_bytes(token).map_err(|_| Malformed)?);
        }
    }
    headers.remove(header::CONNECTION);
    for name in nominated {
        // What frames the message, names the host or is handled further down cannot be taken away by the sender.
        let keep = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST, header::UPGRADE, header::TE];
        if !keep.contains(&name) {
            headers.remove(name);
        }
    }
    Ok(upgrade)
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}
