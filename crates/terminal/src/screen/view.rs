//! What the screen shows: the connection, the rooms, the conversations. Pure: the time is an argument, and what is to
//! be asked of the server is returned.

use std::time::{Duration, Instant};

use super::place::{Entry, Mood, Name, Place};
use crate::errands::{Answer, Errand, code_of};
use crate::escape;
use crate::input::{self, COMMANDS, Input};
use crate::told::{count, seconds};
use throng_client::{Event, SendError, State};
use throng_names::{RoomName, UserId};

/// Messages that are fetched at once.
const PAGE: u16 = 50;
/// Conversations with one user: one more, and the oldest that is not looked at goes. Rooms are limited by the server.
const MAX_CONVERSATIONS: usize = 50;
/// Rooms beyond this are not shown, should a server allow more.
const MAX_ROOMS: usize = 1000;

/// Where the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Link {
    Connecting { attempt: u32 },
    Online,
    Waiting { until: Instant, reason: String },
    Stopped { reason: String },
}

#[derive(Debug)]
pub(super) struct View {
    pub(super) me: UserId,
    pub(super) link: Link,
    /// What happened last, shown until something is typed.
    pub(super) remark: Option<(String, Mood)>,
    pub(super) places: Vec<Place>,
    pub(super) current: usize,
}

/// What a line that was typed leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    Ask(Errand),
    Quit,
}

impl View {
    pub(super) fn new(me: UserId) -> Self {
        Self { me, link: Link::Connecting { attempt: 0 }, remark: None, places: Vec::new(), current: 0 }
    }

    /// The place that is looked at; none before the first welcome, or after the last room.
    pub(super) fn here(&self) -> Option<&Place> {
        self.places.get(self.current)
    }

    fn here_mut(&mut self) -> Option<&mut Place> {
        self.places.get_mut(self.current)
    }

    /// Takes an event in, and tells what to ask for because of it.
    pub(super) fn hear(&mut self, event: Event, now: Instant) -> Vec<Errand> {
        match event {
            Event::State(state) => {
                if let Some(link) = link(state, now) {
                    self.link = link;
                }
            }
            Event::Welcome { room, .. } => {
                self.link = Link::Online;
                return self.enter(&room);
            }
            Event::Recovered { room, messages } => {
                if messages > 0 {
                    let text = format!("recovered {}", count(messages, "message"));
                    self.remark_in(&room, &text, Mood::Good);
                }
                self.room(&room).enter();
                return vec![Errand::Who { room }];
            }
            Event::Missed { room, messages } => {
                let some = messages.map_or("some messages".into(), |messages| count(messages, "message"));
                self.remark_in(&room, &format!("you missed {some}"), Mood::Bad);
                if messages.is_none() {
                    self.room(&room).forget_offsets();
                }
                self.room(&room).enter();
                return vec![Errand::Who { room }];
            }
            Event::Gap { room, from, to } => {
                self.remark_in(&room, &format!("you missed messages {from} to {to}"), Mood::Bad);
            }
            Event::Expelled { room, code, message } => {
                self.remark_in(&room, &format!("you are out of this room: {message} ({code})"), Mood::Bad);
            }
            Event::Message { room, user, text, offset, ts_ms, .. } => {
                self.push(&Name::Room(room), Entry::said(&user, &text, ts_ms, Some(offset)));
            }
            Event::Direct { user, text, ts_ms, .. } => {
                let entry = Entry::said(&user, &text, ts_ms, None);
                self.push(&Name::Person(user), entry);
            }
            Event::PresenceDiff { room, joined, left, members } => {
                let must_ask = self.room(&room).presence(joined, &left, members);
                if must_ask {
                    return vec![Errand::Who { room }];
                }
            }
            Event::Typing { room, user } => self.room(&room).types(user, now),
            Event::Limited { retry_after } => {
                let ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                self.say(&format!("too fast, going on in {}", seconds(ms)), Mood::Bad);
            }
            Event::Refused { code, message, .. } => self.complain(&format!("{message} ({code})")),
            // What a newer client may tell, the screen has no place for.
            _ => {}
        }
        Vec::new()
    }

