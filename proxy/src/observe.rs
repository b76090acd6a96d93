//! What is left of a request when it is over: counters, histograms, one line of the access log, and spans if it is
//! recorded. Never values of headers or bodies, and of queries only where that was asked for.

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime};

use ficus_rules::access::{AccessLine, redacted, without_secrets};
use ficus_rules::{Side, Timestamp};
use http::StatusCode;
use pingora::proxy::Session;

use crate::carried::Carried;
use crate::config::QueryTold;
use crate::gateway::Inner;
use crate::metrics::{By, Requests, metrics};
use crate::spans::{self, Kind, Span};

/// A client that leaves after it has waited so long for an answer to begin did not change its mind: its side hangs.
const HANGS: Duration = Duration::from_secs(1);

/// How large the bodies of a request were, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    /// From the client.
    pub(crate) received: u64,
    /// To the client.
    pub(crate) sent: u64,
}

impl Sizes {
    /// What went through a session.
    pub(crate) fn of(session: &Session) -> Sizes {
        Sizes { received: session.body_bytes_read() as u64, sent: session.body_bytes_sent() as u64 }
    }
}

/// Counts a request that is over. `client_left`: nobody got the answer, so that it says nothing about a side, unless it was
/// waited for in vain.
pub(crate) fn finish(gateway: &Inner, sizes: Sizes, carried: &mut Carried, client_left: bool) {
    let status = carried.status.unwrap_or(StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST));
    let now = Instant::now();
    if !client_left || carried.answered.is_some() {
        carried.end_attempt(status.is_server_error(), now);
    } else if carried.unanswered(now).is_some_and(|waited| waited >= HANGS) {
        carried.end_attempt(true, now);
    }
    let took = now - carried.started;
    count(gateway, carried, status, took);
    if let Some(lines) = &gateway.lines {
        lines.put(&line(gateway, sizes, carried, took, status, client_left));
    }
    if let Some(spans) = gateway.spans.as_ref().filter(|_| carried.trace.sampled) {
        end_try(carried, status.is_server_error());
        let of_gateway = span(gateway, sizes, carried, took, status);
        let mut all = std::mem::take(&mut carried.spans);
        all.push(of_gateway);
        spans.put(all);
    }
}

fn count(gateway: &Inner, carried: &Carried, status: StatusCode, took: Duration) {
    let because = carried.decision.as_ref().map(|decision| decision.because);
    let phase = carried.capability().map(|_| carried.serving().phase);
    match (&carried.counters, carried.capability()) {
        (Some(counters), Some(_)) => counters.requests.count(by(carried), phase, status, because, took),
        (None, Some(capability)) => gateway.counters.of(capability).requests.count(by(carried), phase, status, because, took),
        (_, None) => Requests::of_none().count(by(carried), phase, status, because, took),
    }
    if let Some(reason) = carried.refused {
        metrics().refusals.with_label_values(&[reason]).inc();
    }
}

/// The line of the access log.
fn line<'a>(
    gateway: &'a Inner,
    sizes: Sizes,
    carried: &'a Carried,
    took: Duration,
    status: StatusCode,
    client_left: bool,
) -> AccessLine<'a> {
    let (asked, decision) = (&carried.asked, carried.decision.as_ref());
    let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    let query = match gateway.config.access_log.as_ref().map(|log| log.query).unwrap_or_default() {
        QueryTold::Nothing => Cow::Borrowed(""),
        QueryTold::Names => Cow::Owned(redacted(&asked.query)),
        QueryTold::Values => Cow::Borrowed(&*asked.query),
    };
    let upstream = || Cow::Borrowed(carried.upstream(&gateway.config.default_upstream));
    AccessLine {
        time: when(Timestamp::from(carried.arrived)).into(),
        request_id: Cow::Borrowed(&carried.request_id),
        trace_id: carried.trace.text().into(),
        client: carried.client.map(|client| carried.peer.text(client)),
        method: Cow::Borrowed(&asked.method),
        host: Cow::Borrowed(&asked.host),
        path: without_secrets(&asked.path, &gateway.config.hide_paths_after),
        raw_path: asked.raw_path.as_deref().map(|raw| without_secrets(raw, &gateway.config.hide_paths_after)),
        query,
        status: status.as_u16(),
        side: Cow::Borrowed(by(carried).as_str()),
        upstream: carried.timings.last.map(|_| upstream()),
        capability: carried.capability().map(Cow::Borrowed),
        route: decision.and_then(|decision| decision.route.as_deref()).map(Cow::Borrowed),
        phase: carried.capability().map(|_| carried.serving().phase),
        because: Cow::Borrowed(because(carried)),
        cohort: decision.and_then(|decision| decision.cohort.clone()),
        generation: carried.snapshot.published.generation,
        refused: carried.refused.map(Cow::Borrowed),
        fallback: carried.fell_back,
        cached: carried.from_cache,
        client_left,
        upgrade: carried.upgrades && status == StatusCode::SWITCHING_PROTOCOLS,
        total_ms: millis(took),
        connect_ms: carried.timings.connect.map(millis),
        first_byte_ms: carried.timings.first_byte.map(millis),
        hold_ms: carried.timings.hold.map(millis),
        received_bytes: sizes.received,
        sent_bytes: sizes.sent,
    }
}

