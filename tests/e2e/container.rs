//! The image's file system, without root and read-only, with configuration and modules mounted as Kubernetes does it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sidegate_tests::output::Output;
use sidegate_tests::port::FreePort;
use sidegate_tests::sidegate::binary;
use sidegate_tests::{Client, Origin, eventually, traffic};
use tempfile::TempDir;

use crate::guest::guest;
use crate::setup::fine;

const PATIENCE: Duration = Duration::from_secs(20);

/// A ConfigMap volume. The kubelet writes each state into a new folder and moves the link `..data` onto it; the files
/// that are seen are links through that one.
struct Volume {
    folder: PathBuf,
    states: AtomicUsize,
}

impl Volume {
    fn new(folder: PathBuf) -> Self {
        Self { folder, states: AtomicUsize::new(0) }
    }

    fn publish(&self, files: &[(&str, &[u8])]) {
        let state = format!("..2026_{}", self.states.fetch_add(1, Ordering::SeqCst));
        fs::create_dir(self.folder.join(&state)).unwrap();
        for (name, bytes) in files {
            fs::write(self.folder.join(&state).join(name), bytes).unwrap();
            let seen = self.folder.join(name);
            if seen.symlink_metadata().is_err() {
                symlink(format!("..data/{name}"), seen).unwrap();
            }
        }
        let before = fs::read_link(self.folder.join("..data")).ok();
        symlink(&state, self.folder.join("..data_tmp")).unwrap();
        fs::rename(self.folder.join("..data_tmp"), self.folder.join("..data")).unwrap();
        if let Some(before) = before {
            fs::remove_dir_all(self.folder.join(before)).unwrap();
        }
    }
}

/// A running container, as far as it can be had without an engine.
struct Container {
    config: Volume,
    modules: Volume,
    inbound: FreePort,
    probe: FreePort,
    log: Output,
    child: Child,
    _root: TempDir,
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The root file system read-only but for `stateDir`, in a mount namespace of its own, with what every engine adds; no
/// root inside.
const RUN: &str = r#"
set -e
mkdir "$1/proc" "$1/dev"
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
mount -o remount,ro,bind "$1"
mount -t tmpfs -o mode=0700,uid=65532,gid=65532 state "$1/var/lib/sidegate"
exec chroot --userspec=65532:65532 "$1" /sidegate run /etc/sidegate/config/sidegate.yaml --workers 2
"#;

/// Whether this machine lets a test make a mount namespace.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "x", "/mnt"]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

fn start(origin: &Origin, module: &[u8]) -> Container {
    let root = TempDir::new().unwrap();
    let layout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rootfs");
    let laid_out = Command::new(layout).arg(binary()).arg(root.path()).output().unwrap();
    assert!(laid_out.status.success(), "{}", String::from_utf8_lossy(&laid_out.stderr));
    // Folders of a test are closed to others.
    Command::new("chmod").arg("0755").arg(root.path()).status().unwrap();
    let config = Volume::new(root.path().join("etc/sidegate/config"));
    let modules = Volume::new(root.path().join("etc/sidegate/modules"));
    let (inbound, probe, admin) = (FreePort::claim().unwrap(), FreePort::claim().unwrap(), FreePort::claim().unwrap());
    config.publish(&[("sidegate.yaml", text(origin, &inbound, &probe, &admin, "yes").as_bytes())]);
    modules.publish(&[("guest.wasm", module)]);
    let mut child = Command::new("unshare")
        .args(["--mount", "sh", "-c", RUN, "run"])
        .arg(root.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = child.stderr.take().map(Output::capture).unwrap();
    let ready = || Client::get_once(probe.address(), "/ready").ok().filter(|answer| answer.status == 200);
    assert!(eventually(PATIENCE, ready).is_some(), "{:#?}", log.lines());
    Container { config, modules, inbound, probe, log, child, _root: root }
}

fn text(origin: &Origin, inbound: &FreePort, probe: &FreePort, admin: &FreePort, greeting: &str) -> String {
    format!(
        "admin: {{address: \"{}\", probeAddress: \"{}\"}}\n\
         stateDir: /var/lib/sidegate\n\
         plugins: [{{name: guest, url: file:../modules/guest.wasm}}]\n\
         listeners: [{{name: inbound, address: \"{}\", cluster: app, filters: [{{plugin: guest, config: {greeting}}}]}}]\n\
         clusters: [{{name: app, endpoints: [{{address: \"{origin}\"}}]}}]\n",
        admin.address(),
        probe.address(),
        inbound.address()
    )
}

fn stamping(value: &str) -> Vec<u8> {
    guest(&[("response_headers", &format!("(drop (call $add_header #2 <x-module> <{value}>))"))])
}

#[test]
fn edited_config_maps_take_effect_in_a_container_that_may_do_nothing() {
    if !may_mount() {
        eprintln!("skipped: mount namespaces need more rights than this test has");
        return;
    }
    let origin = fine();
    let container = start(&origin, &stamping("0"));
    let inbound = container.inbound.address();
    let served = || Client::get_once(inbound, "/").ok()?.header("x-module").map(str::to_owned);
    assert_eq!(served().as_deref(), Some("0"));
    let lost = AtomicUsize::new(0);
    let client = |stop: &AtomicBool| {
        let mut client = Client::connect(inbound).unwrap();
        while !stop.load(Ordering::SeqCst) {
            if client.get("/").map(|answer| answer.status).ok() != Some(200) {
                lost.fetch_add(1, Ordering::SeqCst);
                client = Client::connect(inbound).unwrap();
            }
        }
    };
    traffic::beside(1, client, || {
        for round in 1..=10 {
            let wanted = round.to_string();
            container.modules.publish(&[("guest.wasm", &stamping(&wanted))]);
            let live = eventually(PATIENCE, || (served().as_ref() == Some(&wanted)).then_some(()));
            assert!(live.is_some(), "round {round}: {:#?}", container.log.lines());
        }
        // A module that is none changes nothing; the next good one works.
        container.modules.publish(&[("guest.wasm", b"no module")]);
        assert!(container.log.line_with("not a WebAssembly module", PATIENCE).is_some());
        assert_eq!(served().as_deref(), Some("10"));
        container.modules.publish(&[("guest.wasm", &stamping("last"))]);
        assert!(eventually(PATIENCE, || (served().as_deref() == Some("last")).then_some(())).is_some());
    });
    assert_eq!(lost.load(Ordering::SeqCst), 0, "requests were lost");
    // The configuration is a volume of its own.
    container.config.publish(&[("sidegate.yaml", b"listeners: nonsense")]);
    assert!(container.log.line_with("what was running goes on", PATIENCE).is_some());
    assert_eq!(served().as_deref(), Some("last"));
    assert_eq!(Client::get_once(container.probe.address(), "/ready").unwrap().status, 200);
    let log = container.log.lines().join("\n");
    assert!(!log.contains("running as root") && !log.contains("Read-only file system"), "{log}");
}
