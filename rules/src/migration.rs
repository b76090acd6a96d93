//! The procedure that moves a capability: two pure functions own it. [`advance::advance`] moves the state by what was
//! observed or wished; [`desired`] says what gateways and agents should be doing in a state.
//!
//! | file | decides |
//! |---|---|
//! | `advance` | who is asked; one transition for each call |
//! | `wish` | what an operator may do, and what is refused and why |
//! | `walk` | the steps of the rule file, forward and back |
//! | `returning` | what a failing gate leads to, and when it goes forward again |
//! | `checkup` | verifications and repairs between the steps |
//! | `strays` | what the journal says of writes past the gateway |
//! | `switch` | the stages of a cutover or revert |
//! | `relations` | who waits for whom |
//! | `waiting` | what is missing for the next transition, in words |
//! | `rehearsal` | the path ahead, walked in a world of its own |
//!
//! A switch moves the writes: `Fence → Drain → FenceDatabase → CatchUp → Verify → Sequences → Open → Release`. Up to
//! `Sequences` everything can be taken back (`Lift`). The transition into `Open` flips the owner, and is taken back as well if the new
//! one's database does not open; `Release` is the point of no return.

pub mod advance;
mod checkup;
pub mod desired;
pub mod observation;
pub mod rehearsal;
pub mod relations;
mod returning;
#[cfg(test)]
mod simulation;
pub mod strays;
mod switch;
#[cfg(test)]
pub(crate) mod tests;
pub mod waiting;
mod walk;
mod wish;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::gate::{Baseline, Judged};
use crate::plan::{Capability, Step, StepAction};
use crate::{Side, Timestamp};

/// Where a capability is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Rules exist; nothing moves. Leaves by `advance`.
    Draft,
    /// Existing rows are copied; legacy serves.
    Backfilling,
    /// Changes flow both ways; the modern database is fenced; legacy serves.
    Streaming,
    /// As streaming, and reads are mirrored and compared.
    Shadowing,
    /// A share of the callers reads from modern; legacy owns the writes.
    Ramping,
    /// Cutover: gateways hold writes.
    Fencing,
    /// Cutover: writes already sent finish; then the legacy database is fenced.
    Draining,
    /// Cutover: the end of legacy's log is read, then applied.
    CatchingUp,
    /// Cutover: changed rows are rechecked, sequences raised, the journal written, the owner flipped.
    Verifying,
    /// Modern owns; reverse sync keeps legacy right; the way back is free.
    Soaking,
    /// Legacy's part is over. No way back.
    Retired,
    /// The cutover backwards: whatever its stage.
    Reverting,
    /// Legacy owns again; changes flow both ways; modern is fenced. `advance` begins the steps anew.
    Reverted,
}

/// A capability's durable state. Written by compare-and-swap on `version`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The capability.
    pub capability: String,
    /// Grows with every write.
    pub version: u64,
    /// Where it is.
    pub phase: Phase,
    /// The step of the rule file that it is in, while shadowing, ramping or soaking.
    pub step: usize,
    /// When it entered that phase or step.
    pub since: Timestamp,
    /// Who owns the writes.
    pub owner: Side,
    /// Grows with every change of owner.
    pub epoch: u64,
    /// A running cutover or revert.
    pub switch: Option<Switch>,
    /// Reasons not to go forward.
    pub holds: BTreeSet<String>,
    /// The last judgement of its gates.
    pub judged: Vec<Judged>,
    /// An operator approved the step that waits for approval. Written also for the release before, which knows nothing else of it.
    pub released: bool,
    /// Which one that was. With [`State::released`] and without this, it is the one that comes next: the release before wrote it.
    #[serde(default)]
    pub approved: Option<Approved>,
    /// Grows with every wish that has a token (end, verification, sequences, repair).
    pub token: u64,
    /// The wish for a verification, if one is under way.
    pub verify: Option<crate::wire::Verify>,
    /// The wish for a repair, if one is under way.
    pub repair: Option<u64>,
    /// When the last switch was aborted; automatic tries wait a while.
    #[serde(default)]
    pub aborted: Option<Timestamp>,
    /// The generation of the last fence that every gateway acknowledged. A gateway that works by an older one may not
    /// forward writes, so it gets no validity.
    #[serde(default)]
    pub floor: u64,
    /// How long the last finished switch held the writes, in milliseconds.
    #[serde(default)]
    pub last_pause_ms: Option<u64>,
    /// What legacy was like in the last step in which enough callers asked it.
    #[serde(flatten)]
    pub legacy_before: Baseline,
    /// The last way back that a failing gate led to, until somebody releases it or the writes have moved.
    #[serde(default)]
    pub returned: Option<Returned>,
    /// The last comparison between the steps that stands in the journal.
    #[serde(default)]
    pub compared: Option<Compared>,
    /// What the journal was told of writes past the gateway.
    #[serde(default)]
    pub strays: BTreeMap<Side, strays::Told>,
}

