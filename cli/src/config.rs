//! `ficus.toml`: about the process, read once at its start. Two stages: what the user typed (`document`), what the
//! program needs (`Config`). Every fault is reported at once, with its line.

mod document;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::exit::BadConfiguration;
use document::Document;

/// What the program needs to know of its surroundings. Paths are absolute or relative to the working directory.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Listeners of the gateway.
    pub(crate) gateway: Gateway,
    /// The orchestrator's admin listener, `host:port`.
    pub(crate) admin_listen: String,
    /// Bearer token of the admin API.
    pub(crate) admin_token: Option<String>,
    /// Directory of rule files.
    pub(crate) rules: PathBuf,
    /// Directory of everything that must survive a restart.
    pub(crate) state: PathBuf,
    /// Servers and their databases, by name.
    pub(crate) upstreams: BTreeMap<String, Upstream>,
    /// How to tell who calls.
    pub(crate) django: Option<Django>,
    /// How often the agent looks at a source that cannot push.
    pub(crate) agent_poll: Duration,
    /// Rows that the agent applies in one transaction at most.
    pub(crate) agent_batch: usize,
    /// A cutover that takes longer is aborted.
    pub(crate) switch_deadline: Duration,
    /// A gateway that hears nothing for this long refuses writes of migrating capabilities.
    pub(crate) validity: Duration,
}

/// The gateway's part.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) name: String,
    pub(crate) listen: Vec<String>,
    /// Admin listener of a gateway that runs alone.
    pub(crate) admin_listen: String,
    pub(crate) default_upstream: String,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) expose_side: bool,
    pub(crate) threads: usize,
    pub(crate) hold_requests: usize,
    pub(crate) hold_wait: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) grace: Duration,
}

/// A server and its database.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// `host:port`
    pub(crate) address: String,
    /// `sqlite:///path`
    pub(crate) database: Option<String>,
}

/// Django's sessions.
#[derive(Debug, Clone)]
pub(crate) struct Django {
    pub(crate) database: String,
    pub(crate) secrets: Vec<String>,
    pub(crate) session_cookie: String,
    pub(crate) csrf_cookie: String,
    pub(crate) session_table: String,
    pub(crate) user_table: String,
    pub(crate) role_column: Option<String>,
    pub(crate) roles: BTreeMap<String, String>,
    pub(crate) trusted_origins: Vec<String>,
    pub(crate) cache_for: Duration,
}

impl Config {
    /// Reads and resolves a configuration.
    ///
    /// # Errors
    /// [`BadConfiguration`] with all faults.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Config> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            BadConfiguration(format!(
                "cannot read {}: {error} (name the configuration with --config, or write one: see the README)",
                path.display()
            ))
        })?;
        let directory = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Ok(Resolving { file: path.display().to_string(), directory, text: &text, faults: Vec::new() }.resolve()?)
    }
}

/// The second stage: the faults are gathered, not thrown.
struct Resolving<'a> {
    file: String,
    directory: PathBuf,
    text: &'a str,
    faults: Vec<(usize, String)>,
}

