//! The revocations on disk: a small file beside the history, to which each one is appended, so that they hold after a
//! restart.
//!
//! A thread of its own writes them, and answers when they are flushed to the disk. When most of the file is out of
//! date, it is written anew. An entry has a checksum: one that was cut off or damaged is left out, and no other.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::{Revocation, Revocations, Seconds, Subject};

/// The name of the file in `history.dir`.
pub const FILE: &str = "revocations";
/// The first bytes of the file, with the version of its form.
const MAGIC: &[u8; 16] = b"throng revoked 1";
/// Bytes of an entry: its kind, its hash, its two moments, and a checksum.
const ENTRY: usize = 24;
/// Most revocations that wait to be written; beyond it, the caller is told that one is not on disk.
const MAX_WAITING: usize = 1024;
/// Entries out of date up to which the file is not written anew.
const MAX_STALE: usize = 4096;

/// A revocation that waits to be written.
type Job = (Revocation, oneshot::Sender<bool>);

/// The file of revocations. Dropping it ends its thread when everything is written.
#[derive(Debug)]
pub struct Journal {
    jobs: mpsc::Sender<Job>,
}

impl Journal {
    /// Reads the file in a folder into the table, and starts the thread that writes to it. The folder must exist, and
    /// belong to this process alone.
    ///
    /// # Errors
    /// The file cannot be read or written, or is of another version; or there is no thread.
    pub fn open(dir: &Path, table: &Arc<Revocations>, now_s: Seconds) -> io::Result<Self> {
        let path = dir.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let found = parse(&bytes).ok_or_else(|| {
            io::Error::other(format!("{} is not a file of revocations of this version", path.display()))
        })?;
        if found.damaged > 0 {
            let damaged = found.damaged;
            tracing::warn!(file = %path.display(), damaged, "revocations on disk are damaged, and are lost");
        }
        for revocation in &found.revocations {
            if table.add(*revocation, now_s).is_err() {
                tracing::warn!(file = %path.display(), "there are more revocations on disk than can be remembered");
                break;
            }
        }
        let file = Writer::create(path, Arc::clone(table))?;
        let (jobs, waiting) = mpsc::channel(MAX_WAITING);
        thread::Builder::new().name("revocations".into()).spawn(move || file.run(waiting))?;
        Ok(Self { jobs })
    }

    /// Writes a revocation, which is in the table already. Returns true when it is on the disk.
    pub async fn write(&self, revocation: Revocation) -> bool {
        let (written, answer) = oneshot::channel();
        self.jobs.try_send((revocation, written)).is_ok() && answer.await.unwrap_or(false)
    }
}

/// The contents of a file.
struct Found {
    revocations: Vec<Revocation>,
    /// Entries that are not whole.
    damaged: usize,
}

/// Reads a file; `None` when it is one of something else.
fn parse(bytes: &[u8]) -> Option<Found> {
    let mut found = Found { revocations: Vec::new(), damaged: 0 };
    // A file that was cut off while it was created holds nothing.
    if MAGIC.starts_with(bytes) {
        return Some(found);
    }
    for entry in bytes.strip_prefix(MAGIC)?.chunks(ENTRY) {
        match decode(entry) {
            Some(revocation) => found.revocations.push(revocation),
            None => found.damaged += 1,
        }
    }
    Some(found)
}

fn encode(revocation: &Revocation) -> [u8; ENTRY] {
    let (kind, hash) = match revocation.subject {
        Subject::Token(jti) => (0_u32, jti),
        Subject::User(user) => (1, user),
    };
    let mut entry = [0; ENTRY];
    entry[..4].copy_from_slice(&kind.to_le_bytes());
    entry[4..12].copy_from_slice(&hash.to_le_bytes());
    entry[12..16].copy_from_slice(&revocation.before_s.to_le_bytes());
    entry[16..20].copy_from_slice(&revocation.until_s.to_le_bytes());
    let sum = crc32fast::hash(&entry[..20]);
    entry[20..].copy_from_slice(&sum.to_le_bytes());
    entry
}

fn decode(entry: &[u8]) -> Option<Revocation> {
    let entry: &[u8; ENTRY] = entry.try_into().ok()?;
    let number = |at: usize| Some(u32::from_le_bytes(entry[at..at + 4].try_into().ok()?));
    if number(20)? != crc32fast::hash(&entry[..20]) {
        return None;
    }
    let hash = u64::from_le_bytes(entry[4..12].try_into().ok()?);
    let subject = match number(0)? {
        0 => Subject::Token(hash),
        1 => Subject::User(hash),
        _ => return None,
    };
    Some(Revocation { subject, before_s: number(12)?, until_s: number(16)? })
}

/// The file, open for writing.
struct Writer {
    path: PathBuf,
    file: File,
    /// Bytes of whole entries, behind which the next one goes.
    len: u64,
    table: Arc<Revocations>,
}

