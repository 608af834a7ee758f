//! The command line: which subcommands and flags the binary has, and those of its answers that need no server.

mod api;
#[cfg(feature = "client")]
mod demo;
mod doctor;
mod documents;
mod failure;
mod health;
mod history;
pub mod logging;
pub mod notify;
mod output;
mod settings;
pub mod signals;
mod token;
#[cfg(feature = "otel")]
mod traces;
mod version;

use std::ffi::OsString;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::{Config, Machine, Sources};
#[cfg(feature = "bench")]
use throng_bench as bench;
#[cfg(feature = "chat")]
use throng_terminal::{self as terminal, TOKEN_VARIABLE};

#[cfg(feature = "client")]
pub use demo::Demo;
pub use failure::{CHECK_FAILED, Failure, INTERNAL, REFUSED, UNANSWERED, UNAVAILABLE, USAGE};
use output::print;
use settings::Settings;

const ABOUT: &str = "A chat server for very many WebSocket connections";

const AFTER_HELP: &str = "\
Settings come in layers, of which later ones override earlier ones: defaults, the file (--config), the environment
(THRONG_ and the key with __ for each dot: THRONG_QUEUE__MAX_BYTES=512KiB), flags. `throng check-config --print-config`
prints every key with its meaning.

Exit codes: 0 done or drained, 64 wrong settings or usage, 69 the address cannot be bound or the folder of history.dir
or webhooks.dir cannot be used, 70 internal error, 130 or 143 stopped at once by a second SIGINT or SIGTERM.";

/// The environment variable that contains the token of `throng chat`. It is never read as a setting of the server,
/// whether or not this build includes the chat.
#[cfg(not(feature = "chat"))]
const TOKEN_VARIABLE: &str = "THRONG_TOKEN";

/// The environment variables of subcommands, which are no settings although they are named like them.
const OWN_VARIABLES: [&str; 3] = [TOKEN_VARIABLE, api::URL_VARIABLE, api::KEY_VARIABLE];

/// The command line. Without a subcommand it means `serve`.
#[derive(Debug, Parser)]
#[command(name = "throng", version, long_version = version::long(), about = ABOUT, after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default without a subcommand)
    #[command(after_help = AFTER_HELP)]
    Serve(Serve),
    /// Check the settings, report every error in them, and start nothing
    #[command(after_help = AFTER_HELP)]
    CheckConfig(Serve),
    /// Call the server API of a running server: publish, list rooms and users, end connections
    Api(Box<api::Request>),
    /// Run the server with a few people in it who follow a script, to look at its pages
    #[cfg(feature = "client")]
    #[command(after_help = AFTER_HELP)]
    Demo(demo::Request),
    /// Check the settings, the limits of this machine, the files and the engine, and say what to change
    ///
    /// Exit codes: 0 nothing or only warnings, 64 wrong settings, 69 something with which the server would not start.
    Doctor(doctor::Request),
    /// Load a WebSocket server, this one or another, and measure it
    #[cfg(feature = "bench")]
    Bench(Box<bench::Arguments>),
    #[cfg(feature = "chat")]
    Chat(Box<terminal::Arguments>),
    /// Check a folder of `history.dir`, or give its rooms new epochs; no server may use it meanwhile
    #[command(subcommand)]
    History(history::Request),
    /// Make a token (JWT, HS256) for testing, signed with `auth.secret`
    Token(token::Request),
    /// Ask a running server whether it is well, for health checks
    ///
    /// Exit codes: 0 it is, 1 it is not or does not answer, 64 wrong usage.
    Health(health::Request),
    /// Print a script that lets a shell complete the arguments of throng
    Completions(documents::Completions),
    /// Print the manual page of throng, or write those of all subcommands into a folder
    Man(documents::Pages),
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// Print every setting as TOML that can be loaded again, secrets redacted, and exit
    #[arg(long)]
    print_config: bool,
}

/// The work that remains once the command line is understood.
#[derive(Debug)]
pub enum Task {
    /// Run the server with these settings, which are resolved for this machine, and were loaded from these sources.
    Serve(Box<Config>, Sources),
    /// Run the server with these settings, and let people in who follow a script.
    #[cfg(feature = "client")]
    Demo(Box<Config>, Sources, Demo),
    /// Run the load generator.
    #[cfg(feature = "bench")]
    Bench(Box<bench::Arguments>),
    /// Run the chat in the terminal.
    #[cfg(feature = "chat")]
    Chat(Box<terminal::Arguments>),
    /// Nothing: the command line is answered.
    Done,
}

