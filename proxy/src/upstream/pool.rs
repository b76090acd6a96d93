//! The instances of one upstream: who is there, who gets the next request, who is left alone. Instances that vanish get no
//! new requests and keep those that they have. Does not connect, look up or probe.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::balance::{self, Candidate};
use super::breaker::{Circuit, Pass};
use super::budget::Budget;
use super::ejection::Record;
use super::instance::{Instance, Lease};
use super::room::{Place, Room};
use crate::config::{Instances, Upstream, Weighted};
use crate::metrics::{self, metrics};

/// What instances may be in, as metrics call it.
const STATES: [&str; 3] = ["available", "ejected", "unwell"];

/// The instances of one upstream.
#[derive(Debug)]
pub(crate) struct Pool {
    name: String,
    settings: Upstream,
    set: ArcSwap<Set>,
    found: Notify,
    /// Taken while it is decided whether one more may be left alone.
    ejecting: Mutex<()>,
    budget: Mutex<Budget>,
    circuit: Mutex<Circuit>,
    room: Option<Room>,
}

#[derive(Debug, Default)]
struct Set {
    instances: Vec<Arc<Instance>>,
    /// Whose turn it is; also taken while a lease is made, so that two choices at once see each other.
    turns: Mutex<Vec<i64>>,
}

impl Set {
    fn of(instances: Vec<Arc<Instance>>) -> Set {
        let turns = Mutex::new(vec![0; instances.len()]);
        Set { instances, turns }
    }
}

impl Pool {
    pub(crate) fn new(name: &str, settings: &Upstream) -> Pool {
        let pool = Pool {
            name: name.to_owned(),
            settings: settings.clone(),
            set: ArcSwap::default(),
            found: Notify::new(),
            ejecting: Mutex::default(),
            budget: Mutex::new(Budget::new(&settings.retry, Instant::now())),
            circuit: Mutex::new(Circuit::new()),
            room: settings.bulkhead.as_ref().map(Room::new),
        };
        metrics::begin_upstream(name, &STATES);
        if let Instances::Fixed(addresses) = &settings.instances {
            pool.update(addresses);
        }
        pool
    }

    /// The name that rules use.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it was told.
    pub(crate) fn settings(&self) -> &Upstream {
        &self.settings
    }

    /// The instances that are there.
    pub(crate) fn instances(&self) -> Vec<Arc<Instance>> {
        self.set.load().instances.clone()
    }

    /// Whether there can be more than one instance.
    pub(crate) fn is_many(&self) -> bool {
        !matches!(&self.settings.instances, Instances::Fixed(addresses) if addresses.len() == 1)
    }

    /// These are the instances now. What is known of those that stay is kept. Of none nothing is believed.
    pub(crate) fn update(&self, addresses: &[Weighted]) {
        let wanted: BTreeMap<&str, u32> = addresses.iter().map(|one| (one.address.as_str(), one.weight.max(1))).collect();
        if wanted.is_empty() {
            return;
        }
        let before = self.set.load();
        for instance in &before.instances {
            if let Some(weight) = wanted.get(&**instance.authority()) {
                instance.weigh(*weight);
            }
        }
        if before.instances.iter().map(|instance| &**instance.authority()).eq(wanted.keys().copied()) {
            return;
        }
        let known = |authority: &str| before.instances.iter().find(|instance| &**instance.authority() == authority).cloned();
        let instances =
            wanted.iter().map(|(authority, weight)| known(authority).unwrap_or_else(|| Arc::new(Instance::new(authority, *weight))));
        self.set.store(Arc::new(Set::of(instances.collect())));
        self.found.notify_waiters();
    }

    /// Waits until it is known where instances are, within `patience`. Whether that had to be waited for.
    pub(crate) async fn found(&self, patience: Duration) -> bool {
        if !self.set.load().instances.is_empty() {
            return false;
        }
        let found = self.found.notified();
        if self.set.load().instances.is_empty() {
            let _ = tokio::time::timeout(patience, found).await;
        }
        true
    }

    /// The instance that a request gets: one that is well and was not tried, else any that was not tried.
    pub(crate) fn pick(self: &Arc<Self>, key: Option<&str>, tried: &[Arc<str>], now: Instant) -> Option<Lease> {
        let set = self.set.load();
        if let [only] = &set.instances[..] {
            return (!tried.contains(only.authority())).then(|| Lease::new(self, only));
        }
        let untried = || set.instances.iter().enumerate().filter(|(_, instance)| !tried.contains(instance.authority()));
        let mut turns = set.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let mut candidates: Vec<Candidate> =
            untried().filter(|(_, instance)| instance.is_available(now)).map(|(at, instance)| instance.candidate(at)).collect();
        if candidates.is_empty() {
            candidates = untried().map(|(at, instance)| instance.candidate(at)).collect();
        }
        let chosen = balance::choose(&self.settings.balance, &candidates, &mut turns, key)?;
        Some(Lease::new(self, &set.instances[chosen]))
    }

