//! How fast everybody is, from what was seen and from the last switch of the capability. What is not known is assumed, and said.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::api::JournalEntry;
use crate::gate::percentile;
use crate::migration::observation::Observation;
use crate::migration::{Phase, Stage, State};
use crate::{Side, Timestamp};

/// How fast everybody was, as far as it was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Gateways that count.
    pub gateways: u32,
    /// From a new state until every gateway says that it decides by it.
    pub hear: Duration,
    /// Until the agent says that it has done what is done at once.
    pub agent: Duration,
    /// Until the last of the writes that are under way is answered: of as many as there are now, each for as long as writes were
    /// lately; where no gateway tells, as long as any of the owner's requests.
    pub writes: Duration,
    /// For how long locks kept the fence of the database waiting, the last time.
    pub lock: Duration,
    /// Age of the oldest change that is not applied.
    pub lag: Duration,
    /// What is left of the first copy.
    pub copy: Duration,
    /// Until every row is compared.
    pub compare: Duration,
    /// Until the rows that changed lately are compared.
    pub recheck: Duration,
    /// Requests of the capability, answered by either side; `None`: not known.
    pub requests_per_second: Option<f64>,
    /// Which of these were not measured, by their names.
    pub assumed: Vec<String>,
}

/// What is assumed of what was never seen.
const HEAR: Duration = Duration::from_millis(10);
const AGENT: Duration = Duration::from_millis(20);
const WRITES: Duration = Duration::from_millis(100);
const RECHECK: Duration = Duration::from_millis(20);

impl Pace {
    /// What is known of a capability. `journal`: its newest entries, oldest first.
    pub fn of(state: &State, seen: &Observation, journal: &[JournalEntry], requests_per_second: Option<f64>, now: Timestamp) -> Pace {
        let mut assumed = Vec::new();
        let mut known = |name: &str, measured: Option<Duration>, otherwise: Duration| {
            measured.unwrap_or_else(|| {
                assumed.push(name.to_owned());
                otherwise
            })
        };
        let report = seen.live_agent(now).map(|agent| &agent.report);
        let alike = last_switch(journal, |to| *to == state.owner.other().as_str());
        let of = |stages: &[(Stage, Duration)], stage| stages.iter().find(|(one, _)| *one == stage).map(|(_, lasted)| *lasted);
        let any = last_switch(journal, |_| true);
        let lasted = |stage: Stage| of(&alike, stage).or_else(|| of(&any, stage));
        let agent = known("agent", lasted(Stage::Sequences), AGENT);
        let owners = match state.owner {
            Side::Legacy => &seen.traffic.recent.legacy,
            Side::Modern => &seen.traffic.recent.modern,
        };
        let busy = report.is_some_and(|report| report.busy.is_some());
        let under_way = seen.counting(now).map(|gateway| gateway.inflight_writes).sum();
        let slowest = |traffic| percentile(traffic, slowest_of(under_way));
        // Of the same database: what locks its tables says nothing of the other one.
        let waited = of(&alike, Stage::FenceDatabase).map(|all| all.saturating_sub(agent));
        Pace {
            gateways: u32::try_from(seen.counting(now).count()).unwrap_or(u32::MAX),
            hear: known("hear", lasted(Stage::Fence), HEAR),
            writes: known("writes", slowest(&seen.traffic.writes).or_else(|| slowest(owners)), WRITES),
            // One that is open now is told apart, as `OpenNow`: nobody knows when it ends.
            lock: known("lock", waited.filter(|_| !busy), Duration::ZERO),
            lag: known("lag", report.and_then(|report| lag(report.stream_from(state.owner).lag_seconds)), Duration::ZERO),
            copy: known("copy", copy(state, seen, now), Duration::ZERO),
            compare: known("compare", compared(journal), Duration::ZERO),
            recheck: known("recheck", lasted(Stage::Verify).map(|all| all.saturating_sub(agent)), RECHECK),
            agent,
            requests_per_second,
            assumed,
        }
    }
}

/// The share of the requests that are as fast as the slowest of so many is likely to be. One write may always be under way.
fn slowest_of(under_way: u64) -> f64 {
    let count = under_way.max(1) as f64;
    (count / (count + 1.0)).min(0.99)
}

