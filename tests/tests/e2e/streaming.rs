//! Bodies of any size pass in bounded memory, events are not delayed, WebSockets work.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use ficus_tests::bare::Bare;
use ficus_tests::origin::{Chat, Origin};
use futures::{SinkExt as _, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::Request;
use hyper::body::Frame;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio_tungstenite::tungstenite::Message;

use super::Directory;

const GIB: u64 = 1 << 30;
/// What the gateway may use while a GiB passes.
const BOUND: u64 = 120_000_000;

pub(super) const CHAT: &str = r#"
[capability]
name = "chat"
legacy = "chat"
modern = "origin"
[[route]]
path = "/ws"
pin = "legacy"
[[step]]
cutover = true
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gib_goes_down_and_up_in_bounded_memory() -> Result<()> {
    let directory = Directory::new();
    let origin = Origin::start("origin").await?;
    let bare = Bare::start(directory.path(), &[("origin", origin.port)], &[]).await?;

    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(Request::get(format!("{}/download/{GIB}", bare.url())).body(Empty::new())?).await?;
    let mut body = answer.into_body();
    let (mut received, mut most) = (0, 0);
    while let Some(frame) = body.frame().await {
        received += frame?.into_data().map_or(0, |data| data.len() as u64);
        if received % (64 << 20) < (1 << 16) {
            most = most.max(bare.ficus.resident().unwrap_or(0));
        }
    }
    assert_eq!(received, GIB);

    let chunk = Bytes::from(vec![b'u'; 1 << 20]);
    let chunks = stream::iter((0..1024).map(move |_| Ok::<_, std::io::Error>(Frame::data(chunk.clone()))));
    let client: Client<HttpConnector, StreamBody<_>> = Client::builder(TokioExecutor::new()).build_http();
    let upload = client.request(Request::post(format!("{}/upload", bare.url())).body(StreamBody::new(chunks))?);
    tokio::pin!(upload);
    let answer = loop {
        tokio::select! {
            answer = &mut upload => break answer?,
            () = tokio::time::sleep(Duration::from_millis(50)) => most = most.max(bare.ficus.resident().unwrap_or(0)),
        }
    };
    let counted: serde_json::Value = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
    assert_eq!(counted["bytes"], GIB);
    assert!(most > 0 && most < BOUND, "ficus used {most} bytes while a GiB passed");
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_sent_events_arrive_when_they_are_sent() -> Result<()> {
    let directory = Directory::new();
    let origin = Origin::start("origin").await?;
    let bare = Bare::start(directory.path(), &[("origin", origin.port)], &[]).await?;
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let started = Instant::now();
    let answer = client.request(Request::get(format!("{}/events", bare.url())).body(Empty::new())?).await?;
    let mut body = answer.into_body();
    let mut arrivals = Vec::new();
    while let Some(frame) = body.frame().await {
        if frame?.is_data() {
            arrivals.push(started.elapsed());
        }
    }
    assert_eq!(arrivals.len(), 5, "five events, one by one: {arrivals:?}");
    let pairs = arrivals.windows(2).map(|pair| pair[1] - pair[0]);
    for gap in pairs {
        assert!(gap > Duration::from_millis(100), "events were sent 200 ms apart and arrived together: {arrivals:?}");
    }
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_passes() -> Result<()> {
    let directory = Directory::new();
    let (origin, chat) = (Origin::start("origin").await?, Chat::start().await?);
    let bare = Bare::start(directory.path(), &[("origin", origin.port), ("chat", chat.port)], &[("chat.toml", CHAT)]).await?;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{}/ws", bare.port())).await?;
    for number in 0..100 {
        let text = format!("message {number}");
        socket.send(Message::text(text.clone())).await?;
        let back = socket.next().await.expect("an answer")?;
        assert_eq!(back.into_text()?.as_str(), text);
    }
    directory.passed();
    Ok(())
}
