//! The path of the tests' own plan: shadow, reads 5 %, reads 100 %, cutover after approval, soak for a day.

mod together;

use std::time::Duration;

use proptest::prelude::*;

use super::super::tests::{NOW, good, later, percent, plan, report, state};
use super::*;
use crate::Side;
use crate::hours::Hours;
use crate::plan::StepAction;

fn pace() -> Pace {
    let ms = Duration::from_millis;
    Pace {
        gateways: 2,
        hear: ms(5),
        agent: ms(10),
        writes: ms(20),
        lock: Duration::ZERO,
        lag: ms(7),
        copy: Duration::from_secs(90),
        compare: Duration::from_secs(4),
        recheck: ms(3),
        requests_per_second: Some(100.0),
        assumed: vec![],
    }
}

fn path(from: &State, plan: &Capability, pace: &Pace) -> Rehearsal {
    alone(from, plan, good(from.owner, NOW), pace, NOW)
}

fn alone(state: &State, plan: &Capability, seen: Observation, pace: &Pace, now: Timestamp) -> Rehearsal {
    let part = Part { state, plan, seen, pace: pace.clone(), relations: Relations::default() };
    rehearse(&[part], now).remove(0)
}

fn names(path: &Rehearsal) -> Vec<(&str, u64)> {
    path.legs.iter().map(|leg| (leg.name.as_str(), leg.lasts_ms / 1000)).collect()
}

#[test]
fn a_draft_sees_the_whole_path_with_its_times() {
    let path = path(&State::draft("users", NOW), &plan(), &pace());
    let expected = [
        ("draft", 0),
        ("copy", 90),
        ("stream", 4),
        ("shadow 100%", 60),
        ("reads 5%", 60),
        ("reads 100%", 60),
        ("cutover", 0),
        ("soak", 86_400),
        ("retire", 0),
    ];
    assert_eq!(names(&path), expected);
    assert_eq!(path.ends, None);
    assert_eq!(path.lasts_ms.expect("it ends") / 1000, 90 + 4 + 180 + 86_400);
    let needs =
        |name: &str| path.legs.iter().find(|leg| leg.name == name).map(|leg| leg.needs.iter().map(|w| w.text.clone()).collect::<Vec<_>>());
    assert_eq!(needs("copy"), Some(vec!["`ficus advance` to begin".to_owned()]));
    assert_eq!(needs("cutover"), Some(vec!["step 4 waits for approval: `ficus approve`".to_owned()]));
    assert_eq!(needs("retire"), Some(vec!["`ficus retire` when legacy's part may end".to_owned()]));
    assert_eq!(path.legs[4].gates, ["lag", "parity", "errors (10 requests on modern)"]);
}

#[test]
fn the_pause_is_what_was_measured() {
    let from = State { released: true, ..state(Phase::Ramping, 2) };
    let pause = |pace: &Pace| path(&from, &plan(), pace).switch.expect("a switch").pause_ms;
    let stages = path(&from, &plan(), &pace()).switch.expect("a switch").stages;
    let of = |stage| stages.iter().find(|(one, _)| *one == stage).map(|(_, ms)| *ms);
    assert_eq!((of(Stage::Fence), of(Stage::Drain)), (Some(5), Some(20)), "{stages:?}");
    assert_eq!((of(Stage::FenceDatabase), of(Stage::CatchUp), of(Stage::Verify)), (Some(10), Some(17), Some(13)), "{stages:?}");
    assert_eq!((of(Stage::Sequences), of(Stage::Open), of(Stage::Release)), (Some(10), Some(10), Some(5)), "{stages:?}");
    assert_eq!(pause(&pace()), stages.iter().map(|(_, ms)| ms).sum::<u64>());
    let slow = |by: u64| Duration::from_millis(by + 3_000);
    for (slower, longer) in [
        // Gateways have to hear that they drain, too.
        (Pace { hear: slow(5), ..pace() }, vec![(Stage::Fence, 3_000), (Stage::Drain, 3_005 - 20), (Stage::Release, 3_000)]),
        (Pace { writes: slow(20), ..pace() }, vec![(Stage::Drain, 3_000)]),
        (Pace { lock: slow(0), ..pace() }, vec![(Stage::FenceDatabase, 3_000)]),
        (Pace { lag: slow(7), ..pace() }, vec![(Stage::CatchUp, 3_000)]),
        (Pace { recheck: slow(3), ..pace() }, vec![(Stage::Verify, 3_000)]),
    ] {
        let foreseen = path(&from, &plan(), &slower).switch.expect("a switch");
        let more = |stage| longer.iter().find(|(one, _)| *one == stage).map_or(0, |(_, more)| *more);
        let expected: Vec<_> = stages.iter().map(|(stage, ms)| (*stage, ms + more(*stage))).collect();
        assert_eq!(foreseen.stages, expected, "each cause in its own stage: {slower:?}");
        assert_eq!(foreseen.pause_ms, expected.iter().map(|(_, ms)| ms).sum::<u64>());
    }
}

