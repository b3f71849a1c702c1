//! Response flags: why a response is what it is, in Envoy's short codes and bits.

/// A set of response flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u64);

macro_rules! flags {
    ($($name:ident = $bit:literal, $code:literal, $meaning:literal;)*) => {
        impl Flags {
            $(#[doc = $meaning] pub const $name: Self = Self(1 << $bit);)*
            const CODES: &'static [(u64, &'static str)] = &[$((1 << $bit, $code)),*];
        }
    };
}

// The bit is the position in Envoy's CoreResponseFlag, which `response.flags` exposes.
flags! {
    FAILED_LOCAL_HEALTH_CHECK = 0, "LH", "Local service failed its health check.";
    NO_HEALTHY_UPSTREAM = 1, "UH", "No healthy endpoint in the cluster.";
    UPSTREAM_TIMEOUT = 2, "UT", "The route's timeout ran out.";
    LOCAL_RESET = 3, "LR", "We reset the exchange.";
    UPSTREAM_RESET = 4, "UR", "The upstream reset the exchange.";
    UPSTREAM_CONNECTION_FAILURE = 5, "UF", "No connection to the upstream could be made.";
    UPSTREAM_CONNECTION_TERMINATION = 6, "UC", "The upstream closed the connection.";
    UPSTREAM_OVERFLOW = 7, "UO", "A circuit breaker refused.";
    NO_ROUTE = 8, "NR", "No route matched.";
    DELAY_INJECTED = 9, "DI", "A fault filter delayed the request.";
    FAULT_INJECTED = 10, "FI", "A fault filter aborted the request.";
    RATE_LIMITED = 11, "RL", "A rate limit refused.";
    UNAUTHORIZED_EXTERNAL = 12, "UAEX", "An external authorizer refused.";
    RATE_LIMIT_SERVICE_ERROR = 13, "RLSE", "The rate limit service failed.";
    DOWNSTREAM_TERMINATION = 14, "DC", "The client went away.";
    RETRY_LIMIT = 15, "URX", "Retries were used up.";
    STREAM_IDLE_TIMEOUT = 16, "SI", "The exchange idled too long.";
    DOWNSTREAM_PROTOCOL_ERROR = 18, "DPE", "The client broke the protocol.";
    UPSTREAM_PROTOCOL_ERROR = 23, "UPE", "The upstream broke the protocol.";
    NO_CLUSTER = 24, "NC", "The cluster does not exist.";
    OVERLOAD = 25, "OM", "We shed load.";
}

impl Flags {
    pub fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }
    pub fn bits(self) -> u64 {
        self.0
    }
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flag with this short code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::CODES.iter().find(|(_, known)| *known == code).map(|(bit, _)| Self(*bit))
    }

    /// Short codes joined by commas, `-` for none.
    pub fn write(self, out: &mut Vec<u8>) {
        let start = out.len();
        for (bit, code) in Self::CODES {
            if self.0 & bit != 0 {
                if out.len() > start {
                    out.push(b',');
                }
                out.extend_from_slice(code.as_bytes());
            }
        }
        if out.len() == start {
            out.push(b'-');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let mut flags = Flags::NO_ROUTE;
        flags.insert(Flags::parse("UT").unwrap());
        let mut out = Vec::new();
        flags.write(&mut out);
        assert_eq!(out, b"UT,NR");
        assert_eq!(Flags::parse("XX"), None);
        // What Envoy 1.40 shows a filter of a request without a cluster.
        assert_eq!(Flags::NO_CLUSTER.bits(), 16_777_216);
    }
}