    /// Whether there is an instance that was not tried.
    pub(crate) fn has_other(&self, tried: &[Arc<str>]) -> bool {
        self.set.load().instances.iter().any(|instance| !tried.contains(instance.authority()))
    }

    /// Whether a request may go to this upstream at all now; else after what time it should ask again. Where nothing breaks
    /// its circuit, it needs no permit.
    pub(super) fn pass(self: &Arc<Self>, now: Instant) -> Result<Option<Permit>, Duration> {
        let Some(rule) = &self.settings.breaker else { return Ok(None) };
        match self.circuit().pass(rule, now) {
            Pass::Yes(round) => Ok(Some(Permit { pool: self.clone(), round })),
            Pass::No(patience) => Err(patience),
        }
    }

    /// A place among the requests that this upstream has at once, where that is limited. An error: there is none.
    pub(super) async fn enter(&self) -> Result<Option<Place>, ()> {
        match &self.room {
            Some(room) => room.enter().await.map(Some).ok_or(()),
            None => Ok(None),
        }
    }

    /// A request came, of which a share may be sent again.
    pub(super) fn requested(&self, now: Instant) {
        // With a single instance there is no other.
        if self.is_many() {
            self.budget().earn(&self.settings.retry, now);
        }
    }

    /// Whether a request that was sent may be sent again, as far as the budget goes; then it is paid for.
    pub(crate) fn may_repeat(&self, now: Instant) -> bool {
        self.budget().spend(&self.settings.retry, now)
    }

    pub(super) fn failed(&self, instance: &Instance, now: Instant) {
        let _one_at_a_time = self.ejecting.lock().unwrap_or_else(PoisonError::into_inner);
        let set = self.set.load();
        let out = set.instances.iter().filter(|instance| instance.troubles(now).0).count();
        let rule = &self.settings.ejection;
        let may = out < Record::most(rule.share, set.instances.len());
        if instance.condition().record.failed(rule, may, now) {
            metrics().ejections.with_label_values(&[&*self.name]).inc();
            tracing::warn!(upstream = self.name, instance = &**instance.authority(), "an instance fails and is left alone for a while");
        }
    }

    pub(super) fn succeeded(&self, instance: &Instance, now: Instant) {
        instance.condition().record.succeeded(now);
    }

    fn circuit(&self) -> std::sync::MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn budget(&self) -> std::sync::MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows how many instances there are, by what is thought of them.
    pub(crate) fn show(&self, now: Instant) {
        let (mut counts, mut under_way) = ([0i64; STATES.len()], 0);
        for instance in &self.set.load().instances {
            under_way += i64::from(instance.under_way());
            counts[match instance.troubles(now) {
                (false, false) => 0,
                (true, _) => 1,
                (false, true) => 2,
            }] += 1;
        }
        for (state, count) in STATES.into_iter().zip(counts) {
            metrics().instances.with_label_values(&[&*self.name, state]).set(count);
        }
        let waiting = self.room.as_ref().map_or(0, Room::waiting);
        metrics().upstream_requests.with_label_values(&[&*self.name, "under_way"]).set(under_way);
        metrics().upstream_requests.with_label_values(&[&*self.name, "waiting"]).set(i64::try_from(waiting).unwrap_or(i64::MAX));
        metrics().circuit.with_label_values(&[&*self.name]).set(self.circuit().level());
    }
}

/// A request may be sent, as far as the circuit goes. Dropped without an end, it tells nothing of the upstream, and the next
/// request may be tried.
#[derive(Debug)]
pub(super) struct Permit {
    pool: Arc<Pool>,
    round: u64,
}

