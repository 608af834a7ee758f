//! The environment of a run: version, time, command line and machine, so that results can be compared and repeated.

use std::fs::read_to_string;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::format::Row;

/// The part of a report that says how its numbers came about.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Environment {
    /// Version of this program.
    version: String,
    /// Start of the run, in UTC (RFC 3339).
    time: String,
    /// The arguments as given, without values that may be secrets.
    command_line: Vec<String>,
    machine: Machine,
}

/// The machine of the load generator. Fields that the system does not provide are left out.
#[derive(Debug, Deserialize, Serialize)]
struct Machine {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<String>,
    /// Number of cores that this process may use.
    cores: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_mib: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<String>,
}

impl Environment {
    /// Returns version and machine, which must be equal for a fair comparison.
    pub(super) fn machine(&self) -> Vec<Row> {
        let Machine { cpu, cores, memory_mib, kernel } = &self.machine;
        let unknown = || "an unknown one".to_owned();
        vec![
            ("version", self.version.clone()),
            ("processor", cpu.clone().unwrap_or_else(unknown)),
            ("number of cores", cores.to_string()),
            ("memory", memory_mib.map_or_else(unknown, |mib| format!("{mib} MiB"))),
            ("kernel", kernel.clone().unwrap_or_else(unknown)),
        ]
    }

    /// Returns time, version and machine in one line, for the top of a page.
    pub(super) fn line(&self) -> String {
        let Machine { cpu, cores, kernel, .. } = &self.machine;
        let cpu = cpu.as_ref().map_or_else(String::new, |cpu| format!("{cpu}, "));
        let kernel = kernel.as_ref().map_or_else(String::new, |kernel| format!(" · kernel {kernel}"));
        format!("{} · throng {} · {cpu}{cores} core(s){kernel}", self.time, self.version)
    }

    /// Returns everything as rows for people.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = vec![("time", self.time.clone())];
        rows.extend(self.machine());
        rows.push(("command line", self.command_line.join(" ")));
        rows
    }

    /// Reads the environment; the run begins now.
    pub(super) fn now() -> Self {
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
        Self {
            version: env!("CARGO_PKG_VERSION").into(),
            time: rfc_3339(unix_s),
            command_line: without_secrets(arguments),
            machine: Machine {
                cpu: read_to_string("/proc/cpuinfo").ok().and_then(|text| field(&text, "model name")),
                cores: std::thread::available_parallelism().map_or(1, usize::from),
                memory_mib: read_to_string("/proc/meminfo").ok().and_then(|text| memory_mib(&text)),
                kernel: read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned()),
            },
        }
    }
}

/// Returns the value of the first line `NAME : VALUE`.
fn field(text: &str, name: &str) -> Option<String> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = pairs.find(|(found, _)| found.trim() == name)?;
    Some(value.trim().to_owned())
}

fn memory_mib(meminfo: &str) -> Option<u64> {
    let kib: u64 = field(meminfo, "MemTotal")?.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

/// Returns a URL up to the first token or session in it. `…` stands for its value and for all that follows.
pub(super) fn without_token(url: &str) -> String {
    start_of_token(url).map_or_else(|| url.to_owned(), |end| format!("{}…", &url[..end]))
}

/// Returns where the value of the first token or session in a URL begins.
fn start_of_token(url: &str) -> Option<usize> {
    ["token=", "session="].iter().filter_map(|name| Some(url.find(name)? + name.len())).min()
}

/// Formats seconds since the Unix epoch as a date and time. The date is computed by Howard Hinnant's
/// `civil_from_days`: its years begin in March, so that the leap day is the last day of a year.
fn rfc_3339(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400 + 719_468, unix_s % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let day = day - (153 * from_march + 2) / 5 + 1;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Replaces the values of headers, of secret settings and of a token in a URL by `…`: a report is shared.
fn without_secrets(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut flag = String::new();
    let mut shown = Vec::new();
    for argument in arguments {
        let (own_flag, value) = match argument.split_once('=') {
            Some((own, value)) if own.starts_with("--") => (own.to_owned(), value),
            _ if argument.starts_with("--") => (argument.clone(), ""),
            _ => (flag.clone(), argument.as_str()),
        };
        let is_secret_setting =
            |value: &str| ["secret", "token", "key", "password"].iter().any(|word| value.contains(word));
        let kept = match own_flag.as_str() {
            "--header" => value.find(':').map(|end| &value[..=end]),
            "--set" => {
                value.find('=').filter(|end| is_secret_setting(&value[..*end])).map(|end| &value[..=end])
            }
            "--token" | "--secret" => Some("").filter(|_| !value.is_empty()),
            "--url" => start_of_token(value).map(|end| &value[..end]),
            _ => None,
        };
        shown.push(match kept {
            Some(kept) => format!("{}{kept}…", &argument[..argument.len() - value.len()]),
            None => argument.clone(),
        });
        // Only a flag without a value is followed by one.
        flag = if argument.starts_with("--") && value.is_empty() { own_flag } else { String::new() };
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_cut_at_its_first_secret() {
        for (url, shown) in [
            ("ws://h/?room={r}", "ws://h/?room={r}"),
            ("ws://h/?a=b&token=c", "ws://h/?a=b&token=…"),
            ("ws://h/?session=c&token=d", "ws://h/?session=…"),
        ] {
            assert_eq!(without_token(url), shown);
        }
    }

    #[test]
    fn times_follow_the_calendar() {
        for (unix_s, time) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc_3339(unix_s), time);
        }
    }

    #[test]
    fn the_machine_is_described() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nmodel name\t: Other\n";
        assert_eq!(field(text, "model name").as_deref(), Some("Some CPU @ 3 GHz"));
        assert_eq!(memory_mib("MemTotal:       16384000 kB\n"), Some(16_000));
        assert_eq!((field("", "model name"), memory_mib("MemTotal: x")), (None, None));
    }

    #[test]
    fn secrets_are_left_out() {
        let given = "bench fanout --header X:a --header=Authorization:b -c 5 --set auth.token_secret=c \
                     --set=limits.max_rooms=7 --url ws://h/?token=d --token e --secret=f -q";
        let expected = "bench fanout --header X:… --header=Authorization:… -c 5 --set auth.token_secret=… \
                        --set=limits.max_rooms=7 --url ws://h/?token=… --token … --secret=… -q";
        let shown = without_secrets(given.split_whitespace().map(String::from));
        assert_eq!(shown.join(" "), expected.split_whitespace().collect::<Vec<_>>().join(" "));
    }
}
