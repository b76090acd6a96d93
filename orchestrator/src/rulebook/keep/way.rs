//! The services of a capability, its steps, and who is inside a share. Does not look at routes.

use ficus_rules::Share;
use ficus_rules::migration::{Phase, State, desired};
use ficus_rules::plan::{Capability, Step, StepAction};
use ficus_rules::spec::Complaint;

use super::super::complaint;
use super::split;

/// Another service has another database: its rows were never copied, and nothing fences it.
pub(super) fn services(state: &State, before: &Capability, after: &Capability) -> Vec<Complaint> {
    let (file, line) = split(&after.source);
    let changed =
        [("legacy", &before.legacy, &after.legacy), ("modern", &before.modern, &after.modern)].into_iter().filter(|(_, a, b)| a != b);
    changed
        .map(|(key, old, new)| {
            let message = format!("`{key}` was `{old}` and is `{new}`, and `{}` is {}", after.name, state.phase.as_str());
            let hint = format!(
                "put `{key} = \"{old}\"` back: the rows of `{new}` were never compared with the other side's; to move the same \
                 service and database elsewhere, change `[upstream.{old}]` in ficus.toml"
            );
            complaint(&file, line, message, hint)
        })
        .collect()
}

/// The place in the steps is stored as a number: a step that is taken away or put before it would be another step, begun
/// without its gates.
pub(super) fn steps(state: &State, before: &Capability, after: &Capability) -> Vec<Complaint> {
    if !matches!(state.walked(), Phase::Shadowing | Phase::Ramping) {
        return Vec::new();
    }
    let action = |plan: &Capability, at: usize| plan.steps.get(at).map(|step| step.action.clone());
    let changed = (0..=state.step).find(|at| action(before, *at) != action(after, *at));
    let mut found = Vec::from_iter(changed.map(|at| {
        let (old, new) = (before.steps.get(at), after.steps.get(at));
        let (file, line) = split(new.map_or(&after.source, |new| &new.source));
        let (was, now) = (old.map_or("not there".to_owned(), named), new.map_or("gone".to_owned(), named));
        let (number, here) = (at + 1, state.step + 1);
        let message = format!("step {number} was {was} and is {now}, and `{}` is in step {here} ({})", after.name, state.phase.as_str());
        let before = old.map_or_else(String::new, |old| format!(" (it was {})", old.source));
        let hint = format!(
            "put it back{before}: only steps after step {here} may change; or `ficus revert {}` first, and the steps begin anew",
            after.name
        );
        complaint(&file, line, message, hint)
    }));
    let ramped = desired::serving(state, before).reads > Share::NONE;
    if ramped && (&before.salt, &before.cohort) != (&after.salt, &after.cohort) {
        let (file, line) = split(&after.source);
        let message = format!("`salt` or `[cohort]` changes, and a share of the callers reads `{}` from modern", after.name);
        let hint = format!("put it back: callers would change sides; or `ficus revert {}` first", after.name);
        found.push(complaint(&file, line, message, hint));
    }
    found
}

fn named(step: &Step) -> String {
    match step.action {
        StepAction::Shadow(share) => format!("`shadow = \"{share}\"`"),
        StepAction::Reads(share) => format!("`reads = \"{share}\"`"),
        StepAction::Cutover => "`cutover = true`".to_owned(),
        StepAction::Soak(_) => "a soak".to_owned(),
    }
}
