//! Two databases of any engines, an agent between them, and questions to ask of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::mapping::TableMap;
use ficus_rules::wire::{CapabilityOrders, CapabilityReport, Fences, Orders, RuleFile, SyncOrder, TableVerified, Verify, VerifyScope};
use ficus_sync_agent::{Agent, Bus, Config, Resolved};

use super::app::{App, Engine};
use super::{mariadb, postgres};

/// Orders to begin with: one capability, and legacy owns it.
pub(crate) fn orders() -> Orders {
    let capability = CapabilityOrders {
        epoch: 1,
        owner: Side::Legacy,
        sync: SyncOrder::Run,
        may_copy: true,
        fenced: Fences::default(),
        mark_end: None,
        strays: ficus_rules::plan::StrayWrites::default(),
        carry_strays: false,
        end_sessions: false,
        leaves_aside: false,
        verify: None,
        raise_sequences: None,
        repair: None,
    };
    Orders { generation: 1, rules: Vec::new(), capabilities: BTreeMap::from([("users".to_owned(), capability)]) }
}

pub(crate) struct World {
    dir: tempfile::TempDir,
    pub(crate) engines: [Engine; 2],
    databases: [String; 2],
    tables: Vec<TableMap>,
    pub(crate) orders: Orders,
    token: u64,
    /// Rows of a batch; with few, whatever is behind is a backlog.
    pub(crate) batch_rows: usize,
    /// What the copy may take from its source in a second.
    pub(crate) copy_rows_per_second: Option<u64>,
    pub(crate) copy_max_load: Option<u64>,
    /// How long a database may be silent.
    pub(crate) silence: Option<Duration>,
    /// Where events go.
    pub(crate) buses: BTreeMap<String, Bus>,
    /// Ports that lead to a side's server.
    pub(crate) through: [Option<u16>; 2],
}

impl World {
    pub(crate) async fn new(engines: [Engine; 2], schema: impl Fn(Engine, Side) -> Vec<String>, tables: Vec<TableMap>) -> World {
        let mut world = World {
            dir: tempfile::tempdir().unwrap(),
            engines,
            databases: Side::BOTH.map(|side| side.as_str().to_owned()),
            tables,
            orders: orders(),
            token: 0,
            batch_rows: 200,
            copy_rows_per_second: None,
            copy_max_load: None,
            silence: None,
            buses: BTreeMap::new(),
            through: [None; 2],
        };
        for (at, side) in Side::BOTH.into_iter().enumerate() {
            match engines[at] {
                Engine::Postgres => world.databases[at] = postgres::Server::shared().database().await,
                Engine::MariaDb => world.databases[at] = mariadb::Server::shared().database().await,
                Engine::Sqlite => {}
            }
            let mut app = world.app(side).await;
            for statement in schema(engines[at], side) {
                app.exec(&statement).await;
            }
        }
        world
    }

    pub(crate) async fn app(&self, side: Side) -> App {
        let at = usize::from(side == Side::Modern);
        let database = &self.databases[at];
        match self.engines[at] {
            Engine::Postgres => App::postgres(database).await,
            Engine::MariaDb => App::mariadb(database).await,
            Engine::Sqlite => App::sqlite(&self.dir.path().join(database)).await,
        }
    }

    pub(crate) fn url(&self, side: Side) -> String {
        let at = usize::from(side == Side::Modern);
        let database = &self.databases[at];
        let (url, port) = match self.engines[at] {
            Engine::Postgres => (postgres::Server::shared().url(database), postgres::Server::shared().port),
            Engine::MariaDb => (mariadb::Server::shared().url(database), mariadb::Server::shared().port),
            Engine::Sqlite => return format!("sqlite://{}", self.dir.path().join(database).display()),
        };
        match self.through[at] {
            Some(near) => url.replace(&format!(":{port}/"), &format!(":{near}/")),
            None => url,
        }
    }

