//! Both ends of a measurement: the server behind, which answers everything with a kibibyte, and the clients before, who ask
//! again as soon as they were answered. Bounded in number and time. Both do as little as they can, on one thread.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of an answer's body.
const BODY: usize = 1024;
/// Nobody waits longer for a share of the load.
const PATIENCE: Duration = Duration::from_secs(30);
/// The end of a head.
const END: &[u8] = b"\r\n\r\n";

/// Starts the server behind, and says its port. It serves as long as the runtime lives.
///
/// # Errors
/// No port is free.
pub(crate) async fn serve() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket));
        }
    });
    Ok(port)
}

/// Answers requests without a body, one after the other.
async fn answer(mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let body = "x".repeat(BODY);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY}\r\n\r\n{body}");
    let mut asked = Vec::with_capacity(4096);
    loop {
        if socket.read_buf(&mut asked).await? == 0 {
            return Ok(());
        }
        while let Some(end) = memmem::find(&asked, END) {
            asked.drain(..end + END.len());
            socket.write_all(answer.as_bytes()).await?;
        }
    }
}

/// Clients with kept connections, one for each request that they repeat.
pub(crate) struct Clients {
    clients: Vec<Client>,
}

struct Client {
    socket: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Clients {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(crate) async fn connect(port: u16, requests: &[Vec<u8>]) -> Result<Clients> {
        let mut clients = Vec::with_capacity(requests.len());
        for request in requests {
            let socket = TcpStream::connect(("127.0.0.1", port)).await?;
            socket.set_nodelay(true)?;
            clients.push(Client { socket, request: request.clone(), answer: Vec::with_capacity(4096) });
        }
        Ok(Clients { clients })
    }

    /// Each asks so many times.
    ///
    /// # Errors
    /// An answer is another than expected, or too late.
    pub(crate) async fn ask(&mut self, times: usize) -> Result<()> {
        let asking = futures::future::try_join_all(self.clients.iter_mut().map(|client| async move {
            for _ in 0..times {
                client.ask().await?;
            }
            anyhow::Ok(())
        }));
        tokio::time::timeout(PATIENCE, asking).await.context("the answers take too long")??;
        Ok(())
    }
}

impl Client {
    async fn ask(&mut self) -> Result<()> {
        self.answer.clear();
        self.socket.write_all(&self.request).await?;
        loop {
            ensure!(self.socket.read_buf(&mut self.answer).await? > 0, "a kept connection was closed");
            let Some(end) = memmem::find(&self.answer, END) else { continue };
            let head = &self.answer[..end];
            if !head.starts_with(b"HTTP/1.1 200 ") {
                bail!("another answer than expected: {}", String::from_utf8_lossy(head));
            }
            let whole = end + END.len() + BODY;
            ensure!(self.answer.len() <= whole, "more than the body was sent: {}", String::from_utf8_lossy(head));
            if self.answer.len() == whole {
                return Ok(());
            }
        }
    }
}
