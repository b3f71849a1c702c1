//! gRPC statuses by name and number, and the HTTP statuses that stand for them.

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

/// The code of a name; Istio writes names only.
pub(crate) fn code_of(name: &str) -> Option<u8> {
    CODES.iter().position(|(known, _)| *known == name).and_then(|code| u8::try_from(code).ok())
}

/// The HTTP status that stands for a code; `None` if there is no such code.
pub(crate) fn http_status_of(code: u8) -> Option<u16> {
    CODES.get(usize::from(code)).map(|(_, status)| *status)
}

/// All names, for whoever misspelt one.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CODES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_codes_are_statuses() {
        for (name, code, status) in [("OK", 0, 200), ("UNAVAILABLE", 14, 503), ("UNAUTHENTICATED", 16, 401)] {
            assert_eq!((code_of(name), http_status_of(code)), (Some(code), Some(status)));
        }
        assert_eq!((code_of("unavailable"), http_status_of(17)), (None, None));
    }
}
