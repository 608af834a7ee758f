//! The binary: arguments and settings → logging → bind → serve → drain.
//!
//! Exit codes: 0 done or drained, 1 a load test failed, the check of a history found something, or the server that
//! `health` asked is not well, 64 wrong settings or usage, 69 the address cannot be bound or the folder of history.dir
//! or webhooks.dir cannot be used, 70 internal error, 130 or 143 stopped at once by a second SIGINT or SIGTERM. The
//! chat in a terminal has also 65 (something was refused), 69 (no connection) and 75 (something was not acknowledged).

#![forbid(unsafe_code)]

use std::process::ExitCode;

use throng::Server;
use throng::cli::logging::{self, LogFilter, Logging};
use throng::cli::notify::Notifier;
use throng::cli::{self, Failure, INTERNAL, Task, UNAVAILABLE, signals};
use throng::config::{Config, Sources};
#[cfg(feature = "bench")]
use throng_bench as bench;
#[cfg(feature = "chat")]
use throng_terminal as terminal;

/// jemalloc: of the allocators that were measured it has the least resident memory per idle connection, also after
/// storms of reconnects. It returns freed pages to the system from a thread of its own.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let (config, sources, on_bound) = match cli::run(std::env::args_os(), std::env::vars_os()) {
        Ok(Task::Serve(config, sources)) => (*config, sources, Box::new(|_: &Server| Ok(())) as OnBound),
        #[cfg(feature = "client")]
        Ok(Task::Demo(config, sources, demo)) => {
            (*config, sources, Box::new(|server: &Server| demo.move_in(server)) as OnBound)
        }
        #[cfg(feature = "bench")]
        Ok(Task::Bench(arguments)) => {
            return exit_code(bench::run(&arguments).map_err(Failure::from));
        }
        #[cfg(feature = "chat")]
        Ok(Task::Chat(arguments)) => {
            return exit_code(terminal::run(&arguments).map_err(Failure::from));
        }
        Ok(Task::Done) => return ExitCode::SUCCESS,
        Err(failure) => return exit_code(Err(failure)),
    };
    let Logging { filter, traces } = match logging::start(&config) {
        Ok(logging) => logging,
        Err(error) => return exit_code(Err(Failure::new(INTERNAL, error))),
    };
    let served = serve(config, sources, filter, on_bound);
    traces.finish();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            tracing::error!("{error:#}");
            ExitCode::from(code)
        }
    }
}

/// The work to do once the server is bound.
type OnBound = Box<dyn FnOnce(&Server) -> Result<(), Failure>>;

/// Binds the server, and runs it until a signal has stopped it and all connections are drained.
fn serve(config: Config, sources: Sources, filter: LogFilter, on_bound: OnBound) -> Result<(), Failure> {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(notice) = config.loopback_notice() {
        tracing::info!("{notice}");
    }
    // Handlers are installed before the listener is bound: once the server can be reached, a signal starts a drain.
    let notifier = Notifier::from_environment()?;
    let (stop, hangups) = signals::listen(notifier.clone()).map_err(|error| Failure::new(INTERNAL, error))?;
    let mut server = Server::bind(config).map_err(|error| Failure::new(UNAVAILABLE, error))?;
    hangups.reload(server.reload_from(sources, move |config| filter.set(&config.log)));
    on_bound(&server)?;
    server.run(notifier.around(stop)).map_err(|error| Failure::new(INTERNAL, error))?;
    tracing::info!("stopped");
    Ok(())
}

/// Reports a failure on standard error without the log, which has not started or is not for this subcommand.
fn exit_code(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, error }) => {
            eprintln!("throng: {error:#}");
            ExitCode::from(code)
        }
    }
}
