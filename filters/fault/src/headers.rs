//! Envoy's headers by which a request asks for faults.

use std::num::NonZeroU64;
use std::time::Duration;

use sidegate_sdk::Share;
use sidegate_sdk::grpc::code;
use sidegate_sdk::matching::RequestView;

use crate::percentage;
use crate::policy::Abort;

/// What the headers of a request ask for.
pub(crate) struct Wishes {
    pub(crate) delay: Wish<Duration>,
    pub(crate) abort: Wish<Abort>,
    pub(crate) rate: Wish<NonZeroU64>,
}

/// One fault that may be asked for, and for how many of such requests.
pub(crate) struct Wish<T> {
    fault: Option<T>,
    share: Option<Share>,
}

impl Wishes {
    /// A value that cannot be read asks for nothing.
    pub(crate) fn of(request: &impl RequestView) -> Self {
        let number = |name: &str| request.header(name).and_then(|text| text.trim().parse::<u64>().ok());
        let share = |name: &str| request.header(name).and_then(|text| percentage::of_header(&text));
        let http = number("x-envoy-fault-abort-request").and_then(|status| u16::try_from(status).ok());
        let grpc = number("x-envoy-fault-abort-grpc-request").and_then(|code| u8::try_from(code).ok());
        let http = http.filter(|status| (200..600).contains(status)).map(Abort::Http);
        let grpc = grpc.filter(|code| code::http_status(*code).is_some()).map(Abort::Grpc);
        let rate =
            number("x-envoy-fault-throughput-response").and_then(|kib| NonZeroU64::new(kib.saturating_mul(1024)));
        Self {
            delay: Wish {
                fault: number("x-envoy-fault-delay-request").filter(|time| *time > 0).map(Duration::from_millis),
                share: share("x-envoy-fault-delay-request-percentage"),
            },
            abort: Wish { fault: http.or(grpc), share: share("x-envoy-fault-abort-request-percentage") },
            rate: Wish { fault: rate, share: share("x-envoy-fault-throughput-response-percentage") },
        }
    }
}

impl<T> Wish<T> {
    /// What is asked for in place of what is configured. The share asked for counts up to the configured one, which is
    /// all requests where nothing is configured.
    pub(crate) fn over(self, configured: Option<(T, Share)>) -> Option<(T, Share)> {
        let Some(fault) = self.fault else { return configured };
        let cap = configured.map_or(Share::ALL, |(_, share)| share);
        Some((fault, self.share.map_or(cap, |share| share.min(cap))))
    }
}
