//! A plain HTTP/1.1 client for callers: kept connections, a deadline for every exchange, no cookies of its own.

use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

/// A client of the server at one address.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    patience: Duration,
    /// What a request says that does not say otherwise.
    always: Vec<(&'static str, String)>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        match serde_json::from_slice(&self.body) {
            Ok(value) => Ok(value),
            Err(error) => {
                bail!("{} with a body that is no JSON ({error}): {}", self.status, self.text().chars().take(300).collect::<String>())
            }
        }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Http {
    /// A client of `base`, like `http://127.0.0.1:8080`, that waits `patience` for each answer.
    pub fn new(base: &str, patience: Duration) -> Http {
        Http::of(base, patience, true)
    }

    /// The same, but none that sends a request again because its kept connection was closed before it was there: for whoever
    /// wants to see that.
    pub fn once(base: &str, patience: Duration) -> Http {
        Http::of(base, patience, false)
    }

    fn of(base: &str, patience: Duration, again: bool) -> Http {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(again).build(connector);
        Http { client, base: base.to_owned(), patience, always: Vec::new() }
    }

    /// The same client, with a header in every request that has none of the name.
    #[must_use]
    pub fn saying(mut self, name: &'static str, value: impl Into<String>) -> Http {
        self.always.push((name, value.into()));
        self
    }

    /// The server's address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// One exchange.
    ///
    /// # Errors
    /// No whole answer came in time.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in self.always.iter().filter(|(name, _)| headers.iter().all(|(other, _)| other != name)) {
            request = request.header(*name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body))?;
        let exchange = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answer { status: head.status, headers: head.headers, body })
        };
        match tokio::time::timeout(self.patience, exchange).await {
            Ok(answer) => answer,
            Err(_) => bail!("timed out after {:?}", self.patience),
        }
    }

    /// A GET without anything.
    ///
    /// # Errors
    /// No whole answer came in time.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }
}
