//! `throng token`: a token to try the server with.

use std::ffi::OsString;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use clap::Args;

use super::{AnySettings, Failure, USAGE, load};
use crate::admission::token::{Claims, mint};
use crate::config::{Config, parse_duration};
use crate::keys::Algorithm;

/// The longest life of a token made here: a mistyped unit must not make one for ever.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What the token is to say.
#[derive(Debug, Args)]
pub(super) struct Request {
    /// The user id
    #[arg(long, value_name = "USER")]
    sub: String,
    /// The name for people, where it differs from the user id
    #[arg(long)]
    name: Option<String>,
    /// A room, or a pattern like live-*, that may be entered; as often as you like [default: all rooms]
    #[arg(long, value_name = "PATTERN")]
    room: Vec<String>,
    /// How long it is good for: 30s, 5m, 1h, 7d
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = lifetime)]
    ttl: Duration,
    #[command(flatten)]
    settings: AnySettings,
}

impl Request {
    /// The token, ready to be printed.
    pub(super) fn answer(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<String, Failure> {
        let config = load(self.settings.sources(environment)?)?;
        self.sign(&config).map_err(|error| Failure::new(USAGE, error))
    }

    fn sign(&self, config: &Config) -> anyhow::Result<String> {
        let auth = &config.auth;
        ensure!(
            auth.algorithm == Algorithm::Hs256,
            "only HS256 tokens can be made, `auth.algorithm` is another"
        );
        let secret = auth.secret.as_ref().context(
            "no key to sign with: set `auth.secret` (THRONG_AUTH__SECRET) or `auth.secret_file` as the server has it",
        )?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
        let claims = Claims {
            sub: self.sub.clone(),
            exp: (now + self.ttl).as_secs(),
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
