//! The handle that the rest of the process holds: orders in, reports out. Starts and stops capabilities; does nothing to
//! a database itself.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ficus_rules::mapping::TableMap;
use ficus_rules::spec::{self, Known};
use ficus_rules::wire::{AgentReport, CapabilityOrders, CapabilityReport, Orders, QuarantineReport, RuleFile};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::capability;
use crate::engine;
use crate::error::Error;
use crate::events::Bus;
use crate::newest::Questions;
use crate::quarantine;
use crate::session::{Context, stopped};
use crate::state::State;

/// How an agent is set up. `Config::new` has the defaults.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its name in reports.
    pub name: String,
    /// Databases by the name of their upstream, as URLs: `sqlite:///path/to/file`.
    pub databases: BTreeMap<String, String>,
    /// Names of all upstreams, for the rule files.
    pub known_upstreams: Vec<String>,
    /// How often a quiet source is asked whether it was written to (default 10 ms).
    pub poll: Duration,
    /// Rows of a backfill batch, and log entries of a stream batch at most (default 2,000).
    pub batch_rows: usize,
    /// Rows that the initial copy of a capability takes from its source in a second at most (default: as fast as it goes).
    pub copy_rows_per_second: Option<u64>,
    /// Statements that the source of an initial copy may execute beside it: above that the copy gives way.
    pub copy_max_load: Option<u64>,
    /// How long a database may be silent before that is told, and connected anew (default 30 s): its link may have been cut
    /// without a word.
    pub silence: Duration,
    /// Where events go, by the names that the rules have for it.
    pub buses: BTreeMap<String, Bus>,
}

impl Config {
    /// A configuration with the defaults.
    pub fn new(name: &str, databases: BTreeMap<String, String>) -> Config {
        let known_upstreams = databases.keys().cloned().collect();
        Config {
            name: name.to_owned(),
            databases,
            known_upstreams,
            poll: Duration::from_millis(10),
            batch_rows: 2_000,
            copy_rows_per_second: None,
            copy_max_load: None,
            silence: Duration::from_secs(30),
            buses: BTreeMap::new(),
        }
    }
}

/// A capability whose names are resolved: both databases and the table pairs between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The upstream of the monolith.
    pub legacy: String,
    /// Its database.
    pub legacy_url: String,
    /// The upstream of the new service.
    pub modern: String,
    /// Its database.
    pub modern_url: String,
    /// The table pairs, parents before children.
    pub tables: Vec<TableMap>,
}

/// A running agent. Clones are handles of the same one; it ends with [`Agent::stop`], or with its last handle.
pub struct Agent {
    inner: Arc<Inner>,
    seen: tokio::sync::Mutex<watch::Receiver<u64>>,
}

struct Inner {
    name: String,
    incarnation: u64,
    serial: AtomicU64,
    orders: watch::Sender<Said>,
    questions: Arc<Questions>,
    changed: watch::Sender<u64>,
    states: Arc<Mutex<States>>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What arrived: orders, and up to which question whoever brought them had asked before.
#[derive(Debug, Clone, Default, PartialEq)]
struct Said {
    orders: Orders,
    answers: u64,
}

/// What is reported: the generation worked by, and every capability.
#[derive(Default)]
struct States {
    generation: u64,
    capabilities: BTreeMap<String, Arc<State>>,
    /// Capabilities that cannot even be started, with the reason.
    refused: BTreeMap<String, String>,
}

impl Agent {
    /// Starts an agent. It touches no database before it has orders.
    ///
    /// # Errors
    /// When a database has a URL that no engine knows.
    pub async fn start(config: Config) -> Result<Agent, Error> {
        let (known, databases) = (Known { upstreams: config.known_upstreams.clone(), ..Known::default() }, config.databases.clone());
        for (name, url) in &databases {
            engine::known(url, &format!("database of {name}"))?;
        }
        Agent::start_with(config, move |files: &[RuleFile]| resolve(files, &known, &databases)).await
    }

    /// Starts an agent for capabilities that are resolved already; rule files in orders are not looked at.
    ///
    /// # Errors
    /// None today; the signature is the one of [`Agent::start`].
    pub async fn start_resolved(config: Config, capabilities: BTreeMap<String, Resolved>) -> Result<Agent, Error> {
        Agent::start_with(config, move |_: &[RuleFile]| Ok(capabilities.clone())).await
    }

