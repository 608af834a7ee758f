//! The terminal as a screen, and put back in order on every way out.

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

/// Keys that are read ahead; a paste is one.
const AHEAD: usize = 64;

/// While it lives, the terminal is ours.
pub(super) struct Tty(Terminal<CrosstermBackend<Stdout>>);

impl Tty {
    /// Takes the terminal. A panic gives it back before it speaks.
    ///
    /// # Errors
    /// Standard output is no terminal, or does not do as it is told.
    pub(super) fn open() -> io::Result<Self> {
        let said_before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            restore();
            said_before(panic);
        }));
        enable_raw_mode()?;
        // From here on there is something to give back.
        let opened = execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)
            .and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        opened.map(Self).inspect_err(|_| restore())
    }

    /// To draw on.
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
    // A terminal that is gone needs no order.
    let _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Keys, pastes and changes of the size, read by a thread that goes with the process: reading cannot be interrupted.
///
/// # Errors
/// The system has no thread for it. What reading meets comes as the last of the events.
pub(super) fn events() -> io::Result<mpsc::Receiver<io::Result<Event>>> {
    let (sender, events) = mpsc::channel(AHEAD);
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
