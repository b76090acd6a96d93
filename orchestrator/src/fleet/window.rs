//! Counters of gateways over windows: since the present step began, and the last minutes. Gateways count from their
//! start; what they count is added up here over all of them and over their restarts.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ficus_rules::Timestamp;
use ficus_rules::gate::{self, Sides};
use ficus_rules::migration::{Phase, State};
use ficus_rules::wire::{GatewayCapability, ShadowCounts, Traffic};

/// The last minutes.
const RECENT: Duration = Duration::from_secs(300);
/// How finely the last minutes move on.
const GRAIN: Duration = Duration::from_secs(10);
/// As many of them, the newest of which lasts.
const MARKS_OF_A_MINUTE: usize = 5;

/// The counters of one capability.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// By gateway: its incarnation and what it had counted.
    seen: BTreeMap<String, (String, Counts)>,
    total: Counts,
    /// The total at some moments of the last minutes, oldest first, none before the step began.
    marks: VecDeque<(Timestamp, Counts)>,
    step: Option<(Phase, usize)>,
    at_step: Counts,
}

/// What was counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) sides: Sides,
    pub(super) writes: Traffic,
    pub(super) shadow: ShadowCounts,
}

impl Window {
    /// Adds what a gateway counted since its last report. The first report of one that was not known only sets where its
    /// counting is: it may have counted long before this process began.
    pub(crate) fn absorb(&mut self, gateway: &str, incarnation: &str, report: &GatewayCapability) {
        let of = |traffic: &Traffic| traffic.clone().refined();
        let sides = Sides {
            legacy: of(&report.legacy),
            modern: of(&report.modern),
            legacy_writes: of(&report.legacy_writes),
            modern_writes: of(&report.modern_writes),
        };
        let now = Counts { sides, writes: of(&report.writes), shadow: report.shadow.clone() };
        let before = self.seen.insert(gateway.to_owned(), (incarnation.to_owned(), now.clone()));
        let more = match before {
            Some((same, before)) if same == incarnation => now.since(&before),
            // It was restarted under our eyes: it has counted from zero.
            Some(_) => now,
            None => return,
        };
        self.total.sides.add(&more.sides);
        gate::add(&mut self.total.writes, &more.writes);
        let (sum, more) = (&mut self.total.shadow, &more.shadow);
        sum.same += more.same;
        sum.different += more.different;
        sum.dropped += more.dropped;
        sum.failed += more.failed;
    }

    /// Drops what is known of a gateway that is gone; what it has counted stays.
    pub(crate) fn forget(&mut self, gateway: &str) {
        self.seen.remove(gateway);
    }

    /// Time passes, and the state may have gone on.
    pub(crate) fn note(&mut self, state: &State, now: Timestamp) {
        if self.step != Some((state.phase, state.step)) {
            self.step = Some((state.phase, state.step));
            self.at_step = self.total.clone();
            self.marks = VecDeque::from([(now, self.total.clone())]);
        }
        if self.marks.back().is_none_or(|(at, _)| now.since(*at) >= GRAIN) {
            self.marks.push_back((now, self.total.clone()));
        }
        while self.marks.get(1).is_some_and(|(at, _)| now.since(*at) >= RECENT) {
            self.marks.pop_front();
        }
    }

    /// Since the step began.
    pub(crate) fn of_step(&self) -> (Sides, ShadowCounts) {
        let counts = self.total.since(&self.at_step);
        (counts.sides, counts.shadow)
    }

    /// Since this process began.
    pub(super) fn total(&self) -> &Counts {
        &self.total
    }

    /// The newest windows of such a length of the step, oldest first; only whole ones.
    pub(crate) fn windows(&self, length: Duration, most: u32) -> Vec<Sides> {
        let mut found = Vec::new();
        let mut marks = self.marks.iter().rev();
        let Some((mut end, mut until)) = marks.next().map(|(at, total)| (*at, total)) else { return found };
        for (at, then) in marks {
            if end.since(*at) >= length && found.len() < most as usize {
                found.push(until.since(then).sides);
                (end, until) = (*at, then);
            }
        }
        found.reverse();
        found
    }

