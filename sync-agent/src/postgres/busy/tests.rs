//! Whose transaction a switch is refused for, against a real server.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::contract::postgres::server::{Server, exec, number};
use crate::port::{Busy, Shared};
use crate::postgres::tests::Bed;

async fn held(side: &Shared) -> String {
    match side.busy().await.unwrap() {
        Busy::Held { text, .. } => text,
        other => panic!("nobody is named: {other:?}"),
    }
}

async fn a_while() {
    tokio::time::sleep(Duration::from_millis(1_200)).await;
}

#[tokio::test]
async fn an_old_writer_is_named_and_nobody_else() {
    let server: &'static Server = Box::leak(Box::new(Server::start(&["fsync=off", "max_prepared_transactions=5"])));
    let bed = Bed::on(server, "name text", &[]).await;
    let mut root = server.root(&bed.names[0]).await;
    exec(&mut root, "CREATE TABLE other (id int); INSERT INTO item VALUES (1, 'a')").await;

    // GIVEN who reads, who writes elsewhere, and one who has only just written
    let (mut reader, mut elsewhere) = (server.root(&bed.names[0]).await, server.root(&bed.names[0]).await);
    exec(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM item").await;
    exec(&mut elsewhere, "BEGIN; INSERT INTO other VALUES (1)").await;
    a_while().await;
    let mut writer = server.root(&bed.names[0]).await;
    exec(&mut writer, "SET application_name = 'nightly'").await;
    let pid = number(&mut writer, "SELECT pg_backend_pid()::int8").await;
    exec(&mut writer, "BEGIN").await;
    exec(&mut writer, "UPDATE item SET name = 'secret'").await;
    // THEN nobody is old
    assert_eq!(bed.legacy.busy().await.unwrap(), Busy::Free);

    // WHEN the one who writes goes on, THEN that one is named, with what a role without rights sees
    a_while().await;
    let text = held(&bed.legacy).await;
    for part in [&format!("pid {pid}, role `postgres`, application `nightly`"), "is open for 1 s", "test: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("UPDATE") && !text.contains("and 1 more"), "{text}");
    // AND with more, but no value, once it may
    exec(&mut root, "GRANT pg_read_all_stats TO agent").await;
    let text = held(&bed.legacy).await;
    assert!(text.contains("idle in transaction, last statement `UPDATE item SET name = …`") && !text.contains("secret"), "{text}");
    assert_eq!(bed.modern.busy().await.unwrap(), Busy::Free);

    // AND it is not ended, by one who may, while no fence waits for it
    exec(&mut root, "GRANT pg_signal_backend TO agent").await;
    assert_eq!(bed.legacy.end_writers().await.unwrap(), Vec::<String>::new());
    assert_eq!(number(&mut root, &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")).await, 1);
    exec(&mut root, "REVOKE pg_signal_backend FROM agent").await;

    // WHEN the statement that is printed is run, THEN nobody is left
    let (_, remedy) = text.split_once("or end it: ").unwrap();
    exec(&mut root, remedy).await;
    while number(&mut root, &format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")).await > 0 {}
    assert_eq!(bed.legacy.busy().await.unwrap(), Busy::Free);

    // GIVEN a transaction that no session has any more
    exec(&mut root, "BEGIN; DELETE FROM item; PREPARE TRANSACTION 'it''s half'").await;
    a_while().await;
    let text = held(&bed.legacy).await;
    assert!(text.contains("role `postgres`") && text.ends_with("ROLLBACK PREPARED 'it''s half';"), "{text}");
    exec(&mut root, "ROLLBACK PREPARED 'it''s half'").await;
    assert_eq!(bed.legacy.busy().await.unwrap(), Busy::Free);
}

#[tokio::test]
async fn writers_who_come_one_after_another_are_not_old() {
    let bed = Bed::on(Server::shared(), "name text", &[]).await;
    let mut writers = Vec::new();
    for id in 0..4 {
        let mut app = Server::shared().root(&bed.names[0]).await;
        writers.push(tokio::spawn(async move {
            for _ in 0..12 {
                exec(&mut app, &format!("BEGIN; INSERT INTO item VALUES ({id}, 'a')")).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
                exec(&mut app, "ROLLBACK").await;
            }
        }));
    }
    while writers.iter().any(|writer| !writer.is_finished()) {
        assert_eq!(bed.legacy.busy().await.unwrap(), Busy::Free);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
