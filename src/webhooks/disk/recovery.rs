//! Reads a receiver's folder when the server starts.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::error::{DiskError, failed};
use super::format::{LANES, MAGIC};
use super::lane::{LaneLog, Scanned, Segment, scan};
use super::progress::{self, Progress};

/// Digits of a segment's number in the name of its file.
const DIGITS: usize = 10;

/// Returns lane and number of a segment from the name of its file.
fn segment_of(name: &str) -> Option<(usize, u32)> {
    let (lane, number) = name.strip_suffix(".log")?.split_once('-')?;
    let is_ours = number.len() == DIGITS && lane.len() == 1;
    let lane = lane.parse().ok().filter(|lane| is_ours && *lane < LANES)?;
    Some((lane, number.parse().ok()?))
}

/// Returns true for the name of a file that this version writes to a receiver's folder.
pub(super) fn is_own(name: &str) -> bool {
    name == progress::NAME || segment_of(name).is_some()
}

/// Reads the lanes of a folder. `known` is the progress, if it can be read.
pub(super) fn lanes(dir: &Path, known: Option<&Progress>) -> Result<Vec<LaneLog>, DiskError> {
    let mut numbers: [Vec<u32>; LANES] = Default::default();
    for entry in fs::read_dir(dir).map_err(failed("read", dir))? {
        let name = entry.map_err(failed("read", dir))?.file_name();
        if let Some((lane, number)) = name.to_str().and_then(segment_of) {
            numbers[lane].push(number);
        }
    }
    if known.is_none() && numbers.iter().any(|numbers| !numbers.is_empty()) {
        tracing::warn!(
            folder = %dir.display(),
            "it is not known which events in webhooks.dir were delivered: all of them are sent again"
        );
    }
    let lanes = numbers.into_iter().enumerate();
    lanes.map(|(lane, numbers)| recover(dir, lane, numbers, known.map(|known| known.done[lane]))).collect()
}

fn recover(dir: &Path, lane: usize, mut numbers: Vec<u32>, done: Option<u64>) -> Result<LaneLog, DiskError> {
    numbers.sort_unstable();
    let mut segments: VecDeque<Segment> = VecDeque::new();
    let (mut first, mut last, mut lost_at_end) = (None, 0, 0);
    for number in numbers {
        let path = LaneLog::path_of(dir, lane, number);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        let version = MAGIC.len() - 1;
        if bytes.len() >= MAGIC.len() && bytes[..version] == MAGIC[..version] && !bytes.starts_with(MAGIC) {
            return Err(DiskError::Version { path });
        }
        let found = scan(&bytes);
        report(&path, &found)?;
        first = first.or(found.first);
        last = found.last.unwrap_or(0).max(last).max(found.first.map_or(0, |first| first - 1));
        // At least one event was where nothing can be read behind.
        lost_at_end = u64::from(found.ends_damaged);
        segments.push_back(Segment { number, len: found.len, last: last + lost_at_end });
    }
    let done = done.unwrap_or_else(|| first.map_or(0, |first: u64| first.saturating_sub(1)));
    // After a power cut the progress may be ahead of the events.
    let next = (last + lost_at_end).max(done) + 1;
    Ok(LaneLog::new(dir, lane, segments, next, done))
}

/// Says what is wrong with a segment, and cuts off the event whose writing was interrupted.
fn report(path: &PathBuf, found: &Scanned) -> Result<(), DiskError> {
    let file = path.display();
    if let Some(byte) = found.damaged_at {
        tracing::warn!(%file, byte, "a file in webhooks.dir is damaged: events are missing, and the webhook is told");
    }
    if found.is_torn {
        tracing::info!(%file, byte = found.len, "the last event in a file of webhooks.dir was not written: cut off");
        let cut = OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(found.len));
        cut.map_err(failed("cut", path))?;
    }
    Ok(())
}
