//! An upstream of the test's own, in this process: echoes, streams, counts.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get, post};
use futures::{SinkExt as _, StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running upstream; it ends with its owner.
#[derive(Debug)]
pub struct Origin {
    /// Its port on the loopback interface.
    pub port: u16,
    /// Requests that it began to answer.
    pub requests: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    name: &'static str,
    requests: Arc<AtomicU64>,
}

impl Origin {
    /// Starts one; `name` stands in its echoes.
    ///
    /// # Errors
    /// No port.
    pub async fn start(name: &'static str) -> Result<Origin> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let requests = Arc::new(AtomicU64::new(0));
        let shared = Shared { name, requests: Arc::clone(&requests) };
        let router = Router::new()
            .route("/download/{bytes}", get(download))
            .route("/upload", post(upload))
            .route("/events", get(events))
            .fallback(any(echo))
            .with_state(shared);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Origin { port, requests, task })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let headers: serde_json::Map<String, Value> =
        headers.iter().map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes())))).collect();
    let told = Json(
        json!({ "origin": shared.name, "method": method.as_str(), "path": uri.path(), "query": uri.query(), "headers": headers, "bytes": body.len() }),
    );
    // Also for HEAD, whose answer has no body.
    ([("x-origin", shared.name.to_owned()), ("x-origin-target", uri.to_string())], told)
}

/// So many bytes, a megabyte at a time.
async fn download(State(shared): State<Shared>, Path(bytes): Path<u64>) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let chunk = Bytes::from(vec![b'f'; 1 << 20]);
    let chunks = stream::unfold(bytes, move |left| {
        let piece = chunk.slice(..usize::try_from(left.min(1 << 20)).unwrap_or(0));
        async move { (left > 0).then(|| (Ok::<_, Infallible>(piece.clone()), left - piece.len() as u64)) }
    });
    Body::from_stream(chunks).into_response()
}

/// Counts what comes, without keeping it.
async fn upload(State(shared): State<Shared>, request: Request) -> Json<Value> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let mut body = request.into_body().into_data_stream();
    let mut bytes = 0u64;
    while let Some(Ok(chunk)) = body.next().await {
        bytes += chunk.len() as u64;
    }
    Json(json!({ "bytes": bytes }))
}

/// Five server-sent events, 200 ms apart.
async fn events(State(shared): State<Shared>) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let events = stream::unfold(0, |number| async move {
        if number == 5 {
            return None;
        }
        if number > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Some((Ok::<_, Infallible>(format!("data: {number}\n\n")), number + 1))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(events)).into_response()
}

/// A WebSocket server that sends back what it gets.
#[derive(Debug)]
pub struct Chat {
    /// Its port on the loopback interface.
    pub port: u16,
    task: JoinHandle<()>,
}

impl Chat {
    /// Starts one.
    ///
    /// # Errors
    /// No port.
    pub async fn start() -> Result<Chat> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                    while let Some(Ok(message)) = socket.next().await {
                        if message.is_close() || (message.is_text() && socket.send(message).await.is_err()) {
                            return;
                        }
                    }
                });
            }
        });
        Ok(Chat { port, task })
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        self.task.abort();
    }
}
