//! Texts that mean harm: they are answered, soon, and without a panic.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use sidegate_config::{Source, parse};

fn read(text: String) -> Result<sidegate_config::Loaded, sidegate_config::Problems> {
    parse(&[Source { path: "c.yaml".into(), text }])
}

/// Far above what any of these takes, far below what a quadratic reader would need.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_mebibyte_of_any_shape_is_read_soon() {
    let mebibyte = |piece: &str| piece.repeat((1 << 20) / piece.len());
    let shapes = [
        ("unknown keys", (0..60_000).map(|n| format!("timeot{n}: {n}\n")).collect::<String>()),
        ("clusters", {
            let cluster = |n| format!("- {{name: c{n}, hosts: [h{n}], endpoints: [{{address: 10.0.0.1:80}}]}}\n");
            format!("clusters:\n{}", (0..16_000).map(cluster).collect::<String>())
        }),
        ("bad clusters", format!("clusters:\n{}", mebibyte("- {nam: c, endpoints: [{adress: 7, weight: -1}]}\n"))),
        ("filter configuration", {
            let routes = mebibyte("      - {match: [{uri: {prefix: /a}}], route: [{destination: {host: a}}]}\n");
            format!("listeners:\n- name: a\n  address: 127.0.0.1:1\n  filters:\n  - plugin: r\n    config:\n{routes}")
        }),
        ("brackets", mebibyte("[")),
        ("braces", mebibyte("{")),
        ("dashes", mebibyte("- ")),
        ("colons", mebibyte("a: ")),
        ("quotes", mebibyte("\"")),
        ("anchors", mebibyte("- &a x\n")),
        ("aliases", format!("- &a x\n{}", mebibyte("- *a\n"))),
        ("long line", mebibyte("a")),
        ("long key", format!("{}: 1", mebibyte("k"))),
        ("comments", mebibyte("#\n")),
        ("documents", mebibyte("---\n")),
        ("indentation", (0..1400).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
        ("tags", mebibyte("- !a b\n")),
        ("flow list", format!("[{}]", mebibyte("a,"))),
        ("flow map", format!("{{{}}}", mebibyte("a,"))),
        ("question marks", mebibyte("? ")),
    ];
    for (shape, text) in shapes {
        let start = Instant::now();
        let _ = read(text);
        assert!(start.elapsed() < SOON, "{shape} took {:?}", start.elapsed());
    }
}

#[test]
fn aliases_cannot_blow_a_text_up() {
    let mut text = String::from("node:\n  metadata:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..12 {
        let before = format!("*a{}, ", n - 1).repeat(10);
        text += &format!("    a{n}: &a{n} [{}]\n", before.trim_end_matches(", "));
    }
    let problems = read(text).unwrap_err().to_string();
    assert!(problems.contains("aliases make this configuration too large or too deep"), "{problems}");
}

#[test]
fn aliases_cannot_nest_without_end() {
    let mut text = String::from("node:\n  metadata:\n    a0: &a0 [x]\n");
    for n in 1..1000 {
        text += &format!("    a{n}: &a{n} [*a{}]\n", n - 1);
    }
    let problems = read(text).unwrap_err().to_string();
    assert!(problems.contains("too large or too deep"), "{problems}");
    let problems = read("a: &a [*a]\n".to_owned()).unwrap_err().to_string();
    assert!(problems.contains("an alias inside the value that it stands for"), "{problems}");
}

#[test]
fn depth_is_bounded_where_a_filter_could_not_follow() {
    let nested = |depth| format!("node: {{metadata: {{a: {}{}}}}}\n", "[".repeat(depth), "]".repeat(depth));
    assert!(read(nested(90)).is_ok());
    let problems = read(nested(120)).unwrap_err().to_string();
    assert!(problems.contains("more than 100 levels"), "{problems}");
}

#[test]
fn a_thousand_problems_are_enough() {
    let problems = read("x: 1\n".repeat(3000)).unwrap_err();
    assert_eq!(problems.0.len(), 1001);
    assert_eq!(problems.0[1000].message, "and 2000 further problems");
}

/// Words of the language put together at random get deeper into the reader than random characters.
fn soup() -> impl Strategy<Value = String> {
    let words = vec![
        "listeners",
        "clusters",
        "plugins",
        "name",
        "address",
        "filters",
        "match",
        "config",
        "uri",
        "prefix",
        "url",
        "limits",
        "pause",
        "node",
        "metadata",
        "drain",
        "minimum",
        ":",
        ": ",
        "\n",
        "\n  ",
        "\n- ",
        "\n  - ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "!!int ",
        "<<",
        "? ",
        "|\n",
        "'",
        "\"",
        "1",
        "0x",
        "1e999",
        ".inf",
        "127.0.0.1:1",
        "10ms",
        "unix:",
        "file:x",
        "---\n",
        "# ",
        "\t",
        "é",
        "\0",
        "\r\n",
        "~",
        "90%",
        "builtin:",
        "trafficPolicy",
    ];
    prop::collection::vec(prop::sample::select(words), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_characters_make_it_panic(text in any::<String>()) {
        let _ = read(text);
    }

    #[test]
    fn no_words_make_it_panic(text in soup()) {
        if let Ok(loaded) = read(text) {
            for entry in loaded.config.listeners.iter().flat_map(|listener| &listener.filters) {
                entry.config.locate("/a/0/b");
            }
        }
    }

    #[test]
    fn config_bytes_of_a_json_value_are_that_value(text in "[ -~é\\n\\t]{0,20}", number in any::<i64>(), float in -1e9f64..1e9) {
        let value = serde_json::json!({"text": text, "list": [number, float, null, true], "deep": {"a": {"b": []}}});
        let source = format!(
            "{{\"listeners\": [{{\"name\": \"a\", \"address\": \"127.0.0.1:1\", \"filters\": \
             [{{\"plugin\": \"p\", \"config\": {value}}}]}}]}}"
        );
        let loaded = read(source).unwrap();
        let bytes = loaded.config.listeners[0].filters[0].config.bytes().unwrap();
        prop_assert_eq!(String::from_utf8(bytes.to_vec()).unwrap(), value.to_string());
    }
}
