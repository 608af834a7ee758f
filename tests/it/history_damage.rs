//! A folder of `history.dir` that was damaged or replaced: no client may resume there as if nothing were missing.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::history_dir::{enter, folder, next, say, start, text};
use crate::support::client::Client;
use crate::support::server::{Server, run};

/// Exit code of `throng history check` when it finds damage.
const CHECK_FAILED: i32 = 1;
/// `EX_UNAVAILABLE` of `sysexits.h`: the folder is in use.
const UNAVAILABLE: i32 = 69;

/// A folder with four segments that a killed server left, and the position of a client that has seen everything.
struct Left {
    dir: TempDir,
    /// A copy of the folder from before the last two servers.
    backup: PathBuf,
    /// A copy of the third segment from when it was half as long.
    half: PathBuf,
    lobby: String,
    quiet: String,
}

/// Messages of each server in the lobby.
const EACH: u64 = 6;

async fn say_numbers(client: &mut Client, from: u64, to: u64) {
    for number in from..=to {
        say(client, &json!({"type": "message", "message": format!("number {number}"), "id": "x"})).await;
        assert_eq!(next(client, "ack").await["re"], "x");
    }
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(status.success());
}

impl Left {
    async fn new() -> Self {
        let dir = folder();
        let [backup, half] = ["backup", "half"].map(|name| dir.path().join(name));
        let (mut lobby, mut quiet) = (String::new(), String::new());
        for round in 0..4 {
            let server = start(&dir);
            let (mut alice, welcome) = enter(&server, "alice", None).await;
            lobby = text(&welcome["epoch"]).to_owned();
            if round == 0 {
                say(&mut alice, &json!({"type": "join", "room": "quiet"})).await;
                quiet = text(&next(&mut alice, "joined").await["epoch"]).to_owned();
                say(&mut alice, &json!({"type": "message", "room": "quiet", "message": "ssh"})).await;
                assert_eq!(next(&mut alice, "ack").await["offset"], 1);
            }
            let first = round * EACH + 1;
            say_numbers(&mut alice, first, first + EACH / 2 - 1).await;
            if round == 2 {
                copy(&dir.path().join("history/0000000003.log"), &half);
            }
            say_numbers(&mut alice, first + EACH / 2, first + EACH - 1).await;
            drop(server);
            if round == 1 {
                copy(&dir.path().join("history"), &backup);
            }
        }
        Self { dir, backup, half, lobby, quiet }
    }

    fn history(&self) -> PathBuf {
        self.dir.path().join("history")
    }

    fn segment(&self, number: u32) -> PathBuf {
        self.history().join(format!("{number:010}.log"))
    }
}

fn check(dir: &Path) -> (Option<i32>, String) {
    let output = run(&["history", "check", dir.to_str().expect("UTF-8")], &[]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("UTF-8"))
}

/// Whether a client that resumes there is told that it missed nothing; if so, everything must come.
async fn resumes(server: &Server, epoch: &str, offset: u64, last: u64) -> bool {
    let (mut bob, welcome) = enter(server, "bob", Some((epoch, offset))).await;
    if welcome["recovered"] != true {
        return false;
    }
    for number in offset + 1..=last {
        let message = next(&mut bob, "message").await;
        assert_eq!(
            (&message["offset"], &message["message"]),
            (&json!(number), &json!(format!("number {number}")))
        );
    }
    true
}

/// Counts the messages that the lobby keeps; asserts that they have no hole.
async fn kept(server: &Server) -> usize {
    let (mut eve, welcome) = enter(server, "eve", None).await;
    say(&mut eve, &json!({"type": "history", "room": "lobby", "limit": 100})).await;
    let history = next(&mut eve, "history").await;
    let messages = history["messages"].as_array().expect("messages");
    let offsets: Vec<u64> =
        messages.iter().map(|message| message["offset"].as_u64().expect("a number")).collect();
    assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "{offsets:?}");
    assert_eq!(offsets.last().copied(), welcome["offset"].as_u64());
    messages.len()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("a file");
    bytes[at] ^= 4;
    fs::write(path, bytes).expect("written");
}

fn position_of(path: &Path, text: &str) -> usize {
    let bytes = fs::read(path).expect("a file");
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).expect("it stands there")
}

