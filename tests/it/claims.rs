//! Claims of a user's name by strangers: they cannot hurt its holder, and answers that the server asks for cost no
//! tokens.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::support::frame::{CLOSE, Frame, PING, PONG, TEXT, close, text};
use crate::support::raw::{Ended, Socket, handshake};
use crate::support::server::{Server, Settings};
use crate::support::{PATIENCE, pause};

const REFUSED: &str = "throng_rate_limited_total";
const TAKEN: (u16, &str) = (1008, "User ID already in use");

/// Claims a user's name from one of the addresses of loopback; returns the close.
fn claim(server: &Server, user: &str, last: u8) -> (u16, String) {
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    let socket = Socket::connect_from(source, server.address());
    socket.upgraded(&format!("/ws/chat/{user}")).skip_to_close()
}

/// A client that answers pings after a delay, as over a slow link.
struct Holder {
    socket: Socket,
    delay: Duration,
    due: VecDeque<Instant>,
    pings: usize,
}

impl Holder {
    fn enter(server: &Server, user: &str, delay: Duration) -> Self {
        let socket = Socket::open(server.address(), &format!("/ws/chat/{user}"));
        Self { socket, delay, due: VecDeque::new(), pings: 0 }
    }

    /// Answers pings until `end`.
    fn live(&mut self, end: Instant) {
        while Instant::now() < end {
            match self.socket.try_frame(Duration::from_millis(10)) {
                Ok(frame) if frame.opcode == PING => {
                    self.pings += 1;
                    self.due.push_back(Instant::now() + self.delay);
                }
                Ok(frame) => assert_ne!(frame.opcode, CLOSE, "{:?}", frame.closing()),
                Err(ended) => assert_eq!(ended, Ended::Silent),
            }
            while self.due.pop_front_if(|at| *at <= Instant::now()).is_some() {
                self.socket.send(Frame::new(PONG, "").bytes());
            }
        }
    }
}

