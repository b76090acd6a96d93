//! A term: an orchestrator that leads, from its begin to its end. It begins with what the store holds and nothing else,
//! whether that was written by the term before, by another process, or before a crash.
//!
//! Knows its mandate only to be asked about it; what to do when that ends is for whoever began the term.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use ficus_rules::spec::Complaint;
use ficus_rules::wire::DifferenceSample;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use crate::access::Author;
use crate::changes::Changes;
use crate::mandate::Mandate;
use crate::publish::Publisher;
use crate::reconcile::{self, Command, Reconciler};
use crate::store::Store;
use crate::{Config, Error, api, fleet, metrics, notification, probe, samples};

/// Commands that wait for the reconciler; more of them make their senders wait.
const QUEUE: usize = 64;

/// One term.
pub(crate) struct Term {
    pub(crate) shared: Arc<Shared>,
    router: Router,
    mandate: Mandate,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

/// What the API, the watcher and the reconciler share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) fleet: fleet::Fleet,
    pub(crate) publisher: Publisher,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) wake: Notify,
    /// Of differences, on their way to the store.
    pub(crate) samples: mpsc::Sender<Vec<DifferenceSample>>,
    /// Held while a gateway's name is stored or dropped.
    pub(crate) naming: tokio::sync::Mutex<()>,
    /// Counts the wishes for an abort: whoever waits to ask for a switch once more does not, after one.
    pub(crate) aborts: std::sync::atomic::AtomicU64,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) changes: Changes,
    /// One permit for each open stream of events.
    pub(crate) streams: Arc<Semaphore>,
    /// What they look at together.
    pub(crate) look: api::events::Look,
}

impl Term {
    /// Loads what is stored, reads the rules, and starts to reconcile.
    pub(crate) async fn begin(config: Config, store: Arc<dyn Store>, mandate: Mandate) -> Result<Term, Error> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (stopping, _) = watch::channel(false);
        let (differences, different) = mpsc::channel(samples::QUEUE);
        let gateways = store.load().await?.gateways;
        let shared = Arc::new(Shared {
            fleet: fleet::Fleet::new(config.validity, gateways),
            publisher: Publisher::default(),
            config,
            store,
            commands,
            wake: Notify::new(),
            samples: differences,
            naming: tokio::sync::Mutex::default(),
            aborts: std::sync::atomic::AtomicU64::new(0),
            stopping,
            changes: Changes::default(),
            streams: Arc::new(Semaphore::new(api::events::STREAMS)),
            look: api::events::Look::default(),
        });
        let reconciler = Reconciler::begin(Arc::clone(&shared), queue).await?;
        let watcher = crate::watch::begin(Arc::clone(&shared))?;
        let tasks = vec![
            tokio::spawn(reconciler.run()),
            tokio::spawn(watcher),
            tokio::spawn(probe::run(Arc::clone(&shared))),
            tokio::spawn(notification::run(Arc::clone(&shared))),
            tokio::spawn(samples::run(Arc::clone(&shared), different)),
        ];
        let router = api::router(Arc::clone(&shared));
        metrics::leads(true);
        Ok(Term { shared, router, mandate, tasks: Mutex::new(tasks) })
    }

    /// The admin API.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Whether whoever began it is sure to lead.
    pub(crate) fn holds(&self) -> bool {
        self.mandate.holds()
    }

    /// Hands the flags that serve, with what operators override, to `ask`.
    pub(crate) fn with_flags(&self, ask: &mut dyn FnMut(&ficus_rules::flag::Flags, &ficus_rules::flag::FlagOverrides)) {
        let view = self.shared.publisher.view();
        ask(&view.rulebook.rules.flags, &view.overrides.flags);
    }

    /// Reads the rules directory now.
    pub(crate) async fn reload(&self) -> Result<u64, Vec<Complaint>> {
        reconcile::reload(&self.shared, Author::of_files(&self.shared.config.rules_dir), None).await
    }

    /// Its end also waits for this.
    #[cfg(test)]
    pub(crate) fn also(&self, task: tokio::task::JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Ends the long polls and the reconciler, and closes the store.
    pub(crate) async fn stop(&self) {
        // Not `send`: before the tasks ran for the first time nobody subscribes, and it would change nothing.
        self.shared.stopping.send_replace(true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            let _ = task.await;
        }
        self.shared.store.close().await;
    }
}
