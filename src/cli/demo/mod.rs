//! `throng demo`: a server with a few people in it who follow a script, so that its first page is alive.

mod inhabitant;
mod script;

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;
use throng_client::Client;
use tokio::runtime::Builder;

use self::inhabitant::Inhabitant;
use self::script::{CAST, LINES, NOTICE, ROOMS};
use super::failure::{Failure, INTERNAL, USAGE};
use super::output::print;
use super::settings::Settings;
use crate::config::{Config, parse_duration};
use crate::server::{Server, near};

/// The key with the patterns of the rooms that everybody may find.
pub(super) const LISTED: &str = "chat.listed_rooms";

/// Shortest and longest usual pause between two lines.
const PACE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(3_600)];

/// The arguments of `throng demo`.
#[derive(Debug, Args)]
pub(super) struct Request {
    #[command(flatten)]
    pub(super) settings: Settings,
    /// Usual pause between two lines of the script, from 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "4s", value_parser = pace)]
    pace: Duration,
}

fn pace(text: &str) -> anyhow::Result<Duration> {
    let pace = parse_duration(text).context("must be a duration with its unit, like 500ms or 4s")?;
    ensure!((PACE[0]..=PACE[1]).contains(&pace), "must be from 100ms to 1h");
    Ok(pace)
}

impl Request {
    /// Returns the people for a server with these settings.
    ///
    /// # Errors
    /// They could not come in ([`USAGE`]).
    pub(super) fn demo(&self, config: &Config) -> Result<Demo, Failure> {
        let problem = if config.auth.required {
            "the people of the demo have no tokens: set auth.required to false"
        } else if config.tls.is_on_listen() {
            "the people of the demo speak no TLS: leave the certificate out, or set tls.listen"
        } else {
            return Ok(Demo { pace: self.pace });
        };
        Err(Failure::new(USAGE, anyhow!(problem)))
    }
}

/// The people of a demo, who are not there yet.
#[derive(Debug)]
pub struct Demo {
    pace: Duration,
}

impl Demo {
    /// Says on standard output where the server is, and lets the people come in from a thread of their own, which lasts
    /// as long as the process. They wait until the server runs.
    ///
    /// # Errors
    /// The server listens on Unix sockets alone ([`USAGE`]), the address cannot be printed, or the system refuses a
    /// thread ([`INTERNAL`]).
    pub fn move_in(self, server: &Server) -> Result<(), Failure> {
        let nowhere = || Failure::new(USAGE, anyhow!("the demo needs an IP address in listen"));
        let address = near(server.local_addr().ok_or_else(nowhere)?);
        print(&format!(
            "demo: open http://{address}/ in a browser. People with (demo) in their names follow a script. Ctrl-C ends \
             it.\n"
        ))?;
        let acting = move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            let ended =
                runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(self.act(address)));
            if let Err(error) = ended {
                tracing::error!("the demo has ended: {error:#}");
            }
        };
        let started = thread::Builder::new().name("demo".into()).spawn(acting);
        started.map(drop).map_err(|error| Failure::new(INTERNAL, error))
    }

    /// Lets everybody in, and then say their lines over and over.
    async fn act(self, address: SocketAddr) -> anyhow::Result<()> {
        let url = format!("ws://{address}");
        let mut cast: Vec<Client> = Vec::new();
        for role in CAST {
            let (client, events) =
                Client::builder(&url).user(role.id).name(role.name).room(ROOMS[0]).connect()?;
            tokio::spawn(Inhabitant::new(role, client.clone()).listen(events));
            for room in &ROOMS[1..] {
                client.join(room).await.with_context(|| format!("{} cannot enter {room}", role.id))?;
            }
            cast.push(client);
        }
        cast[0].say(ROOMS[0], NOTICE).await?;
        for line in LINES.iter().cycle() {
            let speaker = &cast[line.by];
            tokio::time::sleep(self.pace.mul_f64(0.3 + fastrand::f64())).await;
            speaker.typing(line.room);
            tokio::time::sleep(self.pace.mul_f64(0.2)).await;
            if let Err(error) = speaker.say(line.room, line.text).await {
                tracing::debug!(%error, "a line of the demo was not said");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_speaker_and_a_room() {
        assert!(LINES.iter().all(|line| line.by < CAST.len() && ROOMS.contains(&line.room)));
        assert!(ROOMS.iter().all(|room| LINES.iter().any(|line| line.room == *room)));
        assert!(CAST.iter().all(|role| role.name.contains("(demo)") && role.id.starts_with(script::PREFIX)));
    }
}
