//! Sessions that were ended although nobody can end them at their source: they live in their cookie. Every gateway has to know
//! of them, and so they pass between gateways and the orchestrator, as digests: whoever hears of one cannot use the cookie.
//!
//! What is known only grows together: of two words about one cookie the later one counts, whatever the order in which they are
//! heard, and how often. Bounded: those that end first make room.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Cookies that are remembered at most.
pub const MOST: usize = 100_000;
/// Words in one message at most.
pub const AT_ONCE: usize = 1_000;
/// No digest is longer.
const LONGEST: usize = 64;

/// A word about a cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogOut {
    /// The digest of the cookie.
    pub digest: String,
    /// When this was said: of two, the later one counts.
    pub at: Timestamp,
    /// When the cookie would have ended by itself.
    pub until: Timestamp,
    /// It was given out once more since, and is worth what it was.
    #[serde(default)]
    pub undone: bool,
}

impl LogOut {
    /// What decides which of two counts.
    fn rank(&self) -> (Timestamp, bool) {
        (self.at, !self.undone)
    }
}

/// How far somebody knows a list of log-outs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The list: another one after each start of whoever keeps it.
    pub list: String,
    /// The last number of it.
    pub through: u64,
}

/// What is known, each with a number: the later it was heard of, the higher.
#[derive(Debug, Default)]
pub struct LogOuts {
    by_digest: BTreeMap<String, (u64, LogOut)>,
    by_number: BTreeMap<u64, String>,
    by_end: BTreeSet<(Timestamp, String)>,
    last: u64,
}

impl LogOuts {
    /// Takes a word in; whether it was news.
    pub fn take(&mut self, mut word: LogOut, now: Timestamp) -> bool {
        self.forget(now);
        if word.until <= now || word.digest.len() > LONGEST {
            return false;
        }
        if let Some((_, known)) = self.by_digest.get(&word.digest) {
            if word.rank() <= known.rank() {
                return false;
            }
            word.until = word.until.max(known.until);
            let digest = word.digest.clone();
            self.remove(&digest);
        }
        self.last += 1;
        self.by_number.insert(self.last, word.digest.clone());
        self.by_end.insert((word.until, word.digest.clone()));
        self.by_digest.insert(word.digest.clone(), (self.last, word));
        while self.by_digest.len() > MOST
            && let Some((_, digest)) = self.by_end.first().cloned()
        {
            self.remove(&digest);
        }
        true
    }

    /// Whether a cookie is worth nothing any more.
    pub fn is_ended(&self, digest: &str, now: Timestamp) -> bool {
        self.by_digest.get(digest).is_some_and(|(_, word)| !word.undone && word.until > now)
    }

