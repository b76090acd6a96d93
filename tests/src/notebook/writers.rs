//! Writers at a notebook: so many writes a second, each by the clock and not when the one before was answered, every other one
//! read back. Each writer is a person, whose rows nobody else writes. And readers, who only read, and see who answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Interval;

use crate::caller::Caller;
use crate::http::{Answer, Http};
use crate::ledger::{Ledger, Outcome, Timing, Write};

/// How many write, and how often each.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// People, each with rows of its own.
    pub writers: u32,
    /// Time from one write of a person to the next.
    pub every: Duration,
}

impl Pace {
    /// So many writes a second, by writers who each do ten of them.
    pub fn per_second(writes: u32) -> Pace {
        Pace { writers: (writes / 10).max(1), every: Duration::from_millis(100) }
    }

    /// How many writes a second that is.
    pub fn rate(self) -> f64 {
        f64::from(self.writers) / self.every.as_secs_f64()
    }
}

/// Running writers.
#[derive(Debug)]
pub struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    /// What they remember.
    pub ledger: Ledger,
}

impl Writers {
    /// Starts them. Group 1 has other people and other tokens than group 0.
    pub fn start(http: &Http, pace: Pace, group: u32) -> Writers {
        let (stop, ledger) = (Arc::new(AtomicBool::new(false)), Ledger::of_group(group));
        let first = group * pace.writers;
        let tasks = (0..pace.writers).map(|number| {
            let mut caller = Caller::new(http.clone());
            caller.id = i64::from(first + number) + 1;
            caller.set_cookie("reader", Some(&caller.id.to_string()));
            // One after the other, over the whole of the time between two writes.
            let start = tokio::time::Instant::now() + pace.every * number / pace.writers;
            let writer = Writer { caller, ledger: ledger.clone(), address: None, open: Vec::new(), done: 0 };
            tokio::spawn(writer.go_on(tokio::time::interval_at(start, pace.every), Arc::clone(&stop)))
        });
        Writers { tasks: tasks.collect(), stop, ledger }
    }

    /// Lets everybody finish what they are at.
    pub async fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            let _ = task.await;
        }
        self.ledger
    }
}

/// People who read, one page after the other.
#[derive(Debug)]
pub struct Readers {
    tasks: JoinSet<()>,
    /// Who answered them, and when.
    pub ledger: Ledger,
}

impl Readers {
    /// So many, each with a rest after each answer. They end with this.
    pub fn start(http: &Http, count: u32, rest: Duration) -> Readers {
        let (mut tasks, ledger) = (JoinSet::new(), Ledger::default());
        for number in 1..=count {
            let (mut caller, ledger) = (Caller::new(http.clone()), ledger.clone());
            caller.set_cookie("reader", Some(&format!("only-{number}")));
            tasks.spawn(async move {
                loop {
                    let sent = Instant::now();
                    let answer = caller.get(&format!("/notes/{number}")).await;
                    note(&ledger, Timing::since(sent, false), &answer);
                    tokio::time::sleep(rest).await;
                }
            });
        }
        Readers { tasks, ledger }
    }

    /// How many are at it.
    pub fn count(&self) -> usize {
        self.tasks.len()
    }
}

struct Writer {
    caller: Caller,
    ledger: Ledger,
    /// The address that was set last.
    address: Option<String>,
    /// Addresses of which it is not known what became: each may still take effect.
    open: Vec<String>,
    done: u64,
}

impl Writer {
    async fn go_on(mut self, mut clock: Interval, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            clock.tick().await;
            self.act().await;
        }
    }

    async fn act(&mut self) {
        self.done += 1;
        // Of four writes one is an address; of two, one is read back.
        match self.done % 4 {
            0 => self.move_house().await,
            turn => self.write_note(turn == 2).await,
        }
    }

    async fn write_note(&mut self, look: bool) {
        let text = self.ledger.token("note");
        let answer = self.send(Method::POST, &json!({ "text": text })).await;
        let outcome = outcome(answer.as_ref(), StatusCode::CREATED);
        self.ledger.wrote(Write::Note, &text, outcome);
        if look
            && outcome == Outcome::Acknowledged
            && let Some((_, notes)) = self.read().await
            && !notes.contains(&text)
        {
            self.ledger.stale(format!("person {} wrote {text} and did not find it in {notes:?}", self.caller.id));
        }
    }

    async fn move_house(&mut self) {
        let address = self.ledger.token("address");
        let answer = self.send(Method::PUT, &json!({ "address": address })).await;
        let outcome = outcome(answer.as_ref(), StatusCode::OK);
        self.ledger.wrote(Write::Address { user: self.caller.id }, &address, outcome);
        match outcome {
            Outcome::Acknowledged => self.address = Some(address),
            Outcome::Unknown => self.open.push(address),
            Outcome::Refused => {}
        }
        if let (Some((found, _)), Some(expected)) = (self.read().await, &self.address)
            && found != *expected
            && !self.open.contains(&found)
        {
            self.ledger.stale(format!("person {} wrote {expected} and read {found}", self.caller.id));
        }
    }

    /// The address and the newest notes.
    async fn read(&mut self) -> Option<(String, Vec<String>)> {
        let (sent, path) = (Instant::now(), self.path());
        let answer = self.caller.get(&path).await;
        let answer = self.answered(Timing::since(sent, false), answer)?.json().ok()?;
        let texts = |notes: &Vec<serde_json::Value>| notes.iter().filter_map(|note| Some(note.as_str()?.to_owned())).collect();
        Some((answer["address"].as_str()?.to_owned(), answer["notes"].as_array().map(texts)?))
    }

    async fn send(&mut self, method: Method, body: &serde_json::Value) -> Option<Answer> {
        let (sent, path) = (Instant::now(), self.path());
        let answer = self.caller.send_json(method, &path, body).await;
        self.answered(Timing::since(sent, true), answer)
    }

    fn path(&self) -> String {
        format!("/notes/{}", self.caller.id)
    }

    fn answered(&self, timing: Timing, answer: Result<Answer>) -> Option<Answer> {
        note(&self.ledger, timing, &answer);
        answer.ok()
    }
}

/// Notes the time, and every answer that is not the expected one.
fn note(ledger: &Ledger, timing: Timing, answer: &Result<Answer>) {
    let side = answer.as_ref().ok().and_then(|answer| answer.header("x-ficus-side"));
    ledger.answered(timing, side);
    match answer {
        Ok(answer) if answer.status.is_success() => {}
        Ok(answer) => ledger.failed(answer.status.as_str(), side, format!("{} from {side:?}: {}", answer.status, answer.text())),
        Err(error) => {
            let kind = if error.to_string().starts_with("timed out") { "timeout" } else { "broken" };
            ledger.failed(kind, side, format!("{error:#}"));
        }
    }
}

/// What a write's answer says of the write. A 5xx leaves it open, but for 503, which the gateway gives before it sends.
fn outcome(answer: Option<&Answer>, done: StatusCode) -> Outcome {
    match answer.map(|answer| answer.status) {
        Some(status) if status == done => Outcome::Acknowledged,
        Some(status) if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}
