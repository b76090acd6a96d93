//! For the console: the status as server-sent events, a message whenever it is another one; and a message whenever the journal,
//! the differences, the rows that are set aside or the curves of the capability that is looked at are others, which the console then asks for. However many streams
//! are open, they look together.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use ficus_rules::Timestamp;
use ficus_rules::api::Status;
use futures::stream;
use serde::Deserialize;

use super::Shares;
use super::answer::problem;
use crate::changes::Changed;
use crate::fleet::now;
use crate::{Shared, status};

/// How often a stream asks whether it is another one.
const ASK: Duration = Duration::from_millis(400);
/// A look that is no older serves all streams.
const FRESH: Duration = Duration::from_millis(200);
/// A comment after so long without a message, so that proxies keep the connection and clients notice that one is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Streams at a time.
pub(crate) const STREAMS: usize = 64;

/// The last look at the status, for all streams.
#[derive(Default)]
pub(crate) struct Look(Mutex<Option<Seen>>);

/// What was seen.
struct Seen {
    at: Instant,
    /// Another one whenever the status is.
    number: u64,
    /// The status, but for when it was written.
    same: Status,
    message: Arc<str>,
}

/// What a stream is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Of {
    /// Also when the curves of this capability have moved on.
    capability: Option<String>,
}

/// What one stream carries along.
struct Stream {
    shared: Arc<Shared>,
    of: Of,
    /// The number of what was told last.
    told: Option<u64>,
    /// What was told last beside it.
    changed: Option<Changed>,
    /// Given back when the stream ends.
    _permit: tokio::sync::OwnedSemaphorePermit,
}

pub(super) async fn events(State(shared): State<Shares>, Query(of): Query<Of>) -> Response {
    let Ok(permit) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{STREAMS} streams are open already: close a console, or ask for the status"),
        );
    };
    let stream = stream::unfold(Stream { shared, of, told: None, changed: None, _permit: permit }, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

impl Stream {
    /// The next status that is another one, and after the first one also what else has changed; `None` when the orchestrator ends.
    async fn next(&mut self) -> Option<Event> {
        let mut stopping = self.shared.stopping.subscribe();
        let shared = &self.shared;
        loop {
            // Before each look, for a status may be another one at every look.
            if self.told.is_some() {
                let traffic = self.of.capability.as_deref().and_then(|name| shared.fleet.newest_of_curve(name));
                let changed = Some(shared.changes.with(traffic));
                if changed != self.changed {
                    self.changed = changed;
                    return Event::default().event("changed").json_data(&self.changed).ok();
                }
                tokio::select! {
                    () = crate::stopped(&mut stopping) => return None,
                    () = tokio::time::sleep(ASK) => {}
                }
            }
            if let Some((number, message)) = shared.look.other(self.told, Instant::now(), || status::whole(shared, now())) {
                self.told = Some(number);
                return Some(Event::default().event("status").data(message));
            }
        }
    }
}

impl Look {
    /// The status in JSON, with its number, if it is another one than was told; looks anew when the last look is too old.
    fn other(&self, told: Option<u64>, now: Instant, look: impl FnOnce() -> Status) -> Option<(u64, Arc<str>)> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.as_ref().is_none_or(|seen| now.saturating_duration_since(seen.at) > FRESH) {
            let status = look();
            let same = Status { at: Timestamp(0), ..status.clone() };
            match &mut *seen {
                Some(seen) if seen.same == same => seen.at = now,
                _ => {
                    let number = seen.as_ref().map_or(0, |seen| seen.number + 1);
                    let message = serde_json::to_string(&status).ok()?.into();
                    *seen = Some(Seen { at: now, number, same, message });
                }
            }
        }
        seen.as_ref().filter(|seen| told != Some(seen.number)).map(|seen| (seen.number, Arc::clone(&seen.message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(generation: u64, at: u64) -> Status {
        let empty = serde_json::json!({ "complaints": [], "warnings": [], "generation": 1 });
        let status = serde_json::json!({
            "generation": generation, "at": at, "rules": empty, "capabilities": {}, "gateways": [], "agents": [],
            "overrides": { "pins": [], "flags": {} }
        });
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn however_many_streams_ask_there_is_one_look() {
        let (look, begun) = (Look::default(), Instant::now());
        let mut looks = 0;
        let mut ask = |told, after_ms, generation| {
            let now = begun + Duration::from_millis(after_ms);
            look.other(told, now, || {
                looks += 1;
                status(generation, after_ms)
            })
        };
        for stream in 0..STREAMS as u64 {
            let (number, message) = ask(None, stream, 7).expect("who comes is told");
            assert!(number == 0 && message.contains("\"generation\":7"), "{number}: {message}");
        }
        for stream in 0..STREAMS as u64 {
            assert_eq!(ask(Some(0), 400 + stream, 7), None, "only the time of the look is another one");
        }
        let (number, message) = ask(Some(0), 800, 8).expect("another status");
        assert!(number == 1 && message.contains("\"generation\":8"), "{number}: {message}");
        assert_eq!(ask(Some(0), 801, 9).map(|(number, _)| number), Some(1), "a stream that was late");
        assert_eq!(ask(Some(1), 802, 9), None);
        assert_eq!(looks, 3);
    }
}
