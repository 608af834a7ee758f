//! The rooms that this node has found last for the list that everybody may see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::config::Config;
use crate::protocol::event::Preview;

/// A room that everybody may see in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedRow {
    /// Its name.
    pub room: String,
    /// Users in it now, on all nodes.
    pub members: usize,
    /// The beginning of its last message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Preview>,
}

impl ListedRow {
    /// Adds what another node says about the room.
    pub(super) fn join(&mut self, other: &mut Self) {
        self.members = self.members.max(other.members);
        let time = |row: &Self| row.last.as_ref().map(|last| last.ts);
        if time(other) > time(self) {
            self.last = other.last.take();
        }
    }
}

/// The rooms are not looked through again before this many times as long has passed as it took: a server with very many
/// rooms spends no more than a small part of one core on its list, however many servers ask.
const PAUSE: u32 = 20;

/// The listed rooms of a node, as they were found last.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// `None` before the first time. Those who come while the rooms are looked through wait at the lock for what is
    /// found. They are few, because a server asks each other one at most once a second.
    found: Mutex<Option<Found>>,
}

#[derive(Debug)]
struct Found {
    /// The settings by which they were found.
    config: Arc<Config>,
    /// When it is time to look again.
    until: Instant,
    rows: Vec<ListedRow>,
}

impl Listing {
    /// Returns the rooms that were found last by these settings, or runs `find` if it is time to look again. It returns
    /// the rooms, and for how long it kept its thread busy. However many call this at once, one of them looks.
    ///
    /// # Cancel safety
    /// Dropping the future lets the next caller look.
    pub(super) async fn rows(
        &self,
        config: &Arc<Config>,
        find: impl Future<Output = (Vec<ListedRow>, Duration)>,
    ) -> Vec<ListedRow> {
        let mut found = self.found.lock().await;
        if let Some(found) = &*found
            && Arc::ptr_eq(&found.config, config)
            && Instant::now() < found.until
        {
            return found.rows.clone();
        }
        let (rows, took) = find.await;
        let until = Instant::now() + took * PAUSE;
        *found = Some(Found { config: Arc::clone(config), until, rows: rows.clone() });
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    /// The rooms of a node, and how often somebody has begun to look through them.
    #[derive(Default)]
    struct Looks {
        listing: Listing,
        count: AtomicUsize,
        is_looking: AtomicBool,
    }

    impl Looks {
        async fn find(&self) -> (Vec<ListedRow>, Duration) {
            let count = self.count.fetch_add(1, Relaxed) + 1;
            assert!(!self.is_looking.swap(true, Relaxed), "another one looks, too");
            yield_now().await;
            self.is_looking.store(false, Relaxed);
            let row = ListedRow { room: format!("look {count}"), members: 1, last: None };
            (vec![row], Duration::from_mins(1))
        }

        async fn rows(&self, config: &Arc<Config>) -> Vec<ListedRow> {
            self.listing.rows(config, self.find()).await
        }
    }

    /// 1. One begins to look and goes away. 2. Many ask at once: one of them looks, and all get what it finds.
    /// 3. With other settings the rooms are looked through again.
    #[tokio::test]
    async fn one_of_many_looks_for_the_rooms() {
        let looks = Arc::new(Looks::default());
        let settings = [Config::default(), Config::default()].map(Arc::new);
        tokio::select! {
            biased;
            rows = looks.rows(&settings[0]) => panic!("it does not wait: {rows:?}"),
            () = ready(()) => looks.is_looking.store(false, Relaxed),
        }
        for (config, expected) in settings.iter().zip(["look 2", "look 3"]) {
            let mut all = JoinSet::new();
            for _ in 0..50 {
                let (looks, config) = (Arc::clone(&looks), Arc::clone(config));
                all.spawn(async move { looks.rows(&config).await });
            }
            for rows in all.join_all().await {
                assert_eq!(rows[0].room, expected);
            }
        }
        assert_eq!(looks.count.load(Relaxed), 3);
    }
}
