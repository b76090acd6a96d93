//! Which agent speaks for a capability, when reports are late, missing, or contradict each other.
//!
//! Decides whom to believe; what a report says is for `migration`. Reads no clock: time comes in as [`Steady`], because a clock that is
//! set back must not make a silent agent one that has just spoken.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lease::BELIEVED;
use crate::time::Steady;
use crate::wire::{AgentReport, CapabilityReport};

/// An agent that has been silent for so long, while another one reports the same capability, has left it to that one.
const OUTLIVED: Duration = Duration::from_secs(3);

/// The last report of each agent, and when it came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Roster {
    agents: BTreeMap<String, (Steady, AgentReport)>,
}

impl Roster {
    /// Takes a report in, unless something newer of the same agent is known. After a silence anything is believed: a clock
    /// that was set back must not shut an agent out.
    pub fn hear(&mut self, report: AgentReport, now: Steady) {
        let order = |report: &AgentReport| (report.incarnation, report.serial);
        let late = |(at, known): &(Steady, AgentReport)| order(&report) < order(known) && now.since(*at) <= BELIEVED;
        if !self.agents.get(&report.agent).is_some_and(late) {
            self.agents.insert(report.agent.clone(), (now, report));
        }
    }

    /// The agent that has a capability, when it reported, and what it said of it. When several report it, the one whose
    /// streams run, of the newest epoch, and always the same: the checkpoint lets only one of them work, and the others say
    /// so in their reports.
    pub fn of(&self, capability: &str) -> Option<(Steady, &AgentReport, &CapabilityReport)> {
        let reports = || self.agents.values().filter_map(|(at, report)| Some((*at, report, report.capabilities.get(capability)?)));
        let newest = reports().map(|(at, ..)| at).max()?;
        let works = |of: &CapabilityReport| (of.forward.live || of.reverse.live, of.trouble.is_none(), of.epoch);
        let heard = reports().filter(|(at, ..)| newest.since(*at) <= OUTLIVED);
        heard.max_by(|(_, a, of_a), (_, b, of_b)| works(of_a).cmp(&works(of_b)).then_with(|| b.agent.cmp(&a.agent)))
    }

    /// The generation of the orders that a capability's agent works by there: what it has taken, and seen to.
    pub fn generation(agent: &AgentReport, capability: &CapabilityReport) -> u64 {
        capability.generation.unwrap_or(agent.generation).min(agent.generation)
    }

    /// All of them.
    pub fn agents(&self) -> impl Iterator<Item = &(Steady, AgentReport)> {
        self.agents.values()
    }
}
