//! Plays the cases of `tests/clients/cases.json`, which every client of throng plays.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::Response;

use super::super::*;
use super::harness::{Answer, Harness};
use super::told::{self, filled, merged, number};
use crate::command::Command;
use crate::failure::connection_end_of;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/clients/cases.json");

/// The result of a call: its answer as JSON, or the code of its error.
type Outcome = Result<Value, String>;

/// One case while it is played.
struct Case<'a> {
    defaults: &'a Value,
    answers_pings: bool,
    harness: Harness,
    tokens: Vec<Value>,
    token: Value,
    connection: Option<u64>,
    attempts: u64,
    /// The commands of the present connection. Those that were answered have no `id` any more.
    sent: Vec<Value>,
    events: Vec<Value>,
    state: Value,
    has_been_online: bool,
    calls: HashMap<String, Box<dyn FnMut() -> Option<Outcome>>>,
    outcomes: HashMap<String, Outcome>,
    variables: HashMap<String, Value>,
    is_replaying: bool,
}

impl<'a> Case<'a> {
    fn new(case: &Value, defaults: &'a Value) -> Self {
        let option = |name: &str| case["options"].get(name).unwrap_or(&defaults[name]).clone();
        let tokens = option("token");
        let settings = Settings {
            user: option("user").as_str().expect("a user").parse().expect("a user"),
            name: None,
            queue: number(&option("max_queued")) as usize,
            has_token: tokens.is_string(),
            can_renew: tokens.is_array(),
            answer_timeout: Duration::from_millis(number(&option("answer_ms"))),
        };
        let room = option("room").as_str().map(|room| room.parse().expect("a room"));
        let now = Instant::now();
        let core = Core::new(settings, room, Backoff::default(), fastrand::Rng::with_seed(1), now);
        let system = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut case = Self {
            defaults,
            answers_pings: case["answers_pings"] != false,
            harness: Harness { core, now, system },
            token: if tokens.is_string() { tokens.clone() } else { Value::Null },
            tokens: tokens.as_array().cloned().unwrap_or_default(),
            connection: None,
            attempts: 0,
            sent: Vec::new(),
            events: Vec::new(),
            state: Value::Null,
            has_been_online: false,
            calls: HashMap::new(),
            outcomes: HashMap::new(),
            variables: HashMap::new(),
            is_replaying: false,
        };
        case.settle();
        case
    }

    /// Does what the client wants to be done: connects, fetches tokens, and takes its commands and events.
    fn settle(&mut self) {
        let connection = self.harness.core.connection_number();
        if connection.is_some() && connection != self.connection {
            (self.attempts, self.is_replaying) = (self.attempts + 1, false);
            self.sent.clear();
            if !self.tokens.is_empty() {
                self.token = self.tokens.remove(0);
            }
        }
        self.connection = connection;
        if self.harness.core.wants_token(self.harness.now) {
            let token = self.tokens.remove(0);
            let fetched = token.as_str().map(str::to_owned).ok_or_else(|| "no backend".to_owned());
            self.harness.core.renew_token(fetched, self.harness.now);
        }
        let frames = self.harness.sent();
        self.sent.extend(frames);
        for event in self.harness.events() {
            let event = told::as_json(event);
            if event["type"] == "state" {
                self.has_been_online |= event["name"] == "online";
                self.state = event;
            } else {
                self.events.push(event);
            }
        }
        let ended = self.calls.iter_mut().filter_map(|(name, poll)| Some((name.clone(), poll()?)));
        let ended: Vec<_> = ended.collect();
        for (name, outcome) in ended {
            self.calls.remove(&name);
            self.outcomes.insert(name, outcome);
        }
    }

    /// Answers each ping at once, unless messages are replayed or the case says otherwise.
    fn answer_pings(&mut self) {
        if self.is_replaying || !self.answers_pings {
            return;
        }
        for ping in self.of("ping") {
            if let Some(id) = self.sent[ping].as_object_mut().and_then(|ping| ping.remove("id")) {
                self.harness.receive(&json!({"type": "pong", "re": id}).to_string());
            }
        }
        self.settle();
    }

