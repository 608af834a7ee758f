//! Commands of throng.v1: no bytes make the parser panic, what it takes is JSON, and it remembers nothing.

#![no_main]

use std::cell::RefCell;

use serde_json::error::Category;
use throng::protocol::command::{Command, Parser};
use throng::protocol::event::CommandError;

thread_local! {
    /// Has parsed everything that came before.
    static USED: RefCell<Parser> = RefCell::default();
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (mut once, mut again) = (input.to_vec(), input.to_vec());
    let mut fresh = Parser::default();
    let parsed = fresh.parse_v1(&mut once);
    USED.with_borrow_mut(|used| assert_eq!(used.parse_v1(&mut again), parsed, "the same from a used parser"));

    let judged = serde_json::from_slice::<serde_json::Value>(input);
    // serde_json's own limits: depth, and numbers beyond f64. These are no question of syntax.
    let is_no_json = judged.as_ref().is_err_and(|error| {
        matches!(error.classify(), Category::Syntax | Category::Eof)
            && !["recursion", "out of range", "surrogate", "hex escape"]
                .iter()
                .any(|it| error.to_string().contains(it))
    });
    if is_no_json {
        assert!(parsed.is_err(), "no JSON ({judged:?}), and yet {parsed:?}");
    }
    // 16 levels are what is parsed, deeper ones are refused.
    let is_shallow = input.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() < 16;
    if judged.is_ok() && is_shallow {
        let is_refused = matches!(&parsed, Err(rejection) if rejection.error == CommandError::InvalidJson);
        assert!(!is_refused, "JSON, and yet it is called invalid");
    }
    // The text of a message is the one that was sent.
    if let (Ok(request), Ok(serde_json::Value::Object(object))) = (&parsed, &judged) {
        if let Command::Message { text, .. } = request.command {
            assert_eq!(object.get("message").and_then(|it| it.as_str()), Some(text));
        }
        assert_eq!(object.get("id").and_then(|it| it.as_str()), request.id);
    }
});
