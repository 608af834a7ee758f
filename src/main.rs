//! The story: arguments and settings → logging → bind → serve → drain.
//!
//! Exit codes: 0 done or drained, 1 a load test went wrong or a history is not well, 64 wrong settings or usage, 69 the
//! address cannot be bound or the history's folder not be used, 70 internal error, 130 or 143 stopped at once by a
//! second SIGINT or SIGTERM. And of the chat in a terminal: 65 something was refused, 69 no connection, 75 something is
//! unanswered.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use throng::cli::{self, Failure, INTERNAL, Task, UNAVAILABLE, logging, signals};
use throng::config::Config;
use throng::server::Server;
#[cfg(feature = "bench")]
use throng_bench as bench;
#[cfg(feature = "chat")]
use throng_terminal as terminal;

/// Measured with 15,000 connections (release, one worker): 34.6 MiB resident where mimalloc has 47.8 to 50.7, and
/// 36.3 against 45.1 after three storms of reconnects. Freed pages go back from a thread of its own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config = match cli::run(std::env::args_os(), std::env::vars_os()) {
        Ok(Task::Serve(config)) => config,
        #[cfg(feature = "bench")]
        Ok(Task::Bench(arguments)) => {
            let done = bench::run(&arguments).map_err(Failure::from);
            return done.map_or_else(|failure| before_logging(&failure), |()| ExitCode::SUCCESS);
        }
        #[cfg(feature = "chat")]
        Ok(Task::Chat(arguments)) => {
            let done = terminal::run(&arguments).map_err(Failure::from);
            return done.map_or_else(|failure| before_logging(&failure), |()| ExitCode::SUCCESS);
        }
        Ok(Task::Done) => return ExitCode::SUCCESS,
        Err(failure) => return before_logging(&failure),
    };
    if let Err(error) = logging::start(&config.log) {
        return before_logging(&Failure::new(INTERNAL, error));
    }
    match serve(*config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            tracing::error!("{error:#}");
            ExitCode::from(code)
        }
    }
}

/// Binds the server, and runs it until a signal has stopped it and all connections are drained.
fn serve(config: Config) -> Result<(), Failure> {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(reach) = config.reach() {
        tracing::info!("{reach}");
    }
    // Before anybody can know that we are there: a signal at any later time means a drain.
    let stop = signals::first().map_err(|error| Failure::new(INTERNAL, error))?;
    let server = Server::bind(config).map_err(|error| Failure::new(UNAVAILABLE, error))?;
    server.run(stop).map_err(|error| Failure::new(INTERNAL, error))?;
    tracing::info!("stopped");
    Ok(())
}

fn before_logging(failure: &Failure) -> ExitCode {
    eprintln!("throng: {:#}", failure.error);
    ExitCode::from(failure.code)
}
