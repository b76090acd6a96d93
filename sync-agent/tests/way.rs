//! The whole way of a capability, and what must hold at each step.
#![allow(clippy::unwrap_used)]

mod rows;
mod support;

use ficus_rules::Side;
use ficus_rules::wire::SyncOrder;
use support::{World, attempt, exec, legacy_user, number, report, streaming, text, until};

#[tokio::test]
async fn what_was_there_and_what_comes_arrives() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=500 {
        legacy_user(&mut legacy, id).await;
    }
    exec(&mut legacy, "INSERT INTO accounts_photo VALUES (7, 'image/png', 'abc', x'00ff10', '2026-01-01')").await;
    let agent = world.agent().await;
    let seen = streaming(&agent).await;
    assert_eq!((seen.backfill.done, seen.backfill.total), (1501, 1501));
    world.must_be_equal(&agent).await;

    legacy_user(&mut legacy, 501).await;
    exec(&mut legacy, "UPDATE accounts_customuser SET first_name = 'Grace' WHERE id = 7").await;
    exec(&mut legacy, "DELETE FROM accounts_usernote WHERE user_id = 9").await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    let mut modern = world.app(Side::Modern).await;
    assert_eq!(text(&mut modern, "SELECT given_name FROM users WHERE legacy_id = 7").await.as_deref(), Some("Grace"));
    assert_eq!(number(&mut modern, "SELECT count(*) FROM pragma_foreign_key_check").await, 0);
    agent.stop().await;
}

#[tokio::test]
async fn over_and_back_with_writes_on_each_side() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    let mut modern = world.app(Side::Modern).await;
    for id in 1..=20 {
        legacy_user(&mut legacy, id).await;
    }
    let agent = world.agent().await;
    streaming(&agent).await;
    world.switch(&agent, Side::Modern).await;

    // A row that is born on modern takes the next number of the sequence, above all of legacy's.
    exec(&mut modern, "INSERT INTO seq_users DEFAULT VALUES").await;
    let id = number(&mut modern, "SELECT max(id) FROM seq_users").await;
    assert_eq!(id, 21);
    let uuid = ficus_rules::mapping::uuid_of("users", "accounts_customuser", id);
    exec(
        &mut modern,
        &format!("INSERT INTO users VALUES ('{uuid}', {id}, 'born', 'e', 'p', 'g', 'f', 'staff', 1, 0, 0, '2026-01-01', 'nick')"),
    )
    .await;
    exec(&mut modern, "DELETE FROM users WHERE legacy_id = 3").await;
    world.settle(&agent, Side::Modern).await;
    assert_eq!(number(&mut legacy, "SELECT user_type FROM accounts_customuser WHERE id = 21").await, 2);
    assert_eq!(number(&mut legacy, "SELECT count(*) FROM accounts_usernote WHERE user_id = 3").await, 0, "the cascade came along");
    world.must_be_equal(&agent).await;

    world.switch(&agent, Side::Legacy).await;
    exec(
        &mut legacy,
        "INSERT INTO accounts_customuser (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined, user_type) VALUES ('p', 0, 'later', 'f', 'l', 'e', 0, 1, 'd', 1)",
    )
    .await;
    assert_eq!(number(&mut legacy, "SELECT max(id) FROM accounts_customuser").await, 22);
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    assert_eq!(
        text(&mut modern, "SELECT nickname FROM users WHERE legacy_id = 21").await.as_deref(),
        Some("nick"),
        "unmapped columns stay"
    );
    agent.stop().await;
}

#[tokio::test]
async fn the_agents_own_writes_do_not_flow_back() {
    let world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    for id in 1..=30 {
        legacy_user(&mut legacy, id).await;
    }
    world.settle(&agent, Side::Legacy).await;
    world.settle(&agent, Side::Modern).await;
    let mut modern = world.app(Side::Modern).await;
    assert_eq!(number(&mut modern, "SELECT count(*) FROM users").await, 30);
    assert_eq!(number(&mut modern, "SELECT count(*) FROM _ficus_log").await, 0);
    assert_eq!(number(&mut modern, "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = '_ficus_log'), 0)").await, 0);
    assert_eq!(report(&agent).reverse.rows, 0);
    agent.stop().await;
}

