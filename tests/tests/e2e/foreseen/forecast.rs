//! What the plan says of the next switch or of the way back, and whether it came so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::operator::Operator;
use serde_json::Value;

pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Of two pauses of the same size, one is at most so many times the other.
pub(super) const FACTOR: u64 = 3;
/// What each cause takes, in milliseconds: so much that all the rest together is little, also on a busy machine.
pub(super) const LONG: u64 = 4_000;

/// Whoever looks ahead for the only capability there is.
pub(super) struct Forecast<'a> {
    pub(super) operator: &'a Operator,
    pub(super) capability: &'static str,
}

impl Forecast<'_> {
    /// What the plan says of the next switch, or of the way back, and by what.
    pub(super) async fn now(&self) -> Result<(Value, Value)> {
        let ahead: Value = serde_json::from_str(&self.operator.type_in(&["plan", "--json"]).await?)?;
        let one = &ahead["capabilities"][0];
        let path = &one["path"];
        let switch = if path["switch"].is_null() { &path["back"] } else { &path["switch"] };
        Ok((switch.clone(), one["pace"].clone()))
    }

    /// What it says as soon as it is as wanted.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&Value, &Value) -> bool) -> Result<Value> {
        let begun = Instant::now();
        loop {
            let (switch, pace) = self.now().await?;
            if wanted(&switch, &pace) {
                return Ok(switch);
            }
            ensure!(begun.elapsed() < PATIENCE, "{what} is not seen: {switch} {pace}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Moves the writes; for how long they were held.
    pub(super) async fn switch(&self, wish: &str) -> Result<u64> {
        self.operator.type_in(&[wish, self.capability, "--wait", "60s"]).await?;
        self.last_pause().await
    }

    pub(super) async fn last_pause(&self) -> Result<u64> {
        self.operator.status(self.capability).await?["last_pause_ms"].as_u64().context("a pause")
    }
}

/// The forecast names this stage as the longest, and is of the size of what happened.
pub(super) fn held(switch: &Value, cause: &str, happened: u64) -> Result<()> {
    let stages = switch["stages"].as_array().with_context(|| format!("stages: {switch}"))?;
    let longest = stages.iter().max_by_key(|stage| stage[1].as_u64()).context("a stage")?;
    ensure!(longest[0] == cause, "{cause} makes it long, {happened} ms: {switch}");
    let foreseen = switch["pause_ms"].as_u64().context("a pause")?;
    println!("{cause}: foreseen {foreseen} ms, happened {happened} ms");
    ensure!(foreseen <= happened * FACTOR && happened <= foreseen * FACTOR, "{cause}: foreseen {foreseen} ms, happened {happened} ms");
    ensure!(happened > LONG / 4, "it took no time: {happened} ms");
    Ok(())
}

/// A duration in the plan.
pub(super) fn seconds(duration: &Value) -> f64 {
    duration["secs"].as_f64().unwrap_or(0.0) + duration["nanos"].as_f64().unwrap_or(0.0) / 1e9
}
