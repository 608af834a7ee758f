//! Reload: what a running server makes of changed settings, after SIGHUP and `POST /api/reload`.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::{Response, post};
use crate::support::raw::{Socket, handshake};
use crate::support::receiver::{Answer, Receiver, SECRET, secret_file};
use crate::support::server::{Server, Settings};
use crate::support::speaker::Speaker;
use crate::support::token::{seconds_from_now, signed};

const KEY: &str = "a-key-of-the-tests-1";
const OTHER_KEY: &str = "a-key-of-the-tests-2";
/// Secrets of tokens, of which only one is known at a time.
const SECRETS: [&str; 2] =
    ["the-first-secret-of-at-least-32-bytes", "the-second-secret-of-at-least-32-bytes"];
/// The log says this after a reload.
const DONE: &str = "the settings were read again";

/// A server with files of settings, which a test changes.
struct Reloadable {
    server: Server,
    folder: tempfile::TempDir,
}

impl Reloadable {
    /// Starts a server with this configuration file. In the text, `@` is the folder of all files.
    #[track_caller]
    fn start(text: &str, files: &[(&str, &str)], environment: Settings<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), text, files);
        let script = format!("exec \"$@\" --config {}", folder.path().join("throng.toml").display());
        let server = Server::launch(&["bash", "-c", &script, "bash"], "127.0.0.1:0", environment);
        Self { server, folder }
    }

    /// Changes files, and makes every node read them.
    #[track_caller]
    fn change(&self, text: &str, files: &[(&str, &str)]) {
        let before = self.said(DONE);
        write(self.folder.path(), text, files);
        self.server.signal("HUP");
        eventually("the settings were read", || self.said(DONE) > before);
    }

    /// Returns how many lines of the first node's log begin like this.
    fn said(&self, start: &str) -> usize {
        let begins = |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with(start));
        self.server.log().count(begins)
    }

    #[track_caller]
    fn call(&self, key: &str, method: &str, body: &Value) -> Response {
        let headers = format!("X-API-Key: {key}\r\nContent-Type: application/json\r\n");
        post(self.server.address(), &format!("/api/{method}"), &headers, &body.to_string())
    }

    /// Reloads with a call, which must succeed; returns the changed keys and those that need a restart.
    #[track_caller]
    fn reload(&self) -> (Value, Value) {
        let response = self.call(KEY, "reload", &json!({}));
        assert_eq!(response.status, 200, "{response:?}");
        let result = &json_of(&response)["result"];
        (result["changed"].clone(), result["restart"].clone())
    }
}

fn write(folder: &Path, text: &str, files: &[(&str, &str)]) {
    let text = text.replace('@', folder.to_str().expect("a path in UTF-8"));
    for (name, text) in files.iter().copied().chain([("throng.toml", text.as_str())]) {
        std::fs::write(folder.join(name), text).expect("written");
    }
}

#[track_caller]
fn json_of(response: &Response) -> Value {
    serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{error}: {response:?}"))
}

fn token(secret: &str, user: &str) -> String {
    signed(jsonwebtoken::Algorithm::HS256, secret, &json!({"sub": user, "exp": seconds_from_now(600)}))
}

/// Returns the code with which a handshake is closed that shows a token signed with `secret`; `None` for a greeting.
#[track_caller]
fn refused(server: &Server, secret: &str, user: &str) -> Option<u16> {
    let token = token(secret, user);
    let mut socket = Socket::open(server.address(), &format!("/ws/chat/{user}?token={token}"));
    let frame = socket.read_frame();
    frame.payload.first_chunk().filter(|_| frame.opcode == 8).map(|code| u16::from_be_bytes(*code))
}

