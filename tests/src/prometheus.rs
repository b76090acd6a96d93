//! A real Prometheus that scrapes a world every second, by the configuration and the alert rules that are shipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::http::Http;
use crate::process::{Process, free_port};
use crate::school;

/// The target in the shipped configuration.
const SHIPPED_TARGET: &str = "127.0.0.1:7070";

/// The folder with everything that watches ficus.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dashboards")
}

/// A running Prometheus. Dropping it ends it.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    http: Http,
    started: SystemTime,
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its values in order of time; one of an instant query.
    pub values: Vec<f64>,
}

impl Series {
    /// It has a value that can be drawn.
    pub fn is_drawn(&self) -> bool {
        self.values.iter().any(|value| value.is_finite())
    }

    /// A label's value; empty when it has none, as in Prometheus.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl Prometheus {
    /// Starts one in `directory` that scrapes `target` (`host:port`), and what `jobs` say (the lines of `scrape_configs`), and waits
    /// until it has.
    ///
    /// # Errors
    /// It is not installed, does not come up, or the target does not answer.
    pub async fn start(directory: &Path, target: &str, jobs: &str) -> Result<Prometheus> {
        let prometheus = Prometheus::launch(directory, target, jobs, free_port()?).await?;
        prometheus.until_scraped().await?;
        Ok(prometheus)
    }

    /// Starts one that scrapes itself, for whoever only needs the rules.
    ///
    /// # Errors
    /// It is not installed, or does not come up.
    pub async fn start_alone(directory: &Path) -> Result<Prometheus> {
        let port = free_port()?;
        Prometheus::launch(directory, &format!("127.0.0.1:{port}"), "", port).await
    }

    /// Starts one at a port of the caller's, where one may have been before, that scrapes itself and what `jobs` say.
    ///
    /// # Errors
    /// It is not installed, or does not come up.
    pub async fn start_at(port: u16, directory: &Path, jobs: &str) -> Result<Prometheus> {
        Prometheus::launch(directory, &format!("127.0.0.1:{port}"), jobs, port).await
    }

    /// Kills it.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    async fn launch(directory: &Path, target: &str, jobs: &str, port: u16) -> Result<Prometheus> {
        let shipped = folder().join("prometheus");
        std::fs::create_dir_all(directory)?;
        let config = std::fs::read_to_string(shipped.join("prometheus.yml"))?;
        ensure!(config.contains(SHIPPED_TARGET), "prometheus.yml does not scrape the default admin listener {SHIPPED_TARGET}");
        let config = config.replace(SHIPPED_TARGET, target).replace("_interval: 5s", "_interval: 1s");
        std::fs::write(directory.join("prometheus.yml"), config + jobs)?;
        for rules in ["recording.yml", "alerts.yml"] {
            std::fs::copy(shipped.join(rules), directory.join(rules))?;
        }
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new("prometheus");
        command.current_dir(directory).args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]);
        command.arg(format!("--web.listen-address={address}"));
        let process = Process::start("prometheus", &mut command, &directory.join("prometheus.log"));
        let process = process.context("run `make packages-test` first")?;
        let base = format!("http://{address}");
        school::until_up(&base, "/-/ready").await.with_context(|| process.log())?;
        let http = Http::new(&base, Duration::from_secs(10));
        Ok(Prometheus { process, http, started: SystemTime::now() })
    }

    /// What an expression is now.
    ///
    /// # Errors
    /// Prometheus refuses it.
    pub async fn query(&self, expression: &str) -> Result<Vec<Series>> {
        let data = self.ask("query", &[("query", expression)]).await?;
        series(&data)
    }

    /// What an expression was in every second since the start.
    ///
    /// # Errors
    /// Prometheus refuses it.
    pub async fn query_range(&self, expression: &str) -> Result<Vec<Series>> {
        self.query_since(expression, self.started).await
    }

    /// What an expression was in every second since a moment.
    ///
    /// # Errors
    /// Prometheus refuses it.
    pub async fn query_since(&self, expression: &str, since: SystemTime) -> Result<Vec<Series>> {
        let start = unix(since)?.to_string();
        let end = unix(SystemTime::now())?.to_string();
        let data = self.ask("query_range", &[("query", expression), ("start", &start), ("end", &end), ("step", "1")]).await?;
        series(&data)
    }

    /// Alert rules as Prometheus sees them: `name`, `query`, `labels`, `annotations`, `state`, `health`, `lastError`.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn alerts(&self) -> Result<Vec<Value>> {
        self.rules("alert").await
    }

    /// Recording rules as Prometheus sees them: `name`, `query`, `health`, `lastError`.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn recorded(&self) -> Result<Vec<Value>> {
        self.rules("record").await
    }

    /// The names of all metrics that the targets export, without the endings of histograms.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn exported(&self) -> Result<Vec<String>> {
        let told = self.ask("metadata", &[]).await?;
        Ok(told.as_object().context("metadata without names")?.keys().cloned().collect())
    }

    async fn rules(&self, kind: &str) -> Result<Vec<Value>> {
        let data = self.ask("rules", &[("type", kind)]).await?;
        let groups = data["groups"].as_array().context("rules without groups")?;
        Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
    }

    async fn until_scraped(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let of = async |state: &str| anyhow::Ok(self.query(state).await?.len());
            if of("up == 1").await? > 0 && of("up == 0").await? == 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("nothing was scraped in 20 s; targets: {}", self.ask("targets", &[]).await?)
    }

    async fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let encode = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        let query = parameters.iter().map(encode).collect::<Vec<_>>().join("&");
        let mut answer = self.http.get(&format!("/api/v1/{what}?{query}")).await?.json()?;
        if answer["status"] != "success" {
            bail!("{}", answer["error"].as_str().unwrap_or("prometheus answered neither success nor an error"));
        }
        Ok(answer["data"].take())
    }
}

/// Reads a vector or a matrix.
fn series(data: &Value) -> Result<Vec<Series>> {
    let results = data["result"].as_array().context("an answer without a result")?;
    results.iter().map(one).collect()
}

fn one(result: &Value) -> Result<Series> {
    let labels = serde_json::from_value(result["metric"].clone())?;
    let points = match (&result["values"], &result["value"]) {
        (Value::Array(points), _) => points.as_slice(),
        (_, point) => std::slice::from_ref(point),
    };
    let value = |point: &Value| point[1].as_str()?.parse().ok();
    let values = points.iter().map(|point| value(point).with_context(|| format!("{point} is no sample"))).collect::<Result<_>>()?;
    Ok(Series { labels, values })
}

fn unix(time: SystemTime) -> Result<f64> {
    Ok(time.duration_since(UNIX_EPOCH)?.as_secs_f64())
}
