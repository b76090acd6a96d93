//! A world: one directory with a monolith, a new service and a `ficus`, all of them running.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::http::Http;
use crate::operator::Operator;
use crate::process::{Process, free_port};
use crate::school::{self, Database};

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Users that the monolith is seeded with.
    pub users: u32,
    /// The rule files' directory to copy.
    pub rules: PathBuf,
    /// Environment of `ficus run`, or of the agent where the parts are apart.
    pub environment: Vec<(String, String)>,
    /// Orchestrator, gateway and agent are processes of their own.
    pub apart: bool,
    /// The monolith's database on a PostgreSQL server, empty; a file of SQLite in the directory where it is not said.
    pub school_database: Option<String>,
    /// The service's database, empty; a file of SQLite in the directory where it is not said.
    pub service_database: Option<String>,
    /// The admin API asks for it: an admin. With `-operator` or `-viewer` after it, it is one of that role.
    pub token: Option<String>,
    /// More sections of `ficus.toml`.
    pub sections: String,
    /// Nothing in it fails for want of speed: a switch may take a minute, a probe some seconds, and gates judge no latency. For tests
    /// that look on while it goes on, on whatever machine.
    pub patient: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            users: 300,
            rules: school::folder().join("rules"),
            environment: Vec::new(),
            apart: false,
            school_database: None,
            service_database: None,
            token: None,
            sections: String::new(),
            patient: false,
        }
    }
}

/// A running world. Dropping it ends its processes.
#[derive(Debug)]
pub struct World {
    /// The directory with everything in it.
    pub directory: PathBuf,
    /// `ficus run`, or the orchestrator where the parts are apart.
    pub ficus: Process,
    /// The gateway, where the parts are apart.
    pub gateway: Option<Process>,
    /// The agent, where the parts are apart.
    pub agent: Option<Process>,
    /// The users service.
    pub service: Process,
    /// gunicorn.
    pub monolith: Process,
    ports: Ports,
    school_database: Database,
    service_database: String,
    plan: Plan,
}

/// Who listens where.
#[derive(Debug, Clone, Copy)]
struct Ports {
    gateway: u16,
    admin: u16,
    gateway_admin: u16,
    agent: u16,
    monolith: u16,
    service: u16,
}

impl World {
    /// Makes and starts everything in `directory`, which must be empty or missing.
    ///
    /// # Errors
    /// What could not be made or started.
    pub async fn start(directory: &Path, plan: Plan) -> Result<World> {
        std::fs::create_dir_all(directory.join("logs"))?;
        let directory = directory.canonicalize()?;
        let ports = Ports {
            gateway: free_port()?,
            admin: free_port()?,
            gateway_admin: free_port()?,
            agent: free_port()?,
            monolith: free_port()?,
            service: free_port()?,
        };
        let school_database = match &plan.school_database {
            Some(url) => Database::server(url, &directory),
            None => Database::file(&directory),
        };
        school::seed(&school_database, plan.users).await?;
        let service_database =
            plan.service_database.clone().unwrap_or_else(|| format!("sqlite://{}", directory.join("users.sqlite3").display()));
        school::migrate_service(&service_database).await?;
        std::fs::write(directory.join("django-secret.key"), school::SECRET_KEY)?;
        let mut configured = configuration(ports, &school_database.url(), &service_database);
        if let Some(token) = &plan.token {
            std::fs::write(directory.join("admin.token"), token)?;
            configured = configured.replacen("[orchestrator]\n", "[orchestrator]\ntoken_file = \"admin.token\"\n", 1);
            for role in ["operator", "viewer"] {
                std::fs::write(directory.join(format!("{role}.token")), format!("{token}-{role}"))?;
                configured += &format!("\n[orchestrator.token.{role}]\nrole = \"{role}\"\nfile = \"{role}.token\"\n");
            }
        }
        if plan.patient {
            configured = configured.replacen("[orchestrator]\n", "[orchestrator]\nswitch_deadline = \"60s\"\n", 1);
            configured = configured.replacen("[gateway]\n", "[gateway]\nhold_wait = \"90s\"\n", 1);
            for upstream in ["monolith", "users-service"] {
                configured += &format!("\n[upstream.{upstream}.probe]\ntimeout = \"8s\"\n");
            }
        }
        configured += &plan.sections;
        std::fs::write(directory.join("ficus.toml"), configured)?;
        copy_rules(&plan.rules, &directory.join("rules"))?;
        if plan.patient {
            let path = directory.join("rules/users.toml");
            let rules = std::fs::read_to_string(&path).context("the rules of a patient world")?;
            std::fs::write(&path, unhurried(&rules))?;
        }
        let log = |name: &str| directory.join("logs").join(name);
        let monolith = school::start_monolith(&school_database, ports.monolith, &log("monolith.log"))?;
        let jwks = jwks(ports, plan.apart);
        let service = school::start_service(&service_database, ports.service, &jwks, &log("users-service.log"))?;
        let (ficus, gateway, agent) = match plan.apart {
            false => (start_part(&directory, "run", &plan.environment)?, None, None),
            true => (
                start_part(&directory, "orchestrator", &[])?,
                Some(start_part(&directory, "gateway", &[])?),
                Some(start_part(&directory, "agent", &plan.environment)?),
            ),
        };
        let mut world = World { directory, ficus, gateway, agent, service, monolith, ports, school_database, service_database, plan };
        world.until_up().await?;
        Ok(world)
    }