/// A step as it stood there when an operator approved it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approved {
    /// Its place, from 0.
    pub step: usize,
    /// What happens in it.
    pub action: StepAction,
}

/// What a comparison found, so that the journal need not say it again at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// When that was written.
    pub at: Timestamp,
    /// Rows that differed.
    pub drift_rows: u64,
    /// Comparisons since that have found the same.
    pub again: u32,
}

/// A way back that nobody had to type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// The gate that failed.
    pub gate: String,
    /// No gate has failed since.
    pub since: Timestamp,
    /// While legacy owns: how often it went forward again by itself. While modern owns: how often a revert was tried.
    pub tries: u32,
}

impl State {
    /// The state of a capability that the rules have just named.
    pub fn draft(capability: &str, now: Timestamp) -> State {
        State {
            capability: capability.to_owned(),
            version: 0,
            phase: Phase::Draft,
            step: 0,
            since: now,
            owner: Side::Legacy,
            epoch: 0,
            switch: None,
            holds: BTreeSet::new(),
            judged: Vec::new(),
            released: false,
            approved: None,
            token: 0,
            verify: None,
            repair: None,
            aborted: None,
            floor: 0,
            last_pause_ms: None,
            legacy_before: Baseline::default(),
            returned: None,
            compared: None,
            strays: BTreeMap::new(),
        }
    }

    /// The newest time that stands in it of something that has been: whoever reads it is not before that.
    pub fn newest(&self) -> Timestamp {
        let switch = self.switch.iter().map(|switch| switch.since);
        let noted = self.compared.iter().map(|compared| compared.at).chain(self.strays.values().map(|told| told.at));
        let returned = self.returned.iter().map(|returned| returned.since).chain(self.aborted);
        switch.chain(noted).chain(returned).fold(self.since, Timestamp::max)
    }

    /// Whether an operator approved this step, as it stands there now.
    pub(crate) fn is_approved(&self, at: usize, step: &Step) -> bool {
        let is_it = |approved: &Approved| approved.step == at && approved.action == step.action;
        self.released && self.approved.as_ref().is_none_or(is_it)
    }

    /// The same without an approval.
    fn unapproved(self) -> State {
        State { released: false, approved: None, ..self }
    }

    /// The phase that its steps are read by. A switch before its flip changes nothing about the reads, and an abort leads
    /// back to where it began.
    pub fn walked(&self) -> Phase {
        self.switch.as_ref().map_or(self.phase, |switch| switch.from_phase)
    }

    /// Why no read may go to modern now, whatever an operator pins: its rows are not known to be right, or all readers were
    /// taken back. `None`: an operator may pin readers to it.
    pub fn keeps_from_modern(&self, plan: &Capability) -> Option<String> {
        let taken_back = || self.holds.iter().find(|hold| *hold == "revert" || hold.starts_with("gate:"));
        let why = match self.walked() {
            _ if self.owner == Side::Modern => return None,
            Phase::Shadowing | Phase::Ramping => return None,
            Phase::Reverting | Phase::Reverted | Phase::Soaking => "it went back to legacy".to_owned(),
            _ if !plan.tables.is_empty() => "its rows are not known to be right".to_owned(),
            _ => format!("all readers were taken back (held: {})", taken_back()?),
        };
        Some(format!("no read goes to modern before shadowing: {why} (phase {})", self.phase.as_str()))
    }

