//! An operator: types `ficus` commands and reads what they print.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::http::Http;
use crate::school;

/// Somebody with the command line.
#[derive(Debug, Clone)]
pub struct Operator {
    binary: PathBuf,
    config: PathBuf,
    admin: Http,
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Printed {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Operator {
    /// With a configuration and the admin API's URL.
    ///
    /// # Errors
    /// The binary was not built.
    pub fn new(config: &Path, admin: &str) -> Result<Operator> {
        Ok(Operator { binary: school::binary("ficus")?, config: config.to_owned(), admin: Http::new(admin, Duration::from_secs(5)) })
    }

    /// Types `ficus` with arguments, whatever comes of it.
    ///
    /// # Errors
    /// The command cannot be started.
    pub async fn try_type(&self, arguments: &[&str]) -> Result<Printed> {
        let output = Command::new(&self.binary)
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Printed { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) })
    }

    /// Types a wish until it is not refused any more: right after a start some preconditions are not measured yet, and a gateway
    /// may be a moment behind.
    ///
    /// # Errors
    /// It is refused for so long, or the command cannot be started.
    pub async fn until_accepted(&self, wish: &str, capability: &str, patience: Duration) -> Result<()> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let printed = self.try_type(&[wish, capability]).await?;
            if printed.code == 0 || !printed.err.contains("refused") {
                return Ok(());
            }
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "{wish} was refused for {patience:?}: {}", printed.err);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Types `ficus` with arguments; it must succeed.
    ///
    /// # Errors
    /// It failed.
    pub async fn type_in(&self, arguments: &[&str]) -> Result<String> {
        let printed = self.try_type(arguments).await?;
        if printed.code != 0 {
            bail!("`ficus {}` ended with {}: {}{}", arguments.join(" "), printed.code, printed.out, printed.err);
        }
        Ok(printed.out)
    }

    /// The state of a capability, as `ficus status --json` has it (asked of the API, to be quick).
    ///
    /// # Errors
    /// The API does not answer, or does not know the capability.
    pub async fn status(&self, capability: &str) -> Result<Value> {
        let mut status = self.admin.get("/api/v1/status").await?.json()?;
        match status["capabilities"][capability].take() {
            Value::Null => bail!("no capability `{capability}` in {status}"),
            state => Ok(state),
        }
    }

    /// The phase of a capability.
    ///
    /// # Errors
    /// As [`Operator::status`].
    pub async fn phase(&self, capability: &str) -> Result<String> {
        let status = self.status(capability).await?;
        Ok(status["phase"].as_str().context("a status without a phase")?.to_owned())
    }

    /// Waits until a capability's status is as wanted.
    ///
    /// # Errors
    /// It is not in time; the error has the last status.
    pub async fn until(&self, capability: &str, what: &str, patience: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + patience;
        let mut last = Value::Null;
        while Instant::now() < deadline {
            if let Ok(status) = self.status(capability).await {
                if wanted(&status) {
                    return Ok(status);
                }
                last = status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("waited {patience:?} in vain for {what}; last seen: {last:#}")
    }

    /// Waits for a phase.
    ///
    /// # Errors
    /// As [`Operator::until`].
    pub async fn until_phase(&self, capability: &str, phase: &str, patience: Duration) -> Result<Value> {
        self.until(capability, &format!("phase {phase}"), patience, |status| status["phase"] == phase).await
    }
}
