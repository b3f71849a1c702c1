//! The hooks by name: exports, labels, signatures, which may be skipped.

use std::fmt;

use crate::abi::AbiVersion;

/// Every place where a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    Start,
    VmStart,
    Configure,
    ContextCreate,
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
    CalloutResponse,
    GrpcInitialMetadata,
    GrpcReceive,
    GrpcTrailingMetadata,
    GrpcClose,
    ForeignFunction,
    QueueReady,
    Tick,
    Log,
    Done,
    Delete,
}

impl Hook {
    pub const ALL: [Self; 21] = [
        Self::Start,
        Self::VmStart,
        Self::Configure,
        Self::ContextCreate,
        Self::RequestHeaders,
        Self::RequestBody,
        Self::RequestTrailers,
        Self::ResponseHeaders,
        Self::ResponseBody,
        Self::ResponseTrailers,
        Self::CalloutResponse,
        Self::GrpcInitialMetadata,
        Self::GrpcReceive,
        Self::GrpcTrailingMetadata,
        Self::GrpcClose,
        Self::ForeignFunction,
        Self::QueueReady,
        Self::Tick,
        Self::Log,
        Self::Done,
        Self::Delete,
    ];

    /// Hooks that an operator or our SDK's declaration may rule out.
    pub const SKIPPABLE: [Self; 9] = [
        Self::ContextCreate,
        Self::RequestHeaders,
        Self::RequestBody,
        Self::RequestTrailers,
        Self::ResponseHeaders,
        Self::ResponseBody,
        Self::ResponseTrailers,
        Self::Log,
        Self::Done,
    ];

    /// The name of the export.
    pub fn export(self) -> &'static str {
        match self {
            Self::Start => "_initialize",
            Self::VmStart => "proxy_on_vm_start",
            Self::Configure => "proxy_on_configure",
            Self::ContextCreate => "proxy_on_context_create",
            Self::RequestHeaders => "proxy_on_request_headers",
            Self::RequestBody => "proxy_on_request_body",
            Self::RequestTrailers => "proxy_on_request_trailers",
            Self::ResponseHeaders => "proxy_on_response_headers",
            Self::ResponseBody => "proxy_on_response_body",
            Self::ResponseTrailers => "proxy_on_response_trailers",
            Self::CalloutResponse => "proxy_on_http_call_response",
            Self::GrpcInitialMetadata => "proxy_on_grpc_receive_initial_metadata",
            Self::GrpcReceive => "proxy_on_grpc_receive",
            Self::GrpcTrailingMetadata => "proxy_on_grpc_receive_trailing_metadata",
            Self::GrpcClose => "proxy_on_grpc_close",
            Self::ForeignFunction => "proxy_on_foreign_function",
            Self::QueueReady => "proxy_on_queue_ready",
            Self::Tick => "proxy_on_tick",
            Self::Log => "proxy_on_log",
            Self::Done => "proxy_on_done",
            Self::Delete => "proxy_on_delete",
        }
    }

    /// The value of the `hook` label: the export without `proxy_`.
    pub fn as_str(self) -> &'static str {
        let name = self.export();
        name.strip_prefix("proxy_").unwrap_or(name)
    }

    /// Whether an operator's `hooks:` entry means this hook: with or without the prefix `proxy_` or `proxy_on_`.
    pub fn is_named(self, name: &str) -> bool {
        let short = |text: &str| text.trim_start_matches("proxy_").trim_start_matches("on_").to_owned();
        short(name) == short(self.export())
    }

    /// How many 32-bit integers the export takes, and whether it returns one.
    pub(crate) fn signature(self, abi: AbiVersion) -> (usize, bool) {
        match self {
            Self::Start => (0, false),
            Self::VmStart | Self::Configure | Self::RequestTrailers | Self::ResponseTrailers => (2, true),
            Self::RequestHeaders | Self::ResponseHeaders if abi == AbiVersion::V0_1_0 => (2, true),
            Self::RequestHeaders | Self::ResponseHeaders | Self::RequestBody | Self::ResponseBody => (3, true),
            Self::ContextCreate | Self::QueueReady => (2, false),
            Self::CalloutResponse => (5, false),
            Self::GrpcInitialMetadata | Self::GrpcReceive | Self::GrpcTrailingMetadata | Self::GrpcClose => (3, false),
            Self::ForeignFunction => (3, false),
            Self::Tick | Self::Log | Self::Delete => (1, false),
            Self::Done => (1, true),
        }
    }

    /// Hooks that run once, while the VM is made.
    pub(crate) fn prepares(self) -> bool {
        matches!(self, Self::Start | Self::VmStart | Self::Configure)
    }

    /// Hooks after which nothing can be done for the exchange any more.
    pub(crate) fn ends_stream(self) -> bool {
        matches!(self, Self::Log | Self::Done | Self::Delete)
    }

    pub(crate) fn may_be_skipped(self) -> bool {
        Self::SKIPPABLE.contains(&self)
    }

    /// What a hook without effect returns.
    pub(crate) fn neutral(self) -> i32 {
        matches!(self, Self::Done | Self::VmStart | Self::Configure).into()
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Some of the hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookSet(u32);

impl HookSet {
    #[inline]
    pub fn has(self, hook: Hook) -> bool {
        self.0 & (1 << hook as u32) != 0
    }
}

impl FromIterator<Hook> for HookSet {
    fn from_iter<I: IntoIterator<Item = Hook>>(hooks: I) -> Self {
        Self(hooks.into_iter().fold(0, |set, hook| set | (1 << hook as u32)))
    }
}
