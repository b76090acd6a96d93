//! Counting together with other gateways, in Redis: one script, one round trip, Redis' own clock. What fails once costs the
//! request that it fails; a Redis that fails several in a row is away, and asked again once in a while only.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ficus_rules::plugin::RateLimit;
use ficus_rules::plugin::quota::{self, SCRIPT, Verdict};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

/// A Redis that is away is left alone for so long.
const ALONE: Duration = Duration::from_secs(1);
/// It is away after so many failures in a row, unless its connection broke.
const FAILURES: u32 = 3;
const LATE: &str = "it does not answer in time";

/// Where gateways count together.
#[derive(Clone)]
pub struct RedisServer {
    /// `redis://127.0.0.1:6379/0`
    pub url: String,
    /// Its password, if it asks for one.
    pub password: Option<String>,
    /// How long a request may wait for it.
    pub timeout: Duration,
}

/// A password is not printed.
impl std::fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisServer").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Whether a text can be [`RedisServer::url`].
///
/// # Errors
/// What it should look like.
pub fn check(url: &str) -> Result<(), String> {
    let fine = redis::Client::open(url).is_ok() && !url.contains('@');
    let like = "write it like \"redis://127.0.0.1:6379/0\", its password in a file of its own";
    if fine { Ok(()) } else { Err(format!("this is not an address of Redis: {like}")) }
}

/// A Redis, perhaps away.
pub(crate) struct Redis {
    server: RedisServer,
    script: redis::Script,
    link: Mutex<Link<MultiplexedConnection>>,
    /// One connects at a time.
    connecting: tokio::sync::Mutex<()>,
}

