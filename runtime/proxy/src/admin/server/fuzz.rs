//! Requests to the administration interface that somebody else made: every connection ends, and without the token nothing
//! is ever asked of control.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use sidegate_config::Source;
use sidegate_tests::fuzz::fuzz;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::LocalSet;

use super::*;
use crate::control::change::{self, Change, Refused, Signal};
use crate::control::rollout::Plan;
use crate::worker::env::Process;

const TOKEN: &str = "secret";
/// More than any timeout of the interface; the clock jumps.
const PATIENCE: Duration = Duration::from_secs(400);

#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    target: String,
    token: Option<&'static str>,
    fields: Vec<(&'static str, String)>,
    /// `content-length` says so much more or less than there is; `None`: chunked.
    lies: Option<i8>,
    body: Vec<u8>,
    /// The client goes on after the request instead of closing its side.
    stays: bool,
}

impl Asked {
    fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: x\r\n", self.method, self.target);
        if let Some(token) = self.token {
            head += &format!("authorization: Bearer {token}\r\n");
        }
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        let framing = match self.lies {
            Some(lie) => format!("content-length: {}\r\n\r\n", self.body.len() as i64 + i64::from(lie)),
            None => format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", self.body.len()),
        };
        [head.as_bytes(), framing.as_bytes(), &self.body].concat()
    }
}

fn words(words: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let known = select(words.to_vec()).prop_map(str::to_owned);
    prop_oneof![6 => known, 1 => "[ -~]{0,12}", 1 => "(%[0-9a-fA-F]{2}|[%a-z/?&=]){0,8}"]
}

fn asked() -> impl Strategy<Value = Asked> {
    let path = words(&[
        "/plugins/stamp/module",
        "/plugins/stamp/rollback",
        "/plugins/stamp/rollout",
        "/plugins/%00/module",
        "/plugins/a%2Fb%ff/module",
        "/plugins//module",
        "/config",
        "/logging",
        "/drain_listeners",
        "/healthcheck/ok",
        "/stats",
        "/ready",
    ]);
    let query = vec(
        (
            words(&["rollout", "hold", "allowRollback", "action", "level", "format"]),
            words(&["5,50", "50,5", "0", "1e400", "NaN", "-1", "60s", "99999999999999999999s", "0s", "abort", "json"]),
        ),
        0..4,
    );
    let fields = vec(
        (
            select(vec!["x-sidegate-sha256", "x-sidegate-statement", "x-sidegate-signature", "expect", "content-type"]),
            words(&["", "0", "e30=", "100-continue", "====", "\u{7f}"]),
        ),
        0..4,
    );
    let body = prop_oneof![
        vec(any::<u8>(), 0..64),
        Just(b"\0asm\x01\0\0\0".to_vec()),
        Just(b"listeners: []\n".to_vec()),
        any::<String>().prop_map(String::into_bytes)
    ];
    let token = select(vec![Some(TOKEN), Some(TOKEN), Some("wrong"), Some(""), None]);
    let lies = prop_oneof![4 => Just(Some(0)), 1 => Just(None), 1 => any::<i8>().prop_map(Some)];
    let method = select(vec!["PUT", "PUT", "POST", "POST", "GET", "DELETE", "B\u{0}D"]);
    (method, path, query, token, fields, lies, body, any::<bool>()).prop_map(
        |(method, path, query, token, fields, lies, body, stays)| {
            let query: Vec<String> = query.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let target = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
            Asked { method, target, token, fields, lies, body, stays }
        },
    )
}

/// What the interface answered, and what it asked of control.
fn serve(status: &Arc<Status>, bytes: &[u8], stays: bool) -> (Vec<u8>, Vec<Change>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (desk, inbox) = change::queue();
    let (commands, _keep) = mpsc::channel(16);
    let log_level: SetLogLevel = Arc::new(|_| Ok(()));
    let admin = Arc::new(Admin { status: status.clone(), desk, log_level, commands, probe_only: false });
    let changes = Rc::new(RefCell::new(Vec::new()));
    let (seen, local) = (changes.clone(), LocalSet::new());
    local.spawn_local(async move {
        loop {
            while let Ok(signal) = inbox.queue.try_recv() {
                let Signal::Order(order) = signal else { continue };
                let change::Order { change, answer, place } = *order;
                drop(place);
                seen.borrow_mut().push(change);
                let _ = answer.send(Err(Refused::Invalid { error: "refused", reason: "as always".to_owned() }));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let answer = local.block_on(&runtime, async {
        let (mut client, server) = duplex(1 << 20);
        let serving = connection(TokioIo::new(server), Arc::default(), admin, "nobody".to_owned());
        let asking = async {
            client.write_all(bytes).await.unwrap();
            if !stays {
                client.shutdown().await.unwrap();
            }
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            answer
        };
        let both = async { tokio::join!(asking, serving).0 };
        tokio::time::timeout(PATIENCE, both).await.expect("the connection ends")
    });
    drop(local);
    let changes = changes.take();
    (answer, changes)
}

fn status(token_file: &std::path::Path) -> Arc<Status> {
    let text = format!("admin: {{tokenFile: {}}}\n", token_file.display());
    let config = sidegate_config::parse(&[Source { path: "/c.yaml".into(), text }]).unwrap().config;
    Arc::new(Status::new(&Arc::new(Process::new(1)), &config, Instant::now()))
}

#[test]
fn every_request_ends_and_only_the_token_asks_anything_of_control() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, TOKEN).unwrap();
    let status = status(&token_file);
    fuzz(&asked(), |asked| {
        let (answer, changes) = serve(&status, &asked.to_bytes(), asked.stays);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&answer));
        assert!(changes.is_empty() || asked.token == Some(TOKEN), "{changes:?}");
        for change in changes {
            match change {
                Change::Push(push) => {
                    assert!(push.module.len() <= asked.body.len());
                    if let Some(shares) = push.rollout {
                        let _ = Plan::of_push(&shares.weights, shares.hold, None);
                    }
                }
                Change::Config { text } => assert!(text.len() <= asked.body.len()),
                Change::Rollback { .. } | Change::Rollout { .. } => {}
                Change::Sources | Change::Step { .. } => panic!("nobody may ask for {change:?}"),
            }
        }
    });
}

#[test]
fn any_bytes_are_answered_or_end_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let status = status(&folder.path().join("none"));
    fuzz(&(vec(any::<u8>(), 0..256), any::<bool>()), |(bytes, stays)| {
        let (_, changes) = serve(&status, &bytes, stays);
        assert!(changes.is_empty());
    });
}
