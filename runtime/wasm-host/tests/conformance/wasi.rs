use std::time::Duration;

use sidegate_wasm_host::abi::LogLevel;
use sidegate_wasm_host::testing::FakeHost;

use crate::guest::{Guest, in_tick, spec};

/// Writes `text` to a descriptor, through one vector at 40.
fn write(fd: u32, text: &str) -> String {
    format!("(call $vector '{text}') (call $say (call $fd_write #{fd} #40 #1 #24))")
}

const VECTOR: &str = "(func $vector (param i32 i32) (i32.store #40 (local.get 0)) (i32.store #44 (local.get 1)))";

fn writing(body: &str) -> Guest {
    Guest::new("tick", body).top(VECTOR)
}

#[test]
fn output_becomes_log_lines() {
    let body = [write(1, r"one\0a"), write(2, r"two\0athree\0a"), write(3, "x"), write(1, r"\0a")].concat();
    let mut run = writing(&body).start();
    run.tick();
    let levels: Vec<_> = run.host.logs.iter().map(|line| line.level).filter(|level| *level > LogLevel::Debug).collect();
    assert_eq!(levels, [LogLevel::Info, LogLevel::Error, LogLevel::Error, LogLevel::Info]);
    assert_eq!(run.said(), ["one", "0", "two", "three", "0", "8", "", "0"]);
}

#[test]
fn pieces_are_one_line_and_the_rest_is_written_when_the_hook_ends() {
    let body = [write(2, "pa"), write(2, "nic"), write(2, r": why\0atail")].concat();
    let mut run = writing(&body).start();
    run.tick();
    assert_eq!(run.said(), ["0", "0", "panic: why", "0", "tail"]);
}

#[test]
fn last_words_before_a_trap_are_kept() {
    let mut run = writing(&format!("{} unreachable", write(2, "oh no"))).start();
    run.vm.tick(&mut run.host).unwrap_err();
    assert_eq!(run.said(), ["0", "oh no"]);
}

#[test]
fn written_bytes_are_counted_and_bad_vectors_fault() {
    let body = [
        write(1, r"12345\0a"),
        "(call $word) (call $say (call $fd_write #1 #-8 #1 #24))".into(),
        "(i32.store #40 #-1) (i32.store #44 #9) (call $say (call $fd_write #1 #40 #1 #24))".into(),
    ]
    .concat();
    let mut run = writing(&body).start();
    run.tick();
    assert_eq!(run.said(), ["12345", "0", "6", "21", "21"]);
}

#[test]
fn clocks_and_random() {
    let mut run = Guest::new(
        "tick",
        "(call $say (call $clock_time_get #0 (i64.const 0) #24)) (call $word)
         (call $say (call $clock_time_get #1 (i64.const 0) #24)) (call $word)
         (call $say (call $clock_time_get #2 (i64.const 0) #24))
         (call $say (call $random_get #24 #4)) (call $word)
         (call $say (call $random_get #65536 #65536))
         (call $say (call $random_get #0 #65537))
         (call $say (call $random_get #-1 #4))",
    )
    .start();
    run.host.wall = Duration::from_nanos(11);
    run.host.monotonic = Duration::from_nanos(12);
    run.tick();
    assert_eq!(run.said(), ["0", "11", "0", "12", "58", "0", "117901063", "0", "28", "21"]);
}

#[test]
fn the_environment_is_what_the_operator_gave() {
    let mut given = spec();
    given.environment = vec![("A".into(), "1".into()), ("LONG".into(), "x=y".into())];
    let mut run = Guest::default()
        .export(
            "_initialize",
            "(call $say (call $environ_sizes_get #24 #28)) (call $word) (call $say (i32.load #28))
             (call $say (call $environ_get #48 #64))
             (drop (call $proxy_log #2 (i32.load #48) #4)) (drop (call $proxy_log #2 (i32.load #52) #9))
             (call $say (call $args_sizes_get #24 #28)) (call $word) (call $say (i32.load #28))",
        )
        .start_with(given, FakeHost::new());
    assert_eq!(run.said(), ["0", "2", "13", "0", "A=1\0", "LONG=x=y\0", "0", "0", "0"]);
}

#[test]
fn there_are_no_files_and_nothing_to_wait_for() {
    let said = in_tick(
        "(call $say (call $path_open #3 #0 #0 #0 #0 (i64.const 0) (i64.const 0) #0 #24))
         (call $say (call $fd_prestat_get #3 #24)) (call $say (call $fd_read #0 #0 #0 #24))
         (call $say (call $fd_seek #1 (i64.const 0) #0 #24)) (call $say (call $fd_close #1))
         (call $say (call $fd_fdstat_get #1 #64)) (call $say (call $fd_fdstat_get #0 #64))
         (i32.store #24 #9) (call $say (call $poll_oneoff #0 #0 #1 #24)) (call $word)
         (call $say (call $sched_yield)) (call $say (call $pthread_equal #3 #3))",
    );
    assert_eq!(said, ["44", "8", "52", "0", "0", "0", "8", "0", "0", "0", "1"]);
}

#[test]
fn what_standard_libraries_import_without_using_it_is_linked() {
    let said = in_tick(
        "(call $say (call $fd_filestat_get #1 #24)) (call $say (call $fd_fdstat_set_flags #1 #0))
         (i32.store #24 #9) (call $say (call $fd_tell #2 #24)) (call $word) (call $say (call $fd_tell #3 #24))
         (call $say (call $clock_res_get #1 #24)) (call $word) (call $say (call $clock_res_get #2 #24))
         (i32.store #24 #9) (call $say (call $fd_readdir #3 #0 #0 (i64.const 0) #24)) (call $word)
         (call $say (call $fd_renumber #1 #2)) (call $say (call $fd_renumber #1 #3))
         (call $say (call $sock_recv #3 #0 #0 #0 #24 #-1))
         (call $say (call $envoy_resolve_dns 'name' #24))",
    );
    assert_eq!(said, ["8", "52", "0", "0", "8", "0", "1", "58", "20", "0", "58", "8", "21", "12"]);
}

#[test]
fn proc_exit_is_logged_and_ignored() {
    assert_eq!(in_tick("(call $proc_exit #3) (call $say #1)"), ["proc_exit(3)", "1"]);
}

#[test]
fn the_older_module_name_is_served_too() {
    let mut run = writing(&write(1, r"old\0a")).wasi("wasi_unstable").start();
    run.tick();
    assert_eq!(run.said(), ["old", "0"]);
}
