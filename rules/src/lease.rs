//! Who may forward writes, and until when. A gateway may forward writes of migrating capabilities only while its validity
//! lasts, and gets a new one only when it has taken the last fence of every capability.
//!
//! Decides whether a report counts, which validity answers it, and whether a fence holds everywhere. Reads no clock: time
//! comes in as [`Steady`], because a clock that is set must neither end a validity early here nor keep one for ever. Does
//! not know what a report says besides: the orchestrator keeps that.
//!
//! The promise: once [`Leases::raise_floor`] has answered `true`, no gateway that decides by an older generation forwards
//! a write, as long as clocks of gateways and orchestrator run equally fast within [`MARGIN`] in a validity.

mod mandate;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Steady;

pub use mandate::Mandate;

/// A validity counts from the departure of the report that it answers, which is earlier than its receipt here; and clocks
/// do not run equally fast. For so much longer it is reckoned with.
pub const MARGIN: Duration = Duration::from_secs(2);
/// No report is on its way for longer than this: its sender gives it up before.
pub const BELIEVED: Duration = Duration::from_secs(10);
/// A gateway whose validity ended so long ago is forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// The validities that were given out, and what it takes to get one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    validity: Duration,
    holders: BTreeMap<String, Holder>,
    /// By capability: who works by an older generation gets no validity.
    floors: BTreeMap<String, u64>,
}

/// A gateway, as far as its validity goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Holder {
    counts_until: Steady,
    /// What it said last, and when.
    said: Option<(Said, Steady)>,
    /// What it said is no generation of ours.
    astray: bool,
    /// It said that it forwards nothing any more.
    ended: bool,
}

/// What a report says about its own place among reports. The greater one is the later one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Said {
    /// When its process began, and how many reports it has sent since.
    pub order: (u64, u64),
    /// The generation that every request is decided by.
    pub generation: u64,
}

/// What becomes of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was overtaken by a newer one of the same gateway: nothing in it counts.
    Late,
    /// It counts, but its gateway has not taken the last fence: no validity.
    Behind,
    /// Its gateway works by a generation that was never published here: by another orchestrator's state, or by one that was
    /// lost. No validity, and no fence holds until it has taken what is published here.
    Astray,
    /// It counts, and its gateway may forward for so long from when it sent it.
    Valid(Duration),
}

impl Holder {
    /// When it spoke last.
    fn heard(&self) -> Steady {
        self.said.map_or_else(Steady::default, |(_, at)| at)
    }
}

impl Leases {
    /// Leases of which only the holders' names are known: somebody may have given them a validity a moment ago.
    pub fn new(validity: Duration, gateways: Vec<String>, now: Steady) -> Leases {
        let counts_until = now.plus(validity).plus(MARGIN);
        let holders = gateways.into_iter().map(|name| (name, Holder { counts_until, ..Holder::default() }));
        Leases { validity, holders: holders.collect(), floors: BTreeMap::new() }
    }

    /// Takes a report in. `newest`: the newest generation that was ever published.
    pub fn hear(&mut self, gateway: &str, said: Said, newest: u64, now: Steady) -> Heard {
        let holder = self.holders.entry(gateway.to_owned()).or_default();
        // After a silence anything is believed: a gateway whose clock was set back before it started is no older one.
        if holder.said.is_some_and(|(known, at)| said < known && now.since(at) <= BELIEVED) {
            return Heard::Late;
        }
        holder.said = Some((said, now));
        holder.ended = false;
        holder.astray = said.generation > newest;
        let until = now.plus(self.validity).plus(MARGIN);
        if holder.astray {
            // Whoever published that may have given it a validity, and may go on doing so.
            holder.counts_until = holder.counts_until.max(until);
            return Heard::Astray;
        }
        if self.floors.values().any(|floor| said.generation < *floor) {
            return Heard::Behind;
        }
        holder.counts_until = holder.counts_until.max(until);
        Heard::Valid(self.validity)
    }

    /// Takes in the last report of a gateway, which forwards nothing any more: nobody waits for its validity to end.
    pub fn end(&mut self, gateway: &str, said: Said, now: Steady) {
        if let Some(holder) = self.holders.get_mut(gateway)
            && holder.said.is_none_or(|(known, at)| said > known || now.since(at) > BELIEVED)
        {
            *holder = Holder { counts_until: now, said: Some((said, now)), ended: true, astray: false };
        }
    }

