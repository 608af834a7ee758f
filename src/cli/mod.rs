//! The command line: what can be asked of the binary, and the answers that need no server.

mod history;
pub mod logging;
pub mod signals;
mod token;

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Machine, Sources};
#[cfg(feature = "bench")]
use throng_bench as bench;
#[cfg(feature = "chat")]
use throng_terminal::{self as terminal, TOKEN_VARIABLE};

/// A load test was run, or a history looked at, and what was found is not well.
pub const UNWELL: u8 = 1;
/// `sysexits.h`: the configuration or the command line is wrong.
pub const USAGE: u8 = 64;
/// `sysexits.h`: something that was typed into the chat was refused.
pub const REFUSED: u8 = 65;
/// `sysexits.h`: the address cannot be bound, or the folder of the history cannot be used.
///
/// The chat: no connection, or the server ended it for good.
pub const UNAVAILABLE: u8 = 69;
/// `sysexits.h`: our own fault, or the system's.
pub const INTERNAL: u8 = 70;
/// `sysexits.h`: nobody knows whether everything that was typed into the chat was said.
pub const UNANSWERED: u8 = 75;

const ABOUT: &str = "A chat server for very many WebSocket connections";

const AFTER_HELP: &str = "\
Settings come in layers, the later winning: defaults, the file (--config), the environment (THRONG_ and the key with
__ for each dot: THRONG_QUEUE__MAX_BYTES=512KiB), flags. `throng check-config --print-config` shows every key with its
meaning.

Exit codes: 0 done or drained, 64 wrong settings or usage, 69 the address cannot be bound or the history's folder not
be used, 70 internal error, 130 or 143 stopped at once by a second SIGINT or SIGTERM.";

/// The environment variable with the token of `throng chat`. It is none of the server's settings, with or without it.
#[cfg(not(feature = "chat"))]
const TOKEN_VARIABLE: &str = "THRONG_TOKEN";

/// The command line. Without a subcommand: `serve`.
#[derive(Debug, Parser)]
#[command(name = "throng", version, about = ABOUT, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (what happens without a subcommand, too)
    #[command(after_help = AFTER_HELP)]
    Serve(Serve),
    /// Check the settings, all of them at once, without starting anything
    #[command(after_help = AFTER_HELP)]
    CheckConfig(Serve),
    /// Load a WebSocket server, this one or another, and measure it
    #[cfg(feature = "bench")]
    Bench(Box<bench::Arguments>),
    #[cfg(feature = "chat")]
    Chat(Box<terminal::Arguments>),
    /// Look at a folder of `history.dir`, or give its rooms new epochs; no server may use it meanwhile
    #[command(subcommand)]
    History(history::Request),
    /// Make a token (JWT, HS256) for testing, signed with `auth.secret`
    Token(token::Request),
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Print every setting as TOML that can be loaded again, secrets redacted, and exit
    #[arg(long)]
    print_config: bool,
}

// Values stay text until the configuration reads them, so that their mistakes are reported with all the others.
#[derive(Debug, Args)]
struct Settings {
    #[command(flatten)]
    any: AnySettings,
    /// Address and port to listen on; port 0 picks one, and the log says which [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Worker threads; 0 is one per core [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    workers: Option<String>,
    /// How log lines are written: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

/// The flags that stand for no key in particular.
#[derive(Debug, Args)]
struct AnySettings {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set any key, as often as you like: --set queue.max_bytes=512KiB. Others can see a process's arguments: secrets
    /// belong into `auth.secret_file` or the environment
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// What remains to be done once the command line is understood.
#[derive(Debug)]
pub enum Task {
    /// Run the server; the settings are resolved.
    Serve(Box<Config>),
    /// Run the load generator.
    #[cfg(feature = "bench")]
    Bench(Box<bench::Arguments>),
    /// Chat.
    #[cfg(feature = "chat")]
    Chat(Box<terminal::Arguments>),
    /// Nothing: the answer was given.
    Done,
}

/// Why the process ends, and its exit code.
#[derive(Debug)]
pub struct Failure {
    /// One of the constants of this module.
    pub code: u8,
    /// For a person, with what caused it.
    pub error: anyhow::Error,
}

#[cfg(feature = "bench")]
impl From<bench::Failure> for Failure {
    fn from(failure: bench::Failure) -> Self {
        match failure {
            bench::Failure::Usage(error) => Self::new(USAGE, error),
            bench::Failure::Broken(error) => Self::new(INTERNAL, error),
            bench::Failure::Unwell(error) => Self::new(UNWELL, error),
        }
    }
}

#[cfg(feature = "chat")]
impl From<terminal::Failure> for Failure {
    fn from(failure: terminal::Failure) -> Self {
        match failure {
            terminal::Failure::Usage(error) => Self::new(USAGE, error),
            terminal::Failure::Refused(error) => Self::new(REFUSED, error),
            terminal::Failure::Unavailable(error) => Self::new(UNAVAILABLE, error),
            terminal::Failure::Unanswered(error) => Self::new(UNANSWERED, error),
            terminal::Failure::Broken(error) => Self::new(INTERNAL, error),
        }
    }
}

impl Failure {
    /// Gives an error the exit code it stands for.
    pub fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into() }
    }
}

