//! Differential tests of the commands of `throng.v1`: random input goes through this parser and through a reference,
//! which is serde_json with the rules written a second time.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use std::fmt;

use super::{Command, Resume, TokenText};
use crate::protocol::command::Parser;
use crate::protocol::command::tests::{is_json, spoiled};

/// An object as its list of fields, with repeated ones, which the reference's generic tree would hide.
struct Pairs(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

const FIELDS: [&str; 14] = [
    "type", "id", "room", "message", "data", "key", "echo", "to", "resume", "epoch", "before", "after",
    "limit", "token",
];

/// The rules for commands, written a second time: over the reference's tree, with error codes for errors.
struct ReferenceRules<'v>(&'v [(String, Json)]);

type Outcome<T> = Result<T, &'static str>;

impl<'v> ReferenceRules<'v> {
    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(key, _)| key == name).count()
    }

    fn get<T>(&self, name: &str, read: impl Fn(&'v Json) -> Option<T>) -> Outcome<Option<T>> {
        let value = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        value.map(|value| read(value).ok_or("invalid_message")).transpose()
    }

    fn text(&self, name: &str) -> Outcome<&'v str> {
        self.get(name, Json::as_str)?.ok_or("missing_field")
    }

    fn short(&self, name: &str, min: usize) -> Outcome<Option<&'v str>> {
        self.get(name, |value| value.as_str().filter(|text| (min..=64).contains(&text.chars().count())))
    }

    fn limit(&self, max: u64) -> Outcome<Option<u64>> {
        self.get("limit", |value| value.as_u64().filter(|limit| *limit > 0 && *limit <= max))
    }

    fn resume(&self) -> Outcome<Option<Resume<'v>>> {
        let Some(value) = self.get("resume", Json::as_object)? else { return Ok(None) };
        let epoch = value.get("epoch").ok_or("missing_field")?.as_str().ok_or("invalid_message")?;
        let offset = value.get("offset").ok_or("missing_field")?.as_u64().ok_or("invalid_message")?;
        Ok(Some(Resume { epoch, offset }))
    }

    fn id(&self) -> Outcome<Option<&'v str>> {
        if self.count("id") > 1 { Err("invalid_message") } else { self.short("id", 0) }
    }

    fn command(&self) -> Outcome<Command<'v>> {
        self.id()?;
        if FIELDS.iter().any(|name| self.count(name) > 1) {
            return Err("invalid_message");
        }
        let optional = |name| self.get(name, Json::as_str);
        Ok(match self.text("type")? {
            "message" => {
                let (room, text) = (optional("room")?, self.text("message")?);
                let (key, echo) = (self.short("key", 1)?, self.get("echo", Json::as_bool)?);
                Command::Message { room, text, key, echo: echo != Some(false) }
            }
            "direct" => {
                let (to, text) = (self.text("to")?, self.text("message")?);
                Command::Direct { to, text, key: self.short("key", 1)? }
            }
            "join" => Command::Join { room: self.text("room")?, resume: self.resume()? },
            "leave" => Command::Leave { room: self.text("room")? },
            "history" => {
                let (room, epoch) = (self.text("room")?, optional("epoch")?);
                let before = self.get("before", Json::as_u64)?;
                Command::History { room, epoch, before, limit: self.limit(100)? }
            }
            "presence" => {
                let (room, after) = (self.text("room")?, optional("after")?);
                Command::Presence { room, after, limit: self.limit(1000)? }
            }
            "typing" => Command::Typing { room: self.text("room")? },
            "token" => Command::Token { token: TokenText(self.text("token")?) },
            "heartbeat_ack" => Command::HeartbeatAck,
            "ping" => Command::Ping,
            _ => return Err("unknown_type"),
        })
    }
}

