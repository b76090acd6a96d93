//! A gateway's link: published states in, reports out.

use std::time::Duration;

use ficus_proxy::Gateway;
use ficus_rules::wire::{Published, ReportAnswer};
use http::{Method, StatusCode};
use tokio::sync::Notify;
use tracing::warn;

use super::{AGAIN, POLL, POLL_LIMIT, REPORT_LIMIT, Reach};
use crate::http::Http;

/// Between two reports when nothing changed. It bounds how long a fresh copy goes unnoticed.
const BEAT: Duration = Duration::from_millis(25);
/// The same while it does not matter how fresh a copy is.
const SLOW_BEAT: Duration = Duration::from_millis(100);

/// Carries messages until it is dropped.
pub(crate) async fn run(gateway: Gateway, http: Http) {
    let (published, known, reach) = (Notify::new(), Notify::new(), Reach::default());
    let receiving = async {
        // Whoever serves by a state is reckoned with: the name of a gateway is stored before its first report is answered.
        known.notified().await;
        receive(&gateway, &http, &published, &reach).await;
    };
    tokio::join!(receiving, report(&gateway, &http, &published, &known, &reach));
}

/// Says that a gateway that has made way forwards nothing any more. If nobody hears it, its validity is waited for.
pub(crate) async fn farewell(gateway: &Gateway, http: &Http) {
    let Some(report) = gateway.last_report() else { return };
    if let Err(error) = http.send_json(Method::POST, "/api/v1/gateways/report", &report, REPORT_LIMIT).await {
        warn!(%error, "the orchestrator was not told that this process has ended");
    }
}

async fn receive(gateway: &Gateway, http: &Http, published: &Notify, reach: &Reach) {
    // A state that was refused once is not asked for again until there is a newer one.
    let mut seen = 0;
    loop {
        let path = format!("/api/v1/published?after={seen}&wait_ms={}", POLL.as_millis());
        match http.get(&path, POLL_LIMIT).await.inspect(|_| reach.answered()) {
            Ok(answer) if answer.status == StatusCode::OK => match answer.json::<Published>() {
                Ok(state) => {
                    seen = state.generation;
                    if let Err(complaints) = gateway.publish(state) {
                        warn!(generation = seen, complaints = complaints.len(), "refused a published state, the last good one serves");
                    }
                    published.notify_one();
                }
                Err(error) => {
                    warn!(%error, "cannot read a published state");
                    tokio::time::sleep(AGAIN).await;
                }
            },
            Ok(answer) if answer.status == StatusCode::NO_CONTENT => {}
            Ok(answer) => {
                warn!(status = %answer.status, "the orchestrator refused to publish: {}", answer.detail());
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                reach.failed(&error);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn report(gateway: &Gateway, http: &Http, published: &Notify, known: &Notify, reach: &Reach) {
    loop {
        let report = gateway.report();
        match http.send_json(Method::POST, "/api/v1/gateways/report", &report, REPORT_LIMIT).await.inspect(|_| reach.answered()) {
            Ok(answer) if answer.status == StatusCode::OK => match answer.json::<ReportAnswer>() {
                Ok(answer) => {
                    known.notify_one();
                    gateway.answered(&answer);
                }
                Err(error) => warn!(%error, "cannot read the answer to a report"),
            },
            Ok(answer) => {
                warn!(status = %answer.status, "a report was refused: {}", answer.detail());
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => reach.failed(&error),
        }
        // While writes are being drained, the orchestrator waits for these counts: do not let it wait for a whole beat.
        let draining = report.capabilities.values().any(|capability| capability.held > 0 || capability.inflight_writes > 0);
        let pause = match draining {
            true => BEAT / 5,
            false if gateway.is_at_rest() => SLOW_BEAT,
            false => BEAT,
        };
        let _ = tokio::time::timeout(pause, published.notified()).await;
    }
}
