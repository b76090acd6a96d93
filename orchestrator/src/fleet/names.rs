//! Names of gateways that outlive this process: stored before a gateway is given its first validity, dropped long after its last
//! one has ended. A restart reckons with each name that is stored, so none may be missing of a gateway that holds a validity.

use std::time::Duration;

use ficus_rules::time::Steady;
use ficus_rules::wire::GatewayReport;
use tracing::warn;

use super::now;
use crate::store::StoreError;
use crate::{Shared, metrics};

/// Takes a report in. Returns for how long the gateway may forward writes from now on.
///
/// # Errors
/// The name of a gateway that was not known could not be stored: the report counts for nothing.
pub(crate) async fn hear(shared: &Shared, report: GatewayReport) -> Result<Duration, StoreError> {
    let newest = shared.publisher.generation();
    let stranger = match shared.fleet.hear_known(report, newest, now()) {
        Ok(valid_for) => return Ok(valid_for),
        Err(stranger) => *stranger,
    };
    let _naming = shared.naming.lock().await;
    // Nobody has to reckon with one that has ended.
    if !stranger.ended && !shared.fleet.knows(&stranger.gateway) {
        shared.store.remember_gateway(&stranger.gateway).await?;
    }
    Ok(shared.fleet.hear_gateway(stranger, newest, now()))
}

/// Drops those that are long gone by `at`. One that reports meanwhile is a stranger, whose name is stored anew after that.
pub(crate) async fn forget(shared: &Shared, at: Steady) {
    let _naming = shared.naming.lock().await;
    for gateway in shared.fleet.forget(at) {
        metrics::forget_gateway(&gateway);
        if let Err(failed) = shared.store.forget_gateway(&gateway).await {
            warn!(gateway, error = %failed, "a gateway's name could not be dropped: the next start drops it");
        }
    }
}
