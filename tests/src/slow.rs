//! A write that takes its time: the gateway has sent it on, and its body does not end. A switch waits for it in its drain.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::caller::Caller;
use crate::http::Http;
use crate::world::World;

/// Half of a note is on its way.
#[derive(Debug)]
pub struct SlowWrite {
    stream: TcpStream,
    rest: String,
}

impl SlowWrite {
    /// Sends the head and half of the body, and waits until the gateway counts it.
    ///
    /// # Errors
    /// The gateway never counts it.
    pub async fn begin(world: &World, caller: &mut Caller) -> Result<SlowWrite> {
        // The cookies are fresh, and so is the token.
        caller.get("/accounts/profile/").await?;
        let body = json!({ "text": "a note that took its time" }).to_string();
        let (half, rest) = body.split_at(body.len() / 2);
        let address = world.gateway_url().trim_start_matches("http://").to_owned();
        let cookie = |name: &str| caller.cookie(name).unwrap_or_default().to_owned();
        let (token, session) = (cookie("csrftoken"), cookie("sessionid"));
        let head = format!(
            "POST /api/v1/users/{}/notes/ HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             cookie: csrftoken={token}; sessionid={session}\r\nx-csrftoken: {token}\r\nconnection: close\r\n\r\n{half}",
            caller.id,
            body.len()
        );
        let mut stream = TcpStream::connect(&address).await?;
        stream.write_all(head.as_bytes()).await?;
        // The load writes too, but not in ten looks on end.
        let admin = Http::new(&world.admin_url(), Duration::from_secs(5));
        let mut seen = 0;
        for _ in 0..2_000 {
            let status = admin.get("/api/v1/status").await?.json()?;
            let counted = status["gateways"][0]["inflight_writes"].as_u64() > Some(0);
            seen = if counted { seen + 1 } else { 0 };
            if seen == 10 {
                return Ok(SlowWrite { stream, rest: rest.to_owned() });
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        bail!("the gateway never counts the write")
    }

    /// Sends the rest; the answer must say that the note is written.
    ///
    /// # Errors
    /// It says otherwise, or there is none.
    pub async fn finish(mut self) -> Result<()> {
        self.stream.write_all(self.rest.as_bytes()).await?;
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.context("the answer to the slow write")?;
        ensure!(answer.starts_with("HTTP/1.1 201"), "the slow write: {answer}");
        Ok(())
    }
}
