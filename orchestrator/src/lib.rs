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
//! With its states in a file, an orchestrator is alone and leads from its start to its end. With its states in etcd there may
//! be several: one leads, for a `term` that begins like a start after a crash, the others stand by.
//!
//! Read next: `term.rs`, `reconcile.rs`, then `store.rs`, then `api.rs`; for several, `campaign.rs`.

mod access;
mod api;
mod campaign;
mod changes;
mod config;
mod crash;
mod fleet;
mod listener;
mod mandate;
mod metrics;
mod moving;
mod notification;
mod outgoing;
mod probe;
mod publish;
mod reconcile;
mod rulebook;
mod samples;
mod status;
mod store;
mod term;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use axum::Router;
use ficus_rules::spec::Complaint;
use tokio::sync::watch as signal;
use tokio::task::JoinHandle;

pub use access::{Denied, Role, Token, Tokens, is_loopback};
pub use config::{Backend, Config};
pub use listener::{Caller, Listener, Stream, Tls};
pub use moving::{Moved, NotMoved, move_state};
pub use notification::{Format, Notifier};
pub use outgoing::Trust;
pub use rulebook::read as read_rules;
pub use store::StoreError;
pub use store::etcd::{Etcd, EtcdError};

use mandate::Mandate;
pub(crate) use term::Shared;
use term::Term;

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
    seat: Arc<Seat>,
}

/// The place of whoever leads: taken while this process does.
pub(crate) struct Seat {
    config: Config,
    term: ArcSwapOption<Term>,
    /// Where the orchestrator is reached that leads, as far as is known.
    leader: ArcSwapOption<String>,
    stopping: signal::Sender<bool>,
    campaign: Mutex<Option<JoinHandle<()>>>,
}

impl Orchestrator {
    /// Opens the store, reads the rules, and starts to reconcile; with etcd, as soon as it leads.
    ///
    /// # Errors
    /// [`Error::Rules`] with every complaint, unless the store holds rules that were good before: then it starts with
    /// those and says so. [`Error::Store`] when the file cannot be opened or was written by a newer version, or, with etcd, when
    /// there is one whose state was not moved.
    pub async fn start(config: Config) -> Result<Orchestrator, Error> {
        let (stopping, _) = signal::channel(false);
        let (term, leader, campaign) = (ArcSwapOption::empty(), ArcSwapOption::empty(), Mutex::default());
        let seat = Arc::new(Seat { config, term, leader, stopping, campaign });
        match &seat.config.state {
            Backend::Sqlite(file) => {
                let store = Arc::new(store::sqlite::SqliteStore::open(file).await?);
                let term = Term::begin(seat.config.clone(), store, Mandate::alone()).await?;
                seat.term.store(Some(Arc::new(term)));
            }
            Backend::Etcd { etcd, file } => {
                store::sqlite::must_have_moved(file).await?;
                let campaign = campaign::begin(Arc::clone(&seat), etcd.clone()).await?;
                *seat.campaign.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::spawn(campaign));
            }
        }
        Ok(Orchestrator { seat })
    }

    /// The admin API: `/health`, `/ready` and `/api/v1/…`; and the console at `/`. While another orchestrator leads, it says so.
    pub fn router(&self) -> Router {
        match (&self.seat.config.state, self.seat.term()) {
            (Backend::Sqlite(_), Some(term)) => term.router(),
            _ => api::standby::router(Arc::clone(&self.seat)),
        }
    }

    /// Hands the flags that serve, with what operators override, to `ask`; while another orchestrator leads, nothing.
    pub fn with_flags(&self, ask: &mut dyn FnMut(&ficus_rules::flag::Flags, &ficus_rules::flag::FlagOverrides)) {
        if let Some(term) = self.seat.term() {
            term.with_flags(ask);
        }
    }

    /// Reads the rules directory now. Returns the generation of the rules that serve; `None`: another orchestrator leads, and
    /// they are read when this one does.
    ///
    /// # Errors
    /// Every complaint; the last good rules go on serving.
    pub async fn reload(&self) -> Result<Option<u64>, Vec<Complaint>> {
        match self.seat.term() {
            Some(term) => term.reload().await.map(Some),
            None => Ok(None),
        }
    }

    /// Ends the long polls and the reconciler. States stay as they are; the next start goes on with them.
    pub async fn stop(self) {
        self.seat.stopping.send_replace(true);
        let campaign = self.seat.campaign.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(campaign) = campaign {
            let _ = campaign.await;
        }
        if let Some(term) = self.seat.term.swap(None) {
            term.stop().await;
        }
    }
}

impl Seat {
    /// The term that runs, if this process leads, and is sure of it.
    pub(crate) fn term(&self) -> Option<Arc<Term>> {
        self.term.load_full().filter(|term| term.holds())
    }
}

/// Ends when the orchestrator stops.
pub(crate) async fn stopped(stopping: &mut signal::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}
