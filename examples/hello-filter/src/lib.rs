//! Adds `x-greeting` to every response.
#![forbid(unsafe_code)]

use sidegate_sdk::{Filter, Next, Request, Response, Result, config, filter};

/// The configuration, and the filter itself.
#[config]
pub struct Greeter {
    /// What `x-greeting` says.
    greeting: String,
}

#[filter]
impl Filter for Greeter {
    async fn handle(&self, req: Request, next: Next) -> Result<Response> {
        let mut res = next.run(req).await?;
        res.headers_mut().set("x-greeting", &self.greeting)?;
        Ok(res)
    }
}
