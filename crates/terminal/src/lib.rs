//! `throng chat`: the chat in a terminal, on the [`throng_client`].
//!
//! On a terminal it draws (`screen`, with the feature of that name); elsewhere it reads and writes lines (`plain`), so
//! that it can be scripted. Both share what can be typed (`input`), how it is carried out (`errands`) and what is kept
//! from the terminal (`escape`).
//!
//! ```text
//! src/
//!   lib.rs        draws, or speaks in lines
//!   arguments.rs  the command line
//!   input.rs      what is typed
//!   errands.rs    is carried out
//!   escape.rs     what a terminal must not obey
//!   plain.rs      the chat in lines
//!   told/         each of them; tests
//!   pipes.rs      standard input and output, with a thread each
//!   signals.rs    those that end a chat
//!   screen/       mod (its loop) · view, place (what is shown; pure) · draw · wrap · edit · keys · tty (put back in
//!                 order) · tests
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod errands;
mod escape;
mod input;
mod pipes;
mod plain;
#[cfg(feature = "screen")]
mod screen;
mod signals;
mod told;

use std::io;
#[cfg(feature = "screen")]
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::anyhow;
use tokio::runtime;

pub use arguments::{Arguments, TOKEN_VARIABLE};

use signals::Signals;
use throng_client::{BuildError, Client, Events, UNTRUSTED};

/// Longest wait for the close handshake, and for the last lines to be written.
const CLOSING: Duration = Duration::from_secs(2);

/// Why a chat did not end well; each with an exit code of its own.
#[derive(Debug)]
pub enum Failure {
    /// The arguments are wrong.
    Usage(anyhow::Error),
    /// Something that was typed was refused.
    Refused(anyhow::Error),
    /// There was no connection, or the server ended it for good.
    Unavailable(anyhow::Error),
    /// It is unknown whether something was said.
    Unanswered(anyhow::Error),
    /// Our own fault, or the system's.
    Broken(anyhow::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.into())
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::NoRuntime => Self::Broken(error.into()),
            wrong => Self::Usage(wrong.into()),
        }
    }
}

/// Chats until the user goes, the input ends, a signal comes, or the server will have no more of it.
///
/// # Errors
/// [`Failure`], which says what.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(chat(arguments));
    // A name that is being looked up, a thread that reads: nothing that is worth waiting for.
    runtime.shutdown_background();
    done
}

/// Why the chat is over, with what can be done about it.
fn over(reason: &str) -> anyhow::Error {
    let help = if reason.starts_with(UNTRUSTED) { "; --ca FILE names a certificate to trust" } else { "" };
    anyhow!("the chat is over: {reason}{help}")
}

async fn chat(arguments: &Arguments) -> Result<(), Failure> {
    let (client, events) = connect(arguments)?;
    let signals = Signals::new()?;
    #[cfg(feature = "screen")]
    if draws(arguments) {
        return screen::run(client, events, signals, &arguments.user).await;
    }
    let format = if arguments.json { told::Format::Json } else { told::Format::Text };
    plain::run(client, events, signals, format, arguments.timeout).await
}

/// Whether there is a whole screen, and it is wanted.
#[cfg(feature = "screen")]
fn draws(arguments: &Arguments) -> bool {
    !arguments.plain && !arguments.json && io::stdin().is_terminal() && io::stdout().is_terminal()
}

fn connect(arguments: &Arguments) -> Result<(Client, Events), Failure> {
    let mut builder = Client::builder(&arguments.url).user(&arguments.user);
    if let Some(room) = &arguments.room {
        builder = builder.room(room);
    }
    if let Some(token) = arguments.token().map_err(Failure::Usage)? {
        builder = builder.token(&token);
    }
    if let Some(ca) = arguments.ca().map_err(Failure::Usage)? {
        builder = builder.ca(ca);
    }
    Ok(builder.connect()?)
}
