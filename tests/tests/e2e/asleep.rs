//! A gateway that is put to sleep for longer than its validity, while the writes move through the others. Whatever it forwards
//! when it wakes up goes to whoever owns the rows by then; what it has no word for, it refuses. Nobody at the others notices.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::fleet::Plan;
use ficus_tests::ledger::{Ledger, Outcome, Write};
use ficus_tests::notebook::{Illness, NAME};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Directory;
use super::etcd::EtcdServer;
use super::notebooks::{Notebooks, Old, PATIENCE};

/// The one that sleeps; the two before it do not.
const SLEEPER: usize = 2;
const VALIDITY: &str = "4s";
/// How long the owner takes over a write that it was sent just before the gateway fell asleep: less than the validity.
const SLOWLY: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_slept_through_a_switch_sends_nothing_to_the_old_side() -> Result<()> {
    let (directory, etcd) = (Directory::new(), EtcdServer::start());
    let plan = Plan { gateways: 3, orchestrators: 1, etcd: etcd.port, validity: VALIDITY, waits: false };
    let mut world = Notebooks::start(&directory, &etcd, Old::Postgres, plan).await?;
    world.write_at(0..2);
    let ledger = Ledger::of_group(9);
    for (wish, phase, sides) in [("cutover", "soaking", ["legacy", "modern"]), ("revert", "reverted", ["modern", "legacy"])] {
        sleeps_through(&world, &ledger, wish, phase, sides).await.with_context(|| format!("a {wish}"))?;
    }
    world.settle(2, &[ledger]).await?;
    directory.passed();
    Ok(())
}

async fn sleeps_through(world: &Notebooks, ledger: &Ledger, wish: &str, phase: &str, [old, new]: [&str; 2]) -> Result<()> {
    world.until_ready().await?;
    let gateway = &world.fleet.gateways[SLEEPER];
    let note = || Note { text: ledger.token("note"), person: Notebooks::nobody() };
    let before = note();
    let mut kept = Connection::open(gateway.port).await?;
    kept.send(&before.request()).await?;
    let answer = kept.answer().await?;
    ensure!(answer.status == 201 && answer.side == old, "before anything: {answer:?}");
    ledger.wrote(Write::Note, &before.text, Outcome::Acknowledged);

    // Under way when it falls asleep: one that the owner carries out meanwhile, and one of which half has come.
    let (carried_out, half) = (note(), note());
    let [mut first, mut second] = [Connection::open(gateway.port).await?, Connection::open(gateway.port).await?];
    let owner = &world.services[usize::from(old == "modern")];
    owner.becomes(Illness::Slow(SLOWLY));
    first.send(&carried_out.request()).await?;
    let request = half.request();
    let (begin, end) = request.split_at(request.len() - 5);
    second.send(begin).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    gateway.process.signal(Signal::STOP);
    owner.becomes(Illness::Well);

    world.fleet.operator()?.until_accepted(wish, NAME, PATIENCE).await?;
    world.until_switched(wish, phase).await?;

    // What came while it slept is the first that it sees, before it can have heard anything.
    let (on_kept, on_fresh) = (note(), note());
    kept.send(&on_kept.request()).await?;
    let mut fresh = Connection::open(gateway.port).await?;
    fresh.send(&on_fresh.request()).await?;
    second.send(end).await?;
    gateway.process.signal(Signal::CONT);

    let answer = first.answer().await?;
    ensure!(answer.status == 201 && answer.side == old, "what the owner had carried out before the switch: {answer:?}");
    ledger.wrote(Write::Note, &carried_out.text, Outcome::Acknowledged);
    let answer = second.answer().await?;
    ensure!(answer.status >= 500, "what was half sent to {old}: {answer:?}");
    println!("{wish}: half sent before, the rest after: {} of {}", answer.status, answer.side);
    ledger.wrote(Write::Note, &half.text, Outcome::Refused);
    for (connection, note) in [(&mut kept, on_kept), (&mut fresh, on_fresh)] {
        let answer = connection.answer().await?;
        println!("{wish}: the first after it woke up: {} of {}", answer.status, answer.side);
        note.judge(&answer, new, ledger)?;
    }
    // It refuses until it has heard who owns, and then sends everything there.
    let begun = std::time::Instant::now();
    loop {
        let later = note();
        let mut connection = Connection::open(gateway.port).await?;
        connection.send(&later.request()).await?;
        if later.judge(&connection.answer().await?, new, ledger)? {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "it never hears who owns");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Note {
    text: String,
    person: i64,
}

impl Note {
    fn request(&self) -> String {
        let body = serde_json::json!({ "text": self.text }).to_string();
        format!(
            "POST /notes/{} HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.person,
            body.len()
        )
    }

    /// Made by the new owner, or refused by the gateway, which says why. Whether it was made.
    fn judge(&self, answer: &Answer, new: &str, ledger: &Ledger) -> Result<bool> {
        let made = answer.status == 201 && answer.side == new;
        let refused = answer.status == 503 && answer.text.contains("has not heard from the orchestrator");
        ensure!(made || refused, "neither refused nor sent to {new}: {answer:?}");
        ledger.wrote(Write::Note, &self.text, if made { Outcome::Acknowledged } else { Outcome::Refused });
        Ok(made)
    }
}

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Who gave it, as the gateway says.
    side: String,
    text: String,
}

/// A connection on which every byte is sent when the test says so.
struct Connection(TcpStream);

impl Connection {
    async fn open(port: u16) -> Result<Connection> {
        Ok(Connection(TcpStream::connect(("127.0.0.1", port)).await?))
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.0.write_all(text.as_bytes()).await?)
    }

    async fn answer(&mut self) -> Result<Answer> {
        let mut all = Vec::new();
        loop {
            let read = tokio::time::timeout(PATIENCE, self.0.read_buf(&mut all)).await.context("no answer")??;
            let text = String::from_utf8_lossy(&all).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let header = |name: &str| {
                    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
                };
                let length: usize = header("content-length").context("an answer without a length")?.parse()?;
                if body.len() >= length {
                    let status = head.split(' ').nth(1).context("a status")?.parse()?;
                    return Ok(Answer { status, side: header("x-ficus-side").unwrap_or_default(), text });
                }
            }
            ensure!(read > 0, "the connection ended: {text}");
        }
    }
}
