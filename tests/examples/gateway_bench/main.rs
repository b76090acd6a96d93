//! `make bench-gateway`: what carrying a request costs the gateway, in processor time, beside a bare proxy on pingora and
//! beside other proxies, in one run. One JSON object a line; fails if a bar is missed.
//!
//! Every proxy has one worker and a processor of its own; load and the server behind share the other one. Of a request,
//! `GET` of a kibibyte over kept connections, the processor time is counted: user and system, of all of the proxy's
//! processes. All proxies take turns in every round, and figures are compared within a round; told is the median of the
//! rounds' ratios. A share of the load during which the machine was busy with something else is repeated, a few times at
//! most; `disturbed` says how many were not quiet even then. `gateway_bench SECONDS` takes about so long.
//!
//! `ok` is null where there is nothing to say: a peer that is not installed. Its bars are told as not measured, and neither as met
//! nor as missed.

mod cpu;
mod load;
mod ours;
mod peers;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ficus_tests::process::{Process, free_port};
use ficus_tests::school;
use serde::Serialize;
use serde_json::json;

use crate::cpu::Processors;
use crate::load::Clients;
use crate::peers::PEERS;

/// Clients at once.
const CLIENTS: usize = 64;
/// Requests of each in a round.
const TIMES: usize = 150;
/// Requests of each before a round, which are not counted.
const BEFORE: usize = 15;
/// Rounds at most, and how long they take together unless it is said.
const ROUNDS: usize = 15;
const SECONDS: u64 = 60;
/// Of one processor, what else may go on meanwhile; and how often a share is repeated that was disturbed.
const QUIET: f64 = 0.1;
const REPEATS: usize = 2;

const BARE: &str = "pingora";
const ROUTING: &str = "ficus";
const EVERYTHING: &str = "ficus, everything on";
const MANY: &str = "ficus, 10000 routes";

/// A proxy that is measured.
struct Subject {
    name: &'static str,
    process: Process,
    port: u16,
    requests: Vec<Vec<u8>>,
    /// Microseconds of processor time a request, by round.
    costs: Vec<f64>,
    disturbed: usize,
}

fn main() -> Result<ExitCode> {
    let seconds = std::env::args().nth(1).map_or(Ok(SECONDS), |seconds| seconds.parse()).context("a number of seconds")?;
    let processors = Processors::claim()?;
    // One thread, so that it stays on its processor.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let met = runtime.block_on(async {
        let directory = tempfile::tempdir()?;
        let (mut subjects, missing) = start(directory.path(), &processors).await?;
        measure(&mut subjects, Duration::from_secs(seconds)).await?;
        anyhow::Ok(tell(&subjects, &missing))
    })?;
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All that can be measured here, and the names of those that cannot.
async fn start(directory: &Path, processors: &Processors) -> Result<(Vec<Subject>, Vec<&'static str>)> {
    let behind = load::serve().await?;
    let plain = vec![request(""); CLIENTS];
    let subject = |name, process, port, requests| Subject { name, process, port, requests, costs: Vec::new(), disturbed: 0 };

    let port = free_port()?;
    let mut command = std::process::Command::new(school::binary("examples/bare_pingora")?);
    command.args([format!("127.0.0.1:{port}"), format!("127.0.0.1:{behind}")]);
    let process = processors.over_there(|| Process::start(BARE, &mut command, &directory.join("pingora.log")))?;
    let mut subjects = vec![subject(BARE, process, port, plain.clone())];

    for (name, routes) in [(ROUTING, 10), (MANY, 10_000)] {
        let ours = ours::routing(&directory.join(name), processors, behind, routes).await?;
        subjects.push(subject(name, ours.process, ours.port, plain.clone()));
    }
    let (ours, cookies) = ours::everything(&directory.join(EVERYTHING), processors, behind, CLIENTS).await?;
    let with_sessions = cookies.iter().map(|cookie| request(&format!("Cookie: sessionid={cookie}\r\n"))).collect();
    subjects.push(subject(EVERYTHING, ours.process, ours.port, with_sessions));

    let mut missing = Vec::new();
    for peer in &PEERS {
        let Some(program) = peer.program() else {
            missing.push(peer.name);
            continue;
        };
        let (process, port) = peer.start(&program, &directory.join(peer.name), processors, behind).await?;
        subjects.push(subject(peer.name, process, port, plain.clone()));
    }
    Ok((subjects, missing))
}

