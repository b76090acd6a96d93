//! A fleet: a monolith and a new service behind several gateways, with several orchestrators on one etcd and an agent, all
//! of them processes of their own. Gateways and orchestrators talk through [`Cable`]s, and orchestrators with etcd, so that
//! each can be cut off from the others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::cable::Cable;
use crate::http::Http;
use crate::operator::Operator;
use crate::process::{Process, free_port};
use crate::school::{self, Database};

/// What a fleet is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many gateways.
    pub gateways: usize,
    /// How many orchestrators.
    pub orchestrators: usize,
    /// Users that the monolith is seeded with.
    pub users: u32,
    /// The monolith's database, empty; a file of SQLite where it is not said.
    pub school_database: Option<String>,
    /// The service's database, empty; a file of SQLite where it is not said.
    pub service_database: Option<String>,
    /// The port of an etcd.
    pub etcd: u16,
}

/// A process with its directory and its port.
#[derive(Debug)]
pub struct Member {
    /// The process.
    pub process: Process,
    directory: PathBuf,
    /// Where it listens: the public port of a gateway, the admin port of an orchestrator.
    pub port: u16,
    /// Its own ends of the cables: of a gateway to each orchestrator, of an orchestrator to etcd.
    pub cables: Vec<Cable>,
}

/// A running fleet. Dropping it ends its processes.
#[derive(Debug)]
pub struct Fleet {
    /// The directory with everything in it.
    pub directory: PathBuf,
    /// The orchestrators.
    pub orchestrators: Vec<Member>,
    /// The gateways.
    pub gateways: Vec<Member>,
    /// The agent.
    pub agent: Member,
    /// The users service.
    pub service: Process,
    /// gunicorn.
    pub monolith: Process,
    school_database: Database,
    service_database: String,
}

/// What all configurations say alike.
struct Common {
    monolith: u16,
    service: u16,
    school_database: String,
    service_database: String,
    directory: PathBuf,
}

impl Fleet {
    /// Makes and starts everything in `directory`, which must be empty or missing.
    ///
    /// # Errors
    /// What could not be made or started.
    pub async fn start(directory: &Path, plan: Plan) -> Result<Fleet> {
        std::fs::create_dir_all(directory.join("logs"))?;
        let directory = directory.canonicalize()?;
        let school_database = match &plan.school_database {
            Some(url) => Database::server(url, &directory),
            None => Database::file(&directory),
        };
        school::seed(&school_database, plan.users).await?;
        let service_database =
            plan.service_database.clone().unwrap_or_else(|| format!("sqlite://{}", directory.join("users.sqlite3").display()));
        school::migrate_service(&service_database).await?;
        std::fs::write(directory.join("django-secret.key"), school::SECRET_KEY)?;
        copy_rules(&directory.join("rules"))?;
        let common = Common {
            monolith: free_port()?,
            service: free_port()?,
            school_database: school_database.url(),
            service_database: service_database.clone(),
            directory: directory.clone(),
        };
        let log = |name: &str| directory.join("logs").join(name);
        let monolith = school::start_monolith(&school_database, common.monolith, &log("monolith.log"))?;
        let mut orchestrators = Vec::new();
        for number in 1..=plan.orchestrators {
            orchestrators.push(common.orchestrator(number, plan.etcd).await?);
        }
        let ports: Vec<u16> = orchestrators.iter().map(|one| one.port).collect();
        let (mut gateways, mut jwks) = (Vec::new(), String::new());
        for number in 1..=plan.gateways {
            let (gateway, admin) = common.gateway(number, &ports).await?;
            if number == 1 {
                jwks = format!("http://127.0.0.1:{admin}/.well-known/jwks.json");
            }
            gateways.push(gateway);
        }
        let service = school::start_service(&service_database, common.service, &jwks, &log("users-service.log"))?;
        let agent = common.agent(&ports).await?;
        let fleet = Fleet { directory, orchestrators, gateways, agent, service, monolith, school_database, service_database };
        fleet.leader(Duration::from_secs(60)).await?;
        for port in fleet.gateways.iter().map(|gateway| gateway.port).chain([common.monolith]) {
            school::until_up(&format!("http://127.0.0.1:{port}"), "/health/").await.context("see the logs")?;
        }
        school::until_up(&format!("http://127.0.0.1:{}", common.service), "/users/health/").await?;
        Ok(fleet)
    }

