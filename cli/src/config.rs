//! `ficus.toml`: about the process, read once at its start. Two stages: what the user typed (`document`), what the
//! program needs (`Config`). Every fault is reported at once, with its line.

mod access;
mod document;
mod etcd;
mod events;
mod identity;
mod listen;
mod notify;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod told;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ficus_rules::spec::Complaint;
use toml::Spanned;

use crate::exit::BadConfiguration;
use document::Document;
pub(crate) use etcd::reached_by;

/// What the program needs to know of its surroundings. Paths are absolute or relative to the working directory.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Listeners of the gateway.
    pub(crate) gateway: Gateway,
    /// The orchestrator's admin listener, `host:port`.
    pub(crate) admin_listen: String,
    /// Where orchestrators are asked for; without any, there is one, at `admin_listen`.
    pub(crate) orchestrators: Vec<String>,
    /// Where several orchestrators keep their states.
    pub(crate) etcd: Option<ficus_orchestrator::Etcd>,
    /// Our own token for the admin API.
    pub(crate) admin_token: Option<String>,
    /// Who may use our admin listeners.
    pub(crate) tokens: ficus_orchestrator::Tokens,
    /// The certificate of our admin listeners.
    pub(crate) admin_tls: Option<ficus_orchestrator::Tls>,
    /// Whom our own calls of the admin API trust.
    pub(crate) admin_trust: ficus_orchestrator::Trust,
    /// Where Prometheus answers queries.
    pub(crate) prometheus: Option<String>,
    /// Who is told of transitions.
    pub(crate) notifiers: Vec<ficus_orchestrator::Notifier>,
    /// Directory of rule files.
    pub(crate) rules: PathBuf,
    /// Directory of everything that must survive a restart.
    pub(crate) state: PathBuf,
    /// Servers and their databases, by name.
    pub(crate) upstreams: BTreeMap<String, Upstream>,
    /// How to tell who calls.
    pub(crate) identity: ficus_proxy::Identity,
    /// Where change events go, by name.
    pub(crate) buses: BTreeMap<String, ficus_sync_agent::Bus>,
    /// Where an agent that runs alone shows its metrics, `host:port`.
    pub(crate) agent_listen: String,
    /// How often the agent looks at a source that cannot push.
    pub(crate) agent_poll: Duration,
    /// Rows that the agent applies in one transaction at most.
    pub(crate) agent_batch: usize,
    pub(crate) agent_copy: Option<u64>,
    pub(crate) agent_copy_max_load: Option<u64>,
    /// A cutover that takes longer is aborted.
    pub(crate) switch_deadline: Duration,
    /// A gateway that hears nothing for this long refuses writes of migrating capabilities.
    pub(crate) validity: Duration,
    /// What may be so, and should be looked at.
    pub(crate) warnings: Vec<Complaint>,
}

/// The gateway's part.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    pub(crate) name: String,
    pub(crate) listeners: Vec<ficus_proxy::Listener>,
    pub(crate) certificates: Vec<ficus_proxy::Certificate>,
    pub(crate) strict_transport: Option<Duration>,
    pub(crate) public: ficus_proxy::Public,
    /// Admin listener of a gateway that runs alone.
    pub(crate) admin_listen: String,
    pub(crate) default_upstream: String,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) expose_side: bool,
    pub(crate) hide_paths_after: Vec<String>,
    pub(crate) threads: usize,
    pub(crate) hold_requests: usize,
    pub(crate) hold_wait: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) limits: ficus_proxy::Limits,
    /// Where gateways count together.
    pub(crate) redis: Option<ficus_proxy::RedisServer>,
    pub(crate) cache: ficus_proxy::CacheLimits,
    pub(crate) access_log: Option<ficus_proxy::AccessLog>,
    pub(crate) tracing: Option<ficus_proxy::Tracing>,
}

impl Gateway {
    /// Where it listens.
    pub(crate) fn addresses(&self) -> Vec<&str> {
        self.listeners.iter().map(|listener| listener.address.as_str()).collect()
    }
}

