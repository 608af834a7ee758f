//! `throng chat`: the chat in a terminal, built on [`throng_client`].
//!
//! On a terminal it draws on the whole screen (`screen`, with the feature of that name). Elsewhere it reads and writes
//! lines (`plain`), so that scripts can use it. Both share the commands that can be typed (`input`), the requests to
//! the server (`requests`), and the escaping of control characters (`escape`).
//!
//! ```text
//! src/
//!   lib.rs        starts the chat, on the screen or in lines
//!   arguments.rs  the command line
//!   input.rs      parses a typed line
//!   requests.rs   requests to the server that are under way
//!   escape.rs     spells out characters that could control a terminal
//!   plain/        mod (the chat in lines) · outcomes (refused and unanswered lines)
//!   output/       mod (the output line of each event, as text or JSON) · tests
//!   pipes.rs      reads standard input and writes standard output, each in a thread
//!   signals.rs    the signals that end a chat
//!   failure.rs    why a chat did not end well
//!   screen/       mod (the loop of the screen) · view (its state) · conversation (one room or user) · draw · wrap ·
//!                 edit (the input line) · keys · tty (sets up and restores the terminal) · tests
//!   screen/view/  mod (conversations and notices) · events (from the server) · input (typed lines)
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod escape;
mod failure;
mod input;
mod output;
mod pipes;
mod plain;
mod requests;
#[cfg(feature = "screen")]
mod screen;
mod signals;

#[cfg(feature = "screen")]
use std::io::{self, IsTerminal as _};

use tokio::runtime;

pub use arguments::{Arguments, TOKEN_VARIABLE};
pub use failure::Failure;

use signals::Signals;
use throng_client::{Client, Events};

/// Runs the chat until the user leaves, the input ends, a signal arrives, or the client stops for good.
///
/// # Errors
/// [`Failure`] when the chat did not end well.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(chat(arguments));
    // A name lookup or a reading thread may still block: neither is worth waiting for.
    runtime.shutdown_background();
    result
}

async fn chat(arguments: &Arguments) -> Result<(), Failure> {
    let (client, events) = connect(arguments)?;
    let signals = Signals::new()?;
    #[cfg(feature = "screen")]
    if uses_screen(arguments) {
        return screen::run(client, events, signals, &arguments.user).await;
    }
    let format = if arguments.json { output::Format::Json } else { output::Format::Text };
    plain::run(client, events, signals, format, arguments.timeout).await
}

/// Returns true when standard input and output are a terminal and lines were not asked for.
#[cfg(feature = "screen")]
fn uses_screen(arguments: &Arguments) -> bool {
    !arguments.plain && !arguments.json && io::stdin().is_terminal() && io::stdout().is_terminal()
}

fn connect(arguments: &Arguments) -> Result<(Client, Events), Failure> {
    let mut builder = Client::builder(&arguments.url).user(&arguments.user);
    if let Some(room) = &arguments.room {
        builder = builder.room(room);
    }
    if let Some(name) = &arguments.name {
        builder = builder.name(name);
    }
    if let Some(token) = arguments.token().map_err(Failure::Usage)? {
        builder = builder.token(&token);
    }
    if let Some(ca) = arguments.ca().map_err(Failure::Usage)? {
        builder = builder.ca(ca);
    }
    Ok(builder.connect()?)
}
