//! What should be, in a state. Levels, not events: the same state always says the same.

use super::observation::{compared_share, reads_share, shadow_share};
use super::{Phase, Stage, State, Switch};
use crate::plan::{Capability, OpenTransactions, StrayWrites};
use crate::wire::{CapabilityOrders, Fences, MarkEnd, Serving, SyncOrder};
use crate::{Share, Side};

/// How gateways serve the capability.
pub fn serving(state: &State, plan: &Capability) -> Serving {
    let (reads, shadow) = match state.walked() {
        _ if state.owner == Side::Modern => (Share::NONE, compared_share(state, plan)),
        Phase::Shadowing => (Share::NONE, shadow_share(plan, state.step)),
        Phase::Ramping => (reads_share(plan, state.step), shadow_share(plan, state.step)),
        _ => (Share::NONE, Share::NONE),
    };
    // Until `Release` the writes are held, also while an abort lifts the fence of the database.
    let fenced = state.switch.as_ref().is_some_and(|s| s.stage != Stage::Release);
    Serving { phase: state.phase, epoch: state.epoch, owner: state.owner, reads, shadow, fenced }
}

/// What the agent does for the capability; `None`: it leaves it alone.
pub fn orders(state: &State, plan: &Capability) -> Option<CapabilityOrders> {
    if plan.tables.is_empty() || state.phase == Phase::Draft {
        return None;
    }
    let stage = state.switch.as_ref().map(|s| s.stage);
    let retired = state.phase == Phase::Retired;
    Some(CapabilityOrders {
        epoch: state.epoch,
        owner: state.owner,
        sync: if retired { SyncOrder::Remove } else { SyncOrder::Run },
        may_copy: state.phase == Phase::Backfilling,
        strays: strays(state, plan),
        carry_strays: carries_strays(state, plan),
        fenced: if retired { Fences::default() } else { fences(state) },
        end_sessions: ends_sessions(state, plan),
        leaves_aside: state.switch.as_ref().is_some_and(|s| s.leaves_aside),
        mark_end: (stage == Some(Stage::CatchUp)).then_some(MarkEnd { token: state.token, side: state.owner }),
        verify: state.verify.filter(|_| !retired),
        raise_sequences: (stage == Some(Stage::Sequences)).then_some(state.token),
        repair: state.repair.filter(|_| !retired),
    })
}

/// Only while modern owns and nothing moves: what a switch stands on is that nobody writes but the agent.
fn strays(state: &State, plan: &Capability) -> StrayWrites {
    let settled = state.owner == Side::Modern && state.switch.is_none() && state.phase != Phase::Retired;
    if settled { plan.strays } else { StrayWrites::Refuse }
}

/// Until modern's database is fenced: behind the end of its log nothing may come.
fn carries_strays(state: &State, plan: &Capability) -> bool {
    let before_the_end = |s: &Switch| s.to == Side::Legacy && s.stage <= Stage::Drain;
    let open = state.switch.as_ref().is_none_or(before_the_end) && state.phase != Phase::Retired;
    plan.strays == StrayWrites::Forward && state.owner == Side::Modern && open
}

/// Only of the side that is left, and only in the stage in which its fence waits for them. Legacy's are other people's.
fn ends_sessions(state: &State, plan: &Capability) -> bool {
    let waits = |s: &Switch| s.to == Side::Legacy && s.stage == Stage::FenceDatabase;
    plan.returns.transactions == OpenTransactions::End && state.switch.as_ref().is_some_and(waits)
}

/// Whoever does not own is fenced, always; the owner is while a switch stands between fence and flip.
fn fences(state: &State) -> Fences {
    let owner_fenced = state.switch.as_ref().is_some_and(|s| s.stage.fences_owner());
    let fence_of = |side: Side| side != state.owner || owner_fenced;
    Fences { legacy: fence_of(Side::Legacy), modern: fence_of(Side::Modern) }
}
