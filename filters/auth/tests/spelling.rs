//! No spelling of a path, a host or a header passes a policy that is about it.
#![allow(clippy::unwrap_used, reason = "the helpers of a test may fail it")]

use auth::Auth;
use proptest::prelude::*;
use serde_json::{Value, json};
use sidegate_sdk::testing::Filter;

fn filter(policies: Value) -> Filter<Auth> {
    Filter::configure(&json!({"authorizationPolicies": policies}).to_string()).unwrap()
}

fn deny(operation: Value) -> Filter<Auth> {
    filter(json!([{"action": "DENY", "rules": [{"to": [{"operation": operation}]}]}]))
}

fn allow(operation: Value) -> Filter<Auth> {
    filter(json!([{"rules": [{"to": [{"operation": operation}]}]}]))
}

/// `/admin/users`, spelled with detours, escapes and slashes of any kind, and something behind it.
fn admin() -> impl Strategy<Value = String> {
    let letter = |letter: char| {
        prop_oneof![
            4 => Just(letter.to_string()),
            1 => Just(format!("%{:02x}", u32::from(letter))),
            1 => Just(format!("%{:02X}", u32::from(letter))),
        ]
    };
    let word = move |word: &'static str| word.chars().map(letter).collect::<Vec<_>>().prop_map(|parts| parts.concat());
    let slash =
        || prop::sample::select(vec!["/", "//", "/./", "\\", "%2f", "%5C", "/x/../", "/%2e/", "/x/%2E%2e/", "/../"]);
    let end = prop::sample::select(vec!["", "?", "?q=/public", "#x"]);
    (slash(), word("admin"), prop::sample::select(vec!["/", "//", "/./", "\\", "%2f", "/x/.."]), word("users"), end)
        .prop_map(|(first, admin, second, users, end)| {
            let second = if second == "/x/.." { "/x/../" } else { second };
            let first = if first.starts_with(['/', '\\', '%']) { first } else { "/" };
            format!("{first}{admin}{second}{users}{end}")
        })
}

proptest! {
    #[test]
    fn a_denied_path_is_denied_in_every_spelling(path in admin()) {
        for operation in [
            json!({"paths": ["/admin/users"]}),
            json!({"paths": ["/admin/*"]}),
            json!({"paths": ["*/users"]}),
            json!({"paths": ["/admin/{*}"]}),
            json!({"paths": ["/admin/{**}"]}),
        ] {
            prop_assert_eq!(deny(operation.clone()).get(&path).run().status(), 403, "{} {}", operation, path);
        }
    }

    #[test]
    fn a_path_that_is_not_allowed_is_not_allowed_in_any_spelling(path in admin()) {
        // Whatever prefix the spelling begins with: the path it means is not below it.
        let begin: String = path.chars().take_while(|c| *c != '?').take(3).collect();
        let prefix = format!("{}*", begin.replace('*', ""));
        let status = allow(json!({"paths": [prefix], "notPaths": ["/admin*"]})).get(&path).run().status();
        prop_assert_eq!(status, 403, "{} {}", prefix, path);
        prop_assert_eq!(allow(json!({"paths": ["/x/*", "/public*"]})).get(&path).run().status(), 403, "{}", path);
    }

    #[test]
    fn a_path_without_two_readings_is_judged_as_it_stands(path in "(/[a-z0-9._~-]{1,8}){1,4}/?", escape in "%20|%C3%A9|") {
        prop_assume!(!path.contains("/."));
        let path = format!("{path}{escape}");
        let status = |pattern: &str| allow(json!({"paths": [pattern]})).get(&path).run().status();
        for pattern in [&*path, "/*", "/{**}"] {
            prop_assert_eq!(status(pattern), 200, "{} {}", pattern, path);
        }
        let longer = format!("{path}x");
        prop_assert_eq!(status(&longer), 403, "{}", path);
    }

    #[test]
    fn a_denied_host_is_denied_in_every_spelling(
        upper in prop::collection::vec(any::<bool>(), 17), dot in "\\.?", port in "(:[0-9]{1,5})?:?", user in "([a-z]{1,3}@)?",
    ) {
        let host: String = "admin.example.com".chars().zip(upper)
            .map(|(c, up)| if up { c.to_ascii_uppercase() } else { c }).collect();
        let authority = format!("{user}{host}{dot}{}", port.trim_end_matches(':'));
        for pattern in ["admin.example.com", "*.example.com", "ADMIN.*", "admin.example.com*"] {
            let outcome = deny(json!({"hosts": [pattern]})).get("/").header(":authority", &authority).run();
            prop_assert_eq!(outcome.status(), 403, "{} {}", pattern, authority);
            let outcome = allow(json!({"notHosts": [pattern]})).get("/").header(":authority", &authority).run();
            prop_assert_eq!(outcome.status(), 403, "{} {}", pattern, authority);
        }
    }

    #[test]
    fn a_header_that_comes_twice_hides_nothing(before in prop::collection::vec("[a-z,]{0,4}", 0..3), after in prop::collection::vec("[a-z,]{0,4}", 0..3)) {
        let policy = |action: &str, key: &str| filter(json!([{"action": action, "rules": [
            {"when": [{"key": "request.headers[x-role]", key: ["banned"]}]},
        ]}]));
        for filter in [policy("DENY", "values"), policy("ALLOW", "notValues")] {
            let mut exchange = filter.get("/");
            for value in before.iter().map(String::as_str).chain(["banned"]).chain(after.iter().map(String::as_str)) {
                exchange = exchange.header("x-role", value);
            }
            prop_assert_eq!(exchange.run().status(), 403);
        }
    }
}

#[test]
fn a_host_without_port_may_be_the_one_with_the_default_port() {
    let status = |filter: Filter<Auth>, host: &str| filter.get("/").header(":authority", host).run().status();
    assert_eq!(status(deny(json!({"hosts": ["a.b:80"]})), "a.b"), 403);
    assert_eq!(status(deny(json!({"hosts": ["a.b:*"]})), "a.b"), 403);
    assert_eq!(status(allow(json!({"hosts": ["a.b:80"]})), "a.b"), 403);
    assert_eq!(status(deny(json!({"hosts": ["a.b:8080"]})), "a.b"), 200);
}
