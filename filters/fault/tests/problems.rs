//! What is refused, with the place that is wrong.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of a test may fail it")]

use fault::Fault;
use serde_json::{Value, json};
use sidegate_sdk::Severity;
use sidegate_sdk::testing::Filter;

fn delay(fields: Value) -> Value {
    json!({"rules": [{"fault": {"delay": fields}}]})
}

fn abort(fields: Value) -> Value {
    json!({"rules": [{"fault": {"abort": fields}}]})
}

#[test]
fn every_rule_names_its_place() {
    let all = json!({"value": 100});
    for (config, pointer, word) in [
        (json!({"rule": []}), "/rule", "did you mean `rules`"),
        (json!({"rules": [{}]}), "/rules/0", "missing field `fault`"),
        (json!({"rules": [{"fault": {}}]}), "/rules/0/fault", "a delay, an abort or both"),
        (delay(json!({"percentage": all})), "/rules/0/fault/delay", "needs fixedDelay"),
        (delay(json!({"fixedDelay": "5", "percentage": all})), "/rules/0/fault/delay/fixedDelay", "write for example"),
        (delay(json!({"fixedDelay": "10us", "percentage": all})), "/rules/0/fault/delay/fixedDelay", "at least 1ms"),
        (
            delay(json!({"fixedDelay": "1s", "percentage": {"value": 0.00001}})),
            "/rules/0/fault/delay/percentage/value",
            "from 0.0001 to 100",
        ),
        (
            delay(json!({"fixedDelay": "1s", "percentage": {"value": 101}})),
            "/rules/0/fault/delay/percentage/value",
            "from 0.0001 to 100",
        ),
        (
            delay(json!({"fixedDelay": "1s", "exponentialDelay": "1s", "percentage": all})),
            "/rules/0/fault/delay/exponentialDelay",
            "not supported",
        ),
        (abort(json!({"percentage": all})), "/rules/0/fault/abort", "one of httpStatus and grpcStatus"),
        (
            abort(json!({"httpStatus": 199, "percentage": all})),
            "/rules/0/fault/abort/httpStatus",
            "between 200 and 599",
        ),
        (
            abort(json!({"httpStatus": 600, "percentage": all})),
            "/rules/0/fault/abort/httpStatus",
            "between 200 and 599",
        ),
        (abort(json!({"grpcStatus": "14", "percentage": all})), "/rules/0/fault/abort/grpcStatus", "UNAVAILABLE"),
        (
            abort(json!({"httpStatus": 500, "grpcStatus": "OK", "percentage": all})),
            "/rules/0/fault/abort/grpcStatus",
            "exclude",
        ),
        (
            abort(json!({"httpStatus": 500, "http2Error": "x", "percentage": all})),
            "/rules/0/fault/abort/http2Error",
            "not",
        ),
        (
            json!({"rules": [{"match": [{}, {"uri": {"regex": "("}}], "fault": {"abort": {"httpStatus": 500, "percentage": all}}}]}),
            "/rules/0/match/1/uri/regex",
            "unclosed",
        ),
        (json!({"responseRateLimit": {}}), "/responseRateLimit", "bytesPerSecond"),
        (json!({"responseRateLimit": {"bytesPerSecond": 0}}), "/responseRateLimit/bytesPerSecond", "the least is 1"),
        (json!({"maxActiveFaults": -1}), "/maxActiveFaults", "-1"),
    ] {
        let problems = Filter::<Fault>::configure(&config.to_string()).unwrap_err();
        let errors: Vec<_> = problems.iter().filter(|problem| problem.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{config}: {problems:?}");
        assert_eq!(errors[0].pointer, pointer, "{config}");
        assert!(errors[0].text.contains(word), "{config}: {}", errors[0].text);
    }
}

#[test]
fn what_is_odd_is_warned_of() {
    for (config, pointer) in [
        (json!({}), ""),
        (delay(json!({"fixedDelay": "1s"})), "/rules/0/fault/delay"),
        (abort(json!({"httpStatus": 500})), "/rules/0/fault/abort"),
        (delay(json!({"fixedDelay": "11m", "percentage": {"value": 1}})), "/rules/0/fault/delay/fixedDelay"),
    ] {
        let filter = Filter::<Fault>::configure(&config.to_string()).unwrap();
        assert_eq!(filter.warnings().iter().map(|problem| problem.pointer.as_str()).collect::<Vec<_>>(), [pointer]);
    }
}
