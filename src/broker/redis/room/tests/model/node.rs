//! A node of the model: the room's state machine, the links to the server, and what the members were shown.

use std::collections::{HashMap, VecDeque};

use super::checker::{Checker, View};
use super::server::{Answer, Draft, Request, Sent, Server};
use crate::broker::redis::batch::{Batch, Incarnation};
use crate::broker::redis::room::{Command, Commands, Failure, Outcome, Room, Settings, Waiting};

/// An event on the link for subscriptions.
#[derive(Debug)]
pub(super) enum Event {
    Push(Batch),
    Subscribed,
    Unsubscribed,
}

/// An answer on its way, with the number of its request and its place among the requests.
#[derive(Debug)]
pub(super) struct Late {
    tag: u64,
    number: u64,
    answer: Answer,
}

/// News of the links, which the engine gets in this order.
#[derive(Debug)]
pub(super) enum Notice {
    Answer(Late),
    Down,
    Up,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) room: Room<Draft>,
    pub(super) by: Incarnation,
    pub(super) view: Option<View>,
    /// Requests that are not answered, by their tag.
    open: HashMap<u64, (u64, Request)>,
    next_tag: u64,
    /// The number of the last request.
    last_number: u64,
    pub(super) requests: VecDeque<(u64, u64, Request)>,
    pub(super) answers: VecDeque<Late>,
    pub(super) subscriptions: VecDeque<bool>,
    pub(super) events: VecDeque<Event>,
    pub(super) notices: VecDeque<Notice>,
    pub(super) is_subscribed: bool,
    pub(super) is_connected: bool,
    pub(super) frozen_until: u64,
}

impl Node {
    pub(super) fn new(index: u64, hash: u64) -> Self {
        let by = Incarnation(index);
        let settings = Settings { hash, ..Settings::new(by) };
        Self {
            room: Room::new(settings, true, 0),
            by,
            view: None,
            open: HashMap::new(),
            next_tag: 0,
            last_number: 0,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            subscriptions: VecDeque::new(),
            events: VecDeque::new(),
            notices: VecDeque::new(),
            is_subscribed: false,
            is_connected: true,
            frozen_until: 0,
        }
    }

    /// Carries out the commands of an input.
    pub(super) fn carry_out(&mut self, commands: Commands<Draft>, server: &Server, checker: &mut Checker) {
        let (mut began_anew, last_number) = (false, self.last_number);
        for command in commands {
            *checker.counts.entry(kind(&command)).or_default() += 1;
            began_anew |= matches!(command, Command::BeginAnew { .. });
            match command {
                Command::Subscribe => self.subscriptions.push_back(true),
                Command::Unsubscribe => self.subscriptions.push_back(false),
                Command::Sync { number } => self.request(number, Request::Sync),
                Command::Fill { number, from } => self.request(number, Request::Page { from }),
                Command::Publish { number } => {
                    let (call, drafts) = self.room.call().expect("a call that is to be sent");
                    assert_eq!(call.number, number);
                    let bytes: usize = drafts.iter().map(Waiting::bytes).sum();
                    assert!((1..=64).contains(&drafts.len()) && (bytes <= 64 * 1024 || drafts.len() == 1));
                    let messages = drafts.iter().map(|draft| draft.sent).collect();
                    self.request(number, Request::Publish { call, messages });
                }
                Command::Append { batch, own } => {
                    checker.append(self.view.as_mut().expect("an open room"), &batch, &own, self.by, server);
                }
                Command::Answer { draft, outcome } => {
                    assert!(outcome != Outcome::Unknown || began_anew, "an unknown outcome for {draft:?}");
                    checker.answer(draft.sent, outcome, self.by, self.view.as_ref(), server);
                }
                Command::Adopt { position, .. } => {
                    self.view.as_mut().expect("an open room").adopt(position);
                }
                Command::BeginAnew { position, .. } => {
                    checker.begin_anew(self.view.as_ref().expect("an open room"), server);
                    self.view = Some(View::new(position, server));
                }
                Command::Gap { from, to } => {
                    self.view.as_mut().expect("an open room").skip(from, to, server);
                }
                Command::Opened { position, .. } => match &self.view {
                    None => self.view = Some(View::new(position, server)),
                    Some(view) => assert_eq!(view.position, position, "a room that was open"),
                },
                Command::NotOpened => assert!(self.view.is_none()),
                Command::Closed => {
                    assert_eq!(self.room.waiting_bytes(), 0, "messages wait in a closed room");
                    self.view = None;
                }
            }
        }
        if !self.is_connected {
            self.subscriptions.clear();
        }
        if let Some((call, _)) = self.room.call().filter(|_| began_anew) {
            assert!(call.number > last_number, "messages of a room that has begun anew are answered");
        }
        assert!(self.room.held_bytes() <= 300 * 1024);
        assert_eq!(self.room.position(), self.view.as_ref().map(|view| view.position));
    }

    fn request(&mut self, number: u64, request: Request) {
        let tag = self.next_tag;
        self.next_tag += 1;
        self.last_number = self.last_number.max(number);
        self.open.insert(tag, (number, request.clone()));
        if self.is_connected {
            self.requests.push_back((tag, number, request));
        } else {
            let answer = request.failed(Failure::NotSent);
            self.notices.push_back(Notice::Answer(Late { tag, number, answer }));
        }
    }

    /// Runs the request that was sent first.
    pub(super) fn run_request(&mut self, server: &mut Server) {
        let Some((tag, number, request)) = self.requests.pop_front() else { return };
        let answer = server.run(&request);
        self.answers.push_back(Late { tag, number, answer });
    }