    /// Starts `ficus run` again, after it ended or was killed.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart_ficus(&mut self, environment: &[(String, String)]) -> Result<()> {
        self.ficus = start_part(&self.directory, "run", environment)?;
        self.until_up().await
    }

    /// Starts the gateway again, where the parts are apart, and waits until it answers.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart_gateway(&mut self) -> Result<()> {
        self.gateway = Some(start_part(&self.directory, "gateway", &[])?);
        school::until_up(&self.gateway_url(), "/health/").await
    }

    /// Starts the orchestrator again, where the parts are apart.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart_orchestrator(&mut self) -> Result<()> {
        self.ficus = start_part(&self.directory, "orchestrator", &[])?;
        school::until_up(&self.admin_url(), "/health").await
    }

    /// Starts the agent again, where the parts are apart.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn restart_agent(&mut self, environment: &[(String, String)]) -> Result<()> {
        self.agent = Some(start_part(&self.directory, "agent", environment)?);
        Ok(())
    }

    /// Starts the monolith again.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart_monolith(&mut self) -> Result<()> {
        self.monolith = school::start_monolith(&self.school_database, self.ports.monolith, &self.directory.join("logs/monolith.log"))?;
        let base = self.monolith_url();
        school::until_up_while(&base, "/health/", || self.monolith.alive()).await
    }

    /// Starts the users service again.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart_service(&mut self) -> Result<()> {
        let jwks = jwks(self.ports, self.plan.apart);
        self.service =
            school::start_service(&self.service_database, self.ports.service, &jwks, &self.directory.join("logs/users-service.log"))?;
        self.until_service().await
    }

    async fn until_service(&mut self) -> Result<()> {
        let base = format!("http://127.0.0.1:{}", self.ports.service);
        school::until_up_while(&base, "/users/health/", || self.service.alive()).await
    }

    async fn until_up(&mut self) -> Result<()> {
        self.until_monolith().await?;
        let (admin, gateway) = (self.admin_url(), self.gateway_url());
        self.until_service().await?;
        school::until_up_while(&admin, "/health", || self.ficus.alive()).await?;
        let front = self.gateway.as_mut().unwrap_or(&mut self.ficus);
        school::until_up_while(&gateway, "/health/", || front.alive()).await
    }

    /// Until the monolith answers. Its port was free a moment ago; if somebody else had it when gunicorn wanted it, gunicorn
    /// gives up after seconds and is started once more.
    async fn until_monolith(&mut self) -> Result<()> {
        let base = self.monolith_url();
        let monolith = &mut self.monolith;
        match school::until_up_while(&base, "/health/", || monolith.alive()).await {
            Err(error) if monolith.ended().is_some() && monolith.log().contains("Connection in use") => {
                eprintln!("the monolith is started once more: {error:#}");
                self.restart_monolith().await
            }
            answer => answer,
        }
    }

    /// What the world was made of.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The public URL.
    pub fn gateway_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.gateway)
    }

    /// Where the agent shows its metrics, where the parts are apart.
    pub fn agent_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.agent)
    }

    /// The admin URL.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.admin)
    }

    /// The monolith's own URL, past the gateway.
    pub fn monolith_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.monolith)
    }

    /// The monolith's database.
    pub fn school_database(&self) -> &Database {
        &self.school_database
    }

    /// The URL of the service's database.
    pub fn service_database(&self) -> &str {
        &self.service_database
    }

    /// A client of the public URL.
    pub fn http(&self) -> Http {
        Http::new(&self.gateway_url(), Duration::from_secs(20))
    }

    /// Somebody with the command line.
    ///
    /// # Errors
    /// The binary was not built.
    pub fn operator(&self) -> Result<Operator> {
        Operator::new(&self.directory.join("ficus.toml"), &self.admin_url())
    }
}

fn start_part(directory: &Path, part: &str, environment: &[(String, String)]) -> Result<Process> {
    let mut command = Command::new(school::binary("ficus")?);
    command.args(["--config", "ficus.toml", part]).current_dir(directory);
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let log = if part == "run" { "ficus.log".into() } else { format!("ficus-{part}.log") };
    Process::start(&format!("ficus {part}"), &mut command, &directory.join("logs").join(log))
}

/// Where the service finds the key of the tokens that the gateway gives it.
fn jwks(ports: Ports, apart: bool) -> String {
    format!("http://127.0.0.1:{}/.well-known/jwks.json", if apart { ports.gateway_admin } else { ports.admin })
}

fn configuration(ports: Ports, school_database: &str, service_database: &str) -> String {
    let Ports { gateway, admin, gateway_admin, agent, monolith, service } = ports;
    format!(
        r#"# The process: needs a restart. The rules in rules/ do not.

[gateway]
listen = ["127.0.0.1:{gateway}"]
admin = "127.0.0.1:{gateway_admin}"
default = "monolith"
expose_side = true

[orchestrator]
listen = "127.0.0.1:{admin}"

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
secret_key_file = "django-secret.key"
user_table = "accounts_customuser"
role_column = "user_type"
roles = {{ 1 = "admin", 2 = "staff", 3 = "student" }}
"#
    )
}

/// The rules with times in their gates that a crowded machine keeps.
fn unhurried(rules: &str) -> String {
    let mut gate = "";
    let mut unhurried = String::new();
    for line in rules.lines() {
        if line.starts_with('[') {
            gate = line;
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        unhurried += match (gate, key) {
            (gate, "max") if gate.starts_with("[gate.latency_p") => "max = \"40s\"",
            (gate, "floor") if gate.starts_with("[gate.latency_p") => "floor = \"30s\"",
            ("[gate.lag]", "max") => "max = \"60s\"",
            _ => line,
        };
        unhurried.push('\n');
    }
    unhurried
}

fn copy_rules(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("no rules in {}", from.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
