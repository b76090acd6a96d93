//! One question and its answer: an instant query of Prometheus, a webhook's verdict.

use bytes::Bytes;
use ficus_rules::Side;
use ficus_rules::gate::{Question, Said, Verdict};
use ficus_rules::migration::Phase;
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::outgoing::{Caller, Trust};

/// What a webhook is told.
#[derive(Debug, Clone, Serialize)]
pub(super) struct About {
    pub(super) capability: String,
    pub(super) gate: String,
    pub(super) phase: Phase,
    /// From 1.
    pub(super) step: usize,
    pub(super) owner: Side,
}

/// What a webhook answers.
#[derive(Debug, Deserialize)]
struct Told {
    verdict: Verdict,
    #[serde(default)]
    reason: String,
}

/// Whoever asks. Clones share their connections.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    caller: Caller,
    prometheus: Option<String>,
}

impl Asker {
    pub(super) fn new(prometheus: Option<String>) -> Asker {
        let prometheus = prometheus.map(|base| base.trim_end_matches('/').to_owned());
        Asker { caller: Caller::new(&Trust::public()), prometheus }
    }

    /// Asks. Addresses are not in what is said: they may hold secrets.
    pub(super) async fn ask(&self, question: &Question, about: &About) -> Result<Said, String> {
        match question {
            Question::Promql { query, .. } => {
                let base =
                    self.prometheus.as_ref().ok_or("nobody knows Prometheus: name it as `prometheus` in [orchestrator] of ficus.toml")?;
                let uri = format!("{base}/api/v1/query?query={}", utf8_percent_encode(query, NON_ALPHANUMERIC));
                let body = self.send(Method::GET, &uri, Bytes::new()).await.map_err(|why| format!("Prometheus: {why}"))?;
                value(&body).map(Said::Value)
            }
            Question::Webhook { url } => {
                let told = serde_json::to_vec(about).map_err(|error| error.to_string())?;
                let body = self.send(Method::POST, url, told.into()).await.map_err(|why| format!("the webhook: {why}"))?;
                let told: Told = serde_json::from_slice(&body)
                    .map_err(|error| format!("the webhook's answer is no verdict, like {{\"verdict\": \"pass\"}}: {error}"))?;
                let reason =
                    if told.reason.is_empty() { "the webhook said so".to_owned() } else { told.reason.chars().take(200).collect() };
                Ok(Said::Verdict(told.verdict, reason))
            }
        }
    }

    async fn send(&self, method: Method, uri: &str, body: Bytes) -> Result<Bytes, String> {
        let (status, body) = self.caller.send(method, uri, &[], body).await?;
        if status.is_success() { Ok(body) } else { Err(format!("answered {status}{}", complaint(&body))) }
    }
}

/// What Prometheus says of a query that it refuses.
fn complaint(body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    answer["error"].as_str().map_or(String::new(), |error| format!(": {}", error.chars().take(200).collect::<String>()))
}

/// The one number that a query gave.
fn value(body: &[u8]) -> Result<f64, String> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| "Prometheus: its answer is no JSON".to_owned())?;
    let result = &answer["data"]["result"];
    let sample = match (answer["data"]["resultType"].as_str(), result.as_array()) {
        (Some("scalar"), _) => result,
        (Some("vector"), Some(series)) => match &series[..] {
            [one] => &one["value"],
            [] => return Err("the query gave nothing: there is no such series, or none now".to_owned()),
            several => return Err(format!("the query gave {} series: aggregate them, with sum(…) or max(…)", several.len())),
        },
        _ => return Err("the query gave neither a number nor a vector".to_owned()),
    };
    sample[1].as_str().and_then(|text| text.parse().ok()).ok_or_else(|| "Prometheus: its answer has no value".to_owned())
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn a_query_gives_one_number_or_says_what_it_gave() {
        let of = |kind: &str, result: &str| value(format!(r#"{{"data":{{"resultType":"{kind}","result":{result}}}}}"#).as_bytes());
        assert_eq!(of("scalar", r#"[1, "2.5"]"#), Ok(2.5));
        assert_eq!(of("vector", r#"[{"metric": {}, "value": [1, "3"]}]"#), Ok(3.0));
        assert!(of("vector", r#"[{"value": [1, "NaN"]}]"#).is_ok_and(f64::is_nan));
        assert!(of("vector", "[]").is_err_and(|why| why.contains("nothing")));
        assert!(of("vector", r#"[{"value": [1, "3"]}, {"value": [1, "4"]}]"#).is_err_and(|why| why.contains("2 series")));
        assert!(of("matrix", "[]").is_err());
        assert!(value(b"<html>").is_err());
    }
}
