//! The canary: no key, secret or token stands in a log.
//!
//! [`Log`](super::log::Log) asks it when a process has ended, so that no test can forget to. It knows three kinds of
//! secrets: those that the process was configured with, those that clients of this test binary have sent to any server,
//! and texts that give themselves away by their shape, such as tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use parking_lot::Mutex;

use super::server::PREFIX;

/// Shortest text that is taken for a secret. Anything shorter stands in a log by accident.
const MIN_CHARS: usize = 6;

/// Shortest secret of a client that is remembered. Tests send words as wrong ones, and a word can be the name of a key.
const MIN_SENT: usize = 10;

/// Shortest signature of a token. The tests send tokens with words in the place of a signature.
const MIN_SIGNATURE: usize = 20;

/// Most secrets of one line that are shortened in a report.
const MAX_IN_A_LINE: usize = 20;

/// Largest file that is read for secrets.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The secrets that clients have sent, whatever the server made of them. Tests run in threads of one process, and a
/// secret of one of them must not be in the log of another either.
static SENT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Remembers a secret that a client is about to send.
pub(crate) fn remember(secret: &str) {
    // The rest of a token is easily guessed: a thief needs no more than its signature.
    let signature = secret.rsplit_once('.').map(|(_, signature)| signature);
    for part in [Some(secret), signature.filter(|part| part.len() >= MIN_SIGNATURE)].into_iter().flatten() {
        if part.len() >= MIN_SENT {
            SENT.lock().insert(part.to_owned());
        }
    }
}

/// Remembers the secrets in the head of a request that a client is about to send. Other bytes have none.
pub(crate) fn remember_request(bytes: &[u8]) {
    let is_request = [&b"GET "[..], b"POST "].iter().any(|method| bytes.starts_with(method));
    let Some(text) = is_request.then(|| String::from_utf8_lossy(bytes)) else { return };
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let mut lines = head.split("\r\n");
    remember_target(lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default());
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        remember_header(name, value);
    }
}

/// Remembers the secrets in the query of a URL.
pub(crate) fn remember_target(target: &str) {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        if matches!(name, "token" | "session") {
            remember(value);
        }
    }
}

/// Remembers the secret in a header.
pub(crate) fn remember_header(name: &str, value: &str) {
    let secret = match name.to_lowercase().as_str() {
        "authorization" => value.trim().split_once(' ').map(|(_, secret)| secret),
        "x-api-key" => Some(value),
        "sec-websocket-protocol" => value.split_once("bearer,").map(|(_, secret)| secret),
        _ => None,
    };
    secret.map(str::trim).into_iter().for_each(remember);
}

/// A secret that was found in a line.
struct Found {
    /// Its kind, for the report.
    what: String,
    secret: String,
}

/// The secrets of one process.
#[derive(Default)]
pub(crate) struct Canary {
    /// The secrets, each with the key that has it. Text in a file is there as it was at any look.
    secrets: Mutex<BTreeMap<String, String>>,
    /// The files to look into, each with the key that names it.
    files: Mutex<BTreeSet<(String, String)>>,
}

impl Canary {
    /// Returns the canary for a process that `command` starts: it knows all secrets in its variables, in its arguments
    /// and in the files that these name.
    pub(crate) fn of(command: &Command) -> Self {
        let canary = Self::default();
        for (name, value) in command.get_envs() {
            let (name, value) =
                (name.to_string_lossy().to_lowercase(), value.map(|value| value.to_string_lossy()));
            let name = name.strip_prefix(&PREFIX.to_lowercase()).unwrap_or(&name).replace("__", ".");
            canary.learn(&name, value.as_deref().unwrap_or_default());
        }
        let mut flag = String::new();
        for argument in command.get_args().map(|argument| argument.to_string_lossy()) {
            // A script of a shell is an argument of many words.
            for word in argument.split_whitespace() {
                match word.strip_prefix("--").map(|name| name.split_once('=').unwrap_or((name, ""))) {
                    Some((name, "")) => flag = name.to_owned(),
                    Some((name, value)) => canary.learn(name, value),
                    None => match word.split_once('=').filter(|_| flag == "set") {
                        Some((name, value)) => canary.learn(name, value),
                        None => canary.learn(&flag, word),
                    },
                }
            }
        }
        canary.look_into_files();
        canary
    }

