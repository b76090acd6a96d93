//! Carries spans to a collector: OTLP over HTTP, in batches, off the request path. Bounded: what does not fit is dropped and
//! counted, and so is a batch that the collector does not take at the second try.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;

use super::{Span, otlp};
use crate::Error;
use crate::config::Tracing;
use crate::identity::connector;
use crate::metrics::metrics;

/// Spans that wait.
const QUEUED: usize = 4096;
/// Spans in one export at most.
const BATCH: usize = 512;
/// How long spans wait for others.
const GATHERED_FOR: Duration = Duration::from_secs(1);
/// How long the collector may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Before the second try.
const AGAIN: Duration = Duration::from_secs(1);

/// The way of spans to the collector.
pub(crate) struct Spans {
    queue: mpsc::Sender<Vec<Span>>,
    waiting: std::sync::Mutex<Option<mpsc::Receiver<Vec<Span>>>>,
    client: Collector,
    config: Tracing,
}

type Collector = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

impl Spans {
    pub(crate) fn new(config: Tracing) -> Result<Spans, Error> {
        let (queue, waiting) = mpsc::channel(QUEUED);
        let connector = connector(config.authority.as_deref()).map_err(Error::Certificate)?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Spans { queue, waiting: std::sync::Mutex::new(Some(waiting)), client, config })
    }

    /// The share of the traces that begin here which is recorded.
    pub(crate) fn share(&self) -> ficus_rules::Share {
        self.config.sample
    }

    /// Hands the spans of a request over. Never waits.
    pub(crate) fn put(&self, spans: Vec<Span>) {
        let count = spans.len();
        if self.queue.try_send(spans).is_err() {
            dropped("queue_full", count);
        }
    }

    /// Carries spans off until the gateway is gone; only the first caller does.
    pub(crate) async fn run(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(mut waiting) = waiting else { return };
        let mut failing = false;
        while let Some(mut batch) = waiting.recv().await {
            let gathered = tokio::time::Instant::now() + GATHERED_FOR;
            while batch.len() < BATCH
                && let Ok(Some(more)) = tokio::time::timeout_at(gathered, waiting.recv()).await
            {
                batch.extend(more);
            }
            let body = Bytes::from(otlp::encode(&self.config.service, &batch));
            let sent = match self.send(body.clone()).await {
                Err(Refused { again: true, .. }) => {
                    tokio::time::sleep(AGAIN).await;
                    self.send(body).await
                }
                sent => sent,
            };
            match &sent {
                Ok(()) => metrics().spans_exported.inc_by(batch.len() as u64),
                Err(refused) => {
                    if !failing {
                        tracing::warn!(why = refused.why, collector = self.config.address, "the collector does not take spans");
                    }
                    dropped("refused", batch.len());
                }
            }
            failing = sent.is_err();
        }
    }

    async fn send(&self, body: Bytes) -> Result<(), Refused> {
        let scheme = if self.config.https { "https" } else { "http" };
        let request = Request::post(format!("{scheme}://{}{}", self.config.address, self.config.path))
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(body));
        let Ok(request) = request else { return Err(Refused { why: "its address is none".to_owned(), again: false }) };
        let unreachable = |why: &str| Refused { why: why.to_owned(), again: true };
        let answered =
            tokio::time::timeout(ANSWER_WITHIN, self.client.request(request)).await.map_err(|_| unreachable("no answer in time"))?;
        let status = answered.map_err(|_| unreachable("it cannot be reached"))?.status();
        // OTLP/HTTP: these four may be tried again, others not.
        let again = [429, 502, 503, 504].iter().any(|code| status == StatusCode::from_u16(*code).unwrap_or(StatusCode::OK));
        if status.is_success() { Ok(()) } else { Err(Refused { why: format!("it answered {status}"), again }) }
    }
}

/// Why a batch was not taken.
struct Refused {
    why: String,
    again: bool,
}

fn dropped(reason: &str, count: usize) {
    metrics().spans_dropped.with_label_values(&[reason]).inc_by(count as u64);
}