impl Writer {
    /// Writes the file anew, with what is in the table.
    fn create(path: PathBuf, table: Arc<Revocations>) -> io::Result<Self> {
        let all = table.all();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(all.iter().flat_map(encode));
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_data()?;
        fs::rename(&new, &path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(Self { path, file, len: bytes.len() as u64, table })
    }

    /// Writes what comes, until nobody can send any more.
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        while waiting.blocking_recv_many(&mut jobs, MAX_WAITING) > 0 {
            let written = self.append(&jobs);
            if let Err(error) = &written {
                let file = self.path.display();
                tracing::error!(%file, %error, "revocations cannot be written: a restart forgets them");
            }
            for (_, answer) in jobs.drain(..) {
                // The caller may have stopped waiting.
                let _ = answer.send(written.is_ok());
            }
            let entries = (self.len as usize - MAGIC.len()) / ENTRY;
            if entries > 2 * self.table.count() + MAX_STALE {
                self.renew();
            }
        }
    }

    /// Appends entries, all of them or none.
    fn append(&mut self, jobs: &[Job]) -> io::Result<()> {
        use std::os::unix::fs::FileExt as _;
        let bytes: Vec<u8> = jobs.iter().flat_map(|(revocation, _)| encode(revocation)).collect();
        // A part of an earlier attempt is overwritten.
        self.file.write_all_at(&bytes, self.len)?;
        self.file.sync_data()?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn renew(&mut self) {
        match Self::create(self.path.clone(), Arc::clone(&self.table)) {
            Ok(new) => *self = new,
            // The old file goes on, and the next revocation tries again.
            Err(error) => {
                tracing::warn!(file = %self.path.display(), %error, "the revocations cannot be written anew")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::TokenMark;

    const NOW_S: Seconds = 1_000;

    fn write(journal: &Journal, table: &Revocations, revocation: Revocation) {
        table.add(revocation, NOW_S).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(journal.write(revocation)));
    }

    fn open(dir: &Path) -> (Arc<Revocations>, Journal) {
        let table = Arc::<Revocations>::default();
        let journal = Journal::open(dir, &table, NOW_S).unwrap();
        (table, journal)
    }

    #[test]
    fn revocations_are_there_again_except_those_that_are_over() {
        let dir = tempfile::tempdir().unwrap();
        let (table, journal) = open(dir.path());
        write(&journal, &table, Revocation::of_token("7", 2_000));
        write(&journal, &table, Revocation::of_token("8", 1_001));
        write(&journal, &table, Revocation::of_user("alice", 900, 3_000));
        let later = Arc::<Revocations>::default();
        let _journal = Journal::open(dir.path(), &later, 1_500).unwrap();
        assert_eq!(later.count(), 2);
        assert!(later.has(&TokenMark::new("bob", Some("7"), None)));
        assert!(later.has(&TokenMark::new("alice", None, Some(899_000))));
        assert!(!later.has(&TokenMark::new("alice", None, Some(900_000))));
    }

    #[test]
    fn a_damaged_entry_is_left_out_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (table, journal) = open(dir.path());
        for jti in ["1", "2", "3"] {
            write(&journal, &table, Revocation::of_token(jti, 2_000));
        }
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), MAGIC.len() + 3 * ENTRY);
        // A part of an entry at the end, as a kill leaves it, and each byte damaged in turn.
        for at in 0..whole.len() {
            let cut = parse(&whole[..at]).expect("a part of the file");
            assert_eq!(cut.revocations.len(), at.saturating_sub(MAGIC.len()) / ENTRY, "{at}");
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            match parse(&damaged) {
                Some(found) => assert_eq!((found.revocations.len(), found.damaged), (2, 1), "{at}"),
                None => assert!(at < MAGIC.len(), "{at}"),
            }
        }
        fs::write(&path, b"something else of the same name").unwrap();
        assert!(Journal::open(dir.path(), &Arc::default(), NOW_S).is_err());
    }

    #[test]
    fn a_file_that_is_mostly_out_of_date_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let table = Arc::<Revocations>::default();
        table.add(Revocation::of_user("alice", 1, 2_000), NOW_S).unwrap();
        let mut writer = Writer::create(dir.path().join(FILE), Arc::clone(&table)).unwrap();
        let jobs: Vec<Job> = (0..MAX_STALE + 10)
            .map(|_| (Revocation::of_user("alice", 1, 2_000), oneshot::channel().0))
            .collect();
        writer.append(&jobs).unwrap();
        writer.renew();
        let len = fs::metadata(dir.path().join(FILE)).unwrap().len();
        assert_eq!(len, (MAGIC.len() + ENTRY) as u64);
        writer.append(&jobs[..1]).unwrap();
        assert_eq!(parse(&fs::read(dir.path().join(FILE)).unwrap()).unwrap().revocations.len(), 2);
    }
}
