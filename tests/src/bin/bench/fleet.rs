//! Switches through three gateways, one of which is killed or cut off at some moment of each: nothing is lost or doubled, and
//! nobody at the other two notices.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::fleet::{Behind, Fleet, Plan};
use ficus_tests::ledger::Ledger;
use ficus_tests::notebook::{self, NAME, Notebook, Pace, RULES, UPSTREAMS, Writers};
use hyper::Method;

use crate::etcd::EtcdServer;
use crate::line::Line;
use crate::switches::{Databases, Engine, PEOPLE, promises, quiet};

const PATIENCE: Duration = Duration::from_secs(120);
const GATEWAYS: usize = 3;
/// In which people write and nothing happens, from the end of a switch to the next wish.
const REST: Duration = Duration::from_secs(1);

/// From one moment to another.
type Time = (Instant, Instant);

/// Whether all bars were met.
pub(crate) async fn measure(engine: Engine, switches: u32, writes: u32) -> Result<bool> {
    let bench = match engine {
        Engine::Postgres => "switches_fleet".to_owned(),
        _ => format!("switches_fleet_{}", engine.name()),
    };
    let (directory, etcd) = (tempfile::tempdir()?, EtcdServer::start());
    let Databases { stores, urls, .. } = &Databases::start(engine, directory.path()).await?;
    let notebooks = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
    let behind = |at: usize| Behind { name: UPSTREAMS[at], port: notebooks[at].port, health: "/health", database: urls[at].clone() };
    let plan = Plan { gateways: GATEWAYS, orchestrators: 2, etcd: etcd.port, validity: "5s", waits: false };
    let mut fleet = Fleet::start_before(directory.path(), plan, [behind(0), behind(1)], NAME, RULES).await?;
    fleet.operator()?.type_in(&["advance", NAME]).await?;
    fleet.until("shadowing", PATIENCE, |status| status["phase"] == "shadowing").await?;
    // A few more than have to be reached.
    let pace = Pace::per_second((writes / GATEWAYS as u32 + 1).next_multiple_of(10));
    let writers: Vec<Writers> = (0..GATEWAYS).map(|at| Writers::start(&fleet.http(at), pace, at as u32)).collect();
    // When each of them was away, and when nobody could write through it.
    let (begun, mut away, mut stood) = (Instant::now(), vec![Vec::new(); GATEWAYS], vec![Vec::new(); GATEWAYS]);
    let (mut killed, mut cut) = (0, 0);
    for number in 0..switches {
        let (wish, phase) = if number % 2 == 0 { ("cutover", "soaking") } else { ("revert", "reverted") };
        let (hit, kill) = (rand::random_range(0..GATEWAYS), rand::random_bool(0.5));
        tokio::time::sleep(REST).await;
        let wished = Instant::now();
        fleet.operator()?.until_accepted(wish, NAME, PATIENCE).await?;
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..60))).await;
        let from = Instant::now();
        if kill {
            killed += 1;
            fleet.gateways[hit].process.kill()?;
        } else {
            cut += 1;
            fleet.gateways[hit].cables.iter().for_each(|cable| cable.cut());
        }
        switched(&fleet, wish, phase).await.with_context(|| format!("switch {number}, gateway {hit}, killed: {kill}"))?;
        let switched = Instant::now();
        if kill {
            fleet.start_gateway(hit)?;
        } else {
            fleet.gateways[hit].cables.iter().for_each(|cable| cable.mend());
        }
        takes_writes(&fleet, hit).await?;
        let back = Instant::now();
        away[hit].push((from, back));
        for (gateway, stood) in stood.iter_mut().enumerate() {
            stood.push((wished, if gateway == hit { back } else { switched }));
        }
    }
    tokio::time::sleep(REST).await;
    let ended = Instant::now();
    let mut ledgers = Vec::new();
    for one in writers {
        ledgers.push(one.stop().await);
    }
    fleet.until("the streams to be empty", PATIENCE, quiet).await?;
    fleet.operator()?.type_in(&["verify", NAME, "--wait", "120s"]).await?;
    let entries: Vec<_> = ledgers.iter().flat_map(Ledger::entries).collect();
    let findings = notebook::audit([&stores[0], &stores[1]], &entries).await?;
    let failed: usize = ledgers.iter().zip(&away).map(|(ledger, away)| ledger.failures_outside(away)).sum();
    let all: Vec<&Ledger> = ledgers.iter().collect();
    let mut met = promises(&bench, [findings.lost.len(), findings.doubled.len()], failed as u64, &all);
    for said in findings.lost.iter().chain(&findings.doubled).take(20) {
        eprintln!("{bench}: {said}");
    }
    for (at, ledger) in ledgers.iter().enumerate() {
        let seconds: f64 = away[at].iter().map(|(from, to)| (*to - *from).as_secs_f64()).sum();
        eprintln!("switches_fleet: gateway {at}: {} times away, {seconds:.0} s in all: {:?}", away[at].len(), ledger.failures());
        if failed > 0 {
            eprintln!("{bench}: {:?}", ledger.samples());
        }
    }
    eprintln!("{bench}: {killed} killed, {cut} cut off");
    let reached = living(&ledgers, &stood, pace, (begun, ended));
    let line = Line::of(&bench, "writes_per_second", reached, "1/s").at_least(u64::from(writes));
    let (acknowledged, requests) =
        (all.iter().map(|one| one.acknowledged()).sum::<u64>(), all.iter().map(|one| one.requests()).sum::<u64>());
    let asked = (pace.rate() * GATEWAYS as f64).round() as u64;
    let line = line.with("asked", asked).with("acknowledged", acknowledged).with("requests", requests);
    met &= line.with("switches", switches).with("seconds", (ended - begun).as_secs()).print();
    for store in stores {
        store.close().await;
    }
    Ok(met)
}

