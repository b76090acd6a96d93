//! Modern beside legacy: its errors, and how long it takes, over one window.
//!
//! A service that is as good as the other one is now and then worse, by chance, and is looked at again and again, for weeks.
//! So what is beyond a limit fails only if that is no chance, and is inconclusive until then.

use std::time::Duration;

use super::judge::{percent, share, within};
use super::{Baseline, ErrorGate, Known, LatencyGate, Percentile, Verdict, minus, percentile, slower};
use crate::count;
use crate::wire::Traffic;

/// How far beyond a limit is no chance, in standard deviations: by chance it is that far once in three million windows.
const DEVIATIONS: f64 = 5.0;
/// And so many more: of a few, chance is not spread evenly.
const MORE: f64 = 3.0;

/// Traffic of both sides over one window. Reads and writes are compared by themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sides {
    /// Reads that legacy answered.
    pub legacy: Traffic,
    /// Reads that modern answered.
    pub modern: Traffic,
    /// Writes that legacy answered.
    pub legacy_writes: Traffic,
    /// Writes that modern answered.
    pub modern_writes: Traffic,
}

impl Sides {
    /// Adds what was counted besides.
    pub fn add(&mut self, more: &Sides) {
        super::add(&mut self.legacy, &more.legacy);
        super::add(&mut self.modern, &more.modern);
        super::add(&mut self.legacy_writes, &more.legacy_writes);
        super::add(&mut self.modern_writes, &more.modern_writes);
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(&self, before: &Sides) -> Sides {
        Sides {
            legacy: minus(&self.legacy, &before.legacy),
            modern: minus(&self.modern, &before.modern),
            legacy_writes: minus(&self.legacy_writes, &before.legacy_writes),
            modern_writes: minus(&self.modern_writes, &before.modern_writes),
        }
    }

    /// All that legacy answered, and all that modern did.
    pub fn all(&self) -> [Traffic; 2] {
        [(&self.legacy, &self.legacy_writes), (&self.modern, &self.modern_writes)].map(|(reads, writes)| {
            let mut all = reads.clone();
            super::add(&mut all, writes);
            all
        })
    }
}

/// What one kind of requests is judged by.
struct Compared<'a> {
    modern: &'a Traffic,
    legacy: &'a Traffic,
    /// Where nobody asks legacy.
    before: &'a Known,
    /// In how many windows it has to fail.
    times: u32,
    /// Of fewer requests of modern nothing is said.
    least: u64,
}

/// One window, and what it is held against.
pub(super) struct Window<'a> {
    pub(super) sides: &'a Sides,
    pub(super) before: &'a Baseline,
    /// In how many windows it has to fail.
    pub(super) times: u32,
    /// The last minutes of it: what has failed and passes there is over. It is not left for that, and does not go forward.
    pub(super) lately: Option<&'a Sides>,
}

impl<'a> Window<'a> {
    /// Reads and writes of it, or of a part of it.
    fn kinds(&self, sides: &'a Sides, least: u64) -> [Compared<'a>; 2] {
        let Sides { legacy, modern, legacy_writes, modern_writes } = sides;
        let &Window { before, times, .. } = self;
        let reads = Compared { modern, legacy, before: &before.reads, times, least };
        [reads, Compared { modern: modern_writes, legacy: legacy_writes, before: &before.writes, times, least }]
    }
}

/// Errors of modern.
pub(super) fn errors(gate: &ErrorGate, window: &Window<'_>) -> (Verdict, String) {
    by_kind(gate.min_requests, window, |compared| errors_of(gate, compared))
}

/// How long modern takes.
pub(super) fn latency(of: Percentile, gate: &LatencyGate, window: &Window<'_>) -> (Verdict, String) {
    by_kind(gate.min_requests, window, |compared| latency_of(of, gate, compared))
}

/// Reads and writes, the worse of both. Together they have to be enough; of a kind that by itself is not, only what surely fails is
/// said.
fn by_kind(least: u64, window: &Window<'_>, judge: impl Fn(&Compared<'_>) -> (Verdict, String)) -> (Verdict, String) {
    let &Window { sides, lately, .. } = window;
    let least = least.max(1);
    let both = window.kinds(sides, least);
    let few = both.each_ref().map(|kind| kind.modern.requests < least);
    let enough = both.iter().map(|kind| kind.modern.requests).fold(0, u64::saturating_add) >= least;
    // And whether it says anything.
    let judged = |kind: usize| {
        let compared = &both[kind];
        let of_few = (enough && few[kind]).then(|| judge(&Compared { least: 1, ..*compared }));
        let of_few = of_few.filter(|(verdict, _)| *verdict == Verdict::Fail);
        let says = of_few.is_some() || !few[kind];
        let (verdict, text) = of_few.unwrap_or_else(|| judge(compared));
        let is_over = verdict == Verdict::Fail && lately.is_some_and(|lately| judge(&window.kinds(lately, least)[kind]).0 == Verdict::Pass);
        if is_over { (says, (Verdict::Inconclusive, format!("{text}; the last minutes pass"))) } else { (says, (verdict, text)) }
    };
    let ((reads_say, of_reads), (writes_say, (verdict, text))) = (judged(0), judged(1));
    let of_writes = (verdict, format!("writes: {text}"));
    match (reads_say, writes_say) {
        // Too few are no better than enough of the others.
        (_, false) => of_reads,
        (false, true) => of_writes,
        _ if of_writes.0.severity() > of_reads.0.severity() => of_writes,
        _ => of_reads,
    }
}