    /// Which orchestrator leads, as soon as one does. Asks them directly.
    ///
    /// # Errors
    /// None does in time, or two do.
    pub async fn leader(&self, patience: Duration) -> Result<usize> {
        self.other_leader(None, patience).await
    }

    /// Which one leads that is another than `before`, as soon as one does.
    ///
    /// # Errors
    /// None does in time, or two do.
    pub async fn other_leader(&self, before: Option<usize>, patience: Duration) -> Result<usize> {
        let begun = Instant::now();
        loop {
            let mut leading = Vec::new();
            for (at, one) in self.orchestrators.iter().enumerate().filter(|(at, _)| Some(*at) != before) {
                let asked = Http::new(&format!("http://127.0.0.1:{}", one.port), Duration::from_millis(500)).get("/leader").await;
                leading.extend(asked.is_ok_and(|answer| answer.status.is_success()).then_some(at));
            }
            match leading[..] {
                [one] => return Ok(one),
                [] if begun.elapsed() < patience => tokio::time::sleep(Duration::from_millis(50)).await,
                [] => bail!("nobody leads after {patience:?}"),
                // Asked one after the other: the first may have resigned meanwhile.
                _ if begun.elapsed() < patience => tokio::time::sleep(Duration::from_millis(50)).await,
                _ => bail!("{leading:?} lead at once"),
            }
        }
    }

