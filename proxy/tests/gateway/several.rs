//! Read your writes across two gateways that share nothing but a key: one copies' agent, that lags behind and tells them late.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ficus_proxy::{Config, Gateway, Upstream};
use ficus_rules::Timestamp;
use ficus_rules::marker::{Marker, seal};
use ficus_rules::wire::{Freshness, ReportAnswer};
use tokio::sync::watch;

use super::support::{Got, World, full, now, published, ramping, send, soaking};

const PATH: &str = "/api/v1/users/thing";

/// A second gateway before the same servers.
struct Second {
    gateway: Gateway,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Second {
    fn before(world: &World) -> Second {
        let upstream = |address: SocketAddr| Upstream::at(address.to_string());
        let upstreams = BTreeMap::from([
            ("monolith".to_owned(), upstream(world.legacy.address)),
            ("users-service".to_owned(), upstream(world.modern.address)),
        ]);
        let mut config = Config::new("g2", upstreams, "monolith");
        config.expose_side = true;
        config.marker_key = b"marker".to_vec();
        let gateway = Gateway::new(config).unwrap();
        let (stop, stopped) = watch::channel(false);
        let running = gateway.clone();
        let thread = std::thread::spawn(move || running.run(stopped).unwrap());
        let address = gateway.bound()[0];
        Second { gateway, address, stop, thread: Some(thread) }
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells a gateway how fresh modern's copy is.
fn tell(gateway: &Gateway, epoch: u64, through: Timestamp) {
    gateway.report();
    let freshness = BTreeMap::from([("users".to_owned(), Freshness { epoch, through })]);
    gateway.answered(&ReportAnswer { generation: gateway.generation(), valid_for_ms: 60_000, freshness, ..ReportAnswer::default() });
}

/// Two gateways that serve the same.
async fn two(serving: ficus_rules::wire::Serving) -> (World, Second) {
    let world = World::start().await;
    let second = Second::before(&world);
    for gateway in [&world.gateway, &second.gateway] {
        gateway.publish(published(1, serving.clone())).unwrap();
        tell(gateway, serving.epoch, Timestamp(1));
    }
    (world, second)
}

async fn with(world: &World, address: SocketAddr, method: &str, cookie: &str) -> Got {
    send(&world.client, address, method, PATH, &[("cookie", cookie)], full("")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_older_than_they_wrote_through_whichever_gateway_while_the_copy_lags() {
    let (world, second) = two(ramping(100)).await;
    "0".clone_into(&mut world.legacy.state.thing.lock().unwrap());
    "0".clone_into(&mut world.modern.state.thing.lock().unwrap());
    let writes = Arc::new(Mutex::new(VecDeque::<(Timestamp, u64)>::new()));
    // The monolith commits while the gateway waits for its answer, and time goes on before and after.
    let (committed, number, legacy) = (writes.clone(), AtomicU64::new(0), world.legacy.state.clone());
    *world.legacy.state.commits.lock().unwrap() = Some(Box::new(move || {
        let mut writes = committed.lock().unwrap();
        let mine = number.fetch_add(1, Ordering::Relaxed) + 1;
        *legacy.thing.lock().unwrap() = mine.to_string();
        writes.push_back((now(), mine));
        mine.to_string()
    }));
    let done = AtomicBool::new(false);
    // The agent: copies what is older than its lag, then tells the gateways, one of them late.
    let agent = async {
        let mut round = 0_u64;
        while !done.load(Ordering::Relaxed) {
            round += 1;
            let lag = [0, 40, 150, 10][usize::try_from(round % 4).unwrap()];
            let through = Timestamp(now().0 - lag);
            let newest = {
                let mut writes = writes.lock().unwrap();
                let due = writes.iter().take_while(|(at, _)| *at <= through).count();
                writes.drain(..due).next_back()
            };
            tokio::time::sleep(Duration::from_millis(5)).await;
            if let Some((_, value)) = newest {
                *world.modern.state.thing.lock().unwrap() = value.to_string();
            }
            tell(&world.gateway, 1, through);
            tokio::time::sleep(Duration::from_millis(15)).await;
            tell(&second.gateway, 1, through);
        }
    };
    let addresses = [world.address, second.address];
    let caller = async |seed: usize| {
        let (mut cookie, mut mine, mut sides) = (String::new(), 0, BTreeMap::<String, usize>::new());
        for step in 0..60_usize {
            let at = |n: usize| addresses[(seed * 7 + step * 3 + n) % 2];
            if step % 6 == 0 {
                let got = with(&world, at(0), "POST", &cookie).await;
                mine = std::str::from_utf8(&got.body).unwrap().parse().unwrap();
                cookie = format!("ficus_wrote={}", got.cookie("ficus_wrote").expect("a marker"));
            }
            let got = with(&world, at(1 + step % 2), "GET", &cookie).await;
            let value: u64 = std::str::from_utf8(&got.body).unwrap().parse().unwrap();
            assert!(value >= mine, "caller {seed}, step {step}: {value} by {} is older than {mine}", got.side());
            *sides.entry(got.side().to_owned()).or_default() += 1;
            tokio::time::sleep(Duration::from_millis(4 + u64::try_from(seed).unwrap())).await;
        }
        sides
    };
    let callers = async {
        let sides = futures::future::join_all((0..8).map(caller)).await;
        done.store(true, Ordering::Relaxed);
        sides
    };
    let (sides, ()) = tokio::join!(callers, agent);
    let count = |side: &str| sides.iter().filter_map(|sides| sides.get(side)).sum::<usize>();
    println!("480 reads, 0 stale: {} by legacy, {} by modern", count("legacy"), count("modern"));
    assert!(count("legacy") >= 20 && count("modern") >= 20, "the test saw one side only: {sides:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_is_believed_by_every_gateway_if_it_is_genuine_young_and_of_this_epoch() {
    let (world, second) = two(ramping(100)).await;
    let cookie = |key: &[u8], epoch: u64, at: Timestamp| {
        let marker = Marker { capability: "users".into(), epoch, at };
        format!("ficus_wrote={}", seal(&[marker], key))
    };
    let side = async |cookie: &str| {
        let (one, other) = (with(&world, world.address, "GET", cookie).await, with(&world, second.address, "GET", cookie).await);
        assert_eq!(one.side(), other.side(), "both gateways read it alike");
        one.side().to_owned()
    };
    assert_eq!(side(&cookie(b"marker", 1, now())).await, "legacy");
    assert_eq!(side(&cookie(b"another key", 1, now())).await, "modern", "forged");
    let mut torn = cookie(b"marker", 1, now());
    torn.pop();
    assert_eq!(side(&torn).await, "modern", "torn");
    let old = Timestamp(now().0 - u64::try_from(ficus_rules::marker::LIFETIME.as_millis()).unwrap() - 1_000);
    assert_eq!(side(&cookie(b"marker", 1, old)).await, "modern", "expired");
    assert_eq!(side(&cookie(b"marker", 0, now())).await, "modern", "of the owner before");

    // Modern owns, its caller writes; then everything goes back, and the ramp begins anew in a later epoch.
    for gateway in [&world.gateway, &second.gateway] {
        gateway.publish(published(2, soaking())).unwrap();
        tell(gateway, 2, Timestamp(now().0 - 5_000));
    }
    let wrote = with(&world, world.address, "POST", "").await;
    let of_modern = format!("ficus_wrote={}", wrote.cookie("ficus_wrote").expect("a marker"));
    let back = ficus_rules::wire::Serving { epoch: 3, ..ramping(100) };
    for gateway in [&world.gateway, &second.gateway] {
        gateway.publish(published(3, back.clone())).unwrap();
        tell(gateway, 3, Timestamp(now().0 - 1));
    }
    assert_eq!(side(&of_modern).await, "modern", "the revert waited until that write was at legacy, and the copy has it");
    assert_eq!(side(&cookie(b"marker", 3, now())).await, "legacy");
}
