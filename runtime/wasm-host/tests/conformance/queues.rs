use std::sync::Arc;

use crate::guest::{Guest, in_tick};

#[test]
fn life_of_a_queue() {
    let mut run = Guest::new(
        "tick",
        "(call $say (call $proxy_resolve_shared_queue '' 'q' #24))
         (call $say (call $proxy_register_shared_queue 'q' #24)) (call $word)
         (call $say (call $proxy_register_shared_queue 'q' #24)) (call $word)
         (call $say (call $proxy_register_shared_queue 'r' #24)) (call $word)
         (call $say (call $proxy_resolve_shared_queue '' 'q' #24)) (call $word)
         (call $say (call $proxy_resolve_shared_queue 'vm' 'r' #24)) (call $word)
         (call $say (call $proxy_resolve_shared_queue 'other' 'q' #24))
         (call $say (call $proxy_dequeue_shared_queue #1 #16 #20))
         (call $say (call $proxy_enqueue_shared_queue #1 'item'))
         (call $say (call $proxy_dequeue_shared_queue #1 #16 #20)) (call $out)
         (call $say (call $proxy_enqueue_shared_queue #9 'item'))
         (call $say (call $proxy_dequeue_shared_queue #9 #16 #20))",
    )
    .start();
    run.tick();
    let expected = ["1", "0", "1", "0", "1", "0", "2", "0", "1", "0", "2", "1", "7", "0", "0", "item", "1", "1"];
    assert_eq!(run.said(), expected);
    assert_eq!(run.host.queues_ready, [(1, 1)], "its owner is told once per item");
}

#[test]
fn a_full_queue_and_an_item_too_large() {
    let said = in_tick(
        "(local $n i32)
         (drop (call $proxy_register_shared_queue 'q' #24))
         (loop $fill
           (drop (call $proxy_enqueue_shared_queue #1 ''))
           (local.set $n (i32.add (local.get $n) #1))
           (br_if $fill (i32.lt_u (local.get $n) #1023)))
         (call $say (call $proxy_enqueue_shared_queue #1 #0 #65537))
         (call $say (call $proxy_enqueue_shared_queue #1 ''))
         (call $say (call $proxy_enqueue_shared_queue #1 ''))",
    );
    assert_eq!(said, ["1", "0", "1"]);
}

#[test]
fn who_registers_a_queue_last_is_told_of_its_items() {
    let guest = Guest::new("tick", "(call $say (call $proxy_register_shared_queue 'q' #24)) (call $word)")
        .hook("queue_ready", "(call $say (call $proxy_enqueue_shared_queue #1 'item'))");
    let mut first = guest.start();
    first.tick();
    let mut second = guest.start();
    second.host.shared = Arc::clone(&first.host.shared);
    second.host.identity = 2;
    second.tick();
    assert_eq!(second.said(), ["0", "1"], "it is the same queue");
    first.vm.queue_ready(&mut first.host, 1).unwrap();
    assert_eq!(first.host.queues_ready, [(2, 1)]);
}

#[test]
fn a_name_that_is_too_long_is_no_queue() {
    let said = in_tick(
        "(call $say (call $proxy_register_shared_queue #0 #1025 #24))
         (call $say (call $proxy_resolve_shared_queue '' #0 #1025 #24))
         (call $say (call $proxy_resolve_shared_queue #0 #1025 'q' #24))
         (call $say (call $proxy_register_shared_queue #0 #1024 #24))",
    );
    assert_eq!(said, ["1", "1", "1", "0"]);
}