    /// Takes in what came of an errand, and tells what to ask for because of it.
    ///
    /// `now_ms` is the time of day, since the Unix epoch.
    pub(super) fn done(
        &mut self,
        errand: Errand,
        result: Result<Answer, SendError>,
        now_ms: u64,
    ) -> Vec<Errand> {
        match (errand, result) {
            (Errand::Tell { user, text }, Ok(_)) => {
                let entry = Entry::said(&self.me, &text, now_ms, None);
                self.push(&Name::Person(user), entry);
            }
            (Errand::Join { room }, Ok(_)) => {
                let errands = self.enter(&room);
                self.look_at(&Name::Room(room));
                return errands;
            }
            (Errand::Leave { room }, Ok(_)) => self.drop_place(&Name::Room(room)),
            (Errand::Who { room }, Ok(Answer::Who(page))) => {
                // One that was left meanwhile must not come back.
                let Some(place) = self.find_room(room) else { return Vec::new() };
                if std::mem::take(&mut place.shows_users) {
                    let names: Vec<_> = page.users.iter().map(UserId::as_str).collect();
                    let text = format!("{}: {}", count(page.members, "member"), names.join(", "));
                    place.push(Entry::remark(&text, Mood::Plain));
                }
                place.are_here(page);
            }
            (Errand::History { room, .. }, Ok(Answer::History(page))) => {
                if let Some(place) = self.find_room(room) {
                    place.older(Some(&page));
                }
            }
            (_, Ok(_)) => {}
            (errand, Err(error)) => self.failed(errand, &error),
        }
        Vec::new()
    }

    fn failed(&mut self, errand: Errand, error: &SendError) {
        let text = match error {
            SendError::Refused { message, .. } => format!("{message} ({})", code_of(error)),
            other => other.to_string(),
        };
        match errand {
            // Asked for by the screen itself: the next welcome or scrolling asks again.
            Errand::History { room, .. } => {
                if let Some(place) = self.find_room(room) {
                    place.older(None);
                }
                if *error != SendError::Disconnected {
                    self.say(&text, Mood::Bad);
                }
            }
            Errand::Who { .. } if *error == SendError::Disconnected => {}
            Errand::Say { room, text: said } => {
                let said = format!("not said: {said}: {text}");
                self.push(&Name::Room(room), Entry::remark(&said, Mood::Bad));
            }
            Errand::Tell { user, text: said } => {
                let said = format!("not said to {user}: {said}: {text}");
                self.complain(&said);
            }
            Errand::Join { room } => self.complain(&format!("cannot join {room}: {text}")),
            Errand::Leave { .. } | Errand::Who { .. } => self.complain(&text),
        }
    }

    /// A line was typed.
    pub(super) fn typed(&mut self, line: &str) -> Act {
        self.remark = None;
        let input = match input::parse(line) {
            Ok(Some(input)) => input,
            Ok(None) => return Act::Nothing,
            Err(error) => {
                self.complain(&error.to_string());
                return Act::Nothing;
            }
        };
        let here = self.here().map(|place| place.name.clone());
        match (input, here) {
            (Input::Quit, _) => return Act::Quit,
            (Input::Help, _) => {
                for (usage, meaning) in COMMANDS {
                    self.note(&format!("{usage}: {meaning}"), Mood::Plain);
                }
            }
            (Input::Speak(room), _) if self.find(&Name::Room(room.clone())).is_some() => {
                self.look_at(&Name::Room(room));
            }
            (Input::Speak(room), _) => self.complain(&format!("you are not in {room}: /join {room}")),
            (Input::Join(room), _) => return Act::Ask(Errand::Join { room }),
            (Input::Tell(user, text), _) => return Act::Ask(Errand::Tell { user, text }),
            (Input::Leave(Some(room)), _) => return Act::Ask(Errand::Leave { room }),
            (Input::Leave(None), Some(Name::Person(user))) => self.drop_place(&Name::Person(user)),
            (Input::Say(text), Some(Name::Person(user))) => return Act::Ask(Errand::Tell { user, text }),
            (Input::Say(text), Some(Name::Room(room))) => {
                // Who says something wants to see it.
                self.room(&room).scrolled = 0;
                return Act::Ask(Errand::Say { room, text });
            }
            (Input::Leave(None), Some(Name::Room(room))) => return Act::Ask(Errand::Leave { room }),
            (Input::Who, Some(Name::Room(room))) => {
                self.room(&room).shows_users = true;
                return Act::Ask(Errand::Who { room });
            }
            (Input::History(limit), Some(Name::Room(room))) => match self.room(&room).ask_for_older() {
                Some(before) => return Act::Ask(Errand::History { room, before, limit }),
                None => self.say("nothing older to show", Mood::Plain),
            },
            (Input::Who | Input::History(_), Some(Name::Person(_))) => {
                self.complain("this is a conversation: that is for rooms");
            }
            (_, None) => self.complain("you are in no room: /join one"),
        }
        Act::Nothing
    }

    /// Up by so many entries; at the end of what is there, what to ask for.
    pub(super) fn scroll_up(&mut self, entries: usize) -> Option<Errand> {
        let place = self.here_mut()?;
        place.scroll_up(entries);
        let Name::Room(room) = place.name.clone() else { return None };
        let is_near_the_start = place.scrolled + 2 * entries >= place.entries.len();
        let before = if is_near_the_start { place.ask_for_older()? } else { return None };
        Some(Errand::History { room, before, limit: PAGE })
    }

