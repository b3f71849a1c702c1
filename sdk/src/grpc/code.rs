//! The status codes of gRPC by name, and the HTTP statuses that stand for them where a client does not speak gRPC.
//!
//! ```
//! use sidegate_sdk::grpc::code;
//!
//! assert_eq!(code::of("UNAVAILABLE"), Some(14));
//! assert_eq!(code::http_status(14), Some(503));
//! assert_eq!((code::of("unavailable"), code::http_status(17)), (None, None));
//! assert_eq!(code::names().next(), Some("OK"));
//! ```

/// Name and HTTP status of each code, from 0 on; as in Envoy.
const CODES: [(&str, u16); 17] = [
    ("OK", 200),
    ("CANCELLED", 499),
    ("UNKNOWN", 500),
    ("INVALID_ARGUMENT", 400),
    ("DEADLINE_EXCEEDED", 504),
    ("NOT_FOUND", 404),
    ("ALREADY_EXISTS", 409),
    ("PERMISSION_DENIED", 403),
    ("RESOURCE_EXHAUSTED", 429),
    ("FAILED_PRECONDITION", 400),
    ("ABORTED", 409),
    ("OUT_OF_RANGE", 400),
    ("UNIMPLEMENTED", 501),
    ("INTERNAL", 500),
    ("UNAVAILABLE", 503),
    ("DATA_LOSS", 500),
    ("UNAUTHENTICATED", 401),
];

/// The code of a name, which is written as above; `None` if there is none of this name.
#[must_use]
pub fn of(name: &str) -> Option<u8> {
    CODES.iter().position(|(known, _)| *known == name).and_then(|code| u8::try_from(code).ok())
}

/// The HTTP status that stands for a code; `None` if there is no such code.
#[must_use]
pub fn http_status(code: u8) -> Option<u16> {
    CODES.get(usize::from(code)).map(|(_, status)| *status)
}

/// All names, for whoever misspelt one.
pub fn names() -> impl Iterator<Item = &'static str> {
    CODES.iter().map(|(name, _)| *name)
}
