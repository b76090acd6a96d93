//! Opens the fence of the owner's database while the other side's cannot be reached. A switch is most often given up because
//! the database that it led to has died: whoever writes to the owner is not to wait until that one is back.
//!
//! What a session needs to know of the other side is known from an earlier one of this process. Whose turn it is protects as
//! ever: had another agent carried out orders here since, it would have taken the turn in this database, and it is refused.

use std::pin::pin;
use std::sync::Arc;

use ficus_rules::Side;
use ficus_rules::mapping::Plan;
use ficus_rules::wire::SyncOrder;
use tokio::sync::watch;

use crate::agent::Ordered;
use crate::engine::open;
use crate::error::Error;
use crate::port::Engine;
use crate::pulse::{self, Asked};
use crate::session::Context;

/// What the last session that had both sides knew.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) plans: Arc<Vec<Plan>>,
    /// Who the databases are, legacy's first.
    pub(crate) ids: [String; 2],
}

impl Context {
    /// A session could not be set up: does what can be done without the other side, if there is any such thing.
    pub(crate) async fn open_alone(&self, orders: &watch::Receiver<Ordered>) -> Result<(), Error> {
        let wish = orders.borrow().clone();
        let owner = wish.owner;
        // It may have opened a moment before the other one went, and nobody has heard of it.
        let untold = self.state.report().fenced == wish.fenced && self.state.report().generation != Some(wish.generation);
        let stuck = wish.sync == SyncOrder::Run && !wish.fenced.of(owner) && (self.state.may_refuse(owner) || untold);
        let (true, Some(known), Some(turn)) = (stuck, self.state.known(), self.state.turn(owner)) else { return Ok(()) };
        let (url, name) = match owner {
            Side::Legacy => (&self.resolved.legacy_url, &self.resolved.legacy),
            Side::Modern => (&self.resolved.modern_url, &self.resolved.modern),
        };
        let (label, patience) = (format!("{name} ({owner})"), self.config.silence);
        let engine = open(url, &label).await?;
        let silence = pin!(pulse::silent(Asked(engine.as_ref(), &label), patience));
        let opened = pulse::unless(silence, self.open_fence((engine.as_ref(), &label), &wish, &known, turn)).await;
        pulse::close([engine.as_ref()], &opened, patience).await;
        opened
    }

    async fn open_fence(&self, (engine, label): (&dyn Engine, &str), wish: &Ordered, known: &Known, turn: i64) -> Result<(), Error> {
        let owner = wish.owner;
        let database = engine.side(&self.state.capability, owner, &known.plans).await?;
        if database.turn().await?.is_none() {
            return Err(Error::TakenOut { database: label.to_owned() });
        }
        database.obey(wish.epoch).await?;
        let [legacy, modern] = &known.ids;
        let source = if owner == Side::Legacy { modern } else { legacy };
        self.state.forget_turn(owner);
        self.state.set_turn(owner, database.claim(source, Some(turn)).await?.turn);
        database.fence(false).await?;
        self.state.set_closing(None);
        tracing::warn!(capability = %self.state.capability, side = %owner, "the fence is open; the other side's database is away");
        self.state.update(|report| {
            match owner {
                Side::Legacy => report.fenced.legacy = false,
                Side::Modern => report.fenced.modern = false,
            }
            (report.epoch, report.generation) = (wish.epoch, Some(wish.generation));
        });
        Ok(())
    }
}
