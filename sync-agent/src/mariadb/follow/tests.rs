//! Waiting for what is on its way.

use std::sync::Arc;
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::mapping::{Value, compile};
use tokio::time::Instant;

use super::super::capture::Change;
use super::{Endpoint, Shared};
use crate::contract::mariadb::server::{Server, exec};
use crate::mariadb::Server as Opened;
use crate::mariadb::value::tests::map;
use crate::port::{Engine, Position, Sink, Source};

const PATIENCE: Duration = Duration::from_millis(400);

#[tokio::test]
async fn a_transaction_may_take_long_as_long_as_it_comes() {
    let shared = Arc::new(Shared::default());
    let task = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move {
            for _ in 0..20 {
                tokio::time::sleep(PATIENCE / 8).await;
                shared.buffer().alive = Some(Instant::now());
            }
            shared.buffer().received = Position(5);
            shared.arrived.notify_one();
        }
    });
    assert!(shared.until(|buffer| buffer.received >= Position(5), PATIENCE).await, "events came all the time");
    task.await.expect("ends");
    let begun = Instant::now();
    assert!(!shared.until(|buffer| buffer.received >= Position(6), PATIENCE).await, "nothing comes any more");
    assert!(begun.elapsed() >= PATIENCE);
}

#[tokio::test]
async fn what_waits_is_counted_as_what_it_takes() {
    let server = Server::shared();
    let name = server.database().await;
    let mut root = server.root(&name).await;
    exec(&mut root, "CREATE TABLE `from``here` (id int PRIMARY KEY, `c``0` tinyint)").await;
    exec(&mut root, "CREATE TABLE `to here` (legacy_id int PRIMARY KEY, c0 tinyint)").await;
    let opened = Opened::open(&server.url(&name), "kinds").await.expect("opens");
    let from = opened.columns(&["from`here".into()]).await.expect("columns");
    let to = opened.columns(&["to here".into()]).await.expect("columns");
    let plans = compile("kinds", &[map(1)], &from, &to).expect("compiles");
    let source = Endpoint::new(opened, "kinds", Side::Legacy, &plans).await.expect("a side");
    source.prepare().await.expect("prepares");
    source.claim("a sink", None).await.expect("a turn");
    let start = source.end_position().await.expect("an end");
    exec(&mut root, "INSERT INTO `from``here` SELECT seq, 1 FROM seq_1_to_1000").await;
    while source.read(start, 10_000, &[]).await.expect("reads").entries == 0 {}
    let follow = source.follow.lock().await;
    let shared = &follow.running.as_ref().expect("it follows").shared;
    let least = 1_000 * (size_of::<Change>() + size_of::<Value>());
    assert!(shared.buffer().bytes >= least, "{} bytes for {least}", shared.buffer().bytes);
}
