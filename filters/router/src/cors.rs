//! What browsers are told about requests from other origins, as Envoy's CORS filter does it.

use sidegate_sdk::matching::{Pattern, RequestView, StringMatch};
use sidegate_sdk::{HeadersMut, Response, Result, Setup, parse_duration};

use crate::config::{CorsPolicy, UnmatchedPreflights};
use crate::headers::is_token;

#[derive(Debug)]
pub(crate) struct Cors {
    origins: Box<[Origin]>,
    methods: Option<Box<str>>,
    headers: Option<Box<str>>,
    exposed: Option<Box<str>>,
    /// In seconds.
    max_age: Option<Box<str>>,
    with_credentials: bool,
    ignores_unmatched: bool,
}

#[derive(Debug)]
enum Origin {
    Any,
    Exact(Box<str>),
    Prefix(Box<str>),
    Regex(Box<Pattern>),
}

/// What a request is in the eyes of a policy.
#[derive(Debug)]
pub(crate) enum Cross {
    /// None of its business.
    No,
    /// A question that is answered here.
    Preflight(Response),
    /// From this origin; the response has to say that it may be read there.
    From(String),
}

impl Cors {
    /// Checks and compiles; problems are told to `setup` below `pointer`.
    pub(crate) fn compile(written: &CorsPolicy, pointer: &str, setup: &mut Setup) -> Self {
        let mut origins = Vec::new();
        for (at, origin) in written.allow_origins.iter().enumerate() {
            match compile_origin(origin) {
                Ok(origin) => origins.push(origin),
                Err((key, problem)) => setup.error(format!("{pointer}/allowOrigins/{at}/{key}"), problem),
            }
        }
        if written.allow_origins.is_empty() {
            origins.extend(written.allow_origin.iter().map(|origin| exact(origin)));
        }
        if written.allow_origins.is_empty() && origins.is_empty() {
            setup.warning(pointer, "no origin is allowed; give allowOrigins");
        }
        let max_age = written.max_age.as_deref().and_then(|text| match parse_duration(text) {
            Ok(time) if time.subsec_nanos() == 0 => Some(time.as_secs().to_string().into()),
            Ok(_) => {
                setup.error(format!("{pointer}/maxAge"), format!("`{text}` is not made of whole seconds"));
                None
            }
            Err(problem) => {
                setup.error(format!("{pointer}/maxAge"), problem);
                None
            }
        });
        let mut list = |key: &str, names: &[String]| {
            for (at, name) in names.iter().enumerate().filter(|(_, name)| !is_token(name)) {
                setup.error(format!("{pointer}/{key}/{at}"), format!("`{name}` is no name"));
            }
            (!names.is_empty()).then(|| names.join(",").into())
        };
        Self {
            methods: list("allowMethods", &written.allow_methods),
            headers: list("allowHeaders", &written.allow_headers),
            exposed: list("exposeHeaders", &written.expose_headers),
            origins: origins.into(),
            max_age,
            with_credentials: written.allow_credentials == Some(true),
            ignores_unmatched: written.unmatched_preflights == Some(UnmatchedPreflights::Ignore),
        }
    }

    pub(crate) fn judge(&self, head: &impl RequestView) -> Cross {
        let Some(origin) = head.header("origin").filter(|origin| !origin.is_empty()) else { return Cross::No };
        let is_preflight = head.method() == "OPTIONS"
            && head.header("access-control-request-method").is_some_and(|method| !method.is_empty());
        match (self.allows(&origin), is_preflight) {
            (true, true) => Cross::Preflight(self.preflight(&origin)),
            (true, false) => Cross::From(origin.into_owned()),
            (false, true) if self.ignores_unmatched => Cross::Preflight(Response::new(200).details("cors_response")),
            (false, _) => Cross::No,
        }
    }

    /// Tells the browser that `origin` may read the response.
    pub(crate) fn mark(&self, origin: &str, headers: &mut HeadersMut<'_>) -> Result<()> {
        headers.set("access-control-allow-origin", origin)?;
        if self.with_credentials {
            headers.set("access-control-allow-credentials", "true")?;
        }
        match &self.exposed {
            Some(exposed) => headers.set("access-control-expose-headers", exposed),
            None => Ok(()),
        }
    }

    fn preflight(&self, origin: &str) -> Response {
        let mut reply = Response::new(200).header("access-control-allow-origin", origin).details("cors_response");
        if self.with_credentials {
            reply = reply.header("access-control-allow-credentials", "true");
        }
        for (name, value) in [
            ("access-control-allow-methods", &self.methods),
            ("access-control-allow-headers", &self.headers),
            ("access-control-max-age", &self.max_age),
        ] {
            if let Some(value) = value {
                reply = reply.header(name, value);
            }
        }
        reply
    }

    fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| match allowed {
            Origin::Any => true,
            Origin::Exact(text) => **text == *origin,
            Origin::Prefix(text) => origin.starts_with(&**text),
            Origin::Regex(pattern) => pattern.matches(origin),
        })
    }
}

fn exact(text: &str) -> Origin {
    if text == "*" { Origin::Any } else { Origin::Exact(text.into()) }
}

fn compile_origin(written: &StringMatch) -> Result<Origin, (&'static str, String)> {
    match written {
        StringMatch::Exact(text) => Ok(exact(text)),
        StringMatch::Prefix(text) if text.is_empty() => {
            Err(("prefix", "an empty prefix allows every origin; write exact: \"*\"".to_owned()))
        }
        StringMatch::Prefix(text) => Ok(Origin::Prefix(text.as_str().into())),
        StringMatch::Regex(text) => match Pattern::full(text) {
            Ok(pattern) => Ok(Origin::Regex(Box::new(pattern))),
            Err(problem) => Err(("regex", problem)),
        },
    }
}
