//! The live screen: a few lines that are redrawn on a terminal, and a log of what happened above them. Without a terminal,
//! only the log.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossterm::terminal::{Clear, ClearType};
use crossterm::{cursor, queue};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ledger::Ledger;
use crate::operator::Operator;

/// Redraws until it is stopped.
pub(crate) struct Screen {
    shared: Arc<Mutex<Shared>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<u64>,
}

struct Shared {
    started: Instant,
    live: bool,
    drawn: u16,
}

impl Screen {
    /// Starts to draw what the operator sees and the ledger counts, and to watch the memory of process `ficus`.
    pub(crate) fn start(operator: Operator, ledger: Ledger, ficus: u32) -> Screen {
        let live = std::io::stdout().is_terminal();
        let shared = Arc::new(Mutex::new(Shared { started: Instant::now(), live, drawn: 0 }));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(draw(Arc::clone(&shared), operator, ledger, ficus, stopped));
        Screen { shared, stop, task }
    }

    /// Adds a line to the log.
    pub(crate) fn say(&self, text: &str) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.erase();
        println!("{:>6.1} s  {text}", shared.started.elapsed().as_secs_f64());
    }

    /// Stops drawing; the most memory that `ficus` used, in bytes.
    pub(crate) async fn stop(self) -> u64 {
        let _ = self.stop.send(true);
        let most = self.task.await.unwrap_or(0);
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).erase();
        most
    }
}

impl Shared {
    fn erase(&mut self) {
        if self.drawn > 0 {
            let _ = queue!(std::io::stdout(), cursor::MoveUp(self.drawn), Clear(ClearType::FromCursorDown));
            self.drawn = 0;
        }
    }

    fn redraw(&mut self, lines: &[String]) {
        if self.live {
            self.erase();
            // A line that the terminal breaks in two would not be erased as one.
            let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
            for line in lines {
                println!("{}", line.chars().take(width.saturating_sub(1)).collect::<String>());
            }
            self.drawn = u16::try_from(lines.len()).unwrap_or(0);
            let _ = std::io::stdout().flush();
        }
    }
}

async fn draw(shared: Arc<Mutex<Shared>>, operator: Operator, ledger: Ledger, ficus: u32, mut stopped: watch::Receiver<bool>) -> u64 {
    let mut most = 0;
    let mut last = (Instant::now(), 0, HashMap::new());
    let mut rate = String::new();
    loop {
        let resident = memory(ficus, "VmRSS:");
        // The kernel's own high-water mark: a peak between two looks counts too.
        most = most.max(memory(ficus, "VmHWM:"));
        let status = operator.status("users").await.unwrap_or(Value::Null);
        if last.0.elapsed() >= Duration::from_secs(1) {
            let now = (Instant::now(), ledger.requests(), ledger.sides());
            let seconds = last.0.elapsed().as_secs_f64();
            let on = |side: &str| now.2.get(side).copied().unwrap_or(0) - last.2.get(side).copied().unwrap_or(0);
            let per_second = (now.1 - last.1) as f64 / seconds;
            rate = format!("{per_second:.0} requests/s: {} by the monolith, {} by the new service", on("legacy"), on("modern"));
            last = now;
        }
        let lines = lines(&status, &ledger, &rate, resident);
        shared.lock().unwrap_or_else(PoisonError::into_inner).redraw(&lines);
        tokio::select! {
            _ = stopped.changed() => return most,
            () = tokio::time::sleep(Duration::from_millis(250)) => {}
        }
    }
}

fn lines(status: &Value, ledger: &Ledger, rate: &str, memory: u64) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let agent = &status["agent"];
    let (done, total) = (agent["backfill"]["done"].as_u64().unwrap_or(0), agent["backfill"]["total"].as_u64().unwrap_or(0));
    // The ramp is of callers; who owns serves all of them.
    let reads = if status["owner"] == "modern" { 100 } else { status["serving"]["reads"].as_u64().unwrap_or(0) / 10_000 };
    let failures: u64 = ledger.failures().values().sum();
    vec![
        String::new(),
        format!(
            "  users     {:<12} owner {:<7} reads by modern {reads:>3} %   {}",
            text(&status["phase"]),
            text(&status["owner"]),
            text(&status["stage"])
        ),
        format!("  copy      {} {done}/{total} rows", bar(done, total)),
        format!(
            "  lag       legacy→modern {:.3} s   modern→legacy {:.3} s",
            agent["forward"]["lag_seconds"].as_f64().unwrap_or(0.0),
            agent["reverse"]["lag_seconds"].as_f64().unwrap_or(0.0)
        ),
        format!("  traffic   {rate}"),
        format!(
            "  ledger    {} requests, {failures} failed, {} writes acknowledged, {} stale",
            ledger.requests(),
            ledger.acknowledged(),
            ledger.stale_reads().len()
        ),
        format!("  memory    {} MB", memory / 1_000_000),
    ]
}

fn bar(done: u64, total: u64) -> String {
    const WIDTH: u64 = 30;
    let full = (done.min(total) * WIDTH).checked_div(total).unwrap_or(0) as usize;
    format!("[{}{}]", "█".repeat(full), "·".repeat(WIDTH as usize - full))
}

/// A figure of the kernel about a process's memory, in bytes; none once the process has ended.
fn memory(process: u32, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(figure));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::memory;

    #[test]
    fn what_was_given_back_still_counts() {
        let used = vec![1_u8; 64 << 20];
        drop(std::hint::black_box(used));
        assert!(memory(std::process::id(), "VmHWM:") > 64 << 20);
        assert!(memory(std::process::id(), "VmRSS:") > 0);
        assert_eq!(memory(u32::MAX, "VmHWM:"), 0);
    }
}
