//! The gateway as its owner sees it: take a published state, report, be told that the report was answered, run.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use ficus_rules::Timestamp;
use ficus_rules::decide::Snapshot;
use ficus_rules::log_out::LogOut;
use ficus_rules::migration::Phase;
use ficus_rules::network::Network;
use ficus_rules::spec::{Complaint, Known};
use ficus_rules::wire::{GatewayCapability, GatewayReport, Published, ReportAnswer, aside};

use tokio::sync::mpsc;

use crate::Error;
use crate::access::Lines;
use crate::announced::Announcers;
use crate::cache::Answers;
use crate::carried::Carried;
use crate::config::{Config, LOCAL, Limits};
use crate::fence;
use crate::health::Around;
use crate::hold::{CONCURRENCY, Holds};
use crate::identity::Callers;
use crate::kept_file::KeptFile;
use crate::legacy::LegacySides;
use crate::listen::{Listeners, Sockets};
use crate::metrics::{self, metrics};
use crate::plugins;
use crate::recent::{self, Recent};
use crate::serve;
use crate::shadow::Shadow;
use crate::snapshot::{compile, complaint};
use crate::spans::export::Spans;
use crate::standing::Standing;
use crate::tls::Tls;
use crate::token::Tokens;
use crate::traffic::{CapabilityCounters, Counters};
use crate::transport::Transports;
use crate::upstream::Upstreams;
use crate::validity::{Validity, is_migrating};

/// Where log-outs are kept, beside the snapshot.
const LOG_OUTS: &str = "gateway-log-outs.json";
/// How often a gateway that steps aside looks whether that is known.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A gateway. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    pub(crate) inner: Arc<Inner>,
}

/// What all parts of a gateway share.
pub(crate) struct Inner {
    pub(crate) config: Config,
    /// Peers whose forwarding headers are believed.
    pub(crate) trusted: Vec<Network>,
    /// Peers that announce whom they connect for, by listener.
    pub(crate) announcers: Vec<Announcers>,
    /// Whether those of peers on Unix sockets are.
    pub(crate) trusts_local: bool,
    /// What requests are decided by.
    pub(crate) current: ArcSwap<Snapshot>,
    /// Taken while a state is published: one at a time.
    publishing: Mutex<()>,
    /// Why the newest state could not be taken.
    trouble: Mutex<Option<String>>,
    pub(crate) standing: Standing,
    pub(crate) validity: Validity,
    pub(crate) around: Around,
    pub(crate) legacy: LegacySides,
    pub(crate) recent: Recent,
    pub(crate) counters: Counters,
    pub(crate) holds: Arc<Holds>,
    pub(crate) callers: Callers,
    pub(crate) tokens: Tokens,
    pub(crate) upstreams: Upstreams,
    pub(crate) shadow: Shadow,
    pub(crate) plugins: plugins::Shared,
    pub(crate) answers: Answers,
    pub(crate) listeners: Listeners,
    pub(crate) tls: Tls,
    pub(crate) transports: Arc<Transports>,
    /// Another process accepts what comes to our sockets.
    pub(crate) handed_over: AtomicBool,
    /// Another process has, or gets, our name.
    aside: AtomicBool,
    /// What was under way when the grace period ended may go on behind us.
    pub(crate) cut_off: AtomicBool,
    /// Held by whatever must be finished before the process ends.
    pub(crate) under_way: OnceLock<mpsc::WeakSender<()>>,
    /// What clients may send.
    pub(crate) limits: Arc<Limits>,
    pub(crate) lines: Option<Lines>,
    pub(crate) spans: Option<Spans>,
    file: Option<KeptFile<Published>>,
    log_outs: Option<KeptFile<Vec<LogOut>>>,
    incarnation: String,
    started: u64,
    reports: AtomicU64,
    /// How many there were when one was last answered.
    answered: AtomicU64,
}

impl Gateway {
    /// Binds the addresses and loads the last good snapshot, if there is one. Writes of migrating capabilities wait for
    /// the first report that is answered.
    ///
    /// # Errors
    /// An address cannot be bound, or the configuration makes no sense. A snapshot file that cannot be used is logged and
    /// left: until a state is published, everything is answered 503; without any file, reads go to the default upstream
    /// and only writes are.
    pub fn new(config: Config) -> Result<Gateway, Error> {
        Gateway::over(config, Sockets::default())
    }

