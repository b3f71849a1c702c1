//! Decides whether a request is meant by an Istio `HTTPMatchRequest`.
//!
//! The same crate is compiled into the filters (wasm32) and into the proxy, so that a chain entry's `match` and the
//! router's `match` can never disagree. [`HttpMatchRequest`] is the written form, [`Matcher`] the compiled one, and
//! [`RequestView`] what a host or a filter offers of a request. Nothing here does IO, and matching allocates only for
//! values that the view itself has to build.
//!
//! A regular expression has RE2's syntax and matches the whole value. It sees bytes: `.` is one byte, `\d`, `\w` and
//! `\s` are ASCII, and the expression itself is written in ASCII. Search time is linear in the value.
//!
//! ```
//! use sidegate_matching::{HttpMatchRequest, RequestView};
//! use std::borrow::Cow;
//!
//! struct Get(&'static str);
//! impl RequestView for Get {
//!     fn path(&self) -> &str { self.0 }
//!     fn method(&self) -> &str { "GET" }
//!     fn scheme(&self) -> &str { "http" }
//!     fn authority(&self) -> &str { "shop.example.com" }
//!     fn header(&self, _name: &str) -> Option<Cow<'_, str>> { None }
//! }
//!
//! let written: HttpMatchRequest = serde_json::from_str(r#"{"uri": {"prefix": "/reviews"}}"#).unwrap();
//! let matcher = written.compile().unwrap();
//! assert!(matcher.matches(&Get("/reviews/7?full")));
//! assert!(!matcher.matches(&Get("/")));
//! ```

mod claims;
mod compile;
mod pattern;
mod query;
mod request;
mod view;

pub use compile::{MatchProblem, Matcher, UriMatch};
pub use pattern::Pattern;
pub use query::query_value;
pub use request::{HttpMatchRequest, StringMatch, ValueMatch};
pub use view::{RequestView, path_only};