    pub(super) fn scroll_down(&mut self, entries: usize) {
        if let Some(place) = self.here_mut() {
            place.scroll_down(entries);
        }
    }

    /// The next place, or with -1 the previous one.
    pub(super) fn turn(&mut self, by: isize) {
        if !self.places.is_empty() {
            let count = isize::try_from(self.places.len()).unwrap_or(isize::MAX);
            let next = (isize::try_from(self.current).unwrap_or(0) + by).rem_euclid(count);
            self.look(usize::try_from(next).unwrap_or(0));
        }
    }

    /// When the screen changes although nothing happens: each second of a wait, and when somebody stops writing.
    pub(super) fn next_tick(&self, now: Instant) -> Option<Instant> {
        let typing = self.here().and_then(|place| place.typing_until(now));
        let waiting = match self.link {
            Link::Waiting { until, .. } if until > now => {
                let rest = (until - now).subsec_nanos();
                let rest = Duration::from_nanos(if rest == 0 { 1_000_000_000 } else { rest.into() });
                Some(now + rest)
            }
            _ => None,
        };
        typing.into_iter().chain(waiting).min()
    }

    /// An error of the user's or the server's, where it happened: here.
    pub(super) fn complain(&mut self, text: &str) {
        self.note(text, Mood::Bad);
    }

    fn note(&mut self, text: &str, mood: Mood) {
        match self.here_mut() {
            Some(place) => place.push(Entry::remark(text, mood)),
            None => self.say(text, mood),
        }
    }

    /// Beside the connection's state, until something is typed.
    fn say(&mut self, text: &str, mood: Mood) {
        self.remark = Some((escape::clean(text).into_owned(), mood));
    }

    fn remark_in(&mut self, room: &RoomName, text: &str, mood: Mood) {
        self.say(&format!("{text} in {room}"), mood);
        self.room(room).push(Entry::remark(text, mood));
    }

    fn push(&mut self, name: &Name, entry: Entry) {
        let index = self.place(name);
        if index != self.current {
            self.places[index].unread += 1;
        }
        self.places[index].push(entry);
    }

    /// The room is there; what to ask for because of it.
    fn enter(&mut self, room: &RoomName) -> Vec<Errand> {
        self.room(room).enter();
        let is_new = self.room(room).entries.is_empty();
        let before = if is_new { self.room(room).ask_for_older() } else { None };
        let history = before.map(|before| Errand::History { room: room.clone(), before, limit: PAGE });
        [Errand::Who { room: room.clone() }].into_iter().chain(history).collect()
    }

    fn room(&mut self, room: &RoomName) -> &mut Place {
        let index = self.place(&Name::Room(room.clone()));
        &mut self.places[index]
    }

    fn find_room(&mut self, room: RoomName) -> Option<&mut Place> {
        self.find(&Name::Room(room)).map(|index| &mut self.places[index])
    }

    fn find(&self, name: &Name) -> Option<usize> {
        self.places.iter().position(|place| place.name == *name)
    }

    /// Where the place is, which is made if it must be.
    fn place(&mut self, name: &Name) -> usize {
        if let Some(index) = self.find(name) {
            return index;
        }
        let is_person = |name: &Name| matches!(name, Name::Person(_));
        let most = if is_person(name) { MAX_CONVERSATIONS } else { MAX_ROOMS };
        let alike = || self.places.iter().filter(|place| is_person(&place.name) == is_person(name));
        if alike().count() >= most {
            let looked_at = self.here().map(|place| place.name.clone());
            let oldest =
                alike().map(|place| place.name.clone()).find(|name| Some(name) != looked_at.as_ref());
            if let Some(oldest) = oldest {
                self.drop_place(&oldest);
            }
        }
        self.places.push(Place::new(name.clone()));
        self.places.len() - 1
    }

    fn drop_place(&mut self, name: &Name) {
        let Some(index) = self.find(name) else { return };
        self.places.remove(index);
        if index < self.current || self.current >= self.places.len() {
            self.current = self.current.saturating_sub(1);
        }
        self.look(self.current);
    }

    fn look_at(&mut self, name: &Name) {
        let index = self.place(name);
        self.look(index);
    }

    fn look(&mut self, index: usize) {
        self.current = index;
        if let Some(place) = self.here_mut() {
            place.unread = 0;
        }
    }
}

/// Nothing where the state is one of a newer client.
fn link(state: State, now: Instant) -> Option<Link> {
    let clean = |reason: String| escape::clean(&reason).into_owned();
    Some(match state {
        State::Connecting { attempt } => Link::Connecting { attempt },
        State::Online => Link::Online,
        State::Waiting { delay, reason, .. } => {
            Link::Waiting { until: now + delay, reason: clean(reason.to_string()) }
        }
        State::Stopped { reason } => Link::Stopped { reason: clean(reason.to_string()) },
        _ => return None,
    })
}
