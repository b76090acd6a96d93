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
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stray {
    pub(super) write: Write,
    /// What stood in the row.
    pub(super) was: Option<u64>,
    /// The other side has had another row since: it is for somebody to decide about.
    pub(super) passed: bool,
}

/// One side of one capability.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Database {
    pub(super) fenced: bool,
    /// Behind the fence strangers write all the same.
    pub(super) letting: bool,
    /// What they wrote and nobody has settled, and how many there were.
    pub(super) strays: Vec<Stray>,
    pub(super) let_in: u64,
    /// The last of the other side's that was brought here, and those that the ledger does not have yet, with what stood in the row.
    pub(super) carried: Option<u64>,
    pub(super) brought: Vec<(Write, Option<u64>)>,
    pub(super) rows: BTreeMap<usize, u64>,
    /// What was written to each row, in its order, but for what was let in: one that is applied twice stands there twice.
    pub(super) history: BTreeMap<usize, Vec<u64>>,
    /// Each write to a row; `None`: nobody wrote it, and it is to be looked at again.
    pub(super) log: Vec<(usize, Option<u64>)>,
    /// The checkpoint: how much of the other side's log is applied here.
    pub(super) applied: usize,
    /// Whose turn it is to apply, written with the checkpoint.
    pub(super) turn: u64,
    /// The newest epoch whose orders were carried out here.
    pub(super) epoch: u64,
    /// What its sequence was raised to.
    pub(super) sequence: u64,
    /// It answers nobody before this time.
    pub(super) away_until: u64,
    /// The initial copy is complete.
    pub(super) copied: bool,
}

impl Database {
    pub(super) fn is_away(&self, now: u64) -> bool {
        now < self.away_until
    }

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
            self.own(write);
        }
        true
    }

    /// What a stranger wrote on the other side, as an application would write it here.
    pub(super) fn bring(&mut self, write: Write, was: Option<u64>) {
        self.rows.insert(write.key, write.id);
        self.own(write);
        self.carried = Some(write.id);
        self.brought.push((write, was));
    }

    /// It goes on to the other side.
    fn own(&mut self, write: Write) {
        self.history.entry(write.key).or_default().push(write.id);
        self.log.push((write.key, Some(write.id)));
    }

    /// The agent asks for a row, as if somebody had written it.
    pub(super) fn touch(&mut self, key: usize) {
        self.log.push((key, None));
    }

    /// What the agent applies of the other side's log, in one transaction with its checkpoint; `false`: not its turn.
    pub(super) fn apply(&mut self, turn: u64, source: &Database, most: usize) -> bool {
        let upto = source.log.len().min(self.applied + most);
        if turn == self.turn {
            for (key, write) in &source.log[self.applied..upto] {
                match write.or_else(|| source.rows.get(key).copied()) {
                    Some(id) => self.rows.insert(*key, id),
                    None => self.rows.remove(key),
                };
                if let Some(id) = write {
                    self.history.entry(*key).or_default().push(*id);
                }
            }
            self.applied = upto;
        }
        turn == self.turn
    }
}

/// What was committed, in the order of the commits, and what was acknowledged.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ledger {
    next: u64,
    committed: BTreeSet<u64>,
    /// Taken by the side that does not own: brought to the other one later, or decided about.
    let_in: BTreeSet<u64>,
    pub(super) acknowledged: usize,
    /// What was written to each row, in its order.
    written: BTreeMap<(usize, usize), Vec<u64>>,
}

impl Ledger {
    pub(super) fn ask(&mut self, capability: usize, key: usize) -> Write {
        self.next += 1;
        Write { capability, key, id: self.next }
    }

    pub(super) fn commit(&mut self, write: Write) {
        assert!(self.committed.insert(write.id), "{write:?} was carried out twice");
        self.written.entry((write.capability, write.key)).or_default().push(write.id);
    }

    /// What was let in has been written to the owner.
    pub(super) fn carry(&mut self, write: Write, was: Option<u64>) {
        let last = self.written.get(&(write.capability, write.key)).and_then(|written| written.last());
        assert_eq!(last, was.as_ref(), "a write of the owner is replaced by a stranger's: {write:?}");
        self.commit(write);
    }

    pub(super) fn has(&self, write: Write) -> bool {
        self.committed.contains(&write.id)
    }

    pub(super) fn let_in(&mut self, write: Write) {
        self.let_in.insert(write.id);
    }

    pub(super) fn acknowledge(&mut self, write: Write) {
        assert!(self.committed.contains(&write.id) || self.let_in.contains(&write.id), "{write:?} was acknowledged, and is nowhere");
        self.acknowledged += 1;
    }

    /// Both sides hold every row as it was written last, and were written to once for each write, in the order of these.
    pub(super) fn settle(&self, capability: usize, databases: &[Database; 2]) {
        for key in 0..KEYS {
            let wanted = self.written.get(&(capability, key));
            let last = wanted.and_then(|written| written.last());
            for (side, database) in Side::BOTH.into_iter().zip(databases) {
                let found = (database.rows.get(&key), database.history.get(&key));
                assert_eq!(found, (last, wanted), "row {key} of capability {capability} on {side}: lost, doubled or overtaken");
            }
        }
    }
}
