//! The command line of `throng chat`.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use clap::Args;

use throng_names::parse_duration;

/// The environment variable with the token. It is none of the server's settings.
pub const TOKEN_VARIABLE: &str = "THRONG_TOKEN";

/// Longest wait that can be asked for.
const LONGEST: Duration = Duration::from_secs(3600);
/// Largest file that can be a token: a server takes heads of 16 KiB by default.
const MAX_TOKEN: usize = 16 * 1024;
/// Largest file of certificates: those of a whole system are a quarter of it.
const MAX_CA: u64 = 1024 * 1024;

/// Chat in this terminal.
///
/// Where standard input or output is no terminal, lines are read and written: what is typed is said, or is a command
/// (/help lists them), and each event is one line.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The server: ws:// or wss://, with the path under which a proxy shows it
    #[arg(default_value = "ws://127.0.0.1:8080", value_name = "URL")]
    pub(super) url: String,
    /// Who to be: 3 to 64 of A-Z a-z 0-9 _ . : @ -
    #[arg(long, value_name = "NAME")]
    pub(super) user: String,
    /// The room to be in first [default: the server's]
    #[arg(long, value_name = "ROOM")]
    pub(super) room: Option<String>,
    /// A token (JWT). Others can see a process's arguments: THRONG_TOKEN in the environment, or a file, is safer
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<Secret>,
    /// Read the token from this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust the certificates in this file, in PEM, besides those of the system: for wss:// with one of your own
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Read and write lines on a terminal, too
    #[arg(long)]
    pub(super) plain: bool,
    /// Write each event as a JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// With lines: how long to wait for the first connection, and at the end for what is not acknowledged yet
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = patience)]
    pub(super) timeout: Duration,
}

const AFTER_HELP: &str = "\
Examples:
  throng chat --user ann
  echo 'the build is done' | throng chat --user builder --room builds
  sleep infinity | throng chat --user log --json > chat.jsonl

Exit codes: 0 all is well, 64 wrong usage, 65 something that was typed was refused, 69 no connection, or the server
ended it for good, 70 internal error, 75 nobody knows whether everything was said.";

/// A token that no log and no error shows.
#[derive(Clone)]
pub(super) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Arguments {
    /// Takes the value of [`TOKEN_VARIABLE`] for the token when the command line names none.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn or_token(mut self, variable: Option<OsString>) -> anyhow::Result<Self> {
        if self.token.is_none() && self.token_file.is_none() {
            let token = variable.map(OsString::into_string).transpose();
            let token = token.map_err(|_| anyhow!("{TOKEN_VARIABLE}: is not UTF-8"))?;
            self.token = token.filter(|token| !token.is_empty()).map(Secret);
        }
        Ok(self)
    }

    /// The token, read from its file if need be.
    pub(super) fn token(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.token_file else { return Ok(self.token.clone().map(|Secret(token)| token)) };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(text.len() <= MAX_TOKEN, "{}: longer than a token", path.display());
        Ok(Some(text.trim().to_owned()))
    }

    /// The certificates to trust besides those of the system, read from their file.
    pub(super) fn ca(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(path) = &self.ca else { return Ok(None) };
        let cannot = || format!("cannot read {}", path.display());
        let mut pem = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_CA + 1).read_to_end(&mut pem)).with_context(cannot)?;
        ensure!(pem.len() as u64 <= MAX_CA, "{}: must be at most 1 MiB of certificates", path.display());
        Ok(Some(pem))
    }
}

fn patience(text: &str) -> anyhow::Result<Duration> {
    let timeout = parse_duration(text).context("must be a duration with its unit, like 10s")?;
    ensure!((Duration::from_millis(100)..=LONGEST).contains(&timeout), "must be from 100ms to 1h");
    Ok(timeout)
}
