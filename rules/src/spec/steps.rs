//! `[[step]]`: one step each, and the order of all.

use std::time::Duration;

use super::capability::WINDOWS;
use super::document::CapabilityDocument;
use super::fields::Fields;
use super::shape::{Bond, If, Key, Kind, Literal, Section};
use super::source::{Located, Report};
use super::words::list;
use crate::Share;
use crate::plan::{Step, StepAction};

/// How long a step lasts at least, if it does not say so.
const HOLD: Duration = Duration::ZERO;

const ACTIONS: [&str; 4] = ["shadow", "reads", "cutover", "soak"];

pub(super) const STEP: Section = Section::new(
    "[[step]]",
    &[
        Key::new("shadow", Kind::Share, "Mirror this share of the reads and compare."),
        Key::new("reads", Kind::Share, "This share of the callers reads from modern."),
        Key::new("cutover", Kind::True, "The writes move."),
        Key::new("soak", Kind::Duration, "Modern owns; reverse sync keeps the way back open."),
        Key::new("compare", Kind::Share, "In a soak: this share of the reads is asked of legacy, too, and compared.")
            .unset(Literal::Text("0%")),
        Key::new("hold", Kind::Duration, "How long it lasts at least, with all gates passing.").unset(Literal::Duration(HOLD)),
        Key::new("approve", Kind::Boolean, "Waits for `ficus approve` before it begins.").unset(Literal::Boolean(false)),
        Key::new("windows", Kind::Windows, WINDOWS),
    ],
)
.bound(&[Bond::One(&ACTIONS), Bond::Never(If::Given("soak"), If::Given("hold")), Bond::Needs(If::Given("compare"), &[If::Given("soak")])]);

pub(super) fn read(mut section: Fields<'_>) -> Option<Located<Step>> {
    let given: Vec<&str> = ACTIONS.into_iter().filter(|action| section.has(action)).collect();
    let shadow = section.share("shadow").filter(|share| above_nothing(&section, "shadow", share));
    let reads = section.share("reads").filter(|share| above_nothing(&section, "reads", share));
    let cutover = section.boolean("cutover");
    let soak = section.duration("soak");
    let hold = section.duration("hold");
    let compare = section.share("compare");
    let windows = section.windows();
    let approve = section.boolean("approve").is_some_and(|approve| approve.value);
    let report = section.text.report;
    match given.as_slice() {
        [] => section.error("the step does nothing", "give it one of `shadow`, `reads`, `cutover`, `soak`"),
        [_] => {}
        several => section.error(format!("the step has {}", list(several)), "one of them each: make more steps"),
    }
    if let Some(cutover) = cutover.as_ref().filter(|cutover| !cutover.value) {
        report.error(&cutover.at, "a cutover that is none", "write `cutover = true`, or remove the step");
    }
    if let (Some(hold), true) = (&hold, section.has("soak")) {
        report.error(&hold.at, "a soak lasts as long as it says: `hold` has no meaning here", "remove `hold`");
    }
    if let (Some(compare), false) = (&compare, section.has("soak")) {
        report.error(&compare.at, "`compare` is of a soak: before it, `shadow` compares", "remove `compare`, or make a step `shadow = …`");
    }
    let at = section.at.clone();
    section.finish();
    let action = match (shadow, reads, cutover, soak) {
        (Some(share), ..) => StepAction::Shadow(share.value),
        (_, Some(share), ..) => StepAction::Reads(share.value),
        (_, _, Some(_), _) => StepAction::Cutover,
        (_, _, _, Some(soak)) => StepAction::Soak(soak.value),
        _ => return None,
    };
    let hold = hold.map_or(HOLD, |hold| hold.value);
    Some(Located {
        value: Step { source: at.source(), action, compare: compare.map_or(Share::NONE, |share| share.value), hold, approve, windows },
        at,
    })
}

/// The order of a capability's steps: shadow, growing reads, one cutover, one soak.
pub(super) fn lint(capability: &CapabilityDocument, report: &Report) {
    let (mut reads, mut cutover, mut soak) = (Share::NONE, false, false);
    for step in &capability.steps {
        if soak {
            report.error(&step.at, "a step after the soak is never reached", "the soak is the last step: move or remove this one");
        }
        match step.value.action {
            StepAction::Shadow(_) | StepAction::Reads(_) if cutover && !soak => {
                report.error(&step.at, "after the cutover modern serves everything", "move this step before the cutover");
            }
            StepAction::Reads(share) if share < reads => {
                let message = format!("the reads shrink from {reads} to {share}");
                report.error(&step.at, message, "shares grow from step to step; the way back is `ficus revert`");
            }
            StepAction::Reads(share) => reads = share,
            StepAction::Shadow(_) => {}
            StepAction::Cutover if cutover => report.error(&step.at, "a second cutover", "writes move once: remove one"),
            StepAction::Cutover => cutover = true,
            StepAction::Soak(_) => {
                if !cutover && !soak {
                    report.error(&step.at, "a soak without a cutover before it", "add a step with `cutover = true` before it");
                }
                soak = true;
            }
        }
    }
    match capability.steps.last() {
        None => report.warn(&capability.at, "the capability has no steps: it never moves", "add `[[step]]` sections"),
        Some(last) if !cutover && !soak => {
            report.error(&last.at, "no step has `cutover = true`: the way ends before the writes move", "add the step after this one");
        }
        Some(last) if !soak => report.warn(&last.at, "no soak after the cutover: it may retire at once", "add a step like `soak = \"7d\"`"),
        Some(_) => {}
    }
    judged_to_the_end(capability, report);
    compared_to_the_end(capability, report);
}

/// Once modern owns, no reads are mirrored unless the soak says so, and an answer that turns wrong goes unseen.
fn compared_to_the_end(capability: &CapabilityDocument, report: &Report) {
    let soak = capability.steps.last().filter(|step| matches!(step.value.action, StepAction::Soak(_)));
    if let Some(step) = soak.filter(|step| step.value.compare == Share::NONE && capability.gates.shadow.is_some()) {
        let message = "in the soak nothing is compared: `[gate.shadow]` does not see an answer that turns wrong";
        report.warn(&step.at, message, "add `compare = \"1%\"` to the step: of so many reads legacy is asked, too");
    }
}

/// Once all readers are on modern nobody asks legacy, whose latency is what a ratio is of. Where no step before has shown how fast
/// it is, an absolute limit is what is left.
fn judged_to_the_end(capability: &CapabilityDocument, report: &Report) {
    let Some(step) = capability.steps.first().filter(|step| step.value.action == StepAction::Reads(Share::ALL)) else { return };
    let gates = &capability.gates;
    for (of, gate) in gates.latency.iter().filter(|(of, gate)| gate.max.is_none() && !gates.patience(of.gate()).dry_run) {
        let (name, floor) = (of.gate(), gate.floor.as_millis());
        let message = format!("at 100% nobody asks legacy: `{name}` passes below its floor of {floor}ms, and is inconclusive above");
        let hint = format!("give `[gate.{name}]` a `max`, like \"1s\": without it this step may not end by itself");
        report.warn(&step.at, message, hint);
    }
}

fn above_nothing(section: &Fields<'_>, key: &str, share: &Located<Share>) -> bool {
    let above = share.value > Share::NONE;
    if !above {
        section.text.report.error(&share.at, format!("`{key}` of nothing is no step"), "remove the step, or give it a share");
    }
    above
}