    /// From now on, nobody who works by an older generation gets a validity for this capability; `false`, and no change,
    /// when somebody still has one.
    pub fn raise_floor(&mut self, capability: &str, floor: u64, now: Steady) -> bool {
        let behind = self.holders.values().any(|holder| {
            let generation = holder.said.map_or(0, |(said, _)| said.generation);
            now < holder.counts_until && (generation < floor || holder.astray)
        });
        if !behind {
            self.restore_floor(capability, floor);
        }
        !behind
    }

    /// Sets a floor that is stored: it was checked when it was written. An older one than is known changes nothing.
    pub fn restore_floor(&mut self, capability: &str, floor: u64) {
        let known = self.floors.entry(capability.to_owned()).or_default();
        *known = floor.max(*known);
    }

    /// Whether a gateway's name is known.
    pub fn knows(&self, gateway: &str) -> bool {
        self.holders.contains_key(gateway)
    }

    /// Whether a gateway said last that it works by a generation that was never published here.
    pub fn is_astray(&self, gateway: &str) -> bool {
        self.holders.get(gateway).is_some_and(|holder| holder.astray)
    }

    /// For how long from now a gateway is reckoned with; zero: its validity has surely ended.
    pub fn left(&self, gateway: &str, now: Steady) -> Duration {
        self.holders.get(gateway).map_or(Duration::ZERO, |holder| holder.counts_until.since(now))
    }

    /// All names, in order.
    pub fn gateways(&self) -> impl Iterator<Item = &str> {
        self.holders.keys().map(String::as_str)
    }

    /// Drops gateways that have said that they are gone, or are silent for long, and names them. One that gets no validity and
    /// goes on reporting is there: it has to hear what begins to move.
    pub fn forget(&mut self, now: Steady) -> Vec<String> {
        let gone = |holder: &Holder| now.since(holder.heard().max(holder.counts_until)) > FORGET;
        self.holders.extract_if(.., |_, holder| holder.ended || gone(holder)).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BELIEVED, Heard, Leases, MARGIN, Said};
    use crate::time::Steady;

    const VALIDITY: Duration = Duration::from_secs(5);
    const NEWEST: u64 = 9;

    fn at(ms: u64) -> Steady {
        Steady(ms)
    }

    fn said(order: (u64, u64), generation: u64) -> Said {
        Said { order, generation }
    }

    #[test]
    fn a_floor_waits_for_everybody_who_may_forward_by_something_older() {
        let mut leases = Leases::new(VALIDITY, vec![], at(0));
        assert_eq!(leases.hear("a", said((1, 1), 3), NEWEST, at(0)), Heard::Valid(VALIDITY));
        assert_eq!(leases.hear("b", said((1, 1), 4), NEWEST, at(0)), Heard::Valid(VALIDITY));
        assert!(!leases.raise_floor("users", 4, at(10)), "a works by 3");
        assert_eq!(leases.hear("a", said((1, 2), 4), NEWEST, at(20)), Heard::Valid(VALIDITY));
        assert!(leases.raise_floor("users", 4, at(30)));
        assert_eq!(leases.hear("a", said((2, 1), 3), NEWEST, at(40)), Heard::Behind, "it began anew with what was on its disk");
    }

    #[test]
    fn whoever_is_silent_counts_until_its_validity_has_surely_ended() {
        let mut leases = Leases::new(VALIDITY, vec!["a".into()], at(1_000));
        let end = 1_000 + (VALIDITY + MARGIN).as_millis() as u64;
        assert!(!leases.raise_floor("users", 1, at(end - 1)));
        assert_eq!(leases.left("a", at(end - 1)), Duration::from_millis(1));
        assert!(leases.raise_floor("users", 1, at(end)));
    }

    #[test]
    fn a_gateway_that_is_behind_keeps_the_validity_that_it_has() {
        let mut leases = Leases::new(VALIDITY, vec![], at(0));
        leases.hear("a", said((1, 1), 2), NEWEST, at(0));
        leases.restore_floor("users", 3);
        assert_eq!(leases.hear("a", said((1, 2), 2), NEWEST, at(100)), Heard::Behind);
        assert_eq!(leases.left("a", at(100)), VALIDITY + MARGIN - Duration::from_millis(100));
    }