/// Reads the command line and answers what needs no server: help, version, `check-config`, `token`,
/// `--print-config`. `environment` is the process's.
///
/// # Errors
/// Wrong usage or settings ([`USAGE`]), or standard output cannot be written ([`INTERNAL`]).
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Task, Failure> {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        // Help and version are "errors" that belong to standard output.
        Err(answer) if !answer.use_stderr() => return say(&answer.to_string()),
        Err(error) => return Err(Failure::new(USAGE, anyhow::anyhow!("{}", plain(&error)))),
    };
    let is_token = |(name, _): &(OsString, OsString)| name == TOKEN_VARIABLE;
    let (tokens, environment): (Vec<_>, Vec<_>) = environment.into_iter().partition(is_token);
    #[cfg(not(feature = "chat"))]
    drop(tokens);
    match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(serve) => {
            let config = serve.settings.load(environment)?;
            let effective = config.clone().resolve(&Machine::read());
            if serve.print_config {
                return say(&config.to_toml(&effective));
            }
            Ok(Task::Serve(Box::new(effective)))
        }
        #[cfg(feature = "bench")]
        Command::Bench(arguments) => Ok(Task::Bench(arguments)),
        #[cfg(feature = "chat")]
        Command::Chat(arguments) => {
            let token = tokens.into_iter().next().map(|(_, token)| token);
            let arguments = arguments.or_token(token).map_err(|error| Failure::new(USAGE, error))?;
            Ok(Task::Chat(Box::new(arguments)))
        }
        Command::CheckConfig(serve) => check_config(&serve, environment),
        Command::History(request) => request.answer(),
        Command::Token(request) => say(&format!("{}\n", request.answer(environment)?)),
    }
}

fn check_config(
    serve: &Serve,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Task, Failure> {
    let config = serve.settings.load(environment)?;
    let effective = config.clone().resolve(&Machine::read());
    // Standard output may be on its way into a file that is loaded: what is said to people goes elsewhere.
    for warning in effective.warnings() {
        eprintln!("warning: {warning}");
    }
    say(&if serve.print_config { config.to_toml(&effective) } else { "configuration ok\n".into() })
}

impl Settings {
    fn load(&self, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Config, Failure> {
        let mut sources = self.any.sources(environment)?;
        for (flag, key, value) in [
            ("--listen", "listen", &self.listen),
            ("--workers", "workers", &self.workers),
            ("--log-format", "log.format", &self.log_format),
        ] {
            if let Some(value) = value {
                sources = sources.flag(flag, key, value);
            }
        }
        load(sources)
    }
}

impl AnySettings {
    fn sources(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Sources, Failure> {
        let mut sources = Sources::new().environment(environment);
        if let Some(path) = &self.config {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
            let text = text.map_err(|error| Failure::new(USAGE, error))?;
            sources = sources.file(path.display().to_string(), text);
        }
        Ok(self.set.iter().fold(sources, |sources, pair| sources.set(pair)))
    }
}

fn load(sources: Sources) -> Result<Config, Failure> {
    Config::load(sources).map_err(|errors| {
        let lines = errors.to_string().replace('\n', "\n  ");
        Failure::new(USAGE, anyhow::anyhow!("the configuration is wrong:\n  {lines}"))
    })
}

/// clap's words without the prefix that our own already has.
fn plain(error: &clap::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned()
}

/// Writes to standard output; a reader who has seen enough (`| head`) is no error.
fn say(text: &str) -> Result<Task, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error).context("cannot write to standard output");
            Err(Failure::new(INTERNAL, error))
        }
        _ => Ok(Task::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Result<Task, Failure> {
        let arguments = ["throng"].iter().chain(arguments).map(OsString::from);
        let environment: Vec<_> = environment.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        run(arguments, environment)
    }

    fn served(arguments: &[&str], environment: &[(&str, &str)]) -> Config {
        match run_with(arguments, environment) {
            Ok(Task::Serve(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_work_with_and_without_the_subcommand() {
        let flags = ["--listen", "127.0.0.1:0", "--workers", "3", "--log-format", "json", "--set", "node=n1"];
        let bare = served(&flags, &[("THRONG_NODE", "n2")]);
        let full = served(&[&["serve"], &flags[..]].concat(), &[("THRONG_NODE", "n2")]);
        assert_eq!(bare, full);
        assert_eq!((bare.workers, bare.listen.port(), bare.node.as_str()), (3, 0, "n1"));
        assert!(bare.limits.max_connections > 0 && bare.queue.total_bytes > 0, "resolved");
    }

    #[test]
    fn wrong_usage_is_64_and_help_is_no_error() {
        for arguments in [
            &["--no-such-flag"][..],
            &["no-such-command"],
            &["--workers", "-3"],
            &["--listen", "here", "serve"],
            &["serve", "--config", "/no/such/file.toml"],
            &["check-config", "--set", "nonsense"],
            &["token"],
            &["token", "--sub", "alice"],
            &["bench"],
            &["chat"],
            &["chat", "--user", "ann", "--timeout", "soon"],
            &["chat", "--user", "ann", "--token", "x", "--token-file", "y"],
            &["bench", "fanout", "--rate", "1", "--in-flight", "1"],
        ] {
            let failure = run_with(arguments, &[]).unwrap_err();
            assert_eq!(failure.code, USAGE, "{arguments:?}: {:#}", failure.error);
        }
        assert!(matches!(run_with(&["--version"], &[]), Ok(Task::Done)));
    }

    #[test]
    fn the_token_of_a_chat_is_none_of_the_servers_settings() {
        let secret = [("THRONG_TOKEN", "ey.JXQ.vw")];
        served(&[], &secret);
        match run_with(&["chat", "--user", "ann"], &secret) {
            Ok(Task::Chat(arguments)) => assert!(!format!("{arguments:?}").contains("JXQ")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn mistakes_of_flags_are_reported_with_all_others() {
        let failure =
            run_with(&["--workers", "x", "--listen", "here"], &[("THRONG_NODE", "a b")]).unwrap_err();
        let text = failure.error.to_string();
        for key in ["workers = \"x\" (flag --workers)", "listen = \"here\" (flag --listen)", "node = \"a b\""]
        {
            assert!(text.contains(key), "{key}: {text}");
        }
    }
}
