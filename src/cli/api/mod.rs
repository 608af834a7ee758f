//! `throng api`: the calls of the server API from the command line, for operators and scripts.

mod access;
mod batch;
mod calls;
mod error;
mod output;
mod session;
mod table;
mod views;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use access::Access;
use calls::{Call, Prepared, Work};
use output::Output;
use session::Session;

pub(super) use access::Variables;

/// The environment variables that the subcommand reads. They are never read as settings of the server.
pub(super) const URL_VARIABLE: &str = "THRONG_API_URL";
pub(super) const KEY_VARIABLE: &str = "THRONG_API_KEY";

/// The heading of the flags that say which server is called, and with which key.
const SERVER: &str = "Server";

const AFTER_HELP: &str = "\
The key is read from the file of --key-file, or from THRONG_API_KEY in the environment. Other users of the machine can
see the arguments of a process, so that no argument takes it.

Examples:
  throng api publish --room lobby 'the build is done'
  echo 'the build is done' | throng api broadcast --room lobby --room builds
  throng api rooms --pattern 'live-*' --all
  throng api presence lobby
  echo '{\"publish\":{\"room\":\"lobby\",\"message\":\"hi\"}}' | throng api batch --json

Exit codes: 0 done, 64 wrong usage, 65 the server refused it, or a part of it, 69 nothing was done: no connection, or
the server cannot do it now, 70 internal error, 75 it may or may not have been done: messages with an idempotency key
can safely be sent again.";

/// The arguments of `throng api`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Request {
    /// Address of the server, and behind a proxy the path that leads to the server: https://, or http:// to a loopback
    /// or private address [default: THRONG_API_URL in the environment, or http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", global = true, help_heading = SERVER)]
    url: Option<String>,
    /// Read the key from the first line of this file, which may be the server's own `api.keys_file`
    #[arg(long, value_name = "FILE", global = true, help_heading = SERVER)]
    key_file: Option<PathBuf>,
    #[command(flatten)]
    certificates: Certificates,
    /// Print the result as JSON, one object on a line for each call
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    call: Call,
}

/// The certificates of a connection with TLS.
#[derive(Debug, Args)]
struct Certificates {
    /// Trust the certificates in this file (PEM) in place of those of the system
    #[arg(long, value_name = "FILE", global = true, help_heading = SERVER)]
    ca: Option<PathBuf>,
    /// Show the certificate in this file (PEM) to a server with `tls.client_ca_file`
    #[arg(long, value_name = "FILE", requires = "cert_key", global = true, help_heading = SERVER)]
    cert: Option<PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert", global = true, help_heading = SERVER)]
    cert_key: Option<PathBuf>,
}

impl Request {
    /// Makes the calls and prints their results.
    ///
    /// # Errors
    /// See the exit codes in the help. The answers until then are printed.
    pub(super) fn answer(self, variables: Variables) -> Result<(), Failure> {
        let Self { url, key_file, certificates, json, call } = self;
        let access = Access::new(url, key_file.as_deref(), variables)?;
        // Input is read before the connection is opened: it may be typed.
        match call.prepare()? {
            Work::One(prepared) => pages(&Session::new(access, &certificates)?, prepared, json),
            Work::Batch(commands) => commands.send(&Session::new(access, &certificates)?, json),
        }
    }
}

/// Makes a call, and where all pages are asked for, again with the end of each page until there are no more.
fn pages(session: &Session, mut call: Prepared, json: bool) -> Result<(), Failure> {
    let mut output = Output::new(call.view, json);
    loop {
        let answer = session.call(call.path, call.body())?;
        output.print(&answer)?;
        let Some(next) = answer.next() else { return Ok(()) };
        if !call.has_all_pages {
            output.hint(&next);
            return Ok(());
        }
        call.continue_after(next)?;
    }
}

/// Returns the variables of this subcommand out of those that are no settings.
pub(super) fn variables(environment: &[(OsString, OsString)]) -> Variables {
    let value =
        |wanted: &str| environment.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    Variables { url: value(URL_VARIABLE), key: value(KEY_VARIABLE) }
}
