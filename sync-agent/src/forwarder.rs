//! Carries to modern what strangers wrote to legacy while modern owns, where the rules say so: row by row in their order, each as
//! an application of modern's would write it, and only if modern has the row as it was for whoever wrote. It comes back to legacy
//! by the stream, like everything that modern's applications write. What cannot be carried so stays with its reason, for somebody
//! to decide about: [`crate::strays`].
//!
//! A row is settled in legacy after it was written to modern, which remembers the last one in the same transaction: who dies in
//! between does not write it again. (That the row is as it shall be would not say so: a counter that two strangers raise is.)

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::mapping::{Plan, Row};
use ficus_rules::plan::StrayWrites;
use tokio::sync::watch;

use crate::agent::Ordered;
use crate::crash;
use crate::error::Error;
use crate::metrics;
use crate::port::{Rewrite, Rewritten, Shared, Stray};
use crate::state::State;
use crate::strays;

/// Between two looks while nothing was found.
const EVERY: Duration = Duration::from_millis(250);

/// The same while everybody's writes wait for the last of them.
const AWAITED: Duration = Duration::from_millis(10);

/// Rows of one look.
const AT_ONCE: u32 = 200;

/// What is said of a row that modern has otherwise than whoever wrote believed.
const CHANGED: &str = "modern's row had changed since";

/// What is said of one whose pair has left the rules.
const LEFT: &str = "its table has left the rules";

/// Carries them, for one session.
pub(crate) struct Forwarder {
    pub(crate) legacy: Shared,
    pub(crate) modern: Shared,
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) state: Arc<State>,
    pub(crate) orders: watch::Receiver<Ordered>,
}

impl Forwarder {
    /// Until it is dropped, or a database fails.
    pub(crate) async fn run(self) -> Result<Infallible, Error> {
        loop {
            if !self.is_ordered() || !self.carry_some().await? {
                let is_awaited = self.is_ordered() && !self.orders.borrow().strays.lets_in();
                tokio::time::sleep(if is_awaited { AWAITED } else { EVERY }).await;
            }
        }
    }

    /// Nothing is carried behind a fence of modern. An orchestrator of the release before orders it only while nothing moves.
    fn is_ordered(&self) -> bool {
        let orders = self.orders.borrow();
        (orders.carry_strays || orders.strays == StrayWrites::Forward) && orders.owner == Side::Modern && !orders.fenced.modern
    }

    /// Whether there was something.
    async fn carry_some(&self) -> Result<bool, Error> {
        // None of them is decided about meanwhile, and modern is not fenced between a look at the orders and the write.
        let _turn = self.state.carrying().await;
        let found = self.legacy.oldest_strays(AT_ONCE).await?;
        for stray in &found {
            if !self.is_ordered() {
                break;
            }
            match self.carry(stray).await? {
                None => {
                    crash::point("after_rewrite_before_settle");
                    self.legacy.settle_strays(&[stray.number]).await?;
                    metrics::STRAYS.with_label_values(&[self.state.capability.as_str(), Side::Legacy.as_str(), "forwarded"]).inc();
                }
                Some(why) => {
                    let table = stray.pair.map_or("-", |pair| &*self.plans[pair].pair);
                    tracing::warn!(capability = %self.state.capability, %table, %why, "a row written past the gateway was not carried");
                    self.legacy.pass_stray(stray.number, &why).await?;
                }
            }
        }
        if !found.is_empty() {
            strays::look(&self.state, &self.legacy, &self.modern, &self.plans).await?;
        }
        Ok(!found.is_empty())
    }

    /// Why not, if it was not.
    async fn carry(&self, stray: &Stray) -> Result<Option<String>, Error> {
        let Some(pair) = stray.pair else { return Ok(Some(LEFT.to_owned())) };
        let plan = &self.plans[pair];
        let [was, becomes] = match [&stray.was, &stray.becomes].map(|row| row.as_ref().map(|row| plan.forward(row)).transpose()) {
            [Ok(was), Ok(becomes)] => [was, becomes],
            [Err(why), _] | [_, Err(why)] => return Ok(Some(why.to_string())),
        };
        let same = |one: &Row, other: &Row| plan.differing_column(&plan.canonical(one.clone()), &plan.canonical(other.clone())).is_none();
        let written = self.modern.rewrite(pair, stray.number, &steps(was, becomes), &same).await?;
        Ok(match written {
            Rewritten::Done => None,
            Rewritten::Changed => Some(CHANGED.to_owned()),
            Rewritten::Refused(why) => Some(why),
        })
    }
}

/// A row that got another key is removed under the old one, and made under the new one.
fn steps(was: Option<Row>, becomes: Option<Row>) -> Vec<Rewrite> {
    let step = |was: Option<Row>, becomes: Option<Row>| {
        let key = was.as_ref().or(becomes.as_ref()).map(|row| row.key.clone())?;
        Some(Rewrite { key, was, becomes })
    };
    match (was, becomes) {
        (Some(was), Some(becomes)) if was.key != becomes.key => {
            [step(Some(was), None), step(None, Some(becomes))].into_iter().flatten().collect()
        }
        (was, becomes) => step(was, becomes).into_iter().collect(),
    }
}
