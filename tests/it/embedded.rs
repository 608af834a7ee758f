//! A server inside another program, which loads a configuration and does not know the machine.

use std::thread;

use throng::config::{Config, Sources};
use throng::{Server, StopReason};
use tokio::sync::oneshot;

use crate::support::raw::Socket;

#[test]
fn settings_that_depend_on_the_machine_are_filled_in_even_if_some_are_set() {
    let settings = ["listen=127.0.0.1:0", "workers=2", "drain.window=0ms"];
    let sources = settings.into_iter().fold(Sources::new(), Sources::set);
    let server = Server::bind(Config::load(sources).expect("good settings")).expect("a port is free");
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let running = thread::spawn(move || server.run(async { stopped.await.unwrap_or(StopReason::GoingAway) }));

    // Without `limits.max_connections` the handshake would be refused.
    let mut socket = Socket::open(address, "/ws/chat/ann");
    assert!(socket.read_text().contains("ann"), "the chat greets its member");
    stop.send(StopReason::Restarting).expect("the server runs");
    assert_eq!(socket.read_close().0, 1012);
    running.join().expect("the server does not panic").expect("it runs to its end");
}
