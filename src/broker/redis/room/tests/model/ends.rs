//! The ends of each schedule: things that must happen soon, and not only some time.

use super::World;
use super::node::Event;
use super::server;

/// Long messages that are more than a room may hold.
const MAX_FLOOD: usize = 20;

/// Runs all of them. Nothing is on its way before.
pub(super) fn run(world: &mut World) {
    messages_are_soon_everywhere(world);
    floods_are_read_again(world);
    lost_pushes_are_found_soon(world);
    messages_do_not_wait_for_a_link(world);
    rooms_do_not_open_without_a_link(world);
}

/// Checks that after each accident the nodes soon have all messages again, before the next comparison.
fn messages_are_soon_everywhere(world: &mut World) {
    // A push is lost, and the next one shows it.
    say_unseen(world);
    assert!(world.say_this(0, None, false));
    catch_up(world, "a lost push is noticed with the next one");

    // The subscription ends.
    world.nodes[1].is_subscribed = false;
    world.nodes[1].events.push_back(Event::Unsubscribed);
    assert!(world.say_this(0, None, false));
    catch_up(world, "a subscription that ends is asked for again");

    // The links are new.
    world.disconnect(1);
    assert!(world.say_this(0, None, false));
    world.settle(300);
    world.nodes[1].connect();
    catch_up(world, "a node with new links catches up");
}

/// Checks that messages are read again of which more are pushed than can be held.
fn floods_are_read_again(world: &mut World) {
    say_unseen(world);
    for _ in 0..MAX_FLOOD {
        assert!(world.say_this(0, None, true));
        while !world.nodes[0].is_idle() {
            world.deliver(0);
        }
        while !world.nodes[1].events.is_empty() {
            world.at(1, |node, now| node.take_event(now));
        }
        if world.nodes[1].room.held_bytes() == 0 {
            catch_up(world, "batches that could not be held are read again");
            return;
        }
    }
    panic!("a room holds as much as it likes");
}

/// Publishes a message whose push does not get to the second node.
fn say_unseen(world: &mut World) {
    assert!(world.say_this(0, None, false));
    world.nodes[1].is_subscribed = false;
    while !world.nodes[0].is_idle() {
        world.deliver(0);
    }
    world.nodes[1].is_subscribed = true;
}

fn catch_up(world: &mut World, what: &str) {
    world.settle(400);
    let last = world.server.room.as_ref().map(server::Stored::last);
    for node in &world.nodes {
        assert_eq!(node.view.as_ref().map(|view| view.position.offset), last, "{what}");
    }
}

/// Checks that messages are answered soon, although their pushes are lost.
fn lost_pushes_are_found_soon(world: &mut World) {
    assert!((0..world.nodes.len()).all(|index| world.say(index)), "every node publishes");
    for node in &mut world.nodes {
        node.run_request(&mut world.server);
    }
    world.server.pushes.clear();
    world.settle(4_000);
    assert_eq!(world.checker.waiting(), 0, "every message is answered soon");
}

/// Checks that messages are refused when there is no link for too long.
fn messages_do_not_wait_for_a_link(world: &mut World) {
    world.disconnect(0);
    world.settle(1_000);
    assert!(world.say(0), "messages wait for a while");
    world.settle(2_000);
    assert_eq!(world.checker.waiting(), 0, "no message waits for long");
    assert!(!world.say(0), "no message is accepted without a link");
}

/// Checks that an opening ends although there is no link.
fn rooms_do_not_open_without_a_link(world: &mut World) {
    world.at(0, |node, now| node.room.close(now));
    assert!(world.nodes[0].room.is_closed());
    world.at(0, |node, now| node.room.open(now));
    world.settle(6_000);
    assert!(world.nodes[0].room.is_closed(), "no room opens without a link");
}