    /// The same, over sockets that are bound already, where they fit.
    ///
    /// # Errors
    /// As [`Gateway::new`].
    pub fn over(config: Config, sockets: Sockets) -> Result<Gateway, Error> {
        if !config.upstreams.contains_key(&config.default_upstream) {
            return Err(Error::Name(config.default_upstream));
        }
        let file = config.snapshot_file.clone().map(KeptFile::open).transpose().map_err(Error::Runtime)?;
        let beside = config.snapshot_file.as_ref().map(|file| file.with_file_name(LOG_OUTS));
        let log_outs = beside.map(KeptFile::open).transpose().map_err(Error::Runtime)?;
        let (local, remote): (Vec<&String>, Vec<_>) = config.trusted_proxies.iter().partition(|text| *text == LOCAL);
        let trusted = remote.into_iter().map(|text| text.parse().map_err(Error::Network)).collect::<Result<_, _>>()?;
        let announcers = config.listeners.iter().map(|listener| Announcers::read(&listener.announced_by)).collect::<Result<_, _>>()?;
        let inner = Inner {
            announcers,
            trusted,
            trusts_local: !local.is_empty(),
            listeners: Listeners::bind(&config.listeners, sockets)?,
            current: ArcSwap::default(),
            publishing: Mutex::default(),
            trouble: Mutex::default(),
            standing: Standing::default(),
            validity: Validity::default(),
            around: Around::new(),
            legacy: LegacySides::default(),
            recent: Recent::new(),
            counters: Counters::default(),
            holds: Arc::new(Holds::new(config.hold.clone(), CONCURRENCY)),
            callers: Callers::new(&config.identity)?,
            tokens: Tokens::new(&config.token_key),
            upstreams: Upstreams::new(&config),
            answers: Answers::new(&config.cache),
            handed_over: AtomicBool::new(false),
            aside: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
            under_way: OnceLock::new(),
            tls: Tls::load(&config.certificates, &config.listeners).map_err(Error::Certificate)?,
            transports: Arc::new(Transports::load(&config).map_err(Error::Certificate)?),
            limits: Arc::new(config.limits.clone()),
            plugins: plugins::Shared::new(config.redis.clone()),
            shadow: Shadow::new(config.identity.own_cookies()),
            lines: config.access_log.as_ref().map(Lines::open).transpose()?,
            spans: config.tracing.clone().map(Spans::new).transpose()?,
            incarnation: uuid::Uuid::new_v4().to_string(),
            started: Timestamp::from(SystemTime::now()).0,
            reports: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            file,
            log_outs,
            config,
        };
        let gateway = Gateway { inner: Arc::new(inner) };
        gateway.load();
        Ok(gateway)
    }

    /// Takes a published state: compiles it and swaps it in at once. Requests under way keep the one that they have. The
    /// same generation again is no error; an older one is refused.
    ///
    /// # Errors
    /// Every complaint about the rule files; that something begins to move and cannot be kept on disk. What was served before goes
    /// on being served.
    pub fn publish(&self, published: Published) -> Result<(), Vec<Complaint>> {
        self.take(published, false)
    }

    /// The same, of a state that is on disk.
    fn take(&self, published: Published, kept: bool) -> Result<(), Vec<Complaint>> {
        let inner = &self.inner;
        let _one_at_a_time = inner.publishing();
        let last = inner.current.load_full();
        if published.generation < last.published.generation {
            let (theirs, ours) = (published.generation, last.published.generation);
            let message = format!("the orchestrator publishes generation {theirs}, older than {ours} that this gateway has");
            let complaint = complaint(message, "stop the gateway and remove gateway-snapshot.json if the state was reset on purpose");
            metrics().refused.inc();
            inner.set_trouble(Some(format!("{}: {}", complaint.message, complaint.hint)));
            return Err(vec![complaint]);
        }
        if published == last.published {
            inner.set_trouble(None);
            inner.standing.inform();
            return Ok(());
        }
        let known = Known {
            upstreams: inner.config.upstreams.keys().cloned().collect(),
            counts_together: Some(inner.config.redis.is_some()),
            ..Known::default()
        };
        let compiled = compile(published, Some(&last), &known).and_then(|snapshot| match kept {
            true => Ok(snapshot),
            false => inner.keep_what_begins(&last, snapshot),
        });
        match compiled {
            Ok(snapshot) => {
                inner.set_trouble(None);
                inner.swap(snapshot);
                Ok(())
            }
            Err(complaints) => {
                metrics().refused.inc();
                inner.set_trouble(complaints.iter().find(|complaint| !complaint.warning).map(ToString::to_string));
                Err(complaints)
            }
        }
    }

