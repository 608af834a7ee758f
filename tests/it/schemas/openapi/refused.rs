//! Requests that are refused for reasons that have nothing to do with their fields.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::request::Request;
use super::witness::{KEY, READ_KEY, Witness, start};
use crate::support::eventually;
use crate::support::raw::Socket;

/// Most bytes of a body, where the test sets a limit.
const MAX_BODY: usize = 4096;

/// Lets each call be refused for each reason that has nothing to do with its fields.
pub(super) fn refusals(witness: &mut Witness) {
    let max_body = MAX_BODY.to_string();
    let server = start(&[("limits.max_request_body", &max_body)]);
    let address = server.addresses()[0];
    let impatient = start(&[("limits.handshake_timeout", "1s")]);
    let mut late = Vec::new();
    for request in witness.samples() {
        let mut check = |request: &Request, status, code| {
            drop(witness.check(request, &request.send(address), status, code));
        };
        check(&request.clone().without("X-API-Key"), 401, "api_key");
        check(&request.clone().with("Origin: http://other.test"), 403, "origin");
        check(&request.clone().without("Host"), 400, "malformed");
        let Some(body) = &request.body else {
            let sign = if request.target.contains('?') { '&' } else { '?' };
            let more = Request { target: format!("{}{sign}one_more=1", request.target), ..request };
            check(&more, 400, "unknown_field");
            continue;
        };
        check(&request.clone().without("Content-Type").with("Content-Type: text/plain"), 415, "content_type");
        let mut more: Value = serde_json::from_str(body).expect("JSON");
        more["one_more"] = json!(1);
        check(&Request { body: Some(more.to_string()), ..request.clone() }, 400, "unknown_field");
        check(&Request { body: Some("{".into()), ..request.clone() }, 400, "invalid_json");
        let large = format!("{body}{}", " ".repeat(MAX_BODY));
        check(&Request { body: Some(large), ..request.clone() }, 413, "body_too_large");
        let reads = request.clone().without("X-API-Key").with(&format!("X-API-Key: {READ_KEY}"));
        let only_reads =
            witness.document.at(&request.operation(&witness.document).pointer())["tags"][0] == "questions";
        if !only_reads {
            witness.check(&reads, &reads.send(address), 403, "read_only_key");
        }
        let mut socket = Socket::connect(impatient.addresses()[0]);
        socket.send(request.head() + &body[..1]);
        late.push((request, socket));
    }
    for (request, mut socket) in late {
        witness.check(&request, &socket.read_response(), 408, "timeout");
    }
}

/// Asks for what the document does not have.
pub(super) fn others(witness: &Witness) {
    let server = start(&[]);
    let key = Request::new("put", "", None, KEY);
    for operation in witness.document.operations() {
        let target = operation.path.replace("{room}", "lobby").replace("{user}", "alice");
        let response = Request { target, ..key.clone() }.send(server.address());
        let faults = witness.document.faults_of_response("/x-other-requests/405", &response);
        assert_eq!((response.status, faults), (405, Vec::new()), "{response:?}");
    }
    for target in ["/api/nothing", "/api/slow", "/api/rooms/lobby/nothing"] {
        let response = Request::new("get", target, None, KEY).send(server.address());
        let faults = witness.document.faults_of_response("/x-other-requests/404", &response);
        assert_eq!((response.status, faults), (404, Vec::new()), "{response:?}");
    }
}

/// Lets each call be refused by a server that has too much to do, or something else.
pub(super) fn limits(witness: &mut Witness) {
    let samples = witness.samples();
    let hurried = start(&[("api.requests_per_second", "1")]);
    let elsewhere = start(&[("api.listen", "127.0.0.1:0")]);
    let stopping = start(&[("drain.window", "60s")]);
    let _held: Vec<_> = (0..20).map(|_| Socket::open(stopping.address(), "/ws")).collect();
    stopping.terminate();
    eventually("not ready any more", || stopping.get("/readyz").status == 503);
    for request in &samples {
        let mut response = None;
        eventually("the calls of a second are used up", || {
            let answer = request.send(hurried.addresses()[0]);
            let is_refused = answer.status == 429;
            response = Some(answer);
            is_refused
        });
        witness.check(request, &response.expect("an answer"), 429, "rate_limited");
        witness.check(request, &request.send(elsewhere.addresses()[0]), 404, "unknown_path");
        witness.check(request, &request.send(stopping.addresses()[0]), 503, "draining");
    }
    let publish = |room: &str| {
        let body = json!({"room": room, "message": "hi"}).to_string();
        Request::new("post", "/api/publish", Some(body), KEY)
    };
    let held = |address: SocketAddr| {
        let mut socket = Socket::connect(address);
        socket.send(publish("a").head() + "{");
        socket
    };
    let busy = start(&[("api.max_in_flight", "1")]);
    until_refused(witness, &publish("a"), busy.addresses()[0], held, (503, "at_capacity"));
    let full = start(&[("limits.max_rooms", "1")]);
    let mut alice = Socket::open(full.addresses()[0], "/ws/chat/alice?room=a");
    alice.read_text();
    let request = publish("b");
    witness.check(&request, &request.send(full.addresses()[0]), 503, "unavailable");
}

/// Sends a request until it is refused with this status and code, with ever more connections that hold a place.
#[track_caller]
fn until_refused(
    witness: &mut Witness,
    request: &Request,
    address: SocketAddr,
    hold: impl Fn(SocketAddr) -> Socket,
    (status, code): (u16, &str),
) {
    let (mut held, mut response) = (Vec::new(), None);
    eventually(code, || {
        held.push(hold(address));
        let answer = request.send(address);
        let is_refused = answer.status == status;
        response = Some(answer);
        is_refused
    });
    witness.check(request, &response.expect("an answer"), status, code);
}
