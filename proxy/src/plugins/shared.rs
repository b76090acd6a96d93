//! Counting together with other gateways, in Redis: one script, one round trip, Redis' own clock. While Redis does not
//! answer, it is asked again once in a while only, so that no request waits for it twice.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ficus_rules::plugin::RateLimit;
use ficus_rules::plugin::quota::{self, SCRIPT, Verdict};
use redis::aio::MultiplexedConnection;

/// After a failure, Redis is left alone for so long.
const ALONE: Duration = Duration::from_secs(1);

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
    link: Mutex<Link>,
    /// One connects at a time.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Link {
    connection: Option<MultiplexedConnection>,
    failed: Option<Instant>,
}

impl Redis {
    pub(crate) fn new(server: RedisServer) -> Redis {
        Redis { server, script: redis::Script::new(SCRIPT), link: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    /// Counts a request; `None`: Redis is away.
    pub(crate) async fn count(&self, limit: &RateLimit, key: &str) -> Option<Verdict> {
        let asked = tokio::time::timeout(self.server.timeout, self.ask(limit, key));
        match asked.await {
            Ok(Ok(Some(state))) => verdict(limit, &state),
            Ok(Ok(None)) => None,
            Ok(Err(error)) => {
                self.lost(error.category());
                None
            }
            Err(_) => {
                self.lost("it does not answer in time");
                None
            }
        }
    }

    async fn ask(&self, limit: &RateLimit, key: &str) -> redis::RedisResult<Option<Vec<u64>>> {
        let Some(mut connection) = self.connection().await? else { return Ok(None) };
        let mut call = self.script.key(format!("ficus:limit:{key}"));
        for quota in &limit.quotas {
            call.arg(quota.interval()).arg(quota.tolerance());
        }
        call.invoke_async(&mut connection).await.map(Some)
    }

    /// The connection; `None` shortly after a failure.
    async fn connection(&self) -> redis::RedisResult<Option<MultiplexedConnection>> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(known) = self.known() {
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
        let connection = redis::Client::open(info)?.get_multiplexed_async_connection().await?;
        let mut link = self.link();
        link.connection = Some(connection.clone());
        if link.failed.take().is_some() {
            tracing::info!("requests are counted in Redis again");
        }
        Ok(Some(connection))
    }

    /// What is known without trying: a connection, or that there is none just now.
    #[allow(clippy::option_option, reason = "known to be away is known too")]
    fn known(&self) -> Option<Option<MultiplexedConnection>> {
        let link = self.link();
        match (&link.connection, link.failed) {
            (Some(connection), _) => Some(Some(connection.clone())),
            (None, Some(failed)) if failed.elapsed() < ALONE => Some(None),
            (None, _) => None,
        }
    }

    fn lost(&self, why: &str) {
        let mut link = self.link();
        link.connection = None;
        if link.failed.replace(Instant::now()).is_none() {
            tracing::warn!(why, "requests cannot be counted in Redis");
        }
    }

    fn link(&self) -> std::sync::MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The verdict that the script has made: from the state that it found, by the same arithmetic.
fn verdict(limit: &RateLimit, state: &[u64]) -> Option<Verdict> {
    let (now, before) = state.split_first()?;
    quota::admit(&limit.quotas, &mut before.to_vec(), *now)
}
