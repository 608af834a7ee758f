//! One of the people of a demo: greets those who come, and answers those who speak.

use std::time::Duration;

use throng_client::{Client, Event, Events, SendError, State};
use tokio::time::{Instant, sleep};

use super::script::{PREFIX, Role};

/// Time that an answer takes, as if it were typed.
const TYPING: Duration = Duration::from_millis(1_200);
/// Shortest time between two answers: what is said meanwhile gets none.
const BETWEEN: Duration = Duration::from_secs(3);

/// One of the people, who answers in one room.
pub(super) struct Inhabitant {
    role: Role,
    client: Client,
    /// The time from which the next answer may be given.
    free_at: Instant,
    answers: usize,
}

impl Inhabitant {
    pub(super) fn new(role: Role, client: Client) -> Self {
        Self { role, client, free_at: Instant::now(), answers: 0 }
    }

    /// Reads events for as long as there are any.
    pub(super) async fn listen(mut self, mut events: Events) {
        while let Some(event) = events.next().await {
            let answered = match event {
                Event::Message { room, user, .. }
                    if self.answers_in(room.as_str()) && is_guest(user.as_str()) =>
                {
                    self.answer(room.as_str(), user.as_str()).await
                }
                Event::PresenceDiff { room, joined, .. } if self.answers_in(room.as_str()) => {
                    match joined.iter().find(|user| is_guest(user.as_str())) {
                        Some(guest) => self.greet(room.as_str(), guest.as_str()).await,
                        None => continue,
                    }
                }
                Event::Direct { user, .. } if is_guest(user.as_str()) => {
                    self.answer_in_private(user.as_str()).await
                }
                Event::State(State::Stopped { reason }) => {
                    tracing::warn!(user = self.role.id, %reason, "somebody of the demo is gone");
                    return;
                }
                _ => continue,
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "an answer of the demo was not said");
            }
        }
    }

    fn answers_in(&self, room: &str) -> bool {
        self.role.answers_in == room
    }

    async fn greet(&mut self, room: &str, guest: &str) -> Result<(), SendError> {
        self.say(room, format!("Hello {guest}! Say something, and you get an answer.")).await
    }

    async fn answer(&mut self, room: &str, guest: &str) -> Result<(), SendError> {
        let answer = self.role.answers[self.answers % self.role.answers.len()];
        self.say(room, format!("{guest}: {answer}")).await
    }

    async fn answer_in_private(&mut self, guest: &str) -> Result<(), SendError> {
        if self.is_busy() {
            return Ok(());
        }
        sleep(TYPING).await;
        self.client.direct(guest, "This came to you alone, and yours to me. I am a script, though.").await?;
        Ok(())
    }

    /// Says a text, unless the last one is only a moment ago.
    async fn say(&mut self, room: &str, text: String) -> Result<(), SendError> {
        if self.is_busy() {
            return Ok(());
        }
        self.answers += 1;
        self.client.typing(room);
        sleep(TYPING).await;
        self.client.say(room, &text).await?;
        Ok(())
    }

    /// Returns whether the last answer is only a moment ago; if not, one is given now.
    fn is_busy(&mut self) -> bool {
        let now = Instant::now();
        let is_busy = now < self.free_at;
        if !is_busy {
            self.free_at = now + BETWEEN;
        }
        is_busy
    }
}

fn is_guest(user: &str) -> bool {
    !user.starts_with(PREFIX)
}