/// A server and its database.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// What the gateway must know of it.
    pub(crate) server: ficus_proxy::Upstream,
    /// `sqlite:///path`
    pub(crate) database: Option<String>,
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
        Ok(Resolving { file: path.display().to_string(), directory, text: &text, faults: Vec::new(), warnings: Vec::new() }.resolve()?)
    }
}

/// The second stage: the faults are gathered, not thrown.
struct Resolving<'a> {
    file: String,
    directory: PathBuf,
    text: &'a str,
    faults: Vec<(usize, String)>,
    warnings: Vec<Complaint>,
}

impl Resolving<'_> {
    fn resolve(mut self) -> Result<Config, BadConfiguration> {
        let document: Document = toml::from_str(self.text).map_err(|error| {
            let (line, column) = self.place(error.span().map_or(0, |span| span.start));
            BadConfiguration(format!("{}:{line}:{column}: {}", self.file, error.message()))
        })?;
        let config = self.config(document);
        if self.faults.is_empty() {
            return Ok(Config { warnings: self.warnings, ..config });
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
                let health = upstream.health.as_ref().map(|path| self.path(path));
                let server = upstream.resolve(name.span().start, &self.directory, &mut self.faults);
                (name.get_ref().clone(), Upstream { server: ficus_proxy::Upstream { health, ..server }, database })
            })
            .collect();
        let gateway = document.gateway;
        self.known(&upstreams, &gateway.default);
        let admin = document.orchestrator;
        let agent = document.agent;
        let admin_listen = self.guarded_address(&admin.listen, &admin);
        let gateway_admin = self.guarded_address(&gateway.admin, &admin);
        let agent_listen = self.guarded_address(&agent.listen, &admin);
        let public = self.public(&gateway);
        let (listeners, certificates) = (self.listeners(&gateway), self.certificates(&gateway.certificate));
        for network in &gateway.trusted_proxies {
            if let Err(why) = ficus_proxy::check_network(network.get_ref()) {
                self.fault(network.span().start, why);
            }
        }
        for word in gateway.hide_paths_after.iter().filter(|word| word.get_ref().is_empty() || word.get_ref().contains('/')) {
            let what = format!("`{}` is no part of a path: write the word before the secret, like \"reset\"", word.get_ref());
            self.fault(word.span().start, what);
        }
        let (hold_wait, switch_deadline) = (self.duration(&gateway.hold_wait), self.duration(&admin.switch_deadline));
        if hold_wait <= switch_deadline {
            let at = gateway.hold_wait.span().start.max(admin.switch_deadline.span().start);
            let what = format!(
                "hold_wait ({}) must be longer than switch_deadline ({}): an aborted cutover would refuse the writes that it held",
                gateway.hold_wait.get_ref(),
                admin.switch_deadline.get_ref()
            );
            self.fault(at, what);
        }
        let admin_token = admin.token_file.as_ref().and_then(|file| self.secret(file));
        let tokens = self.tokens(admin_token.as_deref(), &admin.token);
        let (admin_tls, admin_trust) = self.tls(admin.tls.as_ref());
        let validity = self.duration(&admin.validity);
        let own = format!("{}://{admin_listen}", if admin_tls.is_some() { "https" } else { "http" });
        let etcd = admin.etcd.as_ref().map(|etcd| self.etcd(etcd, &own, validity));
        let gateway = Gateway {
            name: gateway.name,
            listeners,
            certificates,
            strict_transport: gateway.hsts.as_ref().map(|hsts| self.duration(hsts)),
            public,
            admin_listen: gateway_admin,
            default_upstream: gateway.default.into_inner(),
            trusted_proxies: gateway.trusted_proxies.into_iter().map(Spanned::into_inner).collect(),
            expose_side: gateway.expose_side,
            hide_paths_after: gateway.hide_paths_after.into_iter().map(Spanned::into_inner).collect(),
            threads: gateway.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from)),
            hold_requests: gateway.hold_requests,
            hold_wait,
            connect_timeout: self.duration(&gateway.connect_timeout),
            answer_timeout: self.duration(&gateway.answer_timeout),
            grace: self.duration(&gateway.grace),
            limits: self.limits(&gateway.limits),
            redis: gateway.redis.as_ref().map(|redis| self.redis(redis)),
            cache: gateway.cache.resolve(&mut self.faults),
            access_log: gateway.access_log.as_ref().and_then(|log| self.resolved(log.resolve(&self.directory))),
            tracing: gateway.tracing.as_ref().and_then(|tracing| self.resolved(tracing.resolve(&self.directory))),
        };
        let identity = self.identity(document.identity, &upstreams);
        Config {
            gateway,
            admin_listen,
            orchestrators: admin.addresses.iter().map(|one| self.url(one)).collect(),
            etcd,
            admin_token,
            tokens,
            admin_tls,
            admin_trust,
            prometheus: admin.prometheus.as_ref().map(|url| self.url(url)),
            notifiers: self.notifiers(&admin.notify),
            rules: self.directory.join(admin.rules),
            state: self.directory.join(admin.state),
            upstreams,
            identity,
            warnings: Vec::new(),
            buses: self.buses(&document.events),
            agent_listen,
            agent_poll: self.duration(&agent.poll),
            agent_batch: agent.batch_rows,
            agent_copy: agent.copy_rows_per_second.map(NonZeroU64::get),
            agent_copy_max_load: agent.copy_max_load,
            switch_deadline,
            validity,
        }
    }

    fn known(&mut self, upstreams: &BTreeMap<String, Upstream>, name: &Spanned<String>) {
        if !upstreams.contains_key(name.get_ref()) {
            let names: Vec<&str> = upstreams.keys().map(String::as_str).collect();
            self.fault(name.span().start, format!("no upstream is called `{}` (there are: {})", name.get_ref(), names.join(", ")));
        }
    }

    fn url(&mut self, url: &Spanned<String>) -> String {
        let text = url.get_ref();
        if !text.starts_with("http://") && !text.starts_with("https://") {
            self.fault(url.span().start, format!("`{text}` is not an address: write it like \"http://127.0.0.1:9090\""));
        }
        text.clone()
    }

    fn path(&mut self, path: &Spanned<String>) -> String {
        let text = path.get_ref();
        if !text.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.fault(path.span().start, format!("`{text}` is not a path: write it like \"/health/\""));
        }
        text.clone()
    }

    fn public(&mut self, gateway: &document::Gateway) -> ficus_proxy::Public {
        let path = |this: &mut Self, path: &Option<Spanned<String>>| {
            let path = path.as_ref()?;
            let text = this.path(path);
            // Requests are compared in this form, without their query.
            if text.starts_with('/') && ficus_rules::path::normalise(&text).ok().as_deref() != Some(&*text) {
                this.fault(path.span().start, format!("`{text}` is no plain path: leave out queries, escapes, and dot segments"));
            }
            Some(text)
        };
        let (health, services) = (path(self, &gateway.health), path(self, &gateway.services));
        if let Some(twice) = gateway.services.as_ref().filter(|_| health.is_some() && health == services) {
            self.fault(twice.span().start, "`health` and `services` are two pages: name two paths".to_owned());
        }
        ficus_proxy::Public { health, services }
    }

    /// An address of an admin listener, an orchestrator's, a gateway's or an agent's: what others can reach asks for a token.
    fn guarded_address(&mut self, address: &Spanned<String>, admin: &document::Orchestrator) -> String {
        let listen = self.admin_address(address);
        if admin.token_file.is_none() && !is_loopback(&listen) {
            let what = format!("`{listen}` can be reached by others: name a token_file below [orchestrator], or listen on 127.0.0.1");
            self.fault(address.span().start, what);
        }
        listen
    }

    /// An address to listen on: a port alone does not say for whom.
    fn admin_address(&mut self, address: &Spanned<String>) -> String {
        let text = address.get_ref();
        let parts = text.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if parts.is_none() {
            self.fault(address.span().start, format!("`{text}` is not an address to listen on: write it like \"127.0.0.1:7070\""));
        }
        text.clone()
    }

    fn database(&mut self, database: &Spanned<String>) -> String {
        let url = database.get_ref();
        let Some(path) = url.strip_prefix("sqlite://") else {
            if !ficus_sync_agent::speaks(url) || url.starts_with("sqlite:") {
                let scheme = url.split_once(':').map_or("this", |(scheme, _)| scheme);
                let examples: Vec<String> = ficus_sync_agent::KNOWN.iter().map(|(_, example)| format!("\"{example}\"")).collect();
                // Never the whole: it may hold a password.
                let fault = format!("`{scheme}` is not a database that Ficus speaks: write it like {}", examples.join(" or "));
                self.fault(database.span().start, fault);
            }
            return url.clone();
        };
        let path = self.directory.join(path);
        format!("sqlite://{}", std::path::absolute(&path).unwrap_or(path).display())
    }

    fn limits(&mut self, limits: &document::Limits) -> ficus_proxy::Limits {
        limits.resolve().unwrap_or_else(|faults| {
            faults.into_iter().for_each(|(at, what)| self.fault(at, what));
            ficus_proxy::Limits::default()
        })
    }

    fn redis(&mut self, redis: &document::Redis) -> ficus_proxy::RedisServer {
        if let Err(why) = ficus_proxy::check_redis(redis.url.get_ref()) {
            self.fault(redis.url.span().start, why);
        }
        let password = redis.password_file.as_ref().and_then(|file| self.secret(file));
        ficus_proxy::RedisServer { url: redis.url.get_ref().clone(), password, timeout: self.duration(&redis.timeout) }
    }

    fn resolved<T>(&mut self, resolved: Result<T, Vec<(usize, String)>>) -> Option<T> {
        resolved.map_err(|faults| faults.into_iter().for_each(|(at, what)| self.fault(at, what))).ok()
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
            Ok(text) if text.trim().is_empty() => {
                self.fault(file.span().start, format!("{} is empty: the secret belongs into it", path.display()));
                None
            }
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

    fn warn(&mut self, at: usize, message: &str, hint: &str) {
        let (line, column) = self.place(at);
        let (file, message, hint) = (self.file.clone(), message.to_owned(), hint.to_owned());
        self.warnings.push(Complaint { file, line, column, message, hint, warning: true });
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or("").chars().count() + 1)
    }
}

