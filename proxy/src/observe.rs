//! What is left of a request when it is over: counters, histograms and one access line. Never values of headers, bodies
//! or queries.

use ficus_rules::decide::Because;
use http::StatusCode;

use crate::carried::Carried;
use crate::metrics::metrics;

/// Counts a request that is over. `client_left`: nobody got the answer, so that it says nothing about a side.
pub(crate) fn finish(carried: &mut Carried, client_left: bool) {
    let status = carried.status.unwrap_or(StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST));
    if !client_left || carried.answered.is_some() {
        carried.end_attempt(status.is_server_error());
    }
    let took = carried.started.elapsed();
    let capability = carried.capability().unwrap_or("none").to_owned();
    let side = if carried.refused.is_some() { "gateway" } else { carried.side.as_str() };
    let phase = phase(carried);
    let metrics = metrics();
    metrics.requests.with_label_values(&[&*capability, side, &*phase, class(status)]).inc();
    metrics.duration.with_label_values(&[&*capability, side]).observe(took.as_secs_f64());
    let because = carried.decision.as_ref().map(|decision| &decision.because).map_or("undecided", Because::as_str);
    metrics.decisions.with_label_values(&[&*capability, because]).inc();
    if let Some(reason) = carried.refused {
        metrics.refusals.with_label_values(&[reason]).inc();
    }
    tracing::info!(
        target: "access",
        method = carried.asked.method,
        path = carried.asked.path,
        status = status.as_u16(),
        side,
        capability,
        because,
        refused = carried.refused,
        fallback = carried.fell_back,
        cached = carried.from_cache,
        client_left,
        ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        request_id = carried.request_id,
        "request"
    );
}

fn phase(carried: &Carried) -> String {
    if carried.capability().is_none() {
        return "none".to_owned();
    }
    // The name of a phase in metrics is the one in messages.
    serde_json::to_value(carried.serving().phase).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}
