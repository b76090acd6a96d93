//! What is round the world that dashboards are looked at in, so that no panel is without its subject: a PostgreSQL for the
//! new service, a Redis that is told of changes, somebody who is notified, certificates, and an agent whose listener speaks TLS.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::origin::Origin;
use ficus_tests::process::{Process, free_port};
use ficus_tests::school;
use sqlx::{Connection as _, PgConnection};

use crate::postgres::Server;

/// A pair's changes that the bus is told of.
const EVENT: &str = "\n[[event]]\ntable = \"notes\"\nto = \"bus\"\ncreated = \"note.written\"\n";

/// What is round a world. Dropping it ends it.
pub(crate) struct Surroundings {
    /// Sections for the world's `ficus.toml`.
    pub(crate) sections: String,
    /// Of the new service, empty.
    pub(crate) service_database: String,
    /// Another job for Prometheus.
    pub(crate) scrape: String,
    /// Held for their ends.
    _redis: Process,
    _agent: Process,
    _notified: Origin,
}

impl Surroundings {
    /// Starts everything, in `directory`.
    ///
    /// # Errors
    /// What could not be started.
    pub(crate) async fn start(directory: &Path) -> Result<Surroundings> {
        std::fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        let certificate = Certificate::make(&directory)?;
        let (bus, redis) = redis(&directory)?;
        let notified = Origin::start("notified").await?;
        let (scrape, agent) = agent_by_tls(&directory, &certificate)?;
        let mut sections = format!("\n[[gateway.listener]]\naddress = \"127.0.0.1:{}\"\ntls = true\n", free_port()?);
        write!(sections, "\n[[gateway.certificate]]\n{}", certificate.keys())?;
        write!(sections, "\n[events.bus]\nurl = \"redis://127.0.0.1:{bus}/0\"\n")?;
        write!(sections, "\n[orchestrator.notify.chat]\nurl = \"http://127.0.0.1:{}/chat\"\n", notified.port)?;
        let server = Server::shared();
        let service_database = server.url(&server.database().await);
        Ok(Surroundings { sections, service_database, scrape, _redis: redis, _agent: agent, _notified: notified })
    }

    /// The log that is kept for the agent in the new service's database is kept by a replication slot.
    ///
    /// # Errors
    /// It is not, or the server does not answer.
    pub(crate) async fn keeps_log_in_a_slot(&self) -> Result<()> {
        let mut connection = PgConnection::connect(&self.service_database).await?;
        let slots = "SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()";
        let slots = sqlx::raw_sql(slots).fetch_all(&mut connection).await?;
        ensure!(!slots.is_empty(), "no slot keeps the new service's log");
        Ok(())
    }

    /// The rules, with changes that the bus is told of.
    pub(crate) fn telling(rules: &str) -> String {
        rules.replacen("\n[[test]]\n", &format!("{EVENT}\n[[test]]\n"), 1)
    }
}

/// A certificate for this machine, and its key.
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn make(directory: &Path) -> Result<Certificate> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let certificate = Certificate { chain: directory.join("chain.pem"), key: directory.join("key.pem") };
        std::fs::write(&certificate.chain, made.cert.pem())?;
        std::fs::write(&certificate.key, made.signing_key.serialize_pem())?;
        Ok(certificate)
    }

    /// As `ficus.toml` says it.
    fn keys(&self) -> String {
        format!("certificate_file = \"{}\"\nkey_file = \"{}\"\n", self.chain.display(), self.key.display())
    }
}

/// A Redis, and its port.
fn redis(directory: &Path) -> Result<(u16, Process)> {
    let port = free_port()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"]).arg(directory);
    let process = Process::start("redis", &mut command, &directory.join("redis.log")).context("run `make packages-test` first")?;
    Ok((port, process))
}

/// An agent that has nothing to do and shows its metrics by TLS, and the job that scrapes it.
fn agent_by_tls(directory: &Path, certificate: &Certificate) -> Result<(String, Process)> {
    let port = free_port()?;
    let config = format!(
        "[gateway]\nlisten = [\"127.0.0.1:1\"]\ndefault = \"none\"\n\n[agent]\nlisten = \"127.0.0.1:{port}\"\n\n[orchestrator.tls]\n{}\n[upstream.none]\naddress = \"127.0.0.1:1\"\n",
        certificate.keys()
    );
    let file = directory.join("agent.toml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(school::binary("ficus")?);
    command.args(["--admin", "https://127.0.0.1:1", "--config"]).arg(file).arg("agent").current_dir(directory);
    let process = Process::start("ficus agent", &mut command, &directory.join("agent.log"))?;
    let shipped = std::fs::read_to_string(ficus_tests::prometheus::folder().join("prometheus/prometheus.yml"))?;
    ensure!(
        shipped.contains("    #   scheme: https\n    #   tls_config:\n    #     ca_file: "),
        "prometheus.yml does not say how to scrape by TLS"
    );
    let scrape = format!(
        "  - job_name: ficus-by-tls\n    scheme: https\n    tls_config:\n      ca_file: {}\n    static_configs:\n      - targets: [\"127.0.0.1:{port}\"]\n",
        certificate.chain.display()
    );
    Ok((scrape, process))
}
