//! The way of the capability: what an operator types, and what is waited for.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use super::screen::Screen;
use crate::ledger::Ledger;
use crate::operator::Operator;
use crate::world::World;

/// Long enough for a slow machine; a step that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cutover or revert, as its callers felt it.
#[derive(Debug, Clone)]
pub(crate) struct Switch {
    pub(crate) name: &'static str,
    /// When it was asked for, and when it was done.
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    /// What the orchestrator measured, in milliseconds.
    pub(crate) pause_ms: Option<f64>,
}

/// Backfill → stream → shadow → reads 5 % → 50 % → 100 % → cutover → soak → revert → cutover → soak.
pub(crate) async fn walk(world: &World, ledger: &Ledger, screen: &Screen) -> Result<Vec<Switch>> {
    let operator = world.operator()?;
    let way = Way { operator, ledger, screen };
    way.say("serving from the monolith");
    tokio::time::sleep(Duration::from_secs(3)).await;
    way.type_in(&["advance", "users"]).await?;
    way.until("shadowing", |status| status["phase"] == "shadowing").await?;
    way.say("backfilled, verified, streaming; reads are mirrored and compared");
    way.until("ramping", |status| status["phase"] == "ramping").await?;
    for share in [50_000, 500_000, 1_000_000] {
        let there = move |status: &Value| status["serving"]["reads"] == share;
        way.until("the next share of reads", there).await?;
        way.say(&format!("{} % of the callers read from the new service", share / 10_000));
    }
    way.until("the cutover step", |status| status["step_action"] == "cutover").await?;
    let mut switches = vec![way.switch("cutover", "cutover", "soaking").await?];
    way.soak("the new service owns the users; reverse sync keeps the monolith right").await;
    switches.push(way.switch("revert", "revert", "reverted").await?);
    way.soak("back on the monolith, with every write made meanwhile").await;
    switches.push(way.switch("second cutover", "cutover", "soaking").await?);
    way.soak("on the new service again").await;
    Ok(switches)
}

struct Way<'a> {
    operator: Operator,
    ledger: &'a Ledger,
    screen: &'a Screen,
}

impl Way<'_> {
    fn say(&self, text: &str) {
        self.screen.say(text);
    }

    /// Waits for a status; a hold means that a gate failed, and nothing will come of waiting.
    async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<()> {
        let held = |status: &Value| status["holds"].as_array().is_some_and(|holds| !holds.is_empty());
        let status = self.operator.until("users", what, PATIENCE, |status| wanted(status) || held(status)).await?;
        if !wanted(&status) {
            let diffs = self.operator.try_type(&["diffs", "users"]).await?.out;
            bail!("a gate held the capability back while waiting for {what}: {}\n{diffs}", status["holds"]);
        }
        Ok(())
    }

    async fn type_in(&self, arguments: &[&str]) -> Result<String> {
        let quoted = arguments.iter().map(|argument| if argument.contains(' ') { format!("'{argument}'") } else { (*argument).to_owned() });
        self.say(&format!("$ ficus {}", quoted.collect::<Vec<_>>().join(" ")));
        self.operator.type_in(arguments).await
    }

    async fn soak(&self, text: &str) {
        self.say(text);
        tokio::time::sleep(Duration::from_secs(6)).await;
    }

    async fn switch(&self, name: &'static str, wish: &str, phase: &str) -> Result<Switch> {
        let acknowledged = self.ledger.acknowledged();
        let from = Instant::now();
        self.type_in(&[wish, "users", "--reason", "the demo"]).await?;
        let status = self.operator.until_phase("users", phase, PATIENCE).await?;
        let to = Instant::now();
        let pause_ms = status["last_pause_ms"].as_f64();
        let during = self.ledger.acknowledged() - acknowledged;
        self.say(&format!("{name} done: writes were held for {} ms, {during} were acknowledged meanwhile", pause_ms.unwrap_or(f64::NAN)));
        Ok(Switch { name, from, to, pause_ms })
    }
}
