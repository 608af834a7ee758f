//! The checker itself: a record that keeps every promise passes, and each broken promise is found by its rule.

use super::{Rule, Verdict, check};
use crate::load::record::{Client, Entry, Event, Loss, Name, Position};

const ALICE: Client = Client(0);
const BOB: Client = Client(1);

fn at(epoch: &str, offset: u64) -> Position {
    Position { epoch: epoch.into(), offset }
}

/// A made-up record of two clients in one room, both entered at `e1`, offset 0.
struct Story {
    entries: Vec<(u64, Entry)>,
    commands: u64,
}

impl Story {
    fn begin() -> Self {
        let mut story = Self { entries: Vec::new(), commands: 0 };
        story.enter(ALICE, None, "e1", 0, false).enter(BOB, None, "e1", 0, false);
        story
    }

    fn add(&mut self, entry: Entry) -> &mut Self {
        self.entries.push((self.entries.len() as u64, entry));
        self
    }

    fn event(&mut self, client: Client, event: Event) -> &mut Self {
        self.add(Entry::Client(client, event))
    }

    fn room() -> Name {
        "lobby".into()
    }

    fn enter(
        &mut self,
        client: Client,
        asked: Option<Position>,
        epoch: &str,
        offset: u64,
        recovered: bool,
    ) -> &mut Self {
        self.event(client, Event::Connect { node: 0 });
        let (room, epoch) = (Self::room(), epoch.into());
        self.event(client, Event::Entered { room, asked, epoch, offset, recovered })
    }

    fn close(&mut self, client: Client, code: Option<u16>) -> &mut Self {
        self.event(client, Event::Closed { code })
    }

    /// Makes a client publish a text, and returns the id of the command.
    fn send(&mut self, client: Client, text: &str, has_key: bool, echo: bool) -> u64 {
        self.commands += 1;
        let (command, room, text) = (self.commands, Self::room(), text.to_owned());
        self.event(client, Event::Sent { command, room, text, has_key, echo });
        command
    }

    fn ack(&mut self, client: Client, command: u64, at: Position, duplicate: bool) -> &mut Self {
        self.event(client, Event::Acked { command, at, duplicate })
    }

    /// Shows a client a message of alice.
    fn see(&mut self, client: Client, id: Position, text: &str) -> &mut Self {
        let (room, user) = (Self::room(), crate::load::user(ALICE));
        self.event(client, Event::Message { room, offset: id.offset, id, user, text: text.to_owned() })
    }

    fn epoch(&mut self, client: Client, epoch: &str, offset: u64) -> &mut Self {
        self.event(client, Event::Epoch { room: Self::room(), epoch: epoch.into(), offset })
    }

    fn gap(&mut self, client: Client, from: u64, to: u64) -> &mut Self {
        self.event(client, Event::Gap { room: Self::room(), from, to })
    }

    fn fault(&mut self, loss: Loss) -> &mut Self {
        self.add(Entry::Fault { name: "a fault".to_owned(), loss })
    }

    fn settle(&mut self) -> &mut Self {
        self.add(Entry::Settled)
    }

    /// Makes alice publish a message, which alice and then the others see, and alice's ack.
    fn talk(&mut self, epoch: &str, offset: u64, others: &[Client]) -> &mut Self {
        let text = format!("text {epoch} {offset}");
        let command = self.send(ALICE, &text, false, true);
        self.see(ALICE, at(epoch, offset), &text).ack(ALICE, command, at(epoch, offset), false);
        for other in others {
            self.see(*other, at(epoch, offset), &text);
        }
        self
    }

    fn verdict(&self) -> Verdict {
        check(&self.entries)
    }

    #[track_caller]
    fn expect(&self, rule: Rule) {
        let verdict = self.verdict();
        assert_eq!(verdict.violations.first().map(|violation| violation.rule), Some(rule), "{verdict}");
    }
}

