//! What a gateway reports of itself, of every capability and of answers that differed, and the answer that it gets. Says
//! nothing of what follows from it: whose report counts is for [`crate::lease`], what it moves for [`crate::migration`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::log_out::{Heard, LogOut};
use crate::parity::Difference;
use crate::{Side, Timestamp};

/// What a gateway does and counts. Body of `POST /api/v1/gateways/report`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayReport {
    /// Its name: stable over a restart. One that makes way for its successor has another one, of its own ([`aside`]).
    pub gateway: String,
    /// Random for each start of its process: counters begin at zero with it.
    pub incarnation: String,
    /// When its process started, in milliseconds since 1970: of two of one name, the later one counts.
    #[serde(default)]
    pub started: u64,
    /// Counts its reports: one that was on its way for longer than a later one says how things were.
    #[serde(default)]
    pub serial: u64,
    /// The generation by which *every* request is decided now; in-flight counts below are taken after it took effect.
    pub generation: u64,
    /// Why it could not take a newer one.
    pub trouble: Option<String>,
    /// By capability.
    pub capabilities: BTreeMap<String, GatewayCapability>,
    /// Samples of shadow differences since the last report that was answered.
    pub differences: Vec<DifferenceSample>,
    /// The cookie whose sessions it could not look up when it last tried.
    #[serde(default)]
    pub sessions_unread: Option<String>,
    /// The paths that it answers by itself.
    #[serde(default)]
    pub answers: Vec<String>,
    /// Log-outs that it knows of, as far as nobody has answered that they were heard.
    #[serde(default)]
    pub log_outs: Vec<LogOut>,
    /// How far it knows those of the orchestrator.
    #[serde(default)]
    pub log_outs_heard: Heard,
    /// It forwards nothing any more, and will not report again: nobody has to reckon with it.
    #[serde(default)]
    pub ended: bool,
}

/// The name under which a gateway reports whose own name has passed, or passes, to the process that follows it. Both may
/// forward at the same time; each has a validity, and counts, of its own.
pub fn aside(gateway: &str, incarnation: &str) -> String {
    format!("{gateway}~{}", incarnation.get(..8).unwrap_or(incarnation))
}

/// A gateway's view of one capability. Counters only grow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayCapability {
    /// Writes sent to an upstream and not yet answered.
    pub inflight_writes: u64,
    /// Writes held now.
    pub held: u64,
    /// Reads answered by legacy, as far as gates judge them: [`crate::decide::Decision::is_judged`].
    pub legacy: Traffic,
    /// Reads answered by modern, likewise, and those that it would have been asked for if it answered, as failed.
    pub modern: Traffic,
    /// Writes answered by legacy, likewise. A gateway of the release before tells none.
    #[serde(default)]
    pub legacy_writes: Traffic,
    /// Writes answered by modern, likewise. A gateway of the release before counts them among its reads.
    #[serde(default)]
    pub modern_writes: Traffic,
    /// Writes that were in flight and are not any more, and for how long they were. A gateway of the release before tells none.
    #[serde(default)]
    pub writes: Traffic,
    /// Mirrored requests.
    pub shadow: ShadowCounts,
    /// The modern side refused the last connections to it, as far as this gateway tried lately.
    #[serde(default)]
    pub modern_down: bool,
    /// The legacy side takes no connections, or does not say that it is well, as far as this gateway tried lately.
    #[serde(default)]
    pub legacy_down: bool,
}

impl GatewayCapability {
    /// The traffic of a side.
    pub fn traffic(&self, side: Side) -> &Traffic {
        match side {
            Side::Legacy => &self.legacy,
            Side::Modern => &self.modern,
        }
    }
}

/// Counters of one side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests that this side answered, or failed to.
    pub requests: u64,
    /// Of these: 5xx, refused connections and time-outs (before any fallback).
    pub errors: u64,
    /// Counts by latency bucket: `LATENCY_BOUNDS_MS`, and one more for what is slower; empty ones at the end are left out. A
    /// gateway of the release before tells none.
    #[serde(default)]
    pub took: Vec<u64>,
    /// The same by the buckets that the release before knows: `COARSE_BOUNDS_MS`, and one more. Only between processes.
    pub latency: Vec<u64>,
}

impl Traffic {
    /// As the orchestrator counts: by `took` alone. What a gateway of the release before tells stands at the bounds of its own
    /// buckets.
    #[must_use]
    pub fn refined(self) -> Traffic {
        let took = match self.took.is_empty() {
            true => rebinned(&self.latency, &COARSE_BOUNDS_MS, &LATENCY_BOUNDS_MS),
            false => self.took,
        };
        Traffic { took, latency: Vec::new(), ..self }
    }

    /// As a report carries it.
    pub fn reported(requests: u64, errors: u64, mut took: Vec<u64>) -> Traffic {
        took.truncate(took.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        let mut latency = rebinned(&took, &LATENCY_BOUNDS_MS, &COARSE_BOUNDS_MS);
        latency.resize(COARSE_BOUNDS_MS.len() + 1, 0);
        Traffic { requests, errors, took, latency }
    }
}

/// Counts by other bounds: each as slow as its own bucket at the most is.
fn rebinned(counts: &[u64], bounds: &[u64], others: &[u64]) -> Vec<u64> {
    let mut rebinned = Vec::new();
    for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let bucket = bounds.get(at).map_or(others.len(), |bound| others.partition_point(|other| other < bound));
        rebinned.resize(rebinned.len().max(bucket + 1), 0);
        rebinned[bucket] += count;
    }
    rebinned
}

