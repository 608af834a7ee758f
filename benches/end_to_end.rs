//! Measures messages over loopback: the server runs with one worker in this process, the clients on this thread. The
//! times include the clients' work and are mostly spent in the kernel.

use std::net::SocketAddr;
use std::time::Instant;

use criterion::Criterion;

use throng::Server;

use crate::support::raw::{Client, command};
use crate::support::{config, per_part};

/// Characters of each message.
const TEXT: usize = 100;
/// Messages in flight at once in the bench that sends several.
const WINDOW: usize = 32;

/// Starts a server with additional settings, which runs until the process ends.
pub(crate) fn serve(more: &[&str]) -> SocketAddr {
    let settings = ["rate_limit.enabled=false", "presence.notice_limit=1", "history.messages=256"];
    let server = Server::bind(config(&[&settings, more].concat())).expect("a free port");
    let address = server.local_addr().expect("an IP address");
    std::thread::spawn(move || server.run(std::future::pending()));
    address
}

/// A room, whose first member publishes.
struct Room {
    clients: Vec<Client>,
    /// The messages that the first client sends in one write.
    burst: Vec<u8>,
    messages: usize,
}

impl Room {
    fn new(address: SocketAddr, members: usize, messages: usize) -> Self {
        let path = |number| format!("/ws/chat/user-{members}-{messages}-{number}?room=r{members}-{messages}");
        let clients = (0..members).map(|number| Client::connect(address, &path(number))).collect();
        Self { clients, burst: command(&"m".repeat(TEXT)).repeat(messages), messages }
    }

    /// Publishes the messages and waits until every member has read all of them.
    fn turn(&mut self) {
        self.clients[0].write(&self.burst);
        for client in &mut self.clients {
            client.read(self.messages);
        }
    }
}

pub(crate) fn all(criterion: &mut Criterion) {
    let mut address = None;
    let mut group = criterion.benchmark_group("end to end");
    for (name, members) in [("a message and its echo", 1), ("a message to 100 members", 100)] {
        let mut room = None;
        group.bench_function(name, |bencher| {
            let room =
                room.get_or_insert_with(|| Room::new(*address.get_or_insert_with(|| serve(&[])), members, 1));
            bencher.iter(|| room.turn());
        });
    }
    let mut room = None;
    per_part(&mut group, "32 messages to 100 members, of one delivery", 100 * WINDOW, |times| {
        let room =
            room.get_or_insert_with(|| Room::new(*address.get_or_insert_with(|| serve(&[])), 100, WINDOW));
        let began = Instant::now();
        (0..times).for_each(|_| room.turn());
        began.elapsed()
    });
    group.finish();
}
