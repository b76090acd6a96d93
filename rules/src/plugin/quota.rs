//! `rate_limit`: so many requests in so much time, by caller. The generic cell rate algorithm: a caller's state is one
//! number for each quota, the time at which its bucket would be full again. Time is an argument, in microseconds.
//!
//! Ours, because all quotas of a limit have to agree before any is charged, because the gateway's own memory and the
//! script in Redis ([`SCRIPT`]) must count alike, and because the number of callers that are remembered has a bound.

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{Answer, Asking};

/// A limit on a route or on a capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// What is counted together: the capability, or one route of it. Survives a new line number.
    pub scope: String,
    /// All of them hold.
    pub quotas: Vec<Quota>,
    /// What identifies a caller: the first that the request has; else the address.
    pub by: Vec<By>,
    /// Counted together with other gateways; what holds while that cannot be done.
    pub shared: Option<WhenAway>,
    /// Says in answers how much is left.
    pub headers: bool,
}

/// So many requests in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests.
    pub count: u32,
    /// In this time.
    pub per: Duration,
    /// So many of them at once.
    pub burst: u32,
}

/// What identifies a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The verified user.
    User,
    /// The client's address; of IPv6 its network (/64), which is one client's.
    Address,
    /// The value of a header.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
    /// Nothing: all callers count together.
    Everybody,
}

/// What holds while the gateways cannot count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenAway {
    /// Each gateway counts by itself.
    Local,
    /// Nobody is counted.
    Open,
    /// Nobody is let through.
    Closed,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// It may go on.
    pub allowed: bool,
    /// The quota that is nearest to its end.
    pub quota: Quota,
    /// Of that one: so many may follow at once.
    pub remaining: u32,
    /// When that one is whole again.
    pub reset: Duration,
    /// When the next one may come; zero if it may now.
    pub retry_after: Duration,
}

