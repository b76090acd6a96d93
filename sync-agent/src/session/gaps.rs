//! What a log does not tell any more: found before the streams run, and made up for by comparing. What nobody can make up for
//! without writing over what others wrote is refused, until somebody says that it may.

use std::sync::Arc;

use ficus_rules::Side;
use ficus_rules::wire::CapabilityOrders;
use tokio::sync::watch;

use super::{Done, Session};
use crate::agent::Ordered;
use crate::error::Error;
use crate::port::{Checkpoint, Direction, Left, Position};

impl Session<'_> {
    /// Notes that others could write to the side that does not own, and that it lost part of its log, or was left in the moment in which it
    /// was opened: what stands in its log then is older than what the owner has taken since. It is fenced next, and then nobody could tell
    /// any more. What is wished from then on; `None`: it is time to stop, or for another session.
    pub(super) async fn note_unseen(
        &self,
        [forward, reverse]: [&Checkpoint; 2],
        wish: Ordered,
        orders: &mut watch::Receiver<Ordered>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<Ordered>, Error> {
        let source = wish.owner.other();
        let position = if source == Side::Legacy { forward.position } else { reverse.position };
        let Some(position) = position.filter(|_| forward.backfilled && !self.found.of(source)) else { return Ok(Some(wish)) };
        let (pruned, lost) = self.left_of_log(source, position).await?;
        let was_left = wish.fenced.of(source) && self.carried_out[usize::from(source == Side::Modern)] < wish.epoch;
        if position >= pruned && !lost && !was_left || self.side(source).unseen().await?.is_some() {
            return Ok(Some(wish));
        }
        // What was ordered before anybody knew of this is no word about it, also where it is still on its way.
        if !self.asked(stop).await {
            return Ok(None);
        }
        let newest = orders.borrow_and_update().clone();
        self.side(source).set_unseen(Some(newest.repair.unwrap_or(0))).await?;
        Ok((newest.owner == wish.owner).then_some(newest))
    }

    /// What was written where nobody saw it has been written over, or was the right one.
    pub(super) async fn all_seen(&self) -> Result<(), Error> {
        for side in [&self.legacy, &self.modern] {
            if side.unseen().await?.is_some() {
                side.set_unseen(None).await?;
            }
        }
        Ok(())
    }

    /// Looks whether the source still has everything after a position. It has not when the target was put back from a
    /// backup (or lost its last transactions with the power), or when its log was lost: then everything is compared, if the
    /// source has what is right, or has only what was applied to it, because it was fenced; or if somebody ordered a repair
    /// after it was noted that it was not. From where the stream goes on: what others wrote to a source that does not own may be older
    /// than what its owner has, and is left out.
    pub(super) async fn reaches(&self, direction: Direction, position: Position, wish: &CapabilityOrders) -> Result<Position, Error> {
        let source = direction.source();
        let (pruned, lost) = self.left_of_log(source, position).await?;
        let unseen = self.side(source).unseen().await?;
        let is_there = position >= pruned && !lost;
        if is_there && unseen.is_none() {
            return Ok(position);
        }
        let target = source.other();
        if target == wish.owner && position < pruned {
            return Err(Error::Refused(format!(
                "{target} owns the rows, and lacks changes that {source} has forgotten already (an older copy of the database was put in place?): it has {position}, and {source} goes back to {pruned}; put the newer one back, or start over with a new backfill"
            )));
        }
        let capability = &self.state().capability;
        let decided = unseen.is_some_and(|noted| wish.repair.is_some_and(|token| token > noted));
        if is_there && target == wish.owner && !decided {
            return Err(Error::Refused(format!(
                "{source} was open although {target} owns the rows (the writes came back to {target} while {source} could not be reached?): what others wrote there since {position} has not reached {target}; look for it by hand, then `ficus repair {capability}`: everything is compared, and the rows of {target} take the place of those"
            )));
        }
        if target == wish.owner && (unseen.is_some() || !self.found.of(source)) && !decided {
            return Err(Error::Refused(format!(
                "the log of {source} is gone (slot or files), and {source} was not fenced: what was written there since {position} has not reached {target}, which owns the rows; look for it by hand, then `ficus repair {capability}`: everything is compared, and the rows of {target} take the place of those"
            )));
        }
        tracing::warn!(%capability, side = %source, %position, %pruned, lost, "the log does not go back as far as the copy, or is left out");
        self.side(source).open_gaps(&(0..self.plans.len()).collect::<Vec<_>>()).await?;
        if !is_there || target != wish.owner {
            return Ok(position);
        }
        // It is fenced by now: nobody writes behind this.
        let end = self.side(source).end_position().await?;
        self.side(target).begin_at(end, true).await?;
        Ok(end)
    }

    /// Up to where a side's log may be gone, and whether something after a position is lost.
    async fn left_of_log(&self, source: Side, position: Position) -> Result<(Position, bool), Error> {
        Ok((self.side(source).pruned().await?, self.side(source).lost(position).await?))
    }

    /// Which of the pairs that are about to be compared have joined, and not been copied yet.
    pub(super) async fn note_joining(&self, gaps: &[usize]) -> Result<(), Error> {
        let copied = self.modern.copied().await?;
        let left = |pair: usize| copied.iter().any(|known| known.pair == self.plans[pair].pair && known.left == Left::All);
        self.state().announcer.set_joining(gaps.iter().copied().filter(|pair| left(*pair)).collect());
        Ok(())
    }

    pub(super) fn close(&mut self, gaps: Vec<usize>, owner: Side) {
        self.gaps = true;
        let tables: Vec<&str> = gaps.iter().map(|pair| self.plans[*pair].pair.as_str()).collect();
        let trouble = format!(
            "changes of {} may be missing (table remade, other rules, log lost, or an older copy put back); capture is complete, and both sides are being compared; wait until this is over",
            tables.join(", ")
        );
        tracing::warn!(capability = %self.state().capability, tables = %tables.join(", "), "capture was incomplete");
        self.state().update(|report| report.trouble = Some(trouble));
        let verifier = self.verifier(owner);
        let (legacy, modern, plans) = (Arc::clone(&self.legacy), Arc::clone(&self.modern), Arc::clone(&self.plans));
        self.tasks.spawn(async move {
            verifier.repair(&gaps, &tokio::sync::Mutex::new(true)).await?;
            let mut copied = modern.copied().await?;
            copied.retain(|known| known.left == Left::All && gaps.iter().any(|pair| plans[*pair].pair == known.pair));
            copied.iter_mut().for_each(|known| known.left = Left::Nothing);
            if !copied.is_empty() {
                modern.note_copied(&copied).await?;
            }
            legacy.close_gaps(&gaps).await?;
            modern.close_gaps(&gaps).await?;
            Ok(Done::GapsClosed)
        });
    }
}
