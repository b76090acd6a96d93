//! Answers that are kept, for routes that ask for it. What an answer's `Cache-Control` and `Vary` allow decides; the route
//! says for how long at most.
//!
//! Two callers never share an answer unless neither says who it is: whoever sends a cookie that is not ours, an
//! `Authorization`, or a header that the configuration or a limit of the route knows callers by, has answers of its own. All answers of a capability are forgotten when somebody writes to it, or to
//! one that it joins, through this gateway (before the write is sent, and again when it is answered), when the agent reports
//! that a row of it changed, and when anything is published. Whoever wrote gets no answer that was asked for before its
//! write ended, whichever gateway that went through.

mod kept;
mod key;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use ficus_rules::Timestamp;
use ficus_rules::plan::{Caching, Capability, RuleSet};
use ficus_rules::route::Request as _;
use http::request;
use pingora::http::{RequestHeader, ResponseHeader};

use crate::carried::Carried;
use crate::config::CacheLimits;
use crate::metrics::metrics;

use kept::Kept;
use key::Key;

pub(crate) use kept::Answer;

/// Answers to one question that differ by what `Vary` names.
const VARIANTS: usize = 8;
/// Clocks of two gateways may differ by so much: a caller's write may have ended so much later than its marker says.
const SKEW: Duration = Duration::from_secs(1);
/// Nothing is kept for longer, whatever is said.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// All answers that are kept.
pub(crate) struct Answers {
    limits: CacheLimits,
    kept: moka::sync::Cache<Key, Arc<Vec<Arc<Kept>>>>,
    capabilities: RwLock<BTreeMap<String, Touched>>,
}

/// How often a capability's answers were forgotten, and the changes that the agent told of last.
#[derive(Debug, Clone, Copy, Default)]
struct Touched {
    times: u64,
    changes: Option<u64>,
}

/// An answer that will perhaps be kept, as it passes by.
pub(crate) struct Keeping {
    key: Key,
    request: request::Parts,
    rule: Caching,
    asked_at: Timestamp,
    head: Option<ResponseHeader>,
    body: BytesMut,
    complete: bool,
}

