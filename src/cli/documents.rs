//! `throng completions` and `throng man`: files about the command line for shells and for `man`, made from its
//! definition, so that they are never out of date.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::failure::{Failure, INTERNAL, UNAVAILABLE};
use super::output::print;

/// The arguments of `throng completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell that reads them
    shell: Shell,
}

impl Completions {
    /// Prints the script that completes the arguments of `command`.
    ///
    /// # Errors
    /// Standard output cannot be written ([`INTERNAL`]).
    pub(super) fn answer(&self, mut command: Command) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "throng", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}

/// The arguments of `throng man`.
#[derive(Debug, Args)]
pub(super) struct Pages {
    /// Write throng.1 and a page for each subcommand into this folder, which must exist, instead of printing throng.1
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Pages {
    /// Prints the page of `command`, or writes its page and those of all its subcommands.
    ///
    /// # Errors
    /// A file cannot be written ([`UNAVAILABLE`]), or standard output cannot ([`INTERNAL`]).
    pub(super) fn answer(&self, command: Command) -> Result<(), Failure> {
        // The text of -V is enough for the foot of a page.
        let mut command = command.long_version(None).disable_help_subcommand(true);
        command.build();
        match &self.dir {
            Some(dir) => write_all(&command, dir),
            None => print(&String::from_utf8_lossy(&render(&command)?)),
        }
    }
}

/// Writes the page of a command, and then those of its subcommands.
fn write_all(command: &Command, dir: &Path) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = dir.join(format!("{name}.1"));
    let written = std::fs::write(&path, render(command)?);
    let written = written.with_context(|| format!("cannot write {}", path.display()));
    written.map_err(|error| Failure::new(UNAVAILABLE, error))?;
    command.get_subcommands().filter(|each| !each.is_hide_set()).try_for_each(|each| write_all(each, dir))
}

fn render(command: &Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    let rendered = Man::new(command.clone()).render(&mut page);
    rendered.map_err(|error| Failure::new(INTERNAL, error))?;
    Ok(page)
}
