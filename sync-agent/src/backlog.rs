//! A source's backlog read, folded and dropped: what reading alone costs, for benches and for a look at a new server.
//! Names no engine; writes to no table of the application, and to the target not at all.

use ficus_rules::Side;
use ficus_rules::mapping::compile;

use crate::agent::Resolved;
use crate::engine::open;
use crate::error::Error;
use crate::port::{Engine, Position, Shared};

/// Sets capture up for a capability on legacy, anew: its backlog begins here.
///
/// # Errors
/// As when a capability starts: a database that cannot be reached or captured, a table or column that is missing.
pub async fn prepare(capability: &str, resolved: &Resolved) -> Result<(), Error> {
    let legacy = open(&resolved.legacy_url, &resolved.legacy).await?;
    // Whatever was ordered here before.
    legacy.remove(capability, Side::Legacy, u64::MAX).await?;
    let prepared = side(capability, resolved, legacy.as_ref()).await?.prepare().await;
    legacy.close().await;
    prepared
}

/// Reads everything from there to the end of the log, in batches of at most so many entries (and one transaction). How many
/// entries there were.
///
/// # Errors
/// When [`prepare`] has not been called, or the log cannot be read.
pub async fn read(capability: &str, resolved: &Resolved, batch_rows: usize) -> Result<u64, Error> {
    let legacy = open(&resolved.legacy_url, &resolved.legacy).await?;
    let source = side(capability, resolved, legacy.as_ref()).await?;
    source.prepare().await?;
    let (mut position, mut entries): (Position, u64) = (source.pruned().await?, 0);
    loop {
        let batch = source.read(position, batch_rows, &[]).await?;
        entries += batch.entries;
        position = batch.upto.max(position);
        if batch.entries == 0 && batch.upto == batch.end {
            break;
        }
    }
    drop(source);
    legacy.close().await;
    Ok(entries)
}

async fn side(capability: &str, resolved: &Resolved, legacy: &dyn Engine) -> Result<Shared, Error> {
    let modern = open(&resolved.modern_url, &resolved.modern).await?;
    let named = |of: fn(&ficus_rules::mapping::TableMap) -> &String| resolved.tables.iter().map(of).cloned().collect::<Vec<_>>();
    let columns = (legacy.columns(&named(|map| &map.legacy)).await?, modern.columns(&named(|map| &map.modern)).await?);
    modern.close().await;
    let plans = compile(capability, &resolved.tables, &columns.0, &columns.1).map_err(Error::Mapping)?;
    legacy.side(capability, Side::Legacy, &plans).await
}
