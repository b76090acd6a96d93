//! Counting callers: in this gateway's memory, or in Redis together with others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ficus_rules::plugin::quota::{self, Verdict};
use ficus_rules::plugin::{RateLimit, WhenAway};

use super::shared::{Redis, RedisServer};
use crate::metrics::metrics;

/// Callers that are remembered; of more, those that come least are forgotten, and begin anew.
const CALLERS: u64 = 200_000;

/// Counts callers.
pub(crate) struct Counting {
    began: Instant,
    callers: moka::sync::Cache<String, Arc<Mutex<Vec<u64>>>>,
    redis: Option<Redis>,
}

impl Counting {
    pub(crate) fn new(redis: Option<RedisServer>) -> Counting {
        let callers = moka::sync::Cache::builder().max_capacity(CALLERS).build();
        Counting { began: Instant::now(), callers, redis: redis.map(Redis::new) }
    }

    /// Counts a request; `None`: it cannot be counted together, and is not counted alone.
    pub(crate) async fn count(&self, limit: &RateLimit, key: String) -> Option<Verdict> {
        let Some(away) = limit.shared else { return self.alone(limit, key) };
        if let Some(redis) = &self.redis
            && let Some(verdict) = redis.count(limit, &key).await
        {
            return Some(verdict);
        }
        metrics().limits_unshared.with_label_values(&[away.as_str()]).inc();
        match away {
            WhenAway::Local => self.alone(limit, key),
            WhenAway::Open | WhenAway::Closed => None,
        }
    }

    fn alone(&self, limit: &RateLimit, key: String) -> Option<Verdict> {
        let state = self.callers.get_with(key, Arc::default);
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut full = state.lock().unwrap_or_else(PoisonError::into_inner);
        quota::admit(&limit.quotas, &mut full, now)
    }
}