/// Counts in Redis. `KEYS[1]`: the caller. `ARGV`: interval and tolerance of each quota, in microseconds. Gives back the
/// server's time and the state before, from which [`admit`] makes the same verdict.
pub const SCRIPT: &str = r"
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local before, after, allowed, keep = {}, {}, true, 0
local kept = redis.call('GET', KEYS[1])
if kept then for full in string.gmatch(kept, '%d+') do before[#before + 1] = tonumber(full) end end
for i = 1, #ARGV / 2 do
  local interval, tolerance = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  before[i] = before[i] or 0
  local full = math.max(before[i], now) + interval
  if full - now > tolerance then allowed = false end
  after[i] = string.format('%.0f', full)
  keep = math.max(keep, full - now)
end
if allowed then redis.call('SET', KEYS[1], table.concat(after, ' '), 'PX', math.ceil(keep / 1000) + 1) end
local answer = { now }
for i = 1, #ARGV / 2 do answer[i + 1] = before[i] end
return answer
";

impl Quota {
    /// The time that one request takes up, in microseconds.
    pub fn interval(&self) -> u64 {
        let micros = u64::try_from(self.per.as_micros()).unwrap_or(u64::MAX);
        (micros / u64::from(self.count.max(1))).max(1)
    }

    /// The time that may be taken up at once.
    pub fn tolerance(&self) -> u64 {
        self.interval().saturating_mul(u64::from(self.burst.max(1)))
    }

    /// After one more request: when the bucket is whole again, if the request may go.
    fn after(&self, full: u64, now: u64) -> (u64, bool) {
        let after = full.max(now).saturating_add(self.interval());
        (after, after - now <= self.tolerance())
    }
}

/// Charges all quotas for one request, or none. `full`: the state, which is made as long as the quotas are many.
pub fn admit(quotas: &[Quota], full: &mut Vec<u64>, now: u64) -> Option<Verdict> {
    full.resize(quotas.len(), 0);
    let states = || quotas.iter().zip(full.iter().copied());
    let allowed = states().all(|(quota, full)| quota.after(full, now).1);
    let verdicts = states().map(|(quota, full)| {
        let (after, may) = quota.after(full, now);
        let stands = if allowed { after } else { full.max(now) };
        let remaining = (quota.tolerance() - (stands - now).min(quota.tolerance())) / quota.interval();
        let wait = if may { 0 } else { after - now - quota.tolerance() };
        Verdict {
            allowed,
            quota: *quota,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            reset: Duration::from_micros(stands - now),
            retry_after: Duration::from_micros(wait),
        }
    });
    let nearest = verdicts.min_by_key(|one| (std::cmp::Reverse(one.retry_after), one.remaining));
    if allowed {
        for (full, quota) in full.iter_mut().zip(quotas) {
            *full = quota.after(*full, now).0;
        }
    }
    nearest
}

impl RateLimit {
    /// What the caller is counted by: the scope, and who it is. Values of headers and cookies are secrets as often as not,
    /// and stand in it as their hash only.
    pub fn key(&self, asking: &Asking<'_>, user: Option<&str>) -> String {
        let hidden = |kind: &str, value: &str| {
            let hash: String = Sha256::digest(value).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            format!("{kind}:{hash}")
        };
        let found = self.by.iter().find_map(|by| match by {
            By::User => user.map(|user| format!("user:{user}")),
            By::Address => asking.client.map(address),
            By::Header(name) => asking.request.header(name).map(|value| hidden("header", value)),
            By::Cookie(name) => asking.request.cookie(name).map(|value| hidden("cookie", value)),
            By::Everybody => Some("everybody".to_owned()),
        });
        let who = found.or_else(|| asking.client.map(address)).unwrap_or_else(|| "unknown".to_owned());
        format!("{}|{who}", self.scope)
    }

    /// What answers say of a verdict: the nearest quota, and all quotas.
    pub fn said(&self, verdict: &Verdict) -> Vec<(&'static str, String)> {
        if !self.headers {
            return Vec::new();
        }
        let policy: Vec<String> = self.quotas.iter().map(|quota| format!("{};w={}", quota.count, quota.per.as_secs().max(1))).collect();
        vec![
            ("ratelimit-limit", verdict.quota.burst.to_string()),
            ("ratelimit-remaining", verdict.remaining.to_string()),
            ("ratelimit-reset", seconds(verdict.reset).to_string()),
            ("ratelimit-policy", policy.join(", ")),
        ]
    }

    /// The answer to one request too many. Its headers of the limit are added as to every answer.
    pub fn denied(verdict: &Verdict) -> Answer {
        let after = seconds(verdict.retry_after).max(1);
        Answer::new(429, "rate_limit", "too many requests; wait a moment").with("retry-after", after.to_string())
    }

    /// The answer while gateways cannot count together, and nobody is let through uncounted.
    pub fn uncounted() -> Answer {
        Answer::new(503, "rate_limit_away", "requests cannot be counted at the moment, and none is served uncounted")
            .with("retry-after", "1")
    }
}

/// Whole seconds, rounded up: who waits for so long does not come too early.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn address(client: IpAddr) -> String {
    match client {
        IpAddr::V4(client) => format!("address:{client}"),
        IpAddr::V6(client) => {
            let [a, b, c, d, ..] = client.segments();
            format!("address:{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

impl By {
    /// Its word in rule files.
    pub fn as_word(&self) -> String {
        match self {
            By::User => "user".to_owned(),
            By::Address => "address".to_owned(),
            By::Header(name) => format!("header:{name}"),
            By::Cookie(name) => format!("cookie:{name}"),
            By::Everybody => "everybody".to_owned(),
        }
    }
}

impl WhenAway {
    /// All choices.
    pub const ALL: [WhenAway; 3] = [WhenAway::Local, WhenAway::Open, WhenAway::Closed];

    /// Its word in rule files.
    pub const fn as_str(self) -> &'static str {
        match self {
            WhenAway::Local => "local",
            WhenAway::Open => "open",
            WhenAway::Closed => "closed",
        }
    }
}