    /// The last minutes of the step.
    pub(super) fn recent(&self) -> Counts {
        self.marks.front().map(|(_, then)| self.total.since(then)).unwrap_or_default()
    }

    /// The last minute of the step.
    pub(super) fn minute(&self) -> Sides {
        let then = self.marks.iter().rev().nth(MARKS_OF_A_MINUTE).or(self.marks.front());
        then.map(|(_, then)| self.total.since(then).sides).unwrap_or_default()
    }
}

impl Counts {
    /// What was counted since `before`.
    pub(super) fn since(&self, before: &Counts) -> Counts {
        let (now, then) = (&self.shadow, &before.shadow);
        Counts {
            sides: self.sides.since(&before.sides),
            writes: gate::minus(&self.writes, &before.writes),
            shadow: ShadowCounts {
                same: now.same.saturating_sub(then.same),
                different: now.different.saturating_sub(then.different),
                dropped: now.dropped.saturating_sub(then.dropped),
                failed: now.failed.saturating_sub(then.failed),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(requests: u64) -> GatewayCapability {
        let counted = Traffic { requests, took: vec![requests], ..Traffic::default() };
        GatewayCapability { modern: counted.clone(), writes: counted, ..GatewayCapability::default() }
    }

    #[test]
    fn counters_survive_restarts_of_gateways() {
        let mut window = Window::default();
        let state = State::draft("users", Timestamp(0));
        window.note(&state, Timestamp(0));
        window.absorb("gw-1", "a", &counted(1_000));
        assert_eq!(window.of_step().0.modern.requests, 0, "what was counted before we looked");
        window.absorb("gw-1", "a", &counted(1_010));
        window.absorb("gw-1", "b", &counted(5));
        window.absorb("gw-1", "b", &counted(7));
        window.absorb("gw-1", "b", &counted(7));
        assert_eq!(window.of_step().0.modern, Traffic { requests: 17, took: vec![17], ..Traffic::default() });
        assert_eq!(window.recent().writes.requests, 17);
    }

    #[test]
    fn windows_are_whole_and_of_the_present_step() {
        let mut window = Window::default();
        let mut state = State::draft("users", Timestamp(0));
        window.note(&state, Timestamp(0));
        window.absorb("gw-1", "a", &counted(0));
        let requests = |window: &Window, length, most| {
            let windows = window.windows(Duration::from_secs(length), most);
            windows.iter().map(|sides| sides.modern.requests).collect::<Vec<_>>()
        };
        assert_eq!(requests(&window, 10, 3), [0; 0]);
        for second in 1..=95 {
            window.absorb("gw-1", "a", &counted(second));
            window.note(&state, Timestamp(second * 1_000));
        }
        assert_eq!(requests(&window, 10, 3), [10, 10, 10]);
        assert_eq!(requests(&window, 30, 9), [30, 30, 30]);
        assert_eq!(requests(&window, 60, 9), [60]);
        state.step = 1;
        window.note(&state, Timestamp(96_000));
        assert_eq!(requests(&window, 10, 3), [0; 0]);
    }

    #[test]
    fn a_new_step_counts_anew_and_minutes_pass() {
        let mut window = Window::default();
        let mut state = State::draft("users", Timestamp(0));
        window.note(&state, Timestamp(0));
        window.absorb("gw-1", "a", &counted(0));
        window.absorb("gw-1", "a", &counted(10));
        for second in 0..=400 {
            window.note(&state, Timestamp(second * 1_000));
        }
        window.absorb("gw-1", "a", &counted(13));
        assert_eq!(window.minute().modern.requests, 3);
        assert_eq!((window.of_step().0.modern.requests, window.recent().sides.modern.requests), (13, 3));
        state.step = 1;
        window.note(&state, Timestamp(401_000));
        assert_eq!((window.of_step().0.modern.requests, window.recent().sides.modern.requests), (0, 0));
    }
}
