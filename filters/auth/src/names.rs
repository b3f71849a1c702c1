//! Names and values of headers.

/// Whether a text is a name that a header may have: no pseudo header, nothing that frames a message.
pub(crate) fn is_header(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// Whether a header may be written by us: the host owns framing and authority.
pub(crate) fn is_writable(name: &str) -> bool {
    is_header(name) && !is_framing(name) && !name.eq_ignore_ascii_case("host")
}

/// Whether a header belongs to one connection or frames its message.
pub(crate) fn is_framing(name: &str) -> bool {
    const FRAMING: [&str; 9] = [
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    ];
    FRAMING.iter().any(|framing| framing.eq_ignore_ascii_case(name))
}

/// Whether a value can stand in a header: no control characters.
pub(crate) fn is_value(value: &str) -> bool {
    !value.bytes().any(|byte| byte.is_ascii_control())
}
