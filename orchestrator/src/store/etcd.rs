//! The store in etcd, for several orchestrators of which one leads. Every write is a transaction that asks whether the
//! leader's key is still the one of this leader: whoever was deposed, and does not know it yet, writes nothing.
//!
//! What is published and the journal are written together with one key, the books, that everything of that kind is guarded
//! by: two writes at once never both succeed, and a write whose answer was lost and that arrives late changes nothing that
//! was written since. Knows nothing of how leaders are found: see [`election`].

mod books;
mod client;
pub(crate) mod compaction;
pub(crate) mod election;
pub(crate) mod import;
mod notes;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ficus_rules::api::JournalEntry;
use ficus_rules::audit::Head;
use ficus_rules::migration::State;
use ficus_rules::wire::{DifferenceSample, Overrides, RuleFile};
use serde::{Deserialize, Serialize};

use super::{Change, JournalQuery, Loaded, Note, Store, StoreError, Stored};
use crate::mandate::Mandate;
use crate::outgoing::Trust;

use books::{BOOKS, Books};
pub(crate) use client::Client;
pub use client::EtcdError;
use election::{LEADER, Lead};
use words::{Guard, Keys, Step, Txn};

/// The format of the keys below.
const FORMAT: i64 = 1;
/// Another write came between: tries before it is given up. Only a write of our own whose answer was lost can come between.
const TRIES: usize = 5;

const OVERRIDES: &str = "overrides";
const RULES: &str = "rules";
const STATES: &str = "state/";
const GATEWAYS: &str = "gateway/";

/// Where etcd is, and how this process is let in.
#[derive(Clone)]
pub struct Etcd {
    /// Its members, like `https://10.0.0.11:2379`. One that does not answer is passed over.
    pub endpoints: Vec<String>,
    /// What all keys begin with. One migration, one prefix.
    pub prefix: String,
    /// Name and password, if it asks for them.
    pub user: Option<(String, String)>,
    /// Whom to believe to be it.
    pub trust: Trust,
    /// A leader that does not renew for so long is none any more (2 s at least; etcd has no shorter leases).
    pub lease: Duration,
    /// What others reach this orchestrator by: a base like `http://10.0.0.1:7070`.
    pub address: String,
}

impl fmt::Debug for Etcd {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// The store of one leader.
pub(crate) struct EtcdStore {
    client: Arc<Client>,
    /// What every write asks for.
    lead: Lead,
    /// One write of this process after the other.
    writing: tokio::sync::Mutex<()>,
    mandate: Mandate,
}

/// The rule files as they are kept.
#[derive(Debug, Serialize, Deserialize)]
struct KeptRules {
    generation: u64,
    published: u64,
    files: Vec<RuleFile>,
}

/// The overrides as they are kept.
#[derive(Debug, Serialize, Deserialize)]
struct KeptOverrides {
    generation: u64,
    overrides: Overrides,
}

/// A state as it is kept. New rules publish all of them anew, without touching them: see [`Books::rules_published`].
#[derive(Debug, Serialize, Deserialize)]
struct KeptState {
    state: State,
    serving: u64,
    orders: u64,
}

impl KeptState {
    fn stored(self, books: &Books) -> Stored {
        let since = books.rules_published;
        Stored { state: self.state, serving_generation: self.serving.max(since), orders_generation: self.orders.max(since) }
    }
}

/// Whether good rules were ever kept.
pub(crate) async fn has_rules(client: &Client) -> Result<bool, StoreError> {
    Ok(!client.read(&[Keys::NamesUnder(RULES)]).await?.names(0, "").is_empty())
}

impl EtcdStore {
    /// The store of a leader, whose mandate ends when it turns out that somebody else leads. It resigns when it is closed.
    ///
    /// # Errors
    /// [`StoreError::Newer`]: a newer version wrote it.
    pub(crate) async fn open(client: Arc<Client>, lead: Lead, mandate: Mandate) -> Result<EtcdStore, StoreError> {
        let store = EtcdStore { client, lead, writing: tokio::sync::Mutex::default(), mandate };
        let read = store.client.read(&[Keys::One("format"), Keys::One(import::MOVING)]).await?;
        if read.revisions(1).is_some() {
            return Err(StoreError::HalfMoved);
        }
        match read.one::<i64>()? {
            Some((format, _)) if format > FORMAT => return Err(StoreError::Newer(format)),
            Some(_) => {}
            None => store.put(vec![Step::put("format", &FORMAT)?]).await?,
        }
        Ok(store)
    }

    /// Writes what nobody publishes: guarded by the leader's key alone.
    async fn put(&self, steps: Vec<Step>) -> Result<(), StoreError> {
        // Without another guard it fails by the leader's key alone, and says so.
        self.transact(Vec::new(), steps).await.map(drop)
    }

    /// When a gateway's name was stored last; 0: it is not.
    pub(super) async fn gateway_stored(&self, name: &str) -> Result<u64, StoreError> {
        let key = format!("{GATEWAYS}{name}");
        Ok(self.client.read(&[Keys::One(&key)]).await?.revisions(0).map_or(0, |(_, stored)| stored))
    }

    /// `false`: the name was stored since; whoever reported meanwhile is kept.
    pub(super) async fn drop_gateway(&self, name: &str, stored: u64) -> Result<bool, StoreError> {
        let key = format!("{GATEWAYS}{name}");
        self.transact(vec![Guard::changed(&key, stored)], vec![Step::delete(&key)]).await
    }