#[test]
fn a_switch_that_would_be_taken_back_says_why() {
    let from = State { released: true, ..state(Phase::Ramping, 2) };
    let path = path(&from, &plan(), &Pace { writes: Duration::from_secs(60), ..pace() });
    let switch = path.switch.expect("a switch");
    assert_eq!(switch.pause_ms, 10_000);
    let why = switch.taken_back.expect("it would be taken back");
    assert!(why.contains("the deadline has passed") && why.contains("write under way"), "{why}");
    assert!(path.ends.expect("it leads no further").contains("taken back"));
    assert_eq!(path.lasts_ms, None);
}

#[test]
fn while_modern_owns_the_way_back_is_foreseen() {
    let from = State { epoch: 1, owner: Side::Modern, ..state(Phase::Soaking, 4) };
    let back = |pace: &Pace| {
        let path = path(&from, &plan(), pace);
        let legs: Vec<_> = path.legs.iter().map(|leg| leg.name.as_str()).collect();
        assert_eq!((&path.switch, legs), (&None, vec!["soak", "retire"]), "the path itself leads on");
        path.back.expect("the way back is open")
    };
    let of = |switch: &SwitchForeseen, stage| switch.stages.iter().find(|(one, _)| *one == stage).map_or(0, |(_, ms)| *ms);
    let as_it_is = back(&pace());
    assert_eq!((as_it_is.taken_back.as_ref(), as_it_is.pause_ms), (None, as_it_is.stages.iter().map(|(_, ms)| ms).sum()));
    let slow = Duration::from_secs(3);
    for (slower, stage) in [
        (Pace { writes: slow, ..pace() }, Stage::Drain),
        (Pace { lock: slow, ..pace() }, Stage::FenceDatabase),
        (Pace { lag: slow, ..pace() }, Stage::CatchUp),
        (Pace { recheck: slow, ..pace() }, Stage::Verify),
    ] {
        let foreseen = back(&slower);
        let more = foreseen.pause_ms - as_it_is.pause_ms;
        assert!((2_900..=3_000).contains(&more) && of(&foreseen, stage) >= 3_000, "{stage:?}: {foreseen:?}");
    }
    for phase in [Phase::Streaming, Phase::Ramping, Phase::Reverted, Phase::Retired] {
        assert_eq!(path(&state(phase, 0), &plan(), &pace()).back, None, "{phase:?}");
    }
}

#[test]
fn what_is_open_now_is_part_of_the_forecast() {
    let text =
        "legacy: a transaction that has written to the capability's tables is open for 12 s (role `cron`); a fence would wait for it";
    let ramping = State { released: true, ..state(Phase::Ramping, 2) };
    let soaking = State { epoch: 1, owner: Side::Modern, ..state(Phase::Soaking, 4) };
    for from in [ramping, soaking] {
        let of = |path: Rehearsal| path.switch.or(path.back).expect("a switch");
        let without = of(path(&from, &plan(), &pace()));
        let mut seen = good(from.owner, NOW);
        (report(&mut seen).busy, report(&mut seen).epoch) = (Some(text.to_owned()), from.epoch);
        let now = |seen: &Observation| of(alone(&from, &plan(), seen.clone(), &pace(), NOW));
        let foreseen = now(&seen);
        assert_eq!(foreseen.open, Some(OpenNow { whose: text.to_owned(), taken_back_ms: 10_000 }), "{:?}", from.phase);
        assert_eq!(SwitchForeseen { open: None, ..foreseen }, without, "the figure is the one without it");
        seen.limits.switch_deadline = Duration::from_secs(25);
        assert_eq!(now(&seen).open.map(|open| open.taken_back_ms), Some(25_000), "{:?}", from.phase);
        // Whose fence gives up before the deadline, after it was reached: here gateways have to hear, and writes to drain.
        report(&mut seen).fence_waits_ms = Some(3_000);
        assert_eq!(now(&seen).open.map(|open| open.taken_back_ms), Some(5 + 20 + 3_000), "{:?}", from.phase);
        report(&mut seen).epoch = from.epoch + 1;
        assert_eq!(now(&seen).open, None, "what another owner's database has open keeps nobody waiting");
    }
}

