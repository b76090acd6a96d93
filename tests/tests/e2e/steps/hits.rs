//! Who is hit, how, and what may be noticed of it: for how long somebody is away, and which failures that accounts for.

use std::time::{Duration, Instant};

use ficus_tests::ledger::Failure;

/// The stages of a switch, and of one that is taken back.
pub(super) const STAGES: [&str; 9] = ["fence", "drain", "fence_database", "catch_up", "verify", "sequences", "open", "release", LIFT];
/// Where nobody wishes for an abort, a switch does not come here.
pub(super) const LIFT: &str = "lift";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Leader,
    /// The other orchestrator.
    StandsBy,
    Agent,
    Gateway(usize),
    Etcd,
    OldDatabase,
    NewDatabase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// `kill -9`, and started again.
    Killed,
    /// Stopped and continued.
    Asleep,
    /// Nobody hears of it: an orchestrator is cut off from etcd, etcd and the other parts from the orchestrators, a database from
    /// the agent.
    CutOff,
    /// The same, in one direction: what it says goes nowhere, and it is told everything.
    Unheard,
    /// In the other one: what it is told does not come, and everybody hears of it.
    Deaf,
    /// As [`How::CutOff`], for longer than a switch may last.
    Lost,
}

/// From which a switch goes on, or is taken back at once.
pub(super) const ALL: [How; 3] = [How::Killed, How::Asleep, How::CutOff];

impl Who {
    /// For how long it is away: an orchestrator and etcd for longer than a lease, a gateway for longer than it is reckoned with.
    pub(super) fn is_away(self, how: How) -> Duration {
        match (self, how) {
            (_, How::Killed) => Duration::from_millis(300),
            (_, How::Lost) => Duration::from_secs(45),
            (Who::Agent, _) => Duration::from_secs(3),
            (Who::Gateway(_), _) => Duration::from_secs(15),
            _ => Duration::from_secs(6),
        }
    }
}

/// Who is hit, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hit {
    pub(super) who: Who,
    pub(super) how: How,
}

/// As the leader enters which stage.
#[derive(Debug, Clone, Copy)]
pub(super) struct At(pub(super) &'static str, pub(super) Hit);

/// A hit, from when it was struck until everything was as before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Struck {
    pub(super) hit: Hit,
    pub(super) from: Instant,
    pub(super) until: Instant,
}

pub(super) fn hit(who: Who, how: How) -> Hit {
    Hit { who, how }
}

impl Struck {
    /// Whether a failure is of it: whatever goes through that gateway, and what a service says whose database is dead. One that
    /// sleeps is waited for, and so is the end of a switch.
    pub(super) fn excuses(&self, gateway: usize, failure: &Failure) -> bool {
        let said_by = |side| failure.kind == "500" && failure.side.as_deref() == Some(side);
        let of_it = match (self.hit.who, self.hit.how) {
            (Who::Gateway(at), _) => gateway == at && failure.is_excused(),
            (Who::OldDatabase, How::Killed) => said_by("legacy"),
            (Who::NewDatabase, How::Killed) => said_by("modern"),
            _ => false,
        };
        of_it && (self.from..=self.until).contains(&failure.at)
    }
}
