//! `cargo xtask`: everything that a plain cargo command cannot do alone. Needs a Rust toolchain and nothing else;
//! what it prints about a step that failed is the command that repeats it.

mod bench;
mod build;
mod command;
mod demo;
mod foreign;
mod fuzz;
mod profile;
mod test;
mod workspace;

use std::env;
use std::process::ExitCode;
use std::str::FromStr;

use command::Failure;
use profile::Profile;
use test::Peers;
use workspace::Workspace;

const USAGE: &str = "\
cargo xtask build [--profile release|dev]
        target/release/sidegate (or target/debug/sidegate) and target/filters/*.wasm
cargo xtask demo [--check] [--profile release|dev]
        the quickstart: two services, the proxy, three requests to try; --check tries them itself;
        SIDEGATE_BIN names a binary to use instead of building one
cargo xtask test [--peers | --only-peers] [--quick NAME]
        all that CI runs; --peers adds Envoy, Prometheus and others to compare with, installed below target/peers,
        --only-peers runs nothing else; --quick only tests whose name has NAME
cargo xtask foreign
        target/filters-foreign/*.wasm: filters made with other SDKs, for the tests; `test` does it too
cargo xtask bench [NAME] [--requests N] [--swaps N] [--kills N] [--rollouts N]
        one of the project's benchmarks
cargo xtask fuzz [NAME] [--seconds N]
        hostile input, 60 seconds long; without a name, the list of targets";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_told() {
                eprintln!("\nxtask: {failure}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let Some((name, rest)) = arguments.split_first() else { return Err(usage("which command?")) };
    let mut rest = Arguments(rest.to_vec());
    let workspace = Workspace::find()?;
    match name.as_str() {
        "build" => {
            let profile = rest.profile()?;
            rest.end()?;
            build::build(&workspace, profile).map(drop)
        }
        "demo" => {
            let (checks, profile) = (rest.flag("--check"), rest.profile()?);
            rest.end()?;
            demo::demand_addresses()?;
            let binary = match env::var_os("SIDEGATE_BIN") {
                Some(built) => built.into(),
                None => build::build(&workspace, profile)?,
            };
            if checks { demo::check(&workspace, &binary).map(drop) } else { demo::show(&workspace, &binary) }
        }
        "test" => {
            let peers = match (rest.flag("--peers"), rest.flag("--only-peers")) {
                (_, true) => Peers::Only,
                (with, false) => {
                    if with {
                        Peers::With
                    } else {
                        Peers::Without
                    }
                }
            };
            let options = test::Options { peers, quick: rest.value("--quick")? };
            rest.end()?;
            test::test(&workspace, &options)
        }
        "foreign" => {
            rest.end()?;
            foreign::foreign(&workspace)
        }
        "bench" => {
            let requests = rest.number("--requests", bench::DEFAULT_REQUESTS)?;
            let swaps = rest.number("--swaps", bench::DEFAULT_SWAPS)?;
            let kills = rest.number("--kills", bench::DEFAULT_KILLS)?;
            let rollouts = rest.number("--rollouts", bench::DEFAULT_ROLLOUTS)?;
            let name = rest.positional();
            rest.end()?;
            bench::bench(&workspace, name.as_deref(), &bench::Amounts { requests, swaps, kills, rollouts })
        }
        "fuzz" => {
            let seconds = rest.number("--seconds", fuzz::DEFAULT_SECONDS)?;
            let name = rest.positional();
            rest.end()?;
            fuzz::fuzz(&workspace, name.as_deref(), seconds)
        }
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        unknown => Err(usage(&format!("there is no command {unknown:?}"))),
    }
}

fn usage(problem: &str) -> Failure {
    Failure::new(format!("{problem}\n\n{USAGE}"))
}

/// What stands after the command, taken out piece by piece; [`Arguments::end`] refuses what is left.
struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|argument| argument != name);
        self.0.len() < before
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, Failure> {
        let Some(at) = self.0.iter().position(|argument| argument == name) else { return Ok(None) };
        self.0.remove(at);
        if at == self.0.len() {
            return Err(usage(&format!("{name} needs a value")));
        }
        Ok(Some(self.0.remove(at)))
    }

    fn number<N: FromStr>(&mut self, name: &str, default: N) -> Result<N, Failure> {
        let Some(text) = self.value(name)? else { return Ok(default) };
        text.parse().map_err(|_| usage(&format!("{name} wants a number, not {text:?}")))
    }

    fn profile(&mut self) -> Result<Profile, Failure> {
        match self.value("--profile")?.as_deref() {
            None | Some("release") => Ok(Profile::Release),
            Some("dev") => Ok(Profile::Dev),
            Some(other) => Err(usage(&format!("there is no profile {other:?}"))),
        }
    }

    fn positional(&mut self) -> Option<String> {
        let at = self.0.iter().position(|argument| !argument.starts_with('-'))?;
        Some(self.0.remove(at))
    }

    fn end(self) -> Result<(), Failure> {
        self.0.first().map_or(Ok(()), |argument| Err(usage(&format!("{argument:?} means nothing here"))))
    }
}
