//! The newest writes of callers, remembered by this gateway for as long as a marker is good. A client that writes twice at
//! once gets two answers with one marker each, and keeps only the cookie of the later one; here both are found again.
//! Bounded; a help beside the cookie, which works across gateways, and no replacement for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ficus_rules::marker::{self, LIFETIME, Marker};
use ficus_rules::route::Request as _;

use crate::carried::Carried;

/// Callers that are remembered.
const CALLERS: u64 = 100_000;
/// A longer name is not worth the room.
const LONGEST: usize = 128;

/// The memory.
pub(crate) struct Recent {
    writes: moka::sync::Cache<String, Vec<Marker>>,
    started: Instant,
    /// Milliseconds since then until which something may be remembered.
    until: AtomicU64,
}

impl Recent {
    pub(crate) fn new() -> Recent {
        let writes = moka::sync::Cache::builder().max_capacity(CALLERS).time_to_live(LIFETIME).build();
        Recent { writes, started: Instant::now(), until: AtomicU64::new(0) }
    }

    /// Whether anything may be remembered: most gateways carry no writes of migrating capabilities most of the time.
    pub(crate) fn is_of_use(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until > 0 && self.milliseconds() < until
    }

    /// A caller wrote.
    pub(crate) fn remember(&self, callers: &[String], wrote: &Marker) {
        let lifetime = u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX);
        self.until.fetch_max(self.milliseconds().saturating_add(2 * lifetime), Ordering::AcqRel);
        for caller in callers {
            self.writes.entry_by_ref(caller.as_str()).and_upsert_with(|known| {
                let mut markers = known.map(moka::Entry::into_value).unwrap_or_default();
                marker::add(&mut markers, wrote.clone());
                markers
            });
        }
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Adds what is remembered of a caller to the markers that it brought, if it is newer.
    pub(crate) fn recall(&self, callers: &[String], markers: &mut Vec<Marker>) {
        for known in callers.iter().filter_map(|caller| self.writes.get(caller.as_str())).flatten() {
            let newest =
                markers.iter().filter(|marker| marker.capability == known.capability).map(|marker| (marker.epoch, marker.at)).max();
            if newest.is_none_or(|newest| newest < (known.epoch, known.at)) {
                marker::add(markers, known);
            }
        }
    }
}

/// The names by which a caller is known: its session, its user, its anonymous cookie. `sessions` are the cookies of sessions;
/// while none is configured, Django's.
pub(crate) fn names<'a>(carried: &Carried, sessions: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut sessions = sessions.peekable();
    let usual = sessions.peek().is_none().then_some("sessionid");
    let mut cookies = sessions.chain(usual).filter_map(|name| carried.asked.cookie(name));
    let session = cookies.find(|key| !key.is_empty()).map(|key| format!("session:{key}"));
    let user = carried.login.as_ref().and_then(|login| login.user()).map(|user| format!("user:{}", user.id));
    let anonymous = carried.anonymous.as_ref().map(|id| format!("anonymous:{id}"));
    [session, user, anonymous].into_iter().flatten().filter(|name| name.len() <= LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use ficus_rules::Timestamp;
    use ficus_rules::marker::Marker;

    use super::Recent;

    #[test]
    fn the_newest_write_of_each_capability_is_recalled_for_its_caller_alone() {
        let recent = Recent::new();
        assert!(!recent.is_of_use());
        let marker = |capability: &str, epoch, at| Marker { capability: capability.into(), epoch, at: Timestamp(at) };
        let (one, other) = (["session:a".to_owned(), "user:1".to_owned()], ["user:1".to_owned()]);
        recent.remember(&one, &marker("users", 1, 10));
        assert!(recent.is_of_use());
        recent.remember(&other, &marker("grades", 1, 20));
        let recalled = |callers: &[String], mut brought: Vec<Marker>| {
            recent.recall(callers, &mut brought);
            brought
        };
        assert_eq!(recalled(&one, vec![]), [marker("users", 1, 10), marker("grades", 1, 20)]);
        assert_eq!(recalled(&["session:b".to_owned()], vec![]), []);
        assert_eq!(recalled(&one[..1], vec![marker("users", 1, 30)]), [marker("users", 1, 30)], "the cookie may be newer");
        assert_eq!(recalled(&one[..1], vec![marker("users", 2, 5)]), [marker("users", 2, 5)], "and of a later owner");
        recent.remember(&one, &marker("users", 1, 40));
        assert_eq!(recalled(&one[..1], vec![marker("users", 1, 30)]), [marker("users", 1, 40)]);
    }
}
