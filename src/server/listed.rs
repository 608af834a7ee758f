//! `GET /rooms`: the rooms that `chat.listed_rooms` lets everybody see. The answer is the same for all, and is made at
//! most once a second however many ask: by one task, which none of them can interrupt by going away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::admission::Refusal;
use crate::config::Config;
use crate::http::{Response, respond};
use crate::node::Node;
use crate::node::survey::{ListedRow, NoEngine, Question};

/// The path of the list.
pub(super) const PATH: &str = "/rooms";

/// Time for which an answer is given again, from the moment when it was made.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest wait for an answer. A silent node delays it by two seconds, and after a change of the settings, one that is
/// being made has to end first, and its period, too.
const PATIENCE: Duration = Duration::from_secs(6);

/// The list as everybody gets it.
#[derive(Debug)]
struct Made {
    /// The settings by which it was made. With others it counts no longer.
    config: Arc<Config>,
    until: Instant,
    json: Result<Bytes, Refusal>,
}

/// The last answer, and the way to ask for the next one.
#[derive(Debug)]
pub(super) struct RoomList {
    asked: Notify,
    made: watch::Sender<Option<Made>>,
}

impl Default for RoomList {
    fn default() -> Self {
        Self { asked: Notify::new(), made: watch::Sender::new(None) }
    }
}

#[derive(Serialize)]
struct List {
    rooms: Vec<ListedRow>,
}

impl RoomList {
    /// Answers a request. This takes [`PATIENCE`] at most. A node that is silent is left out of the answer: the others
    /// know the members and messages of the rooms that they have open, too.
    ///
    /// # Errors
    /// [`Refusal::NoEngine`], [`Refusal::Draining`], or [`Refusal::AtCapacity`] if there is no answer in that time.
    pub(super) async fn answer(&self, node: &Node) -> Result<Response, Refusal> {
        if node.config().chat.listed_rooms.is_empty() {
            return json(&List { rooms: Vec::new() }).map(response);
        }
        if node.is_draining() {
            return Err(Refusal::Draining);
        }
        let mut made = self.made.subscribe();
        let answered = timeout(PATIENCE, async {
            if let Some(json) = made.borrow_and_update().as_ref().and_then(|made| made.current(node)) {
                return json;
            }
            loop {
                self.asked.notify_one();
                // The sender is a part of this list.
                let _ = made.changed().await;
                // It was made while this request waited, so it counts however late this task had its turn.
                if let Some(json) =
                    made.borrow_and_update().as_ref().and_then(|made| made.by_settings_of(node))
                {
                    return json;
                }
            }
        });
        answered.await.unwrap_or(Err(Refusal::AtCapacity)).map(response)
    }

    /// Makes the answers that are asked for; never returns.
    pub(super) async fn run(&self, node: &Node) {
        loop {
            self.asked.notified().await;
            // Those who asked while the last answer was being made have got it, and others may have gone away.
            if self.made.receiver_count() == 0 {
                continue;
            }
            let config = Arc::clone(&*node.config());
            let json = match node.survey(&Question::Listed).await {
                Ok(survey) => json(&List { rooms: survey.listed(&config.chat.listed_rooms) }),
                Err(NoEngine) => Err(Refusal::NoEngine),
            };
            let until = Instant::now() + PERIOD;
            self.made.send_replace(Some(Made { config, until, json }));
            sleep_until(until).await;
        }
    }
}

impl Made {
    /// Returns the answer, unless it is too old or was made by other settings than those in force.
    fn current(&self, node: &Node) -> Option<Result<Bytes, Refusal>> {
        self.by_settings_of(node).filter(|_| Instant::now() < self.until)
    }

    /// Returns the answer, unless it was made by other settings than those in force.
    fn by_settings_of(&self, node: &Node) -> Option<Result<Bytes, Refusal>> {
        Arc::ptr_eq(&self.config, &node.config()).then(|| self.json.clone())
    }
}

fn json(list: &List) -> Result<Bytes, Refusal> {
    simd_json::serde::to_vec(list).map(Bytes::from).map_err(|error| {
        // No value in it can cause this.
        tracing::error!(%error, "the list of rooms cannot be written as JSON");
        Refusal::AtCapacity
    })
}

fn response(json: Bytes) -> Response {
    respond::json(StatusCode::OK, json)
}
