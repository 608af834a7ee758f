//! Checks the folders of the history and of events, and the files with keys and passwords. It reads what the system
//! knows of them, and neither opens, locks nor writes anything, so that a running server is not disturbed.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::size::about;
use crate::config::{Config, Engine, Finding};
use crate::names::units::MIB;

/// Bits of a mode: others than the owner may write; users who are neither owner nor of the group may read.
const WRITABLE: u32 = 0o022;
const READABLE_BY_ALL: u32 = 0o004;

/// Runs the checks.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    match (&config.history.dir, config.engine) {
        (Some(dir), _) => found.extend(history(dir, config.history.total_bytes)),
        (None, Engine::Memory) => found.push(Finding::ok(
            "history",
            "history is in memory: a new process begins without it (`history.dir` names a folder for it)",
        )),
        (None, Engine::Redis) => {}
    }
    if let Some(dir) = &config.webhooks.dir {
        let receivers = config.webhooks.receivers.len();
        found.extend(events(dir, config.webhooks.max_disk_bytes.saturating_mul(receivers)));
    }
    let (auth, api, redis) = (&config.auth, &config.api, &config.redis);
    let secret_files = [
        ("auth.secret_file", &auth.secret_file),
        ("api.keys_file", &api.keys_file),
        ("redis.password_file", &redis.password_file),
        ("redis.sentinel_password_file", &redis.sentinel_password_file),
        ("redis.key_file", &redis.key_file),
        ("tls.key_file", &config.tls.key_file),
    ];
    found.extend(secret_files.into_iter().filter_map(|(key, path)| Some(secret(key, path.as_deref()?))));
    found
}

/// Checks the folder of the history, which may need some three times the bytes of the histories, and 40 MiB.
fn history(dir: &Path, total_bytes: usize) -> Vec<Finding> {
    let needed = total_bytes.saturating_mul(3).saturating_add(40 * MIB);
    let advice = "on a full disk every message gets `unavailable`: make room, or lower `history.total_bytes`";
    folder(("history", "history.dir"), dir, needed, advice)
}

/// Checks the folder in which events for webhooks wait.
fn events(dir: &Path, needed: usize) -> Vec<Finding> {
    let advice =
        "on a full disk events for webhooks are dropped: make room, or lower `webhooks.max_disk_bytes`";
    folder(("webhooks", "webhooks.dir"), dir, needed, advice)
}

/// Checks that a folder can be used, is this user's alone, and has room for so many bytes.
fn folder((subject, key): (&str, &str), dir: &Path, needed: usize, advice: &str) -> Vec<Finding> {
    let shown = format!("`{key}` {dir:?}");
    let reach = "give it to the server's user (systemd: StateDirectory=), or choose another folder";
    let metadata = match fs::metadata(dir) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The server makes the folder, and every folder above it that is missing.
            let above = dir.ancestors().skip(1).find(|folder| folder.exists());
            let above = above.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return match access(above, Access::WRITE_OK | Access::EXEC_OK) {
                Ok(()) => {
                    let made = format!("{shown} is not there yet; the server makes it");
                    [Some(Finding::ok(subject, made)), space(above, &shown, 0, (needed, advice))]
                        .into_iter()
                        .flatten()
                        .collect()
                }
                Err(error) => {
                    vec![Finding::error(
                        subject,
                        format!("{shown} cannot be made in {above:?}: {error}"),
                        reach,
                    )]
                }
            };
        }
        Err(error) => {
            return vec![Finding::error(subject, format!("{shown} cannot be looked at: {error}"), reach)];
        }
    };
    if !metadata.is_dir() {
        return vec![Finding::error(
            subject,
            format!("{shown} is no folder"),
            "name a folder, or a path that is free",
        )];
    }
    if let Err(error) = access(dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
        return vec![Finding::error(subject, format!("{shown} cannot be written to: {error}"), reach)];
    }
    let mut found = vec![Finding::ok(subject, format!("{shown} can be written to"))];
    let mode = metadata.permissions().mode();
    if mode & WRITABLE != 0 {
        let text = format!("{shown} can be written to by other users (mode {:o})", mode & 0o7777);
        found.push(Finding::warning(
            subject,
            text,
            format!("take that right away: `chmod 700 {}`", dir.display()),
        ));
    }
    found.extend(space(dir, &shown, used(dir), (needed, advice)));
    found
}

/// Returns the bytes of the files in a folder and in its folders; those that vanish meanwhile count nothing.
fn used(dir: &Path) -> usize {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let all = entries(dir).flat_map(|path| entries(&path).chain([path.clone()]).collect::<Vec<_>>());
    let files = all.filter_map(|path| path.symlink_metadata().ok()).filter(Metadata::is_file);
    let bytes = files.filter_map(|file| usize::try_from(file.len()).ok());
    bytes.fold(0, usize::saturating_add)
}

