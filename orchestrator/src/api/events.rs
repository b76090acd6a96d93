//! For the console: the status as server-sent events, a message whenever it is another one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use ficus_rules::Timestamp;
use ficus_rules::api::Status;
use futures::stream;

use super::Shares;
use super::answer::problem;
use crate::fleet::now;
use crate::{Shared, status};

/// How often to look whether it is another one.
const LOOK: Duration = Duration::from_millis(400);
/// A comment after so long without a message, so that proxies keep the connection and clients notice that one is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Streams at a time; each computes the status for itself.
pub(crate) const STREAMS: usize = 64;

/// What one stream carries along.
struct Stream {
    shared: Arc<Shared>,
    /// What was told last, but for when.
    told: Option<Status>,
    /// Given back when the stream ends.
    _permit: tokio::sync::OwnedSemaphorePermit,
}

pub(super) async fn events(State(shared): State<Shares>) -> Response {
    let Ok(permit) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{STREAMS} streams are open already: close a console, or ask for the status"),
        );
    };
    let stream = stream::unfold(Stream { shared, told: None, _permit: permit }, |mut stream| async move {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

impl Stream {
    /// The next status that is another one; `None` when the orchestrator ends.
    async fn next(&mut self) -> Option<Event> {
        let mut stopping = self.shared.stopping.subscribe();
        loop {
            if self.told.is_some() {
                tokio::select! {
                    () = crate::stopped(&mut stopping) => return None,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
            let status = status::whole(&self.shared, now());
            let same = Status { at: Timestamp(0), ..status.clone() };
            if self.told.as_ref() != Some(&same) {
                self.told = Some(same);
                return Event::default().event("status").json_data(status).ok();
            }
        }
    }
}
