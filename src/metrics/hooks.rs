//! Figures of hooks, which other modules count and a scrape reads.

use super::page::Page;

/// The outcome of a question to a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The newcomer may come in.
    Allowed,
    /// The newcomer may not come in.
    Refused,
    /// An earlier answer was remembered.
    Remembered,
    /// There was no answer in time.
    Timeout,
    /// There was no usable answer.
    Error,
    /// Too many questions were under way.
    Busy,
    /// Nothing was asked, because the hook had failed several times in a row.
    NotAsked,
}

impl Question {
    /// Every outcome.
    pub const ALL: [Self; 7] = [
        Self::Allowed,
        Self::Refused,
        Self::Remembered,
        Self::Timeout,
        Self::Error,
        Self::Busy,
        Self::NotAsked,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Remembered => "remembered",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Busy => "busy",
            Self::NotAsked => "not_asked",
        }
    }
}

/// The figures of one hook.
#[derive(Debug, Clone)]
pub struct HookGauges {
    /// `connect` or `join`.
    pub name: &'static str,
    /// Questions under way.
    pub in_flight: usize,
    /// Questions by outcome.
    pub questions: [u64; Question::ALL.len()],
}

/// Writes the figures of all hooks.
pub(super) fn render(page: &mut Page, all: &[HookGauges]) {
    let name = "throng_hook_in_flight";
    page.head(name, "gauge", "Questions to each hook that are under way.");
    all.iter().for_each(|hook| page.series(name, "hook", hook.name, hook.in_flight));
    let name = "throng_hook_questions_total";
    page.head(name, "counter", "Questions to each hook, by outcome.");
    for hook in all {
        for question in Question::ALL {
            let labels = format!("{name}{{hook=\"{}\",outcome=\"{}\"}}", hook.name, question.label());
            page.plain(&labels, hook.questions[question as usize]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hook_has_its_series() {
        let mut page = Page::default();
        render(&mut page, &[HookGauges { name: "join", in_flight: 3, questions: [7, 6, 5, 4, 3, 2, 1] }]);
        for line in [
            "throng_hook_in_flight{hook=\"join\"} 3",
            "throng_hook_questions_total{hook=\"join\",outcome=\"allowed\"} 7",
            "throng_hook_questions_total{hook=\"join\",outcome=\"not_asked\"} 1",
        ] {
            assert!(page.0.lines().any(|known| known == line), "{line}: {}", page.0);
        }
    }
}
