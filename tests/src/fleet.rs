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
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many gateways.
    pub gateways: usize,
    /// How many orchestrators.
    pub orchestrators: usize,
    /// The port of an etcd.
    pub etcd: u16,
    /// For how long a gateway that hears nothing lets writes pass, as `ficus.toml` says it.
    pub validity: &'static str,
    /// The leader waits at each stage of a switch: [`Fleet::waits`].
    pub waits: bool,
}

/// The school behind it.
#[derive(Debug, Clone, Default)]
pub struct School {
    /// Users that the monolith is seeded with.
    pub users: u32,
    /// The monolith's database, empty; a file of SQLite where it is not said.
    pub school_database: Option<String>,
    /// The service's database, empty; a file of SQLite where it is not said.
    pub service_database: Option<String>,
}

/// Who has the rows behind a fleet, at first or in the end.
#[derive(Debug, Clone)]
pub struct Behind {
    /// The upstream's name.
    pub name: &'static str,
    /// Its port on the loopback interface.
    pub port: u16,
    /// Where it says that it is well.
    pub health: &'static str,
    /// Its database's URL.
    pub database: String,
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
    /// What was started behind it.
    processes: Vec<Process>,
    behind: [Behind; 2],
    capability: &'static str,
    common: Common,
}

/// What all configurations say alike.
#[derive(Debug)]
struct Common {
    directory: PathBuf,
    /// The sections of the upstreams, and of whatever else.
    sections: String,
    /// The first upstream.
    default: &'static str,
    validity: &'static str,
    waits: bool,
}

impl Fleet {
    /// Makes and starts everything in `directory`, which must be empty or missing, with a school behind it.
    ///
    /// # Errors
    /// What could not be made or started.
    pub async fn start(directory: &Path, plan: Plan, school: School) -> Result<Fleet> {
        std::fs::create_dir_all(directory.join("logs"))?;
        let directory = directory.canonicalize()?;
        let school_database = match &school.school_database {
            Some(url) => Database::server(url, &directory),
            None => Database::file(&directory),
        };
        school::seed(&school_database, school.users).await?;
        let service_database =
            school.service_database.clone().unwrap_or_else(|| format!("sqlite://{}", directory.join("users.sqlite3").display()));
        school::migrate_service(&service_database).await?;
        std::fs::write(directory.join("django-secret.key"), school::SECRET_KEY)?;
        copy_rules(&directory.join("rules"))?;
        let (monolith, service, keys) = (free_port()?, free_port()?, free_port()?);
        let log = |name: &str| directory.join("logs").join(name);
        let processes = vec![
            school::start_monolith(&school_database, monolith, &log("monolith.log"))?,
            school::start_service(
                &service_database,
                service,
                &format!("http://127.0.0.1:{keys}/.well-known/jwks.json"),
                &log("users-service.log"),
            )?,
        ];
        let behind = [
            Behind { name: "monolith", port: monolith, health: "/health/", database: school_database.url() },
            Behind { name: "users-service", port: service, health: "/users/health/", database: service_database },
        ];
        let fleet = Fleet::launch(directory, plan, behind, "users", keys, IDENTITY, processes).await?;
        for gateway in &fleet.gateways {
            school::until_up(&format!("http://127.0.0.1:{}", gateway.port), "/health/").await.context("see the logs")?;
        }
        Ok(fleet)
    }

    /// The same before two that run already, with the rules of their capability.
    ///
    /// # Errors
    /// What could not be made or started.
    pub async fn start_before(directory: &Path, plan: Plan, behind: [Behind; 2], capability: &'static str, rules: &str) -> Result<Fleet> {
        std::fs::create_dir_all(directory.join("rules"))?;
        let directory = directory.canonicalize()?;
        std::fs::write(directory.join("rules").join(format!("{capability}.toml")), rules)?;
        Fleet::launch(directory, plan, behind, capability, free_port()?, "", Vec::new()).await
    }

    /// `keys`: where the first gateway shows its public keys.
    async fn launch(
        directory: PathBuf,
        plan: Plan,
        behind: [Behind; 2],
        capability: &'static str,
        keys: u16,
        more: &str,
        processes: Vec<Process>,
    ) -> Result<Fleet> {
        let sections =
            behind.iter().map(Behind::section).chain([more.replace("SECRET", &directory.join("django-secret.key").display().to_string())]);
        let Plan { validity, waits, .. } = plan;
        let common = Common { directory, sections: sections.collect(), default: behind[0].name, validity, waits };
        let mut orchestrators = Vec::new();
        for number in 1..=plan.orchestrators {
            orchestrators.push(common.orchestrator(number, plan.etcd).await?);
        }
        let ports: Vec<u16> = orchestrators.iter().map(|one| one.port).collect();
        let mut gateways = Vec::new();
        for number in 1..=plan.gateways {
            let admin = if number == 1 { keys } else { free_port()? };
            gateways.push(common.gateway(number, &ports, admin).await?);
        }
        let agent = common.agent("agent", &ports).await?;
        let directory = common.directory.clone();
        let fleet = Fleet { directory, orchestrators, gateways, agent, processes, behind, capability, common };
        fleet.leader(Duration::from_secs(120)).await?;
        for one in &fleet.behind {
            school::until_up(&format!("http://127.0.0.1:{}", one.port), one.health).await.context("see the logs")?;
        }
        Ok(fleet)
    }