#[test]
fn a_record_that_keeps_every_promise_passes() {
    let mut story = Story::begin();
    story.talk("e1", 1, &[BOB]).talk("e1", 2, &[BOB]);
    // Bob misses a message, comes back, and publishes without an echo.
    story.close(BOB, None).talk("e1", 3, &[]).enter(BOB, Some(at("e1", 2)), "e1", 3, true);
    story.see(BOB, at("e1", 3), "text e1 3");
    // A message is sent twice under its key: the first answer was lost.
    story.send(ALICE, "again", true, true);
    story.close(ALICE, Some(1012)).see(BOB, at("e1", 4), "again");
    story.enter(ALICE, Some(at("e1", 3)), "e1", 4, true).see(ALICE, at("e1", 4), "again");
    let again = story.send(ALICE, "again", true, true);
    story.ack(ALICE, again, at("e1", 4), true);
    // A refused message, which nobody sees, and a gap.
    let refused = story.send(ALICE, "refused", false, true);
    story.event(ALICE, Event::Refused { command: refused, code: "unavailable".into() });
    story.talk("e1", 5, &[]).gap(BOB, 5, 5).settle();
    // A failover that loses nothing that was shown.
    story.fault(Loss::May).epoch(ALICE, "e2", 5).epoch(BOB, "e2", 5).talk("e2", 6, &[BOB]).settle();
    // A restart of an old state: alice has seen what is lost, and is told; bob has not.
    story.fault(Loss::Must).talk("e2", 7, &[]).close(ALICE, Some(4003));
    story.enter(ALICE, Some(at("e2", 7)), "e3", 6, false).epoch(BOB, "e3", 6).talk("e3", 7, &[BOB]);
    // A page of history over three epochs.
    let texts = ["text e1 5", "text e2 6", "text e3 7"];
    let ids = [at("e1", 5), at("e2", 6), at("e3", 7)];
    let messages =
        ids.into_iter().zip(texts).map(|(id, text)| (id, crate::load::user(ALICE), text.to_owned()));
    let messages = messages.collect();
    story.event(BOB, Event::Page { room: Story::room(), epoch: "e3".into(), messages }).settle();
    let verdict = story.verdict();
    verdict.expect_clean();
    let counts = verdict.counts;
    assert_eq!((counts.recovered, counts.not_recovered, counts.lost, counts.epochs), (2, 1, 1, 3));
    assert_eq!((counts.duplicates, counts.refused, counts.gaps), (1, 1, 1));
}

#[test]
fn two_messages_under_one_id_break_g1() {
    let mut story = Story::begin();
    story.talk("e1", 1, &[]).send(ALICE, "other", false, true);
    story.see(BOB, at("e1", 1), "other").expect(Rule::Order);
}

#[test]
fn an_id_of_another_offset_breaks_g1() {
    let mut story = Story::begin();
    story.send(ALICE, "one", false, true);
    let (room, user, id) = (Story::room(), crate::load::user(ALICE), at("e1", 2));
    story.event(BOB, Event::Message { room, offset: 1, id, user, text: "one".into() }).expect(Rule::Order);
}

#[test]
fn an_epoch_that_nobody_was_told_of_breaks_g1() {
    let mut story = Story::begin();
    story.send(ALICE, "one", false, true);
    story.see(BOB, at("e2", 1), "one").expect(Rule::Order);
}

#[test]
fn going_on_silently_with_lost_messages_breaks_g1() {
    // Alice has seen offset 2, which the new epoch gives to another message.
    let mut story = Story::begin();
    story.talk("e1", 1, &[BOB]).talk("e1", 2, &[]).fault(Loss::May);
    story.epoch(BOB, "e2", 1).epoch(ALICE, "e2", 2).send(ALICE, "new", false, true);
    story.see(BOB, at("e2", 2), "new").expect(Rule::Order);
    // She is told of an epoch that begins before what she has seen.
    let mut story = Story::begin();
    story.talk("e1", 1, &[]).epoch(ALICE, "e2", 0).expect(Rule::Order);
    // She resumes on another node, which recovers a position that was lost.
    let mut story = Story::begin();
    story.talk("e1", 1, &[BOB]).talk("e1", 2, &[]).close(ALICE, None).fault(Loss::May).epoch(BOB, "e2", 1);
    story.send(ALICE, "new", false, true);
    story.see(BOB, at("e2", 2), "new").enter(ALICE, Some(at("e1", 2)), "e2", 2, true).expect(Rule::Order);
}