#[test]
fn a_step_lasts_until_its_gates_have_seen_enough() {
    let mut plan = plan();
    plan.gates.errors.as_mut().expect("a gate").min_requests = 1_000;
    let lasts = |rate| {
        let path = path(&state(Phase::Streaming, 0), &plan, &Pace { requests_per_second: rate, ..pace() });
        path.legs.iter().find(|leg| leg.name == "reads 5%").map(|leg| leg.lasts_ms / 1000)
    };
    assert_eq!(lasts(None), Some(60), "as long as the rules say");
    assert_eq!(lasts(Some(100.0)), Some(200), "a thousand at five a second");
    assert_eq!(lasts(Some(0.0)), Some(60), "nothing is known");
}

#[test]
fn an_hour_is_waited_for() {
    let mut plan = plan();
    plan.steps[3].windows = vec![Hours::parse("mon-thu 09:00-16:00 UTC").expect("hours")];
    let from = State { released: true, ..state(Phase::Ramping, 2) };
    // NOW is Monday the 12th of January 1970, 13:46; Friday at noon there is no cutover before Monday.
    let friday = NOW.plus(Duration::from_secs(4 * 86_400));
    let from = State { since: friday, ..from };
    let path = alone(&from, &plan, good(Side::Legacy, friday), &pace(), friday);
    let cutover = path.legs.iter().find(|leg| leg.name == "cutover").expect("a cutover");
    let at = friday.plus(Duration::from_millis(cutover.begins_ms));
    assert!(plan.steps[3].windows[0].contain(at), "{}", at.rfc3339());
    assert!(at.since(friday) > Duration::from_secs(2 * 86_400) && at.since(friday) < Duration::from_secs(3 * 86_400), "{}", at.rfc3339());
    assert_eq!(cutover.needs.iter().map(|need| need.kind).collect::<Vec<_>>(), [WaitingKind::Window]);
}

/// The bound is on the wait for the hour, not on what had to last before.
#[test]
fn an_hour_is_waited_for_after_a_hold_of_weeks() {
    let mut plan = plan();
    plan.steps[2].hold = Duration::from_secs(14 * 86_400);
    plan.steps[3].windows = vec![Hours::parse("sat 08:00-10:00 UTC").expect("hours")];
    let path = path(&State { since: NOW, released: true, ..state(Phase::Ramping, 2) }, &plan, &pace());
    assert_eq!(path.ends, None);
    let cutover = path.legs.iter().find(|leg| leg.name == "cutover").expect("a cutover");
    // NOW is a Monday, 13:46: two weeks later, and from then to Saturday.
    let at = NOW.plus(Duration::from_millis(cutover.begins_ms));
    assert_eq!(at.rfc3339(), "1970-01-31T08:00:00.000Z");
}

#[test]
fn every_step_may_wait_for_its_own_hour() {
    let mut plan = plan();
    plan.windows = vec![Hours::parse("sat 08:00-10:00 UTC").expect("hours")];
    let step = |action| crate::plan::Step { action, hold: Duration::from_secs(86_400), ..plan.steps[0].clone() };
    let steps =
        [StepAction::Shadow(percent(50)), StepAction::Reads(percent(5)), StepAction::Reads(percent(50)), StepAction::Reads(percent(100))];
    plan.steps = steps.into_iter().map(step).chain([crate::plan::Step { hold: Duration::ZERO, ..step(StepAction::Cutover) }]).collect();
    let path = path(&state(Phase::Streaming, 0), &plan, &pace());
    assert_eq!(path.ends, None, "{path:?}");
    let begins =
        |name: &str| path.legs.iter().find(|leg| leg.name == name).map(|leg| NOW.plus(Duration::from_millis(leg.begins_ms)).rfc3339());
    let days = ["shadow 50%", "reads 5%", "reads 50%", "reads 100%", "cutover"].map(|name| begins(name).unwrap_or_default());
    let saturdays = ["01-17", "01-24", "01-31", "02-07", "02-14"].map(|day| format!("1970-{day}T08:00:00.000Z"));
    assert_eq!(days, saturdays);
}

