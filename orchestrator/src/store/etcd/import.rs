//! Takes in what another store holds. Until all of it is there, and the same, a key says that it is not: no orchestrator begins with
//! half a state, and a move that was cut short begins anew.

use super::books::{BOOKS, Books};
use super::notes::{self, entry_key};
use super::words::{Keys, Step, in_portions};
use super::{Client, Etcd, EtcdStore, FORMAT, GATEWAYS, KeptOverrides, KeptRules, KeptState, OVERRIDES, RULES, STATES, StoreError};
use crate::store::Store as _;
use crate::store::everything::Everything;

/// There while a state is being moved in.
pub(super) const MOVING: &str = "moving";

/// What stands under the prefix before a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// What a move left that did not come to its end.
    HalfOfAMove,
    AState,
}

impl Client {
    /// What is there.
    pub(crate) async fn found(&self) -> Result<Found, StoreError> {
        let read = self.read(&[Keys::One(MOVING), Keys::One("format"), Keys::One(BOOKS)]).await?;
        Ok(match [0, 1, 2].map(|at| read.revisions(at).is_some()) {
            [true, _, _] => Found::HalfOfAMove,
            [false, false, false] => Found::Nothing,
            _ => Found::AState,
        })
    }
}

impl Client {
    /// The last generation that was given out, and the last entry of the journal.
    pub(crate) async fn newest(&self) -> Result<(u64, u64), StoreError> {
        let books: Books = self.read(&[Keys::One(BOOKS)]).await?.one()?.unwrap_or_default().0;
        Ok((books.generation, books.journal.id))
    }
}

impl EtcdStore {
    /// The store of a leader who moves a state in.
    pub(crate) fn empty(client: std::sync::Arc<Client>, lead: super::Lead, mandate: crate::mandate::Mandate) -> EtcdStore {
        EtcdStore { client, lead, writing: tokio::sync::Mutex::default(), mandate }
    }

    /// Writes everything but the word that it is whole.
    pub(crate) async fn take_in(&self, all: &Everything) -> Result<(), StoreError> {
        self.put(vec![Step::put(MOVING, &())?]).await?;
        for under in [STATES, GATEWAYS, notes::JOURNAL, notes::SAMPLES, notes::NOTIFIED] {
            self.put(vec![Step::delete_under(under)]).await?;
        }
        self.put([BOOKS, OVERRIDES, RULES].map(Step::delete).to_vec()).await?;
        let loaded = &all.loaded;
        let books = Books {
            generation: all.generation,
            rules_generation: loaded.rules_generation,
            rules_published: loaded.rules_published,
            journal: all.head.clone(),
        };
        let mut steps = vec![Step::put(BOOKS, &books)?];
        let overrides = KeptOverrides { generation: loaded.overrides_generation, overrides: loaded.overrides.clone() };
        steps.push(Step::put(OVERRIDES, &overrides)?);
        if let Some(files) = &loaded.rules {
            let rules = KeptRules { generation: loaded.rules_generation, published: loaded.rules_published, files: files.clone() };
            steps.push(Step::put(RULES, &rules)?);
        }
        for (name, stored) in &loaded.states {
            let kept = KeptState { state: stored.state.clone(), serving: stored.serving_generation, orders: stored.orders_generation };
            steps.push(Step::put(&format!("{STATES}{name}"), &kept)?);
        }
        for name in &loaded.gateways {
            steps.push(Step::put(&format!("{GATEWAYS}{name}"), &())?);
        }
        for (notifier, entry) in &all.notified {
            steps.push(Step::put(&notes::notified(notifier), entry)?);
        }
        for entry in &all.journal {
            steps.push(Step::put(&entry_key(entry.id), entry)?);
        }
        for portion in in_portions(steps) {
            self.put(portion).await?;
        }
        for samples in all.samples.values() {
            self.keep_samples(samples, u32::MAX).await?;
        }
        Ok(())
    }

    /// Everything, as it would be read after the next start.
    pub(crate) async fn everything(&self) -> Result<Everything, StoreError> {
        let generation = self.books().await?.0.generation;
        let notifiers = self.client.read(&[Keys::NamesUnder(notes::NOTIFIED)]).await?.names(0, &self.client.key(notes::NOTIFIED));
        Everything::read(self, generation, notifiers).await
    }

    /// From now on it is a state.
    pub(crate) async fn is_whole(&self) -> Result<(), StoreError> {
        self.put(vec![Step::put("format", &FORMAT)?, Step::delete(MOVING)]).await
    }
}

/// Where it is, for people: no secret stands in an address or a prefix.
pub(crate) fn place(etcd: &Etcd) -> String {
    format!("{} of etcd at {}", etcd.prefix, etcd.endpoints.join(", "))
}
