//! MariaDB on one side or on both: a copy, both streams, random work, switches; and what only MariaDB can do to an agent.
#![allow(clippy::unwrap_used)]

#[path = "support/mariadb.rs"]
mod mariadb;
#[path = "support/own.rs"]
mod own;
#[path = "support/pairs.rs"]
mod pairs;

use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::wire::{CapabilityReport, Refers, VerifyScope};
use mariadb::Server;
use pairs::{App, Engine, Pairs, Random, report, streaming, until};

/// Random work on whichever side owns, with agents dropped at random moments.
async fn random_work(legacy: Engine, modern: Engine, seed: u64, kills: bool) {
    let mut world = Pairs::new(Server::shared(), legacy, modern).await;
    world.batch_rows = 5;
    let mut random = Random(seed);
    let mut apps = [world.app(Side::Legacy).await, world.app(Side::Modern).await];
    for id in 1..=20 {
        apps[0].writer(id).await;
    }
    let mut agent = world.agent().await;
    for (round, owner) in [Side::Legacy, Side::Modern, Side::Legacy].into_iter().enumerate() {
        for _ in 0..80 {
            let app = &mut apps[usize::from(owner == Side::Modern)];
            app.step(owner, &mut random).await;
            if kills && random.below(20) == 0 {
                drop(agent);
                agent = world.agent().await;
                tokio::time::sleep(Duration::from_millis(random.below(60))).await;
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
async fn random_work_arrives_from_mariadb_in_mariadb() {
    for seed in 1..=2 {
        random_work(Engine::MariaDb, Engine::MariaDb, seed, false).await;
    }
}

#[tokio::test]
async fn random_work_arrives_from_sqlite_in_mariadb() {
    random_work(Engine::Sqlite, Engine::MariaDb, 3, false).await;
}

#[tokio::test]
async fn random_work_arrives_from_mariadb_in_sqlite() {
    random_work(Engine::MariaDb, Engine::Sqlite, 4, false).await;
}

#[tokio::test]
async fn random_work_survives_agents_that_die() {
    for (legacy, modern, seed) in
        [(Engine::MariaDb, Engine::MariaDb, 11), (Engine::MariaDb, Engine::Sqlite, 12), (Engine::Sqlite, Engine::MariaDb, 13)]
    {
        random_work(legacy, modern, seed, true).await;
    }
}

#[tokio::test]
async fn over_and_back_with_rows_born_on_each_side() {
    let mut world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    let mut modern = world.app(Side::Modern).await;
    for id in 1..=20 {
        legacy.writer(id).await;
    }
    let agent = world.agent().await;
    let seen = streaming(&agent).await;
    assert_eq!((seen.backfill.done, seen.backfill.total), (40, 40));
    world.switch(&agent, Side::Modern).await;
    // A row that is born on modern takes the next number of the sequence, above all of legacy's.
    modern.exec("INSERT INTO seq_writers VALUES ()").await;
    let id = modern.number("SELECT max(id) FROM seq_writers").await;
    assert_eq!(id, 21);
    let uuid = ficus_rules::mapping::uuid_of("users", "writer", id);
    modern
        .exec(&format!("INSERT INTO writers (id, legacy_id, name, email, level, nickname) VALUES ('{uuid}', {id}, 'born', 'e', 1, 'nick')"))
        .await;
    world.settle(&agent, Side::Modern).await;
    assert_eq!(legacy.number("SELECT count(*) FROM writer WHERE name = 'born'").await, 1);
    modern.exec("DELETE FROM writers WHERE legacy_id = 21").await;
    world.settle(&agent, Side::Modern).await;
    world.must_be_equal(&agent).await;
    world.switch(&agent, Side::Legacy).await;
    legacy.exec("INSERT INTO writer (name, email, level) VALUES ('later', 'e', 1)").await;
    assert_eq!(legacy.number("SELECT max(id) FROM writer").await, 22, "numbers never return");
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn of_two_agents_the_later_one_works() {
    let mut world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    let first = world.agent().await;
    streaming(&first).await;
    let second = world.agent().await;
    streaming(&second).await;
    legacy.writer(1).await;
    let seen = until(&first, "stopped", |report| report.trouble.is_some()).await;
    assert!(seen.trouble.unwrap().contains("another agent"));
    world.settle(&second, Side::Legacy).await;
    world.must_be_equal(&second).await;
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_write_is_on_the_other_side_soon() {
    let world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    let mut modern = world.app(Side::Modern).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    let mut took = Vec::new();
    for id in 1..=200 {
        legacy.exec(&format!("INSERT INTO writer (id, name, level) VALUES ({id}, 'w{id}', 1)")).await;
        let begun = std::time::Instant::now();
        while modern.number(&format!("SELECT count(*) FROM writers WHERE legacy_id = {id}")).await == 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "it never came");
        }
        took.push(begun.elapsed());
    }
    took.sort();
    println!("commit to visible: p50 {:?}, p99 {:?}", took[100], took[198]);
    assert!(took[100] < Duration::from_secs(1), "{:?}", took[100]);
    agent.stop().await;
}

#[tokio::test]
async fn a_fence_refuses_strangers_and_lets_kept_columns_pass() {
    let mut world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.writer(1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.fence_and_drain(&agent, Side::Legacy).await;
    for refused in [
        "UPDATE writer SET name = 'WRITER1'",
        "DELETE FROM book",
        "INSERT INTO book (title, writer_id, price) VALUES ('x', 1, 1)",
        "INSERT INTO book (id, title, writer_id, price) VALUES (1, 'x', 1, 1) ON DUPLICATE KEY UPDATE title = 'x'",
        "REPLACE INTO book (id, title, writer_id, price) VALUES (1, 'x', 1, 1)",
    ] {
        let error = legacy.attempt(refused).await.unwrap_err();
        assert!(error.contains("ficus: "), "{refused}: {error}");
    }
    legacy.exec("UPDATE writer SET last_login = '2026-05-05 00:00:00' WHERE id = 1").await;
    world.open(&agent).await;
    legacy.exec("UPDATE writer SET name = 'WRITER1'").await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn whom_the_fence_refused_is_counted_and_named() {
    let server = Server::start(&[]);
    let mut world = Pairs::new(&server, Engine::MariaDb, Engine::MariaDb).await;
    // The same capability in another database of the server.
    let other = Pairs::new(&server, Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=3 {
        legacy.writer(id).await;
    }
    let (blind, elsewhere) = (world.agent().await, other.agent().await);
    streaming(&blind).await;
    streaming(&elsewhere).await;
    let nobody = |report: &CapabilityReport| {
        let told: Vec<_> = report.strays.iter().map(|stray| (stray.refused, stray.writers.len())).collect();
        told == [(0, 0), (0, 0)]
    };
    until(&blind, "nobody", nobody).await;
    world.fence_and_drain(&blind, Side::Legacy).await;
    // WHEN somebody is refused: alone, in a transaction that is undone, in one that goes on, in the midst of many rows, with locked tables
    for refused in [
        "INSERT INTO book (title, writer_id, price) VALUES ('secret', 1, 1), ('x', 1, 1)",
        "START TRANSACTION; UPDATE writer SET name = 'secret' WHERE id > 1",
        "ROLLBACK; START TRANSACTION; UPDATE writer SET last_login = '2026-05-05 00:00:00'; DELETE FROM book",
        "COMMIT; LOCK TABLES book WRITE; UPDATE book SET title = 'secret'",
    ] {
        let error = legacy.attempt(refused).await.unwrap_err();
        assert!(error.contains("ficus: "), "{refused}: {error}");
    }
    legacy.exec("UNLOCK TABLES").await;
    // THEN all four are counted; an account that does not see others names nobody
    let refused = |count: u64| {
        move |report: &CapabilityReport| report.strays.iter().any(|stray| (stray.side, stray.refused) == (Side::Legacy, count))
    };
    let seen = until(&blind, "counted", refused(4)).await;
    assert!(seen.strays.iter().all(|stray| stray.writers.is_empty()), "{:?}", seen.strays);
    assert_eq!(
        legacy.number("SELECT count(*) FROM writer WHERE last_login IS NOT NULL").await,
        3,
        "the rest of a transaction is its owner's to keep"
    );
    blind.stop().await;
    // AND one that does names the session while it is there, without values; somebody who may write is not named
    let mut root = server.root("mysql").await;
    mariadb::exec(&mut root, &format!("GRANT PROCESS ON *.* TO '{}'@'%'", mariadb::AGENT)).await;
    let agent = world.agent().await;
    world.order(&agent, |orders, _| orders.fenced.legacy = true);
    let id = legacy.number("SELECT connection_id()").await;
    let mut allowed = world.app(Side::Legacy).await;
    allowed.exec("UPDATE writer SET last_login = '2026-06-06 00:00:00'").await;
    let named = |report: &CapabilityReport| report.strays.iter().any(|stray| !stray.writers.is_empty());
    let seen = until(&agent, "named", named).await;
    let [who] = &*seen.strays[0].writers else { panic!("{:?}", seen.strays) };
    assert!(who.starts_with(&format!("connection {id}, account `root`, from ")) && !who.contains("secret"), "{who}");
    assert_eq!(seen.strays[1].refused, 0, "the other side is told apart");
    // AND while it runs a statement, that too; of one that sleeps the server does not have the last one
    assert!(!who.contains("statement"), "{who}");
    let running = tokio::spawn(async move { drop(legacy.attempt("UPDATE book SET title = 'secret' WHERE SLEEP(60) = 1").await) });
    let runs = |report: &CapabilityReport| report.strays[0].writers.iter().any(|who| who.contains("statement"));
    let seen = until(&agent, "its statement", runs).await;
    let [who] = &*seen.strays[0].writers else { panic!("{:?}", seen.strays) };
    assert!(who.contains(", account `root`, ") && who.ends_with(", statement `UPDATE book SET title = …`"), "{who}");
    mariadb::exec(&mut root, &format!("KILL {id}")).await;
    running.await.unwrap();
    let gone = until(&agent, "gone", |report| report.strays.iter().all(|stray| stray.writers.is_empty())).await;
    assert!(refused(4)(&gone), "the count stays: {:?}", gone.strays);
    // AND the other database knows nothing of it
    until(&elsewhere, "nobody", nobody).await;
    // WHEN it is open again, THEN writes pass, arrive, and are not counted
    world.open(&agent).await;
    allowed.exec("UPDATE book SET title = 'again'").await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    assert!(refused(4)(&report(&agent)), "{:?}", report(&agent).strays);
    agent.stop().await;
    elsewhere.stop().await;
}

#[tokio::test]
async fn a_fence_waits_for_whoever_has_written_already() {
    let mut world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    let mut other = world.app(Side::Legacy).await;
    legacy.writer(1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    // One has written; the other has only looked, and has a snapshot from before the fence.
    legacy.exec("START TRANSACTION").await;
    legacy.exec("UPDATE writer SET email = 'open' WHERE id = 1").await;
    other.exec("START TRANSACTION").await;
    assert_eq!(other.number("SELECT count(*) FROM book").await, 1);
    world.order(&agent, |orders, _| orders.fenced.legacy = true);
    let seen = until(&agent, "trouble", |report| report.trouble.is_some()).await;
    assert!(!seen.fenced.legacy && seen.trouble.unwrap().contains("open for too long"));
    legacy.exec("COMMIT").await;
    world.fence_and_drain(&agent, Side::Legacy).await;
    let late = other.attempt("UPDATE book SET title = 'late'").await.unwrap_err();
    assert!(late.contains("ficus: "), "{late}");
    other.exec("ROLLBACK").await;
    let mut modern = world.app(Side::Modern).await;
    assert_eq!(modern.number("SELECT count(*) FROM writers WHERE email = 'open'").await, 1, "what was committed before the end is there");
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn rows_that_a_way_back_left_set_aside_are_shown_until_somebody_decides() {
    let mut world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    legacy.writer(1).await;
    legacy.exec("ALTER TABLE writer ADD CONSTRAINT only_on_legacy CHECK (level < 9)").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.switch(&agent, Side::Modern).await;
    modern.exec("UPDATE writers SET level = 9 WHERE legacy_id = 1").await;
    until(&agent, "set aside", |report| report.quarantined == 1).await;
    for (leaves, rows) in [(false, 1), (true, 0)] {
        world.order(&agent, |orders, _| orders.leaves_aside = leaves);
        let tables = world.verify(&agent, VerifyScope::Changed).await;
        assert_eq!(tables.iter().map(|table| table.drift_rows).sum::<u64>(), rows, "{leaves}");
    }
    world.order(&agent, |orders, _| (orders.leaves_aside, orders.verify) = (false, None));
    world.switch(&agent, Side::Legacy).await;
    assert_eq!((report(&agent).quarantined, agent.quarantine().rows.len()), (1, 1));
    let token = world.order(&agent, |orders, token| orders.repair = Some(token));
    until(&agent, "repaired", |report| report.repaired.as_ref().is_some_and(|known| known.token == token && known.done)).await;
    assert_eq!((report(&agent).quarantined, agent.quarantine().rows.len()), (0, 0));
    world.must_be_equal(&agent).await;
    assert_eq!(modern.number("SELECT level FROM writers WHERE legacy_id = 1").await, 1);
    agent.stop().await;
}

/// Otherwise a service that hangs in a transaction, or whose machine is gone, could not be left before somebody ends its sessions.
#[tokio::test]
async fn a_session_that_keeps_the_way_back_waiting_is_ended_and_nobody_elses() {
    let server = Server::start(&[]);
    let mut world = Pairs::new(&server, Engine::MariaDb, Engine::MariaDb).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    legacy.writer(1).await;
    modern.exec("CREATE TABLE other (id int)").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.switch(&agent, Side::Modern).await;

    // GIVEN one who writes elsewhere, and one who has written to a table of the capability and does not end
    let (mut elsewhere, mut hung) = (world.app(Side::Modern).await, world.app(Side::Modern).await);
    elsewhere.exec("START TRANSACTION; INSERT INTO other VALUES (1)").await;
    hung.exec("START TRANSACTION; UPDATE writers SET email = 'secret' WHERE legacy_id = 1").await;
    let id = hung.number("SELECT connection_id()").await;
    // THEN an agent that may not end it gives up, and says what lets it
    world.order(&agent, |orders, _| (orders.fenced.modern, orders.end_sessions) = (true, true));
    let said = until(&agent, "trouble", |report| report.trouble.is_some()).await.trouble.unwrap();
    world.order(&agent, |orders, _| (orders.fenced.modern, orders.end_sessions) = (false, false));
    let grant = format!("GRANT PROCESS, CONNECTION ADMIN ON *.* TO '{}'@'%';", mariadb::AGENT);
    assert!(said.ends_with(&format!("a revert ends such a one by itself: {grant}")), "{said}");
    mariadb::exec(&mut server.root("mysql").await, &grant).await;
    agent.stop().await;
    let agent = world.agent().await;
    let seen = until(&agent, "it may", |report| report.busy_ends).await;
    assert!(seen.busy.is_some_and(|said| said.ends_with("a revert ends it by itself")), "the one who may says so");

    // WHEN the way back is ordered to, THEN it is ended and told, and the fence goes up
    world.order(&agent, |orders, _| (orders.fenced.modern, orders.end_sessions) = (true, true));
    let seen = until(&agent, "fenced", |report| report.fenced.modern).await;
    let told = format!("connection {id}, account `root`, from ");
    assert!(matches!(seen.ended.as_slice(), [who] if who.starts_with(&told) && !who.contains("secret")), "{:?}", seen.ended);
    assert!(hung.attempt("COMMIT").await.is_err(), "nobody hears that it is done");
    // AND what the other one did stays
    elsewhere.exec("COMMIT").await;
    assert_eq!(modern.number("SELECT count(*) FROM other").await, 1);
    assert_eq!(modern.number("SELECT count(*) FROM writers WHERE email = 'secret'").await, 0);
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

/// Nobody is named for three seconds.
async fn nobody_is_named(agent: &ficus_sync_agent::Agent) {
    for _ in 0..150 {
        assert_eq!(report(agent).busy, None);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_old_writer_is_named_and_nobody_else() {
    let server = Server::start(&[]);
    let world = Pairs::new(&server, Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=3 {
        legacy.writer(id).await;
    }
    legacy.exec("CREATE TABLE other (id int)").await;
    let blind = world.agent().await;
    streaming(&blind).await;
    // GIVEN somebody who has written and does not end, THEN an account that does not see it says nothing
    legacy.exec("START TRANSACTION").await;
    legacy.exec("UPDATE writer SET email = 'secret' WHERE id = 1").await;
    nobody_is_named(&blind).await;
    legacy.exec("ROLLBACK").await;
    blind.stop().await;

    // GIVEN an account that does, and two who hold the fence's row in turns
    let mut root = server.root("mysql").await;
    mariadb::exec(&mut root, &format!("GRANT PROCESS ON *.* TO '{}'@'%'", mariadb::AGENT)).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    let mut turns = Vec::new();
    for id in 2..=3 {
        let mut app = world.app(Side::Legacy).await;
        turns.push(tokio::spawn(async move {
            for round in 0..30 {
                app.exec("START TRANSACTION").await;
                app.exec(&format!("UPDATE writer SET email = '{round}' WHERE id = {id}")).await;
                tokio::time::sleep(Duration::from_millis(70 + 30 * id)).await;
                app.exec("ROLLBACK").await;
            }
        }));
    }
    // THEN neither of them is old
    while turns.iter().any(|app| !app.is_finished()) {
        assert_eq!(report(&agent).busy, None);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // NOR is who reads, or who writes elsewhere
    let mut others = [world.app(Side::Legacy).await, world.app(Side::Legacy).await];
    for (app, sql) in others.iter_mut().zip(["SELECT count(*) FROM writer", "INSERT INTO other VALUES (1)"]) {
        app.exec("START TRANSACTION").await;
        app.attempt(sql).await.unwrap();
    }
    nobody_is_named(&agent).await;
    // WHEN somebody has written and does not end, THEN that one is named
    drop(others);
    legacy.exec("START TRANSACTION").await;
    legacy.exec("UPDATE writer SET email = 'secret' WHERE id = 1").await;
    let id = legacy.number("SELECT connection_id()").await;
    let text = until(&agent, "named", |report| report.busy.is_some()).await.busy.unwrap();
    assert!(text.contains(&format!("(connection {id}, account `root`, from ")) && text.ends_with(&format!("KILL {id};")), "{text}");
    assert!(text.starts_with("monolith (legacy): ") && !text.contains("secret") && !text.contains("more"), "{text}");
    legacy.exec("COMMIT").await;
    until(&agent, "free", |report| report.busy.is_none()).await;
    agent.stop().await;
}

#[tokio::test]
async fn what_the_log_does_not_tell_is_compared() {
    let mut world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=5 {
        legacy.writer(id).await;
    }
    let agent = world.agent().await;
    streaming(&agent).await;
    for (sql, said) in [
        ("SET STATEMENT max_statement_time = 60, sort_buffer_size = (1 << 20) FOR TRUNCATE TABLE book", "book"),
        ("SET STATEMENT sql_mode = 'NO_ENGINE_SUBSTITUTION' FOR ALTER TABLE book MODIFY price decimal(12,3) NOT NULL DEFAULT 0", "book"),
        ("TRUNCATE TABLE book", "book"),
        ("ALTER TABLE book MODIFY price decimal(11,3) NOT NULL DEFAULT 0", "book"),
        ("SET binlog_format = STATEMENT; UPDATE writer SET email = concat(email, 'x'); SET binlog_format = ROW", "binlog_format=ROW"),
    ] {
        legacy.exec(sql).await;
        until(&agent, sql, |report| report.trouble.as_ref().is_some_and(|trouble| trouble.contains(said))).await;
        until(&agent, "trouble is over", |report| report.trouble.is_none() && report.forward.live).await;
        legacy.exec("INSERT INTO book (title, writer_id, price) VALUES ('after', 1, 2.5)").await;
        world.settle(&agent, Side::Legacy).await;
        world.must_be_equal(&agent).await;
    }
    let mut modern = world.app(Side::Modern).await;
    assert_eq!(modern.number("SELECT count(*) FROM books").await, 3);
    assert_eq!(modern.number("SELECT count(*) FROM writers WHERE email LIKE '%x'").await, 5);
    // Neither other tables nor the agent's own statements are a reason to look at anything.
    legacy.exec("CREATE TABLE book_old (id int); DROP TABLE book_old").await;
    legacy.exec("INSERT INTO book (title, writer_id, price) VALUES ('later', 1, 2.5)").await;
    world.settle(&agent, Side::Legacy).await;
    assert_eq!(report(&agent).trouble, None);
    agent.stop().await;
}

/// No trigger acts on them: they are seen in the log, told, and made up for from the side that owns.
#[tokio::test]
async fn what_passes_the_fence_is_told_and_undone() {
    let mut world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    let mut modern = world.app(Side::Modern).await;
    for id in 1..=5 {
        legacy.writer(id).await;
    }
    let agent = world.agent().await;
    streaming(&agent).await;
    // GIVEN an end that was read behind the fence, WHEN a statement passes it, THEN nobody takes that end for the last one.
    world.fence_and_drain(&agent, Side::Legacy).await;
    legacy.exec("TRUNCATE TABLE book").await;
    let told = |report: &CapabilityReport| report.trouble.as_ref().is_some_and(|trouble| trouble.contains("book"));
    let seen = until(&agent, "told", told).await;
    assert!(seen.end.is_none(), "{:#?}", seen.end);
    until(&agent, "trouble is over", |report| report.trouble.is_none() && report.forward.live).await;
    world.settle(&agent, Side::Legacy).await;
    assert_eq!(modern.number("SELECT count(*) FROM books").await, 0, "legacy still owns");
    world.open(&agent).await;
    legacy.exec("INSERT INTO book (title, writer_id, price) VALUES ('one', 1, 1), ('two', 2, 2)").await;
    world.settle(&agent, Side::Legacy).await;
    world.switch(&agent, Side::Modern).await;
    // WHEN it is on the side that does not own, THEN the owner's rows are put back.
    for (sql, said) in [("TRUNCATE TABLE book", "book"), ("ALTER TABLE book AUTO_INCREMENT = 500, FORCE", "book")] {
        legacy.exec(sql).await;
        until(&agent, sql, |report| report.trouble.as_ref().is_some_and(|trouble| trouble.contains(said))).await;
        until(&agent, "trouble is over", |report| report.trouble.is_none() && report.reverse.live).await;
        world.settle(&agent, Side::Modern).await;
        assert_eq!(legacy.number("SELECT count(*) FROM book").await, 2, "{sql}");
        assert_eq!(modern.number("SELECT count(*) FROM books").await, 2, "{sql}");
        world.must_be_equal(&agent).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_missing_trigger_is_made_again() {
    let world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.writer(1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    let count = "SELECT count(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()";
    assert_eq!(legacy.number(count).await, 6);
    let trigger =
        legacy.text("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() LIMIT 1").await.unwrap();
    legacy.exec(&format!("DROP TRIGGER {trigger}")).await;
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while legacy.number(count).await != 6 {
        assert!(std::time::Instant::now() < deadline, "not made again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    streaming(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn references_that_lead_out_of_the_capability_and_into_it_are_told() {
    let world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    for statement in [
        "CREATE TABLE ranks (id smallint PRIMARY KEY); INSERT INTO ranks VALUES (0), (1), (2), (3)",
        "CREATE TABLE shelf (id int PRIMARY KEY, writer_id int, FOREIGN KEY (writer_id) REFERENCES writer (id))",
        "ALTER TABLE writer ADD FOREIGN KEY (level) REFERENCES ranks (id)",
    ] {
        legacy.exec(statement).await;
    }
    let agent = world.agent().await;
    let report = streaming(&agent).await;
    let told = |keys: Option<Vec<Refers>>| {
        let keys = keys.expect("the agent has looked").into_iter();
        keys.map(|key| (key.table, key.parent)).collect::<Vec<_>>()
    };
    let key = |table: &str, parent: &str| vec![(table.to_owned(), parent.to_owned())];
    assert_eq!(told(report.refers), key("writer", "ranks"), "neither those within nor those from outside");
    assert_eq!(told(report.referred_by), key("shelf", "writer"), "whoever's that table is");
    agent.stop().await;
}

#[tokio::test]
async fn remove_leaves_nothing() {
    let mut world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.writer(1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.order(&agent, |orders, _| orders.sync = ficus_rules::wire::SyncOrder::Remove);
    until(&agent, "removed", |report| report.removed).await;
    for side in Side::BOTH {
        let mut app = world.app(side).await;
        let left = "SELECT (SELECT count(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()) \
             + (SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE '\\_ficus%')";
        assert_eq!(app.number(left).await, 0, "{side}");
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_foreign_key_that_acts_is_refused_with_the_statement() {
    let world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.exec("ALTER TABLE book DROP FOREIGN KEY book_writer; ALTER TABLE book ADD CONSTRAINT book_writer FOREIGN KEY (writer_id) REFERENCES writer (id) ON DELETE CASCADE").await;
    let agent = world.agent().await;
    let trouble = until(&agent, "trouble", |report| report.trouble.is_some()).await.trouble.unwrap();
    assert!(trouble.contains("ON DELETE CASCADE"), "{trouble}");
    // The remedy is a statement that can be run as it is.
    let (_, statement) = trouble.split_once("run ALTER").unwrap();
    legacy.exec(&format!("ALTER{statement}")).await;
    streaming(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_server_that_logs_too_little_is_refused_with_the_remedies() {
    let server = Server::start(&["--binlog-format=MIXED", "--binlog-row-metadata=NO_LOG", "--binlog-row-image=MINIMAL"]);
    let world = Pairs::new(&server, Engine::MariaDb, Engine::Sqlite).await;
    let agent = world.agent().await;
    let trouble = until(&agent, "trouble", |report| report.trouble.is_some()).await.trouble.unwrap();
    for remedy in ["SET GLOBAL binlog_format = 'ROW'", "SET GLOBAL binlog_row_metadata = 'FULL'", "SET GLOBAL binlog_row_image = 'FULL'"] {
        assert!(trouble.contains(remedy), "{trouble}");
        let mut app = world.app(Side::Legacy).await;
        app.exec(remedy).await;
    }
    streaming(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_database_that_is_left_out_of_the_log_is_refused() {
    let server = Server::start(&["--binlog-do-db=elsewhere"]);
    let world = Pairs::new(&server, Engine::MariaDb, Engine::Sqlite).await;
    let agent = world.agent().await;
    let trouble = until(&agent, "trouble", |report| report.trouble.is_some()).await.trouble.unwrap();
    assert!(trouble.contains("binlog_do_db leaves the database"), "{trouble}");
    agent.stop().await;
}

#[tokio::test]
async fn a_server_that_dies_and_compresses_loses_nothing() {
    let server =
        Server::start(&["--log-bin-compress=ON", "--log-bin-compress-min-len=10", "--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"]);
    let mut world = Pairs::new(&server, Engine::MariaDb, Engine::MariaDb).await;
    let mut random = Random(77);
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=10 {
        legacy.writer(id).await;
    }
    let agent = world.agent().await;
    streaming(&agent).await;
    for _ in 0..3 {
        for _ in 0..40 {
            legacy.step(Side::Legacy, &mut random).await;
        }
        server.crash_and_restart();
        legacy = world.app(Side::Legacy).await;
        legacy.exec("UPDATE writer SET email = 'after'").await;
        until(&agent, "goes on", |report| report.trouble.is_none() && report.forward.live && report.reverse.live).await;
    }
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_log_that_is_gone_is_made_up_for_by_comparing() {
    let server = Server::start(&[]);
    let mut world = Pairs::new(&server, Engine::MariaDb, Engine::Sqlite).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.writer(1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.settle(&agent, Side::Legacy).await;
    agent.stop().await;
    legacy.exec("DELETE FROM book").await;
    purge(&mut legacy).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    until(&agent, "compared", |report| report.trouble.is_none()).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    let mut modern = world.app(Side::Modern).await;
    assert_eq!(modern.number("SELECT count(*) FROM books").await, 0);
    agent.stop().await;

    // A log that began anew is another log.
    legacy.exec("RESET MASTER").await;
    let agent = world.agent().await;
    until(&agent, "refused", |report| report.trouble.as_ref().is_some_and(|trouble| trouble.contains("RESET MASTER"))).await;
    agent.stop().await;
}

/// What is on the side that nobody could write to was written by the agent: nothing is lost with its log.
#[tokio::test]
async fn a_log_that_is_gone_of_the_fenced_side_is_made_up_for() {
    let server = Server::start(&[]);
    let mut world = Pairs::new(&server, Engine::Sqlite, Engine::MariaDb).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    legacy.writer(1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.order(&agent, |orders, _| orders.fenced.modern = true);
    until(&agent, "fenced", |report| report.fenced.modern).await;
    world.settle(&agent, Side::Legacy).await;
    agent.stop().await;
    legacy.exec("DELETE FROM book").await;
    purge(&mut modern).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    until(&agent, "compared", |report| report.trouble.is_none()).await;
    world.settle(&agent, Side::Legacy).await;
    world.must_be_equal(&agent).await;
    assert_eq!(modern.number("SELECT count(*) FROM books").await, 0);
    agent.stop().await;
}

/// Leaves of the binary log what is written from now on.
async fn purge(app: &mut App) {
    app.exec("FLUSH BINARY LOGS").await;
    let last = app.text("SHOW MASTER STATUS").await.unwrap();
    // The server keeps what it still sends to somebody, and notices late that nobody is there.
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while app.text("SHOW BINARY LOGS").await.unwrap() != last {
        assert!(std::time::Instant::now() < deadline, "the log is never purged");
        app.exec(&format!("CREATE OR REPLACE TABLE noise (id int); PURGE BINARY LOGS TO '{last}'")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whoever waits for a table to change it keeps everybody out who comes later.
#[tokio::test]
async fn taking_out_keeps_nobody_from_the_tables() {
    let server = Server::start(&[]);
    let mut world = Pairs::new(&server, Engine::MariaDb, Engine::MariaDb).await;
    let (mut reader, mut other) = (world.app(Side::Legacy).await, world.app(Side::Legacy).await);
    reader.writer(1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    reader.exec("BEGIN; SELECT count(*) FROM writer; SELECT count(*) FROM book").await;
    let drops = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'COM_DROP_TRIGGER'";
    let before = other.number(drops).await;
    world.order(&agent, |orders, _| orders.sync = ficus_rules::wire::SyncOrder::Remove);
    // Less than a statement of the agent waits otherwise.
    other.exec("SET lock_wait_timeout = 2").await;
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while other.number(drops).await < before + 3 {
        assert!(std::time::Instant::now() < deadline, "the agent does not want the tables");
        other.exec("SELECT count(*) FROM writer; SELECT count(*) FROM book").await;
    }
    reader.exec("COMMIT").await;
    until(&agent, "removed", |report| report.removed).await;
    agent.stop().await;
}

#[tokio::test]
async fn one_great_transaction_arrives_whole() {
    let mut world = Pairs::new(Server::shared(), Engine::MariaDb, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.writer(1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    legacy.exec("INSERT INTO book (title, writer_id, price) SELECT concat('book ', seq), 1, seq / 100 FROM seq_1_to_30000").await;
    let begun = std::time::Instant::now();
    world.settle(&agent, Side::Legacy).await;
    println!("30000 rows in {:?}", begun.elapsed());
    let mut modern = world.app(Side::Modern).await;
    assert_eq!(modern.number("SELECT count(*) FROM books").await, 30_001);
    let begun = std::time::Instant::now();
    legacy.exec("UPDATE book SET price = price + 1").await;
    world.settle(&agent, Side::Legacy).await;
    println!("30001 updates in {:?}", begun.elapsed());
    world.must_be_equal(&agent).await;
    agent.stop().await;
}

/// The log brings a commit that waits for a replica; the tables do not show it yet. Its row leads nowhere, so that it is
/// looked for in the tables: it is not gone, but has no counterpart.
#[tokio::test]
async fn a_commit_that_nobody_sees_yet_is_waited_for() {
    let server = Server::start(&[]);
    let mut world = Pairs::new(&server, Engine::Sqlite, Engine::MariaDb).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.writer(1).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.switch(&agent, Side::Modern).await;

    let mut root = world.app(Side::Modern).await;
    root.exec("SET GLOBAL rpl_semi_sync_master_wait_point = 'AFTER_SYNC'").await;
    root.exec("SET GLOBAL rpl_semi_sync_master_timeout = 600000").await;
    root.exec("SET GLOBAL rpl_semi_sync_master_enabled = ON").await;
    let (book, nobody) = (ficus_rules::mapping::uuid_of("users", "book", 7), ficus_rules::mapping::uuid_of("users", "writer", 99));
    let mut app = world.app(Side::Modern).await;
    let committing = tokio::spawn(async move {
        app.exec("SET foreign_key_checks = 0").await;
        app.exec(&format!("INSERT INTO books (id, legacy_id, title, writer_id, price) VALUES ('{book}', 7, 'orphan', '{nobody}', 1)"))
            .await;
    });
    let waits = "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Rpl_semi_sync_master_wait_sessions'";
    while root.number(waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(root.number("SELECT count(*) FROM books").await, 1, "nobody sees it");
    let seen = report(&agent);
    assert!(seen.trouble.is_none() && seen.reverse.live, "{seen:#?}");
    root.exec("SET GLOBAL rpl_semi_sync_master_enabled = OFF").await;
    committing.await.unwrap();
    let seen = until(&agent, "set aside", |report| report.quarantined == 1).await;
    assert!(seen.trouble.is_none(), "{seen:#?}");
    agent.stop().await;
}