    /// When the last word about a cookie was said.
    pub fn said(&self, digest: &str) -> Option<Timestamp> {
        self.by_digest.get(digest).map(|(_, word)| word.at)
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    /// The number of the last one.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What was heard after a number, some of it, and through which number that is.
    pub fn after(&self, number: u64) -> (Vec<LogOut>, u64) {
        let later = self.by_number.range(number.saturating_add(1)..).take(AT_ONCE);
        let some: Vec<(u64, LogOut)> =
            later.filter_map(|(number, digest)| Some((*number, self.by_digest.get(digest)?.1.clone()))).collect();
        let through = some.last().filter(|_| some.len() == AT_ONCE).map_or(self.last, |(number, _)| *number);
        (some.into_iter().map(|(_, word)| word).collect(), through)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &LogOut> {
        self.by_digest.values().map(|(_, word)| word)
    }

    /// Drops those whose time is over.
    fn forget(&mut self, now: Timestamp) {
        while let Some((_, digest)) = self.by_end.first().filter(|(until, _)| *until <= now).cloned() {
            self.remove(&digest);
        }
    }

    fn remove(&mut self, digest: &str) {
        if let Some((number, word)) = self.by_digest.remove(digest) {
            self.by_number.remove(&number);
            self.by_end.remove(&(word.until, word.digest));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

    use super::{AT_ONCE, LogOut, LogOuts, MOST};
    use crate::Timestamp;

    const NOW: Timestamp = Timestamp(1_000);

    fn word(digest: &str, at: u64, until: u64) -> LogOut {
        LogOut { digest: digest.to_owned(), at: Timestamp(at), until: Timestamp(until), undone: false }
    }

    fn sorted(known: &LogOuts) -> Vec<LogOut> {
        known.all().cloned().collect()
    }

    #[test]
    fn a_cookie_is_ended_until_its_time_is_over_or_it_is_given_out_once_more() {
        let mut known = LogOuts::default();
        assert!(known.take(word("a", 900, 2_000), NOW));
        assert!(!known.take(word("a", 900, 2_000), NOW), "that is no news");
        assert!(!known.take(word("b", 900, 1_000), NOW), "its time is over");
        assert!(!known.take(word(&"x".repeat(65), 900, 2_000), NOW), "that is no digest");
        let ended = |known: &LogOuts, at| ["a", "b"].map(|digest| known.is_ended(digest, Timestamp(at)));
        assert_eq!((ended(&known, 1_999), ended(&known, 2_000)), ([true, false], [false, false]));
        let undone = LogOut { undone: true, ..word("a", 950, 1_500) };
        assert!(known.take(undone.clone(), NOW));
        assert!(!known.take(word("a", 900, 2_000), NOW), "who tells it late does not end it anew");
        assert_eq!(ended(&known, 1_100), [false, false]);
        assert!(known.take(word("a", 951, 1_500), NOW) && !known.take(undone, NOW));
        assert_eq!((ended(&known, 1_999), ended(&known, 2_000)), ([true, false], [false, false]), "the longer time counts");
        known.take(word("c", 1, 9_000), Timestamp(2_000));
        assert_eq!(sorted(&known).len(), 1, "what is over is dropped");
    }

    #[test]
    fn those_that_end_first_make_room() {
        let mut known = LogOuts::default();
        let most = u64::try_from(MOST).expect("a number");
        for nth in 0..=most {
            known.take(word(&format!("{nth}"), 1, 10_000 + (nth + 7) % (most + 1)), NOW);
        }
        assert_eq!(sorted(&known).len(), MOST);
        let gone = format!("{}", most - 6);
        assert!(!known.is_ended(&gone, NOW) && known.is_ended("0", NOW) && known.is_ended(&format!("{most}"), NOW));
    }

    #[test]
    fn a_list_is_told_in_parts() {
        let (mut known, mut other) = (LogOuts::default(), LogOuts::default());
        (0..AT_ONCE * 2 + 5).for_each(|nth| assert!(known.take(word(&format!("{nth}"), 1, 9_000), NOW)));
        let (mut through, mut parts) = (0, Vec::new());
        while through < known.last() {
            let (part, next) = known.after(through);
            parts.push(part.len());
            part.into_iter().for_each(|word| assert!(other.take(word, NOW)));
            through = next;
        }
        assert_eq!(parts, [AT_ONCE, AT_ONCE, 5]);
        assert_eq!(sorted(&other), sorted(&known));
        assert_eq!(known.after(through), (vec![], through));
        assert!(known.after(u64::MAX).0.is_empty(), "somebody else's number");
    }

    proptest! {
        /// In whatever order, and however often, they are heard.
        #[test]
        fn all_come_to_know_the_same(words in prop::collection::vec(
            ((0..4_u8), (0..6_u64), (1_001..1_010_u64), any::<bool>()).prop_map(|(digest, at, until, undone)| LogOut {
                undone, ..word(&digest.to_string(), at, until)
            }),
            0..12,
        ), turn in 0..12_usize) {
            let mut other = words.clone();
            other.rotate_left(turn.min(words.len()));
            other.extend(words.iter().rev().cloned());
            let know = |words: &[LogOut]| {
                let mut known = LogOuts::default();
                for word in words { known.take(word.clone(), NOW); }
                known.all().map(|word| (word.digest.clone(), word.at, word.undone)).collect::<Vec<_>>()
            };
            prop_assert_eq!(know(&words), know(&other));
        }
    }
}
