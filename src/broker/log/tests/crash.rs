//! Processes that end while they write. The child is this test binary, told by a variable what to do.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::*;

/// The folder in which the child appends until it ends.
const CHILD: &str = "THRONG_TEST_LOG_CHILD";
/// Set for a child that closes the log once its disk is full.
const UNTIL_FULL: &str = "THRONG_TEST_LOG_UNTIL_FULL";
const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Starts the child; `wrapper` is a shell script that ends in `exec "$@"`.
fn start(dir: &Path, wrapper: &str, until_full: bool) -> (Child, BufReader<ChildStdout>) {
    let binary = std::env::current_exe().unwrap();
    let mut command = Command::new("bash");
    command.args(["-c", wrapper, "bash"]).arg(binary);
    command.args(["--exact", "broker::log::tests::crash::the_child_appends", "--nocapture"]);
    command.env(CHILD, dir).stdin(Stdio::null()).stdout(Stdio::piped());
    if until_full {
        command.env(UNTIL_FULL, "yes");
    }
    let mut child = command.spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Returns what the child says it has appended: for each room its epoch and last offset, and the number of batches.
fn acknowledged(out: impl Iterator<Item = String>, so_far: &mut BTreeMap<String, (String, u64)>) -> usize {
    let mut batches = 0;
    for line in out {
        let Some((_, told)) = line.split_once("ack ") else { continue };
        batches += 1;
        for told in told.split(' ') {
            let [name, epoch, offset] = *told.split(',').collect::<Vec<_>>() else { panic!("{line}") };
            so_far.insert(name.into(), (epoch.into(), offset.parse().unwrap()));
        }
    }
    batches
}

/// Not a test of its own: the child of the others. It does nothing without its variable, and then checks that it is not
/// set.
#[test]
fn the_child_appends() {
    let Some(dir) = std::env::var_os(CHILD) else {
        assert!(std::env::var_os(UNTIL_FULL).is_none());
        return;
    };
    let until_full = std::env::var_os(UNTIL_FULL).is_some();
    let segment = if until_full { SEGMENT_BYTES } else { 20_000 };
    let (mut log, recovered) = Log::open_small(dir.as_ref(), segment, 0, never).unwrap();
    let mut ends: BTreeMap<String, Position> =
        ROOMS.map(|name| (name.into(), Position { epoch: Epoch::random(), offset: Offset(0) })).into();
    ends.extend(recovered.rooms.into_iter().map(|found| (found.room.to_string(), found.position)));
    for batch in 1.. {
        let before = ends.clone();
        let mut records = Vec::new();
        for _ in 0..fastrand::usize(1..60) {
            let name = ROOMS[fastrand::usize(..3)];
            let end = ends.get_mut(name).unwrap();
            end.offset = end.offset.next();
            records.push(record(name, end.epoch, end.offset.0, end.offset.0.saturating_sub(99).max(1)));
        }
        match log.append(&records) {
            Ok(()) => {
                let told: Vec<_> =
                    ends.iter().map(|(n, p)| format!("{n},{},{}", p.epoch, p.offset)).collect();
                println!("ack {}", told.join(" "));
            }
            Err(error) if until_full => {
                assert!(matches!(error, LogError::Io { what: "write to", .. }), "{error}");
                // The batch was not appended, and what fits is still appended one by one, with the same offsets.
                ends = before;
                let end = ends.get_mut("a").unwrap();
                let mut fitted = 0;
                let error = loop {
                    match log.append(&[record("a", end.epoch, end.offset.next().0, 1)]) {
                        Ok(()) => end.offset = end.offset.next(),
                        Err(error) => break error,
                    }
                    fitted += 1;
                };
                assert!(matches!(error, LogError::Io { what: "write to", .. }), "{error}");
                let told: Vec<_> =
                    ends.iter().map(|(n, p)| format!("{n},{},{}", p.epoch, p.offset)).collect();
                println!("full, but for {fitted}\nack {}", told.join(" "));
                return;
            }
            Err(error) => panic!("{error}"),
        }
        // Nothing is cleaned where the disk is to become full.
        if !until_full {
            log.clean_up(batch * 10_000).unwrap();
        }
    }
}

#[test]
fn acknowledged_messages_survive_a_killed_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = BTreeMap::new();
    for round in 0..8 {
        let (mut child, mut out) = start(dir.path(), "exec \"$@\"", false);
        let enough = 5 + round * 10;
        let lines = out.by_ref().lines().map(|line| line.unwrap());
        let first = acknowledged(lines.filter(|line| line.contains("ack ")).take(enough), &mut told);
        assert_eq!(first, enough, "the child has ended by itself");
        // SIGKILL at any moment; what the child had reported until then is still in the pipe.
        child.kill().unwrap();
        child.wait().unwrap();
        let rest = out.split(b'\n').map(|line| String::from_utf8(line.unwrap()).unwrap());
        let mut rest: Vec<String> = rest.collect();
        // The last line may have been cut short.
        rest.pop();
        acknowledged(rest.into_iter(), &mut told);

        let (_log, rooms, lost) = open(dir.path());
        assert_eq!(lost, 0);
        for (name, (epoch, offset)) in told.iter().filter(|(_, (_, offset))| *offset > 0) {
            let found = &rooms[&room(name)];
            assert_eq!(found.position.epoch.to_string(), *epoch, "round {round}, {name}");
            assert!(
                found.position.offset.0 >= *offset,
                "round {round}, {name}: {:?} < {offset}",
                found.position
            );
            let expected = found.position.offset.0.min(100);
            assert_eq!(offsets(found).len() as u64, expected, "round {round}, {name}");
        }
    }
}

#[test]
fn a_batch_that_does_not_fit_on_the_disk_leaves_no_trace() {
    // Where a batch did not fit, perhaps not a single record does.
    let fitted: usize = (0..4).map(|_| fill_a_disk()).sum();
    assert!(fitted > 0, "after a batch that did not fit nothing was written any more");
}

/// Lets a child fill a disk, and checks what is there. Returns how many records fitted after a batch that did not.
fn fill_a_disk() -> usize {
    let dir = tempfile::tempdir().unwrap();
    // No file may become longer than 100 KiB: the write that passes it is cut short there.
    let wrapper = "ulimit -f 100; trap '' XFSZ; exec \"$@\"";
    let (mut child, out) = start(dir.path(), wrapper, true);
    let lines: Vec<String> = out.lines().map(|line| line.unwrap()).collect();
    assert!(child.wait().unwrap().success(), "{lines:?}");
    let full = lines.iter().find_map(|line| line.strip_prefix("full, but for "));
    let fitted = full.unwrap_or_else(|| panic!("{lines:?}")).parse().unwrap();
    let mut told = BTreeMap::new();
    acknowledged(lines.into_iter(), &mut told);
    let (_log, rooms, lost) = open(dir.path());
    assert_eq!((rooms.len(), lost), (told.len(), 0));
    for (name, (epoch, offset)) in told {
        let found = &rooms[&room(&name)];
        assert_eq!((found.position.epoch.to_string(), found.position.offset.0), (epoch, offset), "{name}");
        offsets(found);
    }
    fitted
}
