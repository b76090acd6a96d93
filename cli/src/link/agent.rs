//! An agent's link: orders in, reports out.

use std::time::{Duration, Instant};

use ficus_rules::wire::{Orders, QuarantineReport};
use ficus_sync_agent::Agent;
use http::{Method, StatusCode};
use tracing::warn;

use super::{AGAIN, POLL, POLL_LIMIT, REPORT_LIMIT, Reach};
use crate::http::Http;

/// Between two reports when nothing changed that a switch waits for.
const BEAT: Duration = Duration::from_millis(50);
/// The same of an agent that has nothing to do.
const SLOW_BEAT: Duration = Duration::from_millis(250);
/// How often to look whether other rows are set aside.
const LOOK_AT_QUARANTINE: Duration = Duration::from_millis(500);
/// How often to tell of rows that have been told already.
const TELL_AGAIN: Duration = Duration::from_secs(10);

/// Carries messages until it is dropped.
pub(crate) async fn run(agent: Agent, http: Http) {
    let reach = Reach::default();
    tokio::join!(receive(&agent, &http, &reach), report(&agent, &http, &reach), quarantine(&agent, &http));
}

async fn receive(agent: &Agent, http: &Http, reach: &Reach) {
    let (mut seen, mut answered) = (0, 0);
    let mut questions = agent.questions();
    loop {
        let asked = *questions.borrow_and_update();
        let wait = if asked > answered { Duration::ZERO } else { POLL };
        let path = format!("/api/v1/orders?after={seen}&wait_ms={}", wait.as_millis());
        let answer = tokio::select! {
            answer = http.get(&path, POLL_LIMIT) => answer,
            // Somebody needs to know at once: what is being waited for comes with the next answer.
            Ok(()) = questions.changed() => continue,
        };
        match answer.inspect(|_| reach.answered()) {
            Ok(answer) if answer.status == StatusCode::OK => match answer.json::<Orders>() {
                Ok(orders) => {
                    seen = orders.generation;
                    agent.order(orders);
                    answered = asked;
                    agent.answer(asked);
                }
                Err(error) => {
                    warn!(%error, "cannot read orders");
                    tokio::time::sleep(AGAIN).await;
                }
            },
            Ok(answer) if answer.status == StatusCode::NO_CONTENT => {
                answered = asked;
                agent.answer(asked);
            }
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

/// Rows that are set aside, when they are others than were told last, and so often again that a new orchestrator has them soon.
/// Whether the orchestrator answers, the reports say.
async fn quarantine(agent: &Agent, http: &Http) {
    let mut told: Option<(QuarantineReport, Instant)> = None;
    loop {
        tokio::time::sleep(LOOK_AT_QUARANTINE).await;
        let now = agent.quarantine();
        let due = match &told {
            None => !now.rows.is_empty(),
            Some((before, at)) => *before != now || !now.rows.is_empty() && at.elapsed() >= TELL_AGAIN,
        };
        if due && http.send_json(Method::POST, "/api/v1/agents/quarantine", &now, REPORT_LIMIT).await.is_ok_and(|it| it.status.is_success())
        {
            told = Some((now, Instant::now()));
        }
    }
}

async fn report(agent: &Agent, http: &Http, reach: &Reach) {
    loop {
        let report = agent.report();
        match http.send_json(Method::POST, "/api/v1/agents/report", &report, REPORT_LIMIT).await.inspect(|_| reach.answered()) {
            Ok(answer) if answer.status.is_success() => {}
            Ok(answer) => {
                warn!(status = %answer.status, "a report was refused: {}", answer.detail());
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => reach.failed(&error),
        }
        let beat = if report.capabilities.is_empty() { SLOW_BEAT } else { BEAT };
        let _ = tokio::time::timeout(beat, agent.changed()).await;
    }
}
