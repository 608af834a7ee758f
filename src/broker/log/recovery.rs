//! Recovers rooms from segments: what is there, and whether it is what was left.
//!
//! A segment that was damaged, cut short, removed or replaced is noticed by the chain of segments, by the end mark, and
//! by its own checksums. If the segment after it is whole and contains the positions of all rooms that had messages in
//! it, only these rooms are affected. Otherwise every room is, except those that a later entry proves.

use std::collections::BTreeMap;
use std::path::Path;

use super::end_mark::{self, EndMark};
use super::error::LogError;
use super::files::SegmentChain;
use super::folder::{FileId, Folder};
use super::format::{Header, Identity, LogEntry, MAGIC, OLD_MAGIC, Previous, Step, reader};
use super::found::{FileFound, Finding};
use super::rooms::ScannedRooms;

/// Findings that are kept one by one: a log with more is wrong as a whole.
const MAX_FINDINGS: usize = 64;

/// The contents of the segments.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) chain: SegmentChain,
    pub(super) rooms: ScannedRooms,
    pub(super) files: Vec<FileFound>,
    pub(super) findings: Vec<Finding>,
    /// How many more findings there are.
    pub(super) more_findings: usize,
    end_mark: Option<EndMark>,
    /// Segments that belong to another log.
    pub(super) set_aside: Vec<u32>,
    /// Segments that are not as they were left, and whose rooms no later segment names.
    lost: Vec<u32>,
    ending: Option<Ending>,
}

/// How the last segment with a header was left.
#[derive(Debug)]
struct Ending {
    boot: Box<str>,
    is_safe: bool,
}

impl Ending {
    /// Returns true when everything given to the operating system then is there, as seen from the boot `boot`.
    fn is_safe_in(&self, boot: &str) -> bool {
        self.is_safe || (!boot.is_empty() && *self.boot == *boot)
    }
}

/// The valid entries of a segment.
#[derive(Debug, Default)]
struct Parsed {
    entries: Vec<(LogEntry, usize)>,
    len: u64,
    /// Offset and length of what cannot be read.
    damage: Vec<(u64, u64)>,
}

/// Reads the whole folder. Memory: one segment, and what is kept of messages and keys at that time.
pub(super) fn scan(folder: &Folder, boot: &str, now_unix_ms: u64) -> Result<Scan, LogError> {
    let mark = end_mark::read(&folder.dir)?;
    let numbers = folder.numbers()?;
    let mut headers = BTreeMap::new();
    for number in &numbers {
        headers.insert(*number, folder.header(*number)?);
    }
    let mut known = headers.values().rev().filter_map(|(header, _)| Some(header.as_ref()?.identity));
    // An end mark whose identity no segment has belongs to another log.
    let ours = headers.values().filter_map(|(header, _)| Some(header.as_ref()?.identity));
    let is_ours =
        |mark: &EndMark| headers.is_empty() || ours.clone().any(|identity| identity == mark.identity);
    let known_mark = mark.filter(is_ours);
    let identity = known_mark.map(|mark| mark.identity).or_else(|| known.next()).unwrap_or_else(new_identity);
    let last = numbers.last().copied().unwrap_or(0).max(mark.map_or(0, |mark| mark.last));
    let chain =
        SegmentChain { identity, segments: Vec::new(), previous: Previous::default(), next: last + 1 };
    let mut scan = Scan {
        chain,
        rooms: ScannedRooms::new(now_unix_ms),
        files: Vec::new(),
        findings: Vec::new(),
        more_findings: 0,
        end_mark: known_mark,
        lost: Vec::new(),
        set_aside: Vec::new(),
        ending: None,
    };
    for (number, (header, id)) in &headers {
        let mut later = headers.range(number + 1..).map(|(_, (header, _))| header.as_ref());
        let next = later.find_map(|header| header).map(|header| header.previous);
        scan.segment(folder, *number, (header.as_ref(), *id), next.filter(|next| next.number == *number))?;
    }
    scan.finish(folder, boot);
    Ok(scan)
}

fn new_identity() -> Identity {
    let mut identity = Identity::default();
    if getrandom::fill(&mut identity).is_err() {
        identity.fill_with(|| fastrand::u8(..));
    }
    identity
}

