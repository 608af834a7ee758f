//! Runs a scenario: once, or several times for each server in turn, so that a machine that drifts does so for all.

use anyhow::ensure;

use super::arguments::Scenario;
use super::candidates::Candidate;
use super::comparison::Side;
use super::environment::Environment;
use super::progress::Progress;
use super::report::Report;
use super::{Failure, driver, scenario, spawn};

/// Most rounds of a run: a run with a typing error must end.
const MAX_ROUNDS: usize = 100;

/// Returns the number of rounds of a run.
///
/// # Errors
/// The number is out of its range, or the scenario cannot be repeated.
pub(super) fn count(scenario: &Scenario, candidates: &[Candidate]) -> anyhow::Result<usize> {
    if matches!(scenario, Scenario::Storm(_)) {
        ensure!(
            candidates.len() < 2,
            "storm: cannot be repeated for several servers, because its --rounds is the number of storms; run it once \
             for each, with --json, and compare the files with `throng bench compare`"
        );
        return Ok(1);
    }
    let rounds = scenario.common().rounds.unwrap_or(1);
    ensure!((1..=MAX_ROUNDS).contains(&rounds), "--rounds {rounds}: must be from 1 to {MAX_ROUNDS}");
    Ok(rounds)
}

/// Checks the arguments for each server before one is started. Its port is not known yet and does not matter for this.
///
/// # Errors
/// A value is out of its range; the error names it.
pub(super) fn check(scenario: &Scenario, candidates: &[Candidate]) -> anyhow::Result<()> {
    let placeholder = scenario::server_url(scenario, 9);
    for candidate in candidates {
        scenario::plan(scenario, candidate.url.as_ref().unwrap_or(&placeholder), None)?;
    }
    Ok(())
}

/// Runs the scenario once against one server, which is started for it if it has no URL.
///
/// # Errors
/// [`Failure`] lists them. A mistake of the server is no error, but part of the report.
pub(super) fn once(
    scenario: &Scenario,
    candidate: &Candidate,
    progress: &mut Progress,
) -> Result<Report, Failure> {
    let target = &scenario.common().target;
    let server = match candidate.url {
        Some(_) => None,
        None => {
            let options = spawn::Options {
                prefix: target.server_prefix.as_deref().unwrap_or_default(),
                workers: target.workers,
                settings: scenario::server_settings(scenario).map_err(Failure::Usage)?,
            };
            Some(spawn::Server::start(&options).map_err(Failure::Broken)?)
        }
    };
    let url = match (&server, &candidate.url) {
        (Some(server), _) => scenario::server_url(scenario, server.address.port()),
        (None, url) => url.clone().unwrap_or_default(),
    };
    let pid = server.as_ref().map(spawn::Server::pid).or(candidate.pid);
    let plan = scenario::plan(scenario, &url, pid).map_err(Failure::Usage)?;
    let environment = Environment::now();
    let outcome = driver::run(&plan, progress).map_err(Failure::Broken)?;
    drop(server);
    Ok(Report::new(&plan, environment, outcome))
}

/// The rounds of a run that are complete, and the reason why there are no more.
pub(super) struct Rounds {
    /// Every server, each with as many reports.
    pub(super) sides: Vec<Side>,
    /// The error that ended the run before its last round; it names the server and the round.
    pub(super) failure: Option<Failure>,
}

/// Runs the scenario in `rounds` rounds: in each, once against every server. Even rounds have the reverse order, so
/// that no server profits from its place.
pub(super) fn all(
    scenario: &Scenario,
    candidates: &[Candidate],
    rounds: usize,
    progress: &mut Progress,
) -> Rounds {
    let side = |it: &Candidate| Side { label: it.label.clone(), file: 0, reports: Vec::new() };
    let mut sides: Vec<Side> = candidates.iter().map(side).collect();
    for round in 1..=rounds {
        let mut turns: Vec<(&Candidate, &mut Side)> = candidates.iter().zip(&mut sides).collect();
        if round.is_multiple_of(2) {
            turns.reverse();
        }
        let failure = turns.into_iter().find_map(|(candidate, side)| {
            let place = format!("{}, round {round} of {rounds}", candidate.label);
            progress.set_prefix(format!("{place}: "));
            match once(scenario, candidate, progress) {
                Ok(mut report) => {
                    (report.label, report.round) = (Some(candidate.label.clone()), Some(round));
                    side.reports.push(report);
                    None
                }
                Err(Failure::Broken(error)) => Some(Failure::Broken(error.context(place))),
                Err(failure) => Some(failure),
            }
        });
        if failure.is_some() {
            // Servers that were measured before the error have one report more than the others.
            sides.iter_mut().for_each(|side| side.reports.truncate(round - 1));
            return Rounds { sides, failure };
        }
    }
    Rounds { sides, failure: None }
}
