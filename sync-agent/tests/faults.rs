//! What goes wrong: agents that die, agents that meet, tables that are remade, rows that do not fit, writers that do not
//! stop while both sides are compared.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::wire::{Verify, VerifyScope};
use support::workload::{Random, step};
use support::{World, exec, legacy_user, number, report, streaming, text, until};

/// Random work on whichever side owns, with agents dropped at random moments.
async fn random_work(seed: u64, kills: bool) {
    let mut world = World::new().await;
    world.batch_rows = 5;
    let mut random = Random(seed);
    let mut legacy = world.app(Side::Legacy).await;
    let mut modern = world.app(Side::Modern).await;
    for id in 1..=20 {
        legacy_user(&mut legacy, id).await;
    }
    let mut agent = world.agent().await;
    for (round, owner) in [Side::Legacy, Side::Modern, Side::Legacy, Side::Modern].into_iter().enumerate() {
        for _ in 0..120 {
            let app = if owner == Side::Legacy { &mut legacy } else { &mut modern };
            step(app, owner, &mut random).await;
            if kills && random.below(25) == 0 {
                drop(agent);
                agent = world.agent().await;
                tokio::time::sleep(Duration::from_millis(random.below(12))).await;
            }
        }
        streaming(&agent).await;
        world.settle(&agent, owner).await;
        world.must_be_equal(&agent).await;
        assert_eq!(report(&agent).quarantined, 0, "seed {seed}, round {round}");
        world.switch(&agent, owner.other()).await;
        let tables = world.verify(&agent, VerifyScope::Changed).await;
        assert!(tables.iter().all(|table| table.drift_rows == 0), "seed {seed}, round {round}");
    }
    agent.stop().await;
}

#[tokio::test]
async fn random_work_arrives_both_ways() {
    for seed in 1..=6 {
        random_work(seed, false).await;
    }
}

#[tokio::test]
async fn random_work_survives_agents_that_die() {
    for seed in 11..=16 {
        random_work(seed, true).await;
    }
}

#[tokio::test]
async fn a_backfill_that_died_goes_on() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=800 {
        legacy_user(&mut legacy, id).await;
    }
    for pause in [5, 20, 40, 80] {
        let agent = world.agent().await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        drop(agent);
        // What is gone by the next start must not survive in the copy.
        exec(&mut legacy, &format!("DELETE FROM accounts_usernote WHERE user_id = {pause}")).await;
    }
    let agent = world.agent().await;
    streaming(&agent).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn of_two_agents_the_later_one_works() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    let first = world.agent().await;
    streaming(&first).await;
    let second = world.agent().await;
    streaming(&second).await;
    legacy_user(&mut legacy, 1).await;
    let seen = until(&first, "stopped", |report| report.trouble.is_some()).await;
    assert!(seen.trouble.unwrap().contains("another agent"));
    world.settle(&second, Side::Legacy).await;
    world.must_be_equal(&second).await;
    assert!(!report(&first).forward.live);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn orders_that_newer_ones_have_overtaken_are_not_carried_out() {
    let mut world = World::new().await;
    let agent = world.agent().await;
    streaming(&agent).await;
    let before = world.orders.clone();
    world.order(&agent, |orders, _| orders.fenced.legacy = true);
    until(&agent, "the fence", |report| report.fenced.legacy).await;
    agent.order(before);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(report(&agent).fenced.legacy, "it was opened by orders of before");
    agent.stop().await;
}