#[test]
fn what_stands_in_the_way_now_is_told_apart() {
    let from = State { holds: ["exam week".to_owned()].into(), ..state(Phase::Shadowing, 0) };
    let mut seen = good(Side::Legacy, NOW);
    report(&mut seen).quarantined = 3;
    let path = alone(&from, &plan(), seen, &pace(), NOW);
    let kinds: Vec<_> = path.in_the_way.iter().map(|waiting| waiting.kind).collect();
    assert!(kinds.contains(&WaitingKind::Hold) && kinds.contains(&WaitingKind::Agent), "{:?}", path.in_the_way);
    assert_eq!(names(&path).last(), Some(&("retire", 0)), "the path behind it is seen all the same");
}

#[test]
fn a_capability_without_tables_needs_no_agent() {
    let plan = Capability { tables: vec![], ..plan() };
    let path = path(&State::draft("users", NOW), &plan, &pace());
    assert_eq!(names(&path).last(), Some(&("retire", 0)), "{path:?}");
    assert_eq!(path.switch.expect("a switch").pause_ms, 5 + 20 + 5);
}

#[test]
fn a_switch_under_way_is_walked_on() {
    let running = super::super::Switch {
        to: Side::Modern,
        stage: Stage::Drain,
        since: NOW,
        started: NOW,
        deadline: later(10),
        from_phase: Phase::Ramping,
        leaves_aside: false,
    };
    let from = State { phase: Phase::Draining, switch: Some(running), ..state(Phase::Ramping, 2) };
    let path = path(&from, &plan(), &pace());
    assert_eq!(names(&path), [("cutover", 0), ("soak", 86_400), ("retire", 0)]);
}

/// None, or some.
fn windows() -> impl Strategy<Value = Vec<Hours>> {
    let texts = ["sat 08:00-10:00 UTC", "mon-thu 09:00-16:00 Europe/Berlin", "daily 22:00-02:00 UTC", "sun 02:30-02:45 Europe/Berlin"];
    proptest::sample::subsequence(texts.to_vec(), 0..=2)
        .prop_map(|texts| texts.into_iter().map(|text| Hours::parse(text).expect("hours")).collect())
}

proptest! {
    /// Whatever the steps, their windows and the pace: the path ends, begins where the capability is, and its parts follow each other.
    #[test]
    fn every_path_ends(
        steps in proptest::collection::vec((0u8..4, 0u64..2_000_000, any::<bool>(), windows()), 0..6),
        everywhere in windows(),
        phase in 0usize..6,
        times in proptest::array::uniform7(0u64..30_000),
        rate in proptest::option::of(0.0f64..1_000.0),
    ) {
        let step = |(kind, hold, approve, windows): &(u8, u64, bool, Vec<Hours>)| {
            let action = match kind {
                0 => StepAction::Shadow(percent(50)),
                1 => StepAction::Reads(percent(5)),
                2 => StepAction::Cutover,
                _ => StepAction::Soak(Duration::from_secs(*hold)),
            };
            crate::plan::Step {
                source: String::new(),
                action,
                compare: crate::Share::NONE,
                hold: Duration::from_secs(*hold),
                approve: *approve,
                windows: windows.clone(),
            }
        };
        let plan = Capability { steps: steps.iter().map(step).collect(), windows: everywhere, ..plan() };
        let phase = [Phase::Draft, Phase::Backfilling, Phase::Streaming, Phase::Soaking, Phase::Reverted, Phase::Retired][phase];
        let ms = |at: usize| Duration::from_millis(times[at]);
        let pace = Pace {
            gateways: 1, hear: ms(0), agent: ms(1), writes: ms(2), lock: ms(3), lag: ms(4), copy: ms(5), compare: ms(6), recheck: ms(0), requests_per_second: rate,
            assumed: vec![],
        };
        let path = path(&state(phase, 0), &plan, &pace);
        prop_assert!(path.ends.as_ref().is_none_or(|why| why.contains("taken back")), "{path:?}");
        let mut at = 0;
        for leg in &path.legs {
            prop_assert_eq!(leg.begins_ms, at);
            at += leg.lasts_ms;
        }
        prop_assert_eq!(path.lasts_ms.unwrap_or(at), at);
    }
}