    /// The command line client of a side's database: its name, its arguments before a query, and its environment.
    pub(crate) fn client(&self, side: Side) -> (&'static str, Vec<String>, Vec<(&'static str, String)>) {
        let at = usize::from(side == Side::Modern);
        let database = self.databases[at].clone();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        match self.engines[at] {
            Engine::Postgres => {
                let port = postgres::Server::shared().port.to_string();
                let arguments =
                    words(&["-X", "-A", "-t", "-F", "\u{1f}", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-d", &database, "-c"]);
                ("psql", arguments, vec![("PGPASSWORD", postgres::PASSWORD.to_owned()), ("PGTZ", "UTC".to_owned())])
            }
            Engine::MariaDb => {
                let port = format!("--port={}", mariadb::Server::shared().port);
                let fixed = ["--no-defaults", "--host=127.0.0.1", &port, "--user=root", "--skip-column-names", "--batch", "--raw"];
                let more = ["--default-character-set=utf8mb4", "--init-command=SET time_zone = '+00:00'", &database, "-e"];
                ("mariadb", words(&[&fixed[..], &more[..]].concat()), Vec::new())
            }
            Engine::Sqlite => {
                let file = self.dir.path().join(database).display().to_string();
                ("sqlite3", words(&["-batch", "-separator", "\u{1f}", &file]), Vec::new())
            }
        }
    }

    pub(crate) async fn agent(&self) -> Agent {
        let agent = self.idle().await;
        agent.order(self.orders.clone());
        agent
    }

    /// An agent without orders.
    pub(crate) async fn idle(&self) -> Agent {
        let mut config = Config::new("test", BTreeMap::new());
        config.poll = Duration::from_millis(5);
        config.batch_rows = self.batch_rows;
        config.copy_rows_per_second = self.copy_rows_per_second;
        config.copy_max_load = self.copy_max_load;
        config.silence = self.silence.unwrap_or(config.silence);
        let resolved = Resolved {
            legacy: "monolith".into(),
            legacy_url: self.url(Side::Legacy),
            modern: "users-service".into(),
            modern_url: self.url(Side::Modern),
            tables: self.tables.clone(),
        };
        Agent::start_resolved(config, BTreeMap::from([("users".to_owned(), resolved)])).await.unwrap()
    }

    /// An agent that works by rule files.
    pub(crate) async fn agent_by_rules(&mut self, files: &[(&str, &str)]) -> Agent {
        let databases = [("monolith", Side::Legacy), ("users-service", Side::Modern)].map(|(name, side)| (name.to_owned(), self.url(side)));
        let mut config = Config::new("test", BTreeMap::from(databases));
        config.poll = Duration::from_millis(5);
        config.batch_rows = self.batch_rows;
        config.buses = self.buses.clone();
        let agent = Agent::start(config).await.unwrap();
        self.rules(&agent, files);
        agent
    }

    /// Gives the agent other rule files: a capability for each.
    pub(crate) fn rules(&mut self, agent: &Agent, files: &[(&str, &str)]) {
        self.orders.generation += 1;
        let orders = self.orders.capabilities["users"].clone();
        self.orders.capabilities.extend(files.iter().map(|(name, _)| ((*name).to_owned(), orders.clone())));
        self.orders.rules = files.iter().map(|(name, text)| RuleFile { name: format!("{name}.toml"), text: (*text).to_owned() }).collect();
        agent.order(self.orders.clone());
    }

    pub(crate) fn order(&mut self, agent: &Agent, change: impl FnOnce(&mut CapabilityOrders, u64)) -> u64 {
        self.token += 1;
        self.orders.generation += 1;
        change(self.orders.capabilities.get_mut("users").unwrap(), self.token);
        agent.order(self.orders.clone());
        self.token
    }

    /// Orders these fences, for an owner; the generation of the orders.
    pub(crate) fn fence(&mut self, agent: &Agent, fenced: Fences, owner: Side) -> u64 {
        self.order(agent, |orders, _| (orders.fenced, orders.owner) = (fenced, owner));
        self.orders.generation
    }

    /// The name of a side's database on its server.
    pub(crate) fn database(&self, side: Side) -> &str {
        &self.databases[usize::from(side == Side::Modern)]
    }

    pub(crate) async fn verify(&mut self, agent: &Agent, scope: VerifyScope) -> Vec<TableVerified> {
        let token = self.order(agent, |orders, token| orders.verify = Some(Verify { token, scope }));
        let report = until(agent, "verified", |report| report.verified.as_ref().is_some_and(|v| v.token == token && v.done)).await;
        report.verified.unwrap().tables
    }

    /// Everything that was committed on a side is applied on the other; a row that is set aside for long is told.
    pub(crate) async fn settle(&self, agent: &Agent, side: Side) {
        let asked = ficus_rules::Timestamp::from(std::time::SystemTime::now());
        let begun = Instant::now();
        let stuck = |report: &CapabilityReport| report.quarantined > 0 && begun.elapsed() > Duration::from_secs(10);
        let seen = until(agent, "settled", |report| report.stream_from(side).through > asked || stuck(report)).await;
        assert!(!stuck(&seen), "{:?}: set aside: {:#?}", self.engines, self.set_aside().await);
    }

    /// What is set aside, with its reasons.
    async fn set_aside(&self) -> Vec<Vec<Option<String>>> {
        let mut all = Vec::new();
        for side in Side::BOTH {
            let mut app = self.app(side).await;
            let table = if app.engine() == Engine::Postgres { "_ficus.quarantine" } else { "_ficus_quarantine" };
            let columns = ["stream", "pair", "key", "reason"];
            let cast = |column: &&str| match app.engine() {
                Engine::Postgres => (*column).to_owned(),
                Engine::MariaDb => format!("`{column}`"),
                Engine::Sqlite => format!("CAST(\"{column}\" AS TEXT)"),
            };
            let columns = columns.iter().map(cast).collect::<Vec<_>>().join(", ");
            all.extend(app.rows(&format!("SELECT {columns} FROM {table} LIMIT 20")).await);
        }
        all
    }
}

pub(crate) fn report(agent: &Agent) -> CapabilityReport {
    agent.report().capabilities.get("users").cloned().unwrap_or_default()
}

pub(crate) async fn until(agent: &Agent, what: &str, mut holds: impl FnMut(&CapabilityReport) -> bool) -> CapabilityReport {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let report = report(agent);
        if holds(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "not within 120 s: {what}; {report:#?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) async fn streaming(agent: &Agent) -> CapabilityReport {
    until(agent, "streaming", |report| report.backfill.complete && report.forward.live && report.reverse.live).await
}
