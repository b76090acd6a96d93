//! Sends a request to another instance of the same upstream. One that was not sent may always go there. One that was sent
//! is a read, has got no answer yet, and is paid for from the upstream's budget; its body is still known. A write that may
//! have been carried out is never sent again.

use std::time::Instant;

use ficus_rules::decide::is_safe;
use http::StatusCode;
use pingora::{Error, ErrorType};

use crate::answer;
use crate::carried::Carried;
use crate::client::Client;
use crate::metrics::metrics;

/// Instances that a request is sent to at most, of one upstream.
const INSTANCES: usize = 4;

/// Why it goes elsewhere; for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The connection was refused, or not made in time: nothing was sent.
    Connect,
    /// The connection broke before an answer.
    Broken,
    /// The answer says that the instance cannot.
    Status,
}

impl Why {
    /// All of them.
    pub(crate) const ALL: [Why; 3] = [Why::Connect, Why::Broken, Why::Status];

    /// The word for metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Why::Connect => "connect",
            Why::Broken => "broken",
            Why::Status => "status",
        }
    }
}

/// Whether what was sent may be sent once more, as far as the request goes.
pub(crate) fn may_repeat(carried: &Carried, session: &Client<'_>) -> bool {
    is_safe(&carried.asked.method) && !carried.upgrades && !answer::has_begun(session) && !session.has_lost_body()
}

/// Whether the request goes to another instance next. The one that it has has failed it.
pub(crate) fn elsewhere(carried: &mut Carried, why: Why) -> bool {
    let now = Instant::now();
    let Some(lease) = &mut carried.lease else { return false };
    lease.failed(now);
    let (pool, tried) = (lease.pool(), lease.instance().authority());
    if !carried.tried.contains(tried) {
        carried.tried.push(tried.clone());
    }
    if carried.tried.len() >= INSTANCES || !pool.has_other(&carried.tried) {
        return false;
    }
    let may = why == Why::Connect || pool.may_repeat(now);
    match may {
        true => metrics().retries.with_label_values(&[pool.name(), why.as_str()]).inc(),
        false => metrics().retries_refused.with_label_values(&[pool.name()]).inc(),
    }
    may
}

/// The error that stands for an answer that another instance should give instead.
pub(crate) fn of_answer(carried: &mut Carried, session: &Client<'_>, status: StatusCode) -> Option<Box<Error>> {
    let retry = carried.lease.as_ref()?.pool().settings().retry.statuses.contains(&status.as_u16());
    if !retry || !may_repeat(carried, session) || !elsewhere(carried, Why::Status) {
        return None;
    }
    carried.redirected = true;
    let mut error = Error::explain(ErrorType::HTTPStatus(status.as_u16()), "an instance failed a read").into_up();
    error.set_retry(true);
    Some(error)
}
