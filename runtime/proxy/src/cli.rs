//! The commands of the binary.

mod remote;

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sidegate_config::Address;
use sidegate_wasm_host::Policy;
use tracing_subscriber::EnvFilter;

use crate::admin::server::SetLogLevel;
use crate::control::rollout::Action;
use crate::{app, control};

#[derive(Parser)]
#[command(name = "sidegate", version = crate::VERSION, about = "A service-mesh sidecar proxy whose filters are WebAssembly")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the proxy.
    Run(RunOptions),
    /// Load a configuration with its modules, start nothing, print every problem.
    Check {
        /// A YAML file, or a folder of them.
        config: PathBuf,
    },
    /// Have a running proxy serve a module in place of what a plugin's source has; wait until it does.
    Push(remote::Push),
    /// Show the plugins of a running proxy.
    Plugins(remote::Proxy),
    /// Have a running proxy serve the version of a plugin that served before.
    Rollback {
        /// The plugin.
        name: String,
        #[command(flatten)]
        proxy: remote::Proxy,
    },
    /// Pause, resume or abort the rollout of a plugin in a running proxy.
    Rollout {
        /// The plugin.
        name: String,
        #[arg(value_enum)]
        action: Action,
        #[command(flatten)]
        proxy: remote::Proxy,
    },
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Compile a module to code for this binary (used by the proxy itself and by the build).
    #[command(hide = true)]
    Compile {
        #[arg(long, value_enum)]
        policy: PolicyArg,
        /// Put before the code what the build embeds with it.
        #[arg(long)]
        embeddable: bool,
        /// Default: standard input.
        input: Option<PathBuf>,
        /// Default: standard output.
        output: Option<PathBuf>,
    },
}

#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// A YAML file, or a folder of them.
    pub config: PathBuf,
    /// Worker threads, in place of the configuration's `workers`.
    #[arg(long)]
    pub workers: Option<NonZeroUsize>,
    /// Address of the administration interface, in place of the configuration's `admin.address`.
    #[arg(long, value_parser = address)]
    pub admin: Option<Address>,
    /// How log lines on standard error look.
    #[arg(long, value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PolicyArg {
    Builtin,
    Foreign,
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).ok_or_else(|| "not IP:port, [v6]:port or unix:PATH".to_owned())
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(options) => run(options),
        Command::Check { config } => check(&config),
        Command::Push(push) => remote::push(&push),
        Command::Plugins(proxy) => remote::plugins(&proxy),
        Command::Rollback { name, proxy } => remote::rollback(&name, &proxy),
        Command::Rollout { name, action, proxy } => remote::rollout(&name, action, &proxy),
        Command::Schema => {
            let mut out = io::stdout().lock();
            writeln!(out, "{:#}", sidegate_config::schema()).map_err(|error| error.to_string())
        }
        Command::Compile { policy, embeddable, input, output } => compile(policy, embeddable, input, output),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: RunOptions) -> Result<(), String> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let log_level: SetLogLevel = match options.log_format {
        LogFormat::Text => {
            let subscriber = subscriber.with_ansi(false).with_filter_reloading();
            let filter = subscriber.reload_handle();
            subscriber.init();
            Arc::new(move |level| filter.reload(EnvFilter::new(level)).map_err(|error| error.to_string()))
        }
        LogFormat::Json => {
            crate::telemetry::guest_log::format_escapes();
            let subscriber = subscriber.json().flatten_event(true).with_filter_reloading();
            let filter = subscriber.reload_handle();
            subscriber.init();
            Arc::new(move |level| filter.reload(EnvFilter::new(level)).map_err(|error| error.to_string()))
        }
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(app::run(options, log_level))
}

fn check(config: &std::path::Path) -> Result<(), String> {
    match app::check(config) {
        Ok(warnings) => {
            let mut out = io::stdout().lock();
            for warning in warnings.iter() {
                let _ = writeln!(out, "{warning}");
            }
            writeln!(out, "{}: ok", config.display()).map_err(|error| error.to_string())
        }
        Err(problems) => Err(problems.to_string()),
    }
}

fn compile(policy: PolicyArg, embeddable: bool, input: Option<PathBuf>, output: Option<PathBuf>) -> Result<(), String> {
    let policy = match policy {
        PolicyArg::Builtin => Policy::Builtin,
        PolicyArg::Foreign => Policy::Foreign,
    };
    let named = |path: &PathBuf, error: io::Error| format!("{}: {error}", path.display());
    let mut input: Box<dyn io::Read> = match &input {
        Some(path) => Box::new(std::fs::File::open(path).map_err(|error| named(path, error))?),
        None => Box::new(io::stdin()),
    };
    let mut wasm = Vec::new();
    input.read_to_end(&mut wasm).map_err(|error| error.to_string())?;
    let mut code = control::compiler::child(policy, &wasm)?;
    if embeddable {
        code = control::compiler::embeddable(&wasm, &code)?;
    }
    match &output {
        Some(path) => std::fs::write(path, code).map_err(|error| named(path, error)),
        None => io::stdout().lock().write_all(&code).map_err(|error| error.to_string()),
    }
}
