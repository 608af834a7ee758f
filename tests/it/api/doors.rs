//! The API at an address of its own.

use std::net::SocketAddr;

use serde_json::Value;

use super::{KEY, start, with};
use crate::support::http::{get, post};
use crate::support::raw::{Socket, handshake};
use crate::support::server::Server;

/// Returns the address of `api.listen`, which the log names.
#[track_caller]
fn operators(server: &Server) -> SocketAddr {
    let is_it = |line: &Value| line["message"] == "listening for operators and backends";
    let line = server.log().wait_for("the other address", is_it);
    line["address"].as_str().and_then(|address| address.parse().ok()).expect("an address")
}

/// 1. With `api.listen`, operators and backends have an address of their own.
/// 2. Each address serves its part, and says of the other's paths that there are none.
#[test]
fn an_address_of_its_own_serves_the_api_and_nothing_else_does() {
    let server = start(&[("api.listen", "127.0.0.1:0")]);
    let operators = operators(&server);
    let clients = server.addresses()[0];
    assert_ne!(clients, operators);
    let body = "{\"room\":\"a\",\"message\":\"hi\"}";
    assert_eq!(post(operators, "/api/publish", &with(""), body).status, 200);
    assert_eq!(post(clients, "/api/publish", &with(""), body).status, 404);
    for path in ["/metrics", "/dashboard"] {
        assert_eq!((get(operators, path).status, get(clients, path).status), (200, 404), "{path}");
    }
    for path in ["/healthz", "/readyz", "/client.js"] {
        assert_eq!((get(operators, path).status, get(clients, path).status), (200, 200), "{path}");
    }
    assert_eq!((get(operators, "/").status, get(clients, "/").status), (404, 200));
    let mut socket = Socket::connect(operators);
    socket.send(handshake("/ws/chat/alice", ""));
    assert_eq!(socket.read_response().status, 404);
    Socket::open(clients, "/ws/chat/alice?room=a").read_text();
    let log = server.log().text();
    assert!(log.contains(&format!("http://{operators}/dashboard")) && !log.contains(KEY), "{log}");
}

/// The address of the clients is at its limit, and operators are let in.
#[test]
fn a_crowd_of_clients_does_not_keep_operators_out() {
    let server = start(&[("api.listen", "127.0.0.1:0"), ("limits.max_handshakes", "4")]);
    let operators = operators(&server);
    let _held: Vec<_> = (0..40).map(|_| Socket::connect(server.addresses()[0])).collect();
    for _ in 0..10 {
        let response = post(operators, "/api/rooms", &with(""), "{}");
        assert_eq!(response.status, 200, "{response:?}");
    }
}
