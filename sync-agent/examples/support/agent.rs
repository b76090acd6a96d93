//! The agent as a process of its own: what it is told on its command line, and the handle that the bench holds. Which mappings
//! there are, the bench says (`maps`).

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::mapping::{ColumnMap, ColumnSource, Rows, TableMap};
use ficus_rules::wire::{CapabilityOrders, Fences, Orders, SyncOrder};
use ficus_sync_agent::{Agent, Config, Resolved, backlog};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::Result;
use crate::machine::{PATIENCE, cpu_of_process};

/// The first argument of the process.
pub(crate) const ROLE: &str = "as-agent";

/// The capability of those who carry rows, and of those who only read.
const CAPABILITY: &str = "bench";
const READER: &str = "reader";

/// A process.
pub(crate) struct Running {
    child: Child,
    /// It ends when this is closed.
    stdin: Option<ChildStdin>,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts one, for a mapping: `stream`, `remove`, or for the reader `ready` and `read`.
    pub(crate) fn start(task: &str, map: &str, urls: &[String; 2]) -> Result<Running> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ROLE, task, map]).args(urls).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().ok_or("a pipe was asked for")?);
        Ok(Running { child, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// Waits until it says a word; the number beside it.
    pub(crate) async fn says(&mut self, word: &str) -> Result<u64> {
        let wanted = async {
            while let Some(line) = self.lines.next_line().await? {
                match line.split_once(' ') {
                    Some((said, number)) if said == word => return Ok(number.parse()?),
                    Some(("trouble", what)) => return Err(what.to_owned().into()),
                    _ => {}
                }
            }
            Err(format!("the agent ended and did not say {word}").into())
        };
        tokio::time::timeout(PATIENCE, wanted).await.map_err(|_| format!("the agent does not say {word}"))?
    }

    /// Seconds of CPU so far.
    pub(crate) fn cpu(&self) -> f64 {
        self.child.id().map_or(0.0, cpu_of_process)
    }

    /// The most memory that it has ever had resident, in MB.
    pub(crate) fn most_memory(&self) -> f64 {
        let status = self.child.id().and_then(|id| std::fs::read_to_string(format!("/proc/{id}/status")).ok()).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0 / 1e6
    }

    /// Ends it in good order.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.stdin.take());
        let status = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await??;
        if status.success() { Ok(()) } else { Err(format!("the agent ended with {status}").into()) }
    }
}

/// What the process does.
pub(crate) async fn run(arguments: &[String]) -> Result<()> {
    let [task, map, legacy, modern] = arguments else { return Err("a task, a mapping and two URLs are needed".into()) };
    let resolved = Resolved {
        legacy: "legacy".into(),
        legacy_url: legacy.clone(),
        modern: "modern".into(),
        modern_url: modern.clone(),
        tables: crate::maps::tables(map)?,
    };
    match task.as_str() {
        "stream" => stream(resolved, SyncOrder::Run).await,
        "remove" => stream(resolved, SyncOrder::Remove).await,
        "ready" => Ok(backlog::prepare(READER, &resolved).await?),
        "read" => {
            let entries = backlog::read(READER, &resolved, Config::new("bench", BTreeMap::new()).batch_rows).await?;
            println!("read {entries}");
            hold().await
        }
        other => Err(format!("{other} is no task").into()),
    }
}

/// Copies if there is no copy yet, then streams, until its standard input ends; or takes the capability out.
async fn stream(resolved: Resolved, sync: SyncOrder) -> Result<()> {
    let agent = Agent::start_resolved(Config::new("bench", BTreeMap::new()), BTreeMap::from([(CAPABILITY.to_owned(), resolved)])).await?;
    let removes = sync == SyncOrder::Remove;
    let orders = CapabilityOrders {
        epoch: 1,
        owner: Side::Legacy,
        sync,
        may_copy: true,
        fenced: Fences { legacy: false, modern: true },
        mark_end: None,
        strays: ficus_rules::plan::StrayWrites::default(),
        carry_strays: false,
        end_sessions: false,
        leaves_aside: false,
        verify: None,
        raise_sequences: None,
        repair: None,
    };
    agent.order(Orders { generation: 1, rules: Vec::new(), capabilities: BTreeMap::from([(CAPABILITY.to_owned(), orders)]) });
    let deadline = Instant::now() + PATIENCE;
    let mut copied = false;
    loop {
        let report = agent.report().capabilities.remove(CAPABILITY).unwrap_or_default();
        if let Some(trouble) = report.trouble {
            println!("trouble {trouble}");
            return Err(trouble.into());
        }
        if report.backfill.complete && !copied {
            println!("copied {}", report.backfill.done);
            copied = true;
        }
        if removes && report.removed {
            agent.stop().await;
            return Ok(());
        }
        if report.forward.live && report.reverse.live {
            println!("live 0");
            break;
        }
        if Instant::now() > deadline {
            return Err("the streams do not begin".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    hold().await?;
    agent.stop().await;
    Ok(())
}

/// Until whoever started it wants no more.
async fn hold() -> Result<()> {
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    Ok(())
}

/// A pair of tables whose legacy key is `id`.
pub(crate) fn pair(legacy: &str, modern: &str, modern_key: &str, columns: Vec<ColumnMap>) -> TableMap {
    TableMap {
        events: Vec::new(),
        source: format!("bench.toml: {legacy}"),
        legacy: legacy.into(),
        modern: modern.into(),
        legacy_key: "id".into(),
        modern_key: modern_key.into(),
        sequence: None,
        columns,
        only: false,
        keep_legacy: Vec::new(),
        keep_modern: Vec::new(),
        zero_dates: ficus_rules::mapping::ZeroDates::default(),
        rows: Rows::default(),
    }
}

/// A column that has another name in modern.
pub(crate) fn renamed(legacy: &str, modern: &str) -> ColumnMap {
    ColumnMap { modern: modern.into(), from: ColumnSource::Column(legacy.into()) }
}