/// An orchestrator that was cut off answers an agent that has just been started: its orders are of before the cutover.
#[tokio::test]
async fn orders_of_before_a_cutover_are_not_carried_out() {
    let mut world = World::new().await;
    let agent = world.agent().await;
    streaming(&agent).await;
    let before = world.orders.clone();
    world.switch(&agent, Side::Modern).await;
    let after = std::mem::replace(&mut world.orders, before);
    agent.stop().await;
    // GIVEN an agent that knows nothing but these
    let late = world.agent().await;
    let seen = until(&late, "a refusal", |report| report.trouble.is_some()).await;
    // THEN it says so, and modern takes writes as before
    let trouble = seen.trouble.unwrap();
    assert!(trouble.contains("orders of epoch 1 arrived, and orders of epoch 2 have been carried out"), "{trouble}");
    assert_eq!(seen.generation, Some(0), "nothing of them is seen to");
    exec(&mut world.app(Side::Modern).await, "UPDATE users SET is_active = is_active").await;
    // NOR is anything taken out, if that is what they ask for
    world.orders.capabilities.get_mut("users").unwrap().sync = ficus_rules::wire::SyncOrder::Remove;
    world.orders.generation += 1;
    late.order(world.orders.clone());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!report(&late).removed);
    // WHEN the newest arrive, THEN it works by them
    late.order(ficus_rules::wire::Orders { generation: after.generation + 10, ..after.clone() });
    let seen = until(&late, "that it streams", |report| report.forward.live && report.reverse.live && report.trouble.is_none()).await;
    assert!(seen.fenced.legacy && !seen.fenced.modern, "{seen:?}");
    late.stop().await;
}