    /// What this gateway does and counts. To be sent to the orchestrator, whose answer goes to [`Gateway::answered`].
    pub fn report(&self) -> GatewayReport {
        let inner = &self.inner;
        let (log_outs, log_outs_heard) = inner.callers.ended.tell();
        inner.validity.reported(Instant::now());
        let trouble = inner.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Taken before anything is looked at: a later number says something newer.
        let serial = inner.reports.fetch_add(1, Ordering::SeqCst) + 1;
        let snapshot = fence::settled(&inner.current);
        let all = inner.counters.all();
        let report = |one: &CapabilityCounters| {
            let now = Instant::now();
            let legacy = snapshot.rules.capabilities.get(&one.name).map(|capability| &*capability.legacy);
            let modern_down = inner.around.is_down(&one.name, now);
            let legacy_down = legacy.is_some_and(|legacy| inner.legacy.is_down(legacy, now));
            metrics().modern_down.with_label_values(&[&*one.name]).set(i64::from(modern_down));
            metrics().legacy_down.with_label_values(&[&*one.name]).set(i64::from(legacy_down));
            GatewayCapability { modern_down, legacy_down, ..one.report(inner.holds.held(&one.name)) }
        };
        GatewayReport {
            gateway: match inner.aside.load(Ordering::SeqCst) {
                true => aside(&inner.config.name, &inner.incarnation),
                false => inner.config.name.clone(),
            },
            incarnation: inner.incarnation.clone(),
            started: inner.started,
            serial,
            generation: snapshot.published.generation,
            trouble,
            capabilities: all.iter().map(|one| (one.name.clone(), report(one))).collect(),
            differences: inner.shadow.differences.report(),
            sessions_unread: inner.callers.unread(),
            answers: inner.config.public.paths(),
            log_outs,
            log_outs_heard,
            ended: false,
        }
    }

    /// The last report was answered: writes of migrating capabilities may go on for a while, unless there is a newer
    /// state than the one served here; and it is known how fresh the copies are.
    pub fn answered(&self, answer: &ReportAnswer) {
        let inner = &self.inner;
        inner.answered.store(inner.reports.load(Ordering::SeqCst), Ordering::SeqCst);
        inner.around.refresh(&answer.freshness);
        let snapshot = inner.current.load();
        for (capability, changes) in &answer.changes {
            inner.answers.heard(capability, *changes, &snapshot.rules);
        }
        inner.shadow.differences.answered();
        inner.callers.ended.answered(answer);
        if answer.generation <= self.generation() {
            inner.validity.answered(Instant::now(), Duration::from_millis(answer.valid_for_ms));
        }
    }

    /// Hands the flags that serve, with what operators override, to `ask`.
    pub fn with_flags(&self, ask: &mut dyn FnMut(&ficus_rules::flag::Flags, &ficus_rules::flag::FlagOverrides)) {
        let current = self.inner.current.load();
        ask(&current.rules.flags, &current.published.overrides.flags);
    }

    /// Whether all capabilities are read and written on one side: nobody waits for what this gateway says next.
    pub fn is_at_rest(&self) -> bool {
        use Phase::{Backfilling, Draft, Retired, Shadowing, Streaming};
        let current = self.inner.current.load();
        current
            .published
            .capabilities
            .values()
            .all(|serving| matches!(serving.phase, Draft | Backfilling | Streaming | Shadowing | Retired))
    }

    /// The generation that is served.
    pub fn generation(&self) -> u64 {
        self.inner.current.load().published.generation
    }

    /// Waits until a state is served: one that was published, or the last good one from disk.
    pub async fn informed(&self) {
        self.inner.standing.informed().await;
    }

    /// Waits until, besides, a report was answered: from then on writes may go.
    pub async fn ready(&self) {
        self.informed().await;
        self.inner.validity.contacted().await;
    }

    /// The key set by which new services check identity tokens.
    pub fn jwks(&self) -> serde_json::Value {
        self.inner.tokens.jwks()
    }