#[test]
fn an_old_epoch_that_goes_on_behind_a_new_one_breaks_g1() {
    let mut story = Story::begin();
    story.epoch(BOB, "e2", 0).send(ALICE, "one", false, true);
    story.send(ALICE, "two", false, true);
    story.see(BOB, at("e2", 1), "one").see(BOB, at("e1", 2), "two").expect(Rule::Order);
}

#[test]
fn a_history_that_differs_or_is_out_of_order_breaks_g1() {
    let page = |messages: &[(Position, &str)]| Event::Page {
        room: Story::room(),
        epoch: "e1".into(),
        messages: messages
            .iter()
            .map(|(id, text)| (id.clone(), crate::load::user(ALICE), (*text).to_owned()))
            .collect(),
    };
    let mut story = Story::begin();
    story.talk("e1", 1, &[BOB]).talk("e1", 2, &[BOB]);
    let forged = page(&[(at("e1", 2), "text e1 1")]);
    let reversed = page(&[(at("e1", 2), "text e1 2"), (at("e1", 1), "text e1 1")]);
    for wrong in [forged, reversed] {
        story.event(BOB, wrong).expect(Rule::Order);
        story.entries.pop();
    }
}

#[test]
fn a_hole_or_a_wrong_gap_breaks_g2() {
    let mut story = Story::begin();
    story.talk("e1", 1, &[]).talk("e1", 2, &[BOB]).expect(Rule::NoSilentGap);
    let mut story = Story::begin();
    story.talk("e1", 1, &[BOB]).gap(BOB, 3, 4).expect(Rule::NoSilentGap);
    let mut story = Story::begin();
    story.talk("e1", 1, &[BOB]).gap(BOB, 2, 1).expect(Rule::NoSilentGap);
}

#[test]
fn a_resume_with_missing_repeated_or_foreign_messages_breaks_g3() {
    let resumed = |asked: Option<Position>, offset, recovered| {
        let mut story = Story::begin();
        story.talk("e1", 1, &[BOB]).talk("e1", 2, &[BOB]).talk("e1", 3, &[BOB]).fault(Loss::May);
        story.close(BOB, None).enter(BOB, asked, "e1", offset, recovered);
        story
    };
    resumed(Some(at("e1", 3)), 2, true).expect(Rule::Resume);
    resumed(None, 3, true).expect(Rule::Resume);
    resumed(Some(at("e1", 3)), 2, false).expect(Rule::Resume);
    for next in [3, 5] {
        let mut story = resumed(Some(at("e1", 3)), 5, true);
        let text = if next == 3 { "text e1 3" } else { "five" };
        story.send(ALICE, "five", false, true);
        story.see(BOB, at("e1", next), text).expect(Rule::Resume);
    }
}

#[test]
fn an_ack_of_another_message_or_out_of_place_breaks_g4() {
    let mut story = Story::begin();
    let mine = story.talk("e1", 1, &[BOB]).send(ALICE, "mine", false, true);
    story.ack(ALICE, mine, at("e1", 1), false).expect(Rule::Ack);
    let mut story = Story::begin();
    let mine = story.talk("e1", 1, &[BOB]).send(ALICE, "mine", false, true);
    story.ack(ALICE, mine, at("e1", 7), false).expect(Rule::Ack);
    // Acknowledged as new twice, and a duplicate of a message without a key.
    let mut story = Story::begin();
    let first = story.send(ALICE, "one", true, true);
    let second = story.send(ALICE, "one", true, true);
    story.see(ALICE, at("e1", 1), "one").ack(ALICE, first, at("e1", 1), false);
    story.ack(ALICE, second, at("e1", 1), false).expect(Rule::Ack);
    let mut story = Story::begin();
    let first = story.send(ALICE, "one", false, true);
    story.see(ALICE, at("e1", 1), "one").ack(ALICE, first, at("e1", 1), true).expect(Rule::Ack);
}

#[test]
fn a_message_that_was_refused_or_never_sent_breaks_g4() {
    let mut story = Story::begin();
    let refused = story.send(ALICE, "refused", false, true);
    story.event(ALICE, Event::Refused { command: refused, code: "unavailable".into() });
    story.see(BOB, at("e1", 1), "refused").expect(Rule::Ack);
    let mut story = Story::begin();
    story.see(BOB, at("e1", 1), "invented").expect(Rule::Ack);
}

