//! Compilation, away from the process that serves: a niced child of the same binary reads a module and writes code.
//! Its heap, and its CPU time, are gone when it is done.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use sha2::{Digest, Sha256};
use sidegate_wasm_host::Policy;
use sidegate_wasm_host::module::Outline;

/// How long a compilation may take.
const TIME: Duration = Duration::from_secs(60);
/// CPU seconds, and bytes of address space, that the child may use.
const CPU_SECONDS: u64 = 60;
const ADDRESS_SPACE: u64 = 8 << 30;
/// How much lower than control's the child's priority is.
const NICENESS: i32 = 5;

/// Compiles a module in a child process.
pub fn compile(policy: Policy, wasm: &[u8]) -> Result<Vec<u8>, String> {
    // The file may have been replaced since this process began; its engine fits the code of the running one only.
    let mut child = Command::new("/proc/self/exe")
        .args(["compile", "--policy", policy.as_str()])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start the compiler: {error}"))?;
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("cannot reach the compiler".to_owned());
    };
    let wasm = wasm.to_vec();
    let (done, result) = mpsc::channel();
    thread::spawn(move || {
        let (mut artifact, mut complaint) = (Vec::new(), String::new());
        let written = stdin.write_all(&wasm);
        drop(stdin);
        let read = stdout.read_to_end(&mut artifact);
        let _ = stderr.read_to_string(&mut complaint);
        let _ = done.send((written.and(read).is_ok(), artifact, complaint));
    });
    let outcome = result.recv_timeout(TIME);
    if outcome.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    match outcome {
        Ok((true, artifact, _)) if status.success() => Ok(artifact),
        Ok((_, _, complaint)) => Err(format!("does not compile: {}", complaint.trim())),
        Err(_) => Err(format!("compilation took longer than {TIME:?}")),
    }
}

/// The child's side: lowers its own priority and limits, then compiles what it reads.
pub fn child(policy: Policy, wasm: &[u8]) -> Result<Vec<u8>, String> {
    let _ = rustix::process::nice(NICENESS);
    let limit = |amount| Rlimit { current: Some(amount), maximum: Some(amount) };
    let _ = setrlimit(Resource::Cpu, limit(CPU_SECONDS));
    let _ = setrlimit(Resource::As, limit(ADDRESS_SPACE));
    sidegate_wasm_host::compile(policy, wasm).map_err(|error| format!("{error:#}"))
}

/// What the build of this binary embeds beside a module: its digest, the length of its outline (four bytes, little
/// endian), the outline as JSON, and code.
pub fn embeddable(wasm: &[u8], code: &[u8]) -> Result<Vec<u8>, String> {
    let outline = Outline::read(wasm).map_err(|error| error.to_string())?;
    let outline = serde_json::to_vec(&outline).map_err(|error| error.to_string())?;
    let length = u32::try_from(outline.len()).map_err(|error| error.to_string())?;
    Ok([&Sha256::digest(wasm)[..], &length.to_le_bytes(), &outline, code].concat())
}