impl Permit {
    /// What was sent under it came to its end.
    pub(super) fn ended(self, failed: bool, now: Instant) {
        let Pool { name, settings, .. } = &*self.pool;
        if settings.breaker.as_ref().is_some_and(|rule| self.pool.circuit().ended(self.round, rule, failed, now)) {
            tracing::warn!(upstream = name, "too many requests fail: none is sent for a while");
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pool.circuit().given_back(self.round);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::Pool;
    use crate::config::{Breaker, Ejection, Instances, Upstream, Weighted};

    fn weighted(addresses: &[&str]) -> Vec<Weighted> {
        addresses.iter().map(|address| Weighted { address: (*address).to_owned(), weight: 1 }).collect()
    }

    fn pool(addresses: &[&str]) -> Arc<Pool> {
        let settings = Upstream {
            ejection: Ejection { failures: 1, first: Duration::from_secs(1), ..Ejection::default() },
            ..Upstream::of(Instances::Fixed(weighted(addresses)))
        };
        Arc::new(Pool::new("users", &settings))
    }

    fn picked(pool: &Arc<Pool>, tried: &[Arc<str>], now: Instant) -> Option<String> {
        pool.pick(None, tried, now).map(|lease| lease.instance().authority().to_string())
    }

    #[test]
    fn half_of_the_instances_may_be_left_alone_and_come_back() {
        let (pool, now) = (pool(&["a:1", "b:1", "c:1"]), Instant::now());
        for _ in 0..3 {
            pool.pick(None, &[], now).expect("there is one").failed(now);
        }
        let seen: Vec<_> = (0..4).filter_map(|_| picked(&pool, &[], now)).collect();
        assert_eq!(seen, ["b:1", "c:1", "b:1", "c:1"], "the first was ejected, for the others there was no room");
        let later = now + Duration::from_secs(2);
        assert!((0..3).any(|_| picked(&pool, &[], later).as_deref() == Some("a:1")));
    }

    #[test]
    fn whoever_was_tried_is_not_tried_again_and_better_one_unwell_than_none() {
        let (pool, now) = (pool(&["a:1", "b:1"]), Instant::now());
        pool.pick(None, &["b:1".into()], now).expect("there is one").failed(now);
        assert_eq!(picked(&pool, &[], now).as_deref(), Some("b:1"));
        assert_eq!(picked(&pool, &["b:1".into()], now).as_deref(), Some("a:1"));
        assert_eq!(picked(&pool, &["a:1".into(), "b:1".into()], now), None);
        assert!(pool.has_other(&["a:1".into()]) && !pool.has_other(&["a:1".into(), "b:1".into()]));
    }

    #[test]
    fn a_request_is_judged_once() {
        let settings = Upstream {
            ejection: Ejection { failures: 2, ..Ejection::default() },
            ..Upstream::of(Instances::Fixed(weighted(&["a:1", "b:1"])))
        };
        let (pool, now) = (Arc::new(Pool::new("users", &settings)), Instant::now());
        let mut lease = pool.pick(None, &["b:1".into()], now).expect("a");
        lease.failed(now);
        lease.failed(now);
        assert!((0..2).any(|_| picked(&pool, &[], now).as_deref() == Some("a:1")), "one failure is not two");
        pool.pick(None, &["b:1".into()], now).expect("a").failed(now);
        assert!((0..4).all(|_| picked(&pool, &[], now).as_deref() == Some("b:1")));
    }

    #[test]
    fn those_that_stay_keep_what_is_known_of_them_and_those_that_go_keep_what_they_have() {
        let (pool, now) = (pool(&["a:1", "b:1"]), Instant::now());
        let mut leaving = pool.pick(None, &["b:1".into()], now).expect("a");
        pool.pick(None, &["a:1".into()], now).expect("b").failed(now);
        pool.update(&weighted(&["b:1", "c:1"]));
        assert_eq!(picked(&pool, &[], now).as_deref(), Some("c:1"), "b is still left alone");
        leaving.succeeded(now);
        drop(leaving);
        pool.update(&[]);
        assert_eq!(pool.instances().len(), 2, "of none nothing is believed");
    }

    #[test]
    fn a_trial_that_was_not_sent_or_that_nobody_waited_for_is_given_back() {
        let breaker = Some(Breaker { requests: 1, open_for: Duration::from_secs(5), passes: 1, ..Breaker::default() });
        let settings = Upstream { breaker, ..Upstream::of(Instances::Fixed(weighted(&["a:1"]))) };
        let (pool, start) = (Arc::new(Pool::new("users", &settings)), Instant::now());
        let permit = |seconds| pool.pass(start + Duration::from_secs(seconds));
        let lease = |permit| pool.pick(None, &[], start).expect("there is one").under(permit);
        let mut slow = lease(permit(0).expect("it is closed"));
        lease(permit(0).expect("it is closed")).failed(start);
        assert!(permit(4).is_err());
        let refused = permit(5).expect("one is tried");
        assert!(permit(5).is_err());
        drop(refused);
        let mut unfound = pool.pick(None, &[], start).expect("there is one");
        unfound.failed(start);
        drop((lease(permit(5).expect("the one before had no place")), unfound));
        let mut tried = lease(permit(5).expect("who was tried has left"));
        slow.failed(start);
        assert!(permit(5).is_err());
        tried.succeeded(start);
        drop(tried);
        assert!(permit(5).is_ok() && permit(5).is_ok(), "it is closed");
    }
}