#[tokio::test]
async fn no_position_is_recovered_from_a_log_that_was_changed() {
    let all = 4 * EACH;
    type Do = fn(&Left);
    // The damage; whether the quiet room, of the first segment, is recovered; messages of the lobby that must remain.
    let cases: [(&str, Do, bool, u64); 7] = [
        (
            "the last segment cut in half",
            |left| {
                let bytes = fs::read(left.segment(4)).expect("a segment");
                fs::write(left.segment(4), &bytes[..bytes.len() / 2]).expect("written");
            },
            false,
            3 * EACH,
        ),
        ("the last one deleted", |left| fs::remove_file(left.segment(4)).expect("deleted"), false, 3 * EACH),
        ("the first one deleted", |left| fs::remove_file(left.segment(1)).expect("deleted"), false, 3 * EACH),
        ("a middle one deleted", |left| fs::remove_file(left.segment(3)).expect("deleted"), true, 3 * EACH),
        ("an older copy of a segment", |left| copy(&left.half, &left.segment(3)), true, 3 * EACH + EACH / 2),
        (
            "an older copy of the folder",
            |left| {
                fs::rename(left.history(), left.dir.path().join("away")).expect("moved");
                copy(&left.backup, &left.history());
            },
            false,
            2 * EACH,
        ),
        (
            "a bit flipped",
            |left| {
                let at = position_of(&left.segment(2), "number 9");
                flip(&left.segment(2), at);
            },
            true,
            all - 1,
        ),
    ];
    for (what, damage, quiet_goes_on, least) in cases {
        let left = Left::new().await;
        assert_eq!(check(&left.history()).0, Some(0), "{what}: a killed server leaves it whole");
        damage(&left);
        let (code, said) = check(&left.history());
        assert_eq!(code, Some(CHECK_FAILED), "{what}: {said}");
        assert!(said.contains(".log") && said.contains("at byte"), "{what}: {said}");
        let server = start(&left.dir);
        server.log().wait_for(what, |line| line["level"] == "WARN" && line.to_string().contains(".log"));
        assert!(kept(&server).await as u64 >= least, "{what}");
        // As many new messages as would hide the missing ones.
        let (mut alice, welcome) = enter(&server, "alice", None).await;
        let epoch = text(&welcome["epoch"]).to_owned();
        let last = welcome["offset"].as_u64().expect("a number");
        say_numbers(&mut alice, last + 1, last + all).await;
        for offset in [all, all - 1, 2] {
            let goes_on = resumes(&server, &left.lobby, offset, last + all).await;
            assert!(!goes_on || epoch == left.lobby, "{what}: {offset}");
            assert!(!goes_on || what == "the first one deleted", "{what}: {offset}");
        }
        let (mut bob, _) = enter(&server, "bob", None).await;
        let resume = json!({"type": "join", "room": "quiet", "resume": {"epoch": left.quiet, "offset": 1}});
        say(&mut bob, &resume).await;
        let joined = next(&mut bob, "joined").await;
        assert_eq!(joined["recovered"], json!(quiet_goes_on), "{what}: {joined}");
        drop(server);
        // The decision holds for the next server, too.
        let server = start(&left.dir);
        let (_alice, welcome) = enter(&server, "alice", None).await;
        assert_eq!((&welcome["epoch"], &welcome["offset"]), (&json!(epoch), &json!(last + all)), "{what}");
    }
}

#[tokio::test]
async fn damage_gives_a_new_epoch_to_the_rooms_it_names_or_to_all() {
    let left = Left::new().await;
    let dir = left.history();
    let new_epoch = |arguments: &[&str]| {
        let words = [&["history", "new-epoch", dir.to_str().expect("UTF-8")][..], arguments].concat();
        let output = run(&words, &[]);
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    assert_eq!(new_epoch(&["--room", "quiet"]), (Some(0), "new epoch: quiet\n".into()));
    assert_eq!(new_epoch(&["--room", "nobody"]), (Some(CHECK_FAILED), String::new()));
    let (code, said) = check(&dir);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&format!("room lobby: {}:{}, {} messages", left.lobby, 4 * EACH, 4 * EACH)),
        "{said}"
    );
    assert!(said.contains("room quiet: ") && !said.contains(&left.quiet), "{said}");
    assert_eq!(new_epoch(&[]), (Some(0), "new epoch: lobby\nnew epoch: quiet\n".into()));
    let server = start(&left.dir);
    assert!(!resumes(&server, &left.lobby, 4 * EACH, 4 * EACH).await);
    assert_eq!(kept(&server).await as u64, 4 * EACH);
    // While a server has the folder, no other process changes or reads it.
    assert_eq!(new_epoch(&[]).0, Some(UNAVAILABLE));
    let (code, said) = check(&dir);
    assert_eq!(code, Some(UNAVAILABLE), "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    assert_eq!(check(&dir.join("nowhere")).0, Some(UNAVAILABLE));
}

#[tokio::test]
async fn a_folder_serves_one_server_even_if_renamed_or_its_lock_removed() {
    let dir = folder();
    let server = start(&dir);
    let (mut alice, _) = enter(&server, "alice", None).await;
    say_numbers(&mut alice, 1, 2).await;
    let history = dir.path().join("history");
    let link = dir.path().join("link");
    symlink(&history, &link).expect("a link");
    for entry in fs::read_dir(&history).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "log") {
            fs::remove_file(path).expect("removed");
        }
    }
    for path in [&history, &link] {
        let settings = [("history.dir", path.to_str().expect("UTF-8"))];
        let output = run(&["serve", "--listen", "127.0.0.1:0"], &settings);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(UNAVAILABLE), "{said}");
        assert!(said.contains("in use by another process"), "{said}");
    }
    // The server that has the folder goes on.
    say_numbers(&mut alice, 3, 4).await;
}

#[tokio::test]
async fn a_folder_that_others_may_write_to_is_warned_about_once() {
    let dir = folder();
    drop(start(&dir));
    let is_about_others = |line: &serde_json::Value| line.to_string().contains("others may write");
    let server = start(&dir);
    assert_eq!(server.log().count(is_about_others), 0, "{}", server.log().text());
    drop(server);
    fs::set_permissions(dir.path().join("history"), fs::Permissions::from_mode(0o777)).expect("changed");
    let server = start(&dir);
    let line = server.log().wait_for("a warning", is_about_others);
    assert_eq!((&line["level"], &line["mode"]), (&json!("WARN"), &json!("0777")));
    assert_eq!(server.log().count(is_about_others), 1);
}

#[tokio::test]
async fn synced_messages_are_there_after_a_kill() {
    for sync in ["1s", "batch"] {
        let dir = folder();
        let history = dir.path().join("history");
        let settings = [("history.dir", history.to_str().expect("UTF-8")), ("history.sync", sync)];
        let server = Server::start(&settings);
        let (mut alice, welcome) = enter(&server, "alice", None).await;
        let epoch = text(&welcome["epoch"]).to_owned();
        say_numbers(&mut alice, 1, 12).await;
        drop(server);
        let (code, said) = check(&history);
        assert_eq!(code, Some(0), "{sync}: {said}");
        let server = Server::start(&settings);
        assert!(resumes(&server, &epoch, 3, 12).await, "{sync}");
    }
}
