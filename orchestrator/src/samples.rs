//! Samples of differences on their way to the store. They help a reader, and nothing waits for them: what does not fit is dropped,
//! and they are written together, so that a modern side that differs in every answer does not fill the store with versions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ficus_rules::wire::DifferenceSample;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::Shared;

/// Reports whose samples wait; those of more are dropped.
pub(crate) const QUEUE: usize = 64;
/// The pause between two writes.
const EVERY: Duration = Duration::from_secs(5);
/// Kept for each capability.
const MOST: u32 = 100;

/// Puts the samples of a report on their way.
pub(crate) fn offer(shared: &Shared, mut samples: Vec<DifferenceSample>) {
    let view = shared.publisher.view();
    samples.retain(|sample| view.capability(&sample.capability).is_some());
    if !samples.is_empty() && shared.samples.try_send(samples).is_err() {
        debug!("samples of differences come faster than they are written, some are dropped");
    }
}

/// Writes them until the orchestrator stops, and then what is left.
pub(crate) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Vec<DifferenceSample>>) {
    let mut stopping = shared.stopping.subscribe();
    loop {
        tokio::select! {
            biased;
            () = crate::stopped(&mut stopping) => break,
            Some(first) = queue.recv() => keep(&shared, first, &mut queue).await,
        }
        tokio::select! {
            biased;
            () = crate::stopped(&mut stopping) => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    if let Ok(first) = queue.try_recv() {
        keep(&shared, first, &mut queue).await;
    }
}

/// Writes these and all that wait, of each capability the newest.
async fn keep(shared: &Shared, first: Vec<DifferenceSample>, queue: &mut mpsc::Receiver<Vec<DifferenceSample>>) {
    let waiting = std::iter::from_fn(|| queue.try_recv().ok());
    let mut of: BTreeMap<String, Vec<DifferenceSample>> = BTreeMap::new();
    for sample in std::iter::once(first).chain(waiting).flatten() {
        of.entry(sample.capability.clone()).or_default().push(sample);
    }
    let newest = |samples: Vec<DifferenceSample>| {
        let old = samples.len().saturating_sub(MOST as usize);
        samples.into_iter().skip(old)
    };
    let samples: Vec<DifferenceSample> = of.into_values().flat_map(newest).collect();
    match shared.store.keep_samples(&samples, MOST).await {
        Ok(()) => shared.changes.differences().up(),
        Err(failed) => warn!(samples = samples.len(), error = %failed, "samples of differences could not be kept"),
    }
}
