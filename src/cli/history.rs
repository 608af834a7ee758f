//! `throng history`: checks a folder of `history.dir`, and gives its rooms new epochs.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failure::{CHECK_FAILED, Failure, UNAVAILABLE};
use super::output::print;
use crate::broker::log::check::{self, Checked};
use crate::clock::Clock;
use crate::names::RoomName;

/// A subcommand of `throng history`.
#[derive(Debug, Subcommand)]
pub(super) enum Request {
    /// Print what the folder contains, and everything that is damaged, missing or changed
    ///
    /// Exit codes: 0 everything is as a server left it, 1 it is not, 69 the folder cannot be read or a server uses it.
    Check(Folder),
    /// Give rooms a new epoch: after a backup was restored, clients must not take its older state for the one they know
    ///
    /// Exit codes: 0 done, 1 a named room does not exist, 69 the folder cannot be used or a server uses it.
    NewEpoch {
        #[command(flatten)]
        folder: Folder,
        /// A room that gets a new epoch; may be repeated [default: every room]
        #[arg(long = "room", value_name = "NAME")]
        rooms: Vec<RoomName>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Folder {
    /// The folder that `history.dir` names
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Request {
    /// Runs the subcommand and prints its answer.
    pub(super) fn answer(self) -> Result<(), Failure> {
        let now_ms = Clock::system().unix_ms();
        match self {
            Self::Check(Folder { dir }) => {
                let checked = check::check(&dir, now_ms).map_err(|e| Failure::new(UNAVAILABLE, e))?;
                print(&describe(&checked))?;
                match checked.findings.len() + checked.more_findings {
                    0 => Ok(()),
                    findings => {
                        let renewed = checked.rooms.iter().filter(|room| !room.goes_on).count();
                        let error = anyhow::anyhow!(
                            "{}: findings: {findings}, rooms that would begin a new epoch: {renewed}",
                            dir.display()
                        );
                        Err(Failure::new(CHECK_FAILED, error))
                    }
                }
            }
            Self::NewEpoch { folder: Folder { dir }, rooms } => {
                let renewed = check::new_epochs(&dir, &rooms, now_ms);
                let renewed = renewed.map_err(|error| Failure::new(UNAVAILABLE, error))?;
                let mut text = String::new();
                renewed.iter().for_each(|room| text.extend(["new epoch: ", room.as_str(), "\n"]));
                print(&text)?;
                let missing: Vec<&str> =
                    rooms.iter().filter(|room| !renewed.contains(room)).map(RoomName::as_str).collect();
                if missing.is_empty() {
                    return Ok(());
                }
                let error = anyhow::anyhow!("{}: no such rooms: {}", dir.display(), missing.join(", "));
                Err(Failure::new(CHECK_FAILED, error))
            }
        }
    }
}

/// Writes files, findings and rooms, one per line.
fn describe(checked: &Checked) -> String {
    let mut text = String::new();
    for file in &checked.files {
        let state = if file.is_whole { "whole" } else { "damaged" };
        let (path, bytes, messages, rooms) = (file.path.display(), file.bytes, file.messages, file.rooms);
        let _ = writeln!(text, "{path}: {state}, {bytes} bytes, {messages} messages, {rooms} rooms");
    }
    for finding in &checked.findings {
        let _ = writeln!(text, "{} at byte {}: {}", finding.path.display(), finding.at, finding.what);
    }
    if checked.more_findings > 0 {
        let _ = writeln!(text, "and {} more", checked.more_findings);
    }
    for room in &checked.rooms {
        let (epoch, offset) = (room.position.epoch, room.position.offset);
        let end = if room.goes_on { "" } else { ", would begin a new epoch" };
        let _ = writeln!(text, "room {}: {epoch}:{offset}, {} messages{end}", room.name, room.messages);
    }
    text
}