/// Compares the room on the disk with that which may be needed there. Returns `None` where the system does not tell.
fn space(dir: &Path, shown: &str, used: usize, (needed, advice): (usize, &str)) -> Option<Finding> {
    let disk = statvfs(dir).ok()?;
    let free = usize::try_from(disk.f_bavail.saturating_mul(disk.f_frsize)).unwrap_or(usize::MAX);
    let text =
        format!("{shown} holds {}, and {} are free; it may need {}", about(used), about(free), about(needed));
    if used.saturating_add(free) < needed {
        return Some(Finding::warning("disk", text, advice));
    }
    Some(Finding::ok("disk", text))
}

/// Checks that not every user of the machine may read a file with a secret.
fn secret(key: &'static str, path: &Path) -> Finding {
    let shown = format!("`{key}` {path:?}");
    match fs::metadata(path).map(|metadata| metadata.permissions().mode()) {
        Ok(mode) if mode & READABLE_BY_ALL == 0 => {
            Finding::ok("secrets", format!("{shown} is not open to everybody"))
        }
        Ok(mode) => Finding::warning(
            "secrets",
            format!("{shown} can be read by every user of this machine (mode {:o})", mode & 0o7777),
            format!("take that right away: `chmod o= {}`", path.display()),
        ),
        // It could be read a moment ago, when the settings were loaded.
        Err(error) => {
            Finding::error("secrets", format!("{shown} cannot be looked at: {error}"), "put it back")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Level;

    fn levels(found: &[Finding]) -> Vec<(&str, Level)> {
        found.iter().map(|finding| (finding.subject.as_str(), finding.level)).collect()
    }

    #[test]
    fn a_folder_is_looked_at_and_not_touched() {
        let parent = tempfile::tempdir().expect("a folder");
        let dir = parent.path().join("a/history");
        assert_eq!(levels(&history(&dir, MIB)), [("history", Level::Ok), ("disk", Level::Ok)]);
        assert!(!dir.exists() && !parent.path().join("a").exists(), "nothing is made");

        fs::create_dir_all(&dir).expect("made");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("set");
        fs::write(dir.join("00000001.log"), [0; 2048]).expect("written");
        let found = history(&dir, MIB);
        assert_eq!(levels(&found), [("history", Level::Ok), ("disk", Level::Ok)]);
        assert!(found[1].text.contains("holds 2 KiB"), "{found:?}");

        fs::set_permissions(&dir, fs::Permissions::from_mode(0o770)).expect("set");
        let found = history(&dir, MIB);
        assert_eq!(
            levels(&found),
            [("history", Level::Ok), ("history", Level::Warning), ("disk", Level::Ok)]
        );
        assert!(found[1].text.ends_with("(mode 770)"), "{found:?}");

        let found = history(&dir, usize::MAX);
        assert_eq!(levels(&found)[2], ("disk", Level::Warning), "no disk is that large");
        assert_eq!(levels(&history(&dir.join("00000001.log"), MIB)), [("history", Level::Error)], "a file");
    }

    #[test]
    fn the_folder_of_events_is_looked_at_with_its_folders() {
        let parent = tempfile::tempdir().expect("a folder");
        let dir = parent.path().join("events");
        assert_eq!(levels(&events(&dir, MIB)), [("webhooks", Level::Ok), ("disk", Level::Ok)]);
        fs::create_dir_all(dir.join("receiver")).expect("made");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("set");
        fs::write(dir.join("receiver/0-0000000001.log"), [0; 2048]).expect("written");
        let found = events(&dir, usize::MAX);
        let expected = [("webhooks", Level::Ok), ("webhooks", Level::Warning), ("disk", Level::Warning)];
        assert_eq!(levels(&found), expected);
        assert!(
            found[2].text.contains("`webhooks.dir`") && found[2].text.contains("holds 2 KiB"),
            "{found:?}"
        );
        assert_eq!(levels(&events(Path::new("/dev/null"), MIB)), [("webhooks", Level::Error)]);
    }

    #[test]
    fn a_file_with_a_secret_is_for_few() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (mode, level) in [(0o600, Level::Ok), (0o640, Level::Ok), (0o644, Level::Warning)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(secret("redis.password_file", file.path()).level, level, "{mode:o}");
        }
        assert_eq!(secret("redis.key_file", Path::new("/no/such/file")).level, Level::Error);
    }
}
