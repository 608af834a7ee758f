//! A panic in the server's own code ends one connection only. Needs a build with fault injection.
#![cfg(feature = "fault-injection")]

use crate::support::eventually;
use crate::support::frame::text;
use crate::support::raw::Socket;
use crate::support::server::Server;

/// Texts that make the server panic: in an endpoint, and in the turn of a connection.
const PANICS: [&str; 2] = ["throng:panic", "throng:panic:turn"];

#[test]
fn a_panic_costs_its_connection_alone() {
    // With one worker, the connections that survive share the thread of the one that panicked.
    let server = Server::start(&[("workers", "1")]);
    let mut others: Vec<_> = ["/ws", "/ws?raw"].map(|path| Socket::open(server.address(), path)).into();
    for round in 0..10 {
        let mut socket = Socket::open(server.address(), "/ws");
        socket.send(text(PANICS[round % 2]));
        assert_eq!(socket.read_close(), (1011, "Internal error".to_owned()), "round {round}");
        socket.expect_eof();
        for other in &mut others {
            other.send(text("alive"));
            assert!(other.read_text().ends_with("alive"));
        }
    }
    eventually("their registrations are undone", || server.connections() == 2.0);
    assert_eq!(server.metric("throng_closes_total", "\"1011\"") as usize, 10);
    let loud = server.log().count(|line| line["level"] == "ERROR");
    assert!(loud >= 10, "a bug of ours is an error in the log: {}", server.log().text());
}
