//! Edits of a rule file in every phase.

mod random;

use ficus_rules::migration::{Stage, Switch};
use ficus_rules::spec::{self, Known};
use ficus_rules::wire::RuleFile;

use ficus_rules::{Side, Timestamp};

use super::*;

const RULES: &str = "[capability]\nname = \"users\"\nlegacy = \"m\"\nmodern = \"u\"\n\n[[route]]\npath = \"/users/{*rest}\"\n\n\
    [[route]]\npath = \"/notes/\"\nmethods = [\"GET\"]\n\n[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n\n[[table]]\nlegacy = \"c\"\nmodern = \"d\"\n";

fn rules(text: &str) -> RuleSet {
    let files = [RuleFile { name: "users.toml".to_owned(), text: text.to_owned() }];
    spec::load(&files, &Known::default()).expect("good rules").rules
}

fn state(phase: Phase) -> State {
    let owner = if matches!(phase, Phase::Soaking | Phase::Retired) { Side::Modern } else { Side::Legacy };
    State { phase, owner, ..State::draft("users", Timestamp(0)) }
}

/// A switch is under way, from this phase.
fn switching(from_phase: Phase) -> State {
    let from = state(from_phase);
    let switch = Switch {
        to: from.owner.other(),
        stage: Stage::CatchUp,
        since: Timestamp(0),
        started: Timestamp(0),
        deadline: Timestamp(9),
        from_phase,
        leaves_aside: false,
    };
    State { switch: Some(switch), phase: Phase::CatchingUp, ..from }
}