    #[test]
    fn a_report_that_was_overtaken_counts_for_nothing_until_a_silence() {
        let mut leases = Leases::new(VALIDITY, vec![], at(0));
        leases.hear("a", said((2, 7), 9), NEWEST, at(0));
        assert_eq!(leases.hear("a", said((2, 6), 9), NEWEST, at(1)), Heard::Late);
        assert_eq!(leases.hear("a", said((1, 99), 9), NEWEST, at(1)), Heard::Late, "of the process before");
        assert_eq!(leases.hear("a", said((2, 7), 8), NEWEST, at(1)), Heard::Late, "of a release that does not count its reports");
        assert_eq!(leases.hear("a", said((1, 100), 9), NEWEST, at(2).plus(BELIEVED)), Heard::Valid(VALIDITY));
    }

    #[test]
    fn a_generation_that_was_never_published_is_followed_by_nobody() {
        let mut leases = Leases::new(VALIDITY, vec![], at(0));
        assert_eq!(leases.hear("a", said((1, 1), 57), 3, at(0)), Heard::Astray);
        assert!(leases.is_astray("a"));
        assert!(!leases.raise_floor("users", 5, at(10)), "57 of another orchestrator is no 57 of ours");
        let end = (VALIDITY + MARGIN).as_millis() as u64;
        assert!(!leases.raise_floor("users", 5, at(end - 1)), "somebody may have given it a validity");
        // It was started anew without what was on its disk.
        assert_eq!(leases.hear("a", said((2, 1), 5), 5, at(20)), Heard::Valid(VALIDITY));
        assert!(!leases.is_astray("a") && leases.raise_floor("users", 5, at(30)));
    }

    #[test]
    fn an_older_floor_does_not_lower_one() {
        let mut leases = Leases::new(VALIDITY, vec![], at(0));
        leases.restore_floor("users", 5);
        leases.restore_floor("users", 4);
        assert_eq!(leases.hear("a", said((1, 1), 4), NEWEST, at(0)), Heard::Behind);
    }

    /// A process that makes way goes on forwarding by what it knows, under a name of its own, beside the one that has its name.
    #[test]
    fn who_makes_way_is_reckoned_with_beside_its_successor_until_it_has_ended() {
        let mut leases = Leases::new(VALIDITY, vec![], at(0));
        leases.hear("a", said((1, 1), 3), NEWEST, at(0));
        assert_eq!(leases.hear("a~1", said((1, 2), 3), NEWEST, at(10)), Heard::Valid(VALIDITY));
        assert_eq!(leases.hear("a", said((2, 1), 4), NEWEST, at(20)), Heard::Valid(VALIDITY), "the next process");
        assert!(!leases.raise_floor("users", 4, at(30)), "the old one forwards by 3");
        leases.end("a~1", said((1, 1), 3), at(40));
        assert!(!leases.raise_floor("users", 4, at(40)), "overtaken: it is an earlier report");
        leases.end("a~1", said((1, 3), 3), at(50));
        assert!(leases.raise_floor("users", 4, at(50)), "it forwards nothing any more");
        assert_eq!(leases.forget(at(60)), ["a~1"]);
        leases.end("b", said((1, 1), 3), at(70));
        assert!(!leases.knows("b"));
    }

    #[test]
    fn names_are_forgotten_long_after() {
        let mut leases = Leases::new(VALIDITY, vec!["a".into()], at(0));
        assert!(leases.forget(at(607_000)).is_empty());
        assert_eq!(leases.forget(at(607_001)), ["a"]);
        assert!(!leases.knows("a"));
    }

    #[test]
    fn who_gets_no_validity_and_goes_on_reporting_is_not_forgotten() {
        let mut leases = Leases::new(VALIDITY, vec!["a".into()], at(0));
        leases.restore_floor("users", 5);
        assert_eq!(leases.hear("a", said((1, 1), 4), NEWEST, at(606_000)), Heard::Behind);
        assert!(leases.forget(at(607_001)).is_empty(), "it spoke a second ago");
        assert!(leases.forget(at(1_206_000)).is_empty());
        assert_eq!(leases.forget(at(1_206_001)), ["a"], "it has been silent since");
    }
}