#[tokio::test]
async fn whoever_holds_the_write_lock_is_told_and_whoever_only_writes_is_not() {
    let mut world = World::new().await;
    let agent = world.agent().await;
    streaming(&agent).await;
    // GIVEN a writer who leaves the lock free for no longer than it takes to get it again
    let mut app = world.app(Side::Legacy).await;
    legacy_user(&mut app, 1).await;
    exec(&mut app, "BEGIN IMMEDIATE").await;
    let writer = tokio::spawn(async move {
        for round in 0..20 {
            exec(&mut app, &format!("UPDATE accounts_customuser SET first_name = '{round}' WHERE id = 1")).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            exec(&mut app, "COMMIT; BEGIN IMMEDIATE").await;
        }
    });
    // THEN it is not in the way
    while !writer.is_finished() {
        assert_eq!(report(&agent).busy, None);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // NOR who holds the other side's
    let mut modern = world.app(Side::Modern).await;
    exec(&mut modern, "BEGIN IMMEDIATE").await;
    for _ in 0..250 {
        assert_eq!(report(&agent).busy, None);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    exec(&mut modern, "ROLLBACK").await;
    // BUT who holds the owner's and does not end
    let mut holder = world.app(Side::Legacy).await;
    exec(&mut holder, "BEGIN IMMEDIATE").await;
    let text = until(&agent, "told", |report| report.busy.is_some()).await.busy.unwrap();
    let me = format!("held the write lock without a commit for 1 s (pid {}, ", std::process::id());
    assert!(text.contains("(legacy): ") && text.contains(&me) && text.ends_with("end that process"), "{text}");
    exec(&mut holder, "COMMIT").await;
    until(&agent, "free", |report| report.busy.is_none()).await;
    // AND once the other side owns, who holds that one's, and that a revert waits for it too
    world.switch(&agent, Side::Modern).await;
    exec(&mut modern, "BEGIN IMMEDIATE").await;
    let seen = until(&agent, "told", |report| report.busy.is_some()).await;
    assert!(seen.busy.is_some_and(|text| text.contains("(modern): ") && text.ends_with("a revert ends no other process, and waits too")));
    assert!(!seen.busy_ends);
    exec(&mut modern, "ROLLBACK").await;
    agent.stop().await;
}

/// As Django does for most ALTERs: a new table, the rows, the old name. Triggers are gone afterwards.
const REMAKE: &str = "BEGIN;
    CREATE TABLE new__accounts_usernote (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, text text NOT NULL, created_at datetime NOT NULL, user_id bigint NOT NULL, pinned bool NULL);
    INSERT INTO new__accounts_usernote (id, text, created_at, user_id) SELECT id, text, created_at, user_id FROM accounts_usernote;
    DROP TABLE accounts_usernote; ALTER TABLE new__accounts_usernote RENAME TO accounts_usernote;
    UPDATE accounts_usernote SET text = 'unseen' WHERE id = 3; DELETE FROM accounts_usernote WHERE id = 4;
    INSERT INTO accounts_usernote (id, text, created_at, user_id) VALUES (99, 'unseen', 'c', 1); COMMIT";

#[tokio::test]
async fn a_remade_table_is_captured_again_and_compared() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=10 {
        legacy_user(&mut legacy, id).await;
    }
    exec(&mut legacy, "ALTER TABLE accounts_usernote ADD COLUMN pinned bool NULL").await;
    world.tables[3].keep_legacy.push("pinned".into());
    let agent = world.agent().await;
    streaming(&agent).await;
    exec(&mut legacy, "PRAGMA foreign_keys = OFF").await;
    exec(&mut legacy, REMAKE).await;
    until(&agent, "trouble is said", |report| report.trouble.as_ref().is_some_and(|t| t.contains("accounts_usernote"))).await;
    until(&agent, "trouble is over", |report| report.trouble.is_none() && report.forward.live).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    let mut modern = world.app(Side::Modern).await;
    assert_eq!(number(&mut modern, "SELECT count(*) FROM notes WHERE text = 'unseen'").await, 2);
    exec(&mut legacy, "UPDATE accounts_usernote SET text = 'seen' WHERE id = 5").await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_table_remade_while_no_agent_runs_is_found_at_the_start() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=10 {
        legacy_user(&mut legacy, id).await;
    }
    exec(&mut legacy, "ALTER TABLE accounts_usernote ADD COLUMN pinned bool NULL").await;
    world.tables[3].keep_legacy.push("pinned".into());
    let agent = world.agent().await;
    streaming(&agent).await;
    agent.stop().await;
    exec(&mut legacy, "PRAGMA foreign_keys = OFF").await;
    exec(&mut legacy, REMAKE).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    until(&agent, "trouble is over", |report| report.trouble.is_none()).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_vanished_column_stops_the_capability_with_a_remedy() {
    let world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    exec(
        &mut legacy,
        "PRAGMA foreign_keys = OFF; BEGIN; DROP TABLE accounts_usernote;
         CREATE TABLE accounts_usernote (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, created_at datetime NOT NULL, user_id bigint NOT NULL); COMMIT",
    )
    .await;
    let seen = until(&agent, "trouble", |report| report.trouble.is_some()).await;
    let trouble = seen.trouble.unwrap();
    assert!(trouble.contains("column text of modern table notes is not mapped"), "{trouble}");
    agent.stop().await;
}

#[tokio::test]
async fn a_row_that_does_not_fit_is_set_aside_and_heals() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=3 {
        legacy_user(&mut legacy, id).await;
    }
    let mut modern = world.app(Side::Modern).await;
    exec(&mut modern, "CREATE TRIGGER strict BEFORE INSERT ON notes WHEN NEW.text = 'poison' BEGIN SELECT RAISE(ABORT, 'no poison'); END")
        .await;
    let agent = world.agent().await;
    streaming(&agent).await;
    exec(
        &mut legacy,
        "BEGIN; UPDATE accounts_customuser SET user_type = 9 WHERE id = 1; UPDATE accounts_customuser SET email = 'good' WHERE id = 2;
         INSERT INTO accounts_usernote VALUES (50, 'poison', 'c', 2), (51, 'fine', 'c', 2); COMMIT",
    )
    .await;
    let claimed = until(&agent, "set aside", |report| report.quarantined == 2).await.forward.through;
    exec(&mut legacy, "INSERT INTO accounts_usernote VALUES (52, 'later', 'c', 2)").await;
    until(&agent, "the later row", |report| report.forward.rows >= 4 && report.forward.lag_entries == 0).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(report(&agent).forward.through, claimed, "a read of a row that was set aside would be older than its write");
    assert_eq!(text(&mut modern, "SELECT email FROM users WHERE legacy_id = 2").await.as_deref(), Some("good"));
    assert_eq!(number(&mut modern, "SELECT count(*) FROM notes WHERE text = 'fine'").await, 1);
    let reasons =
        text(&mut modern, "SELECT group_concat(reason, '|') FROM (SELECT reason FROM _ficus_quarantine ORDER BY pair)").await.unwrap();
    assert_eq!(reasons, "column role: the value is not in its map; add it to the map in the rule file|no poison");
    let images =
        text(&mut modern, "SELECT source_row || target_row FROM _ficus_quarantine WHERE pair = 'accounts_customuser'").await.unwrap();
    assert!(images.contains("\"user_type\":9") && images.contains("\"role\":\"student\""), "{images}");
    let drift: u64 = world.verify(&agent, VerifyScope::Changed).await.iter().map(|table| table.drift_rows).sum();
    assert_eq!(drift, 2);
    exec(&mut legacy, "UPDATE accounts_customuser SET user_type = 1 WHERE id = 1; DELETE FROM accounts_usernote WHERE id = 50").await;
    until(&agent, "healed", |report| report.quarantined == 0).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn no_false_alarm_under_load_and_a_planted_change_is_found() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=60 {
        legacy_user(&mut legacy, id).await;
    }
    let agent = world.agent().await;
    streaming(&agent).await;
    let running = Arc::new(AtomicBool::new(true));
    let writer = tokio::spawn({
        let running = Arc::clone(&running);
        async move {
            let mut random = Random(7);
            while running.load(Ordering::Relaxed) {
                step(&mut legacy, Side::Legacy, &mut random).await;
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
        }
    });
    for run in 0..20 {
        let scope = if run % 4 == 3 { VerifyScope::Changed } else { VerifyScope::Full };
        for table in world.verify(&agent, scope).await {
            assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "run {run}: {}", table.legacy);
        }
    }
    let mut modern = world.app(Side::Modern).await;
    // Behind the agent's back, as if the agent had written it.
    let plant = "BEGIN IMMEDIATE; UPDATE _ficus_context SET writer = 'planted';
         INSERT INTO users VALUES ('x', 5000, 'planted', 'e', 'p', 'g', 'f', 'staff', 1, 0, 0, 'j', NULL);
         UPDATE _ficus_context SET writer = NULL; COMMIT";
    exec(&mut modern, plant).await;
    let tables = world.verify(&agent, VerifyScope::Full).await;
    assert_eq!((tables[0].drift_rows, tables[0].samples.first().map(String::as_str)), (1, Some("id=5000: missing on legacy")));
    running.store(false, Ordering::Relaxed);
    writer.await.unwrap();
    agent.stop().await;
}

#[tokio::test]
async fn a_planted_bit_is_found_and_repaired() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=2_500 {
        legacy_user(&mut legacy, id).await;
    }
    let agent = world.agent().await;
    streaming(&agent).await;
    world.must_be_equal(&agent).await;
    let mut modern = world.app(Side::Modern).await;
    // Behind the agent's back: as if the agent had written it.
    exec(
        &mut modern,
        "PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE; UPDATE _ficus_context SET writer = 'planted';
         UPDATE users SET email = 't' || substr(email, 2) WHERE legacy_id = 1234;
         DELETE FROM notes WHERE legacy_id = 77; UPDATE notes SET user_id = 'nobody' WHERE legacy_id = 78;
         INSERT INTO notes VALUES ('n', 90000, 'nobody', 't', 'c');
         UPDATE _ficus_context SET writer = NULL; COMMIT",
    )
    .await;
    let tables = world.verify(&agent, VerifyScope::Full).await;
    assert_eq!(tables[0].samples[0], "id=1234: email");
    assert_eq!(tables[3].samples[..3], ["id=77: missing on modern", "id=78: user_id", "id=90000: missing on legacy"]);
    assert_eq!(tables.iter().map(|table| table.drift_rows).collect::<Vec<_>>(), [1, 0, 0, 3, 0]);
    assert_ne!(tables[0].legacy_root, tables[0].modern_root);
    // Nothing has changed since, and it is still wrong.
    let tables = world.verify(&agent, VerifyScope::Changed).await;
    assert_eq!(tables.iter().map(|table| table.drift_rows).collect::<Vec<_>>(), [1, 0, 0, 3, 0]);
    let token = world.order(&agent, |orders, token| orders.repair = Some(token));
    let seen = until(&agent, "repaired", |report| report.repaired.as_ref().is_some_and(|r| r.token == token && r.done)).await;
    assert_eq!(seen.repaired.unwrap().rows, 4);
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

/// A revert takes the order for a repair back, and the owner may be another one next.
#[tokio::test]
async fn a_repair_that_is_not_wished_any_more_writes_nothing() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy_user(&mut legacy, 1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.must_be_equal(&agent).await;
    let mut modern = world.app(Side::Modern).await;
    // The stream cannot write, and the repair waits for it to know whether the row is wrong.
    exec(
        &mut modern,
        "BEGIN IMMEDIATE; UPDATE _ficus_context SET writer = 'planted'; UPDATE users SET email = 'planted' WHERE legacy_id = 1;
         UPDATE _ficus_context SET writer = NULL; COMMIT; BEGIN IMMEDIATE",
    )
    .await;
    legacy_user(&mut legacy, 2).await;
    let token = world.order(&agent, |orders, token| orders.repair = Some(token));
    until(&agent, "the repair begins", |report| report.repaired.as_ref().is_some_and(|repair| repair.token == token)).await;
    world.order(&agent, |orders, _| orders.repair = None);
    let generation = world.orders.generation;
    until(&agent, "it hears of that", |report| report.generation == Some(generation)).await;
    exec(&mut modern, "COMMIT").await;
    world.settle(&agent, Side::Legacy).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let tables = world.verify(&agent, VerifyScope::Full).await;
    assert_eq!(tables[0].samples, ["id=1: email"], "the repair went on");
    assert!(report(&agent).repaired.is_some_and(|repair| !repair.done));
    agent.stop().await;
}

#[tokio::test]
async fn a_verification_beside_another_finds_what_is_wrong() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy_user(&mut legacy, 1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.must_be_equal(&agent).await;
    // A verification of what changed has much to do, and is overtaken.
    exec(
        &mut legacy,
        "WITH RECURSIVE n(i) AS (VALUES (10) UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
         INSERT INTO accounts_usernote SELECT i, 'note', 'c', 1 FROM n",
    )
    .await;
    world.settle(&agent, Side::Legacy).await;
    let mut modern = world.app(Side::Modern).await;
    exec(
        &mut modern,
        "BEGIN IMMEDIATE; UPDATE _ficus_context SET writer = 'planted'; UPDATE notes SET text = 'mote' WHERE legacy_id = 4711;
         UPDATE _ficus_context SET writer = NULL; COMMIT",
    )
    .await;
    for _ in 0..3 {
        world.order(&agent, |orders, token| orders.verify = Some(Verify { token, scope: VerifyScope::Changed }));
        tokio::time::sleep(Duration::from_millis(15)).await;
        assert!(report(&agent).verified.is_some_and(|last| last.done), "the last answer stays until there is a new one");
    }
    let tables = world.verify(&agent, VerifyScope::Changed).await;
    assert_eq!(tables.iter().map(|table| table.drift_rows).sum::<u64>(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn keys_that_cannot_be_carried_are_refused() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    for table in ["accounts_usernote", "accounts_photo"] {
        exec(&mut legacy, &format!("DROP TABLE {table}")).await;
    }
    // Texts may be keys, and so may whatever SQLite lets stand there instead.
    exec(&mut legacy, "CREATE TABLE accounts_usernote (id text NOT NULL PRIMARY KEY, text text NOT NULL, created_at datetime NOT NULL)")
        .await;
    let mut modern = world.app(Side::Modern).await;
    exec(&mut modern, "DROP TABLE notes; CREATE TABLE notes (id integer PRIMARY KEY, legacy_id text UNIQUE, text text NOT NULL, created_at text NOT NULL)").await;
    world.tables.truncate(4);
    world.tables[3].columns.clear();
    world.tables[3].sequence = None;
    world.tables[3].keep_modern.push("id".into());
    exec(&mut legacy, "INSERT INTO accounts_usernote VALUES ('a', 'one', 'c'), (x'00ff', 'two', 'c')").await;
    let agent = world.agent().await;
    let refused =
        |report: &ficus_rules::wire::CapabilityReport| report.trouble.as_ref().is_some_and(|t| t.contains("neither a number nor UTF-8"));
    until(&agent, "refused before the copy", refused).await;
    exec(&mut legacy, "UPDATE accounts_usernote SET id = CAST(x'c3' AS TEXT) WHERE id = x'00ff'").await;
    until(&agent, "refused by the copy", refused).await;
    exec(&mut legacy, "UPDATE accounts_usernote SET id = 'b' WHERE text = 'two'").await;
    streaming(&agent).await;
    for key in ["x'00ff'", "CAST(x'c3' AS TEXT)"] {
        exec(&mut legacy, &format!("UPDATE accounts_usernote SET id = {key} WHERE id = 'b'")).await;
        until(&agent, "refused by the stream", refused).await;
        exec(&mut legacy, "UPDATE accounts_usernote SET id = 'b' WHERE text = 'two'").await;
        until(&agent, "goes on", |report| report.trouble.is_none() && report.forward.live).await;
    }
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    assert_eq!(number(&mut modern, "SELECT count(*) FROM notes").await, 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_copy_from_a_backup_is_compared_when_the_log_does_not_go_back_that_far() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy_user(&mut legacy, 1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.settle(&agent, Side::Legacy).await;
    agent.stop().await;
    let backup = world.path(Side::Modern).with_extension("backup");
    exec(&mut world.app(Side::Modern).await, &format!("VACUUM INTO '{}'", backup.display())).await;

    let agent = world.agent().await;
    legacy_user(&mut legacy, 2).await;
    exec(&mut legacy, "DELETE FROM accounts_usernote WHERE user_id = 1").await;
    world.settle(&agent, Side::Legacy).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while number(&mut legacy, "SELECT count(*) FROM _ficus_log").await > 0 {
        assert!(std::time::Instant::now() < deadline, "the log is never pruned");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    agent.stop().await;
    for ending in ["sqlite3-wal", "sqlite3-shm"] {
        let _ = std::fs::remove_file(world.path(Side::Modern).with_extension(ending));
    }
    std::fs::rename(&backup, world.path(Side::Modern)).unwrap();
    exec(&mut world.app(Side::Modern).await, "PRAGMA journal_mode = WAL").await;

    let agent = world.agent().await;
    streaming(&agent).await;
    until(&agent, "compared", |report| report.trouble.is_none()).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    let mut modern = world.app(Side::Modern).await;
    assert_eq!(number(&mut modern, "SELECT sum(legacy_id) FROM notes").await, 2);
    agent.stop().await;
}

#[tokio::test]
async fn freshness_is_claimed_again_after_a_session_that_ended_while_gaps_were_closed() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy_user(&mut legacy, 1).await;
    exec(
        &mut legacy,
        "ALTER TABLE accounts_usernote ADD COLUMN pinned bool NULL;
         WITH RECURSIVE n(i) AS (VALUES (100) UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
         INSERT INTO accounts_usernote (id, text, created_at, user_id) SELECT i, 'note', 'c', 1 FROM n",
    )
    .await;
    world.tables[3].keep_legacy.push("pinned".into());
    let agent = world.agent().await;
    streaming(&agent).await;
    exec(&mut legacy, "PRAGMA foreign_keys = OFF").await;
    exec(&mut legacy, REMAKE).await;
    until(&agent, "a comparison", |report| report.trouble.as_ref().is_some_and(|t| t.contains("accounts_usernote"))).await;
    world.order(&agent, |orders, _| orders.sync = ficus_rules::wire::SyncOrder::Remove);
    until(&agent, "removed", |report| report.removed).await;
    let mut modern = world.app(Side::Modern).await;
    exec(&mut modern, "DELETE FROM notes; DELETE FROM profiles; DELETE FROM users").await;
    world.order(&agent, |orders, _| orders.sync = ficus_rules::wire::SyncOrder::Run);
    streaming(&agent).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_vanished_copy_is_filled_again_only_when_it_may_be() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy_user(&mut legacy, 1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    agent.stop().await;
    world.orders.capabilities.get_mut("users").unwrap().may_copy = false;
    let agent = world.agent().await;
    streaming(&agent).await;
    agent.stop().await;

    let mut modern = world.app(Side::Modern).await;
    exec(&mut modern, "DELETE FROM notes; DELETE FROM profiles; DELETE FROM users; DELETE FROM _ficus_checkpoint").await;
    let agent = world.agent().await;
    let seen = until(&agent, "a refusal", |report| report.trouble.is_some()).await;
    assert!(seen.trouble.is_some_and(|why| why.contains("the copy is gone: users-service")));
    assert_eq!(number(&mut modern, "SELECT count(*) FROM users").await, 0, "nothing was copied");
    world.order(&agent, |orders, _| orders.may_copy = true);
    streaming(&agent).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}
