//! Fuzzes the parser of throng.v1 commands: it never panics, accepts only JSON, and keeps no state between commands.

#![no_main]

use std::cell::RefCell;

use serde_json::error::Category;
use throng::testing::protocol::command::{Command, Parser};
use throng::testing::protocol::event::CommandError;

thread_local! {
    /// A parser that has parsed every earlier input.
    static USED: RefCell<Parser> = RefCell::default();
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (mut once, mut again) = (input.to_vec(), input.to_vec());
    let mut fresh = Parser::default();
    let parsed = fresh.parse_v1(&mut once);
    USED.with_borrow_mut(|used| assert_eq!(used.parse_v1(&mut again), parsed, "the same from a used parser"));

    let judged = serde_json::from_slice::<serde_json::Value>(input);
    // Excludes errors that come from serde_json's own limits, such as depth and numbers beyond f64.
    let is_no_json = judged.as_ref().is_err_and(|error| {
        matches!(error.classify(), Category::Syntax | Category::Eof)
            && !["recursion", "out of range", "surrogate", "hex escape"]
                .iter()
                .any(|it| error.to_string().contains(it))
    });
    if is_no_json {
        assert!(parsed.is_err(), "no JSON ({judged:?}), and yet {parsed:?}");
    }
    // The parser accepts up to 16 levels of nesting.
    let is_shallow = input.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() < 16;
    if judged.is_ok() && is_shallow {
        let is_refused = matches!(&parsed, Err(rejection) if rejection.error == CommandError::InvalidJson);
        assert!(!is_refused, "JSON, and yet it is called invalid");
    }
    // The parsed text and id are those of the JSON.
    if let (Ok(request), Ok(serde_json::Value::Object(object))) = (&parsed, &judged) {
        if let Command::Message { text, .. } = request.command {
            assert_eq!(object.get("message").and_then(|it| it.as_str()), Some(text));
        }
        assert_eq!(object.get("id").and_then(|it| it.as_str()), request.id);
        // The data stands in the input as it is, and is the value of the field.
        let data = request.data.as_deref();
        assert_eq!(object.get("data").is_some(), data.is_some(), "found by the parser and by the search alike");
        if let Some(data) = data {
            assert!(input.windows(data.len()).any(|part| part == data.as_bytes()));
            assert_eq!(serde_json::from_str(data).ok().as_ref(), object.get("data"));
        }
    }
});
