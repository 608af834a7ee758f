//! Measures the checks of the opening handshake, with a request as a browser sends it.

use std::hint::black_box;

use criterion::Criterion;
use hyper::Request;

use throng::testing::http::upgrade;

use crate::support::clock::CpuTime;

/// The headers that a browser sends: those of RFC 6455 and its own.
const HEADERS: [(&str, &str); 12] = [
    ("host", "chat.example.org"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "*/*"),
    ("accept-language", "en-GB,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("origin", "https://chat.example.org"),
    ("cache-control", "no-cache"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-protocol", "throng.v1, echo"),
    ("connection", "keep-alive, Upgrade"),
    ("upgrade", "websocket"),
];

pub(crate) fn all(criterion: &mut Criterion<CpuTime>) {
    let builder = Request::builder().uri("/ws/chat/user-12345?room=lobby");
    let builder = HEADERS.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
    let request = builder.body(()).expect("a request");
    let mut group = criterion.benchmark_group("handshake");
    group.bench_function("check", |bencher| {
        bencher.iter(|| upgrade::check(black_box(&request)).expect("a correct handshake").accept);
    });
    group.bench_function("check, select and make the 101", |bencher| {
        bencher.iter(|| {
            let handshake = upgrade::check(black_box(&request)).expect("a correct handshake");
            let subprotocol = upgrade::select(&["echo"], &handshake.offered);
            upgrade::switching_protocols(&handshake.accept, subprotocol, None)
        });
    });
    group.finish();
}