/// 1. Alice connects with a token. 2. The keys of the API and of tokens and the list of origins change in their files,
///    and SIGHUP comes. 3. The old ones are refused and the new ones accepted; Alice is still there.
#[test]
fn after_a_signal_new_keys_hold_and_connections_stay() {
    let text = |origin: &str| {
        format!(
            "[api]\nkeys_file = '@/keys'\n[auth]\nrequired = true\nsecret_file = '@/secret'\n\
             [admission]\norigins = ['{origin}']\n"
        )
    };
    let at = Reloadable::start(
        &text("https://old.example"),
        &[("keys", KEY), ("secret", SECRETS[0])],
        &[("workers", "2")],
    );
    let server = &at.server;
    let path = format!("alice?room=a&token={}", token(SECRETS[0], "alice"));
    let mut alice = Speaker::alone(server, &path);
    let origin = |origin: &str| {
        let mut socket = Socket::connect(server.address());
        socket.send(handshake("/ws", &format!("Origin: {origin}\r\n")));
        socket.read_head().status
    };
    let expect = |old: usize| {
        let (keys, origins) = ([KEY, OTHER_KEY], ["https://old.example", "https://new.example"]);
        for (index, accepted) in [(old, true), (1 - old, false)] {
            let status = at.call(keys[index], "publish", &json!({"room": "a", "message": "hi"})).status;
            assert_eq!(status, if accepted { 200 } else { 401 }, "key {index}");
            assert_eq!(origin(origins[index]), if accepted { 101 } else { 403 }, "origin {index}");
            let code = refused(server, SECRETS[index], &format!("user-{index}"));
            assert_eq!(code, (!accepted).then_some(1008), "secret {index}");
        }
    };
    expect(0);
    at.change(&text("https://new.example"), &[("keys", OTHER_KEY), ("secret", SECRETS[1])]);
    expect(1);
    for _ in 0..2 {
        assert_eq!(alice.find("message")["message"], "hi", "she was there all the time");
    }
    let log = server.log().text();
    assert!(
        log.contains("api.keys") && log.contains("auth.secret") && log.contains("admission.origins"),
        "{log}"
    );
    for secret in [KEY, OTHER_KEY, SECRETS[0], SECRETS[1]] {
        assert!(!log.contains(secret), "the log has a secret");
    }
}

#[test]
fn settings_with_mistakes_change_nothing_and_every_mistake_is_said() {
    let good = format!("[api]\nkeys = ['{KEY}']\n");
    let at = Reloadable::start(&good, &[], &[]);
    let wrong = format!(
        "no_such_key = 1\n[api]\nkeys = ['{OTHER_KEY}']\nuser = 'x'\n[auth]\nsecret_file = '@/missing'\n\
         [chat]\nmax_message_chars = 1\n"
    );
    write(at.folder.path(), &wrong, &[]);
    at.server.signal("HUP");
    eventually("the mistakes are said", || at.said("the settings have mistakes") == 1);
    let log = at.server.log().text();
    for mistake in ["no_such_key", "api.user", "auth.secret_file"] {
        assert!(log.lines().any(|line| line.contains("ERROR") && line.contains(mistake)), "{mistake}: {log}");
    }
    // The key of the old settings still opens the API, and nothing else of the new ones holds.
    let response = at.call(KEY, "reload", &json!({}));
    let error = &json_of(&response)["error"];
    assert_eq!((response.status, &error["code"]), (422, &json!("invalid_settings")), "{response:?}");
    let mistakes = error["mistakes"].as_array().expect("a list");
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    assert_eq!(at.call(OTHER_KEY, "reload", &json!({})).status, 401);
    assert_eq!(at.call(KEY, "publish", &json!({"room": "a", "message": "not too long"})).status, 200);

    std::fs::remove_file(at.folder.path().join("throng.toml")).expect("it was there");
    let response = at.call(KEY, "reload", &json!({}));
    assert!(response.status == 422 && response.body.contains("cannot be read"), "{response:?}");
    write(at.folder.path(), &good, &[]);
    assert_eq!(at.reload(), (json!([]), json!([])));
}

