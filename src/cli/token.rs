//! `throng token`: makes a token to try the server with.

use std::ffi::OsString;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use clap::Args;

use super::failure::{Failure, USAGE};
use super::settings::GeneralSettings;
use crate::admission::token::{Claims, mint};
use crate::config::{Config, parse_duration};
use crate::keys::Algorithm;

/// Longest lifetime of a token made here, so that a mistyped unit does not make one that is valid for ever.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The arguments of `throng token`.
#[derive(Debug, Args)]
pub(super) struct Request {
    /// User id
    #[arg(long, value_name = "USER")]
    sub: String,
    /// Name shown to people, if other than the user id
    #[arg(long)]
    name: Option<String>,
    /// A room that the user may enter, or a pattern like live-*; may be repeated [default: all rooms]
    #[arg(long, value_name = "PATTERN")]
    room: Vec<String>,
    /// Time for which the token is valid: 30s, 5m, 1h, 7d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    ttl: Duration,
    #[command(flatten)]
    settings: GeneralSettings,
}

impl Request {
    /// Makes the token.
    pub(super) fn answer(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<String, Failure> {
        let config = self.settings.load(environment)?;
        self.sign(&config).map_err(|error| Failure::new(USAGE, error))
    }

    fn sign(&self, config: &Config) -> anyhow::Result<String> {
        let auth = &config.auth;
        ensure!(
            auth.algorithm == Algorithm::Hs256,
            "only HS256 tokens can be made, and `auth.algorithm` is another one"
        );
        let secret = auth.secret.first().context(
            "no key to sign with: set `auth.secret` (THRONG_AUTH__SECRET) or `auth.secret_file` to the server's key",
        )?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let claims = Claims {
            sub: self.sub.clone(),
            exp: (now + self.ttl).as_secs(),
            iat: Some(now.as_secs()),
            name: self.name.clone(),
            rooms: (!self.room.is_empty()).then(|| self.room.clone()),
            aud: auth.audience.clone(),
            iss: auth.issuer.clone(),
        };
        Ok(mint(secret.expose(), &claims)?)
    }
}

fn lifetime(text: &str) -> anyhow::Result<Duration> {
    let ttl = parse_duration(text).context("must be a duration with its unit, like 30s, 5m, 1h or 7d")?;
    ensure!((Duration::from_secs(1)..=LONGEST).contains(&ttl), "must be from 1s to 3650d");
    Ok(ttl)
}