/// Returns a random command, mostly valid or nearly so: fields in any order, some repeated or of the wrong type.
fn random_command(random: &mut fastrand::Rng) -> String {
    let kinds = [
        "message",
        "direct",
        "join",
        "leave",
        "history",
        "presence",
        "typing",
        "token",
        "heartbeat_ack",
        "ping",
        "shout",
    ];
    let texts = ["\"den\"", "\"a \\\" \\u00e9 \\n\"", "\"\u{1f600}\"", "\"\""];
    let others = ["null", "true", "7", "-1", "1.5", "[]", "{}", "\"x\"", "[[{\"k\":1}]]"];
    let resumes = [r#"{"epoch":"e","offset":7}"#, r#"{"offset":7}"#, r#"{"epoch":1,"offset":7}"#];
    let mut fields: Vec<&str> = FIELDS.into_iter().filter(|_| random.u8(..4) > 0).collect();
    if random.u8(..20) > 0 && !fields.contains(&"type") {
        fields.push("type");
    }
    if random.u8(..20) == 0 {
        fields.push(FIELDS[random.usize(..FIELDS.len())]);
    }
    if random.bool() {
        fields.push("other");
    }
    random.shuffle(&mut fields);
    let mut written = Vec::new();
    for field in fields {
        let value = if random.u8(..25) == 0 {
            others[random.usize(..others.len())].to_owned()
        } else {
            match field {
                "type" => format!("\"{}\"", kinds[random.usize(..kinds.len())]),
                "echo" => random.bool().to_string(),
                // Also with a letter of the name escaped, blanks around it, and objects in it.
                "data" => {
                    let data = ["[ 1.5 ,{\"data\":{}} ]", "\"\\\"\\u00e4\"", "null", "{\"a\" : \"}\"}", "-0"];
                    data[random.usize(..data.len())].to_owned()
                }
                "before" | "limit" => random.u8(..100).to_string(),
                "resume" => resumes[random.usize(..6).saturating_sub(3)].to_owned(),
                _ => texts[random.usize(..8).saturating_sub(4)].to_owned(),
            }
        };
        let field = if random.u8(..8) == 0 { field.replace("ata", "\\u0061ta") } else { field.to_owned() };
        written.push(format!("\"{field}\": {value} "));
    }
    format!("{{{}}}", written.join(" ,"))
}

/// Parses some bytes; returns the id and the command, or the code of the error.
fn outcome<'a>(parser: &mut Parser, bytes: &'a mut [u8]) -> (Option<&'a str>, Outcome<Command<'a>>) {
    match parser.parse_v1(bytes) {
        Ok(request) => (request.id, Ok(request.command)),
        Err(rejection) => (rejection.id, Err(rejection.error.code())),
    }
}

#[test]
fn half_pairs_and_huge_numbers_are_read_as_their_replacements() {
    let mut random = fastrand::Rng::with_seed(4);
    let (mut parser, mut changed) = (Parser::default(), 0);
    for _ in 0..20_000 {
        let soft = random_command(&mut random).replace(r"\u00e9", r"\ufffd").replace("[]", "1.5");
        let halves = [r"\ud83d", r"\uDFFF", r"\udc00"];
        let half = halves[random.usize(..halves.len())];
        let huge = ["1e400", "-1E+309", "18446744073709551616", "-9223372036854775809"];
        let huge = huge[random.usize(..huge.len())];
        let hard = soft.replace(r"\ufffd", half).replace("1.5", huge);
        changed += usize::from(soft != hard);
        let (mut soft, mut bytes) = (soft.into_bytes(), hard.clone().into_bytes());
        let expected = outcome(&mut parser, &mut soft);
        assert_eq!(outcome(&mut parser, &mut bytes), expected, "{hard}");
    }
    assert!(changed > 4_000, "only {changed}: the test says little");
}

#[test]
fn random_commands_have_the_same_outcome_as_with_the_reference() {
    let mut random = fastrand::Rng::with_seed(2);
    let mut parser = Parser::default();
    let (mut accepted, mut refused, mut carried) = (0, 0, 0);
    for _ in 0..20_000 {
        let (text, times) = (random_command(&mut random), random.usize(..4).saturating_sub(1));
        let bytes = spoiled(text, times, &mut random);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let mut copy = bytes.clone();
        let ours = outcome(&mut parser, &mut copy);
        match serde_json::from_slice::<Json>(&bytes) {
            // The reference refuses what RFC 8259 allows, such as half a surrogate pair.
            Err(_) if is_json(&bytes) => assert_ne!(ours.1, Err("invalid_json"), "{shown}"),
            Err(_) => assert_eq!(ours, (None, Err("invalid_json")), "{shown}"),
            Ok(value) if !value.is_object() => assert_eq!(ours, (None, Err("invalid_message")), "{shown}"),
            Ok(_) => {
                let Pairs(pairs) = serde_json::from_slice(&bytes).expect("an object");
                let rules = ReferenceRules(&pairs);
                let expected = rules.command();
                *if expected.is_ok() { &mut accepted } else { &mut refused } += 1;
                let is_good = expected.is_ok();
                assert_eq!(ours, (rules.id().unwrap_or_default(), expected), "{shown}");
                if is_good {
                    let data = parser.parse_v1(&mut bytes.clone()).ok().and_then(|request| request.data);
                    assert!(data.as_ref().is_none_or(|data| shown.contains(&**data)), "{shown}");
                    let data = data.map(|data| serde_json::from_str::<Json>(&data).expect("JSON"));
                    carried += usize::from(data.is_some());
                    assert_eq!(
                        data,
                        rules.get("data", |value| Some(value.clone())).expect("a value"),
                        "{shown}"
                    );
                }
            }
        }
    }
    let counts = [accepted, refused, carried];
    assert!(counts.iter().all(|count| *count > 3_000), "{counts:?}: the test says little");
}