    /// Returns where the commands of a type are.
    fn of(&self, kind: &str) -> Vec<usize> {
        (0..self.sent.len()).filter(|index| self.sent[*index]["type"] == kind).collect()
    }

    fn play(&mut self, steps: &[Value]) {
        for step in steps {
            self.step(step);
            self.settle();
            self.answer_pings();
        }
    }

    fn step(&mut self, step: &Value) {
        let has = |name: &str| step.get(name).filter(|_| !step["call"].is_string());
        if let Some(fields) = has("welcome") {
            self.say(merged(&self.defaults["welcome"], fields));
        } else if let Some(kind) = has("answer") {
            self.answer(kind.as_str().expect("a type"), step);
        } else if let Some(given) = has("say") {
            let event = given.as_str().map_or(given, |kind| &self.defaults[kind]);
            self.harness.receive(&merged(event, &step["with"]).to_string());
        } else if let Some(text) = has("say_text") {
            self.harness.receive(text.as_str().expect("a text"));
        } else if let Some(code) = has("end") {
            let reason = step["reason"].as_str().unwrap_or_default().to_owned();
            let end = match number(code) {
                1006 => ConnectionEnd::with_reason(reason),
                code => ConnectionEnd::with_code(code as u16, reason),
            };
            self.harness.lose(end);
        } else if let Some(status) = has("refuse") {
            let answer = Response::builder().status(number(status) as u16);
            let after = step.get("retry_after_s").map(ToString::to_string);
            let answer = after.iter().fold(answer, |answer, after| answer.header("Retry-After", after));
            let answer = Box::new(answer.body(None).expect("an answer"));
            self.harness.lose(connection_end_of(Error::Http(answer)));
        } else if step["call"].is_string() {
            self.call(step);
        } else if let Some(ms) = has("wait_ms") {
            self.pass(Duration::from_millis(number(ms)));
        } else if has("wait_for_retry").is_some() {
            assert_eq!(self.state["name"], "waiting", "{step}");
            self.pass(Duration::from_micros(
                (self.state["delay_ms"].as_f64().expect("ms") * 1e3).ceil() as u64
            ));
        } else if let Some(times) = has("repeat") {
            (0..number(times)).for_each(|_| self.play(step["steps"].as_array().expect("steps")));
        } else {
            self.expect(step);
        }
    }

    fn say(&mut self, event: Value) {
        self.is_replaying = event["recovered"] == true;
        self.harness.receive(&event.to_string());
    }

    fn answer(&mut self, to: &str, step: &Value) {
        let asked = self.of(to).pop().unwrap_or_else(|| panic!("no {to} was sent: {:?}", self.sent));
        let asked = self.sent[asked].as_object_mut().expect("an object");
        let re = json!({"re": asked.remove("id")});
        let standard = match to {
            "message" => merged(&self.defaults["ack"], &step["with"]),
            _ => {
                merged(&merged(&self.defaults["joined"], &step["with"]), &json!({"room": asked.get("room")}))
            }
        };
        self.say(merged(step.get("say").unwrap_or(&standard), &re));
    }

    /// Lets time pass; everything that is due happens at its time.
    fn pass(&mut self, time: Duration) {
        let end = self.harness.now + time;
        while let Some(due) = self.harness.core.deadline().filter(|due| *due <= end) {
            self.move_to(due.max(self.harness.now));
            self.harness.core.tick(self.harness.timestamp());
            self.settle();
            assert!(self.harness.core.deadline() > Some(due), "the deadline {due:?} stays");
        }
        self.move_to(end);
    }

    fn move_to(&mut self, now: Instant) {
        self.harness.system += now - self.harness.now;
        self.harness.now = now;
    }