/// Regression: 1. A stranger claims `/ws/chat/victim` in a loop. 2. The server pinged the victim for each claim, and
/// each pong cost a token of the victim's. 3. After some strikes the victim got 4002, and the stranger had the name.
#[test]
fn a_storm_of_claims_costs_the_holder_nothing() {
    let server = Server::start(&[
        ("rate_limit.enabled", "true"),
        ("rate_limit.frames_per_second", "15"),
        // With more rooms, the bucket would hold a frame for each.
        ("limits.max_rooms_per_connection", "1"),
        ("rate_limit.burst", "15"),
        ("rate_limit.strikes", "5"),
    ]);
    let began = Instant::now();
    let end = began + Duration::from_secs(4);
    let mut near = Holder::enter(&server, "near", Duration::ZERO);
    let mut far = Holder::enter(&server, "far", Duration::from_millis(300));
    let (near, far, claims) = std::thread::scope(|scope| {
        let server = &server;
        let strangers = [("near", 10), ("near", 20), ("far", 30), ("far", 40)].map(|(user, first)| {
            scope.spawn(move || {
                let claims = (first..first + 8).cycle().take_while(|_| Instant::now() < end);
                claims
                    .map(|last| assert_eq!(claim(server, user, last), (TAKEN.0, TAKEN.1.to_owned())))
                    .count()
            })
        });
        let holders = [&mut near, &mut far].map(|holder| {
            // Longer than the strangers, because their last claim needs an answer.
            scope.spawn(move || {
                holder.live(end + Duration::from_secs(2));
                holder
            })
        });
        let claims = strangers.map(|stranger| stranger.join().expect("every claim is refused"));
        let [near, far] = holders.map(|holder| holder.join().expect("the holder keeps its name"));
        (near, far, claims.iter().sum::<usize>())
    });
    assert!(claims > 40, "{claims} claims are no storm");
    // One answer counts for all claims of the next second.
    let most = 2 + began.elapsed().as_secs() as usize;
    assert!(
        (1..=most).contains(&near.pings) && (1..=most).contains(&far.pings),
        "{} {}",
        near.pings,
        far.pings
    );
    assert_eq!(server.metric(REFUSED, ""), 0.0);
    for holder in [near, far] {
        holder.socket.send(text(r#"{"message":"still here"}"#));
        while !holder.socket.read_text().contains("still here") {}
    }
}

/// Regression: 1. A client sends a long message over a slow link. 2. A stranger claims its name. 3. The client cannot
/// answer the ping in the middle of the message, and after two seconds the stranger had the name.
#[test]
fn a_client_in_the_middle_of_a_long_message_keeps_its_name() {
    let server = Server::start(&[]);
    let mut holder = Socket::open(server.address(), "/ws/chat/alice");
    let message = text(format!(r#"{{"message":"{}"}}"#, "x".repeat(400)));
    let (first, rest) = message.split_at(20);
    holder.send(first);
    std::thread::scope(|scope| {
        let stranger = scope.spawn(|| claim(&server, "alice", 2));
        while holder.read_frame().opcode != PING {}
        let mut rest = rest.iter();
        while !stranger.is_finished() {
            holder.send([*rest.next().expect("the claim is decided before the message ends")]);
            pause();
        }
        holder.send(rest.as_slice());
        assert_eq!(stranger.join().expect("an end"), (TAKEN.0, TAKEN.1.to_owned()));
    });
    while !holder.read_text().contains("xxx") {}
}

/// Starts a claim of `alice` from each of the addresses. Asserts that one too many is refused at once, and the others
/// when `alice`, who is silent until then, answers one ping.
#[track_caller]
fn claims_at_once(lasts: &[u8]) {
    let server = Server::start(&[]);
    let mut alice = Socket::open(server.address(), "/ws/chat/alice");
    let (ends, ended) = mpsc::sync_channel(lasts.len());
    std::thread::scope(|scope| {
        for &last in lasts {
            let (server, ends) = (&server, ends.clone());
            scope.spawn(move || ends.send(claim(server, "alice", last)).expect("a listener"));
        }
        let taken = Ok((TAKEN.0, TAKEN.1.to_owned()));
        assert_eq!(ended.recv_timeout(PATIENCE), taken, "one too many waits");
        let early = ended.recv_timeout(Duration::from_millis(200));
        assert_eq!(early, Err(RecvTimeoutError::Timeout), "the others wait for the answer");
        alice.send(Frame::new(PONG, "").bytes());
        (1..lasts.len()).for_each(|_| assert_eq!(ended.recv_timeout(PATIENCE), taken));
    });
    let frames = std::iter::from_fn(|| alice.try_frame(Duration::from_millis(100)).ok());
    assert_eq!(frames.filter(|frame| frame.opcode == PING).count(), 1, "one ping for all of them");
}

#[test]
fn two_claims_of_one_address_may_wait_for_an_answer() {
    claims_at_once(&[2, 2, 2]);
}

#[test]
fn eight_claims_of_a_name_may_wait_for_an_answer() {
    claims_at_once(&[2, 3, 4, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn one_of_several_waiting_claims_gets_the_name_of_a_dead_connection() {
    let server = Server::start(&[]);
    let mut dead = Socket::open(server.address(), "/ws/chat/alice");
    let (server, ends) = (&server, mpsc::sync_channel(4));
    std::thread::scope(|scope| {
        for last in 2..6 {
            let end = ends.0.clone();
            scope.spawn(move || {
                let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
                let socket = Socket::connect_from(source, server.address());
                let mut socket = socket.upgraded("/ws/chat/alice");
                socket.try_send(text(r#"{"message":"it is me"}"#));
                let has_entered = socket.read_frame().opcode == TEXT;
                end.send(has_entered).expect("a listener");
                if has_entered {
                    // A claim that comes late finds the winner, who answers.
                    let (due, pings) = Default::default();
                    Holder { socket, delay: Duration::ZERO, due, pings }
                        .live(Instant::now() + Duration::from_secs(3));
                }
            });
        }
        let entered = (0..4).filter(|_| ends.1.recv_timeout(PATIENCE).expect("an end")).count();
        assert_eq!(entered, 1);
    });
    assert_eq!(dead.skip_to_close().0, 4501);
}

/// One frame a second: any further frame is refused.
const ONE_FRAME: Settings<'static> = &[
    ("rate_limit.enabled", "true"),
    ("rate_limit.frames_per_second", "1"),
    // With more rooms, the bucket would hold a frame for each.
    ("limits.max_rooms_per_connection", "1"),
    ("rate_limit.messages_per_second", "1"),
    ("rate_limit.burst", "1"),
    ("rate_limit.strikes", "1000"),
    ("heartbeat.interval", "20ms"),
    ("endpoints.heartbeat_interval", "20ms"),
];

#[test]
fn a_pong_that_the_server_asked_for_costs_no_token() {
    let server = Server::start(ONE_FRAME);
    let v1 = "Sec-WebSocket-Protocol: throng.v1\r\n";
    for (path, headers, answer) in [
        ("/ws?raw", "", None),
        ("/ws/chat/alice", "", None),
        ("/ws/chat/bob", v1, Some(r#"{"type":"heartbeat_ack"}"#)),
        ("/ws/heartbeat", "", Some(r#"{"type":"heartbeat_ack"}"#)),
    ] {
        let mut socket = Socket::connect(server.address());
        socket.send(handshake(path, headers));
        socket.expect_upgrade();
        let mut answered = 0;
        while answered < 30 {
            let frame = socket.read_frame();
            match answer {
                None if frame.opcode == PING => socket.send(Frame::new(PONG, &frame.payload).bytes()),
                Some(answer) if frame.payload == br#"{"type":"heartbeat"}"# => socket.send(text(answer)),
                _ if frame.opcode == PING => {
                    socket.send(Frame::new(PONG, &frame.payload).bytes());
                    continue;
                }
                _ => continue,
            }
            answered += 1;
        }
        socket.send(close(1000, ""));
        assert_eq!(socket.skip_to_close().0, 1000, "{path}");
        assert_eq!(server.metric(REFUSED, ""), 0.0, "{path}");
    }
}

#[test]
fn an_unasked_pong_costs_a_token() {
    let server = Server::start(ONE_FRAME);
    let mut socket = Socket::open(server.address(), "/ws?raw");
    while socket.read_frame().opcode != PING {}
    let began = Instant::now();
    // The ping allows one pong and the bucket another; with the time that passes, pings allow more.
    socket.send(Frame::new(PONG, "").bytes().repeat(100));
    socket.send(close(1000, ""));
    assert_eq!(socket.skip_to_close().0, 1000);
    let asked = 2 + (began.elapsed().as_millis() / 20) as usize;
    let refused = server.metric(REFUSED, "") as usize;
    assert!(
        refused < 100 && refused + asked + 2 >= 100,
        "{refused} of 100 refused, at most {asked} asked for"
    );
}

/// Regression: 1. Two connections have one name (`chat.duplicate = "allow"`) and may be two people. 2. One of them uses
/// up the user's tokens. 3. The other is refused, which counted as strikes against it, and got 4002.
#[test]
fn messages_of_another_connection_of_the_user_are_no_strike() {
    let server = Server::start(&[
        ("rate_limit.enabled", "true"),
        ("rate_limit.messages_per_second", "1"),
        ("rate_limit.burst", "20"),
        ("rate_limit.strikes", "3"),
        ("chat.duplicate", "allow"),
    ]);
    let hi = text(r#"{"message":"hi"}"#);
    let mut victim = Socket::open(server.address(), "/ws/chat/alice");
    let mut stranger = Socket::open(server.address(), "/ws/chat/alice?room=elsewhere");
    stranger.send(hi.repeat(20));
    (0..20).for_each(|_| while !stranger.read_text().contains(r#""hi""#) {});
    let mut refused = 0;
    for _ in 0..10 {
        victim.send(&hi);
        let answer =
            std::iter::from_fn(|| Some(victim.read_text())).find(|answer| !answer.contains("joined"));
        refused += usize::from(answer.is_some_and(|answer| answer.contains("rate_limited")));
        pause();
    }
    assert!(refused > 4, "{refused} of 10 refused: more than there are strikes");
    victim.send(close(1000, ""));
    assert_eq!(victim.skip_to_close().0, 1000);
}