fn errors_of(gate: &ErrorGate, compared: &Compared<'_>) -> (Verdict, String) {
    let &Compared { modern, legacy, before, times, least } = compared;
    if modern.requests < least {
        return (Verdict::Inconclusive, format!("{} of {} requests on modern", modern.requests, gate.min_requests));
    }
    // A handful of requests on legacy says nothing about its share of errors: then modern is judged by itself.
    let (errors, requests, when) = match (legacy.requests >= gate.min_requests.max(1), before.requests > 0) {
        (true, _) => (legacy.errors, legacy.requests, ""),
        (false, true) => (before.errors, before.requests, " before"),
        (false, false) => (0, 0, ""),
    };
    let of_legacy = if requests > 0 { share(errors, requests) } else { 0.0 };
    let of_modern = share(modern.errors, modern.requests);
    let judged = |limit, requests| {
        let beyond = Beyond { bad: modern.errors, of: modern.requests, limit, others: requests, once: !when.is_empty(), times };
        beyond.settle(within(of_modern, limit))
    };
    let verdict = judged(of_legacy + gate.max_increase.ratio(), requests);
    let text = format!("modern {}, legacy {}{when}, limit +{}", percent(of_modern), percent(of_legacy), gate.max_increase);
    match gate.max {
        Some(max) if verdict != Verdict::Fail => (verdict.worse(judged(max.ratio(), 0)), format!("{text}, at most {max}")),
        _ => (verdict, text),
    }
}

fn latency_of(of: Percentile, gate: &LatencyGate, compared: &Compared<'_>) -> (Verdict, String) {
    let &Compared { modern, legacy, before, times, least } = compared;
    if modern.requests < least {
        return (Verdict::Inconclusive, format!("{} of {} requests on modern", modern.requests, gate.min_requests));
    }
    let Some(took) = percentile(modern, of.share()) else {
        return (Verdict::Inconclusive, "no answer of modern was timed".to_owned());
    };
    let judged = |limit: Duration, others, once| {
        // Slower than a percentile's limit is by chance what lies beyond that percentile.
        let beyond = Beyond { bad: slower(modern, limit), of: modern.requests, limit: 1.0 - of.share(), others, once, times };
        beyond.settle(within(took.as_secs_f64(), limit.as_secs_f64()))
    };
    let absolute = gate.max.map(|max| (judged(max, 0, false), format!("modern {}, at most {}", millis(took), millis(max))));
    let least = gate.min_requests.max(of.enough());
    // Nobody asks legacy any more, or hardly anybody: it is as fast as it was.
    let asked = percentile(legacy, of.share()).filter(|_| legacy.requests >= least).map(|took| (took, legacy.requests, ""));
    let held_against = asked.or_else(|| before.at(of).map(|took| (took, before.requests.max(least), " before")));
    let relative = match held_against {
        _ if took <= gate.floor => (Verdict::Pass, format!("modern {}, below the floor of {}", millis(took), millis(gate.floor))),
        Some((legacy, requests, when)) => {
            let text = format!("modern {}, legacy {}{when}, limit {}×", millis(took), millis(legacy), gate.max_ratio);
            // A ratio that leads beyond all times is no limit.
            let limit = Duration::try_from_secs_f64(legacy.as_secs_f64() * gate.max_ratio);
            (limit.map_or(Verdict::Pass, |limit| judged(limit.max(gate.floor), requests, !when.is_empty())), text)
        }
        None => {
            // The absolute limit is what is left.
            let verdict = if gate.max.is_some() { Verdict::Pass } else { Verdict::Inconclusive };
            (verdict, format!("modern {}; {} on legacy", millis(took), count::of(legacy.requests, "request")))
        }
    };
    match absolute {
        Some(absolute) if absolute.0 != Verdict::Pass && absolute.0.severity() >= relative.0.severity() => absolute,
        _ => relative,
    }
}

/// Requests of which some are bad, beside the share of them that may be.
struct Beyond {
    bad: u64,
    of: u64,
    /// The share.
    limit: f64,
    /// Requests of the other side that it is known by; 0: it is known exactly.
    others: u64,
    /// They are the same ones for all windows.
    once: bool,
    times: u32,
}

/// Errors of legacy beyond those that it is known by, by no chance.
pub(super) fn is_worse(legacy: &Traffic, known: &Known) -> bool {
    let limit = share(known.errors, known.requests.max(1));
    Beyond { bad: legacy.errors, of: legacy.requests, limit, others: known.requests, once: false, times: 1 }.surely()
}

impl Beyond {
    /// What is beyond the limit fails if that is no chance.
    fn settle(&self, verdict: Verdict) -> Verdict {
        if verdict == Verdict::Fail && !self.surely() { Verdict::Inconclusive } else { verdict }
    }

    /// As in a test of two proportions, by what both sides together have. Chance comes in fewer of several windows in a row: each
    /// needs less to be no chance, but for what all of them are held against.
    fn surely(&self) -> bool {
        let (bad, of, others) = (self.bad as f64, self.of.max(1) as f64, self.others as f64);
        let times = f64::from(self.times.max(1));
        let (together, spread) = match self.others {
            0 => (self.limit, 1.0 / of / times),
            _ => ((bad + self.limit * others) / (of + others), 1.0 / of / times + 1.0 / others / if self.once { 1.0 } else { times }),
        };
        let deviation = (together * (1.0 - together).max(0.0) * spread).sqrt();
        bad > of * (self.limit + DEVIATIONS * deviation) + MORE / times.sqrt()
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1}ms", time.as_secs_f64() * 1000.0)
}