/// A moment as lines tell it. All of a second begin alike, and to write a date costs more than the rest of a line.
fn when(at: Timestamp) -> String {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    SECOND.with_borrow_mut(|(second, date)| {
        if *second != at.seconds() || date.is_empty() {
            (*second, *date) = (at.seconds(), at.rfc3339());
            date.truncate(date.rfind('.').unwrap_or(date.len()));
        }
        let (mut text, millis) = (String::with_capacity(24), at.0 % 1000);
        text.push_str(date);
        text.push('.');
        [millis / 100, millis / 10 % 10, millis % 10]
            .iter()
            .filter_map(|digit| char::from_digit(*digit as u32, 10))
            .for_each(|digit| text.push(digit));
        text.push('Z');
        text
    })
}

/// The span of the gateway for a request.
fn span(gateway: &Inner, sizes: Sizes, carried: &Carried, took: Duration, status: StatusCode) -> Span {
    let (asked, decision) = (&carried.asked, carried.decision.as_ref());
    let route = decision.and_then(|decision| decision.route.as_deref());
    let pattern = carried.route().map(|route| route.path.as_str());
    let mut attributes: Vec<(&'static str, spans::Value)> = vec![
        ("http.request.method", (&*asked.method).into()),
        ("url.path", (&*without_secrets(&asked.path, &gateway.config.hide_paths_after)).into()),
        ("server.address", (&*asked.host).into()),
        ("http.response.status_code", spans::Value::Number(i64::from(status.as_u16()))),
        ("http.response.body.size", spans::Value::Number(i64::try_from(sizes.sent).unwrap_or(i64::MAX))),
        ("ficus.request_id", (&*carried.request_id).into()),
        ("ficus.side", by(carried).as_str().into()),
        ("ficus.because", because(carried).into()),
        ("ficus.fallback", spans::Value::Is(carried.fell_back)),
    ];
    let client = carried.client.map(|client| client.to_string());
    let some = [
        ("client.address", client.as_deref()),
        ("http.route", pattern),
        ("ficus.capability", carried.capability()),
        ("ficus.route", route),
        ("ficus.refused", carried.refused),
    ];
    attributes.extend(some.into_iter().filter_map(|(name, value)| Some((name, value?.into()))));
    if let Some(hold) = carried.timings.hold {
        attributes.push(("ficus.hold_ms", spans::Value::Number(i64::try_from(hold.as_millis()).unwrap_or(i64::MAX))));
    }
    Span {
        trace: carried.trace.id,
        id: carried.trace.span,
        parent: carried.trace.parent,
        // Few names, whatever the clients ask for.
        name: pattern.map_or_else(|| asked.method.clone(), |pattern| format!("{} {pattern}", asked.method)),
        kind: Kind::Server,
        began: SystemTime::now() - took,
        took,
        failed: status.is_server_error(),
        attributes,
    }
}

/// The last try is over: it leaves a span, if the request is recorded.
pub(crate) fn end_try(carried: &mut Carried, failed: bool) {
    let Some(last) = carried.timings.last.filter(|_| carried.trace.sampled) else { return };
    let took = last.began.elapsed();
    let times = [("ficus.connect_us", carried.timings.connect), ("ficus.first_byte_us", carried.timings.first_byte)];
    let micros = |time: Duration| spans::Value::Number(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    carried.spans.push(Span {
        trace: carried.trace.id,
        id: last.span,
        parent: Some(carried.trace.span),
        name: format!("{} {}", carried.asked.method, last.side),
        kind: Kind::Client,
        began: SystemTime::now() - took,
        took,
        failed,
        attributes: times.into_iter().filter_map(|(name, time)| Some((name, micros(time?)))).collect(),
    });
}

fn by(carried: &Carried) -> By {
    match carried.side {
        _ if carried.refused.is_some() => By::Gateway,
        Side::Legacy => By::Legacy,
        Side::Modern => By::Modern,
    }
}

fn because(carried: &Carried) -> &'static str {
    carried.decision.as_ref().map_or("undecided", |decision| decision.because.as_str())
}

#[cfg(test)]
mod tests {
    use ficus_rules::Timestamp;

    use super::when;

    #[test]
    fn a_moment_is_told_as_its_date_and_milliseconds() {
        for at in [0, 7, 999, 1_000, 1_783_339_199_999, 1_783_339_200_000, 1_783_339_200_050, 1_783_339_199_123].map(Timestamp) {
            assert_eq!(when(at), at.rfc3339());
        }
    }
}
