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

/// The environment variable that holds the token. It is not a setting of the server.
pub const TOKEN_VARIABLE: &str = "THRONG_TOKEN";

/// Longest value of `--timeout`.
const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// Largest file that `--token-file` accepts, in bytes: by default, a server accepts HTTP heads of 16 KiB.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Largest file that `--ca` accepts, in bytes: four times the size of the certificates of a whole system.
const MAX_CA_BYTES: u64 = 1024 * 1024;

/// Chat in this terminal.
///
/// On a terminal the chat takes the whole screen. When standard input or output is not a terminal, it reads and writes
/// lines: each line of input is sent to the room or is a command (/help lists them), and each event is one line of
/// output.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// Address of the server: ws:// or wss://, and behind a proxy the path that leads to the server
    #[arg(default_value = "ws://127.0.0.1:8080", value_name = "URL")]
    pub(super) url: String,
    /// Your user id: 3 to 64 of A-Z a-z 0-9 _ . : @ -
    #[arg(long, value_name = "USER")]
    pub(super) user: String,
    /// The room to enter first [default: that of the server]
    #[arg(long, value_name = "ROOM")]
    pub(super) room: Option<String>,
    /// A name to show to people beside your user id, where the server demands no token: 1 to 64 characters
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// A token (JWT). Other users of this machine can see it here: THRONG_TOKEN in the environment or --token-file is
    /// safer
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<Secret>,
    /// Read the token from this file
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Trust the certificates in this file (PEM) besides those of the system: for wss:// with a certificate of your own
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Read and write lines even on a terminal
    #[arg(long)]
    pub(super) plain: bool,
    /// Write each event as a JSON object on one line
    #[arg(long)]
    pub(super) json: bool,
    /// With lines: longest wait for the first connection, and for unanswered lines at the end of the input
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_timeout)]
    pub(super) timeout: Duration,
}

const AFTER_HELP: &str = "\
Examples:
  throng chat --user ann
  echo 'the build is done' | throng chat --user builder --room builds
  sleep infinity | throng chat --user log --json > chat.jsonl

Exit codes: 0 success, 64 wrong usage, 65 something that was typed was refused, 69 no connection, or the server ended it
for good, 70 internal error, 75 something that was typed is unanswered and may or may not have been carried out.";

/// A token. `Debug` hides it, so that it does not get into a log or an error.
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
    /// Uses the value of [`TOKEN_VARIABLE`] as the token, unless the command line names one.
    ///
    /// # Errors
    /// The value is not UTF-8.
    pub fn or_token(mut self, variable: Option<OsString>) -> anyhow::Result<Self> {
        if self.token.is_none() && self.token_file.is_none() {
            let token = variable.map(OsString::into_string).transpose();
            let token = token.map_err(|_| anyhow!("{TOKEN_VARIABLE}: must be UTF-8"))?;
            self.token = token.filter(|token| !token.is_empty()).map(Secret);
        }
        Ok(self)
    }

    /// Returns the token of the command line or of its file.
    pub(super) fn token(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.token_file else { return Ok(self.token.clone().map(|Secret(token)| token)) };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(
            text.len() <= MAX_TOKEN_BYTES,
            "{}: must be a token of at most {MAX_TOKEN_BYTES} bytes",
            path.display()
        );
        Ok(Some(text.trim().to_owned()))
    }

    /// Reads the certificates to trust besides those of the system.
    pub(super) fn ca(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(path) = &self.ca else { return Ok(None) };
        let cannot = || format!("cannot read {}", path.display());
        let mut pem = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_CA_BYTES + 1).read_to_end(&mut pem))
            .with_context(cannot)?;
        ensure!(
            pem.len() as u64 <= MAX_CA_BYTES,
            "{}: must be at most 1 MiB of certificates",
            path.display()
        );
        Ok(Some(pem))
    }
}

fn parse_timeout(text: &str) -> anyhow::Result<Duration> {
    let timeout = parse_duration(text).context("must be a number with a unit (ms, s, m, h), such as 10s")?;
    ensure!((Duration::from_millis(100)..=MAX_TIMEOUT).contains(&timeout), "must be from 100ms to 1h");
    Ok(timeout)
}
