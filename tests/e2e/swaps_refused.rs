//! Bad modules arrive while traffic flows, by push and as files: each is refused with a reason, and nobody notices.

use sidegate_tests::traffic::{Generations, during, witness};

use crate::bad_modules::{CONFIGURE, bad};
use crate::operator::{json, plugin, push, stamp, stamped, states};
use crate::swaps::{LOAD, replace};

#[test]
fn bad_modules_under_traffic_are_refused_and_cost_nothing() {
    let origin = witness();
    let sidegate = stamped(&origin, "", CONFIGURE).start();
    let refused = [("plugin", "stamp"), ("result", "refused")];
    let before = plugin(&sidegate)["digest"].clone();
    let generations = Generations::new(&["a", "b", "c"]);
    let ((), report) = during(sidegate.address("inbound"), &LOAD, &generations, || {
        for (name, module) in bad() {
            let answer = push(&sidegate, &module);
            assert_eq!(answer.status, 422, "{name}: {}", answer.text());
            let said = json(&answer);
            assert!(said["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{name}: {said}");
            assert_eq!((&plugin(&sidegate)["digest"], &plugin(&sidegate)["state"]), (&before, &"LIVE".into()));
        }
        let module = stamp(generations.begin());
        assert_eq!(push(&sidegate, &module).status, 200, "a good one is taken after all that");
        generations.commit();
        let pushed = plugin(&sidegate)["digest"].clone();
        assert_ne!(pushed, before);
        let file = sidegate.folder().join("stamp.wasm");
        for (name, module) in bad() {
            let count = sidegate.metric("sidegate_plugin_swaps_total", &refused, |_| true);
            replace(&file, &module);
            sidegate.metric("sidegate_plugin_swaps_total", &refused, |now| now > count);
            let shown = plugin(&sidegate);
            assert!(shown["lastError"].as_str().is_some_and(|reason| !reason.is_empty()), "{name}: {shown}");
            assert_eq!((&shown["digest"], &shown["state"]), (&pushed, &"LIVE".into()), "{name}");
        }
        replace(&file, &stamp(generations.begin()));
        sidegate.metric("sidegate_plugin_swaps_total", &[("result", "committed")], |count| count == 2.0);
        generations.commit();
    });
    assert!(report.is_clean(), "{:?}", report.failures);
    assert!(report.by_kind.iter().all(|count| *count > 0), "{:?}", report.by_kind);
    assert_eq!(sidegate.get("/").header("x-gen"), Some("c"));
    assert_eq!(states(&sidegate).iter().filter(|(_, state)| state == "LIVE").count(), 1);
}
