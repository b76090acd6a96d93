//! What the process tells the orchestrator. Needs a restart to change.

use std::path::PathBuf;
use std::time::Duration;

use ficus_rules::migration::observation::Limits;
use ficus_rules::spec::Known;

use crate::access::Tokens;
use crate::notification::Notifier;
use crate::store::etcd::Etcd;

/// Where states, journal and overrides are kept.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A file of SQLite, of one orchestrator alone.
    Sqlite(PathBuf),
    /// etcd: of several orchestrators, one leads.
    Etcd {
        /// Where it is.
        etcd: Etcd,
        /// Where an orchestrator alone would keep them. If there is such a file, it must say that its state has moved.
        file: PathBuf,
    },
}

/// Settings; every duration has a default.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of the rule files.
    pub rules_dir: PathBuf,
    /// Where the states are.
    pub state: Backend,
    /// What `ficus.toml` makes known to the rules.
    pub known: Known,
    /// Who may use the admin API; none: anybody who reaches it on loopback.
    pub tokens: Tokens,
    /// Where Prometheus answers queries, for gates that ask it.
    pub prometheus: Option<String>,
    /// Who is told of transitions.
    pub notifiers: Vec<Notifier>,
    /// For how long after a report a gateway may forward writes (default 5 s).
    pub validity: Duration,
    /// How often to look at the clock when nothing is reported (default 250 ms).
    pub tick: Duration,
    /// A switch that has not flipped the owner after this long is aborted (default 10 s).
    pub switch_deadline: Duration,
    /// After an abort, no automatic try for this long (default 1 min).
    pub cool_down: Duration,
    /// An agent that has not reported for this long is silent (default 10 s).
    pub agent_silent: Duration,
    /// How often to look at the rules directory even if nothing was notified (default 2 s).
    pub rules_poll: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let limits = Limits::default();
        Config {
            rules_dir: PathBuf::from("rules"),
            state: Backend::Sqlite(PathBuf::from("orchestrator.sqlite3")),
            known: Known::default(),
            tokens: Tokens::default(),
            prometheus: None,
            notifiers: Vec::new(),
            validity: Duration::from_secs(5),
            tick: Duration::from_millis(250),
            switch_deadline: limits.switch_deadline,
            cool_down: limits.cool_down,
            agent_silent: limits.agent_silent,
            rules_poll: Duration::from_secs(2),
        }
    }
}

impl Config {
    pub(crate) fn limits(&self) -> Limits {
        Limits { switch_deadline: self.switch_deadline, cool_down: self.cool_down, agent_silent: self.agent_silent, ..Limits::default() }
    }
}
