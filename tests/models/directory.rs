//! Models of the user directory: one connection at a time holds a user id, a replaced connection does not remove its
//! successor, and in the end the directory is empty.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use shuttle::thread;

use crate::names::{ConnectionId, UserId};
use crate::registry::directory::Directory;

fn together<F: Fn(ConnectionId) + Send + Sync + 'static>(count: usize, work: F) {
    let work = Arc::new(work);
    let threads: Vec<_> = (1..=count)
        .map(|number| {
            let work = Arc::clone(&work);
            thread::spawn(move || work(ConnectionId::new(0, number, 0)))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
}

fn user() -> UserId {
    "alice".parse().expect("a user id")
}

/// Claims one id from several connections: the holder has it alone until it gives it up, and a refused claim gives up
/// nothing.
fn claims() {
    let (directory, holders) = (Arc::new(Directory::default()), AtomicUsize::new(0));
    let shared = Arc::clone(&directory);
    together(3, move |id| {
        if shared.claim(&user(), id, None).is_ok() {
            assert_eq!(holders.fetch_add(1, SeqCst), 0, "held twice");
            thread::yield_now();
            holders.fetch_sub(1, SeqCst);
        }
        shared.remove(&user(), id);
    });
    assert!(directory.is_empty(), "an entry is left behind");
}

/// Replaces an incumbent that does not answer: one of two claims gets the id, and keeps it while the incumbent cleans
/// up.
fn successors() {
    let (directory, incumbent) = (Arc::new(Directory::default()), ConnectionId::new(1, 0, 0));
    directory.claim(&user(), incumbent, None).expect("nobody is there");
    let (shared, successors) = (Arc::clone(&directory), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&successors);
    together(3, move |id| {
        if id.slot() == 3 {
            shared.remove(&user(), incumbent);
            return;
        }
        if shared.replace_if(&user(), incumbent, id, None).is_ok() || shared.claim(&user(), id, None).is_ok()
        {
            count.fetch_add(1, SeqCst);
        }
    });
    assert_eq!(successors.load(SeqCst), 1, "exactly one claim gets the id");
    assert_eq!(directory.len(), 1, "the successor still has the id");
}

pub(crate) fn a_user_is_held_once() {
    for model in [claims, successors] {
        shuttle::check_dfs(model, Some(1_000));
        shuttle::check_pct(model, 1_000, 3);
    }
}