    /// Carries out the steps if the guards hold; `false`: one of `guards` did not.
    async fn transact(&self, mut guards: Vec<Guard>, steps: Vec<Step>) -> Result<bool, StoreError> {
        guards.push(Guard::made(LEADER, self.lead.revision));
        let leader = Keys::One(LEADER);
        let done = self.client.transact(&Txn { guards, steps, otherwise: vec![leader] }).await?;
        if !done.succeeded && done.revisions(0).map(|(made, _)| made) != Some(self.lead.revision) {
            self.mandate.end();
            return Err(StoreError::Deposed);
        }
        Ok(done.succeeded)
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        let wanted = [Keys::One(BOOKS), Keys::Under(STATES), Keys::One(OVERRIDES), Keys::One(RULES), Keys::Under(GATEWAYS)];
        let read = self.client.read(&wanted).await?;
        let books: Books = read.one()?.unwrap_or_default().0;
        let mut loaded = Loaded { rules_generation: books.rules_generation, ..Loaded::default() };
        for kept in read.all::<KeptState>(1)? {
            loaded.states.insert(kept.state.capability.clone(), kept.stored(&books));
        }
        if let Some(kept) = read.all::<KeptOverrides>(2)?.pop() {
            (loaded.overrides_generation, loaded.overrides) = (kept.generation, kept.overrides);
        }
        if let Some(kept) = read.all::<KeptRules>(3)?.pop() {
            (loaded.rules_published, loaded.rules) = (kept.published, Some(kept.files));
        }
        loaded.gateways = read.names(4, &self.client.key(GATEWAYS));
        Ok(loaded)
    }

    async fn compare_and_swap(&self, change: &Change<'_>) -> Result<Option<Stored>, StoreError> {
        let _writing = self.writing.lock().await;
        let key = format!("{STATES}{}", change.state.capability);
        for _ in 0..TRIES {
            let read = self.client.read(&[Keys::One(BOOKS), Keys::One(&key)]).await?;
            let (mut books, at) = read.one::<Books>()?.unwrap_or_default();
            let found = read.all::<KeptState>(1)?.pop();
            if found.as_ref().map_or(0, |kept| kept.state.version) != change.from {
                return Ok(None);
            }
            let (mut serving, mut orders) = found.map_or((0, 0), |kept| (kept.serving, kept.orders));
            if change.serving || change.orders {
                books.generation += 1;
                serving = if change.serving { books.generation } else { serving };
                orders = if change.orders { books.generation } else { orders };
            }
            let kept = KeptState { state: State { version: change.from + 1, ..change.state.clone() }, serving, orders };
            let steps = vec![Step::put(&key, &kept)?];
            if self.enter(&mut books, at, steps, change.journal).await? {
                return Ok(Some(kept.stored(&books)));
            }
        }
        Err(EtcdError::Restless.into())
    }

    async fn save_rules(&self, rules: &[RuleFile], note: &Note) -> Result<(u64, u64), StoreError> {
        let _writing = self.writing.lock().await;
        for _ in 0..TRIES {
            let (mut books, at) = self.books().await?;
            books.generation += 1;
            books.rules_generation += 1;
            books.rules_published = books.generation;
            let kept = KeptRules { generation: books.rules_generation, published: books.generation, files: rules.to_vec() };
            if self.enter(&mut books, at, vec![Step::put(RULES, &kept)?], std::slice::from_ref(note)).await? {
                return Ok((books.rules_generation, books.generation));
            }
        }
        Err(EtcdError::Restless.into())
    }

    async fn save_overrides(&self, overrides: &Overrides, note: &Note) -> Result<u64, StoreError> {
        let _writing = self.writing.lock().await;
        for _ in 0..TRIES {
            let (mut books, at) = self.books().await?;
            books.generation += 1;
            let kept = KeptOverrides { generation: books.generation, overrides: overrides.clone() };
            if self.enter(&mut books, at, vec![Step::put(OVERRIDES, &kept)?], std::slice::from_ref(note)).await? {
                return Ok(books.generation);
            }
        }
        Err(EtcdError::Restless.into())
    }

    async fn journal_head(&self) -> Result<Head, StoreError> {
        Ok(self.books().await?.0.journal)
    }

    async fn journal(&self, query: &JournalQuery) -> Result<Vec<JournalEntry>, StoreError> {
        self.entries(query).await
    }

    async fn keep_samples(&self, samples: &[DifferenceSample], most: u32) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        self.add_samples(samples, most).await
    }

    async fn samples(&self, capability: Option<&str>) -> Result<Vec<DifferenceSample>, StoreError> {
        self.all_samples(capability).await
    }

    async fn remember_gateway(&self, name: &str) -> Result<(), StoreError> {
        self.put(vec![Step::put(&format!("{GATEWAYS}{name}"), &())?]).await
    }

    async fn forget_gateway(&self, name: &str) -> Result<(), StoreError> {
        let stored = self.gateway_stored(name).await?;
        self.drop_gateway(name, stored).await.map(drop)
    }

    async fn notified(&self, notifier: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.client.read(&[Keys::One(&notes::notified(notifier))]).await?.one()?.map(|(entry, _)| entry))
    }

    async fn keep_notified(&self, notifier: &str, entry: u64) -> Result<(), StoreError> {
        self.put(vec![Step::put(&notes::notified(notifier), &entry)?]).await
    }

    async fn close(&self) {
        let _finished = self.writing.lock().await;
        self.client.resign(self.lead).await;
    }
}