#[test]
fn a_key_that_needs_a_restart_is_named_each_time_and_keeps_its_value() {
    let text = |more: &str| format!("workers = 1\n[api]\nkeys = ['{KEY}']\n{more}");
    let at = Reloadable::start(&text(""), &[], &[("engine", "memory")]);
    let changed = text("user = 'news'\n[queue]\nmax_messages = 7\n[history]\ndir = '@/history'\n");
    write(at.folder.path(), &changed.replace("workers = 1", "workers = 2"), &[]);
    let waiting = json!(["workers", "queue.max_messages", "history.dir"]);
    assert_eq!(at.reload(), (json!(["api.user"]), waiting.clone()));
    assert_eq!(at.reload(), (json!([]), waiting), "as long as they wait");
    assert!(!at.folder.path().join("history").exists());
    let line = at.server.log().wait_for("the keys that need a restart", |line| {
        line["message"] == "these changed keys need a restart"
    });
    assert_eq!(line["keys"], "workers queue.max_messages history.dir");
    let mut alice = Speaker::alone(&at.server, "alice?room=a");
    assert_eq!(at.call(KEY, "publish", &json!({"room": "a", "message": "hi"})).status, 200);
    assert_eq!(alice.expect("message")["user"], "news");
    // A key that contradicts a value which stays is a mistake.
    write(at.folder.path(), &text("[history]\nbytes = '300MiB'\ntotal_bytes = '1GiB'\n"), &[]);
    let response = at.call(KEY, "reload", &json!({}));
    assert!(response.status == 422 && response.body.contains("history.total_bytes"), "{response:?}");
}

/// 1. A reload names the first webhook, which is told so, and then hears of what happens.
/// 2. Another reload takes it out again, and nothing more is sent.
#[test]
fn webhooks_come_and_go_with_a_reload() {
    let receiver = Receiver::start(|_| Answer::ok());
    let at = Reloadable::start(&format!("[api]\nkeys = ['{KEY}']\n"), &[], &[("engine", "memory")]);
    let secrets = secret_file(at.folder.path(), &[SECRET]);
    let text = |receivers: &str| {
        format!("[api]\nkeys = ['{KEY}']\n[webhooks]\nlinger = '1ms'\noffline_after = '0ms'\n{receivers}")
    };
    let url = receiver.url("/hook");
    let named = format!("[[webhooks.receivers]]\nurl = {url:?}\nsecret_file = {secrets:?}\n");
    at.change(&text(&named), &[]);
    receiver.wait_for_events("resync", 1);
    drop(Speaker::alone(&at.server, "alice?room=a"));
    receiver.wait_for_events("user_offline", 1);
    at.change(&text(""), &[]);
    drop(Speaker::alone(&at.server, "bob?room=a"));
    eventually("bob is gone", || at.server.connections() == 0.0);
    at.change(&text(&named), &[]);
    receiver.wait_for_events("resync", 2);
    let told = receiver.events();
    assert!(told.iter().all(|event| event["user"] != "bob"), "{told:?}");
}

/// 1. A webhook with `webhooks.dir` does not take its events. A reload takes it out: its events are dropped, which the
///    log says, and its folder is gone.
/// 2. Another reload adds it again, and it hears of what happens from then on alone.
#[test]
fn a_webhook_that_a_reload_takes_out_leaves_nothing_on_disk() {
    let receiver = Receiver::start(|asked| match asked.raw.contains("before") {
        true => Answer::Status(503, "", String::new()),
        false => Answer::ok(),
    });
    let at = Reloadable::start(
        &format!("[api]\nkeys = ['{KEY}']\n[webhooks]\ndir = '@/events'\n"),
        &[],
        &[("engine", "memory")],
    );
    let secrets = secret_file(at.folder.path(), &[SECRET]);
    let text = |receivers: &str| {
        format!("[api]\nkeys = ['{KEY}']\n[webhooks]\ndir = '@/events'\nlinger = '1ms'\n{receivers}")
    };
    let folders = || {
        let entries = std::fs::read_dir(at.folder.path().join("events")).expect("a folder").flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    };
    let url = receiver.url("/hook");
    let named =
        format!("[[webhooks.receivers]]\nurl = {url:?}\nsecret_file = {secrets:?}\nevents = ['message']\n");
    let say = |text: &str| {
        let body = json!({"room": "a", "message": text});
        assert_eq!(at.call(KEY, "publish", &body).status, 200);
    };
    at.change(&text(&named), &[]);
    receiver.wait_for_events("resync", 1);
    say("before");
    receiver.wait_for("an attempt", |asked| asked.iter().any(|asked| !asked.is_taken));
    for _ in 0..4 {
        say("before");
    }
    eventually("the resync is done", || at.server.metric("throng_webhook_queue", "") == 5.0);
    assert_eq!(folders(), 1);
    at.change(&text(""), &[]);
    assert_eq!(folders(), 0);
    let line = at.server.log().wait_for("the webhook is out", |line| line["left"].is_u64());
    assert_eq!(line["left"], 4, "without the one that was under way: {line}");
    receiver.answer(|_| Answer::ok());
    at.change(&text(&named), &[]);
    say("behind");
    let told = receiver.wait_for_events("message", 1);
    assert_eq!(told.iter().filter(|event| event["message"] == "before").count(), 0, "{told:?}");
    assert_eq!(folders(), 1);
}

