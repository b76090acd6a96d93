//! One transition. Called again until nothing changes; every transition may be repeated after a crash, because it looks
//! only at the stored state and at what is observed.

use serde::{Deserialize, Serialize};

use super::observation::Observation;
use super::{State, checkup, strays, switch, walk, wish};
use crate::Timestamp;
use crate::plan::Capability;

/// Why the state machine is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something may have changed, or time has passed.
    Tick,
    /// An operator wishes something.
    Wish(Wish),
}

/// What an operator may wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Begin; or skip what is left of the present step's hold.
    Advance,
    /// Do not go forward, for this reason.
    Hold(String),
    /// Take one reason away; `None`: all of them. It approves nothing.
    Release(Option<String>),
    /// Let the next step begin, which waits for that; holds stay.
    Approve,
    /// Move the writes to modern now.
    Cutover,
    /// Take a switch back that has not flipped the owner, or give a repair up.
    Abort,
    /// Back to legacy.
    Revert,
    /// The same, although rows are set aside: they stay so.
    RevertLeaving,
    /// End legacy's part. No way back.
    Retire,
    /// Compare every row.
    Verify,
    /// Write the owner's rows over what differs.
    Repair,
}

impl Wish {
    /// The word in the API's paths and in the journal.
    pub fn as_str(&self) -> &'static str {
        match self {
            Wish::Advance => "advance",
            Wish::Hold(_) => "hold",
            Wish::Release(_) => "release",
            Wish::Approve => "approve",
            Wish::Cutover => "cutover",
            Wish::Abort => "abort",
            Wish::Revert | Wish::RevertLeaving => "revert",
            Wish::Retire => "retire",
            Wish::Verify => "verify",
            Wish::Repair => "repair",
        }
    }
}

/// Every kind of line in the journal, also of those that only an orchestrator writes.
pub const KINDS: [&str; 22] = [
    "aborted",
    "approve",
    "flag",
    "flipped",
    "hold",
    "override",
    "page",
    "phase",
    "pin",
    "release",
    "repair",
    "repaired",
    "retried",
    "rules",
    "stage",
    "step",
    "stepped_back",
    "strays",
    "switched",
    "unpinned",
    "verified",
    "verify",
];

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalLine {
    /// A word to search by, one of [`KINDS`].
    pub kind: String,
    /// A sentence.
    pub text: String,
    /// Figures.
    pub detail: serde_json::Value,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The state, perhaps changed. Its version is the caller's business.
    pub state: State,
    /// What to write down together with it.
    pub journal: Vec<JournalLine>,
    /// Why a wish was not granted. The state is then unchanged.
    pub refused: Option<String>,
}

impl Outcome {
    pub(super) fn unchanged(state: &State) -> Outcome {
        Outcome { state: state.clone(), journal: Vec::new(), refused: None }
    }

    pub(super) fn refused(state: &State, why: impl Into<String>) -> Outcome {
        Outcome { refused: Some(why.into()), ..Outcome::unchanged(state) }
    }

    pub(super) fn moved(state: State, kind: &str, text: impl Into<String>, detail: serde_json::Value) -> Outcome {
        debug_assert!(KINDS.contains(&kind), "{kind} is no kind of line");
        Outcome { state, journal: vec![JournalLine { kind: kind.to_owned(), text: text.into(), detail }], refused: None }
    }
}

/// Moves a state by what is observed or wished: at most one transition.
pub fn advance(state: &State, plan: &Capability, seen: &Observation, event: &Event, now: Timestamp) -> Outcome {
    let mut outcome = match event {
        Event::Wish(wish) => wish::grant(state, plan, seen, wish, now),
        Event::Tick => match &state.switch {
            Some(running) => switch::tick(state, running, plan, seen, now),
            None => checkup::tick(state, plan, seen, now)
                .or_else(|| strays::tick(state, plan, seen, now))
                .unwrap_or_else(|| walk::tick(state, plan, seen, now)),
        },
    };
    if (outcome.state.phase, outcome.state.step) != (state.phase, state.step) {
        seen.learn_of_legacy(state, plan, &mut outcome.state.legacy_before);
    }
    outcome
}
