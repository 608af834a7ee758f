//! Sets the terminal up for drawing, and restores it on every way out.

use std::io::{self, Stdout, stdout};
use std::panic;
use std::thread;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event, read};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use tokio::sync::mpsc;

/// Most terminal events that are read ahead. A paste is one event.
const READ_AHEAD: usize = 64;

/// The terminal, set up for drawing. Dropping it restores the terminal.
pub(super) struct Tty(Terminal<CrosstermBackend<Stdout>>);

impl Tty {
    /// Sets the terminal up. A panic restores it before its message is printed.
    ///
    /// # Errors
    /// Standard output is not a terminal, or setting it up failed.
    pub(super) fn open() -> io::Result<Self> {
        let previous_hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            previous_hook(panic);
        }));
        enable_raw_mode()?;
        // From here on there is something to restore.
        let opened = execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        opened.map(Self).inspect_err(|_| restore())
    }

    /// Returns the screen to draw on.
    pub(super) const fn screen(&mut self) -> &mut Terminal<CrosstermBackend<Stdout>> {
        &mut self.0
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // A terminal that is gone cannot be restored, and need not be.
    let _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Starts a thread that reads keys, pastes and changes of the size. Reading cannot be interrupted, so that the thread
/// ends with the process. An error of reading is the last event.
///
/// # Errors
/// The system cannot start a thread.
pub(super) fn events() -> io::Result<mpsc::Receiver<io::Result<Event>>> {
    let (sender, events) = mpsc::channel(READ_AHEAD);
    thread::Builder::new().name("keys".into()).spawn(move || {
        loop {
            let event = read();
            let is_last = event.is_err();
            if sender.blocking_send(event).is_err() || is_last {
                return;
            }
        }
    })?;
    Ok(events)
}
