//! Measures the protocol: parsing commands with simd-json, as the server does, and with serde_json; encoding events.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use serde::Deserialize;

use throng::names::{Epoch, Offset, RoomName, UserId};
use throng::testing::protocol::command::{Field, Parser};
use throng::testing::protocol::event;

use crate::support::clock::CpuTime;
use crate::support::name;

/// The fields that serde_json parses, as a program without simd-json would declare them.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    message: std::borrow::Cow<'a, str>,
}

/// Lengths of the commands, in bytes.
const LENGTHS: [usize; 4] = [60, 200, 1_000, 16_000];

/// Returns a command of exactly `len` bytes.
fn command(len: usize, pattern: &str) -> Vec<u8> {
    let (head, tail) = (r#"{"type":"message","message":""#, r#""}"#);
    let room = len - head.len() - tail.len();
    let mut text = pattern.repeat(room / pattern.len());
    text.push_str(&"m".repeat(room - text.len()));
    [head, &text, tail].concat().into_bytes()
}

pub(crate) fn all(criterion: &mut Criterion<CpuTime>) {
    parsing(criterion);
    encoding(criterion);
}

/// Measures both parsers on a fresh copy of the command. simd-json needs the copy because it parses in place; the
/// server needs no copy, because it parses the unmasked payload.
fn parsing(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("parse a command");
    let plain = LENGTHS.map(|len| (format!("{len} bytes"), command(len, "m")));
    let escaped = [("1000 bytes, escapes and umlauts".to_owned(), command(1_000, r#"\"grüß\n\" "#))];
    for (what, payload) in plain.iter().chain(&escaped) {
        let mut copy = Vec::with_capacity(payload.len() + 64);
        let mut parser = Parser::default();
        group.bench_function(BenchmarkId::new("simd-json", what), |bencher| {
            bencher.iter(|| {
                copy.clear();
                copy.extend_from_slice(payload);
                let fields = parser.parse(&mut copy).expect("a command");
                assert!(matches!(black_box(fields.message), Field::Text(_)));
            });
        });
        group.bench_function(BenchmarkId::new("serde_json", what), |bencher| {
            bencher.iter(|| {
                copy.clear();
                copy.extend_from_slice(payload);
                let fields: Fields<'_> = serde_json::from_slice(&copy).expect("a command");
                black_box(fields.message.len())
            });
        });
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("encode a message");
    let (user, room): (UserId, RoomName) = (name("user-12345"), name("lobby"));
    let epoch = Epoch::random();
    for (what, text) in [
        ("20 characters", "m".repeat(20)),
        ("100 characters", "m".repeat(100)),
        ("1000 characters", "m".repeat(1000)),
        ("1000 bytes, escapes and umlauts", "\"grüß\n\" ".repeat(100)),
    ] {
        group.bench_function(what, |bencher| {
            let encode = || event::message(&user, &text, &room, epoch, Offset(123_456), 1_790_000_000_000);
            bencher.iter(encode);
        });
    }
    group.finish();
}