impl Scan {
    /// Reads a segment. `next` is how the segment after it describes it.
    fn segment(
        &mut self,
        folder: &Folder,
        number: u32,
        (header, id): (Option<&Header>, FileId),
        next: Option<Previous>,
    ) -> Result<(), LogError> {
        if self.end_mark.is_some_and(|mark| number < mark.first) {
            // Its kept entries were copied, and it was about to be deleted; or somebody has put it back.
            self.chain.segments.push((number, 0));
            return Ok(());
        }
        let path = folder.path(number);
        let bytes = folder.read(number)?;
        let known_mark = self.end_mark.filter(|mark| mark.last == number);
        let expected = next.map(|next| (next.len, next.sum));
        let marked_end = known_mark.map(|mark| (mark.len, mark.sum));
        // Nothing counts that was written behind the end of a sealed segment. Everything before the end mark was
        // acknowledged; everything at all was, if it is not known how much there was.
        let counting = &bytes[..bytes.len().min(expected.map_or(usize::MAX, |(len, _)| len as usize))];
        let certain = expected.or(marked_end).map_or(0, |(len, _)| len);
        let until = expected.or(marked_end).map_or(u64::MAX, |(len, _)| len);
        let parsed = parse(counting, certain, until);
        let mut is_whole = true;
        for (at, len) in &parsed.damage {
            self.find(&path, *at, format!("{len} bytes are damaged"));
            is_whole = false;
        }
        for (len, sum) in expected.into_iter().chain(marked_end) {
            match bytes.get(..len as usize) {
                None => {
                    let (found, missing) = (bytes.len(), len - bytes.len() as u64);
                    self.find(&path, found as u64, format!("{missing} bytes are missing at the end"));
                    is_whole = false;
                }
                Some(known) if crc32fast::hash(known) != sum && parsed.damage.is_empty() => {
                    self.pass_over(folder, number, "has other contents than were written");
                    return Ok(());
                }
                Some(_) => {}
            }
        }
        if header.is_some_and(|found| found.number != number || found.identity != self.chain.identity) {
            self.pass_over(
                folder,
                number,
                "belongs to another log, or is not the segment that its name says",
            );
            return Ok(());
        }
        if parsed.entries.is_empty() {
            // The beginning of a segment without an entry. If there was more, the segment after it says so.
            self.chain.segments.push((number, 0));
            return Ok(());
        }
        if known_mark.is_some_and(|mark| mark.file != id) {
            self.find(&path, 0, "is a copy, not the file that was written".into());
            self.rooms.is_doubted = true;
        }
        self.follow(folder, header, &parsed, is_whole);
        self.take(&path, number, parsed, &bytes, is_whole);
        Ok(())
    }

    /// Compares a segment with what is there of the ones before it.
    fn follow(&mut self, folder: &Folder, header: Option<&Header>, parsed: &Parsed, is_whole: bool) {
        let before = self.chain.previous.number;
        if let Some(previous) = header.map(|header| header.previous.number).filter(|p| *p > before) {
            let marked_first = self.end_mark.map_or(0, |mark| mark.first);
            let missing = (before + 1).max(marked_first)..=previous;
            if !missing.is_empty() {
                let (from, to) = (folder.path(*missing.start()), folder.path(previous));
                let what =
                    if from == to { "is missing".into() } else { format!("to {} are missing", to.display()) };
                self.find(&from, 0, what);
            }
            // Before the first segment no room is known that could be affected.
            if before > 0 {
                self.lost.extend(missing.take(2));
            }
        }
        if self.lost.is_empty() {
            return;
        }
        let previous = header.map(|header| header.previous.number);
        let is_done =
            |entry: &LogEntry| matches!(entry, LogEntry::PositionsDone(of) if Some(*of) == previous);
        let is_resolved = is_whole && previous.is_some_and(|previous| self.lost == [previous]);
        if !(is_resolved && parsed.entries.iter().any(|(entry, _)| is_done(entry))) {
            self.rooms.doubt();
        }
        self.lost.clear();
    }

