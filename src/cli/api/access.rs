//! The address and the key that calls are made with.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, anyhow, ensure};

use super::{KEY_VARIABLE, URL_VARIABLE};
use crate::cli::failure::{Failure, USAGE};
use crate::config::{Secret, Url};

/// The address of a server with default settings on this machine.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";
/// Largest file with a key. A server accepts HTTP heads of 16 KiB, but the file may hold all keys of the server.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// The environment variables of `throng api`, as far as they are set.
#[derive(Default)]
pub(in crate::cli) struct Variables {
    pub(super) url: Option<OsString>,
    pub(super) key: Option<OsString>,
}

/// A server and the key that it is shown.
pub(super) struct Access {
    base: String,
    key: String,
}

impl Access {
    /// Takes the address and the key from the command line, or else from the environment.
    pub(super) fn new(
        url: Option<String>,
        key_file: Option<&Path>,
        variables: Variables,
    ) -> Result<Self, Failure> {
        Self::read(url, key_file, variables).map_err(|error| Failure::new(USAGE, error))
    }

    fn read(url: Option<String>, key_file: Option<&Path>, variables: Variables) -> anyhow::Result<Self> {
        let url = match url {
            Some(url) => url,
            None => text_of(variables.url, URL_VARIABLE)?.unwrap_or_else(|| DEFAULT_URL.to_owned()),
        };
        let base = url.trim_end_matches('/');
        let is_good = !base.contains('?') && Url::parse(base).is_some();
        ensure!(
            is_good,
            "{url}: must be https://HOST:PORT, or http:// with a loopback or private address, for a key would be \
             readable on the way"
        );
        let key = match key_file {
            Some(path) => Some(first_line(path)?),
            None => text_of(variables.key, KEY_VARIABLE)?,
        };
        let key = key.with_context(|| {
            format!("no key: set {KEY_VARIABLE} in the environment, or name a file with --key-file")
        })?;
        // Not even a part of the key may stand in the error.
        ensure!(
            key.bytes().all(|byte| byte.is_ascii_graphic()),
            "the key must be of visible ASCII characters"
        );
        Ok(Self { base: base.to_owned(), key })
    }

    /// Returns the key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Returns the address of a call.
    pub(super) fn url(&self, path: &str) -> anyhow::Result<Url> {
        let url = format!("{}/api/{path}", self.base);
        Url::parse(&url).with_context(|| format!("{url}: too long"))
    }
}

/// Returns the text of a variable that is set and not empty.
fn text_of(variable: Option<OsString>, name: &str) -> anyhow::Result<Option<String>> {
    let text = variable.map(OsString::into_string).transpose();
    Ok(text.map_err(|_| anyhow!("{name}: must be UTF-8"))?.filter(|text| !text.is_empty()))
}

/// Returns the key in the first line of a file that has text. Its name before it, as the server's file has it, is not
/// part of it.
fn first_line(path: &Path) -> anyhow::Result<String> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = read_bounded(file, MAX_KEY_FILE).with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let secret = Secret::new(line.with_context(|| format!("{}: no key in it", path.display()))?);
    Ok(String::from_utf8_lossy(secret.named().1).into_owned())
}

/// Reads text to its end.
///
/// # Errors
/// It cannot be read, is no UTF-8, or has more than `max` bytes.
pub(super) fn read_bounded(from: impl Read, max: u64) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(max + 1).read_to_string(&mut text)?;
    ensure!(text.len() as u64 <= max, "more than {max} bytes");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn access(url: Option<&str>, variables: [Option<&str>; 2]) -> anyhow::Result<Access> {
        let [url_variable, key] = variables.map(|value| value.map(OsString::from));
        Access::read(url.map(str::to_owned), None, Variables { url: url_variable, key })
    }

    #[test]
    fn the_address_is_the_flags_the_environments_or_this_machines() {
        for (flag, variable, expected) in [
            (None, None, "http://127.0.0.1:8080/api/publish"),
            (None, Some(""), "http://127.0.0.1:8080/api/publish"),
            (None, Some("https://a.example/"), "https://a.example/api/publish"),
            (
                Some("http://10.0.0.1:81/throng/"),
                Some("https://a.example"),
                "http://10.0.0.1:81/throng/api/publish",
            ),
        ] {
            let access = access(flag, [variable, Some("key")]).unwrap();
            assert_eq!(access.url("publish").unwrap().as_str(), expected);
        }
        for wrong in
            ["http://8.8.8.8", "ws://127.0.0.1", "127.0.0.1:8080", "https://a.example/?a=b", "https://u:p@a/"]
        {
            assert!(access(Some(wrong), [None, Some("key")]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_is_needed_and_no_error_shows_one() {
        assert!(access(None, [None, None]).is_err_and(|error| error.to_string().contains(KEY_VARIABLE)));
        assert!(access(None, [None, Some("a key")]).is_err_and(|error| !error.to_string().contains("a key")));
        assert_eq!(access(None, [None, Some("the=key")]).unwrap().key(), "the=key");
    }

    #[test]
    fn a_file_holds_the_key_in_its_first_line_with_or_without_a_name() {
        for (text, expected) in [
            ("key-1\n", Some("key-1")),
            ("\n  backend=key-1\nother=key-2\n", Some("key-1")),
            ("a2V5==\n", Some("a2V5==")),
            ("", None),
            (" \n", None),
        ] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(first_line(file.path()).ok().as_deref(), expected, "{text:?}");
        }
    }
}
