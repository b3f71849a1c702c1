use std::sync::Arc;

use sidegate_wasm_host::testing::FakeHost;

use crate::guest::{Guest, in_tick, spec};

const GET: &str = "(call $say (call $proxy_get_shared_data 'k' #16 #20 #24))";

#[test]
fn compare_and_swap() {
    let said = in_tick(&format!(
        "{GET}
         (call $say (call $proxy_set_shared_data 'k' 'one' #77)) {GET} (call $out)
         (call $say (call $proxy_set_shared_data 'k' 'two' (i32.load #24)))
         (call $say (call $proxy_set_shared_data 'k' 'three' (i32.load #24)))
         (call $say (call $proxy_set_shared_data 'k' '' #0)) {GET} (call $say (i32.load #20))
         (call $say (call $proxy_set_shared_data '' 'v' #0))"
    ));
    assert_eq!(said, ["1", "0", "0", "one", "0", "8", "0", "0", "0", "0"], "a cas on a missing key is ignored");
}

#[test]
fn vms_of_one_vm_id_share_and_others_do_not() {
    let write = Guest::new("tick", "(call $say (call $proxy_set_shared_data 'k' 'v' #0))");
    let read = Guest::new("tick", GET);
    let (mine, mut other) = (spec(), spec());
    other.vm_id = "other".into();
    let mut writer = write.start_with(mine.clone(), FakeHost::new());
    writer.tick();
    for (spec, status) in [(mine, "0"), (other, "1")] {
        let mut reader = read.start_with(spec, FakeHost::new());
        reader.host.shared = Arc::clone(&writer.host.shared);
        reader.tick();
        assert_eq!(reader.said(), [status]);
    }
}

#[test]
fn over_the_quota_it_is_a_mismatch() {
    let mut small = spec();
    small.shared_data = 10;
    let mut run = Guest::new(
        "tick",
        "(call $say (call $proxy_set_shared_data 'k' #0 #9 #0)) (call $say (call $proxy_set_shared_data 'j' #0 #1 #0))",
    )
    .start_with(small, FakeHost::new());
    run.tick();
    assert_eq!(run.said(), ["0", "8"]);
}
