//! What the host is told: which access logs to write, and how requests are traced.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use sidegate_sdk::serde_json::{Value, from_str, json};
use sidegate_sdk::testing::{Filter, Host};
use telemetry::Telemetry;

const PROVIDERS: &str = r#"[{"name": "file", "envoyFileAccessLog": {}}, {"name": "otel", "opentelemetry": {}}]"#;

fn configured(config: &str) -> Filter<Telemetry> {
    Host::new().property("sidegate.extensionProviders", PROVIDERS).configure(config).unwrap()
}

fn spans(config: &str) -> Value {
    from_str(&configured(config).spans().unwrap()).unwrap()
}

#[test]
fn access_logs_are_written_where_they_are_on() {
    let filter = configured(
        r#"{"accessLogging": [{}, {"disabled": true}, {"providers": [{"name": "file"}, {"name": "envoy"}]},
            {"match": {"mode": "CLIENT"}, "format": "%RESPONSE_CODE%\n"},
            {"match": {"mode": "SERVER"}, "providers": [{"name": "file"}], "disabled": true}]}"#,
    );
    let lines = |direction: i64| {
        filter.get("/").property(["xds", "listener_direction"], direction).run().access_logs().to_vec()
    };
    assert_eq!(lines(1), [3], "the first was switched off, the file for servers, the fourth is for clients");
    assert_eq!(lines(2), [2, 3, 4]);
    let silent = Filter::<Telemetry>::configure("{}").unwrap();
    assert!(silent.get("/").run().access_logs().is_empty());
}

#[test]
fn a_provider_of_another_kind_is_refused() {
    let host = || Host::new().property("sidegate.extensionProviders", PROVIDERS);
    for (config, place) in [
        (r#"{"accessLogging": [{"providers": [{"name": "otel"}]}]}"#, "/accessLogging/0/providers/0/name"),
        (r#"{"tracing": [{"providers": [{"name": "file"}]}]}"#, "/tracing/0/providers/0/name"),
    ] {
        let problems = host().configure::<Telemetry>(config).err().unwrap();
        assert_eq!(problems[0].pointer, place);
    }
}

#[test]
fn spans_are_passed_on_without_a_word() {
    assert_eq!(spans("{}"), json!({"inbound": {}, "outbound": {}}));
}

#[test]
fn sides_are_drawn_as_their_last_entry_says() {
    let all = spans(
        r#"{"tracing": [{"providers": [{"name": "otel"}], "customTags": {"a": {"header": {"name": "X-A"}}}},
            {"match": {"mode": "SERVER"}, "providers": [{"name": "otel"}], "randomSamplingPercentage": 100,
             "disableSpanReporting": true}]}"#,
    );
    assert_eq!(all["inbound"], json!({"percentage": 100.0}));
    let tags = json!({"a": {"header": {"name": "x-a", "defaultValue": null}}});
    assert_eq!(all["outbound"], json!({"percentage": 1.0, "provider": "otel", "tags": tags}));
}

#[test]
fn a_host_without_our_functions_still_counts() {
    let filter: Filter<Telemetry> = Host::foreign().configure(r#"{"accessLogging": [{}]}"#).unwrap();
    let outcome = filter.get("/").run();
    assert!(outcome.access_logs().is_empty());
    assert!(filter.metrics().iter().any(|series| series.starts_with("istio_requests_total{")));
    let problems = Host::foreign().configure::<Telemetry>(r#"{"tracing": [{}]}"#).err().unwrap();
    assert_eq!(problems[0].pointer, "/tracing");
}
