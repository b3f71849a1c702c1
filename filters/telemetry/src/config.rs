//! The written form: `Telemetry.spec` with Istio's names.

use sidegate_sdk::serde_json::Value;
use sidegate_sdk::{Setup, config};

/// The configuration of `builtin:telemetry`. Nothing written: every request metric, no access log.
#[config]
#[derive(Default)]
pub struct TelemetryConfig {
    /// Access logs; an entry without words is Envoy's format on stdout.
    #[serde(default)]
    pub access_logging: Vec<AccessLogging>,
    /// Not supported yet.
    pub metrics: Option<Value>,
    /// Not supported yet.
    pub tracing: Option<Value>,
}

/// One access log.
#[config]
#[derive(Default)]
pub struct AccessLogging {
    /// Where to. `envoy` is stdout, and so is no provider; an entry that names only others is left out.
    #[serde(default)]
    pub providers: Vec<Provider>,
    /// Whether this entry is off. Default false.
    #[serde(default)]
    pub disabled: bool,
    /// Envoy's operators in a line. Default: Envoy's own format.
    pub format: Option<String>,
    /// Not supported yet.
    pub filter: Option<Value>,
    /// Not supported yet.
    #[serde(rename = "match")]
    pub matches: Option<Value>,
}

/// A provider by name.
#[config]
pub struct Provider {
    /// Its name.
    pub name: String,
}

impl TelemetryConfig {
    pub(crate) fn refuse_unsupported(&self, setup: &mut Setup) {
        let mut refuse = |part: &Option<Value>, pointer: String| {
            if part.is_some() {
                setup.error(pointer, "not supported yet");
            }
        };
        refuse(&self.metrics, "/metrics".to_owned());
        refuse(&self.tracing, "/tracing".to_owned());
        for (number, entry) in self.access_logging.iter().enumerate() {
            refuse(&entry.filter, format!("/accessLogging/{number}/filter"));
            refuse(&entry.matches, format!("/accessLogging/{number}/match"));
        }
    }
}

impl AccessLogging {
    /// Whether lines are written for this entry.
    #[must_use]
    pub fn is_on(&self) -> bool {
        let is_ours = self.providers.is_empty() || self.providers.iter().any(|provider| provider.name == "envoy");
        is_ours && !self.disabled
    }
}