#[tokio::test]
async fn a_fence_refuses_strangers_and_lets_kept_columns_pass() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy_user(&mut legacy, 1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.fence_and_drain(&agent, Side::Legacy).await;
    for refused in [
        "UPDATE accounts_customuser SET email = 'x'",
        "DELETE FROM accounts_usernote",
        "INSERT INTO accounts_usernote (text, created_at, user_id) VALUES ('x', 'x', 1)",
        "INSERT OR IGNORE INTO accounts_usernote (text, created_at, user_id) VALUES ('x', 'x', 1)",
    ] {
        let error = attempt(&mut legacy, refused).await.unwrap_err().to_string();
        assert!(error.contains("ficus: "), "{error}");
    }
    exec(&mut legacy, "UPDATE accounts_customuser SET last_login = '2026-05-05' WHERE id = 1").await;
    exec(&mut legacy, "INSERT INTO attendance (student_id) VALUES (1)").await;
    world.order(&agent, |orders, _| orders.fenced.legacy = false);
    until(&agent, "open", |report| !report.fenced.legacy).await;
    exec(&mut legacy, "UPDATE accounts_customuser SET email = 'x'").await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    assert_eq!(text(&mut legacy, "SELECT last_login FROM accounts_customuser").await.as_deref(), Some("2026-05-05"));
    agent.stop().await;
}

#[tokio::test]
async fn remove_leaves_nothing() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy_user(&mut legacy, 1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.fence_and_drain(&agent, Side::Legacy).await;
    world.order(&agent, |orders, _| orders.sync = SyncOrder::Remove);
    until(&agent, "removed", |report| report.removed).await;
    for side in Side::BOTH {
        let mut app = world.app(side).await;
        assert_eq!(number(&mut app, "SELECT count(*) FROM sqlite_master WHERE sql LIKE '%ficus%'").await, 0, "{side}");
    }
    exec(&mut legacy, "UPDATE accounts_customuser SET email = 'free'").await;
    // And again from the beginning: whose rows these are is forgotten, so somebody has to say that they may go.
    world.order(&agent, |orders, _| {
        orders.sync = SyncOrder::Run;
        orders.fenced.legacy = false;
        orders.mark_end = None;
    });
    let seen = until(&agent, "a refusal", |report| report.trouble.is_some()).await;
    assert!(seen.trouble.is_some_and(|why| why.contains("has rows already") && why.contains("DELETE FROM")));
    let mut modern = world.app(Side::Modern).await;
    assert!(number(&mut modern, "SELECT count(*) FROM users").await > 0, "nothing was removed");
    for table in ["photos", "notes", "profiles", "users"] {
        exec(&mut modern, &format!("DELETE FROM {table}")).await;
    }
    streaming(&agent).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn the_application_notices_nothing_of_capture() {
    let world = World::new().await;
    let agent = world.agent().await;
    streaming(&agent).await;
    let mut legacy = world.app(Side::Legacy).await;
    let insert = "INSERT INTO accounts_usernote (id, text, created_at, user_id) VALUES (4711, 't', 'c', 1)";
    exec(&mut legacy, "PRAGMA foreign_keys = OFF").await;
    let done = sqlx::query(insert).execute(&mut legacy).await.unwrap();
    assert_eq!((done.last_insert_rowid(), done.rows_affected()), (4711, 1));
    agent.stop().await;
}

#[tokio::test]
async fn a_source_without_wal_is_refused_with_the_statement() {
    let world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    exec(&mut legacy, "PRAGMA journal_mode = DELETE").await;
    let agent = world.agent().await;
    let seen = until(&agent, "trouble", |report| report.trouble.is_some()).await;
    assert!(seen.trouble.unwrap().contains("PRAGMA journal_mode = WAL;"));
    // Once it is done, the agent goes on by itself.
    exec(&mut legacy, "PRAGMA journal_mode = WAL").await;
    let seen = streaming(&agent).await;
    assert_eq!(seen.trouble, None);
    agent.stop().await;
}

#[tokio::test]
async fn older_orders_are_refused() {
    let mut world = World::new().await;
    let agent = world.agent().await;
    streaming(&agent).await;
    let old = world.orders.clone();
    world.order(&agent, |orders, _| orders.fenced.legacy = true);
    until(&agent, "fenced", |report| report.fenced.legacy).await;
    agent.order(old);
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    assert!(report(&agent).fenced.legacy);
    assert_eq!(agent.report().generation, 2);
    agent.stop().await;
}