    /// Handles the first subscription that was asked for.
    pub(super) fn run_subscription(&mut self) {
        let Some(is_wanted) = self.subscriptions.pop_front() else { return };
        self.is_subscribed = is_wanted;
        self.events.push_back(if is_wanted { Event::Subscribed } else { Event::Unsubscribed });
    }

    /// Returns the commands that follow from the first answer.
    pub(super) fn take_answer(&mut self, now: u64) -> Commands<Draft> {
        let late = self.answers.pop_front();
        late.map_or_else(Commands::new, |late| self.deliver(late, now))
    }

    fn deliver(&mut self, late: Late, now: u64) -> Commands<Draft> {
        // The deadline of this request has passed, and said so.
        if self.open.remove(&late.tag).is_none() {
            return Commands::new();
        }
        match late.answer {
            Answer::Published(result) => self.room.published(late.number, result, now),
            Answer::Synced(result) => self.room.synced(late.number, result, now),
            Answer::Filled(result) => self.room.filled(late.number, result, now),
        }
    }

    /// Returns the commands that follow from the first event.
    pub(super) fn take_event(&mut self, now: u64) -> Commands<Draft> {
        match self.events.pop_front() {
            None => Commands::new(),
            Some(Event::Push(batch)) => self.room.pushed(batch, now),
            Some(Event::Subscribed) => self.room.subscribed(now),
            Some(Event::Unsubscribed) => self.room.unsubscribed(now),
        }
    }

    /// Returns the commands that follow from the first notice.
    pub(super) fn take_notice(&mut self, now: u64) -> Commands<Draft> {
        match self.notices.pop_front() {
            None => Commands::new(),
            Some(Notice::Answer(late)) => self.deliver(late, now),
            Some(Notice::Down) => self.room.link_down(now),
            Some(Notice::Up) => self.room.link_up(now),
        }
    }

    /// Lets the deadline of the oldest request pass.
    pub(super) fn pass_deadline(&mut self, now: u64) -> Commands<Draft> {
        let Some(tag) = self.open.keys().min().copied() else { return Commands::new() };
        let (number, request) = &self.open[&tag];
        let late = Late { tag, number: *number, answer: request.failed(Failure::Lost) };
        self.deliver(late, now)
    }

    /// Breaks both links. Returns requests that the server has received and will run later.
    pub(super) fn disconnect(&mut self, rng: &mut fastrand::Rng) -> Vec<Request> {
        if !self.is_connected {
            return Vec::new();
        }
        self.is_connected = false;
        self.is_subscribed = false;
        self.subscriptions.clear();
        // Pushes that were read already are still handled, before the news of the break.
        self.events.truncate(rng.usize(..=self.events.len()));
        let received = rng.usize(..=self.requests.len());
        let mut ends: VecDeque<Notice> = VecDeque::new();
        for late in self.answers.drain(..) {
            let (number, request) = match self.open.get(&late.tag) {
                Some(open) => open.clone(),
                None => continue,
            };
            let answer = if rng.bool() { late.answer } else { request.failed(Failure::Lost) };
            ends.push_back(Notice::Answer(Late { tag: late.tag, number, answer }));
        }
        let mut zombies = Vec::new();
        for (index, (tag, number, request)) in self.requests.drain(..).enumerate() {
            let is_written = index < received || rng.bool();
            if self.open.contains_key(&tag) {
                let failure = if is_written { Failure::Lost } else { Failure::NotSent };
                ends.push_back(Notice::Answer(Late { tag, number, answer: request.failed(failure) }));
            }
            if index < received {
                zombies.push(request);
            }
        }
        let place = rng.usize(..=ends.len());
        ends.insert(place, Notice::Down);
        self.notices.append(&mut ends);
        zombies
    }

    /// Makes new links.
    pub(super) fn connect(&mut self) {
        if !self.is_connected {
            self.is_connected = true;
            self.notices.push_back(Notice::Up);
        }
    }

    /// Returns true when nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty()
            && self.answers.is_empty()
            && self.subscriptions.is_empty()
            && self.events.is_empty()
            && self.notices.is_empty()
    }

    /// Publishes a message of a member.
    pub(super) fn say(&mut self, sent: Sent, now: u64, server: &Server, checker: &mut Checker) -> bool {
        match self.room.publish(Draft { sent }, now) {
            Ok(commands) => {
                checker.accept(sent);
                self.carry_out(commands, server, checker);
                true
            }
            Err(_) => false,
        }
    }
}

fn kind(command: &Command<Draft>) -> &'static str {
    match command {
        Command::Subscribe => "subscribe",
        Command::Unsubscribe => "unsubscribe",
        Command::Sync { .. } => "sync",
        Command::Fill { .. } => "fill",
        Command::Publish { .. } => "publish",
        Command::Append { own, .. } => {
            if own.is_empty() {
                "append"
            } else {
                "append own"
            }
        }
        Command::Answer { outcome: Outcome::Appended(_), .. } => "appended",
        Command::Answer { outcome: Outcome::Duplicate(_), .. } => "duplicate",
        Command::Answer { outcome: Outcome::Unavailable, .. } => "unavailable",
        Command::Answer { outcome: Outcome::Unknown, .. } => "unknown",
        Command::Adopt { .. } => "adopt",
        Command::BeginAnew { .. } => "anew",
        Command::Gap { .. } => "gap",
        Command::Opened { .. } => "opened",
        Command::NotOpened => "not opened",
        Command::Closed => "closed",
    }
}