impl Answers {
    pub(crate) fn new(limits: &CacheLimits) -> Answers {
        let weigh = |key: &Key, kept: &Arc<Vec<Arc<Kept>>>| {
            let bytes = key.size() + kept.iter().map(|kept| kept.size()).sum::<usize>();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let kept = moka::sync::Cache::builder().max_capacity(limits.size).weigher(weigh).time_to_live(LONGEST).build();
        Answers { limits: limits.clone(), kept, capabilities: RwLock::default() }
    }

    /// The answer to a request, if a good one is kept. Otherwise what comes is perhaps kept.
    pub(crate) fn find(&self, carried: &mut Carried, head: &RequestHeader) -> Option<Answer> {
        let rule = carried.route().and_then(|route| route.cache)?;
        let capability = carried.capability()?.to_owned();
        let count = |outcome: &str| metrics().cache.with_label_values(&[&*capability, outcome]).inc();
        let now = SystemTime::now();
        let Some((key, request)) = Key::of(carried, head, &self.limits.known_by, self.touched(&capability)) else {
            count("bypass");
            return None;
        };
        // Whoever owned it then: a write is as old as it is.
        let joined = carried.snapshot.rules.capabilities.get(&capability).map_or(&[][..], |capability| &capability.depends_on);
        let wrote = carried.markers.iter().filter(|marker| marker.capability == capability || joined.contains(&marker.capability));
        let wrote = wrote.map(|marker| marker.at).max();
        let variants = self.kept.get(&key).unwrap_or_default();
        let fit = |kept: &Arc<Kept>| kept.answer(&request, now).filter(|_| wrote.is_none_or(|at| kept.is_after(at, SKEW)));
        if let Some(answer) = variants.iter().find_map(fit) {
            count("hit");
            return Some(answer);
        }
        count("miss");
        let asked_at = Timestamp::from(now);
        carried.keeping = Some(Box::new(Keeping { key, request, rule, asked_at, head: None, body: BytesMut::new(), complete: false }));
        None
    }

    /// Keeps what has passed by, if nothing speaks against it.
    pub(crate) fn keep(&self, carried: &mut Carried) {
        let Some(keeping) = carried.keeping.take().filter(|keeping| keeping.complete) else { return };
        let capability = keeping.key.capability().to_owned();
        let Keeping { key, request, rule, asked_at, head: Some(head), body, .. } = *keeping else { return };
        // Somebody wrote meanwhile: nobody knows which side of that write this answer saw.
        if key.touched() != self.touched(&capability) {
            return;
        }
        let alone = key.is_private();
        let Some(new) = Kept::new(&request, &head, body.freeze(), rule, alone, asked_at, SystemTime::now()) else { return };
        let new = Arc::new(new);
        self.kept.entry(key).and_upsert_with(|known| {
            let known = known.map(moka::Entry::into_value).unwrap_or_default();
            let others = known.iter().filter(|kept| !kept.is_for(&request)).cloned();
            Arc::new([new.clone()].into_iter().chain(others).take(VARIANTS).collect::<Vec<_>>())
        });
        metrics().cache.with_label_values(&[&*capability, "kept"]).inc();
        metrics().cache_bytes.set(i64::try_from(self.kept.weighted_size()).unwrap_or(i64::MAX));
    }

    /// Somebody writes, or wrote, to a capability: its answers are forgotten, and those of capabilities that join it.
    pub(crate) fn touch(&self, capability: &str, rules: &RuleSet) {
        let mut all = self.write();
        for concerned in concerned(capability, rules) {
            all.entry(concerned.name.clone()).or_default().times += 1;
        }
    }

    /// The agent has told how many changes of a capability it has met: another number means that there are new ones.
    pub(crate) fn heard(&self, capability: &str, changes: u64, rules: &RuleSet) {
        let known = self.write().entry(capability.to_owned()).or_default().changes.replace(changes);
        if known.is_some_and(|known| known != changes) {
            self.touch(capability, rules);
        }
    }

    fn touched(&self, capability: &str) -> u64 {
        self.capabilities.read().unwrap_or_else(PoisonError::into_inner).get(capability).map_or(0, |touched| touched.times)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Touched>> {
        self.capabilities.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest answer that is kept.
    pub(crate) fn largest(&self) -> usize {
        self.limits.answer
    }
}

impl Keeping {
    /// The head of the answer. Whether it may be kept, as far as that is known now.
    pub(crate) fn begin(&mut self, head: &ResponseHeader) -> bool {
        self.body.clear();
        self.complete = false;
        self.head = Some(head.clone());
        kept::may_be_kept(head)
    }

    /// A piece of its body. Whether it is still small enough.
    pub(crate) fn take(&mut self, piece: Option<&Bytes>, end: bool, largest: usize) -> bool {
        if let Some(piece) = piece {
            self.body.extend_from_slice(piece);
        }
        self.complete |= end;
        self.body.len() <= largest
    }
}

/// Whether somebody keeps answers that a write to a capability ends: whoever made it must be known, at every gateway.
pub(crate) fn ends_with(capability: &str, rules: &RuleSet) -> bool {
    concerned(capability, rules).any(|concerned| concerned.routes.iter().any(|route| route.cache.is_some()))
}

/// A capability, and those that join it.
fn concerned<'a>(capability: &str, rules: &'a RuleSet) -> impl Iterator<Item = &'a Capability> {
    rules.capabilities.values().filter(move |other| other.name == capability || other.depends_on.iter().any(|name| name == capability))
}

/// Whether a request says that it wants to be asked for anew, and nothing kept of it.
fn refuses(carried: &Carried) -> bool {
    carried.asked.header("cache-control").is_some_and(|said| said.to_ascii_lowercase().contains("no-store"))
}