/// Writes a second through all gateways while nobody holds them and they live. What a gateway was asked for otherwise does not count,
/// nor what is made up for beyond the pace.
fn living(ledgers: &[Ledger], stood: &[Vec<Time>], pace: Pace, whole: Time) -> u64 {
    let (mut done, mut seconds) = (0.0, 0.0);
    for (ledger, stood) in ledgers.iter().zip(stood) {
        let writes: Vec<Instant> = ledger.timings().iter().filter(|timing| timing.write).map(|timing| timing.sent + timing.took).collect();
        let failed: Vec<Instant> = ledger.failed_requests().iter().map(|failure| failure.at).collect();
        for (from, to) in between(stood, whole) {
            let within = |times: &[Instant]| times.iter().filter(|at| (from..to).contains(at)).count();
            let (lasted, answered) = ((to - from).as_secs_f64(), within(&writes).saturating_sub(within(&failed)));
            done += (lasted * pace.rate()).min(answered as f64);
            seconds += lasted;
        }
    }
    // As many, or it is missed; but for what a float loses.
    (done / seconds * GATEWAYS as f64 + 1e-6).floor() as u64
}

/// The times between some, in their order.
fn between(times: &[Time], (from, to): Time) -> Vec<Time> {
    let begins = std::iter::once(from).chain(times.iter().map(|(_, to)| *to));
    let ends = times.iter().map(|(from, _)| *from).chain([to]);
    begins.zip(ends).collect()
}

/// Until it has come about, however often it is taken back.
async fn switched(fleet: &Fleet, wish: &str, phase: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let status = fleet.until("the switch to end", PATIENCE, |status| status["phase"] == phase || status["switch"].is_null()).await?;
        if status["phase"] == phase {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "the {wish} never came about: {status:#}");
        let _ = fleet.operator()?.try_type(&[wish, NAME]).await?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Until a gateway takes writes again.
async fn takes_writes(fleet: &Fleet, at: usize) -> Result<()> {
    let (http, begun) = (fleet.http(at), Instant::now());
    loop {
        let body = serde_json::json!({ "address": "nobody in particular" }).to_string();
        let answer = http.send(Method::PUT, &format!("/notes/{PEOPLE}"), &[("content-type", "application/json")], body.into()).await;
        if answer.is_ok_and(|answer| answer.status.is_success()) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "gateway {at} does not take writes again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ficus_tests::ledger::Timing;

    /// Of ten seconds the first gateway stands for five, and then has much left over; the others never do.
    #[test]
    fn what_a_gateway_carries_counts_while_it_lives_and_no_more_than_it_was_asked_for() {
        let begun = Instant::now();
        let second = |at: u64| begun + Duration::from_secs(at);
        let pace = Pace { writers: 10, every: Duration::from_millis(100) };
        let ledger = |per_second: &[usize]| {
            let ledger = Ledger::default();
            for (at, writes) in per_second.iter().enumerate() {
                let timing = |write| Timing { sent: second(at as u64), took: Duration::from_millis(500), write };
                (0..*writes).for_each(|_| ledger.answered(timing(true), None));
                ledger.answered(timing(false), None);
            }
            ledger
        };
        let stood = [vec![(second(2), second(7))], vec![], vec![]];
        assert_eq!(between(&stood[0], (second(0), second(10))), [(second(0), second(2)), (second(7), second(10))]);
        let whole = (second(0), second(10));
        let all = [ledger(&[100, 100, 7, 7, 7, 7, 7, 900, 0, 0]), ledger(&[100; 10]), ledger(&[100; 10])];
        assert_eq!(living(&all, &stood, pace, whole), 300);
        // One that lives and takes half of it is missed.
        let slow = [ledger(&[100; 10]), ledger(&[50; 10]), ledger(&[100; 10])];
        assert_eq!(living(&slow, &stood, pace, whole), 240);
        // One answer a second less is less, and one that fails is none.
        let nearly = [ledger(&[100; 10]), ledger(&[100; 10]), ledger(&[99; 10])];
        assert_eq!(living(&nearly, &[vec![], vec![], vec![]], pace, whole), 299);
        let fails = ledger(&[100; 10]);
        std::iter::repeat_n((), 500).for_each(|()| fails.failed("500", None, String::new()));
        assert_eq!(living(&[fails], &[vec![]], pace, whole), 150);
    }
}
