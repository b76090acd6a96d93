//! Asks what operators' own gates are judged by: Prometheus, or a webhook. Judges nothing: answers go to the fleet, and from
//! there to [`ficus_rules::gate`].
//!
//! Each gate is asked once in its interval and never twice at a time; what takes longer than its deadline is no answer.

mod question;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ficus_rules::Timestamp;
use ficus_rules::gate::{Answer, CustomGate};
use ficus_rules::migration::Phase;
use tokio::task::JoinSet;

use crate::{Shared, fleet};

use question::{About, Asker};

/// How often to look whose turn it is.
const LOOK: Duration = Duration::from_millis(50);

/// By capability and gate: when it was asked last, and whether an answer is awaited.
type Asked = BTreeMap<(String, String), (tokio::time::Instant, bool)>;

/// A question whose turn it is.
struct Due {
    key: (String, String),
    gate: CustomGate,
    about: About,
    /// When the step began that it is asked in: the answer is of no other.
    step: Timestamp,
}

/// Asks until the orchestrator stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let asker = Asker::new(shared.config.prometheus.clone());
    let mut stopping = shared.stopping.subscribe();
    let (mut asked, mut under_way) = (Asked::new(), JoinSet::new());
    loop {
        tokio::select! {
            biased;
            () = crate::stopped(&mut stopping) => break,
            Some(answered) = under_way.join_next() => {
                if let Ok((key, step, answer)) = answered {
                    let key: (String, String) = key;
                    shared.fleet.hear_answer(&key.0, &key.1, step, answer);
                    asked.entry(key).and_modify(|(_, awaited)| *awaited = false);
                    shared.wake.notify_one();
                }
            }
            () = tokio::time::sleep(LOOK) => {
                for Due { key, gate, about, step } in due(&shared, &mut asked) {
                    let asker = asker.clone();
                    under_way.spawn(async move {
                        let said = match tokio::time::timeout(gate.deadline, asker.ask(&gate.question, &about)).await {
                            Ok(said) => said,
                            Err(_) => Err(format!("no answer within {}ms", gate.deadline.as_millis())),
                        };
                        (key, step, Answer { at: fleet::now(), said })
                    });
                }
            }
        }
    }
}

/// Whose turn it is now. A gate that nobody judges any more is forgotten.
fn due(shared: &Shared, asked: &mut Asked) -> Vec<Due> {
    let view = shared.publisher.view();
    let now = tokio::time::Instant::now();
    let (mut judged, mut due) = (Vec::new(), Vec::new());
    for (plan, stored) in view.capabilities() {
        let state = &stored.state;
        if state.switch.is_some() || !matches!(state.phase, Phase::Shadowing | Phase::Ramping | Phase::Soaking) {
            continue;
        }
        for (name, gate) in &plan.gates.custom {
            let key = (plan.name.clone(), name.clone());
            judged.push(key.clone());
            if asked.get(&key).is_some_and(|(at, awaited)| *awaited || now.duration_since(*at) < gate.every) {
                continue;
            }
            asked.insert(key.clone(), (now, true));
            let about =
                About { capability: plan.name.clone(), gate: name.clone(), phase: state.phase, step: state.step + 1, owner: state.owner };
            due.push(Due { key, gate: gate.clone(), about, step: state.since });
        }
    }
    asked.retain(|key, (_, awaited)| *awaited || judged.contains(key));
    due
}
