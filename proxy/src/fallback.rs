//! When modern fails a read, legacy answers it, as long as nothing has gone to the client. Never for a write.

use http::StatusCode;
use pingora::{Error, ErrorType};

use crate::answer;
use crate::carried::Carried;
use crate::client::Client;
use crate::metrics::metrics;
use ficus_rules::Side;
use ficus_rules::plan::FALLBACK_STATUSES;

/// Sends the request to legacy instead, if it may go there. The error then asks pingora for another try.
pub(crate) fn instead(carried: &mut Carried, session: &Client<'_>, error: &mut Error) -> bool {
    let falls_back = go(carried, session);
    if falls_back {
        error.set_retry(true);
    }
    falls_back
}

/// Turns the request to legacy, if it may go there.
pub(crate) fn go(carried: &mut Carried, session: &Client<'_>) -> bool {
    let may = carried.side == Side::Modern
        && !carried.fell_back
        && carried.decided(|decision| decision.fallback && !decision.write)
        && !answer::has_begun(session)
        && !session.has_lost_body();
    if may {
        carried.fall_back();
        metrics().fallbacks.with_label_values(&[carried.capability().unwrap_or("none")]).inc();
    }
    may
}

/// The error that stands for an answer that legacy should give instead.
pub(crate) fn of_answer(carried: &mut Carried, session: &Client<'_>, status: StatusCode) -> Option<Box<Error>> {
    let failed = carried.route().map_or(&FALLBACK_STATUSES[..], |route| &route.fallback_on).contains(&status.as_u16());
    let mut error = Error::explain(ErrorType::HTTPStatus(status.as_u16()), "modern failed a read").into_up();
    let chosen = failed && instead(carried, session, &mut error);
    carried.redirected |= chosen;
    chosen.then_some(error)
}