    /// Starts a member again that ended, on its ports and state.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_orchestrator(&mut self, at: usize, environment: &[(String, String)]) -> Result<()> {
        let member = &mut self.orchestrators[at];
        member.process = start(&member.directory, "orchestrator", environment)?;
        Ok(())
    }

    /// As [`Fleet::start_orchestrator`].
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_gateway(&mut self, at: usize) -> Result<()> {
        let member = &mut self.gateways[at];
        member.process = start(&member.directory, "gateway", &[])?;
        Ok(())
    }

    /// A client of one gateway. It waits for longer than anything is held.
    pub fn http(&self, gateway: usize) -> Http {
        Http::new(&format!("http://127.0.0.1:{}", self.gateways[gateway].port), Duration::from_secs(90))
    }

    /// Somebody with the command line, who knows all orchestrators. Waiting asks the one that leads.
    ///
    /// # Errors
    /// The binary was not built.
    pub fn operator(&self) -> Result<Operator> {
        Operator::new(&self.agent.directory.join("ficus.toml"), &format!("http://127.0.0.1:{}", self.orchestrators[0].port))
    }

    /// The status of a capability, of whichever orchestrator leads.
    ///
    /// # Errors
    /// None answers.
    pub async fn status(&self, capability: &str) -> Result<Value> {
        for one in &self.orchestrators {
            let http = Http::new(&format!("http://127.0.0.1:{}", one.port), Duration::from_secs(2));
            if let Ok(answer) = http.get("/api/v1/status").await
                && answer.status.is_success()
            {
                return Ok(answer.json()?["capabilities"][capability].take());
            }
        }
        bail!("no orchestrator leads")
    }

    /// Waits until a capability's status is as wanted, whoever leads.
    ///
    /// # Errors
    /// It is not in time; the error has the last status.
    pub async fn until(&self, what: &str, patience: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let begun = Instant::now();
        let mut last = Value::Null;
        while begun.elapsed() < patience {
            if let Ok(status) = self.status("users").await {
                if wanted(&status) {
                    return Ok(status);
                }
                last = status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("waited {patience:?} in vain for {what}; last seen: {last:#}")
    }

    /// The URLs of both databases: the monolith's, the service's.
    pub fn databases(&self) -> (String, String) {
        (self.school_database.url(), self.service_database.clone())
    }
}

impl Common {
    async fn orchestrator(&self, number: usize, etcd: u16) -> Result<Member> {
        let (port, cable) = (free_port()?, Cable::to(etcd).await?);
        let etcd = format!("[orchestrator.etcd]\nendpoints = [\"{}\"]\nlease = \"3s\"\n", cable.url());
        let name = format!("orchestrator-{number}");
        let orchestrator = format!("listen = \"127.0.0.1:{port}\"\n");
        self.member(&name, "orchestrator", &orchestrator, &etcd, [free_port()?, free_port()?, free_port()?], port, vec![cable])
    }

    async fn gateway(&self, number: usize, orchestrators: &[u16]) -> Result<(Member, u16)> {
        let mut cables = Vec::new();
        for port in orchestrators {
            cables.push(Cable::to(*port).await?);
        }
        let (port, admin) = (free_port()?, free_port()?);
        let name = format!("gateway-{number}");
        let member = self.member(&name, "gateway", &addresses(&cables), "", [port, admin, free_port()?], port, cables)?;
        Ok((member, admin))
    }

    async fn agent(&self, orchestrators: &[u16]) -> Result<Member> {
        let mut cables = Vec::new();
        for port in orchestrators {
            cables.push(Cable::to(*port).await?);
        }
        let listen = free_port()?;
        self.member("agent", "agent", &addresses(&cables), "", [free_port()?, free_port()?, listen], listen, cables)
    }

    #[expect(clippy::too_many_arguments, reason = "what one configuration says that another does not")]
    fn member(
        &self,
        name: &str,
        part: &str,
        orchestrator: &str,
        more: &str,
        [listen, admin, agent]: [u16; 3],
        port: u16,
        cables: Vec<Cable>,
    ) -> Result<Member> {
        let directory = self.directory.join(name);
        std::fs::create_dir_all(directory.join("state"))?;
        // Gateways that know each other's markers and tokens.
        for key in ["marker.key", "token.key"] {
            std::fs::write(directory.join("state").join(key), [7; 32])?;
        }
        let Common { monolith, service, school_database, service_database, directory: all } = self;
        let (rules, secret) = (all.join("rules"), all.join("django-secret.key"));
        let text = format!(
            r#"[gateway]
name = "{name}"
listen = ["127.0.0.1:{listen}"]
admin = "127.0.0.1:{admin}"
default = "monolith"
expose_side = true
hold_wait = "60s"

[orchestrator]
{orchestrator}rules = "{}"
switch_deadline = "40s"
validity = "12s"

{more}
[agent]
listen = "127.0.0.1:{agent}"

[upstream.monolith]
address = "127.0.0.1:{monolith}"
database = "{school_database}"

[upstream.users-service]
address = "127.0.0.1:{service}"
health = "/users/health/"
database = "{service_database}"

[identity.django]
upstream = "monolith"
secret_key_file = "{}"
user_table = "accounts_customuser"
role_column = "user_type"
roles = {{ 1 = "admin", 2 = "staff", 3 = "student" }}
"#,
            rules.display(),
            secret.display()
        );
        std::fs::write(directory.join("ficus.toml"), text)?;
        Ok(Member { process: start(&directory, part, &[])?, directory, port, cables })
    }
}

fn addresses(cables: &[Cable]) -> String {
    let urls: Vec<String> = cables.iter().map(|cable| format!("\"{}\"", cable.url())).collect();
    format!("addresses = [{}]\n", urls.join(", "))
}

fn start(directory: &Path, part: &str, environment: &[(String, String)]) -> Result<Process> {
    let mut command = Command::new(school::binary("ficus")?);
    command.args(["--config", "ficus.toml", part]).current_dir(directory);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Process::start(&format!("ficus {part}"), &mut command, &directory.join("log"))
}

fn copy_rules(to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(school::folder().join("rules"))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