    fn call(&mut self, step: &Value) {
        let text = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
        let method = text("call");
        let name = if step["as"].is_null() { method.clone() } else { text("as") };
        let Ok(room) = text(if method == "direct" { "to" } else { "room" }).parse::<RoomName>() else {
            // As the handle does before the core is asked. `close` has no room.
            if method == "close" {
                self.harness.core.execute(Command::Close, self.harness.timestamp());
            } else {
                self.outcomes.insert(name, Err("invalid_room".to_owned()));
            }
            return;
        };
        let data = step
            .get("data")
            .map(|data| serde_json::value::RawValue::from_string(data.to_string()).expect("JSON is JSON"));
        let message = text("message");
        let harness = &mut self.harness;
        let poll = match method.as_str() {
            "send" => {
                let ack = harness.ask(|reply| Command::Say { room, text: message, data, reply });
                watch(
                    ack,
                    |ack| json!({"room": ack.room.as_str(), "offset": ack.offset, "duplicate": ack.duplicate}),
                )
            }
            "direct" => {
                let to = text("to").parse().expect("a user");
                let ack = harness.ask(|reply| Command::Direct { to, text: message, data, reply });
                watch(ack, |delivered| json!({"delivered": delivered}))
            }
            "join" => watch(harness.ask(|reply| Command::Join { room, reply }), |_| json!({})),
            "leave" => watch(harness.ask(|reply| Command::Leave { room, reply }), |()| json!({})),
            "history" => {
                let before = step["before"].as_u64();
                watch(harness.ask(|reply| Command::History { room, before, limit: 50, reply }), |_| json!({}))
            }
            "presence" => {
                watch(harness.ask(|reply| Command::Presence { room, after: None, limit: 50, reply }), |_| {
                    json!({})
                })
            }
            "typing" => return harness.core.execute(Command::Typing { room }, harness.timestamp()),
            other => panic!("there is no call {other}"),
        };
        self.calls.insert(name, poll);
    }

    /// Checks what the client must have done.
    fn expect(&mut self, step: &Value) {
        let (kind, wanted) =
            step.as_object().and_then(|step| step.iter().find(|(name, _)| is_check(name))).expect("a step");
        let list = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let named = wanted.as_str().unwrap_or_default().to_owned();
        match kind.as_str() {
            "attempts" => assert_eq!(self.attempts, number(wanted), "{step}"),
            "asked" => {
                let url = self.harness.url();
                let pairs = url.split_once('?').map_or("", |(_, query)| query).split('&');
                let query = pairs.filter_map(|pair| pair.split_once('='));
                let query: Value = query.map(|(name, value)| (name.to_owned(), json!(value))).collect();
                assert_eq!(if query.is_null() { json!({}) } else { query }, *wanted, "{step}");
            }
            "token" => assert_eq!(self.token, *wanted, "{step}"),
            "sent" => {
                let found = self.of(&named).into_iter().map(|index| self.sent[index].clone()).collect();
                self.compare(found, &list(&step["are"]), step);
            }
            "events" => {
                let found = self.events.iter().filter(|event| event["type"] == *named).cloned().collect();
                self.compare(found, &list(&step["are"]), step);
            }
            "rooms" => {
                let rooms: Vec<_> =
                    self.harness.core.rooms.iter_mut().map(|room| room.name.to_string()).collect();
                assert_eq!(json!(rooms), *wanted, "{step}");
            }
            "state" => {
                let mut fields = wanted.clone();
                if let Some(most) = fields.as_object_mut().and_then(|fields| fields.remove("at_most_ms")) {
                    assert!(self.state["delay_ms"].as_f64() <= most.as_f64(), "{step}: {}", self.state);
                }
                self.compare(vec![self.state.clone()], &[fields], step);
            }
            // The client connects by itself: its caller sees the state.
            "returns" if named == "connect" => assert!(self.has_been_online, "{step}"),
            "fails" if named == "connect" => assert_eq!(self.state["name"], "stopped", "{step}"),
            "returns" => {
                let outcome = self.outcomes.get(&named).cloned();
                let Some(Ok(value)) = outcome else { panic!("{step}: {outcome:?}") };
                self.compare(vec![value], &[merged(&json!({}), &step["value"])], step);
            }
            "fails" => {
                let Some(Err(code)) = self.outcomes.get(&named) else { panic!("{step}: it has not failed") };
                // This client tells a lost connection and a missing one apart by its state alone.
                let is_away = code == "disconnected"
                    && ["offline", "connection_lost"].map(Value::from).contains(&step["code"]);
                assert!(is_away || step["code"] == **code, "{step}: {code}");
            }
            _ => assert!(self.calls.contains_key(&named), "{step}: {:?}", self.outcomes.get(&named)),
        }
    }