    /// Learns the secrets in the value of a key.
    fn learn(&self, key: &str, value: &str) {
        let name = key.rsplit('.').next().unwrap_or(key);
        let is_list = value.starts_with(['[', '{']);
        if let Some(table) =
            is_list.then(|| format!("{name} = {value}").parse::<toml::Table>().ok()).flatten()
        {
            return self.learn_table(key, &toml::Value::Table(table));
        }
        if let Some(password) = password_of_url(value) {
            self.add(key, password);
        }
        if is_secret(name) {
            for line in value.lines() {
                self.learn_line(key, line);
            }
        } else if name == "config" || name.strip_suffix("_file").is_some_and(is_secret) {
            self.files.lock().insert((key.to_owned(), value.to_owned()));
        }
    }

    /// Learns what one line of a secret has: a secret, or keys with commas between, some with a name.
    fn learn_line(&self, key: &str, line: &str) {
        self.add(key, line);
        // The rest is the secret of a webhook itself.
        self.add(key, line.trim().strip_prefix("whsec_").unwrap_or_default());
        if key.trim_end_matches("_file").ends_with("keys") {
            for part in line.split(',').map(str::trim) {
                self.add(key, part);
                self.add(key, part.split_once('=').map_or("", |(_, secret)| secret));
            }
        }
    }

    fn learn_table(&self, key: &str, value: &toml::Value) {
        match value {
            toml::Value::String(text) => self.learn(key, text),
            toml::Value::Array(items) => items.iter().for_each(|item| self.learn_table(key, item)),
            toml::Value::Table(table) => table.iter().for_each(|(key, item)| self.learn_table(key, item)),
            _ => {}
        }
    }

    fn add(&self, key: &str, secret: &str) {
        let secret = secret.trim();
        // The lines around a key in PEM are no secret, and have a shape of their own.
        if secret.len() >= MIN_CHARS && !secret.starts_with("-----") {
            self.secrets.lock().insert(secret.to_owned(), key.to_owned());
        }
    }

    /// Reads the files, as the process does at its start and when it reads its settings again.
    pub(crate) fn look_into_files(&self) {
        let mut seen = BTreeSet::new();
        loop {
            // The configuration names further files.
            let next = self.files.lock().iter().find(|file| !seen.contains(*file)).cloned();
            let Some((key, path)) = next else { break };
            seen.insert((key.clone(), path.clone()));
            let is_small = Path::new(&path).metadata().is_ok_and(|file| file.len() <= MAX_FILE_BYTES);
            let text = is_small.then(|| std::fs::read_to_string(&path).ok()).flatten().unwrap_or_default();
            if key != "config" {
                text.lines().for_each(|line| self.learn_line(&key, line));
            } else if let Ok(table) = text.parse() {
                self.learn_table("", &toml::Value::Table(table));
            }
        }
    }

    /// Returns a report about the first line with a secret, which is shortened there.
    pub(crate) fn leak<'l>(&self, lines: impl IntoIterator<Item = &'l str>) -> Option<String> {
        self.look_into_files();
        let configured = self.secrets.lock().clone().into_iter();
        let configured = configured.map(|(secret, key)| (secret, format!("the secret of `{key}`")));
        let sent =
            SENT.lock().clone().into_iter().map(|secret| (secret, "a secret that a client sent".to_owned()));
        // Each as it is, and as it stands within JSON.
        let known: Vec<_> =
            configured.chain(sent).map(|(secret, what)| (escaped(&secret), secret, what)).collect();
        let find = |line: &str| {
            let known =
                known.iter().find(|(escaped, secret, _)| line.contains(escaped) || line.contains(secret));
            let known = known.map(|(_, secret, what)| Found { what: what.clone(), secret: secret.clone() });
            known.or_else(|| shaped(&without_trace(line)))
        };
        let mut own_key: Option<&str> = None;
        for line in lines {
            // The key that a node has made for its operator is in one line on purpose, and in no other.
            let found = match (own_key, line.split_once("#key=")) {
                (None, Some((before, key))) if !self.has(word_at_start(key)) => {
                    own_key = Some(word_at_start(key));
                    find(before)
                }
                _ => {
                    let own = own_key.filter(|key| line.contains(key));
                    let own =
                        own.map(|key| Found { what: "the operator's key".into(), secret: key.to_owned() });
                    own.or_else(|| find(line))
                }
            };
            if let Some(found) = found {
                return Some(report(&found, line, find));
            }
        }
        None
    }

    /// Returns true if the process was given this secret.
    fn has(&self, secret: &str) -> bool {
        self.secrets.lock().contains_key(secret)
    }
}