/// Reads the command line and answers everything that needs no server of its own: help, version, `api`, `check-config`,
/// `completions`, `doctor`, `health`, `history`, `man`, `token`, `--print-config`. `environment` is that of the
/// process.
///
/// # Errors
/// Usage or settings are wrong ([`USAGE`]), or standard output cannot be written ([`INTERNAL`]). `history` has further
/// ones: the folder cannot be used ([`UNAVAILABLE`]), or the check found something ([`CHECK_FAILED`]). So has `doctor`:
/// the server would not start or work ([`UNAVAILABLE`]). `health` fails if the server is not well ([`CHECK_FAILED`]),
/// and `man` if a page cannot be written ([`UNAVAILABLE`]). `api` has those that its help lists.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Task, Failure> {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        // For clap, help and version are errors that belong to standard output.
        Err(answer) if !answer.use_stderr() => return print(&answer.to_string()).map(|()| Task::Done),
        Err(error) => return Err(Failure::new(USAGE, anyhow::anyhow!("{}", without_prefix(&error)))),
    };
    let is_own = |(name, _): &(OsString, OsString)| OWN_VARIABLES.iter().any(|own| name == own);
    let (own, environment): (Vec<_>, Vec<_>) = environment.into_iter().partition(is_own);
    match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(serve) => {
            let sources = serve.settings.sources(environment);
            let config = settings::load(sources.clone())?;
            let effective = config.clone().resolve(&Machine::read());
            if serve.print_config {
                return print(&config.to_toml(&effective)).map(|()| Task::Done);
            }
            return Ok(Task::Serve(Box::new(effective), sources));
        }
        #[cfg(feature = "client")]
        Command::Demo(request) => {
            let sources = request.settings.sources(environment);
            let config = settings::load(sources.clone())?;
            let demo = request.demo(&config)?;
            // A demo shows what there is, unless its settings say otherwise.
            let is_said = config.is_set(demo::LISTED);
            let sources = if is_said { sources } else { sources.flag("throng demo", demo::LISTED, "*") };
            let config = if is_said { config } else { settings::load(sources.clone())? };
            return Ok(Task::Demo(Box::new(config.resolve(&Machine::read())), sources, demo));
        }
        #[cfg(feature = "bench")]
        Command::Bench(arguments) => return Ok(Task::Bench(arguments)),
        #[cfg(feature = "chat")]
        Command::Chat(arguments) => {
            let token = own.into_iter().find(|(name, _)| name == TOKEN_VARIABLE).map(|(_, token)| token);
            let arguments = arguments.or_token(token).map_err(|error| Failure::new(USAGE, error))?;
            return Ok(Task::Chat(Box::new(arguments)));
        }
        Command::Api(request) => request.answer(api::variables(&own))?,
        Command::Doctor(request) => request.answer(environment)?,
        Command::CheckConfig(serve) => check_config(&serve, environment)?,
        Command::History(request) => request.answer()?,
        Command::Token(request) => print(&format!("{}\n", request.answer(environment)?))?,
        Command::Health(request) => request.answer()?,
        Command::Completions(request) => request.answer(Arguments::command())?,
        Command::Man(request) => request.answer(Arguments::command())?,
    }
    Ok(Task::Done)
}

fn check_config(
    serve: &Serve,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), Failure> {
    let config = serve.settings.load(environment)?;
    let effective = config.clone().resolve(&Machine::read());
    // Standard output may be redirected into a file of settings: warnings go to standard error.
    for warning in effective.warnings() {
        eprintln!("warning: {warning}");
    }
    print(&if serve.print_config { config.to_toml(&effective) } else { "configuration ok\n".into() })
}

/// Returns clap's message without its prefix, since the caller prints one of its own.
fn without_prefix(error: &clap::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned()
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
            Ok(Task::Serve(config, _)) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_of_arguments_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_work_with_and_without_the_subcommand() {
        let flags = ["--listen", "127.0.0.1:0", "--workers", "3", "--log-format", "json", "--set", "node=n1"];
        let bare = served(&flags, &[("THRONG_NODE", "n2")]);
        let full = served(&[&["serve"], &flags[..]].concat(), &[("THRONG_NODE", "n2")]);
        assert_eq!(bare, full);
        assert_eq!(
            (bare.workers, bare.listen[0].to_string().as_str(), bare.node.as_str()),
            (3, "127.0.0.1:0", "n1")
        );
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
            &["demo", "--pace", "1ms"],
            &["demo", "--set", "auth.required=true", "--set", "auth.secret=0123456789abcdef0123456789abcdef"],
            &["demo", "--tls-cert", "cert.pem", "--tls-key", "key.pem"],
            &["health", "--url", "http://8.8.8.8"],
            &["health", "--url", "127.0.0.1:8080"],
            &["completions", "tcsh"],
            &["token"],
            &["token", "--sub", "alice"],
            &["bench"],
            &["chat"],
            &["api"],
            &["api", "--url", "http://8.8.8.8", "info"],
            &["api", "info"],
            &["api", "info", "--key", "an-example-key-of-16"],
            &["api", "publish", "text"],
            &["api", "--key-file", "/no/such/file", "rooms"],
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
    fn the_variables_of_subcommands_are_no_settings_of_the_server() {
        let secret = [("THRONG_TOKEN", "ey.JXQ.vw"), ("THRONG_API_KEY", "key"), ("THRONG_API_URL", "url")];
        served(&[], &secret);
        match run_with(&["chat", "--user", "ann"], &secret) {
            Ok(Task::Chat(arguments)) => assert!(!format!("{arguments:?}").contains("JXQ")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn errors_of_flags_are_reported_with_all_others() {
        let failure =
            run_with(&["--workers", "x", "--listen", "here"], &[("THRONG_NODE", "a b")]).unwrap_err();
        let text = failure.error.to_string();
        for key in ["workers = \"x\" (flag --workers)", "listen = \"here\" (flag --listen)", "node = \"a b\""]
        {
            assert!(text.contains(key), "{key}: {text}");
        }
    }
}