fn request(more: &str) -> Vec<u8> {
    format!("GET /api/v1/items/17/ HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nAccept: */*\r\n{more}\r\n").into_bytes()
}

/// Rounds, until there are enough of them or time is up. Every round begins with another proxy.
async fn measure(subjects: &mut [Subject], within: Duration) -> Result<()> {
    let began = Instant::now();
    for round in 0..ROUNDS {
        if round > 0 && began.elapsed() + began.elapsed() / u32::try_from(round)? > within {
            break;
        }
        subjects.rotate_left(1);
        for subject in subjects.iter_mut() {
            subject.measure().await.with_context(|| format!("{}; its log: {}", subject.name, subject.process.log()))?;
        }
    }
    Ok(())
}

impl Subject {
    /// One share of the load.
    async fn measure(&mut self) -> Result<()> {
        let mut clients = Clients::connect(self.port, &self.requests).await?;
        let mut repeats = 0;
        let cost = loop {
            clients.ask(BEFORE).await?;
            let (at, all, mine, its) = (Instant::now(), cpu::of_all()?, cpu::of_this(), cpu::of_group(self.process.id())?);
            clients.ask(TIMES).await?;
            let its = cpu::of_group(self.process.id())?.saturating_sub(its);
            let others = cpu::of_all()?.saturating_sub(all).saturating_sub(cpu::of_this().saturating_sub(mine)).saturating_sub(its);
            let disturbed = others.as_secs_f64() > QUIET * at.elapsed().as_secs_f64() + 0.01;
            if !disturbed || repeats == REPEATS {
                self.disturbed += usize::from(disturbed);
                break its;
            }
            repeats += 1;
        };
        self.costs.push(cost.as_secs_f64() * 1e6 / (CLIENTS * TIMES) as f64);
        Ok(())
    }

    /// The median of its ratios to another one.
    fn beside(&self, other: &Subject) -> f64 {
        median(self.costs.iter().zip(&other.costs).map(|(own, others)| own / others).collect())
    }
}

/// Prints all figures, and last what became of the bars. Whether none was missed.
fn tell(subjects: &[Subject], missing: &[&str]) -> bool {
    let mut bars = Bars::default();
    let named = |name: &str| subjects.iter().find(|subject| subject.name == name);
    let mut line = |subject: &'static str, beside: &'static str, bar: Option<f64>| {
        let mut told = json!({ "bench": "gateway", "metric": subject, "peer": beside, "bar": bar, "ok": null });
        let mut ok = None;
        if let (Some(ours), Some(other)) = (named(subject), named(beside)) {
            let ratio = ours.beside(other);
            ok = Some(bar.is_none_or(|bar| ratio <= bar));
            told = json!({
                "bench": "gateway", "metric": subject, "value": rounded(median(ours.costs.clone())), "unit": "us/request", "peer": beside,
                "peer_value": rounded(median(other.costs.clone())), "ratio": rounded(ratio), "bar": bar, "ok": ok, "rounds": ours.costs.len(),
                "disturbed": ours.disturbed + other.disturbed, "load": cpu::load(),
            });
        } else {
            told["not_measured"] = json!(format!("{} is not installed", if missing.contains(&subject) { subject } else { beside }));
        }
        println!("{told}");
        if bar.is_some() {
            bars.count(format!("{subject} beside {beside}"), ok);
        }
    };
    line(ROUTING, BARE, Some(0.95));
    line(EVERYTHING, BARE, Some(1.20));
    line(MANY, ROUTING, Some(1.03));
    for peer in &PEERS {
        line(ROUTING, peer.name, peer.to_beat.then_some(1.0));
        line(EVERYTHING, peer.name, peer.to_beat.then_some(1.0));
        line(peer.name, BARE, None);
    }
    println!("{}", json!({ "bench": "gateway", "bars": bars }));
    bars.missed.is_empty()
}

/// What became of each bar.
#[derive(Default, Serialize)]
struct Bars {
    met: Vec<String>,
    missed: Vec<String>,
    not_measured: Vec<String>,
}

impl Bars {
    /// `ok`: whether it was met, if that was measured.
    fn count(&mut self, bar: String, ok: Option<bool>) {
        match ok {
            Some(true) => self.met.push(bar),
            Some(false) => self.missed.push(bar),
            None => self.not_measured.push(bar),
        }
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