/// Whether only this machine can reach an address. A name that is not known to be local is not.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::Config;

    pub(super) const GOOD: &str =
        "[gateway]\nlisten = ['127.0.0.1:8080']\ndefault = 'monolith'\n\n[upstream.monolith]\naddress = '127.0.0.1:8000'\n";

    pub(super) fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        std::fs::write(folder.path().join("token"), "t\n").unwrap();
        std::fs::write(folder.path().join("other"), "o\n").unwrap();
        let file = folder.path().join("ficus.toml");
        std::fs::write(&file, text).unwrap();
        Config::load(&file).map_err(|error| {
            assert!(error.is::<crate::exit::BadConfiguration>());
            error.to_string().replace(&format!("{}/", folder.path().display()), "")
        })
    }

    fn fault(what: &str, with: &str) -> String {
        let changed = GOOD.replace(what, with);
        assert_ne!(changed, GOOD);
        load(&changed).unwrap_err()
    }

    #[test]
    fn the_defaults_hold_writes_for_longer_than_a_switch_may_take() {
        let config = load(GOOD).unwrap();
        assert!(config.gateway.hold_wait > config.switch_deadline);
        let why = fault("\n\n", "\nhold_wait = '10s'\n\n");
        assert!(why.starts_with("ficus.toml:4:") && why.contains("switch_deadline (10s)"), "{why}");
        let why = fault("\n\n", "\n\n[orchestrator]\nswitch_deadline = '20s'\n\n");
        assert!(why.starts_with("ficus.toml:6:"), "{why}");
    }

    #[test]
    fn what_the_gateway_answers_by_itself_has_two_plain_paths() {
        let with = |more: &str| load(&GOOD.replacen("\n\n", &format!("\n{more}\n\n"), 1));
        assert_eq!(with("").unwrap().gateway.public, ficus_proxy::Public::default(), "off unless named");
        let public = with("health = '/health'\nservices = '/api/v1/services/status'").unwrap().gateway.public;
        assert_eq!(public.paths(), ["/health", "/api/v1/services/status"]);
        for (more, word) in [
            ("health = 'health'", "not a path"),
            ("health = '/a/../health'", "no plain path"),
            ("services = '/a?b'", "no plain path"),
            ("health = '/a'\nservices = '/a'", "name two paths"),
        ] {
            let why = with(more).unwrap_err();
            assert!(why.starts_with("ficus.toml:") && why.contains(word), "{more}: {why}");
        }
    }

    #[test]
    fn an_admin_api_that_others_can_reach_needs_a_token() {
        let with = |more: &str| GOOD.replace("\n\n", &format!("\n\n[orchestrator]\n{more}\n\n"));
        let why = load(&with("listen = '0.0.0.0:7070'")).unwrap_err();
        assert!(why.starts_with("ficus.toml:6:") && why.contains("token_file"), "{why}");
        assert!(load(&with("listen = '0.0.0.0:7070'\ntoken_file = 'token'")).is_ok());
        assert!(load(&with("listen = '[::1]:7070'")).is_ok());
        let why = load(&with("listen = '0.0.0.0:7070'\ntoken_file = 'empty'")).unwrap_err();
        assert!(why.starts_with("ficus.toml:7:") && why.contains("is empty"), "{why}");
        let why = load(&with("listen = '7070'\ntoken_file = 'token'")).unwrap_err();
        assert!(why.starts_with("ficus.toml:6:"), "{why}");
    }

    #[test]
    fn what_a_gateway_or_an_agent_tells_needs_a_token_where_others_can_reach_it() {
        let with = |section: &str, key: &str, more: &str| match section {
            "gateway" => load(&format!("{}\n{more}", GOOD.replacen("\n\n", &format!("\n{key}\n\n"), 1))),
            _ => load(&format!("{GOOD}\n[{section}]\n{key}\n{more}")),
        };
        let token = "[orchestrator]\ntoken_file = 'token'\n";
        for (section, key, line) in [("gateway", "admin", 4), ("agent", "listen", 9)] {
            for open in ["0.0.0.0", "[::]", "10.0.0.7", "ficus.internal", "[::ffff:10.0.0.7]", "http://127.0.0.1"] {
                let why = with(section, &format!("{key} = '{open}:7079'"), "").unwrap_err();
                let place = format!("ficus.toml:{line}:");
                assert!(why.starts_with(&place) && why.contains("token_file") && why.contains("127.0.0.1"), "{section} {open}: {why}");
            }
            for own in ["127.0.0.1", "[::1]", "localhost", "127.1.2.3"] {
                assert!(with(section, &format!("{key} = '{own}:7079'"), "").is_ok(), "{section} {own}");
            }
            let config = with(section, &format!("{key} = '0.0.0.0:7079'"), token).unwrap();
            let listens = if section == "gateway" { &config.gateway.admin_listen } else { &config.agent_listen };
            assert_eq!(listens, "0.0.0.0:7079", "with a token it may");
            assert!(!config.tokens.is_empty(), "which is asked for");
            let why = with(section, &format!("{key} = ':7079'"), token).unwrap_err();
            assert!(why.contains("not an address to listen on"), "{section}: {why}");
        }
        let config = load(GOOD).unwrap();
        for listens in [config.admin_listen, config.gateway.admin_listen, config.agent_listen] {
            assert!(super::is_loopback(&listens), "{listens} is what it is without a word");
        }
    }

    #[test]
    fn what_is_deployed_for_others_to_reach_asks_for_a_token() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/config");
        for part in ["orchestrator", "gateway", "agent"] {
            let text = std::fs::read_to_string(folder.join(format!("{part}.toml"))).unwrap();
            // Its secrets are in a cluster: that is all that is wrong here.
            let why = load(&text).unwrap_err();
            assert!(why.contains("cannot read the secret in ") && !why.contains("can be reached by others"), "{part}: {why}");
            let without: String = text.lines().filter(|line| !line.starts_with("token_file")).map(|line| format!("{line}\n")).collect();
            let why = load(&without).unwrap_err();
            assert_eq!(why.matches("can be reached by others").count(), 1, "{part}: {why}");
        }
    }

    #[test]
    fn a_named_token_has_a_role_a_secret_and_one_of_its_own() {
        let with = |more: &str| load(&GOOD.replace("\n\n", &format!("\n\n[orchestrator]\ntoken_file = 'token'\n{more}\n\n")));
        let tokens = with("[orchestrator.token.grafana]\nrole = 'viewer'\nfile = 'other'").unwrap().tokens;
        assert_eq!(format!("{tokens:?}"), "Tokens { known: [admin (admin), grafana (viewer)] }");
        for (more, line, word) in [
            ("[orchestrator.token.x]\nrole = 'root'\nfile = 'other'", 8, "there are: viewer, operator, admin, fleet, flags"),
            ("[orchestrator.token.x]\nrole = 'viewer'", 7, "a `file` or an `env`"),
            ("[orchestrator.token.x]\nrole = 'viewer'\nenv = 'FICUS_NOT_SET'", 9, "FICUS_NOT_SET"),
            ("[orchestrator.token.x]\nrole = 'viewer'\nfile = 'token'", 7, "the same secret"),
            ("[orchestrator.token.admin]\nrole = 'viewer'\nfile = 'other'", 7, "another name"),
            ("[orchestrator.tls]\ncertificate_file = 'token'", 8, "belong together"),
            ("[orchestrator.tls]\nca_file = 'token'", 8, "no certificate"),
        ] {
            let why = with(more).unwrap_err();
            assert!(why.starts_with(&format!("ficus.toml:{line}:")) && why.contains(word), "{more}: {why}");
        }
        let why = load(&GOOD.replace("\n\n", "\n\n[orchestrator.token.x]\nrole = 'viewer'\nfile = 'other'\n\n")).unwrap_err();
        assert!(why.contains("no token_file"), "{why}");
    }

    #[test]
    fn limits_are_read_with_their_units_and_the_rest_keeps_its_default() {
        let with = |more: &str| load(&GOOD.replace("\n\n", &format!("\n\n[gateway.limits]\n{more}\n\n")));
        let limits =
            with("head = '16KiB'\nbody = '8MiB'\nbody_rate = '4KiB/s'\nidle = '5s'\nheaders = 50\nconnections = 0").unwrap().gateway.limits;
        let wanted = ficus_proxy::Limits {
            head: 16_384,
            body: 8 << 20,
            body_rate: 4_096,
            idle: std::time::Duration::from_secs(5),
            headers: 50,
            connections: 0,
            ..ficus_proxy::Limits::default()
        };
        assert_eq!(limits, wanted);
        let why = with("head = '2MiB'\nheaders = 300\nidle = '0s'\nbody = '8'\nbody_rate = '500'").unwrap_err();
        assert_eq!(why.lines().count(), 5, "{why}");
        assert!(why.starts_with("ficus.toml:6:8: between 1B and") && why.contains("write it like 500B/s"), "{why}");
        assert!(with("heads = 1").is_err());
    }

    #[test]
    fn an_upstream_says_in_one_way_where_it_is() {
        let with = |more: &str| load(&GOOD.replace("address = '127.0.0.1:8000'\n", more));
        let server = |more: &str| with(more).unwrap().upstreams["monolith"].server.clone();
        let several = server("addresses = ['10.0.0.1:80', '10.0.0.2:80 3']\nbalance = 'hash'\nhash = ['user', 'header:X-Tenant']\n");
        let weighted = |address: &str, weight| ficus_proxy::Weighted { address: address.into(), weight };
        assert_eq!(several.instances, ficus_proxy::Instances::Fixed(vec![weighted("10.0.0.1:80", 1), weighted("10.0.0.2:80", 3)]));
        let by = vec![ficus_proxy::HashBy::User, ficus_proxy::HashBy::Header("x-tenant".into())];
        assert_eq!(several.balance, ficus_proxy::Balance::Hash(by));
        let named =
            server("dns = 'users.internal:80'\nresolvers = ['127.0.0.1:8600']\nrefresh = '1s'\n[upstream.monolith.retry]\nshare = '5%'\n");
        let lookup = ficus_proxy::Lookup { servers: vec!["127.0.0.1:8600".parse().unwrap()], refresh: std::time::Duration::from_secs(1) };
        assert_eq!(named.instances, ficus_proxy::Instances::Dns { name: "users.internal".into(), port: 80, lookup });
        assert_eq!((named.retry.share, named.ejection), (ficus_rules::Share::parse("5%").unwrap(), ficus_proxy::Ejection::default()));
        for (more, line, word) in [
            ("health = '/'\n", 5, "it says not where it is"),
            ("address = 'a:1'\nsrv = 'b'\n", 7, "in two ways"),
            ("address = 'a:1'\nrefresh = '1s'\n", 7, "are for `dns` and `srv`"),
            ("addresses = ['a:1', 'a:1']\n", 6, "twice"),
            ("addresses = ['a:1 0']\n", 6, "not a weight"),
            ("address = 'a:1'\nbalance = 'random'\n", 7, "least_requests"),
            ("address = 'a:1'\nbalance = 'hash'\n", 7, "by what?"),
            ("address = 'a:1'\nbalance = 'hash'\nhash = ['ip']\n", 8, "cookie:NAME"),
            ("dns = 'users'\n", 6, "name with a port"),
            ("srv = 'a'\nresolvers = ['dns.test']\n", 7, "name server"),
            ("address = 'a:1'\n[upstream.monolith.ejection]\nfailures = 0\n", 8, "1 or more"),
            ("address = 'a:1'\n[upstream.monolith.ejection]\nlongest = '1s'\n", 8, "shorter than `first`"),
            ("address = 'a:1'\n[upstream.monolith.retry]\nstatuses = [404]\n", 8, "no failure of a server"),
            ("address = 'a:1'\n[upstream.monolith.breaker]\nshare = '0%'\n", 8, "any failure"),
            ("address = 'a:1'\n[upstream.monolith.bulkhead]\nrequests = 5\nwait = '1m'\n", 9, "longer than 5s"),
            ("address = 'a:1'\n[gateway.cache]\nsize = '1KiB'\n", 8, "larger than all"),
            ("address = 'a:1'\n[gateway.cache]\nknown_by = ['x-key', 'x_key']\n", 8, "as it is sent"),
        ] {
            let why = with(more).unwrap_err();
            assert!(why.starts_with(&format!("ficus.toml:{line}:")) && why.contains(word), "{more}: {why}");
        }
    }

    #[test]
    fn what_the_gateway_would_refuse_at_its_start_is_told_with_its_line() {
        assert!(fault("['127.0.0.1:8080']", "[]").starts_with("ficus.toml:3:"), "at `default`, for there may be no `listen` at all");
        assert!(fault("\n\n", "\nadmin = 'x'\n\n").starts_with("ficus.toml:4:"));
        assert!(fault("\n\n", "\nhide_paths_after = ['a/b', '']\n\n").lines().all(|line| line.contains("the word before the secret")));
        let why = fault("\n\n", "\ntrusted_proxies = ['10.0.0.0/8', 'proxy.test']\n\n");
        assert!(why.starts_with("ficus.toml:4:") && why.contains("`proxy.test`"), "{why}");
    }
}
