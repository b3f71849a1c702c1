use sidegate_wasm_host::testing::FakeHost;

use crate::guest::{Guest, in_tick, spec};

#[test]
fn ids_carry_the_kind_in_their_low_bits() {
    let define =
        |kind: u32, name: &str| format!("(call $say (call $proxy_define_metric #{kind} '{name}' #24)) (call $word)");
    let body =
        [define(0, "c"), define(0, "d"), define(1, "g"), define(1, "h"), define(2, "i"), define(0, "c")].concat();
    assert_eq!(in_tick(&body), ["0", "4", "0", "8", "0", "5", "0", "9", "0", "6", "0", "12"]);
    assert_eq!(in_tick("(call $say (call $proxy_define_metric #3 'x' #24))"), ["2"]);
}

#[test]
fn values() {
    let get = |id: u32| format!("(call $say (call $proxy_get_metric #{id} #24)) (call $word)");
    let body = format!(
        "(drop (call $proxy_define_metric #0 'c' #24))
         (drop (call $proxy_define_metric #1 'g' #24))
         (drop (call $proxy_define_metric #2 'h' #24))
         (call $say (call $proxy_increment_metric #4 (i64.const 3)))
         (call $say (call $proxy_increment_metric #4 (i64.const 0)))
         (call $say (call $proxy_increment_metric #4 (i64.const -1)))
         (call $say (call $proxy_record_metric #4 (i64.const 4))) {}
         (call $say (call $proxy_record_metric #5 (i64.const 2)))
         (call $say (call $proxy_increment_metric #5 (i64.const -3))) {} (call $say (i32.load #28))
         (call $say (call $proxy_record_metric #6 (i64.const 9)))
         (call $say (call $proxy_increment_metric #6 (i64.const 1))) {}",
        get(4),
        get(5),
        get(6)
    );
    let mut run = Guest::new("tick", &body).start();
    run.tick();
    let expected = ["0", "2", "2", "0", "0", "7", "0", "0", "0", "-1", "-1", "0", "2", "2", "-1"];
    assert_eq!(run.said(), expected, "a gauge wraps below zero, a counter adds what is recorded");
    assert_eq!(run.host.metrics[2].records, [9]);
}

#[test]
fn unknown_ids() {
    let ask = |id: i32| {
        format!(
            "(call $say (call $proxy_increment_metric #{id} (i64.const 1)))
             (call $say (call $proxy_record_metric #{id} (i64.const 1)))
             (call $say (call $proxy_get_metric #{id} #24))"
        )
    };
    for (id, expected) in [
        (0, ["1", "1", "1"]),
        (4, ["1", "1", "1"]),
        (5, ["1", "1", "1"]),
        (6, ["2", "1", "2"]),
        (7, ["2", "1", "2"]),
        (-1, ["2", "1", "2"]),
    ] {
        assert_eq!(in_tick(&ask(id)), expected, "id {id}");
    }
}

#[test]
fn what_the_proxy_refuses_is_handed_on() {
    let body = "(drop (call $proxy_define_metric #0 'a' #24)) (call $say (call $proxy_define_metric #0 'b' #24))";
    let mut host = FakeHost::new();
    host.max_metrics = 1;
    let mut run = Guest::new("tick", body).start_with(spec(), host);
    run.tick();
    assert_eq!(run.said(), ["10"]);
}