    fn take(&mut self, path: &Path, number: u32, parsed: Parsed, bytes: &[u8], is_whole: bool) {
        let Parsed { entries, len, .. } = parsed;
        let counting = &bytes[..bytes.len().min(len as usize)];
        let is_old = bytes.starts_with(OLD_MAGIC);
        self.chain.segments.push((number, len));
        self.chain.previous = Previous { number, len, sum: crc32fast::hash(counting) };
        if is_old && self.end_mark.is_none() && !self.rooms.is_doubted {
            self.find(path, 0, "was written by an earlier version, whose format proves less".into());
            self.rooms.is_doubted = true;
        }
        // All acknowledged messages are within the end mark.
        let is_beyond = self.end_mark.is_some_and(|mark| number > mark.last);
        if is_beyond && entries.iter().any(|(entry, _)| matches!(entry, LogEntry::Message(_))) {
            self.find(
                path,
                0,
                "is younger than the end mark (*.end), which says how far the log was written".into(),
            );
            self.rooms.is_doubted = true;
        }
        for (entry, size) in entries {
            match entry {
                LogEntry::Segment(Header { boot, is_synced, .. }) => {
                    if self.ending.as_ref().is_some_and(|ending| !ending.is_safe_in(&boot)) {
                        self.rooms.doubt();
                    }
                    self.ending = Some(Ending { boot, is_safe: is_synced });
                }
                LogEntry::Close => {
                    self.ending.as_mut().into_iter().for_each(|ending| ending.is_safe = true);
                }
                entry => self.rooms.apply(number, entry, size),
            }
        }
        if is_old {
            self.rooms.doubt();
        }
        let (messages, rooms) = self.rooms.end_segment(number);
        self.files.push(FileFound { path: path.to_owned(), bytes: len, messages, rooms, is_whole });
        if !is_whole {
            self.lost.push(number);
        }
    }

    /// Passes over a segment of another log, as if it were missing.
    fn pass_over(&mut self, folder: &Folder, number: u32, what: &str) {
        let path = folder.path(number);
        self.find(&path, 0, what.into());
        self.set_aside.push(number);
        self.files.push(FileFound { path, bytes: 0, messages: 0, rooms: 0, is_whole: false });
    }

    fn finish(&mut self, folder: &Folder, boot: &str) {
        let is_empty = self.chain.segments.is_empty();
        match self.end_mark {
            None if is_empty => {}
            None => {
                if !self.rooms.is_doubted {
                    self.find(
                        &folder.dir,
                        0,
                        "has no end mark (*.end): how far the log was written is not known".into(),
                    );
                }
                self.rooms.is_doubted = true;
            }
            Some(mark) => {
                let is_there = |(number, len): &(u32, u64)| *number == mark.last && *len > 0;
                if !self.chain.segments.iter().any(is_there) {
                    self.find(&folder.path(mark.last), 0, "is missing: the last segment".into());
                    self.rooms.is_doubted = true;
                }
            }
        }
        if self.ending.as_ref().is_some_and(|ending| !ending.is_safe_in(boot)) {
            let what = "was not closed before the machine stopped: the last messages may be missing";
            self.find(&folder.dir, 0, what.into());
            self.rooms.is_doubted = true;
        }
        if !self.lost.is_empty() || self.rooms.is_doubted {
            self.rooms.doubt();
        }
    }

    fn find(&mut self, path: &Path, at: u64, what: String) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { path: path.to_owned(), at, what });
        } else {
            self.more_findings += 1;
        }
    }
}

/// Parses the valid entries of a segment. Entries are valid in whole batches, or if they end within the first `certain`
/// bytes. Damage is reported if it begins within the first `until` bytes: behind that, it is a write that was cut
/// short.
fn parse(bytes: &[u8], certain: u64, until: u64) -> Parsed {
    let mut reader = reader(bytes);
    let mut parsed = Parsed::default();
    let mut at = MAGIC.len() as u64;
    let mut batch = Vec::new();
    if bytes.len() >= MAGIC.len() && !bytes.starts_with(MAGIC) && !bytes.starts_with(OLD_MAGIC) {
        parsed.damage.push((0, at));
    }
    loop {
        match reader.step() {
            Step::Entry(entry, size, is_last) => {
                at += size as u64;
                batch.push((entry, size));
                if is_last || at <= certain {
                    parsed.len = at;
                    parsed.entries.append(&mut batch);
                }
            }
            Step::Damaged(_) if at >= until => return parsed,
            Step::Damaged(len) => {
                parsed.damage.push((at, len as u64));
                at += len as u64;
                if at <= certain {
                    parsed.len = at;
                }
            }
            Step::End => return parsed,
            Step::Torn => {
                if at < certain && bytes.len() as u64 >= certain {
                    parsed.damage.push((at, certain - at));
                }
                return parsed;
            }
        }
    }
}