fn lag(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// As fast as it went so far.
fn copy(state: &State, seen: &Observation, now: Timestamp) -> Option<Duration> {
    let copied = &seen.live_agent(now)?.report.backfill;
    if state.phase > Phase::Backfilling || copied.complete {
        return Some(Duration::ZERO);
    }
    let spent = now.since(state.since).as_secs_f64();
    let left = copied.total.saturating_sub(copied.done) as f64;
    (state.phase == Phase::Backfilling && copied.done > 0)
        .then(|| Duration::try_from_secs_f64(left * spent / copied.done as f64).ok())
        .flatten()
}

/// How long it took, the last time, from the end of the copy until every row was compared.
fn compared(journal: &[JournalEntry]) -> Option<Duration> {
    let begun = journal.iter().rposition(|entry| entry.line.kind == "phase" && entry.line.detail["phase"] == "streaming")?;
    let done = journal[begun..].iter().find(|entry| entry.line.kind == "verified")?;
    Some(done.at.since(journal[begun].at))
}

/// How long each stage of the last switch took that came to an end, of those to such a side.
fn last_switch(journal: &[JournalEntry], wanted: impl Fn(&serde_json::Value) -> bool) -> Vec<(Stage, Duration)> {
    let ended = |entry: &JournalEntry| entry.line.kind == "switched" && wanted(&entry.line.detail["to"]);
    let Some(end) = journal.iter().rposition(ended) else { return Vec::new() };
    let fence = |entry: &JournalEntry| entry.line.kind == "stage" && entry.line.detail["stage"] == "fence";
    let Some(begun) = journal[..end].iter().rposition(fence) else { return Vec::new() };
    let stage = |entry: &JournalEntry| match entry.line.kind.as_str() {
        "stage" => Stage::ALL.into_iter().find(|stage| entry.line.detail["stage"] == stage.as_str()),
        "flipped" => Some(Stage::Open),
        _ => None,
    };
    let begins = journal[begun..end].iter().filter_map(|entry| Some((stage(entry)?, entry.at)));
    let begins: Vec<(Stage, Timestamp)> = begins.collect();
    let ends = begins.iter().skip(1).map(|(_, at)| *at).chain([journal[end].at]);
    begins.iter().zip(ends).map(|((stage, from), to)| (*stage, to.since(*from))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::migration::advance::JournalLine;
    use crate::migration::tests::{NOW, good, report, state};
    use crate::wire::Traffic;

    fn entry(kind: &str, detail: serde_json::Value, ms: u64) -> JournalEntry {
        let line = JournalLine { kind: kind.into(), text: String::new(), detail };
        JournalEntry { id: ms, at: Timestamp(ms), capability: Some("users".into()), by: None, line, hash: String::new() }
    }

    /// An aborted switch, then one that went through.
    fn journal() -> Vec<JournalEntry> {
        let stage = |name: &str, ms| entry("stage", json!({ "stage": name }), ms);
        vec![
            entry("phase", json!({ "phase": "streaming" }), 100),
            entry("verified", json!({}), 4_100),
            stage("fence", 5_000),
            entry("aborted", json!({}), 9_000),
            stage("fence", 10_000),
            stage("drain", 10_008),
            stage("fence_database", 10_030),
            stage("catch_up", 10_050),
            stage("verify", 10_080),
            stage("sequences", 10_120),
            entry("flipped", json!({}), 10_131),
            stage("release", 10_140),
            entry("switched", json!({ "to": "modern" }), 10_150),
        ]
    }

    /// The way back that followed, twice as fast, but for a lock in modern's database.
    fn and_back() -> Vec<JournalEntry> {
        let stage = |name: &str, ms| entry("stage", json!({ "stage": name }), ms);
        let back = [
            stage("fence", 20_000),
            stage("drain", 20_004),
            stage("fence_database", 20_010),
            stage("catch_up", 22_000),
            stage("verify", 22_004),
            stage("sequences", 22_010),
            entry("flipped", json!({}), 22_015),
            entry("switched", json!({ "to": "legacy" }), 22_020),
        ];
        journal().into_iter().chain(back).collect()
    }

    #[test]
    fn each_direction_has_its_own_times_where_it_was_gone_before() {
        let pace = |owner, journal: &[JournalEntry]| {
            let from = State { owner, ..state(Phase::Ramping, 1) };
            let pace = Pace::of(&from, &good(owner, NOW), journal, Some(3.0), NOW);
            ([pace.hear, pace.agent, pace.lock].map(|time| time.as_millis()), pace.assumed)
        };
        assert_eq!(pace(Side::Legacy, &and_back()), ([8, 11, 9], vec![]));
        assert_eq!(pace(Side::Modern, &and_back()), ([4, 5, 1_985], vec![]));
        assert_eq!(pace(Side::Modern, &journal()), ([8, 11, 0], vec!["lock".to_owned()]), "another database's locks say nothing");
    }

    #[test]
    fn the_last_switch_that_ended_says_how_fast_everybody_is() {
        let pace = Pace::of(&state(Phase::Ramping, 1), &good(Side::Legacy, NOW), &journal(), Some(3.0), NOW);
        let ms = |time: Duration| time.as_millis();
        assert_eq!((ms(pace.hear), ms(pace.agent), ms(pace.recheck), ms(pace.compare)), (8, 11, 29, 4_000));
        assert_eq!(ms(pace.lock), 9, "20 ms less what an agent takes for anything");
        assert_eq!(pace.gateways, 1);
        assert!(pace.assumed.is_empty(), "{pace:?}");
    }

    #[test]
    fn more_writes_under_way_take_longer() {
        let mut seen = good(Side::Legacy, NOW);
        seen.traffic.recent.legacy.took = vec![0, 0, 90, 0, 0, 0, 10];
        let writes = |under_way: u64| {
            let mut seen = seen.clone();
            seen.gateways[0].inflight_writes = under_way;
            Pace::of(&state(Phase::Ramping, 1), &seen, &journal(), None, NOW).writes
        };
        assert!(writes(0) > Duration::ZERO && writes(0) == writes(1), "one may always come");
        assert!(writes(1) < writes(4) && writes(4) < writes(30), "{:?} {:?} {:?}", writes(1), writes(4), writes(30));
    }

    #[test]
    fn slow_writes_are_seen_among_many_fast_reads() {
        let mut seen = good(Side::Legacy, NOW);
        let slow = Traffic::reported(3, 0, [vec![0; 60], vec![3]].concat());
        seen.traffic.recent.legacy = Traffic::reported(1_003, 0, [vec![1_000], vec![0; 59], vec![3]].concat());
        let writes = |seen: &Observation| Pace::of(&state(Phase::Ramping, 1), seen, &journal(), None, NOW).writes;
        assert!(writes(&seen) < Duration::from_millis(2), "a gateway of the release before tells of requests alone");
        seen.traffic.writes = slow;
        assert!(writes(&seen) > Duration::from_millis(900), "{:?}", writes(&seen));
    }

    #[test]
    fn what_nobody_has_seen_is_assumed_and_said() {
        let mut seen = good(Side::Legacy, NOW);
        seen.traffic = Default::default();
        report(&mut seen).busy = Some("somebody".into());
        let pace = Pace::of(&State::draft("users", NOW), &Observation { agent: None, ..seen.clone() }, &[], None, NOW);
        assert_eq!(pace.assumed, ["agent", "hear", "writes", "lock", "lag", "copy", "compare", "recheck"]);
        let pace = Pace::of(&state(Phase::Ramping, 1), &seen, &journal(), None, NOW);
        assert_eq!(pace.assumed, ["writes", "lock"]);
    }

    #[test]
    fn the_copy_goes_on_as_fast_as_it_went() {
        let mut seen = good(Side::Legacy, NOW);
        report(&mut seen).backfill = crate::wire::Backfill { done: 1_000, total: 4_000, ..Default::default() };
        let from = State { since: Timestamp(NOW.0 - 20_000), ..state(Phase::Backfilling, 0) };
        assert_eq!(Pace::of(&from, &seen, &[], None, NOW).copy, Duration::from_secs(60));
    }
}
