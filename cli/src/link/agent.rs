//! An agent's link: orders in, reports out.

use std::time::Duration;

use ficus_rules::wire::Orders;
use ficus_sync_agent::Agent;
use http::{Method, StatusCode};
use tracing::warn;

use super::{AGAIN, POLL, POLL_LIMIT, REPORT_LIMIT, Reach};
use crate::http::Http;

/// Between two reports when nothing changed that a switch waits for.
const BEAT: Duration = Duration::from_millis(50);

/// Carries messages until it is dropped.
pub(crate) async fn run(agent: Agent, http: Http) {
    let reach = Reach::default();
    tokio::join!(receive(&agent, &http, &reach), report(&agent, &http, &reach));
}

async fn receive(agent: &Agent, http: &Http, reach: &Reach) {
    let mut seen = 0;
    loop {
        let path = format!("/api/v1/orders?after={seen}&wait_ms={}", POLL.as_millis());
        match http.get(&path, POLL_LIMIT).await.inspect(|_| reach.answered()) {
            Ok(answer) if answer.status == StatusCode::OK => match answer.json::<Orders>() {
                Ok(orders) => {
                    seen = orders.generation;
                    agent.order(orders);
                }
                Err(error) => {
                    warn!(%error, "cannot read orders");
                    tokio::time::sleep(AGAIN).await;
                }
            },
            Ok(answer) if answer.status == StatusCode::NO_CONTENT => {}
            Ok(answer) => {
                warn!(status = %answer.status, "no orders: {}", answer.detail());
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                reach.failed(&error);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

async fn report(agent: &Agent, http: &Http, reach: &Reach) {
    loop {
        match http.send_json(Method::POST, "/api/v1/agents/report", &agent.report(), REPORT_LIMIT).await.inspect(|_| reach.answered()) {
            Ok(answer) if answer.status.is_success() => {}
            Ok(answer) => warn!(status = %answer.status, "a report was refused: {}", answer.detail()),
            Err(error) => reach.failed(&error),
        }
        let _ = tokio::time::timeout(BEAT, agent.changed()).await;
    }
}
