//! A fence that is closed stays closed, whoever else has triggers, and while its own are made anew.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ficus_rules::Side;
use ficus_rules::mapping::compile;
use mysql_async::Conn;

use crate::contract::mariadb::server::{Server, attempt, exec};
use crate::mariadb::Server as Opened;
use crate::mariadb::value::tests::map;
use crate::port::{Engine, Shared};

/// Legacy with one mapped column, and with two; `more` is in none of them.
async fn fenced() -> (Conn, Conn, [Shared; 2]) {
    let server = Server::shared();
    let name = server.database().await;
    let mut root = server.root(&name).await;
    exec(
        &mut root,
        "CREATE TABLE `from``here` (id int PRIMARY KEY, `c``0` int NOT NULL, `c``1` int NOT NULL DEFAULT 0, more int NOT NULL DEFAULT 0)",
    )
    .await;
    exec(&mut root, "CREATE TABLE `to here` (legacy_id int UNIQUE, c0 int NOT NULL, c1 int NOT NULL DEFAULT 0)").await;
    exec(&mut root, "INSERT INTO `from``here` VALUES (1, 1, 1, 1)").await;
    let opened = Opened::open(&server.url(&name), "kinds").await.expect("opens");
    let from = opened.columns(&["from`here".into()]).await.expect("columns");
    let to = opened.columns(&["to here".into()]).await.expect("columns");
    let side = async |columns: usize| {
        let plans = compile("kinds", &[map(columns)], &from, &to).expect("compiles");
        opened.side("kinds", Side::Legacy, &plans).await.expect("a side")
    };
    let sides = [side(1).await, side(2).await];
    sides[0].prepare().await.expect("prepares");
    sides[0].claim("a source", None).await.expect("a turn");
    sides[0].fence(true).await.expect("fences");
    (root, server.root(&name).await, sides)
}

#[tokio::test]
async fn a_trigger_that_changes_is_never_away() {
    let (mut first, mut second, sides) = fenced().await;
    let (over, passed) = (AtomicBool::new(false), AtomicU32::new(0));
    let write = async |conn: &mut Conn| {
        while !over.load(Ordering::Acquire) {
            if attempt(conn, "UPDATE `from``here` SET `c``0` = `c``0` + 1").await.is_ok() {
                passed.fetch_add(1, Ordering::AcqRel);
            }
        }
    };
    let change = async {
        for round in 0..60 {
            sides[(round + 1) % 2].prepare().await.expect("prepares");
        }
        over.store(true, Ordering::Release);
    };
    tokio::join!(write(&mut first), write(&mut second), change);
    assert_eq!(passed.into_inner(), 0, "writes passed a fence that was closed");
}

#[tokio::test]
async fn what_a_later_trigger_changes_is_seen() {
    let (mut root, _, _sides) = fenced().await;
    exec(&mut root, "UPDATE `from``here` SET more = 2").await;
    exec(&mut root, "CREATE TRIGGER later BEFORE UPDATE ON `from``here` FOR EACH ROW SET NEW.`c``0` = NEW.`c``0` + 1").await;
    let refused = attempt(&mut root, "UPDATE `from``here` SET more = 3").await.expect_err("a mapped column changes with it");
    assert!(refused.contains("ficus: "), "{refused}");
}
