//! Replies that no script returns.

use proptest::prelude::*;

use super::super::{Lives, Reply, forget, page};
use super::*;

const EPOCH: &str = "0123456789abc";

fn bytes(text: &str) -> Reply {
    Reply::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

fn array(parts: &[&str]) -> Reply {
    Reply::Array(parts.iter().map(|part| bytes(part)).collect())
}

#[test]
fn the_reply_of_publish_is_read_strictly() {
    let duplicates = format!("0={EPOCH}:4,63={EPOCH}:9");
    let lives = format!("{EPOCH}=0,{EPOCH}=17");
    let good = [EPOCH, "5", "6", &duplicates, &lives];
    let reply = publish::reply(&array(&good)).unwrap();
    let epoch: Epoch = EPOCH.parse().unwrap();
    assert_eq!(reply.duplicates, [(0, at(epoch, 4)), (63, at(epoch, 9))]);
    assert_eq!(reply.lives.0.as_slice(), [(epoch, Offset(0)), (epoch, Offset(17))]);
    assert!(publish::reply(&array(&[EPOCH, "5", "4", "", ""])).is_ok());
    assert!(publish::reply(&array(&[EPOCH, "5", "68", "", ""])).is_ok());

    let nine = vec![format!("{EPOCH}=1"); 9].join(",");
    let bad_duplicates = ["x", "0=", "64=0123456789abc:1", "1=0123456789abc:0", "0=0123456789abc:1,"];
    let twice = format!("1={EPOCH}:1,1={EPOCH}:2");
    let bad =
        [(0, "short"), (1, "0"), (1, "+5"), (2, "3"), (2, "69"), (2, ""), (3, &twice), (4, &nine), (4, "x")];
    for (place, text) in bad.into_iter().chain(bad_duplicates.map(|text| (3, text))) {
        let mut parts = good;
        parts[place] = text;
        assert!(publish::reply(&array(&parts)).is_err(), "{parts:?}");
    }
    for other in [Reply::Nil, Reply::Int(1), bytes("OK"), array(&good[..4]), Reply::Map(vec![])] {
        assert!(publish::reply(&other).is_err(), "{other:?}");
    }
}

#[test]
fn the_reply_of_sync_is_read_strictly() {
    assert_eq!(sync::reply(&array(&[EPOCH, "0", ""])).unwrap().lives, Lives::default());
    for bad in
        [&["x", "0", ""][..], &[EPOCH, "-1", ""], &[EPOCH, "0", "x"], &[EPOCH, "0"], &[EPOCH, "0", "", ""]]
    {
        assert!(sync::reply(&array(bad)).is_err(), "{bad:?}");
    }
    assert!(forget::reply(&Reply::Int(-1)).is_err());
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let text = prop_oneof![
        Just(EPOCH.to_owned()),
        "[0-9]{0,21}",
        "[0-9]{1,2}=0123456789abc:[0-9]{1,3}",
        "0123456789abc=[0-9]{1,3}",
        "[0-9]{1,2}-0",
        ".{0,10}",
    ];
    let leaf = prop_oneof![
        Just(Reply::Nil),
        any::<i64>().prop_map(Reply::Int),
        text.prop_map(|text| bytes(&text)),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|raw| Reply::Bytes(raw.into())),
    ];
    leaf.prop_recursive(2, 20, 6, |inner| prop::collection::vec(inner, 0..6).prop_map(Reply::Array))
}

proptest! {
    #[test]
    fn no_reply_makes_the_reader_panic(reply in any_reply()) {
        let all_good = publish::reply(&reply).is_ok() && sync::reply(&reply).is_ok();
        prop_assert!(!all_good, "one reply cannot have five parts and three");
        let empty = Reply::Array(Vec::new());
        prop_assert!(page::reply(&reply).is_err() || reply == empty);
        prop_assert_eq!(forget::reply(&reply).is_ok(), matches!(reply, Reply::Int(0..)));
    }
}