    /// Whether a gateway that decides by `generation` may forward writes. One that missed the last fence may not: what
    /// it takes for the owner may be none any more.
    pub fn lets_forward(&self, generation: u64) -> bool {
        generation >= self.floor
    }
}

/// A cutover or revert under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    /// Who shall own.
    pub to: Side,
    /// Where it is.
    pub stage: Stage,
    /// When the stage began.
    pub since: Timestamp,
    /// When the whole began (the fence was published).
    pub started: Timestamp,
    /// At this time it is aborted, unless the journal has been written.
    pub deadline: Timestamp,
    /// The phase and step to fall back to on an abort.
    pub from_phase: Phase,
    /// Back to legacy, although rows are set aside: they stay so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves_aside: bool,
}

/// The stages of a switch, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Gateways hold new writes and acknowledge.
    Fence,
    /// Writes already sent finish.
    Drain,
    /// The owner's database refuses every writer but the agent.
    FenceDatabase,
    /// The end of the owner's log is read, and applied on the other side.
    CatchUp,
    /// Rows changed since the last verification are compared.
    Verify,
    /// Sequences are raised above both sides.
    Sequences,
    /// The journal says so, the epoch grows, the owner is another. The new owner's database opens; if it does not, the old one owns again,
    /// and the epoch grows once more.
    Open,
    /// Gateways take the new owner, acknowledge, and release what they hold.
    Release,
    /// An abort: the owner's database opens again, then the gateways do.
    Lift,
}

impl Stage {
    /// All stages, in order; the abort last.
    pub const ALL: [Stage; 9] = [
        Stage::Fence,
        Stage::Drain,
        Stage::FenceDatabase,
        Stage::CatchUp,
        Stage::Verify,
        Stage::Sequences,
        Stage::Open,
        Stage::Release,
        Stage::Lift,
    ];

    /// The word for people, labels and crash points.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Fence => "fence",
            Stage::Drain => "drain",
            Stage::FenceDatabase => "fence_database",
            Stage::CatchUp => "catch_up",
            Stage::Verify => "verify",
            Stage::Sequences => "sequences",
            Stage::Open => "open",
            Stage::Release => "release",
            Stage::Lift => "lift",
        }
    }

    /// The owner has been flipped.
    pub fn is_decided(self) -> bool {
        matches!(self, Stage::Open | Stage::Release)
    }

    /// The owner's database is to be fenced.
    pub fn fences_owner(self) -> bool {
        matches!(self, Stage::FenceDatabase | Stage::CatchUp | Stage::Verify | Stage::Sequences)
    }
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Phase; 13] = [
        Phase::Draft,
        Phase::Backfilling,
        Phase::Streaming,
        Phase::Shadowing,
        Phase::Ramping,
        Phase::Fencing,
        Phase::Draining,
        Phase::CatchingUp,
        Phase::Verifying,
        Phase::Soaking,
        Phase::Retired,
        Phase::Reverting,
        Phase::Reverted,
    ];

    /// The word for people and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Draft => "draft",
            Phase::Backfilling => "backfilling",
            Phase::Streaming => "streaming",
            Phase::Shadowing => "shadowing",
            Phase::Ramping => "ramping",
            Phase::Fencing => "fencing",
            Phase::Draining => "draining",
            Phase::CatchingUp => "catching_up",
            Phase::Verifying => "verifying",
            Phase::Soaking => "soaking",
            Phase::Retired => "retired",
            Phase::Reverting => "reverting",
            Phase::Reverted => "reverted",
        }
    }
}
