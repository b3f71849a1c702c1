//! Adds `x-greeting` to every response, written on the published `proxy-wasm` crate: such filters run unmodified.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Greeter { greeting: "".into() }));
}}

/// Reads the configuration of the filter: the greeting.
///
/// # Errors
/// If the bytes are not JSON with exactly the key `greeting`.
pub fn read_greeting(config: &[u8]) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        greeting: String,
    }
    serde_json::from_slice::<Config>(config).map(|config| config.greeting)
}

struct Greeter {
    greeting: Rc<str>,
}

impl Context for Greeter {}

impl RootContext for Greeter {
    fn on_configure(&mut self, _size: usize) -> bool {
        match read_greeting(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(greeting) => {
                self.greeting = greeting.into();
                true
            }
            Err(problem) => {
                log::error!("configuration: {problem}");
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Greeting(Rc::clone(&self.greeting))))
    }
}

struct Greeting(Rc<str>);

impl Context for Greeting {}

impl HttpContext for Greeting {
    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_response_header("x-greeting", Some(&self.0));
        Action::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::read_greeting;

    #[test]
    fn the_greeting_is_read_and_other_keys_are_refused() {
        assert_eq!(read_greeting(br#"{"greeting": "hi"}"#).unwrap(), "hi");
        assert!(read_greeting(br#"{"greting": "hi"}"#).unwrap_err().to_string().contains("greting"));
        assert!(read_greeting(b"").is_err());
    }
}
