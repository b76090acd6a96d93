//! What is made of reports that are late, missing or contradict each other.

use ficus_rules::Side;
use ficus_rules::migration::State;
use ficus_rules::migration::observation::Kin;
use ficus_rules::spec::{self, Known};
use ficus_rules::wire::{CapabilityReport, RuleFile, Strays, StreamReport};

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);
const SILENT: Duration = Duration::from_secs(10);

fn later(ms: u64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

/// So long after this process began.
fn after(ms: u64) -> Steady {
    Steady(60_000 + ms)
}

fn moment(ms: u64) -> Moment {
    Moment { time: later(ms), steady: after(ms) }
}

fn plan() -> Capability {
    let text = "[capability]\nname = \"users\"\nlegacy = \"m\"\nmodern = \"u\"\n[[route]]\npath = \"/\"\n\
        [[table]]\nlegacy = \"a\"\nmodern = \"b\"\n";
    let files = [RuleFile { name: "users.toml".to_owned(), text: text.to_owned() }];
    spec::load(&files, &Known::default()).expect("good rules").rules.capabilities.remove("users").expect("users")
}

fn stored() -> Stored {
    Stored { state: State::draft("users", NOW), serving_generation: 1, orders_generation: 1 }
}

fn agent(name: &str, stream: StreamReport) -> AgentReport {
    let report = CapabilityReport { forward: stream, ..CapabilityReport::default() };
    AgentReport { agent: name.to_owned(), generation: 1, capabilities: [("users".to_owned(), report)].into(), ..AgentReport::default() }
}

fn live(lag_seconds: f64) -> StreamReport {
    StreamReport { live: true, lag_seconds, ..StreamReport::default() }
}

#[test]
fn a_lag_that_nobody_tells_is_beyond_the_limit() {
    let (fleet, plan, stored) = (Fleet::new(SILENT, Vec::new()), plan(), stored());
    let since = |at| {
        fleet.note(&plan, &stored, SILENT, moment(at));
        fleet.observe(&plan, &stored, &View::default(), Limits::default(), moment(at)).traffic.lag_beyond_since
    };
    assert_eq!((since(0), since(5)), (Some(NOW), Some(NOW)), "nobody has reported");
    fleet.hear_agent(agent("a", live(0.1)), after(10));
    assert_eq!(since(10), None);
    assert_eq!(since(10_010), None);
    assert_eq!(since(10_011), Some(later(10_011)), "it is silent");
    for (at, bad) in [(20_000, live(f64::NAN)), (21_000, live(-1.0)), (22_000, live(2.1)), (23_000, StreamReport::default())] {
        fleet.hear_agent(agent("a", live(0.1)), after(at));
        assert_eq!(since(at), None);
        fleet.hear_agent(agent("a", bad.clone()), after(at + 1));
        assert_eq!(since(at + 1), Some(later(at + 1)), "{bad:?}");
    }
}

#[test]
fn of_two_agents_the_one_whose_streams_run_counts() {
    let (fleet, plan, stored) = (Fleet::new(SILENT, Vec::new()), plan(), stored());
    let seen = || fleet.observe(&plan, &stored, &View::default(), Limits::default(), moment(0)).agent.map(|agent| agent.name);
    for round in 0..4 {
        fleet.hear_agent(agent("b", live(0.1)), after(round * 200));
        assert_eq!(seen().as_deref(), Some("b"));
        fleet.hear_agent(agent("a", StreamReport::default()), after(round * 200 + 100));
        assert_eq!(seen().as_deref(), Some("b"), "the other one only reports later");
    }
    fleet.hear_agent(agent("a", live(0.1)), after(900));
    assert_eq!(seen().as_deref(), Some("a"), "always the same of two that claim to work");
    fleet.hear_agent(agent("b", live(0.1)), after(1_000));
    assert_eq!(seen().as_deref(), Some("a"));
    fleet.hear_agent(agent("b", StreamReport::default()), after(5_000));
    assert_eq!(seen().as_deref(), Some("b"), "the other one is gone");
}

#[test]
fn who_refers_to_anothers_tables_waits_for_it_and_it_for_them() {
    // GIVEN two capabilities that say nothing of each other, and one in another database
    let other = Capability { name: "notes".into(), ..plan() };
    let tables = other.tables.iter().map(|map| ficus_rules::mapping::TableMap { legacy: "note".into(), ..map.clone() }).collect();
    let other = Capability { tables, ..other };
    let far = Capability { name: "far".into(), legacy: "elsewhere".into(), ..plan() };
    let mut view = View::default();
    let plans = [plan(), other.clone(), far].map(|plan| (plan.name.clone(), plan));
    view.states = plans.iter().map(|(name, _)| (name.clone(), Stored { state: State::draft(name, NOW), ..stored() })).collect();
    let mut rulebook = crate::rulebook::Rulebook::default();
    rulebook.rules.capabilities = plans.into();
    view.rulebook = std::sync::Arc::new(rulebook);
    let fleet = Fleet::new(SILENT, Vec::new());
    let joined = |plan: &Capability| {
        let seen = fleet.observe(plan, &stored(), &view, Limits::default(), moment(0));
        seen.joined.into_keys().collect::<Vec<_>>()
    };
    assert!(joined(&plan()).is_empty() && joined(&other).is_empty());
    // WHEN an agent tells that a table of the one refers to one of the other
    let refers = Some(vec![Refers { table: "note".into(), columns: vec!["a_id".into()], parent: "a".into() }]);
    let report = CapabilityReport { refers, forward: live(0.1), ..CapabilityReport::default() };
    fleet.hear_agent(AgentReport { capabilities: [("notes".to_owned(), report)].into(), ..agent("a", live(0.1)) }, after(0));
    // THEN neither retires before the other has moved
    assert_eq!((joined(&other), joined(&plan())), (vec!["users".to_owned()], vec!["notes".to_owned()]));
    // AND each knows at which end of the key the other is
    let kin = |plan: &Capability| {
        let seen = fleet.observe(plan, &stored(), &view, Limits::default(), moment(0));
        let words = |kin: Vec<Kin>| kin.into_iter().map(|kin| (kin.name, kin.owner, kin.key.words())).collect::<Vec<_>>();
        (words(seen.parents), words(seen.children))
    };
    let end = |name: &str| vec![(name.to_owned(), Side::Legacy, "note (a_id) refers to a of users".to_owned())];
    assert_eq!((kin(&other), kin(&plan())), ((end("users"), vec![]), (vec![], end("notes"))));
}

#[test]
fn nothing_is_taken_for_unbound_before_somebody_has_told_and_whom_a_key_leads_to_tells_for_a_draft() {
    // GIVEN a capability with an agent, a draft over the same database, and one over another
    let of_table = |plan: Capability, table: &str| {
        let tables = plan.tables.iter().map(|map| ficus_rules::mapping::TableMap { legacy: table.into(), ..map.clone() }).collect();
        Capability { tables, ..plan }
    };
    let notes = of_table(Capability { name: "notes".into(), ..plan() }, "note");
    let far = Capability { name: "far".into(), legacy: "elsewhere".into(), ..plan() };
    let mut rulebook = crate::rulebook::Rulebook::default();
    rulebook.rules.capabilities = [plan(), notes, far].map(|plan| (plan.name.clone(), plan)).into();
    let mut view = View { rulebook: std::sync::Arc::new(rulebook), ..View::default() };
    let place = |view: &mut View, name: &str, phase| {
        let state = State { phase, ..State::draft(name, NOW) };
        view.states.insert(name.to_owned(), Stored { state, ..stored() });
    };
    ["users", "notes", "far"].iter().for_each(|name| place(&mut view, name, Phase::Draft));
    let fleet = Fleet::new(SILENT, Vec::new());
    let seen = |view: &View| fleet.observe(&plan(), &stored(), view, Limits::default(), moment(0));
    let untold = |view: &View| seen(view).untold.into_keys().collect::<Vec<_>>();
    assert_eq!(untold(&view), ["notes"], "nobody has reported");
    // WHEN its agent has looked at its own keys alone, as one of the release before does
    let hear = |refers, referred_by| {
        let report = CapabilityReport { refers, referred_by, forward: live(0.1), ..CapabilityReport::default() };
        fleet.hear_agent(AgentReport { capabilities: [("users".to_owned(), report)].into(), ..agent("a", live(0.1)) }, after(0));
    };
    hear(Some(vec![]), None);
    assert_eq!(untold(&view), ["notes"]);
    // THEN one that has retired is in nobody's way
    place(&mut view, "notes", Phase::Retired);
    assert!(untold(&view).is_empty());
    place(&mut view, "notes", Phase::Draft);
    // WHEN it tells of those that lead to its tables, THEN the draft is known to refer to them
    hear(Some(vec![]), Some(vec![Refers { table: "note".into(), columns: vec!["a_id".into()], parent: "a".into() }]));
    let seen = seen(&view);
    assert!(seen.untold.is_empty());
    assert_eq!(seen.joined, [("notes".to_owned(), Phase::Draft)].into());
    assert_eq!(seen.children[0].key.words(), "note (a_id) refers to a of users");
}

#[test]
fn what_an_agent_said_before_it_said_something_newer_is_not_believed() {
    let (fleet, plan, stored) = (Fleet::new(SILENT, Vec::new()), plan(), stored());
    let hear = |incarnation, serial, lag, at| {
        fleet.hear_agent(AgentReport { incarnation, serial, ..agent("a", live(lag)) }, after(at));
        let seen = fleet.observe(&plan, &stored, &View::default(), Limits::default(), moment(at)).agent.expect("an agent");
        (seen.report.forward.lag_seconds, seen.at)
    };
    assert_eq!(hear(7, 2, 0.2, 10), (0.2, later(10)));
    assert_eq!(hear(7, 1, 0.1, 20), (0.2, later(10)), "it was on its way for longer");
    assert_eq!(hear(9, 1, 0.9, 30), (0.9, later(30)), "it was restarted");
    assert_eq!(hear(7, 3, 0.3, 40), (0.9, later(30)), "its last words before that");
    let silent = 30 + 10_001;
    assert_eq!(hear(7, 4, 0.4, silent), (0.4, later(silent)), "its clock was set back over the restart");
    assert_eq!(hear(0, 0, 0.5, silent + 1), (0.4, later(silent)));
}

/// Somebody sets the clock of the machine back: by it, a report that came before is of the future, for as long as that lasts.
#[test]
fn an_agent_that_is_silent_is_so_by_whatever_the_clock_on_the_wall_says() {
    let (fleet, plan, stored) = (Fleet::new(SILENT, Vec::new()), plan(), stored());
    fleet.hear_agent(agent("a", live(0.1)), after(3_600_000));
    let live = |ms| {
        let now = Moment { time: later(ms), steady: after(3_600_000 + ms) };
        let seen = fleet.observe(&plan, &stored, &View::default(), Limits::default(), now);
        (seen.live_agent(now.time).is_some(), fleet.agents(now)[0].reported)
    };
    assert_eq!(live(10_000), (true, NOW));
    assert_eq!(live(10_001), (false, NOW));
}

/// Else an hour of a rule file would be another one, and every comparison an old one, once a clock was set ahead and right again.
#[test]
fn how_far_the_time_is_ahead_of_the_clock_on_the_wall_is_told() {
    let now = Moment { time: wall().plus(Duration::from_secs(3_600)), steady: steady() };
    let ahead = Fleet::new(SILENT, Vec::new()).observe(&plan(), &stored(), &View::default(), Limits::default(), now).ahead;
    assert!((3_500..=3_600).contains(&ahead.as_secs()), "{ahead:?}");
}

#[test]
fn of_what_is_set_aside_a_capability_is_told_its_own_rows_of_the_agent_that_works_for_it() {
    let fleet = Fleet::new(SILENT, Vec::new());
    let row = |capability: &str, key: &str| SetAside {
        capability: capability.to_owned(),
        from: ficus_rules::Side::Legacy,
        legacy: "a".to_owned(),
        modern: "b".to_owned(),
        key: key.to_owned(),
        at: NOW,
        reason: "column x: too long".to_owned(),
        wanted: None,
        there: None,
        cut: false,
    };
    let keys = || fleet.quarantine("users").rows.into_iter().map(|row| row.key).collect::<Vec<_>>();
    let hear = |name: &str, quarantined, rows: Vec<SetAside>| {
        let mut report = agent(name, live(0.1));
        report.capabilities.get_mut("users").expect("it is there").quarantined = quarantined;
        fleet.hear_agent(report, after(0));
        fleet.hear_quarantine(QuarantineReport { agent: name.to_owned(), rows });
    };
    assert_eq!(fleet.quarantine("users"), Quarantine::default(), "nobody has said anything");
    hear("a", 2, vec![row("users", "1"), row("courses", "2"), row("users", "3")]);
    assert_eq!(keys(), ["1", "3"]);
    fleet.hear_quarantine(QuarantineReport { agent: "b".to_owned(), rows: vec![row("users", "9")] });
    assert_eq!(keys(), ["1", "3"], "of an agent that does not work for it");
    hear("a", 1, vec![row("users", "1"), row("users", "3")]);
    assert_eq!(keys(), ["1"], "one of them has been written since the rows were told");
    hear("a", 0, vec![row("users", "1")]);
    assert_eq!(fleet.quarantine("users"), Quarantine::default());
    // What strangers wrote is told beside them.
    let mut report = agent("a", live(0.1));
    let tables = std::collections::BTreeMap::new();
    let strays = Strays { side: Side::Legacy, refused: 0, writers: vec![], reported: 3, unsettled: 1, untried: 0, wrote: vec![], tables };
    report.capabilities.get_mut("users").expect("it is there").strays = vec![strays];
    fleet.hear_agent(report, after(0));
    assert_eq!((fleet.quarantine("users").total, keys()), (1, vec!["1".to_owned()]));
}

#[test]
fn a_gateway_that_follows_another_orchestrator_is_named_and_gets_nothing() {
    let (fleet, plan, stored) = (Fleet::new(SILENT, Vec::new()), plan(), stored());
    let report = |generation, serial| GatewayReport { gateway: "gw-1".into(), generation, serial, ..GatewayReport::default() };
    assert_eq!(fleet.hear_gateway(report(57, 1), 3, NOW), Duration::ZERO);
    assert!(!fleet.raise_floor("users", 5), "it does not count as following a fence");
    let seen = fleet.observe(&plan, &stored, &View::default(), Limits::default(), moment(0));
    assert!(seen.gateways[0].astray && !seen.gateways[0].follows(3));
    let trouble = fleet.gateways()[0].trouble.clone().expect("its trouble is told");
    assert!(trouble.contains("57") && trouble.contains("never published"), "{trouble}");
    assert_eq!(fleet.hear_gateway(report(3, 2), 3, NOW), SILENT, "as long as a validity is here");
    assert_eq!(fleet.gateways()[0].trouble, None);
}
