//! Two databases with rows, logs, fences and checkpoints, and the ledger that knows what must be in them.

use std::collections::{BTreeMap, BTreeSet};

use crate::Side;

/// Rows of a table.
pub(super) const KEYS: usize = 6;

/// A write that somebody asked for. Its id is also what stands in the row afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) capability: usize,
    pub(super) key: usize,
    pub(super) id: u64,
}

/// What somebody wrote behind a fence that let him, until it is known on the other side or somebody has decided about it.
#[derive(Debug)]
pub(super) struct Stray {
    pub(super) write: Write,
    /// What stood in the row.
    pub(super) was: Option<u64>,
    /// The other side has had another row since: it is for somebody to decide about.
    pub(super) passed: bool,
}

/// One side of one capability.
#[derive(Debug, Default)]
pub(super) struct Database {
    pub(super) fenced: bool,
    /// Behind the fence strangers write all the same.
    pub(super) letting: bool,
    /// What they wrote and nobody has settled, and how many there were.
    pub(super) strays: Vec<Stray>,
    pub(super) let_in: u64,
    /// The last of the other side's that was brought here, and those that the ledger does not have yet.
    pub(super) carried: Option<u64>,
    pub(super) brought: Vec<Write>,
    pub(super) rows: BTreeMap<usize, u64>,
    pub(super) log: Vec<(usize, u64)>,
    /// The checkpoint: how much of the other side's log is applied here.
    pub(super) applied: usize,
    /// Whose turn it is to apply, written with the checkpoint.
    pub(super) turn: u64,
    /// The newest epoch whose orders were carried out here.
    pub(super) epoch: u64,
    /// What its sequence was raised to.
    pub(super) sequence: u64,
    /// The initial copy is complete.
    pub(super) copied: bool,
}

impl Database {
    /// A write by anybody but the agent; `false`: the fence refuses it.
    pub(super) fn write(&mut self, write: Write) -> bool {
        if self.fenced && !self.letting {
            return false;
        }
        let was = self.rows.insert(write.key, write.id);
        if self.fenced {
            self.let_in += 1;
            self.strays.push(Stray { write, was, passed: false });
        } else {
            self.log.push((write.key, write.id));
        }
        true
    }

    /// What a stranger wrote on the other side, as an application would write it here.
    pub(super) fn bring(&mut self, write: Write) {
        self.rows.insert(write.key, write.id);
        self.log.push((write.key, write.id));
        self.carried = Some(write.id);
        self.brought.push(write);
    }

    /// What the agent applies of the other side's log, in one transaction with its checkpoint; `false`: not its turn.
    pub(super) fn apply(&mut self, turn: u64, log: &[(usize, u64)], most: usize) -> bool {
        let upto = log.len().min(self.applied + most);
        if turn == self.turn {
            self.rows.extend(log[self.applied..upto].iter().copied());
            self.applied = upto;
        }
        turn == self.turn
    }
}

/// What was committed, in the order of the commits, and what was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    next: u64,
    committed: BTreeSet<u64>,
    /// Taken by the side that does not own: brought to the other one later, or decided about.
    let_in: BTreeSet<u64>,
    pub(super) acknowledged: usize,
    /// What must stand in each row.
    last: BTreeMap<(usize, usize), u64>,
}

impl Ledger {
    pub(super) fn ask(&mut self, capability: usize, key: usize) -> Write {
        self.next += 1;
        Write { capability, key, id: self.next }
    }

    pub(super) fn commit(&mut self, write: Write) {
        assert!(self.committed.insert(write.id), "{write:?} was carried out twice");
        self.last.insert((write.capability, write.key), write.id);
    }

    pub(super) fn let_in(&mut self, write: Write) {
        self.let_in.insert(write.id);
    }

    pub(super) fn acknowledge(&mut self, write: Write) {
        assert!(self.committed.contains(&write.id) || self.let_in.contains(&write.id), "{write:?} was acknowledged, and is nowhere");
        self.acknowledged += 1;
    }

    /// Both sides hold every row as it was written last.
    pub(super) fn settle(&self, capability: usize, databases: &[Database; 2]) {
        for key in 0..KEYS {
            let wanted = self.last.get(&(capability, key));
            for side in Side::BOTH {
                let found = databases[side as usize].rows.get(&key);
                assert_eq!(found, wanted, "row {key} of capability {capability} on {side}: lost, or written over by something older");
            }
        }
    }
}
