//! One instance of an upstream: its address, what it has under way, and what is thought of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use ficus_rules::bucket::murmur3_32;

use super::Pool;
use super::balance::Candidate;
use super::ejection::Record;
use super::pool::Permit;
use crate::config::Probe;

/// An instance. It outlives its place in the pool while it has requests under way.
#[derive(Debug)]
pub(crate) struct Instance {
    /// `host:port`
    authority: Arc<str>,
    /// The same, where the host is no name.
    fixed: Option<SocketAddr>,
    weight: AtomicU32,
    seed: u32,
    under_way: AtomicU32,
    condition: Mutex<Condition>,
}

/// What is thought of it.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// By requests.
    pub(super) record: Record,
    /// By probes.
    probes: Probes,
}

#[derive(Debug, Default, Clone, Copy)]
struct Probes {
    unwell: bool,
    /// Probes in a row that say something else.
    against: u32,
}

impl Instance {
    pub(super) fn new(authority: &str, weight: u32) -> Instance {
        Instance {
            authority: authority.into(),
            fixed: authority.parse().ok(),
            weight: AtomicU32::new(weight),
            seed: murmur3_32(authority.as_bytes(), 0),
            under_way: AtomicU32::new(0),
            condition: Mutex::default(),
        }
    }

    /// `host:port`
    pub(crate) fn authority(&self) -> &Arc<str> {
        &self.authority
    }

    /// Its address, where it is no name.
    pub(super) fn fixed(&self) -> Option<SocketAddr> {
        self.fixed
    }

    pub(super) fn weigh(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    pub(super) fn candidate(&self, at: usize) -> Candidate {
        Candidate { at, weight: self.weight.load(Ordering::Relaxed), under_way: self.under_way(), seed: self.seed }
    }

    /// Requests that it has.
    pub(super) fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// It was probed.
    pub(crate) fn probed(&self, is_well: bool, rule: &Probe) {
        let mut condition = self.condition();
        let probes = &mut condition.probes;
        if is_well != probes.unwell {
            probes.against = 0;
            return;
        }
        probes.against += 1;
        let enough = if is_well { rule.healthy } else { rule.unhealthy };
        if probes.against >= enough {
            *probes = Probes { unwell: !is_well, against: 0 };
        }
    }

    /// Whether requests leave it alone, and whether probes find it unwell.
    pub(super) fn troubles(&self, now: Instant) -> (bool, bool) {
        let condition = self.condition();
        (condition.record.is_out(now), condition.probes.unwell)
    }

    /// Whether it should get requests.
    pub(super) fn is_available(&self, now: Instant) -> bool {
        self.troubles(now) == (false, false)
    }

    pub(super) fn condition(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's place at an instance, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    instance: Arc<Instance>,
    permit: Option<Permit>,
    judged: bool,
}

impl Lease {
    pub(super) fn new(pool: &Arc<Pool>, instance: &Arc<Instance>) -> Lease {
        instance.under_way.fetch_add(1, Ordering::Relaxed);
        Lease { pool: pool.clone(), instance: instance.clone(), permit: None, judged: false }
    }

    /// What is sent there is sent under a permit of the circuit.
    pub(super) fn under(mut self, permit: Option<Permit>) -> Lease {
        self.permit = permit;
        self
    }

    /// The instance.
    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The upstream that it belongs to.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// The instance failed the request. Counted once for each lease, like a success.
    pub(crate) fn failed(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.judged, true) {
            self.permit.take().into_iter().for_each(|permit| permit.ended(true, now));
            self.pool.failed(&self.instance, now);
        }
    }

    /// The instance answered.
    pub(crate) fn succeeded(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.judged, true) {
            self.pool.succeeded(&self.instance, now);
            self.permit.take().into_iter().for_each(|permit| permit.ended(false, now));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.instance.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::Instance;
    use crate::config::Probe;

    #[test]
    fn it_takes_some_probes_in_a_row_to_change_what_is_thought_of_it() {
        let (instance, rule) = (Instance::new("10.0.0.1:80", 1), Probe { unhealthy: 3, healthy: 2, ..Probe::default() });
        let seen = |probes: &[bool]| {
            probes.iter().for_each(|is_well| instance.probed(*is_well, &rule));
            instance.is_available(Instant::now())
        };
        assert!(seen(&[false, false, true, false, false]), "never three in a row");
        assert!(!seen(&[false]));
        assert!(!seen(&[true, false, true]));
        assert!(seen(&[true]));
        assert!(!seen(&[false, false, false]));
    }
}
