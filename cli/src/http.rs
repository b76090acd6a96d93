//! A small JSON client for the admin API, over HTTP/1.1 on a kept connection, in TLS where the address says so.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use ficus_orchestrator::Trust;
use ficus_rules::api::Problem;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    base: String,
    token: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).context("the orchestrator's answer is not what this version understands")
    }

    /// What the server says is wrong, complaints about rule files included.
    pub(crate) fn detail(&self) -> String {
        let Ok(problem) = serde_json::from_slice::<Problem>(&self.body) else {
            return format!("the orchestrator answered {}", self.status);
        };
        let mut lines = vec![problem.detail];
        lines.extend(problem.complaints.iter().map(ToString::to_string));
        lines.join("\n")
    }
}

impl Http {
    /// A client of the server at `base`, like `http://127.0.0.1:7070`.
    pub(crate) fn new(base: &str, token: Option<String>, trust: &Trust) -> Http {
        let client = Client::builder(TokioExecutor::new()).build(trust.connector());
        Http { client, base: base.trim_end_matches('/').to_owned(), token }
    }

    /// Sends a request without a body.
    pub(crate) async fn get(&self, path: &str, limit: Duration) -> Result<Answer> {
        self.send(Method::GET, path, Bytes::new(), limit).await
    }

    /// Sends a request with a JSON body.
    pub(crate) async fn send_json<B: Serialize>(&self, method: Method, path: &str, body: &B, limit: Duration) -> Result<Answer> {
        self.send(method, path, serde_json::to_vec(body)?.into(), limit).await
    }

    async fn send(&self, method: Method, path: &str, body: Bytes, limit: Duration) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base)).header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body))?;
        let exchange = async {
            let answer = self.client.request(request).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            anyhow::Ok(Answer { status, body })
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error).with_context(|| format!("the orchestrator at {} cannot be reached", self.base)),
            Err(_) => Err(anyhow!("the orchestrator at {} did not answer within {limit:?}", self.base)),
        }
    }
}