/// Returns a line without the number of its caller's trace, which looks like the secret of a session.
fn without_trace(line: &str) -> String {
    let begin = "\"traceparent\":\"00-";
    let Some((before, after)) = line.split_once(begin) else { return line.to_owned() };
    let end = after.find('-').unwrap_or(0);
    format!("{before}{begin}{}", &after[end..])
}

/// Returns true if a key, by its last word, or a variable has a secret. That of a public key is none.
fn is_secret(name: &str) -> bool {
    let ends = ["secret", "password", "token", "key", "keys"];
    !["public_key", "max_keys"].contains(&name) && ends.iter().any(|end| name.ends_with(end))
}

/// Returns a text as it stands within JSON.
fn escaped(text: &str) -> String {
    serde_json::Value::from(text).to_string().trim_matches('"').to_owned()
}

fn is_token_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || "_-.+/=".contains(char)
}

fn word_at_start(text: &str) -> &str {
    &text[..text.find(|char| !is_token_char(char)).unwrap_or(text.len())]
}

/// Returns the password in a URL.
fn password_of_url(text: &str) -> Option<&str> {
    text.split("://").skip(1).find_map(|rest| {
        let end =
            rest.find(|char: char| char.is_whitespace() || "/\"'?#".contains(char)).unwrap_or(rest.len());
        let (user, _) = rest[..end].rsplit_once('@')?;
        let (_, password) = user.split_once(':')?;
        (!password.is_empty() && password != "***" && !password.contains("redacted")).then_some(password)
    })
}

/// Returns a text that looks like a secret, whoever made it.
fn shaped(line: &str) -> Option<Found> {
    let found = |what: &str, secret: &str| Some(Found { what: what.to_owned(), secret: secret.to_owned() });
    if let Some((_, rest)) = line.split_once("PRIVATE KEY-----") {
        return found("a private key", rest);
    }
    if let Some(password) = password_of_url(line) {
        return found("a password in a URL", password);
    }
    let lower = line.to_ascii_lowercase();
    for (what, start, least) in [("a bearer token", "bearer ", 8), ("a secret of webhooks", "whsec_", 16)] {
        for (at, _) in lower.match_indices(start) {
            let secret = word_at_start(&line[at + start.len()..]);
            if secret.len() >= least {
                return found(what, secret);
            }
        }
    }
    for word in line.split(|char: char| !char.is_ascii_alphanumeric() && !"_-.".contains(char)) {
        let parts: Vec<&str> = word.split('.').collect();
        if parts.windows(2).any(|two| two.iter().all(|part| part.contains("eyJ") && part.len() > 8)) {
            return found("a token (JWT)", word);
        }
    }
    let is_session = |word: &&str| {
        word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let session = line.split(|char: char| !char.is_ascii_alphanumeric()).find(is_session)?;
    found("the secret of a session", session)
}

/// Describes a leak without repeating it. A line may have further secrets, and a token is one as a whole and in part:
/// all that `find` still finds are shortened as well.
fn report(found: &Found, line: &str, find: impl Fn(&str) -> Option<Found>) -> String {
    let mut shortened = shorten(line, &found.secret);
    for _ in 0..MAX_IN_A_LINE {
        let Some(more) = find(&shortened) else { break };
        shortened = shorten(&shortened, &more.secret);
    }
    format!("{} is in the log: {shortened}", found.what)
}

fn shorten(line: &str, secret: &str) -> String {
    if secret.is_empty() {
        return line.to_owned();
    }
    let start: String = secret.chars().take(3).collect();
    line.replace(&escaped(secret), &format!("{start}…")).replace(secret, &format!("{start}…"))
}