/// What is said when these rules follow the usual ones.
fn said(state: &State, new: &str) -> Vec<String> {
    let found = complaints(std::iter::once(state), &rules(RULES), &rules(new));
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn tables_stay_until_it_is_retired() {
    let fewer = RULES.replace("[[table]]\nlegacy = \"c\"\nmodern = \"d\"\n", "");
    for phase in [Phase::Backfilling, Phase::Ramping, Phase::Soaking, Phase::Reverted] {
        let said = said(&state(phase), &fewer);
        assert!(matches!(&said[..], [one] if one.starts_with("users.toml:13:1: error: the tables `c` and `d` are gone")), "{said:?}");
    }
    assert_eq!(said(&state(Phase::Draft), &fewer), [""; 0]);
    assert_eq!(said(&state(Phase::Retired), &fewer), [""; 0]);
    let more = format!("{RULES}\n[[table]]\nlegacy = \"e\"\nmodern = \"f\"\n");
    assert_eq!(said(&state(Phase::Ramping), &more), [""; 0], "adding is fine");
    let joins = said(&state(Phase::Soaking), &more);
    assert!(matches!(&joins[..], [one] if one.starts_with("users.toml:21:") && one.contains("`e` and `f` would join")), "{joins:?}");
}

#[test]
fn tables_do_not_change_while_a_switch_runs() {
    let running = switching(Phase::Ramping);
    let other = RULES.replace("modern = \"d\"\n", "modern = \"d\"\nkey = \"pk\"\n");
    let more = format!("{RULES}\n[[table]]\nlegacy = \"e\"\nmodern = \"f\"\n");
    for (new, at) in [(&other, "users.toml:17:"), (&more, "users.toml:21:")] {
        assert_eq!(said(&state(Phase::Ramping), new), [""; 0]);
        let said = said(&running, new);
        assert!(matches!(&said[..], [one] if one.starts_with(at) && one.contains("a cutover or revert")), "{said:?}");
    }
    let moved = format!("# a line more\n{RULES}");
    assert_eq!(said(&running, &moved), [""; 0], "a table that only moves down is the same");
}

#[test]
fn routes_stay_while_modern_owns() {
    let fewer = RULES.replace("[[route]]\npath = \"/notes/\"\nmethods = [\"GET\"]\n\n", "");
    let narrower = RULES.replace("path = \"/users/{*rest}\"\n", "path = \"/users/{*rest}\"\nhost = \"a.test\"\n");
    let wider = RULES.replace("methods = [\"GET\"]\n", "").replace("{*rest}", "{*tail}");
    for phase in [Phase::Soaking, Phase::Retired] {
        assert!(said(&state(phase), &fewer)[0].contains("the route `/notes/` is gone"), "{phase:?}");
        assert!(said(&state(phase), &narrower)[0].contains("the route `/users/{*rest}` is gone or takes fewer"), "{phase:?}");
        assert_eq!(said(&state(phase), &wider), [""; 0]);
    }
    assert_eq!(said(&state(Phase::Ramping), &fewer), [""; 0]);
}

#[test]
fn what_is_retired_keeps_its_file() {
    for (phase, hint) in [(Phase::Retired, "its routes are what sends"), (Phase::Streaming, "until it is retired")] {
        let found = complaints(std::iter::once(&state(phase)), &rules(RULES), &RuleSet::default());
        assert!(found[0].file == "users.toml" && found[0].hint.contains(hint), "{found:?}");
    }
}

#[test]
fn services_stay_from_the_first_phase_on() {
    for (key, new) in
        [("modern", RULES.replace("modern = \"u\"", "modern = \"v\"")), ("legacy", RULES.replace("legacy = \"m\"", "legacy = \"n\""))]
    {
        assert_eq!(said(&state(Phase::Draft), &new), [""; 0]);
        for here in [Phase::Backfilling, Phase::Ramping, Phase::Soaking, Phase::Reverted, Phase::Retired].map(state) {
            let said = said(&here, &new);
            assert!(
                matches!(&said[..], [one] if one.starts_with(&format!("users.toml:1:1: error: `{key}` was")) && one.contains("ficus.toml")),
                "{said:?}"
            );
        }
        assert_eq!(said(&switching(Phase::Ramping), &new).len(), 1);
    }
}

#[test]
fn steps_that_have_begun_stay() {
    let step = |what: &str| format!("\n[[step]]\n{what}\n");
    let with = |steps: &[&str]| {
        let last = ["cutover = true", "soak = \"7d\""];
        format!("{RULES}{}", steps.iter().chain(&last).map(|what| step(what)).collect::<String>())
    };
    let (shadow, five, half, all) = ("shadow = \"100%\"", "reads = \"5%\"", "reads = \"50%\"", "reads = \"100%\"");
    let before = rules(&with(&[shadow, five, half, all]));
    let said = |state: &State, steps: &[&str]| {
        let found = complaints(std::iter::once(state), &before, &rules(&with(steps)));
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for at_half in [state(Phase::Ramping), switching(Phase::Ramping)].map(|state| State { step: 2, ..state }) {
        let gone = said(&at_half, &[shadow, half, all]);
        assert!(
            matches!(&gone[..], [one] if one.starts_with("users.toml:24:1: error: step 2 was `reads = \"5%\"` and is `reads = \"50%\"`")),
            "{gone:?}"
        );
        assert!(gone[0].contains("ficus revert users"), "{gone:?}");
        let inserted = said(&at_half, &[shadow, five, "reads = \"20%\"", half, all]);
        assert!(matches!(&inserted[..], [one] if one.contains("step 3 was `reads = \"50%\"`")), "{inserted:?}");
        assert_eq!(said(&at_half, &[shadow, five, "reads = \"60%\"", all]).len(), 1);
        assert_eq!(said(&at_half, &[shadow, five, half]), [""; 0], "what is to come may change");
        assert_eq!(said(&at_half, &[shadow, five, "reads = \"50%\"\nhold = \"9h\"", "reads = \"75%\"", all]), [""; 0]);
    }
    for free in [Phase::Draft, Phase::Streaming, Phase::Soaking, Phase::Reverted] {
        assert_eq!(said(&State { step: 2, ..state(free) }, &[half]), [""; 0], "{free:?}");
    }
    let short = said(&State { step: 3, ..state(Phase::Ramping) }, &[]);
    assert!(matches!(&short[..], [one] if one.contains("step 1 was `shadow = \"100%\"` and is `cutover = true`")), "{short:?}");
}

#[test]
fn callers_keep_their_share_while_it_is_ramped() {
    let steps = "\n[[step]]\nreads = \"50%\"\n[[step]]\ncutover = true\n";
    let before = format!("{RULES}{steps}");
    for after in
        [before.replace("name = \"users\"\n", "name = \"users\"\nsalt = \"x\"\n"), format!("{before}\n[cohort]\nby = [\"anonymous\"]\n")]
    {
        let said = |state: &State| complaints(std::iter::once(state), &rules(&before), &rules(&after));
        for ramped in [state(Phase::Ramping), switching(Phase::Ramping)] {
            assert!(said(&ramped)[0].message.starts_with("`salt` or `[cohort]` changes"), "{:?}", said(&ramped));
        }
        for free in [state(Phase::Streaming), state(Phase::Soaking), switching(Phase::Soaking)] {
            assert_eq!(said(&free), []);
        }
    }
}

#[test]
fn routes_that_follow_the_owner_are_not_pinned() {
    let notes = "path = \"/notes/\"\nmethods = [\"GET\"]\n";
    let pinned = |side: &str| RULES.replace(notes, &format!("{notes}pin = \"{side}\"\n"));
    let at = "users.toml:9:1: error: the route `/notes/` is pinned";
    for here in [state(Phase::Soaking), state(Phase::Retired), switching(Phase::Ramping), switching(Phase::Soaking)] {
        let said = said(&here, &pinned("legacy"));
        assert!(matches!(&said[..], [one] if one.starts_with(at)), "{here:?} {said:?}");
    }
    for phase in [Phase::Streaming, Phase::Ramping, Phase::Reverted] {
        assert_eq!(said(&state(phase), &pinned("legacy")), [""; 0], "it goes where it went");
        let said = said(&state(phase), &pinned("modern"));
        assert!(matches!(&said[..], [one] if one.starts_with(at) && one.contains("ficus pin users modern")), "{said:?}");
    }
    // A pinned route that writes the tables does not become one that does not.
    let writing = RULES.replace(notes, &format!("{notes}pin = \"legacy\"\nwrites_tables = true\n").replace("GET", "POST"));
    let silent = writing.replace("writes_tables = true\n", "");
    let said = complaints(std::iter::once(&state(Phase::Soaking)), &rules(&writing), &rules(&silent));
    assert!(matches!(&said[..], [one] if one.message.contains("pinned otherwise")), "{said:?}");
}

#[test]
fn a_new_pinned_route_takes_no_writes_past_the_fence() {
    let with = |more: &str| format!("{RULES}\n[[route]]\npath = \"/users/{{id}}/photo/\"\npin = \"legacy\"\n{more}");
    for here in [state(Phase::Soaking), state(Phase::Retired), switching(Phase::Ramping)] {
        let found = said(&here, &with(""));
        assert!(matches!(&found[..], [one] if one.contains("`/users/{id}/photo/` takes writes from `/users/{*rest}`")), "{found:?}");
        assert_eq!(said(&here, &with("writes_tables = true\n")), [""; 0]);
        assert_eq!(said(&here, &with("methods = [\"GET\", \"HEAD\"]\n")), [""; 0]);
        assert_eq!(said(&here, &with("").replace("/users/{id}/photo/", "/admin/")), [""; 0], "nobody owned that");
    }
    assert_eq!(said(&state(Phase::Ramping), &with("")), [""; 0]);
    assert!(said(&state(Phase::Ramping), &with("").replace("pin = \"legacy\"", "pin = \"modern\""))[0].contains("takes writes from"));
}
