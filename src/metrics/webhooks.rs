//! Figures of webhooks and hooks, which other modules count and a scrape reads.

use std::time::Duration;

use super::page::Page;

/// The result of an attempt to deliver events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has them.
    Delivered,
    /// The receiver answered with another status than 2xx.
    Status,
    /// The receiver did not answer in time.
    Timeout,
    /// The receiver was not reached, or not understood.
    Error,
}

impl Attempt {
    /// Every result.
    pub const ALL: [Self; 4] = [Self::Delivered, Self::Status, Self::Timeout, Self::Error];

    const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Status => "status",
            Self::Timeout => "timeout",
            Self::Error => "error",
        }
    }
}

/// The figures of one receiver of webhooks.
#[derive(Debug, Clone)]
pub struct WebhookGauges {
    /// Its place in the configuration.
    pub place: usize,
    /// Events that it was to be told.
    pub events: u64,
    /// Attempts to deliver, by result.
    pub attempts: [u64; Attempt::ALL.len()],
    /// Events that wait or are under way.
    pub queue: usize,
    /// Age of the oldest event that waits.
    pub oldest: Duration,
    /// Events that were dropped.
    pub dropped: u64,
}

/// Writes the figures of all receivers.
pub(super) fn render(page: &mut Page, all: &[WebhookGauges]) {
    let mut each = |name: &str, kind: &str, help: &str, of: &dyn Fn(&WebhookGauges) -> String| {
        page.head(name, kind, help);
        all.iter().for_each(|one| page.series(name, "webhook", one.place, of(one)));
    };
    each("throng_webhook_events_total", "counter", "Events for each webhook.", &|one| one.events.to_string());
    each("throng_webhook_queue", "gauge", "Events that wait for each webhook or are under way.", &|one| {
        one.queue.to_string()
    });
    each(
        "throng_webhook_oldest_seconds",
        "gauge",
        "Age of the oldest event that waits for each webhook.",
        &|one| one.oldest.as_secs_f64().to_string(),
    );
    each("throng_webhook_dropped_total", "counter", "Events dropped for each webhook.", &|one| {
        one.dropped.to_string()
    });
    let name = "throng_webhook_attempts_total";
    page.head(name, "counter", "Requests to each webhook, by outcome.");
    for one in all {
        for attempt in Attempt::ALL {
            let (place, outcome) = (one.place, attempt.label());
            let labels = format!("{name}{{webhook=\"{place}\",outcome=\"{outcome}\"}}");
            page.plain(&labels, one.attempts[attempt as usize]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_webhook_has_its_series() {
        let one = WebhookGauges {
            place: 1,
            events: 9,
            attempts: [4, 3, 2, 1],
            queue: 5,
            oldest: Duration::from_millis(2_500),
            dropped: 6,
        };
        let mut page = Page::default();
        render(&mut page, &[one]);
        for line in [
            "throng_webhook_events_total{webhook=\"1\"} 9",
            "throng_webhook_attempts_total{webhook=\"1\",outcome=\"timeout\"} 2",
            "throng_webhook_queue{webhook=\"1\"} 5",
            "throng_webhook_oldest_seconds{webhook=\"1\"} 2.5",
            "throng_webhook_dropped_total{webhook=\"1\"} 6",
        ] {
            assert!(page.0.lines().any(|known| known == line), "{line}: {}", page.0);
        }
    }
}