#[test]
fn an_acknowledged_message_that_a_member_did_not_see_breaks_g4() {
    // Alice alone has it, without an echo; bob has a gap there in the first case and nothing in the second.
    for has_gap in [true, false] {
        let mut story = Story::begin();
        let quiet = story.send(ALICE, "quiet", false, false);
        story.ack(ALICE, quiet, at("e1", 1), false);
        if has_gap {
            story.gap(BOB, 1, 1).settle().verdict().expect_clean();
        } else {
            let verdict = story.settle().verdict();
            let rules: Vec<Rule> = verdict.violations.iter().map(|violation| violation.rule).collect();
            assert_eq!(rules, [Rule::Settled, Rule::Ack], "{verdict}");
        }
    }
}

#[test]
fn a_key_that_appends_twice_in_what_survives_is_found() {
    let mut story = Story::begin();
    story.send(ALICE, "once", true, true);
    story.send(ALICE, "once", true, true);
    story.see(BOB, at("e1", 1), "once").see(BOB, at("e1", 2), "once").expect(Rule::Once);
    // Over a fork that kept the first, it is found, too. After one that lost the first, it is right.
    for survives in [true, false] {
        let mut story = Story::begin();
        story.send(ALICE, "once", true, true);
        story.send(ALICE, "once", true, true);
        story.see(BOB, at("e1", 1), "once").fault(Loss::May);
        if survives {
            story.epoch(BOB, "e2", 1).see(BOB, at("e2", 2), "once").expect(Rule::Once);
        } else {
            story.close(BOB, Some(4003)).enter(BOB, Some(at("e1", 1)), "e2", 0, false);
            story.see(BOB, at("e2", 1), "once").verdict().expect_clean();
        }
    }
}

#[test]
fn seeing_a_message_twice_or_in_a_room_that_was_left_breaks_g5() {
    let mut story = Story::begin();
    story.talk("e1", 1, &[BOB]).see(BOB, at("e1", 1), "text e1 1").expect(Rule::Delivery);
    let mut story = Story::begin();
    story.close(BOB, None).talk("e1", 1, &[BOB]).expect(Rule::Delivery);
}

#[test]
fn a_loss_without_a_fault_and_a_fault_without_a_loss_are_found() {
    let mut story = Story::begin();
    story.close(BOB, Some(4003)).expect(Rule::Loss);
    let mut story = Story::begin();
    story.talk("e1", 1, &[BOB]).close(BOB, None);
    story.enter(BOB, Some(at("e1", 1)), "e1", 1, false).expect(Rule::Loss);
    // A fault that loses nothing excuses nothing, and an excuse ends when everybody is settled.
    let mut story = Story::begin();
    story.fault(Loss::None).close(BOB, Some(4003)).expect(Rule::Loss);
    let mut story = Story::begin();
    story.fault(Loss::May).settle().close(BOB, Some(4003)).expect(Rule::Loss);
    let mut story = Story::begin();
    story.fault(Loss::Must).settle().expect(Rule::Loss);
}

#[test]
fn members_at_different_positions_are_not_settled() {
    let mut story = Story::begin();
    story.talk("e1", 1, &[]).settle().expect(Rule::Settled);
    let mut story = Story::begin();
    story.close(BOB, None).settle().expect(Rule::Settled);
    let mut story = Story::begin();
    story.epoch(BOB, "e2", 0).settle().expect(Rule::Settled);
}

#[test]
fn strange_events_break_the_protocol() {
    let mut story = Story::begin();
    story.event(BOB, Event::Strange { what: "closed with 1011".into() }).expect(Rule::Protocol);
    let mut story = Story::begin();
    story.ack(BOB, 77, at("e1", 1), false).expect(Rule::Protocol);
    let mut story = Story::begin();
    let (room, epoch) = (Story::room(), "e1".into());
    story.event(BOB, Event::Entered { room, asked: None, epoch, offset: 0, recovered: false });
    story.expect(Rule::Protocol);
    let mut story = Story::begin();
    story.epoch(BOB, "e1", 0).expect(Rule::Protocol);
}
