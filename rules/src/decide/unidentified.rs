//! Callers whose session could not be looked up.

use super::{Because, Caller, Decision, Snapshot};
use crate::Side;

/// What becomes of a decision when the session store does not answer: modern would take the caller for a stranger. Legacy
/// finds out by itself: it serves the read. `None`: it must not, since it could be a write for modern, or older than what
/// the caller wrote; the gateway answers 503.
pub fn unidentified(mut decision: Decision, snapshot: &Snapshot, caller: &Caller) -> Option<Decision> {
    if decision.side == Side::Legacy {
        return Some(decision);
    }
    let capability = decision.capability.as_deref().unwrap_or_default();
    let owner = snapshot.published.capabilities.get(capability).map_or(Side::Legacy, |serving| serving.owner);
    let wrote = caller.markers.iter().any(|marker| marker.capability == capability);
    if decision.write || (owner == Side::Modern && wrote) {
        return None;
    }
    decision.side = Side::Legacy;
    decision.upstream_path = None;
    decision.fallback = false;
    decision.because = Because::IdentityUnknown;
    Some(decision)
}
