//! Models of a shard's inbox: the shard takes every item, in the order of each pusher, and sleeps only when the inbox
//! is empty.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Poll, Waker};

use shuttle::scheduler::DfsScheduler;
use shuttle::{Config, Runner, future, thread};

use crate::names::ConnectionId;
use crate::protocol::close::EndReason;
use crate::registry::inbox::{Command, Inbox, Item};

/// A number above that of all schedules for one pusher of two items.
const SCHEDULES: usize = 20_000;

fn push(inbox: &Inbox, pusher: usize, number: u32) {
    inbox.command(Command::End(ConnectionId::new(pusher, 0, number), EndReason::Restarting));
}

/// Lets threads push `each` items, which this thread takes as the fan-out task does.
fn take_from(pushers: usize, each: u32) {
    let inbox = Arc::new(Inbox::new(1024));
    let mut taken = vec![0; pushers];
    let pushers: Vec<_> = (0..pushers)
        .map(|pusher| {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || (0..each).for_each(|number| push(&inbox, pusher, number)))
        })
        .collect();
    future::block_on(async {
        let mut items = Vec::new();
        while taken.iter().any(|count| *count < each) {
            if !inbox.take(&mut items) {
                // A lost wake is a deadlock, which the scheduler reports.
                inbox.wait().await;
            }
            for item in items.drain(..) {
                let Item::Command(command) = item else { panic!("{item:?}") };
                let Command::End(id, _) = *command else { panic!("{command:?}") };
                let next = &mut taken[id.shard()];
                assert_eq!(id, ConnectionId::new(id.shard(), 0, *next), "out of order");
                *next += 1;
            }
        }
    });
    pushers.into_iter().for_each(|pusher| pusher.join().expect("a pusher ends"));
}

pub(crate) fn no_wake_is_lost() {
    let tried =
        Runner::new(DfsScheduler::new(Some(SCHEDULES), false), Config::default()).run(|| take_from(1, 2));
    assert!(tried < SCHEDULES, "not all schedules of the smallest model were tried");
    shuttle::check_random(|| take_from(2, 4), 1_000);
    shuttle::check_pct(|| take_from(2, 3), 1_000, 3);
}

/// Runs an inbox with a classic mistake: the shard looks, and announces only later that it sleeps.
pub(crate) fn a_lost_wake_is_noticed() {
    let wrong = || {
        let inbox = Arc::new((crate::Mutex::new(Vec::new()), crate::Mutex::<Option<Waker>>::new(None)));
        let shared = Arc::clone(&inbox);
        let pusher = thread::spawn(move || {
            shared.0.lock().push(1);
            let sleeper = shared.1.lock().take();
            if let Some(sleeper) = sleeper {
                sleeper.wake();
            }
        });
        future::block_on(poll_fn(|cx| {
            let is_empty = inbox.0.lock().is_empty();
            if !is_empty {
                return Poll::Ready(());
            }
            *inbox.1.lock() = Some(cx.waker().clone());
            Poll::Pending
        }));
        pusher.join().expect("the pusher ends");
    };
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(|| shuttle::check_dfs(wrong, Some(SCHEDULES))));
    std::panic::set_hook(quiet);
    let found = outcome.expect_err("the model finds nothing");
    let found = found.downcast_ref::<String>().expect("a message");
    assert!(found.contains("deadlock"), "{found}");
}
