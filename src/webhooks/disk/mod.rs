//! The events that wait on disk (`webhooks.dir`): they survive the end of the process, however it ends.
//!
//! Each receiver has a folder, named by a fingerprint of its URL, which may hold a password. In it, each lane is a
//! chain of segments, and one file says how far the lanes are. An event is written with one `write` before the call
//! that tells of it returns, so before a client or backend hears of its cause: it survives a killed process. All files
//! are synced every second, for which nobody waits: the end of the machine may take the last second with it.
//!
//! The progress is written when a delivery is over. So events whose delivery was under way when the process ended are
//! delivered again.
//!
//! Memory: the beginning of each lane, within the bounds of the queue in memory. Disk: `webhooks.max_disk_bytes` for
//! each receiver. Descriptors: nine for each.

mod error;
mod format;
mod lane;
mod progress;
mod recovery;
mod store;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

pub use self::error::DiskError;
use self::error::failed;
pub(super) use self::format::LANES;
pub(super) use self::lane::Reading;
pub(super) use self::store::{Garbage, Store, Unsynced};
use crate::config::Url;
use crate::locked::{LockError, LockedFolder};
use crate::outbound::signature::{Spread, fingerprint};

/// The name of the file with the key by which rooms and users are spread over the lanes.
const LANE_KEY: &str = "lanes.key";
const LANE_KEY_BYTES: usize = 32;
/// Hexadecimal digits of a receiver's folder. A session secret has 32: nobody who searches a log for those finds these.
const NAME_DIGITS: usize = 24;

/// The folder of all receivers, which no other process can use meanwhile.
#[derive(Debug)]
pub(super) struct Disk {
    folder: LockedFolder,
    spread: Spread,
}

impl Disk {
    /// Locks the folder, which is created if need be, accessible to this user alone.
    pub(super) fn open(dir: &Path) -> Result<Self, DiskError> {
        let folder = LockedFolder::lock(dir).map_err(|error| match error {
            LockError::InUse => DiskError::InUse { dir: dir.to_owned() },
            LockError::Io { what, reason } => failed(what, dir)(reason),
        })?;
        folder.warn_if_open_to_others("webhooks.dir");
        let key = lane_key(&dir.join(LANE_KEY))?;
        folder.sync().map_err(failed("sync", dir))?;
        Ok(Self { folder, spread: Spread::new(&key) })
    }

    /// Returns the lane of a room or user: always the same in this folder, so that events from before a restart and
    /// those behind it stay in order.
    pub(super) fn lane(&self, subject: &str) -> usize {
        self.spread.number(subject) as usize % LANES
    }

    /// Opens the folder of a receiver. `turn` counts the receivers with this URL, from 0.
    pub(super) fn store(&self, url: &Url, turn: usize) -> Result<Store, DiskError> {
        Store::open(&self.path(url, turn), url.as_str())
    }

    /// Returns the folder of a receiver.
    pub(super) fn path(&self, url: &Url, turn: usize) -> PathBuf {
        let name = fingerprint(&format!("{turn} {url}"));
        self.folder.dir().join(&name[..NAME_DIGITS])
    }

    /// Removes the folders of receivers that are not in the configuration any more, and says how many events are
    /// dropped with them.
    pub(super) fn remove_others(&self, known: &HashSet<PathBuf>) -> Result<(), DiskError> {
        let dir = self.folder.dir();
        for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
            let path = entry.map_err(failed("read", dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_ours = name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            if known.contains(&path) || !is_ours || !path.is_dir() {
                continue;
            }
            let dropped = Store::open(&path, "")?.len();
            tracing::warn!(
                dropped,
                "a webhook was taken out of the configuration while the server was stopped"
            );
            store::remove_folder(&path);
        }
        Ok(())
    }
}

/// Reads the key that spreads rooms over lanes, or makes one.
fn lane_key(path: &Path) -> Result<Vec<u8>, DiskError> {
    match fs::read(path) {
        Ok(key) if key.len() == LANE_KEY_BYTES => return Ok(key),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("read", path)(error)),
        Ok(_) => {
            let file = path.display();
            tracing::warn!(%file, "the key of the lanes is damaged: events that wait may come out of order once");
        }
        Err(_) => {}
    }
    let mut key = vec![0; LANE_KEY_BYTES];
    getrandom::fill(&mut key).map_err(io::Error::other).map_err(failed("make", path))?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = file.map_err(failed("make", path))?;
    file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed("write to", path))?;
    Ok(key)
}