    /// Checks a list of objects: as many, and each with at least the wanted fields. A text that begins with `$` stands
    /// for any value, the same one each time, and for no value of another variable.
    fn compare(&mut self, found: Vec<Value>, wanted: &[Value], step: &Value) {
        assert_eq!(found.len(), wanted.len(), "{step}: {found:?}");
        for (found, fields) in found.iter().zip(wanted) {
            for (name, value) in fields.as_object().expect("fields") {
                if let Some(variable) = value.as_str().filter(|text| text.starts_with('$')) {
                    self.bind(variable, &found[name], step);
                } else {
                    assert_eq!(found[name], *value, "{step}: {found}");
                }
            }
        }
    }

    fn bind(&mut self, variable: &str, found: &Value, step: &Value) {
        for (name, value) in &self.variables {
            assert_eq!(name == variable, value == found, "{step}: {found} for {variable}");
        }
        self.variables.insert(variable.to_owned(), found.clone());
    }
}

const CHECKS: [&str; 9] =
    ["attempts", "asked", "token", "sent", "events", "rooms", "state", "returns", "fails"];

fn is_check(name: &str) -> bool {
    CHECKS.contains(&name) || name == "waits"
}

/// Returns a function that gets the result of a call once there is one.
fn watch<T: 'static>(
    mut answer: Answer<T>,
    shown: impl Fn(T) -> Value + 'static,
) -> Box<dyn FnMut() -> Option<Outcome>> {
    Box::new(move || Some(answer.try_recv().ok()?.map(&shown).map_err(|error| told::code_of(&error))))
}

#[test]
fn every_case_of_the_shared_table_holds() {
    let table = std::fs::read_to_string(TABLE).expect("the table of the repository");
    let table: Value = serde_json::from_str(&table).expect("JSON");
    let mut played = 0;
    for case in table["cases"].as_array().expect("cases") {
        if case["clients"].as_array().is_some_and(|clients| !clients.contains(&json!("rust"))) {
            continue;
        }
        for value in case["for"].as_array().unwrap_or(&vec![Value::Null]) {
            println!("{}: {value}", case["name"]);
            Case::new(case, &table["defaults"]).play(&filled(&case["steps"], value));
            played += 1;
        }
    }
    assert!(played > 50, "only {played} cases");
}

#[test]
fn every_kind_of_expectation_can_fail() {
    let table = std::fs::read_to_string(TABLE).expect("the table of the repository");
    let defaults = serde_json::from_str::<Value>(&table).expect("JSON")["defaults"].take();
    for wrong in [
        json!({"attempts": 2}),
        json!({"asked": {"room": "tea"}}),
        json!({"token": "x"}),
        json!({"state": {"name": "stopped"}}),
        json!({"sent": "message", "are": []}),
        json!({"events": "joined", "are": []}),
        json!({"rooms": []}),
        json!({"returns": "send"}),
        json!({"fails": "send", "code": "stopped"}),
        json!({"waits": "connect"}),
    ] {
        let steps =
            [json!({"welcome": {}}), json!({"call": "send", "room": "lobby", "message": "hi"}), wrong];
        let playing = std::panic::AssertUnwindSafe(|| Case::new(&json!({}), &defaults).play(&steps));
        assert!(std::panic::catch_unwind(playing).is_err(), "{}", steps[2]);
    }
}
