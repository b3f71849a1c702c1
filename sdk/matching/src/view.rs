//! What a matcher may ask of a request.

use std::borrow::Cow;

/// A request as a matcher sees it. Every method is asked only when a match needs it, so a view may be lazy.
pub trait RequestView {
    /// The path with its query, as in `:path`.
    fn path(&self) -> &str;
    /// The method, upper-case as it came.
    fn method(&self) -> &str;
    /// `http` or `https`.
    fn scheme(&self) -> &str;
    /// The authority (`Host`), with a port if it was written.
    fn authority(&self) -> &str;
    /// All values of a header joined by `,`; `None` if the header is absent. `name` is lower-case.
    fn header(&self, name: &str) -> Option<Cow<'_, str>>;
    /// The verified JWT claims as one JSON object, for `@request.auth.claims`. Default: none.
    fn claims(&self) -> Option<Cow<'_, str>> {
        None
    }
    /// The listener port that the request came to. Default: unknown, and a match on `port` then fails.
    fn local_port(&self) -> Option<u16> {
        None
    }
}

/// The path without query and fragment.
#[must_use]
pub fn path_only(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or(path)
}
