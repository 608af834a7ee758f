//! `throng doctor`: loads the settings as the server does, and checks them, the machine, the files that they name, the
//! certificates, and the engine. It starts no server and changes nothing.

mod certificates;
mod engine;
mod files;
mod kernel;
mod machine;
mod memory;
mod report;
mod size;

use std::ffi::OsString;

use clap::Args;

use super::failure::{Failure, UNAVAILABLE, USAGE};
use super::output::print;
use super::settings::Settings;
use crate::config::{Config, ConfigErrors, Finding, Level, Machine};
use kernel::Kernel;

/// The arguments of `throng doctor`.
#[derive(Debug, Args)]
pub(super) struct Request {
    #[command(flatten)]
    settings: Settings,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Request {
    /// Runs the checks and prints what they have found.
    ///
    /// # Errors
    /// The settings are wrong ([`USAGE`]), or something else is with which the server would not start or work
    /// ([`UNAVAILABLE`]).
    pub(super) fn answer(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), Failure> {
        let (findings, code) = match Config::load(self.settings.sources(environment)) {
            Ok(config) => (examine(config), UNAVAILABLE),
            Err(errors) => (mistakes(errors), USAGE),
        };
        print(&if self.json { report::json(&findings)? } else { report::lines(&findings) })?;
        match findings.iter().filter(|finding| finding.level == Level::Error).count() {
            0 => Ok(()),
            errors => Err(Failure::new(code, anyhow::anyhow!("errors found: {errors}"))),
        }
    }
}

/// Runs every check, in the order in which a person reads them: from the settings outwards.
fn examine(config: Config) -> Vec<Finding> {
    let (machine, kernel) = (Machine::read(), Kernel::read());
    let config = config.resolve(&machine);
    let mut found = settings(&config);
    found.extend(machine::check(&config, &machine, &kernel));
    found.push(memory::check(&config, machine.memory_bytes));
    found.extend(files::check(&config));
    found.extend(certificates::check(&config));
    found.extend(engine::check(&config));
    found
}

/// Returns the warnings that the server would log at its start, or that there are none.
fn settings(config: &Config) -> Vec<Finding> {
    let warnings: Vec<Finding> = config
        .warnings()
        .into_iter()
        .map(|text| Finding { advice: None, ..Finding::warning("settings", text, "") })
        .collect();
    if warnings.is_empty() {
        return vec![Finding::ok("settings", "no mistake, no contradiction, nothing without effect")];
    }
    warnings
}

/// Returns the mistakes of the settings, with which nothing else can be checked.
fn mistakes(errors: ConfigErrors) -> Vec<Finding> {
    let finding = |text: String| Finding { advice: None, ..Finding::error("settings", text, "") };
    errors.0.into_iter().map(|error| finding(error.to_string())).collect()
}
