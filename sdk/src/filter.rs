//! What an author writes.

use std::future::Future;

use serde::de::DeserializeOwned;

use crate::body::Bodies;
use crate::config::Setup;
use crate::error::Result;
use crate::message::{Request, Response};
use crate::next::Next;
use crate::view::LogView;

/// A filter: one value per configuration and worker, one call of [`Filter::handle`] per exchange.
///
/// Implement it under `#[filter]`, which exports the hooks that the implementation needs and no others, and fills in
/// `type Config = Self` and `configure` where they are left out. Several exchanges run at a time between `.await`s,
/// always on one thread: state that changes goes into `Cell` or `RefCell`.
///
/// ```
/// use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter, testing};
///
/// /// Greets whoever asks.
/// #[config]
/// struct Greeter {
///     /// What the answer's `x-greeting` says.
///     greeting: String,
/// }
///
/// #[filter]
/// impl Filter for Greeter {
///     async fn handle(&self, req: Request, next: Next) -> Result<Response> {
///         let mut res = next.run(req).await?;
///         res.headers_mut().set("x-greeting", &self.greeting)?;
///         Ok(res)
///     }
/// }
///
/// let filter = testing::Filter::<Greeter>::configure(r#"{"greeting": "hi"}"#).unwrap();
/// assert_eq!(filter.get("/").run().header("x-greeting"), Some("hi"));
/// ```
pub trait Filter: Sized + 'static {
    /// The configuration as it is written. Default: the filter itself.
    type Config: Config;

    /// Makes the filter of its configuration. Problems that the type cannot express are told to `setup`, each with its
    /// place. Default: takes the configuration as it is.
    ///
    /// # Errors
    /// Any error refuses the configuration; the version before it keeps serving.
    fn configure(config: Self::Config, setup: &mut Setup) -> Result<Self>;

    /// Which bodies the filter takes. Default: none.
    #[must_use]
    fn body() -> Bodies {
        Bodies::none()
    }

    /// The life of one exchange. `.await` on a callout holds the request, on `next` it lets it go; a response returned
    /// before that is a local reply. An error is logged and answered with its [`status`](crate::Error::status).
    fn handle(&self, request: Request, next: Next) -> impl Future<Output = Result<Response>> {
        async move { next.run(request).await }
    }

    /// Runs when the exchange is over, whatever became of it.
    fn log(&self, view: &LogView<'_>) {
        let _ = view;
    }

    /// Runs every [`Setup::every`]. The next one waits until this one is done.
    fn tick(&self) -> impl Future<Output = ()> {
        async {}
    }

    /// What the implementation uses; written by `#[filter]`.
    #[doc(hidden)]
    const USES: Uses;
}

/// A type that a configuration can be read into: `#[config]` makes one.
#[cfg(target_arch = "wasm32")]
pub trait Config: DeserializeOwned {}
#[cfg(target_arch = "wasm32")]
impl<T: DeserializeOwned> Config for T {}

/// A type that a configuration can be read into: `#[config]` makes one.
#[cfg(not(target_arch = "wasm32"))]
pub trait Config: DeserializeOwned + schemars::JsonSchema {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: DeserializeOwned + schemars::JsonSchema> Config for T {}

/// Which parts of the SDK a filter links.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Uses {
    pub handle: bool,
    pub response: bool,
    pub request_body: bool,
    pub response_body: bool,
    pub callouts: bool,
    pub grpc: bool,
    pub sleep: bool,
    pub ticks: bool,
    pub log: bool,
}
