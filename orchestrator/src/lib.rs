//! The orchestrator: owns how far every capability is, and moves it.
//!
//! It never carries a request or a row, and never decides: deciding is [`ficus_rules::migration::advance`]. It observes,
//! asks, writes the answer down by compare-and-swap, and publishes what follows from it.
//!
//! The life of a transition:
//!
//! 1. a report, an operator's wish or the clock wakes the `reconcile`r;
//! 2. `fleet` says what gateways and agents look like now;
//! 3. `advance` answers with the next state and the lines for the journal;
//! 4. the `store` writes both in one transaction, if nobody else was faster, and gives out a generation;
//! 5. `publish` makes the desired state visible to the long polls of gateways and agents.
//!
//! The reconciler takes no argument but the stored state: the path after a crash is the everyday path.
//!
//! Read next: `reconcile.rs`, then `store.rs`, then `api.rs`.

mod access;
mod api;
mod config;
mod crash;
mod fleet;
mod listener;
mod metrics;
mod notification;
mod outgoing;
mod probe;
mod publish;
mod reconcile;
mod rulebook;
mod status;
mod store;
mod watch;

use std::sync::Arc;

use ficus_rules::spec::Complaint;

pub use access::{Denied, Role, Token, Tokens, is_loopback};
pub use config::Config;
pub use listener::{Caller, Listener, Stream, Tls};
pub use notification::{Format, Notifier};
pub use outgoing::Trust;
pub use rulebook::read as read_rules;

use access::Author;
use publish::Publisher;
use reconcile::{Command, Reconciler};

/// What keeps an orchestrator from starting.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rule files are bad, and the store has no last good ones.
    #[error("the rules are bad: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Rules(Vec<Complaint>),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The rules directory cannot be watched.
    #[error("cannot watch the rules directory")]
    Watch(#[from] notify::Error),
}

/// A running orchestrator. Clones are the same one.
#[derive(Clone)]
pub struct Orchestrator {
    shared: Arc<Shared>,
}

/// What the API, the watcher and the reconciler share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn store::Store>,
    pub(crate) fleet: fleet::Fleet,
    pub(crate) publisher: Publisher,
    pub(crate) commands: tokio::sync::mpsc::Sender<Command>,
    pub(crate) wake: tokio::sync::Notify,
    /// Counts the wishes for an abort: whoever waits to ask for a switch once more does not, after one.
    pub(crate) aborts: std::sync::atomic::AtomicU64,
    pub(crate) stopping: tokio::sync::watch::Sender<bool>,
    /// One permit for each open stream of events.
    pub(crate) streams: Arc<tokio::sync::Semaphore>,
    /// What they look at together.
    pub(crate) look: api::events::Look,
    tasks: std::sync::Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

/// Commands that wait for the reconciler; more of them make their senders wait.
const QUEUE: usize = 64;

impl Orchestrator {
    /// Opens the store, reads the rules, and starts to reconcile.
    ///
    /// # Errors
    /// [`Error::Rules`] with every complaint, unless the store holds rules that were good before: then it starts with
    /// those and says so. [`Error::Store`] when the file cannot be opened or was written by a newer version.
    pub async fn start(config: Config) -> Result<Orchestrator, Error> {
        let store: Arc<dyn store::Store> = Arc::new(store::sqlite::SqliteStore::open(&config.state).await?);
        let (commands, queue) = tokio::sync::mpsc::channel(QUEUE);
        let (stopping, _) = tokio::sync::watch::channel(false);
        let gateways = store.load().await?.gateways;
        let shared = Arc::new(Shared {
            fleet: fleet::Fleet::new(config.validity, gateways),
            publisher: Publisher::default(),
            config,
            store,
            commands,
            wake: tokio::sync::Notify::new(),
            aborts: std::sync::atomic::AtomicU64::new(0),
            stopping,
            streams: Arc::new(tokio::sync::Semaphore::new(api::events::STREAMS)),
            look: api::events::Look::default(),
            tasks: std::sync::Mutex::default(),
        });
        let reconciler = Reconciler::begin(Arc::clone(&shared), queue).await?;
        let watcher = watch::begin(Arc::clone(&shared))?;
        let tasks = vec![
            tokio::spawn(reconciler.run()),
            tokio::spawn(watcher),
            tokio::spawn(probe::run(Arc::clone(&shared))),
            tokio::spawn(notification::run(Arc::clone(&shared))),
        ];
        shared.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(tasks);
        Ok(Orchestrator { shared })
    }

    /// The admin API: `/health`, `/ready` and `/api/v1/…`; and the console at `/`.
    pub fn router(&self) -> axum::Router {
        api::router(Arc::clone(&self.shared))
    }

    /// Hands the flags that serve, with what operators override, to `ask`.
    pub fn with_flags(&self, ask: &mut dyn FnMut(&ficus_rules::flag::Flags, &ficus_rules::flag::FlagOverrides)) {
        let view = self.shared.publisher.view();
        ask(&view.rulebook.rules.flags, &view.overrides.flags);
    }

    /// Reads the rules directory now. Returns the generation of the rules that serve.
    ///
    /// # Errors
    /// Every complaint; the last good rules go on serving.
    pub async fn reload(&self) -> Result<u64, Vec<Complaint>> {
        reconcile::reload(&self.shared, Author::default()).await
    }

    /// Ends the long polls and the reconciler. States stay as they are; the next start goes on with them.
    pub async fn stop(self) {
        // Not `send`: before the tasks ran for the first time nobody subscribes, and it would change nothing.
        self.shared.stopping.send_replace(true);
        let tasks = std::mem::take(&mut *self.shared.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for task in tasks {
            let _ = task.await;
        }
        self.shared.store.close().await;
    }
}

/// Ends when the orchestrator stops.
pub(crate) async fn stopped(stopping: &mut tokio::sync::watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}
