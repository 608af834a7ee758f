//! Tests of the commands of `throng.v1`, by table.

use super::*;
use crate::protocol::command::Parser;

fn invalid(why: &'static str) -> CommandError {
    CommandError::InvalidMessage(why)
}

#[track_caller]
fn accepts(json: &str, id: Option<&str>, command: Command<'_>) {
    let mut bytes = json.as_bytes().to_vec();
    assert_eq!(Parser::default().parse_v1(&mut bytes), Ok(Request { id, command, data: None }), "{json}");
}

#[track_caller]
fn refuses(json: &str, id: Option<&str>, error: CommandError) {
    let mut bytes = json.as_bytes().to_vec();
    let shown = &json[..json.floor_char_boundary(80)];
    assert_eq!(Parser::default().parse_v1(&mut bytes), Err(Rejection { id, error }), "{shown}");
}

#[test]
fn every_command_has_its_short_and_its_long_form() {
    let text = "hi";
    let short = Command::Message { room: None, text, key: None, echo: true };
    accepts(r#"{"type":"message","message":"hi"}"#, None, short);
    let long = Command::Message { room: Some("den"), text, key: Some("k"), echo: false };
    let json = r#"{"echo":false,"key":"k","message":"hi","room":"den","id":"1","type":"message","x":[null]}"#;
    accepts(json, Some("1"), long);
    let direct = |key| Command::Direct { to: "bob", text, key };
    accepts(r#"{"type":"direct","to":"bob","message":"hi"}"#, None, direct(None));
    accepts(r#"{"type":"direct","to":"bob","message":"hi","key":"k"}"#, None, direct(Some("k")));
    let room = "den";
    accepts(r#"{"type":"join","room":"den"}"#, None, Command::Join { room, resume: None });
    let resume = Some(Resume { epoch: "e", offset: u64::MAX });
    let json = r#"{"type":"join","room":"den","resume":{"offset":18446744073709551615,"y":{},"epoch":"e"}}"#;
    accepts(json, None, Command::Join { room, resume });
    accepts(r#"{"type":"leave","room":"den"}"#, None, Command::Leave { room });
    let short = Command::History { room, epoch: None, before: None, limit: None };
    accepts(r#"{"type":"history","room":"den"}"#, None, short);
    let long = Command::History { room, epoch: Some("e"), before: Some(0), limit: Some(100) };
    accepts(r#"{"type":"history","room":"den","epoch":"e","before":0,"limit":100}"#, None, long);
    let short = Command::Presence { room, after: None, limit: None };
    accepts(r#"{"type":"presence","room":"den"}"#, None, short);
    let long = Command::Presence { room, after: Some("bob"), limit: Some(1000) };
    accepts(r#"{"type":"presence","room":"den","after":"bob","limit":1000}"#, None, long);
    accepts(r#"{"type":"typing","room":"den"}"#, None, Command::Typing { room });
    accepts(r#"{"type":"token","token":"a.b.c"}"#, None, Command::Token { token: TokenText("a.b.c") });
    assert!(!format!("{:?}", TokenText("canary")).contains("canary"));
    accepts(r#"{"type":"heartbeat_ack"}"#, None, Command::HeartbeatAck);
    accepts(r#"{"type":"ping","id":""}"#, Some(""), Command::Ping);
}

#[test]
fn fields_of_other_commands_are_ignored() {
    accepts(r#"{"type":"ping","room":5,"limit":null,"resume":[],"echo":"?"}"#, None, Command::Ping);
    accepts(r#"{"type":"ping","resume":{"epoch":1,"epoch":2}}"#, None, Command::Ping);
    accepts(r#"{"typ":1,"typ":2,"t\u0079pe":"ping"}"#, None, Command::Ping);
}

#[test]
fn a_field_that_is_missing_is_named() {
    for (json, field) in [
        ("{}", "type"),
        (r#"{"message":"hi"}"#, "type"),
        (r#"{"type":"message","text":"hi"}"#, "message"),
        (r#"{"type":"direct","message":"hi"}"#, "to"),
        (r#"{"type":"direct","to":"bob"}"#, "message"),
        (r#"{"type":"join"}"#, "room"),
        (r#"{"type":"join","room":"den","resume":{}}"#, "resume.epoch"),
        (r#"{"type":"join","room":"den","resume":{"epoch":"e"}}"#, "resume.offset"),
        (r#"{"type":"leave"}"#, "room"),
        (r#"{"type":"history"}"#, "room"),
        (r#"{"type":"presence"}"#, "room"),
        (r#"{"type":"typing"}"#, "room"),
        (r#"{"type":"token"}"#, "token"),
    ] {
        refuses(json, None, CommandError::MissingField(field));
        let with_id = json.replacen('{', r#"{"id":"7","#, 1).replace(",}", "}");
        refuses(&with_id, Some("7"), CommandError::MissingField(field));
    }
    refuses(r#"{"id":"7","type":"shout"}"#, Some("7"), CommandError::UnknownType);
    refuses(r#"{"type":"Message","message":"hi"}"#, None, CommandError::UnknownType);
    refuses(r#"{"type":"","id":"ü"}"#, Some("ü"), CommandError::UnknownType);
}

#[test]
fn a_field_of_another_type_is_refused_and_null_is_no_way_to_leave_it_out() {
    let string = r#"{"type":"message","message":"hi""#;
    let join = r#"{"type":"join","room":"den""#;
    let history = r#"{"type":"history","room":"den""#;
    let presence = r#"{"type":"presence","room":"den""#;
    let direct = r#"{"type":"direct","message":"hi""#;
    let number = "'before' must be a whole number from 0 to 18446744073709551615";
    let history_limit = "'limit' must be a whole number from 1 to 100";
    let presence_limit = "'limit' must be a whole number from 1 to 1000";
    let key = "'key' must be a string of 1 to 64 characters";
    let not_text = ["null", "1", "-1", "1.5", "true", "[]", r#"["a"]"#, "{}", r#"{"a":[1]}"#];
    let huge = ["18446744073709551616", "1e400", "-1e400"];
    let not_whole = ["null", r#""1""#, "-1", "-0", "1.5", "1.0", "1e3", "true", "[1]", "{}"];
    let not_whole = [&not_whole[..], &huge].concat();
    let not_flag = ["null", r#""true""#, "1", "[true]", "{}"];
    let not_object = ["null", r#""e:1""#, "1", "true", r#"["e",1]"#];
    let rows: &[(&str, &str, &[&str], &'static str)] = &[
        (r#"{"id":"7""#, "type", &not_text, "'type' must be a string"),
        (r#"{"type":"message""#, "message", &not_text, "'message' must be a string"),
        (string, "room", &not_text, "'room' must be a string"),
        (string, "key", &not_text, key),
        (string, "key", &[r#""""#], key),
        (string, "echo", &not_flag, "'echo' must be true or false"),
        (direct, "to", &not_text, "'to' must be a string"),
        (join, "resume", &not_object, "'resume' must be an object"),
        (history, "epoch", &not_text, "'epoch' must be a string"),
        (history, "before", &not_whole, number),
        (history, "limit", &not_whole, history_limit),
        (history, "limit", &["0", "101", "18446744073709551615"], history_limit),
        (presence, "after", &not_text, "'after' must be a string"),
        (presence, "limit", &not_whole, presence_limit),
        (presence, "limit", &["0", "1001"], presence_limit),
    ];
    for (start, field, values, why) in rows {
        for value in *values {
            let id = if start.contains("id") { "" } else { r#","id":"7""# };
            refuses(&format!(r#"{start},"{field}":{value}{id}}}"#), Some("7"), invalid(why));
        }
    }
    for value in not_text {
        let json = format!(r#"{join},"resume":{{"offset":1,"epoch":{value}}}}}"#);
        refuses(&json, None, invalid("'resume.epoch' must be a string"));
    }
    for value in not_whole {
        let json = format!(r#"{join},"resume":{{"offset":{value},"epoch":"e"}}}}"#);
        refuses(
            &json,
            None,
            invalid("'resume.offset' must be a whole number from 0 to 18446744073709551615"),
        );
    }
    let no_array = r#"["message",null,null,"hi"]"#;
    refuses(no_array, None, invalid("must be an object"));
}

#[test]
fn an_id_and_a_key_are_counted_in_characters() {
    let longest = "ü".repeat(64);
    accepts(&format!(r#"{{"type":"ping","id":"{longest}"}}"#), Some(&longest), Command::Ping);
    let with_key = |key: &str| format!(r#"{{"type":"message","message":"","key":"{key}","id":"7"}}"#);
    let command = Command::Message { room: None, text: "", key: Some(&longest), echo: true };
    accepts(&with_key(&longest), Some("7"), command);
    let why = "'key' must be a string of 1 to 64 characters";
    refuses(&with_key(&format!("{longest}x")), Some("7"), invalid(why));
    let why = "'id' must be a string of at most 64 characters";
    for id in
        ["null", "7", "[]", "{}", "true", &format!("\"{}\"", "x".repeat(65)), &format!("\"{longest}x\"")]
    {
        refuses(&format!(r#"{{"type":"ping","id":{id}}}"#), None, invalid(why));
        // An invalid id is reported before anything else, because the reply has no `re`.
        refuses(&format!(r#"{{"type":"shout","id":{id}}}"#), None, invalid(why));
    }
}

#[test]
fn a_second_field_is_refused_and_the_reply_still_names_the_command() {
    for field in
        ["type", "room", "message", "key", "echo", "to", "resume", "epoch", "before", "after", "limit"]
    {
        // This holds also for fields that `ping` does not have, and comes before other errors.
        let twice = format!(r#"{{"{field}":"ping","id":"7","{field}":"ping","type":"ping"}}"#);
        refuses(&twice, Some("7"), FIELD_TWICE);
    }
    refuses(r#"{"type":"ping","id":"7","id":"7"}"#, None, FIELD_TWICE);
    let three = r#"{"type":"ping","id":"7","type":"ping","type":"ping"}"#;
    refuses(three, Some("7"), FIELD_TWICE);
    for position in [r#""epoch":"e","epoch":"e","offset":1"#, r#""epoch":"e","offset":1,"offset":1"#] {
        let json = format!(r#"{{"type":"join","room":"den","id":"7","resume":{{{position}}}}}"#);
        refuses(&json, Some("7"), FIELD_TWICE);
    }
}

#[test]
fn half_a_surrogate_pair_is_a_replacement_character_and_the_command_goes_on() {
    let command = |text| Command::Message { room: None, text, key: None, echo: true };
    accepts(r#"{"type":"message","message":"\ud83d","id":"s"}"#, Some("s"), command("\u{fffd}"));
    let json = r#"{"id":"\udc00","type":"message","message":"\ud83d\ude00\ud83d\"","\ud800":"\udfff"}"#;
    accepts(json, Some("\u{fffd}"), command("\u{1f600}\u{fffd}\""));
    refuses(r#"{"type":"pi\ud800ng","id":"7"}"#, Some("7"), CommandError::UnknownType);
}

#[test]
fn a_number_beyond_every_range_is_ignored_where_it_says_nothing() {
    for huge in ["1e400", "-1e400", "18446744073709551616", &"9".repeat(400)] {
        accepts(&format!(r#"{{"type":"ping","id":"7","x":{huge}}}"#), Some("7"), Command::Ping);
        accepts(&format!(r#"{{"type":"ping","before":{huge},"y":"\n"}}"#), None, Command::Ping);
        accepts(&format!(r#"{{"x":[{{"y":{huge}}}],"type":"ping"}}"#), None, Command::Ping);
    }
}

#[test]
fn invalid_json_has_no_id() {
    let bomb = format!(r#"{{"type":"ping","id":"7","x":{}"#, "[".repeat(60_000));
    let deep = format!(r#"{{"type":"ping","id":"7","x":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    let deep_resume = format!(
        r#"{{"type":"join","room":"r","resume":{{"epoch":{}1{}}}}}"#,
        r#"{"a":"#.repeat(20),
        "}".repeat(20)
    );
    for json in [
        "",
        "ping",
        r#"{"type":"ping""#,
        r#"{"type":"ping"}}"#,
        r#"{"type":"ping"} {"type":"ping"}"#,
        "{\"type\":\"pi\nng\"}",
        "{'type':'ping'}",
        &bomb,
        &deep,
        &deep_resume,
    ] {
        refuses(json, None, CommandError::InvalidJson);
    }
    for json in ["null", "12", "\"ping\"", "[]", r#"[{"type":"ping"}]"#] {
        refuses(json, None, invalid("must be an object"));
    }
    let mut bytes = b"{\"type\":\"ping\xff\"}".to_vec();
    let error = CommandError::InvalidJson;
    assert_eq!(Parser::default().parse_v1(&mut bytes), Err(Rejection { id: None, error }));
}

#[test]
fn a_position_in_an_address_is_an_epoch_and_a_number() {
    let position = |epoch, offset| Some(Resume { epoch, offset });
    assert_eq!(Resume::from_query("5q01ku2n3d503:12"), position("5q01ku2n3d503", 12));
    assert_eq!(Resume::from_query("a:b:0"), position("a:b", 0));
    assert_eq!(Resume::from_query("e:18446744073709551615"), position("e", u64::MAX));
    for bad in ["", "e", "e:", "e:x", "e:+1", "e:-1", "e:1.0", "e: 1", "e:18446744073709551616"] {
        assert_eq!(Resume::from_query(bad), None, "{bad:?}");
    }
}
