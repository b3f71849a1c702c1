//! Running other programs: one line per step with its seconds, and on failure the command that repeats it.

use std::fmt;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

/// A program with its folder, arguments and what is added to the environment.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    program: String,
    folder: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// Why a command of xtask ends early. Nobody matches on it: it is text for a person.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// One whose text the person has seen already.
    pub(crate) fn told() -> Self {
        Self(String::new())
    }

    pub(crate) fn is_told(&self) -> bool {
        self.0.is_empty()
    }

    /// For a file that cannot be read or written.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |error| Self(format!("{path}: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Command {
    pub(crate) fn new(program: impl Into<String>, folder: &Path) -> Self {
        Self { program: program.into(), folder: folder.to_owned(), arguments: vec![], environment: vec![] }
    }

    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    pub(crate) fn arg_path(mut self, path: &Path) -> Self {
        self.arguments.push(path.display().to_string());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().display().to_string()));
        self
    }

    /// Runs it with its output going to ours.
    pub(crate) fn step(&self, what: &str) -> Result<(), Failure> {
        self.timed(what, || self.to_process().status()).and_then(|status| self.demand(what, status))
    }

    /// Runs it and returns what it wrote to stdout; what it wrote to stderr is shown only in a failure.
    pub(crate) fn output(&self, what: &str) -> Result<Vec<u8>, Failure> {
        let output = self.to_process().output().map_err(|error| self.not_run(&error))?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        self.demand(what, output.status).map_err(|failure| Failure(format!("{failure}\n{}", complaint.trim_end())))?;
        Ok(output.stdout)
    }

    /// Runs it with its output going to ours and being kept; the kept text has both streams and no colours.
    pub(crate) fn step_and_listen(&self, what: &str) -> Result<(ExitStatus, String), Failure> {
        self.timed(what, || {
            let mut process = self.to_process();
            if io::stdout().is_terminal() {
                process.env("CARGO_TERM_COLOR", "always");
            }
            let mut child = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
            let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
            let errors = thread::spawn(move || stderr.map(|stream| pass_on(stream, io::stderr())).unwrap_or_default());
            let mut text = stdout.map(|stream| pass_on(stream, io::stdout())).unwrap_or_default();
            text += &errors.join().unwrap_or_default();
            Ok((child.wait()?, text))
        })
    }

    /// Fails unless the status is success.
    pub(crate) fn demand(&self, what: &str, status: ExitStatus) -> Result<(), Failure> {
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("{what}: {status}; to repeat it:\n  {self}")))
    }

    /// As the standard library's command, for what needs more than a step.
    pub(crate) fn to_process(&self) -> process::Command {
        let mut process = process::Command::new(&self.program);
        process.current_dir(&self.folder).args(&self.arguments);
        process.envs(self.environment.iter().map(|(name, value)| (name, value)));
        process
    }

    fn timed<T>(&self, what: &str, work: impl FnOnce() -> io::Result<T>) -> Result<T, Failure> {
        println!("         ... {what}");
        let start = Instant::now();
        let result = work().map_err(|error| self.not_run(&error))?;
        println!("{:>7.1} s  {what}", start.elapsed().as_secs_f64());
        Ok(result)
    }

    fn not_run(&self, error: &io::Error) -> Failure {
        Failure::new(format!("cannot run {}: {error}", self.program))
    }
}

/// As one would type it in a shell.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(cd {} && ", quoted(&self.folder.display().to_string()))?;
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", self.program)?;
        for argument in &self.arguments {
            write!(f, " {}", quoted(argument))?;
        }
        f.write_str(")")
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Copies a stream line by line, and returns its text without colours.
fn pass_on(from: impl Read, mut to: impl Write) -> String {
    let mut from = BufReader::new(from);
    let (mut text, mut line) = (String::new(), Vec::new());
    while matches!(from.read_until(b'\n', &mut line), Ok(read) if read > 0) {
        // Our own output may be closed early (`| head`); the step still counts.
        let _ = to.write_all(&line);
        text += &without_colours(&String::from_utf8_lossy(&line));
        line.clear();
    }
    text
}

fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain += before;
        rest = after.split_once('m').map_or("", |(_, rest)| rest);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_names_the_command_to_repeat() {
        let command = Command::new("false", Path::new("/")).args(&["--a b"]).env("X", "y z");
        let failure = command.step("the step").unwrap_err().to_string();
        assert!(failure.starts_with("the step: exit status: 1"), "{failure}");
        assert!(failure.ends_with("(cd / && X='y z' false '--a b')"), "{failure}");
    }

    #[test]
    fn kept_output_has_no_colours() {
        assert_eq!(without_colours("\x1b[32;1m   Summary\x1b[0m [ 1s]"), "   Summary [ 1s]");
    }
}