/// Upper bounds of the latency buckets, in milliseconds: from 5 ms on each some 10 % above the one before, so that twice a
/// latency is told from once, wherever it lies.
pub const LATENCY_BOUNDS_MS: [u64; 96] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 29, 32, 35, 38, 42, 46, 50, 55, 60, 65, 70, 75, 82, 90, 100,
    110, 120, 135, 150, 165, 180, 200, 220, 240, 265, 290, 320, 350, 385, 420, 460, 500, 550, 600, 660, 730, 800, 900, 1_000, 1_100, 1_200,
    1_350, 1_500, 1_650, 1_800, 2_000, 2_200, 2_400, 2_650, 2_900, 3_200, 3_500, 3_850, 4_200, 4_600, 5_000, 5_500, 6_000, 6_600, 7_300,
    8_000, 9_000, 10_000, 11_000, 12_000, 13_500, 15_000, 16_500, 18_000, 20_000, 22_000, 24_000, 27_000, 30_000, 60_000,
];

/// Those of the release before. Each of them is one of the finer ones, too.
pub const COARSE_BOUNDS_MS: [u64; 14] = [1, 2, 5, 10, 20, 35, 50, 75, 100, 200, 500, 1_000, 5_000, 30_000];

/// Counters of the shadow.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowCounts {
    /// Compared and equal.
    pub same: u64,
    /// Compared, looked at twice, and different.
    pub different: u64,
    /// Not mirrored for want of room.
    pub dropped: u64,
    /// Mirrored, and no answer came.
    pub failed: u64,
}

/// One shadowed request whose answers differed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DifferenceSample {
    /// The capability.
    pub capability: String,
    /// When.
    pub at: Timestamp,
    /// Method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Status on legacy.
    pub legacy_status: u16,
    /// Status on modern.
    pub modern_status: u16,
    /// Where they differ.
    pub differences: Vec<Difference>,
}

/// The answer to a gateway's report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// The newest published generation.
    pub generation: u64,
    /// From its receipt on, for how long the gateway may go on forwarding writes of migrating capabilities.
    pub valid_for_ms: u64,
    /// How fresh each side's copy is, by capability.
    pub freshness: BTreeMap<String, Freshness>,
    /// Changes of rows that the agent has applied on the side that does not own, by capability. Another number than
    /// before: there are new ones.
    #[serde(default)]
    pub changes: BTreeMap<String, u64>,
    /// Log-outs that the gateway does not know yet, or some of them.
    #[serde(default)]
    pub log_outs: Vec<LogOut>,
    /// How far it knows them with these. An empty list: of an orchestrator that keeps none.
    #[serde(default)]
    pub log_outs_heard: Heard,
}

/// Every write that its owner had committed at this time has been applied on the other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// The epoch that it speaks of.
    pub epoch: u64,
    /// Applied on the side that is not the owner.
    pub through: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::{COARSE_BOUNDS_MS, LATENCY_BOUNDS_MS, Traffic};

    #[test]
    fn twice_is_told_from_once_wherever_it_lies() {
        assert!(LATENCY_BOUNDS_MS.is_sorted_by(|a, b| a < b));
        let far = LATENCY_BOUNDS_MS.windows(2).filter(|pair| pair[0] >= 8 && pair[0] < 30_000 && pair[1] * 8 > pair[0] * 9 + 8);
        assert_eq!(far.collect::<Vec<_>>(), Vec::<&[u64]>::new());
        assert!(COARSE_BOUNDS_MS.iter().all(|bound| LATENCY_BOUNDS_MS.contains(bound)));
    }

    #[test]
    fn a_release_before_is_understood_and_understands() {
        let mut took = vec![0; LATENCY_BOUNDS_MS.len() + 1];
        for (at, bound) in LATENCY_BOUNDS_MS.iter().enumerate() {
            took[at] = u64::from(*bound <= 12);
        }
        took[LATENCY_BOUNDS_MS.len()] = 7;
        let told = Traffic::reported(19, 0, took.clone());
        assert_eq!(told.latency, [1, 1, 3, 5, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        assert_eq!(told.clone().refined().took, took);
        let before = Traffic { took: Vec::new(), ..told }.refined();
        let at = |bound: u64| LATENCY_BOUNDS_MS.iter().position(|other| *other == bound).expect("one of them");
        assert_eq!((before.took[at(5)], before.took[at(10)], before.took[at(20)]), (3, 5, 2));
        assert_eq!((before.took[LATENCY_BOUNDS_MS.len()], before.took.iter().sum::<u64>()), (7, 19));
        assert_eq!(Traffic::reported(1, 0, vec![0, 1, 0, 0]).took, [0, 1], "no empty ones at the end");
    }
}
