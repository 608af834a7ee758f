//! The answers about users and rooms that are remembered.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::names::{RoomName, UserId};
use crate::shrink::ShrinkWhenSparse;

/// Most answers that are remembered; beyond it the oldest is forgotten.
const MOST: usize = 65_536;

type Pair = (UserId, RoomName);

/// The last answers, by user and room.
#[derive(Debug)]
pub(super) struct Answers {
    keep_ms: u64,
    /// Each answer, and its number.
    known: HashMap<Pair, (bool, u64)>,
    /// The answers by age: when each is forgotten, its number and its pair.
    by_age: VecDeque<(u64, u64, Pair)>,
    next: u64,
}

impl Answers {
    pub(super) fn new(keep: Duration) -> Self {
        let keep_ms = keep.as_millis() as u64;
        Self { keep_ms, known: HashMap::new(), by_age: VecDeque::new(), next: 0 }
    }

    /// Returns the answer about a pair, if one is remembered.
    pub(super) fn find(&mut self, pair: &Pair, now_ms: u64) -> Option<bool> {
        self.forget(now_ms, MOST);
        self.known.get(pair).map(|(is_allowed, _)| *is_allowed)
    }

    pub(super) fn remember(&mut self, pair: Pair, is_allowed: bool, now_ms: u64) {
        if self.keep_ms == 0 {
            return;
        }
        self.forget(now_ms, MOST - 1);
        self.next += 1;
        self.by_age.push_back((now_ms + self.keep_ms, self.next, pair.clone()));
        self.known.insert(pair, (is_allowed, self.next));
    }

    /// Forgets what is too old, and the oldest beyond `most`.
    fn forget(&mut self, now_ms: u64, most: usize) {
        while let Some((_, number, pair)) =
            self.by_age.pop_front_if(|(until_ms, ..)| *until_ms <= now_ms).or_else(|| self.surplus(most))
        {
            // A later answer about the same pair has another number.
            if self.known.get(&pair).is_some_and(|(_, known)| *known == number) {
                self.known.remove(&pair);
            }
        }
        self.known.shrink_when_sparse();
        self.by_age.shrink_when_sparse();
    }

    fn surplus(&mut self, most: usize) -> Option<(u64, u64, Pair)> {
        if self.by_age.len() > most { self.by_age.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(number: usize) -> Pair {
        (format!("user{number}").parse().unwrap(), "a".parse().unwrap())
    }

    #[test]
    fn answers_are_remembered_for_their_time() {
        let mut answers = Answers::new(Duration::from_millis(30));
        answers.remember(pair(1), true, 0);
        answers.remember(pair(2), false, 10);
        answers.remember(pair(1), false, 20);
        assert_eq!([1, 2, 3].map(|number| answers.find(&pair(number), 39)), [Some(false), Some(false), None]);
        assert_eq!([1, 2].map(|number| answers.find(&pair(number), 40)), [Some(false), None]);
        assert_eq!(answers.find(&pair(1), 50), None);
        assert!(answers.known.is_empty() && answers.by_age.is_empty());
        let mut never = Answers::new(Duration::ZERO);
        never.remember(pair(1), true, 0);
        assert_eq!(never.find(&pair(1), 0), None);
    }

    #[test]
    fn the_oldest_answers_make_way() {
        let mut answers = Answers::new(Duration::from_secs(30));
        for number in 0..MOST + 10 {
            answers.remember(pair(number), true, 0);
        }
        assert_eq!((answers.known.len(), answers.by_age.len()), (MOST, MOST));
        assert_eq!([9, 10].map(|number| answers.find(&pair(number), 0)), [None, Some(true)]);
    }
}
