//! Gates of the operator's own: a query to Prometheus, or a webhook that gives the verdict. Judges what was answered; who
//! asks is the orchestrator.

use std::time::Duration;

use super::Verdict;
use super::patience::{Patience, failing_windows};
use crate::Timestamp;

/// `[gate.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct CustomGate {
    /// What is asked.
    pub question: Question,
    /// How often.
    pub every: Duration,
    /// An answer that takes longer is none.
    pub deadline: Duration,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// A query whose value must lie within limits.
    Promql {
        /// The query; its answer is one number.
        query: String,
        /// At least.
        min: Option<f64>,
        /// At most.
        max: Option<f64>,
    },
    /// An address that is told of the capability, and answers with a verdict.
    Webhook {
        /// `http://…` or `https://…`
        url: String,
    },
}

/// One answer, and when it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// When.
    pub at: Timestamp,
    /// What was said, or why there is none.
    pub said: Result<Said, String>,
}

/// What was said.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// A number.
    Value(f64),
    /// A verdict and its reason.
    Verdict(Verdict, String),
}

/// Judges by the answers since the step began, oldest first.
pub(super) fn judge(gate: &CustomGate, patience: Patience, answers: &[Answer], now: Timestamp) -> (Verdict, String) {
    let Some(last) = answers.last() else { return (Verdict::Inconclusive, "not asked yet".to_owned()) };
    let age = now.since(last.at);
    if age > gate.every * 2 + gate.deadline {
        return (Verdict::Error, format!("no answer for {}s", age.as_secs()));
    }
    let judged: Vec<_> = answers.iter().map(|answer| one(gate, answer)).collect();
    let newest = judged.last().cloned().unwrap_or((Verdict::Inconclusive, String::new()));
    failing_windows(patience, newest, judged)
}

fn one(gate: &CustomGate, answer: &Answer) -> (Verdict, String) {
    match (&gate.question, &answer.said) {
        (_, Err(why)) => (Verdict::Error, why.clone()),
        (_, Ok(Said::Verdict(verdict, why))) => (*verdict, why.clone()),
        (Question::Promql { min, max, .. }, Ok(Said::Value(value))) => {
            let limits: Vec<String> =
                min.map(|min| format!("at least {min}")).into_iter().chain(max.map(|max| format!("at most {max}"))).collect();
            let text = format!("{value}, limit {}", limits.join(" and "));
            // Written so that what is no number fails to be within.
            let within = min.is_none_or(|min| *value >= min) && max.is_none_or(|max| *value <= max);
            let verdict = if value.is_nan() {
                Verdict::Error
            } else if within {
                Verdict::Pass
            } else {
                Verdict::Fail
            };
            (verdict, text)
        }
        (Question::Webhook { .. }, Ok(Said::Value(_))) => (Verdict::Error, "a number is no verdict".to_owned()),
    }
}
