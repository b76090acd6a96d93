//! What a reload may not take from a capability on its way: its rules, its tables, and once modern owns, its routes.
//! Compares the rules that serve with those that want to; adding is always fine.

use ficus_rules::Side;
use ficus_rules::mapping::TableMap;
use ficus_rules::migration::{Phase, State};
use ficus_rules::plan::{Capability, Route, RuleSet};
use ficus_rules::route::covers;
use ficus_rules::spec::Complaint;

use super::complaint;

/// Everything that the new rules would take away.
pub(super) fn complaints<'a>(states: impl Iterator<Item = &'a State>, serving: &RuleSet, new: &RuleSet) -> Vec<Complaint> {
    let of = |state: &State| match (serving.capabilities.get(&state.capability), new.capabilities.get(&state.capability)) {
        (before, None) => gone(state, before).into_iter().collect(),
        (Some(before), Some(after)) => [tables(state, before, after), routes(state, before, after)].concat(),
        (None, Some(_)) => Vec::new(),
    };
    states.filter(|state| state.phase != Phase::Draft).flat_map(of).collect()
}

fn gone(state: &State, before: Option<&Capability>) -> Option<Complaint> {
    let name = &state.capability;
    let file = before.and_then(place).map_or_else(|| format!("{name}.toml"), |(file, _)| file);
    let hint = match state.phase {
        Phase::Retired => "put its file back: its routes are what sends these paths to modern, for as long as they pass this gateway",
        _ => "put its file back until it is retired",
    };
    Some(complaint(&file, 1, format!("capability `{name}` is {} and has no rules any more", state.phase.as_str()), hint.to_owned()))
}

fn tables(state: &State, before: &Capability, after: &Capability) -> Vec<Complaint> {
    if state.phase == Phase::Retired {
        return Vec::new();
    }
    let same = |a: &TableMap, b: &TableMap| (&a.legacy, &a.modern) == (&b.legacy, &b.modern);
    let named = |table: &TableMap| format!("`{}` and `{}`", table.legacy, table.modern);
    let removed = before.tables.iter().filter(|old| !after.tables.iter().any(|new| same(old, new)));
    let mut found: Vec<Complaint> = removed
        .map(|old| {
            let (file, line) = place(after).unwrap_or_else(|| (format!("{}.toml", after.name), 1));
            let message = format!("the tables {} are gone, and `{}` is {}", named(old), after.name, state.phase.as_str());
            complaint(&file, line, message, format!("put their `[[table]]` back (it was {}) until it is retired", old.source))
        })
        .collect();
    if state.switch.is_some() && found.is_empty() {
        let unchanged = |new: &&TableMap| before.tables.iter().any(|old| TableMap { source: new.source.clone(), ..old.clone() } == **new);
        found.extend(after.tables.iter().filter(|new| !unchanged(new)).map(|new| {
            let (file, line) = split(&new.source);
            let message = format!("the tables {} change while a cutover or revert of `{}` runs", named(new), after.name);
            complaint(&file, line, message, "take the change back until it has ended; `ficus status` shows how far it is".to_owned())
        }));
    }
    found
}

/// A path whose route is gone falls to legacy, whose rows are only a copy then, or nothing at all.
fn routes(state: &State, before: &Capability, after: &Capability) -> Vec<Complaint> {
    if state.owner != Side::Modern {
        return Vec::new();
    }
    let stays_with_legacy = |route: &Route| route.pin == Some(Side::Legacy) && !route.writes_tables;
    let kept = |old: &Route| after.routes.iter().any(|new| shape(&new.path) == shape(&old.path) && covers(new, old));
    let lost = before.routes.iter().filter(|old| !stays_with_legacy(old) && !kept(old));
    lost.map(|old| {
        let (file, line) = place(after).unwrap_or_else(|| (format!("{}.toml", after.name), 1));
        let message = format!("the route `{}` is gone or takes fewer requests, and modern owns `{}`", old.path, after.name);
        let hint = match state.phase {
            Phase::Retired => "put it back: its requests would go to legacy, whose rows are no longer kept",
            _ => "put it back: its requests would go to legacy; `ficus revert` first if that is what you want",
        };
        complaint(&file, line, message, format!("{hint} (it was {})", old.source))
    })
    .collect()
}

/// A path pattern without the names in it.
fn shape(path: &str) -> Vec<&str> {
    let segment = |part: &'_ str| match part {
        _ if part.starts_with("{*") => 2,
        _ if part.starts_with('{') => 1,
        _ => 0,
    };
    path.split('/').map(|part| ["", "{}", "{*}"].get(segment(part)).filter(|name| !name.is_empty()).copied().unwrap_or(part)).collect()
}

/// Where a capability's file begins to speak of it.
fn place(capability: &Capability) -> Option<(String, usize)> {
    let tables = capability.tables.iter().map(|table| &table.source);
    tables.chain(capability.routes.iter().map(|route| &route.source)).next().map(|source| split(source))
}

/// `users.toml:12`
fn split(source: &str) -> (String, usize) {
    let (file, line) = source.rsplit_once(':').unwrap_or((source, "1"));
    (file.to_owned(), line.parse().unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use ficus_rules::Timestamp;
    use ficus_rules::migration::{Stage, Switch};
    use ficus_rules::spec::{self, Known};
    use ficus_rules::wire::RuleFile;

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
    }

    #[test]
    fn tables_do_not_change_while_a_switch_runs() {
        let switch = Switch {
            to: Side::Modern,
            stage: Stage::CatchUp,
            since: Timestamp(0),
            started: Timestamp(0),
            deadline: Timestamp(9),
            from_phase: Phase::Ramping,
        };
        let running = State { switch: Some(switch), ..state(Phase::CatchingUp) };
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
}