impl Resolving<'_> {
    fn resolve(mut self) -> Result<Config, BadConfiguration> {
        let document: Document = toml::from_str(self.text).map_err(|error| {
            let (line, column) = self.place(error.span().map_or(0, |span| span.start));
            BadConfiguration(format!("{}:{line}:{column}: {}", self.file, error.message()))
        })?;
        let config = self.config(document);
        if self.faults.is_empty() {
            return Ok(config);
        }
        self.faults.sort();
        let lines: Vec<String> = self
            .faults
            .iter()
            .map(|(at, what)| {
                let (line, column) = self.place(*at);
                format!("{}:{line}:{column}: {what}", self.file)
            })
            .collect();
        Err(BadConfiguration(lines.join("\n")))
    }

    fn config(&mut self, document: Document) -> Config {
        let upstreams: BTreeMap<String, Upstream> = document
            .upstream
            .iter()
            .map(|(name, upstream)| {
                let database = upstream.database.as_ref().map(|database| self.database(database));
                (name.clone(), Upstream { address: self.address(&upstream.address), database })
            })
            .collect();
        let gateway = document.gateway;
        self.known(&upstreams, &gateway.default);
        let admin = document.orchestrator;
        let admin_token = admin.token_file.as_ref().and_then(|file| self.secret(file));
        let default_agent = document.agent;
        let gateway = Gateway {
            name: gateway.name,
            listen: gateway.listen.iter().map(|listen| self.address(listen)).collect(),
            admin_listen: gateway.admin,
            default_upstream: gateway.default.into_inner(),
            trusted_proxies: gateway.trusted_proxies,
            expose_side: gateway.expose_side,
            threads: gateway.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from)),
            hold_requests: gateway.hold_requests,
            hold_wait: self.duration(&gateway.hold_wait),
            connect_timeout: self.duration(&gateway.connect_timeout),
            answer_timeout: self.duration(&gateway.answer_timeout),
            grace: self.duration(&gateway.grace),
        };
        let django = document.identity.and_then(|identity| identity.django).map(|django| self.django(django, &upstreams));
        Config {
            gateway,
            admin_listen: admin.listen,
            admin_token,
            rules: self.directory.join(admin.rules),
            state: self.directory.join(admin.state),
            upstreams,
            django,
            agent_poll: self.duration(&default_agent.poll),
            agent_batch: default_agent.batch_rows,
            switch_deadline: self.duration(&admin.switch_deadline),
            validity: self.duration(&admin.validity),
        }
    }

    fn django(&mut self, django: document::Django, upstreams: &BTreeMap<String, Upstream>) -> Django {
        self.known(upstreams, &django.upstream);
        let database = upstreams.get(django.upstream.get_ref()).and_then(|upstream| upstream.database.clone());
        if database.is_none() {
            self.fault(
                django.upstream.span().start,
                format!("upstream `{}` has no database to read sessions from: give it one", django.upstream.get_ref()),
            );
        }
        let mut secrets: Vec<String> = self.secret(&django.secret_key_file).into_iter().collect();
        secrets.extend(django.fallback_key_files.iter().filter_map(|file| self.secret(file)));
        Django {
            database: database.unwrap_or_default(),
            secrets,
            session_cookie: django.session_cookie,
            csrf_cookie: django.csrf_cookie,
            session_table: django.session_table,
            user_table: django.user_table,
            role_column: django.role_column,
            roles: django.roles,
            trusted_origins: django.trusted_origins,
            cache_for: self.duration(&django.cache_for),
        }
    }

    fn known(&mut self, upstreams: &BTreeMap<String, Upstream>, name: &Spanned<String>) {
        if !upstreams.contains_key(name.get_ref()) {
            let names: Vec<&str> = upstreams.keys().map(String::as_str).collect();
            self.fault(name.span().start, format!("no upstream is called `{}` (there are: {})", name.get_ref(), names.join(", ")));
        }
    }

    fn address(&mut self, address: &Spanned<String>) -> String {
        let text = address.get_ref().trim_start_matches("http://").trim_end_matches('/').to_owned();
        let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            self.fault(address.span().start, format!("`{}` is not an address: write it like \"127.0.0.1:8000\"", address.get_ref()));
        }
        text
    }

    fn database(&mut self, database: &Spanned<String>) -> String {
        let Some(path) = database.get_ref().strip_prefix("sqlite://") else {
            self.fault(
                database.span().start,
                format!("`{}` is not a database that Ficus speaks: write it like \"sqlite://path/to/db.sqlite3\"", database.get_ref()),
            );
            return String::new();
        };
        let path = self.directory.join(path);
        format!("sqlite://{}", std::path::absolute(&path).unwrap_or(path).display())
    }

    fn duration(&mut self, text: &Spanned<String>) -> Duration {
        crate::args::duration(text.get_ref()).unwrap_or_else(|why| {
            self.fault(text.span().start, why);
            Duration::ZERO
        })
    }

    /// The text of a secret's file. The secret itself never stands in the configuration.
    fn secret(&mut self, file: &Spanned<PathBuf>) -> Option<String> {
        let path = self.directory.join(file.get_ref());
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
            Err(error) => {
                self.fault(file.span().start, format!("cannot read the secret in {}: {error}", path.display()));
                None
            }
        }
    }

    fn fault(&mut self, at: usize, what: String) {
        self.faults.push((at, what));
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or("").chars().count() + 1)
    }
}