impl Redis {
    pub(crate) fn new(server: RedisServer) -> Redis {
        Redis { server, script: redis::Script::new(SCRIPT), link: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    /// Counts a request; `None`: it was not counted.
    pub(crate) async fn count(&self, limit: &RateLimit, key: &str) -> Option<Verdict> {
        let asked = Instant::now();
        let until = tokio::time::Instant::from_std(asked) + self.server.timeout;
        let line = match tokio::time::timeout_at(until, self.line()).await {
            Ok(Ok(line)) => line?,
            Ok(Err(error)) => return self.unreached(error.category()),
            Err(_) => return self.unreached(LATE),
        };
        let Line { connection, number } = line;
        let failed = |broke: bool, why: &str| {
            if self.link().failed(number, broke, asked, Instant::now()) {
                tracing::warn!(why, "requests cannot be counted in Redis");
            }
            None
        };
        match tokio::time::timeout_at(until, self.ask(connection, limit, key)).await {
            Ok(Ok(state)) => {
                self.link().answered(number);
                verdict(limit, &state)
            }
            Ok(Err(error)) => failed(error.is_io_error(), error.category()),
            Err(_) => failed(false, LATE),
        }
    }

    async fn ask(&self, mut connection: MultiplexedConnection, limit: &RateLimit, key: &str) -> redis::RedisResult<Vec<u64>> {
        let mut call = self.script.key(format!("ficus:limit:{key}"));
        for quota in &limit.quotas {
            call.arg(quota.interval()).arg(quota.tolerance());
        }
        call.invoke_async(&mut connection).await
    }

    /// The connection; `None`: Redis is away.
    async fn line(&self) -> redis::RedisResult<Option<Line<MultiplexedConnection>>> {
        if let Some(known) = self.link().known(Instant::now()) {
            return Ok(known);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(known) = self.link().known(Instant::now()) {
            return Ok(known);
        }
        let info: redis::ConnectionInfo = redis::IntoConnectionInfo::into_connection_info(self.server.url.as_str())?;
        let info = match &self.server.password {
            Some(password) => {
                let settings = info.redis_settings().clone().set_password(password.as_str());
                info.set_redis_settings(settings)
            }
            None => info,
        };
        // Each request has its own patience.
        let patient = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connection = redis::Client::open(info)?.get_multiplexed_async_connection_with_config(&patient).await?;
        let (line, again) = self.link().connected(connection);
        if again {
            tracing::info!("requests are counted in Redis again");
        }
        Ok(Some(line))
    }

    fn unreached<T>(&self, why: &str) -> Option<T> {
        if self.link().unreached(Instant::now()) {
            tracing::warn!(why, "requests cannot be counted in Redis");
        }
        None
    }

    fn link(&self) -> std::sync::MutexGuard<'_, Link<MultiplexedConnection>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, and which of them it is.
#[derive(Debug, Clone, PartialEq)]
struct Line<C> {
    connection: C,
    number: u64,
}

/// What is known of Redis. Pure: time comes in.
struct Link<C> {
    line: Option<Line<C>>,
    /// Connections so far.
    number: u64,
    /// Failures in a row. Those of questions that were under way at the same time are one.
    failures: u32,
    /// When the last of them was seen.
    failed: Option<Instant>,
    /// Since when Redis is away.
    away: Option<Instant>,
}

impl<C> Default for Link<C> {
    fn default() -> Link<C> {
        Link { line: None, number: 0, failures: 0, failed: None, away: None }
    }
}

impl<C: Clone> Link<C> {
    /// What is known without trying: a connection, or that Redis is away.
    #[allow(clippy::option_option, reason = "known to be away is known too")]
    fn known(&self, now: Instant) -> Option<Option<Line<C>>> {
        match (&self.line, self.away) {
            (Some(line), _) => Some(Some(line.clone())),
            (None, Some(since)) if now.saturating_duration_since(since) < ALONE => Some(None),
            (None, _) => None,
        }
    }

    /// A connection was made. Says whether Redis had been away.
    fn connected(&mut self, connection: C) -> (Line<C>, bool) {
        self.number += 1;
        let line = Line { connection, number: self.number };
        (self.line, self.failures) = (Some(line.clone()), 0);
        (line, self.away.take().is_some())
    }

    /// A connection could not be made. Says whether Redis is away by it, and was not before.
    fn unreached(&mut self, now: Instant) -> bool {
        // Somebody else's was made meanwhile.
        self.line.is_none() && self.away.replace(now).is_none()
    }

    /// A question of a connection was answered.
    fn answered(&mut self, number: u64) {
        if self.is_of(number) {
            self.failures = 0;
        }
    }

    /// A question of a connection, asked then, was not. Says whether Redis is away by it.
    fn failed(&mut self, number: u64, broke: bool, asked: Instant, now: Instant) -> bool {
        // What was asked of an older connection says nothing of this one.
        if !self.is_of(number) {
            return false;
        }
        if self.failed.is_none_or(|last| asked >= last) {
            (self.failures, self.failed) = (self.failures + 1, Some(now));
        }
        if !broke && self.failures < FAILURES {
            return false;
        }
        (self.line, self.away) = (None, Some(now));
        true
    }

    fn is_of(&self, number: u64) -> bool {
        self.line.as_ref().is_some_and(|line| line.number == number)
    }
}

/// The verdict that the script has made: from the state that it found, by the same arithmetic.
fn verdict(limit: &RateLimit, state: &[u64]) -> Option<Verdict> {
    let (now, before) = state.split_first()?;
    quota::admit(&limit.quotas, &mut before.to_vec(), *now)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Line, Link};

    fn link() -> (Link<&'static str>, impl Fn(u64) -> Instant) {
        let (mut link, start) = (Link::default(), Instant::now());
        assert_eq!(link.known(start), None);
        assert_eq!(link.connected("one"), (Line { connection: "one", number: 1 }, false));
        (link, move |millis| start + Duration::from_millis(millis))
    }

    #[test]
    fn redis_is_away_after_three_failures_one_after_the_other() {
        let (mut link, at) = link();
        assert!((0..50).all(|_| !link.failed(1, false, at(0), at(100))), "at the same time: one");
        assert!(!link.failed(1, false, at(100), at(200)));
        link.answered(1);
        assert!(!link.failed(1, false, at(200), at(300)) && !link.failed(1, false, at(300), at(400)));
        assert!(link.failed(1, false, at(400), at(500)));
        assert_eq!((link.known(at(1_499)), link.known(at(1_500))), (Some(None), None));
        assert!(!link.unreached(at(1_600)), "it was away before");
        assert_eq!(link.known(at(2_599)), Some(None));
        assert_eq!(link.connected("two"), (Line { connection: "two", number: 2 }, true));
    }

    #[test]
    fn a_connection_that_broke_is_over_at_once() {
        let (mut link, at) = link();
        assert!(link.failed(1, true, at(0), at(1)));
        assert_eq!(link.known(at(2)), Some(None));
    }

    #[test]
    fn what_an_older_connection_failed_leaves_the_next_one_alone() {
        let (mut link, at) = link();
        assert!(link.failed(1, true, at(0), at(1)));
        assert!(!link.failed(1, true, at(0), at(900)), "nor is Redis left alone for longer");
        assert_eq!(link.known(at(1_001)), None);
        link.connected("two");
        for late in 0..5 {
            assert!(!link.failed(1, late % 2 == 0, at(1_100 + late), at(1_200 + late)));
        }
        assert!(!link.unreached(at(2_000)), "nor what waited for a connection");
        assert!(link.known(at(2_001)).is_some_and(|line| line.is_some_and(|line| line.connection == "two")));
    }
}
