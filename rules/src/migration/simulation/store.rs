//! The store: what survives its writers. A write is made up from what was read, and is carried out when it arrives if its
//! writer still leads and nothing was written since; as in etcd, where it may arrive after its writer has given it up.

use std::collections::BTreeSet;

use super::CAPABILITIES;
use crate::migration::{State, desired};
use crate::plan::Capability;

/// A state and the generations at which it was published last.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub(super) state: State,
    pub(super) serving_generation: u64,
    pub(super) orders_generation: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Store {
    /// Which leader may write.
    term: u64,
    /// Counts what was written.
    revision: u64,
    generation: u64,
    stored: [Stored; CAPABILITIES],
    names: BTreeSet<String>,
}

/// A write on its way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Put {
    pub(super) capability: usize,
    /// Whose it is.
    term: u64,
    /// What it was made up from.
    revision: u64,
    pub(super) generation: u64,
    pub(super) stored: Stored,
}

/// What a writer hears of its write, if it hears of it.
pub(super) enum Answer {
    Written,
    /// Somebody wrote since.
    Overtaken,
    /// Somebody else leads.
    Deposed,
}

impl Store {
    pub(super) fn new(states: [State; CAPABILITIES]) -> Store {
        let begin = |state| Stored { state, serving_generation: 1, orders_generation: 1 };
        Store { term: 1, revision: 1, generation: 1, stored: states.map(begin), names: BTreeSet::new() }
    }

    /// Somebody begins to lead; whoever led before writes nothing any more.
    pub(super) fn elect(&mut self) -> u64 {
        self.term += 1;
        self.term
    }

    pub(super) fn read(&self) -> [Stored; CAPABILITIES] {
        self.stored.clone()
    }

    pub(super) fn state(&self, capability: usize) -> &State {
        &self.stored[capability].state
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.names.iter()
    }

    /// Keeps a gateway's name; `false`: the writer leads no longer.
    pub(super) fn remember(&mut self, term: u64, name: &str) -> bool {
        if term == self.term {
            self.names.insert(name.to_owned());
        }
        term == self.term
    }

    /// A transition away from `before`, made up from what is written; `None`: that is not what is written.
    pub(super) fn make_up(&self, term: u64, capability: usize, plan: &Capability, before: &State, after: State) -> Option<Put> {
        let mut stored = self.stored[capability].clone();
        if stored.state.version != before.version {
            return None;
        }
        let serving = desired::serving(&after, plan) != desired::serving(before, plan);
        let orders = desired::orders(&after, plan) != desired::orders(before, plan);
        let generation = self.generation + u64::from(serving || orders);
        if serving {
            stored.serving_generation = generation;
        }
        if orders {
            stored.orders_generation = generation;
        }
        stored.state = State { version: before.version + 1, ..after };
        Some(Put { capability, term, revision: self.revision, generation, stored })
    }

    /// It arrives.
    pub(super) fn write(&mut self, put: &Put) -> Answer {
        if put.term != self.term {
            return Answer::Deposed;
        }
        if put.revision != self.revision {
            return Answer::Overtaken;
        }
        self.revision += 1;
        self.generation = put.generation;
        self.stored[put.capability] = put.stored.clone();
        Answer::Written
    }
}