#[test]
fn new_limits_and_rules_hold_for_what_comes_next() {
    let text = |more: &str| format!("[api]\nkeys = ['{KEY}']\n{more}");
    let environment = [("engine", "memory"), ("workers", "2"), ("rate_limit.enabled", "true")];
    let at = Reloadable::start(&text(""), &[], &environment);
    let server = &at.server;
    let mut alice = Speaker::alone(server, "alice?room=old");
    alice.say("old", "long enough");
    for (change, command, code) in [
        (
            "[chat]\nmax_message_chars = 5\n",
            json!({"type": "message", "room": "old", "message": "long enough"}),
            "message_too_long",
        ),
        (
            "[limits]\nmax_rooms_per_connection = 1\n",
            json!({"type": "join", "room": "more"}),
            "too_many_rooms",
        ),
    ] {
        at.change(&text(change), &[]);
        alice.ask_refused(command, code);
    }
    at.change(&text("[rate_limit]\nmessages_per_second = 1\nburst = 1\n"), &[]);
    for number in 0..10 {
        alice.command(json!({"type": "message", "room": "old", "message": format!("{number}")}));
    }
    assert_eq!(alice.find("error")["code"], "rate_limited");

    at.change(&text("[limits]\nmax_connections = 1\n[metrics]\nenabled = false\n"), &[]);
    let mut socket = Socket::connect(server.address());
    socket.send(handshake("/ws", ""));
    assert_eq!((socket.read_response().status, server.get("/metrics").status), (503, 404));

    // Rooms that are open keep their settings; the next one has the new ones.
    let more = "[log]\nlevel = 'debug'\n[[rooms]]\npattern = '*'\nhistory_messages = 0\n";
    at.change(&text(more), &[]);
    assert_eq!(Socket::open(server.address(), "/ws/chat/x").read_close().0, 1008);
    server.log().wait_for("what was wrong", |line| line["message"] == "a name was refused");
    let mut bob = Speaker::alone(server, "bob?room=new");
    for room in ["new", "old"] {
        assert_eq!(at.call(KEY, "publish", &json!({"room": room, "message": "news"})).status, 200);
    }
    bob.expect_message("server", "news");
    assert_eq!(kept(&mut bob, "new"), Vec::<Value>::new());
    let mut carol = Speaker::enter(server, "carol?room=old");
    carol.expect("presence_diff");
    assert_eq!(kept(&mut carol, "old").last().expect("some")["message"], "news");
}

/// Returns the messages in a room's history.
#[track_caller]
fn kept(speaker: &mut Speaker, room: &str) -> Vec<Value> {
    let history = speaker.ask(json!({"type": "history", "room": room}), "history");
    history["messages"].as_array().expect("a list").clone()
}

/// 1. A room is listed. 2. The settings name another one. 3. From that moment on the list has only that, although the
///    former list was made in the same second.
#[test]
fn a_room_that_is_listed_no_longer_is_gone_at_once() {
    let listed = |rooms: &str| format!("chat.listed_rooms = {rooms}\n");
    let at = Reloadable::start(&listed("['first']"), &[], &[]);
    let _alice = Speaker::enter(&at.server, "alice?room=first");
    let _bob = Speaker::enter(&at.server, "bob?room=second");
    let list = || at.server.get("/rooms").body;
    eventually("the first is listed", || list().contains("first"));
    at.change(&listed("['second']"), &[]);
    assert_eq!(list(), r#"{"rooms":[{"room":"second","members":1}]}"#);
    at.change(&listed("[]"), &[]);
    assert_eq!(list(), r#"{"rooms":[]}"#);
}
