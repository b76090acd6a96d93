//! How much memory ten thousand idle WebSockets take. Every run opens a tenth of them, and multiplies. All of them, by hand:
//! `cargo test -p ficus-tests --test e2e -- --ignored ten_thousand --nocapture`. Each takes two file descriptors, here and in the
//! gateway; where there are fewer (`ulimit -n`), fewer are opened.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::process::{Process, free_port};
use ficus_tests::school;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Directory;

const SOCKETS: usize = 10_000;
const MOST: u64 = 300 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs many file descriptors"]
async fn ten_thousand_idle_websockets_fit_into_300_megabytes() -> Result<()> {
    idle(SOCKETS, true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_websockets_are_small() -> Result<()> {
    idle(SOCKETS / 10, false).await
}

/// `huge`: with huge pages, which come two MiB at a time: of a few sockets they would tell nothing.
async fn idle(wanted: usize, huge: bool) -> Result<()> {
    let directory = Directory::new();
    let (gateway, admin) = (free_port()?, free_port()?);
    let upstream = TcpListener::bind("127.0.0.1:0").await?;
    std::fs::write(
        directory.path().join("ficus.toml"),
        format!(
            "[gateway]\nlisten = [\"127.0.0.1:{gateway}\"]\nadmin = \"127.0.0.1:{admin}\"\ndefault = \"chat\"\n\
             [gateway.limits]\nconnections_per_address = 0\n[orchestrator]\nlisten = \"127.0.0.1:9\"\n\
             [upstream.chat]\naddress = \"{}\"\n",
            upstream.local_addr()?
        ),
    )?;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = upstream.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    socket.read_buf(&mut head).await.ok().filter(|count| *count > 0)?;
                }
                let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                socket.write_all(switch).await.ok()?;
                let mut byte = [0; 1];
                while socket.read_exact(&mut byte).await.is_ok() {
                    socket.write_all(&byte).await.ok()?;
                }
                Some(())
            });
        }
    });
    let mut command = Command::new(school::binary("ficus")?);
    command.env("MIMALLOC_ALLOW_THP", if huge { "1" } else { "0" });
    command.arg("--config").arg(directory.path().join("ficus.toml")).arg("gateway");
    let ficus = Process::start("gateway", &mut command, &directory.path().join("gateway.log"))?;
    school::until_up(&format!("http://127.0.0.1:{admin}"), "/health").await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let before = ficus.resident().context("its memory")?;
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let count = wanted.min(usize::try_from(descriptors.saturating_sub(500) / 2).unwrap_or(SOCKETS));
    ensure!(count >= wanted.min(1_000), "too few file descriptors: ulimit -n says {descriptors}");
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let mut socket = TcpStream::connect(("127.0.0.1", gateway)).await?;
        let asked = b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(asked).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(socket.read_buf(&mut head).await? > 0, "{} are open", sockets.len());
        }
        ensure!(head.starts_with(b"HTTP/1.1 101"), "{}", head.escape_ascii());
        sockets.push(socket);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = ficus.resident().context("its memory")?;
    let of_all = before + (after - before) * SOCKETS as u64 / count as u64;
    println!("{count} idle WebSockets: {} MiB, before them {} MiB; {SOCKETS} take {} MiB", after >> 20, before >> 20, of_all >> 20);
    for socket in sockets.iter_mut().step_by(97) {
        socket.write_all(b"x").await?;
        let mut byte = [0; 1];
        socket.read_exact(&mut byte).await?;
    }
    ensure!(of_all < MOST, "{} MiB", of_all >> 20);
    drop(ficus);
    directory.passed();
    Ok(())
}
