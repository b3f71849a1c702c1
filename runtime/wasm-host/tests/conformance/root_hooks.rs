//! Tick, queue and foreign-function hooks: they run on the root.

use crate::guest::Guest;

#[test]
fn arguments() {
    let mut run = Guest::new("tick", "(call $say (local.get $ctx))")
        .hook("queue_ready", "(call $say (local.get $ctx)) (call $say (local.get $a))")
        .hook(
            "foreign_function",
            "(call $say (local.get $ctx)) (call $say (local.get $a)) (call $say (local.get $b))
             (call $say (call $proxy_get_buffer_bytes #8 #0 #99 #16 #20)) (call $out)",
        )
        .start();
    run.tick();
    run.vm.queue_ready(&mut run.host, 7).unwrap();
    run.vm.foreign_function(&mut run.host, 9, b"data".to_vec()).unwrap();
    assert_eq!(run.said(), ["1", "1", "7", "1", "9", "4", "0", "data"]);
}

#[test]
fn hooks_that_the_module_lacks_are_no_error() {
    let mut run = Guest::new("log", "(call $say #1)").start();
    run.tick();
    run.vm.queue_ready(&mut run.host, 7).unwrap();
    run.vm.foreign_function(&mut run.host, 9, Vec::new()).unwrap();
    run.vm.delete_root(&mut run.host).unwrap();
}