    /// What was started behind it: of a school, the monolith and the service.
    pub fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// One more agent.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn another_agent(&self, name: &str) -> Result<Member> {
        let ports: Vec<u16> = self.orchestrators.iter().map(|one| one.port).collect();
        self.common.agent(name, &ports).await
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
        let environment = [environment.to_vec(), self.common.environment("orchestrator")].concat();
        let member = &mut self.orchestrators[at];
        member.process = start(&member.directory, "orchestrator", &environment)?;
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

    /// As [`Fleet::start_orchestrator`].
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_agent(&mut self) -> Result<()> {
        self.agent.process = start(&self.agent.directory, "agent", &[])?;
        Ok(())
    }

    /// Which orchestrator waits, and at which stage of a switch: that is written down, and nobody has been told.
    pub fn waits(&self) -> Option<(usize, String)> {
        self.orchestrators.iter().enumerate().find_map(|(at, one)| {
            let mut stages = std::fs::read_dir(one.directory.join(STAGES)).ok()?;
            Some((at, stages.next()?.ok()?.file_name().into_string().ok()?))
        })
    }

    /// It waits no longer.
    ///
    /// # Errors
    /// It does not wait there.
    pub fn go_on(&self, at: usize, stage: &str) -> Result<()> {
        Ok(std::fs::remove_file(self.orchestrators[at].directory.join(STAGES).join(stage))?)
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
        Ok(self.whole_status().await?["capabilities"][capability].take())
    }

    /// The whole of it.
    ///
    /// # Errors
    /// None answers.
    pub async fn whole_status(&self) -> Result<Value> {
        for one in &self.orchestrators {
            let http = Http::new(&format!("http://127.0.0.1:{}", one.port), Duration::from_secs(2));
            if let Ok(answer) = http.get("/api/v1/status").await
                && answer.status.is_success()
            {
                return answer.json();
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
            if let Ok(status) = self.status(self.capability).await {
                if wanted(&status) {
                    return Ok(status);
                }
                last = status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("waited {patience:?} in vain for {what}; last seen: {last:#}")
    }

    /// The URLs of both databases, who has the rows at first first.
    pub fn databases(&self) -> (String, String) {
        let [legacy, modern] = &self.behind;
        (legacy.database.clone(), modern.database.clone())
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

    async fn gateway(&self, number: usize, orchestrators: &[u16], admin: u16) -> Result<Member> {
        let mut cables = Vec::new();
        for port in orchestrators {
            cables.push(Cable::to(*port).await?);
        }
        let (port, name) = (free_port()?, format!("gateway-{number}"));
        self.member(&name, "gateway", &addresses(&cables), "", [port, admin, free_port()?], port, cables)
    }

    async fn agent(&self, name: &str, orchestrators: &[u16]) -> Result<Member> {
        let mut cables = Vec::new();
        for port in orchestrators {
            cables.push(Cable::to(*port).await?);
        }
        let listen = free_port()?;
        self.member(name, "agent", &addresses(&cables), "", [free_port()?, free_port()?, listen], listen, cables)
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
        std::fs::create_dir_all(directory.join(STAGES))?;
        // Gateways that know each other's markers and tokens.
        for key in ["marker.key", "token.key"] {
            std::fs::write(directory.join("state").join(key), [7; 32])?;
        }
        let Common { sections, default, validity, directory: all, .. } = self;
        let rules = all.join("rules");
        let text = format!(
            r#"[gateway]
name = "{name}"
listen = ["127.0.0.1:{listen}"]
admin = "127.0.0.1:{admin}"
default = "{default}"
expose_side = true
hold_wait = "60s"

[orchestrator]
{orchestrator}rules = "{}"
switch_deadline = "40s"
validity = "{validity}"

{more}
[agent]
listen = "127.0.0.1:{agent}"
{sections}"#,
            rules.display()
        );
        std::fs::write(directory.join("ficus.toml"), text)?;
        Ok(Member { process: start(&directory, part, &self.environment(part))?, directory, port, cables })
    }

    fn environment(&self, part: &str) -> Vec<(String, String)> {
        let waits = self.waits && part == "orchestrator";
        waits.then(|| ("FICUS_WAIT_AT".to_owned(), STAGES.to_owned())).into_iter().collect()
    }
}

/// Where an orchestrator says at which stage it waits.
const STAGES: &str = "stages";

/// How the school knows its users.
const IDENTITY: &str = r#"
[identity.django]
upstream = "monolith"
secret_key_file = "SECRET"
user_table = "accounts_customuser"
role_column = "user_type"
roles = { 1 = "admin", 2 = "staff", 3 = "student" }
"#;

impl Behind {
    fn section(&self) -> String {
        let Behind { name, port, health, database } = self;
        format!("\n[upstream.{name}]\naddress = \"127.0.0.1:{port}\"\nhealth = \"{health}\"\ndatabase = \"{database}\"\n")
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
