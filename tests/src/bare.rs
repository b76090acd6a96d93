//! A bare world: `ficus run` before upstreams of the test's own, without databases or with databases that they have made.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::http::Http;
use crate::operator::Operator;
use crate::process::{Process, free_port};
use crate::school;

/// A running `ficus` with upstreams elsewhere.
#[derive(Debug)]
pub struct Bare {
    /// The directory with configuration, rules, state and logs.
    pub directory: PathBuf,
    /// `ficus run`.
    pub ficus: Process,
    gateway: u16,
    admin: u16,
}

impl Bare {
    /// Starts it. The first upstream is the default one; `rules` are file names and texts.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start(directory: &Path, upstreams: &[(&str, u16)], rules: &[(&str, &str)]) -> Result<Bare> {
        Bare::start_with(directory, upstreams, rules, "").await
    }

    /// Starts it, with more sections in `ficus.toml`.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start_with(directory: &Path, upstreams: &[(&str, u16)], rules: &[(&str, &str)], more: &str) -> Result<Bare> {
        Bare::begin(directory, &without_databases(upstreams), rules, more, &[]).await
    }

    /// Starts it, before upstreams that have databases.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start_over(directory: &Path, upstreams: &[(&str, u16, &str)], rules: &[(&str, &str)]) -> Result<Bare> {
        Bare::start_over_with(directory, upstreams, rules, "").await
    }

    /// The same, with more sections in `ficus.toml`.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start_over_with(directory: &Path, upstreams: &[(&str, u16, &str)], rules: &[(&str, &str)], more: &str) -> Result<Bare> {
        let upstreams: Vec<_> = upstreams.iter().map(|(name, port, database)| (*name, *port, Some(*database))).collect();
        Bare::begin(directory, &upstreams, rules, more, &[]).await
    }

    /// Starts it with an environment, and an admin API that asks for the token in `secrets/admin`, which must be there.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn start_guarded(
        directory: &Path,
        upstreams: &[(&str, u16)],
        rules: &[(&str, &str)],
        more: &str,
        environment: &[(&str, &str)],
    ) -> Result<Bare> {
        let more = format!("{more}\n[orchestrator]\ntoken_file = \"secrets/admin\"\n");
        Bare::begin(directory, &without_databases(upstreams), rules, &more, environment).await
    }

    async fn begin(
        directory: &Path,
        upstreams: &[(&str, u16, Option<&str>)],
        rules: &[(&str, &str)],
        more: &str,
        environment: &[(&str, &str)],
    ) -> Result<Bare> {
        std::fs::create_dir_all(directory.join("rules"))?;
        let directory = directory.canonicalize()?;
        let (gateway, admin) = (free_port()?, free_port()?);
        let default = upstreams.first().map_or("", |(name, ..)| name);
        let mut config = format!("[gateway]\nlisten = [\"127.0.0.1:{gateway}\"]\ndefault = \"{default}\"\nexpose_side = true\n\n");
        let listen = format!("[orchestrator]\nlisten = \"127.0.0.1:{admin}\"\n");
        let more =
            if more.contains("[orchestrator]\n") { more.replacen("[orchestrator]\n", &listen, 1) } else { format!("{listen}{more}") };
        for (name, port, database) in upstreams {
            config.push_str(&format!("\n[upstream.{name}]\naddress = \"127.0.0.1:{port}\"\n"));
            config.extend(database.map(|url| format!("database = \"{url}\"\n")));
        }
        config.push_str(&more);
        std::fs::write(directory.join("ficus.toml"), config)?;
        for (name, text) in rules {
            std::fs::write(directory.join("rules").join(name), text)?;
        }
        let ficus = start_ficus(&directory, environment)?;
        let bare = Bare { directory, ficus, gateway, admin };
        school::until_up(&bare.admin_url(), "/ready").await?;
        bare.until_listening().await?;
        Ok(bare)
    }

    async fn until_listening(&self) -> Result<()> {
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.gateway)).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        anyhow::bail!("the gateway does not listen; its log:\n{}", self.ficus.log())
    }

    /// The public URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.gateway)
    }

    /// The public port.
    pub fn port(&self) -> u16 {
        self.gateway
    }

    /// The admin URL.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.admin)
    }

    /// A client of the public URL.
    pub fn http(&self) -> Http {
        Http::new(&self.url(), Duration::from_secs(60))
    }

    /// Somebody with the command line.
    ///
    /// # Errors
    /// The binary was not built.
    pub fn operator(&self) -> Result<Operator> {
        Operator::new(&self.directory.join("ficus.toml"), &self.admin_url())
    }
}

fn without_databases<'a>(upstreams: &[(&'a str, u16)]) -> Vec<(&'a str, u16, Option<&'a str>)> {
    upstreams.iter().map(|(name, port)| (*name, *port, None)).collect()
}

fn start_ficus(directory: &Path, environment: &[(&str, &str)]) -> Result<Process> {
    std::fs::create_dir_all(directory.join("logs"))?;
    let mut command = Command::new(school::binary("ficus")?);
    command.args(["--config", "ficus.toml", "run"]).current_dir(directory).envs(environment.iter().copied());
    Process::start("ficus", &mut command, &directory.join("logs/ficus.log"))
}