    async fn start_with(
        config: Config,
        resolve: impl Fn(&[RuleFile]) -> Result<BTreeMap<String, Resolved>, String> + Send + 'static,
    ) -> Result<Agent, Error> {
        let (orders, received) = watch::channel(Said::default());
        let (changed, seen) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let states = Arc::default();
        let name = config.name.clone();
        let questions = Arc::<Questions>::default();
        let supervisor = Supervisor {
            config,
            states: Arc::clone(&states),
            changed: changed.clone(),
            questions: Arc::clone(&questions),
            running: BTreeMap::new(),
            ending: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        let task = tokio::spawn(supervisor.run(received, stopped, resolve));
        let incarnation = ficus_rules::Timestamp::from(std::time::SystemTime::now()).0;
        let inner =
            Inner { name, incarnation, serial: AtomicU64::new(0), orders, questions, changed, states, stop, task: Mutex::new(Some(task)) };
        Ok(Agent { inner: Arc::new(inner), seen: tokio::sync::Mutex::new(seen) })
    }

    /// Says how things should be. Orders of an older generation than the last ones are refused; equal ones may be repeated.
    pub fn order(&self, orders: Orders) {
        self.inner.orders.send_if_modified(|known| {
            let newer = orders.generation >= known.orders.generation && known.orders != orders;
            if newer {
                known.orders = orders;
            }
            newer
        });
    }

    /// For whoever carries orders: the number of the newest question whether they are the newest, whenever it grows. From the
    /// first call on, questions are waited for.
    pub fn questions(&self) -> watch::Receiver<u64> {
        self.inner.questions.listen()
    }

    /// Says that the orchestrator has been asked since that question, and what it had to say has been given to [`Agent::order`].
    pub fn answer(&self, question: u64) {
        self.inner.orders.send_if_modified(|known| {
            let later = question > known.answers;
            known.answers = known.answers.max(question);
            later
        });
    }

    /// How things are.
    pub fn report(&self) -> AgentReport {
        let states = self.inner.states.lock().unwrap_or_else(PoisonError::into_inner);
        let mut capabilities: BTreeMap<String, CapabilityReport> =
            states.capabilities.iter().map(|(name, state)| (name.clone(), state.report())).collect();
        for (name, trouble) in &states.refused {
            capabilities.entry(name.clone()).or_default().trouble = Some(trouble.clone());
        }
        // Counted under the lock: a later number says something newer.
        let serial = self.inner.serial.fetch_add(1, Ordering::Relaxed) + 1;
        AgentReport {
            agent: self.inner.name.clone(),
            incarnation: self.inner.incarnation,
            serial,
            generation: states.generation,
            capabilities,
        }
    }

    /// The rows that are set aside, with their values: for who may see those, and bounded.
    pub fn quarantine(&self) -> QuarantineReport {
        let states: Vec<Arc<State>> = {
            let states = self.inner.states.lock().unwrap_or_else(PoisonError::into_inner);
            states.capabilities.values().map(Arc::clone).collect()
        };
        let rows = quarantine::bounded(states.iter().flat_map(|state| state.aside()));
        QuarantineReport { agent: self.inner.name.clone(), rows }
    }

    /// Resolves when something changed that matters for a switch since the last call on this handle: a fence, an end that
    /// was reached, a verification, progress of a backfill, trouble. Rows that just flow do not count.
    pub async fn changed(&self) {
        if self.seen.lock().await.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Stops between two transactions.
    pub async fn stop(self) {
        self.inner.stop.send_replace(true);
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // It only fails when it panicked or was aborted: stopped either way.
            let _ = task.await;
        }
    }
}

impl Clone for Agent {
    fn clone(&self) -> Agent {
        Agent { inner: Arc::clone(&self.inner), seen: tokio::sync::Mutex::new(self.inner.changed.subscribe()) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// Keeps one task per ordered capability.
struct Supervisor {
    config: Config,
    states: Arc<Mutex<States>>,
    changed: watch::Sender<u64>,
    questions: Arc<Questions>,
    running: BTreeMap<String, Running>,
    /// Told to end, and not replaced yet.
    ending: BTreeMap<String, Ended>,
    tasks: JoinSet<()>,
}

/// Orders for one capability, and the generation that they came with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ordered {
    pub(crate) generation: u64,
    orders: CapabilityOrders,
}

impl std::ops::Deref for Ordered {
    type Target = CapabilityOrders;

    fn deref(&self) -> &CapabilityOrders {
        &self.orders
    }
}

/// What rule files resolve to, or the first thing that is wrong with them.
type Capabilities = Result<BTreeMap<String, Resolved>, String>;

struct Running {
    resolved: Resolved,
    orders: watch::Sender<Ordered>,
    stop: watch::Sender<bool>,
    task: AbortHandle,
    ended: Ended,
}

/// Resolves, with an error, when a task has ended.
type Ended = oneshot::Receiver<Infallible>;

impl Supervisor {
    async fn run(
        mut self,
        mut orders: watch::Receiver<Said>,
        mut stop: watch::Receiver<bool>,
        resolve: impl Fn(&[RuleFile]) -> Result<BTreeMap<String, Resolved>, String>,
    ) {
        let mut rules: Option<(Vec<RuleFile>, Capabilities)> = None;
        let mut followed = None;
        loop {
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { break },
                () = stopped(&mut stop) => break,
            }
            let Said { orders: wish, answers } = orders.borrow_and_update().clone();
            if followed.as_ref() == Some(&wish) {
                self.questions.answer(answers);
                continue;
            }
            if rules.as_ref().is_none_or(|(files, _)| *files != wish.rules) {
                rules = Some((wish.rules.clone(), resolve(&wish.rules)));
            }
            if let Some((_, resolved)) = &rules {
                self.follow(wish.clone(), resolved);
            }
            followed = Some(wish);
            self.questions.answer(answers);
            // Nobody asks what came of those that have ended.
            while self.tasks.try_join_next().is_some() {}
            self.ending.retain(|_, ended| matches!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        }
        let names: Vec<String> = self.running.keys().cloned().collect();
        for name in names {
            self.end(&name);
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// Waits for nothing: orders for one capability do not wait for what another one does.
    fn follow(&mut self, wish: Orders, resolved: &Capabilities) {
        let mut refused = BTreeMap::new();
        let gone: Vec<String> = self.running.keys().filter(|name| !wish.capabilities.contains_key(*name)).cloned().collect();
        for name in gone {
            self.end(&name);
            self.states().capabilities.remove(&name);
        }
        for (name, orders) in wish.capabilities {
            let orders = Ordered { generation: wish.generation, orders };
            let found = resolved.as_ref().map_err(Clone::clone).and_then(|known| {
                known.get(&name).cloned().ok_or_else(|| format!("no rule file describes the capability {name}; add one, or take it out"))
            });
            match found {
                Ok(resolved) => self.keep(name, resolved, orders),
                // What runs goes on by the last good rules.
                Err(error) => match self.running.get(&name) {
                    Some(running) => drop(running.orders.send_replace(orders)),
                    None => drop(refused.insert(name, error)),
                },
            }
        }
        let mut states = self.states();
        states.generation = wish.generation;
        states.refused = refused;
        drop(states);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Makes sure that a capability runs by these orders.
    fn keep(&mut self, name: String, resolved: Resolved, orders: Ordered) {
        if let Some(running) = self.running.get(&name).filter(|running| running.resolved == resolved && !running.task.is_finished()) {
            running.orders.send_if_modified(|known| {
                let other = *known != orders;
                *known = orders;
                other
            });
            return;
        }
        self.end(&name);
        let before = self.ending.remove(&name);
        let state = Arc::new(State::new(&name, self.changed.clone()));
        state.note(|report| (report.epoch, report.generation) = (orders.epoch, Some(0)));
        self.states().capabilities.insert(name.clone(), Arc::clone(&state));
        let questions = Arc::clone(&self.questions);
        let context = Arc::new(Context { config: self.config.clone(), resolved: resolved.clone(), state, questions });
        let (orders, received) = watch::channel(orders);
        let (stop, stopped) = watch::channel(false);
        let (running, ended) = oneshot::channel();
        let task = self.tasks.spawn(async move {
            if let Some(before) = before {
                drop(before.await);
            }
            capability::run(context, received, stopped).await;
            drop(running);
        });
        self.running.insert(name, Running { resolved, orders, stop, task, ended });
    }

    /// Tells a capability's task to end. Whoever takes its place waits for that.
    fn end(&mut self, name: &str) {
        let Some(running) = self.running.remove(name) else { return };
        running.stop.send_replace(true);
        self.ending.insert(name.to_owned(), running.ended);
    }

    fn states(&self) -> std::sync::MutexGuard<'_, States> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of the rule files to databases.
fn resolve(files: &[RuleFile], known: &Known, databases: &BTreeMap<String, String>) -> Result<BTreeMap<String, Resolved>, String> {
    let checked = spec::load(files, known).map_err(|complaints| {
        let first = complaints.into_iter().find(|complaint| !complaint.warning);
        first.map_or_else(String::new, |c| format!("{}:{}:{}: {}; {}", c.file, c.line, c.column, c.message, c.hint))
    })?;
    let url = |name: &String| databases.get(name).cloned().unwrap_or_else(|| format!("the upstream {name} has no database in ficus.toml"));
    let resolved = checked.rules.capabilities.into_iter().map(|(name, capability)| {
        let (legacy_url, modern_url) = (url(&capability.legacy), url(&capability.modern));
        let resolved = Resolved { legacy: capability.legacy, legacy_url, modern: capability.modern, modern_url, tables: capability.tables };
        (name, resolved)
    });
    Ok(resolved.collect())
}
