//! One proxy with one worker, a listener for every hostile module, and a plain listener that is asked all the while.

use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sidegate_tests::prometheus::sum;
use sidegate_tests::{Answer, Client, Origin, Request, Response, Sidegate, eventually};

use crate::guest::guest_with;
use crate::setup::memory;

const PATIENCE: Duration = Duration::from_secs(20);
/// What the plain route may wait at worst. A worker that is stuck shows as seconds; everything below is the machine.
const WAIT: Duration = Duration::from_secs(2);
/// The path at which a module shows its nature: seven bytes.
const ATTACK: &str = "/attack";

/// One hostile module.
pub(super) struct Case {
    pub(super) name: String,
    wasm: Vec<u8>,
    plugin: String,
}

/// A module that attacks when the path is [`ATTACK`]: the bodies of its hooks run only then. `parts` are functions,
/// globals and tables that they use.
pub(super) fn case(name: &str, parts: &str, hooks: &[(&str, &str)]) -> Case {
    let arm = "(global.set $armed (i32.eq (call $path) #7))";
    let mut bodies = vec![("request_headers", arm.to_owned())];
    for (hook, body) in hooks {
        let guarded = match *hook {
            "vm_start" | "configure" => (*body).to_owned(),
            // There is no path yet, but a stream has a parent.
            "context_create" => format!("(if (local.get 1) (then {body}))"),
            _ => format!("(if (global.get $armed) (then {body}))"),
        };
        match bodies.iter_mut().find(|(known, _)| known == hook) {
            Some((_, text)) => *text += &guarded,
            None => bodies.push((hook, guarded)),
        }
    }
    let bodies: Vec<(&str, &str)> = bodies.iter().map(|(hook, body)| (*hook, body.as_str())).collect();
    let wasm = guest_with(&format!("(global $armed (mut i32) #0) {parts}"), &bodies);
    Case { name: name.to_owned(), wasm, plugin: String::new() }
}

impl Case {
    /// Further keys of the plugin, as `, key: value`.
    pub(super) fn with(mut self, plugin: &str) -> Self {
        self.plugin += plugin;
        self
    }
}

/// The proxy, its origin, and who watches the plain route.
pub(super) struct Arena {
    pub(super) origin: Origin,
    pub(super) sidegate: Sidegate,
    cases: Vec<String>,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<Duration>>,
}

impl Arena {
    pub(super) fn open(cases: Vec<Case>) -> Self {
        let origin = Origin::answering(|_| Answer::ok("fine").with_header("trailer", "x-t").with_trailer("x-t", "t"));
        let (mut plugins, mut listeners) = (String::new(), String::new());
        for (at, Case { name, plugin, .. }) in cases.iter().enumerate() {
            let _ = writeln!(plugins, "- {{name: {name}, url: \"file:{name}.wasm\"{plugin}}}");
            let port = port(at);
            let _ = writeln!(
                listeners,
                "- {{name: {name}, address: ${port}, cluster: app, filters: [{{plugin: {name}}}]}}"
            );
        }
        let text = format!(
            "plugins:\n{plugins}listeners:\n- {{name: plain, address: $plain, cluster: app}}\n{listeners}\
             clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n"
        );
        let mut start = Sidegate::configured(&text).with_workers(1);
        for case in &cases {
            start = start.with_file(&format!("{}.wasm", case.name), case.wasm.clone());
        }
        let sidegate = start.start();
        let stop = Arc::new(AtomicBool::new(false));
        let (address, stopped) = (sidegate.address("plain"), stop.clone());
        let watcher = thread::spawn(move || {
            let mut client = Client::connect(address).unwrap();
            let mut worst = Duration::ZERO;
            while !stopped.load(Ordering::SeqCst) {
                let started = Instant::now();
                assert_eq!(client.get("/plain").unwrap().status, 200);
                worst = worst.max(started.elapsed());
            }
            worst
        });
        let cases = cases.into_iter().map(|case| case.name).collect();
        Self { origin, sidegate, cases, stop, watcher: Some(watcher) }
    }

    pub(super) fn client(&self, case: &str) -> Client {
        let at = self.cases.iter().position(|name| name == case).unwrap();
        Client::connect(self.sidegate.address(&port(at))).unwrap()
    }

    /// A request with body and trailers at the path of the attack.
    ///
    /// Fails when the answer is cut short.
    pub(super) fn attack(&self, case: &str) -> io::Result<Response> {
        let mut client = self.client(case);
        client.write(
            format!(
                "POST {ATTACK} HTTP/1.1\r\nhost: a\r\nx-case: {case}\r\ntransfer-encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n"
            )
            .as_bytes(),
        )?;
        client.read_response()
    }

    /// The same, for the most KiB by which the proxy grew meanwhile.
    pub(super) fn weighed_attack(&self, case: &str) -> (io::Result<Response>, u64) {
        // Makes the peak what is used now.
        std::fs::write(format!("/proc/{}/clear_refs", self.sidegate.pid()), "5").unwrap();
        let before = memory(&self.sidegate, "VmHWM");
        let answer = self.attack(case);
        (answer, memory(&self.sidegate, "VmHWM").saturating_sub(before))
    }

    /// Waits until this module serves again.
    pub(super) fn recovers(&self, case: &str) {
        let served = eventually(PATIENCE, || {
            let answer = self.client(case).get("/").unwrap();
            (answer.status == 200).then_some(())
        });
        assert!(served.is_some(), "{case} does not serve again");
    }

    pub(super) fn page(&self) -> String {
        self.sidegate.ask_admin(&Request::get("/stats/prometheus")).text().into_owned()
    }

    /// What the end of every battle is: nobody innocent was hurt.
    pub(super) fn close(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let worst = self.watcher.take().unwrap().join().unwrap();
        println!("the plain route waited {worst:?} at worst");
        assert!(worst < WAIT, "the plain route waited {worst:?}");
        assert_eq!(sum(&self.page(), "sidegate_panics_total", &[]).unwrap_or(0.0), 0.0);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A test that failed: the watcher must not be surprised by the end of the origin.
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// `p` and a number in letters.
fn port(index: usize) -> String {
    let letter = |digit: usize| char::from(b'a' + digit as u8);
    ['p', letter(index / 26), letter(index % 26)].iter().collect()
}

/// A serialized header map, as address and length.
pub(super) fn map(pairs: &[(&str, &str)]) -> String {
    let mut bytes = (pairs.len() as u32).to_le_bytes().to_vec();
    for (name, value) in pairs {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("<{escaped}>")
}