    /// The addresses that it listens on, with their real ports.
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.inner.listeners.addresses().to_vec()
    }

    /// Handles of the sockets that it listens on, for the process that takes them over.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn sockets(&self) -> std::io::Result<Vec<std::os::fd::OwnedFd>> {
        self.inner.listeners.handles()
    }

    /// Another process is to have this one's name: from here on this one reports under a name of its own, so that both are reckoned
    /// with. Returns when that is known where validities are given out, or when this gateway has none left.
    pub async fn step_aside(&self) {
        let inner = &self.inner;
        // The other one begins with what the file has.
        inner.flush();
        inner.aside.store(true, Ordering::SeqCst);
        let before = inner.reports.load(Ordering::SeqCst);
        let is_known = || inner.answered.load(Ordering::SeqCst) > before;
        while !is_known() && inner.validity.lasts(Instant::now()) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Nobody else has this gateway's name after all.
    pub fn step_back(&self) {
        self.inner.aside.store(false, Ordering::SeqCst);
    }

    /// The report of a gateway that has run, and made way for another: nobody has to wait for its validity to end. `None`: what
    /// it was cut off from may go on.
    pub fn last_report(&self) -> Option<GatewayReport> {
        let done = self.inner.handed_over.load(Ordering::SeqCst) && !self.inner.cut_off.load(Ordering::SeqCst);
        done.then(|| GatewayReport { ended: true, ..self.report() })
    }

    /// Another process has taken the sockets over: when this one is told to end, connections that are kept open are not
    /// closed while their clients may be sending, but with their next answer, or at the end of the grace period.
    pub fn hand_over(&self) {
        self.inner.handed_over.store(true, Ordering::SeqCst);
    }

    /// Serves until `shutdown` turns true (or its sender is gone), then finishes what is under way within the grace
    /// period. Blocks this thread; must not be called inside an async runtime.
    ///
    /// # Errors
    /// It was run before, or no runtime could be started.
    pub fn run(&self, shutdown: tokio::sync::watch::Receiver<bool>) -> Result<(), Error> {
        serve::run(&self.inner, shutdown)
    }

    fn load(&self) {
        match self.inner.log_outs.as_ref().map(KeptFile::read) {
            Some(Ok(words)) => self.inner.callers.ended.remember(words.unwrap_or_default()),
            Some(Err(error)) => tracing::warn!(%error, "log-outs on disk cannot be read: until others tell, they are not known"),
            None => {}
        }
        let Some(file) = &self.inner.file else { return };
        match file.read() {
            Ok(Some(published)) => {
                let generation = published.generation;
                match self.take(published, true) {
                    Ok(()) => tracing::info!(generation, "serving the last good snapshot until the orchestrator answers"),
                    Err(complaints) => {
                        tracing::warn!(generation, errors = complaints.len(), "the snapshot on disk is no longer valid");
                        self.inner.standing.missed_something();
                    }
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "the snapshot on disk cannot be read");
                self.inner.standing.missed_something();
            }
        }
    }
}

impl Inner {
    /// Whether what an address says about hops before it is believed.
    pub(crate) fn trusts(&self, address: std::net::IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// The names by which this gateway remembers a caller's writes.
    pub(crate) fn names(&self, carried: &Carried) -> Vec<String> {
        recent::names(carried, self.callers.session_cookies())
    }

    /// Waits until the snapshot is on disk, and what was logged written.
    pub(crate) fn flush(&self) {
        if let Some(lines) = &self.lines {
            lines.flush();
        }
        if let Some(file) = &self.file {
            file.flush();
        }
        self.keep_log_outs();
        if let Some(file) = &self.log_outs {
            file.flush();
        }
    }

    /// Leaves to be written what is new of log-outs. Where another process took over, that one keeps them.
    pub(crate) fn keep_log_outs(&self) {
        if let Some(file) = self.log_outs.as_ref().filter(|_| !self.handed_over.load(Ordering::SeqCst))
            && let Some(words) = self.callers.ended.to_keep()
        {
            file.keep(words);
        }
    }

    /// Of a capability that has not begun to move, writes are forwarded without a validity. Whoever read such a state from the disk
    /// after it had begun would forward them past every fence: that it begins is on disk first.
    fn keep_what_begins(&self, last: &Snapshot, snapshot: Snapshot) -> Result<Snapshot, Vec<Complaint>> {
        let published = &snapshot.published;
        let begins = begins_to_move(&last.published, published);
        let Some(file) = self.file.as_ref().filter(|_| begins && !self.handed_over.load(Ordering::SeqCst)) else { return Ok(snapshot) };
        match file.keep_now(published) {
            Ok(()) => Ok(snapshot),
            Err(error) => {
                let message = format!("generation {} cannot be kept in {}: {error}", published.generation, file.path().display());
                Err(vec![complaint(message, "a capability begins to move: make room there, or let the gateway write there")])
            }
        }
    }

    /// Serves by a snapshot from here on, and lets go of whom its fences no longer hold.
    fn swap(&self, snapshot: Snapshot) {
        let published = snapshot.published.clone();
        for capability in snapshot.rules.capabilities.keys() {
            metrics::begin(capability);
            // It is reported from now on, with or without a request.
            let _ = self.counters.of(capability);
        }
        self.current.store(Arc::new(snapshot));
        self.standing.inform();
        for capability in self.holds.capabilities() {
            let fenced = published.capabilities.get(&capability).is_some_and(|serving| serving.fenced);
            self.holds.set_open(&capability, !fenced);
        }
        metrics().generation.set(i64::try_from(published.generation).unwrap_or(i64::MAX));
        // Where another process took over, that one keeps it.
        if let Some(file) = self.file.as_ref().filter(|_| !self.handed_over.load(Ordering::SeqCst)) {
            file.keep(published);
        }
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn publishing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a capability whose writes need no validity needs one from here on.
fn begins_to_move(before: &Published, after: &Published) -> bool {
    let moves = |published: &Published, name: &str| published.capabilities.get(name).is_some_and(|serving| is_migrating(serving.phase));
    after.capabilities.keys().any(|name| moves(after, name) && !moves(before, name))
}
