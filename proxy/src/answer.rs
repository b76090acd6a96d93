//! What the gateway answers itself: refusals and failures, as JSON or as a small page, whichever the client asked for.
//! The one place where such answers are written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;

use crate::carried::Carried;
use crate::client::Client;
use crate::plugins;

/// How much of a body that nobody wants is read before the answer, so that its connection can be used again.
const DRAINED: usize = 256 * 1024;
/// How much is read after the answer, so that the client gets to read it.
const LINGERED: usize = 16 * 1024 * 1024;
/// How long either may take.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// Why a request is not forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// One word for logs.
    pub(crate) reason: &'static str,
    /// A sentence for the client.
    pub(crate) detail: String,
    /// Seconds after which trying again makes sense.
    pub(crate) retry_after: Option<u32>,
    /// Where to ask instead.
    pub(crate) location: Option<Box<str>>,
    /// Headers beside the usual ones.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// HTML instead of the usual page.
    pub(crate) page: Option<Arc<str>>,
    /// JSON instead of either.
    pub(crate) told: Option<Box<serde_json::Value>>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, reason: &'static str, detail: &str) -> Refusal {
        let detail = detail.to_owned();
        Refusal { status, reason, detail, retry_after: None, location: None, headers: Vec::new(), page: None, told: None }
    }

    /// A redirect.
    pub(crate) fn elsewhere(status: StatusCode, reason: &'static str, location: String) -> Refusal {
        Refusal { location: Some(location.into()), ..Refusal::new(status, reason, "this is served elsewhere") }
    }

    /// 503: try again in a moment.
    pub(crate) fn later(reason: &'static str, detail: &str) -> Refusal {
        Refusal { retry_after: Some(1), ..Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason, detail) }
    }
}

/// Whether an answer is on its way to the client. What tells it to go on, and to send its body, is none.
pub(crate) fn has_begun(session: &Client<'_>) -> bool {
    session.written().is_some_and(|status| !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS)
}

/// Writes an answer, unless one has begun.
pub(crate) async fn write(session: &mut Client<'_>, refusal: &Refusal, carried: &Carried) -> pingora::Result<()> {
    if has_begun(session) {
        return Ok(());
    }
    let request_id = carried.request_id.as_str();
    let (kind, body) = body(refusal, carried.asked.wants_json(), request_id);
    let mut head = ResponseHeader::build(refusal.status, Some(6))?;
    let empty = refusal.status == StatusCode::NO_CONTENT;
    // What HEAD is answered has the length of the body that GET would get, and none (RFC 9110, 9.3.2).
    let bodiless = empty || session.head().method == Method::HEAD;
    if !empty {
        head.insert_header("content-type", kind)?;
        head.insert_header("content-length", body.len())?;
    }
    head.insert_header("cache-control", "no-store")?;
    head.insert_header("x-request-id", request_id)?;
    if let Some(seconds) = refusal.retry_after {
        head.insert_header("retry-after", seconds)?;
    }
    if let Some(location) = &refusal.location {
        head.insert_header("location", &**location)?;
    }
    if refusal.status == StatusCode::UNAUTHORIZED {
        // A challenge must be there (RFC 9110, 11.6.1); browsers open no window for this one.
        head.insert_header("www-authenticate", "Bearer")?;
    }
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        head.insert_header("allow", "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE")?;
    }
    for (name, value) in &refusal.headers {
        head.insert_header(*name, value.as_str())?;
    }
    plugins::on_the_way_back(carried, &mut head);
    let unread = drain(session, DRAINED).await;
    if unread {
        session.ends();
    }
    session.write_head(Box::new(head), bodiless).await?;
    if !bodiless {
        session.write_body(body).await?;
    }
    if unread {
        drain(session, LINGERED).await;
    }
    Ok(())
}

/// Reads and forgets the request body, up to a number of bytes and for a moment. A connection that is closed with unread
/// bytes is reset, and a reset can overtake the answer. Whether there is more of it.
async fn drain(session: &mut Client<'_>, most: usize) -> bool {
    let Some(session) = session.session() else { return false };
    let read = async {
        let mut read = 0;
        while read < most && !session.is_body_done() {
            match session.read_request_body().await {
                Ok(Some(chunk)) => read += chunk.len(),
                Ok(None) | Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_LIMIT, read).await;
    !session.is_body_done()
}

fn body(refusal: &Refusal, json: bool, request_id: &str) -> (&'static str, Bytes) {
    if let Some(told) = &refusal.told {
        return ("application/json", Bytes::from(told.to_string()));
    }
    if json {
        let body = serde_json::json!({"detail": refusal.detail, "request_id": request_id});
        return ("application/json", Bytes::from(body.to_string()));
    }
    if let Some(page) = &refusal.page {
        return ("text/html; charset=utf-8", Bytes::from(page.to_string()));
    }
    let title = format!("{} {}", refusal.status.as_u16(), refusal.status.canonical_reason().unwrap_or_default());
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head><body><h1>{title}</h1>\
         <p>{}</p><p><small>Request {}</small></p></body></html>\n",
        escaped(&refusal.detail),
        escaped(request_id)
    );
    ("text/html; charset=utf-8", Bytes::from(page))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
