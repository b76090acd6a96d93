//! The fence in the database.

use sqlx::Row as _;

use super::super::fence::CLOSING_AGAIN;
use super::super::let_in::UNSETTLED;
use super::*;

#[tokio::test]
async fn the_fence_stops_a_transaction_that_began_before_it() {
    let bed = Bed::new("name text, kept text", &["kept"]).await;
    let mut app = bed.app(Side::Legacy).await;
    exec(&mut app, "INSERT INTO item VALUES (1, 'a', 'k')").await;
    // Its snapshot is older than the fence.
    exec(&mut app, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM item").await;
    bed.legacy.fence(true).await.unwrap();
    assert!(attempt(&mut app, "UPDATE item SET name = 'b'").await.unwrap_err().contains("ficus: "));
    exec(&mut app, "ROLLBACK").await;
    for refused in [
        "DELETE FROM item",
        "TRUNCATE item",
        "INSERT INTO item VALUES (2)",
        "SELECT 1; UPDATE item SET name = 'b' WHERE false",
        "COPY item FROM PROGRAM 'x'",
    ] {
        let error = attempt(&mut app, refused).await.unwrap_err();
        assert!(error.contains("ficus: ") || refused.starts_with("COPY"), "{refused}: {error}");
    }
    let mut replica = Server::shared().root(&bed.names[0]).await;
    exec(&mut replica, "SET session_replication_role = replica").await;
    assert!(attempt(&mut replica, "DELETE FROM item").await.unwrap_err().contains("ficus: "));
    exec(&mut app, "UPDATE item SET kept = 'login'").await;
    bed.legacy.fence(false).await.unwrap();
    exec(&mut app, "UPDATE item SET name = 'b'").await;
}

#[tokio::test]
async fn the_fence_waits_for_writers_and_gives_up_in_time() {
    let bed = Bed::new("name text", &[]).await;
    let (mut slow, mut quick) = (bed.app(Side::Legacy).await, bed.app(Side::Legacy).await);
    exec(&mut slow, "BEGIN; INSERT INTO item VALUES (1, 'under way')").await;
    let Err(Error::Refused(why)) = bed.legacy.fence(true).await else { panic!("it cannot be closed") };
    assert!(why.contains("pg_stat_activity"), "{why}");
    assert!(!bed.legacy.is_fenced().await.unwrap());
    exec(&mut quick, "INSERT INTO item VALUES (2, 'open again')").await;

    let legacy = std::sync::Arc::clone(&bed.legacy);
    let closing = tokio::spawn(async move { legacy.fence(true).await });
    while attempt(&mut quick, "UPDATE item SET name = 'x' WHERE id = 2").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!bed.legacy.is_fenced().await.unwrap(), "somebody who wrote before is still there");
    exec(&mut slow, "COMMIT").await;
    closing.await.unwrap().unwrap();
    assert!(bed.legacy.is_fenced().await.unwrap());
    let end = bed.legacy.end_position().await.unwrap();
    let batch = bed.read(bed.legacy.pruned().await.unwrap()).await;
    assert!(batch.upto >= end && batch.touched.iter().any(|touched| touched.key == Value::Int(1)));
}

#[tokio::test]
async fn a_fence_that_lets_through_and_is_not_closed_again_lets_through_as_before() {
    let bed = Bed::new("name text", &[]).await;
    bed.legacy.record_strays();
    bed.legacy.prepare().await.unwrap();
    bed.legacy.let_through().await.unwrap();
    let (mut slow, mut quick) = (bed.app(Side::Legacy).await, bed.app(Side::Legacy).await);
    exec(&mut slow, "BEGIN; INSERT INTO item VALUES (1, 'under way')").await;
    assert!(matches!(bed.legacy.fence(true).await, Err(Error::Refused(_))));
    assert!(bed.legacy.lets_through().await.unwrap(), "it gave up");
    exec(&mut quick, "INSERT INTO item VALUES (2, 'let in')").await;

    // Its agent ends while it waits for that one.
    let fence = text(&mut quick, "SELECT relname::text FROM pg_class WHERE relkind = 'S' AND relname LIKE 'fence%'").await.unwrap();
    exec(&mut quick, &format!("SELECT setval('_ficus.{fence}', {CLOSING_AGAIN})")).await;
    assert!(attempt(&mut quick, "INSERT INTO item VALUES (3, 'too late')").await.is_err());
    exec(&mut slow, "COMMIT").await;
    bed.legacy.claim(&bed.modern.id().await.unwrap(), None).await.unwrap();
    exec(&mut quick, "INSERT INTO item VALUES (3, 'let in')").await;
    assert_eq!(bed.legacy.let_in().await.unwrap().rows, 3);
    assert!(!bed.legacy.is_fenced().await.unwrap());
}

#[tokio::test]
async fn rows_that_are_settled_are_not_counted_again_and_again() {
    let bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    let old = "INSERT INTO _ficus.stray (scope, pair, settled) SELECT 'test/legacy', 'item', now() FROM generate_series(1, 20000)";
    exec(&mut app, old).await;
    exec(&mut app, "INSERT INTO _ficus.stray (scope, pair) VALUES ('test/legacy', 'item'), ('test/legacy', 'item')").await;
    exec(&mut app, "ANALYZE _ficus.stray").await;
    let count = async || bed.legacy.let_in().await.map(|found| (found.rows, found.unsettled)).unwrap();
    assert_eq!(count().await, (20_002, 2));
    let open = bed.legacy.unsettled().await.unwrap();
    for _ in 0..2 {
        bed.legacy.settle_strays(&open[..1]).await.unwrap();
        assert_eq!(count().await, (20_002, 1), "settled once, however often that is said");
    }
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN {}", UNSETTLED.replace("$1", "'test/legacy'")));
    let plan: Vec<String> = sqlx::query(explain).fetch_all(&mut app).await.unwrap().iter().map(|row| row.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("stray_unsettled")), "{plan:?}");
}

#[tokio::test]
async fn the_fence_stops_triggers_of_the_application_as_well() {
    let bed = Bed::new("name text, doc json, spot point, kept text", &["kept"]).await;
    let mut app = bed.app(Side::Legacy).await;
    exec(&mut app, "INSERT INTO item VALUES (1, 'a', '{}', '(1,2)', 'k'), (2, NULL, NULL, NULL, 'k')").await;
    exec(
        &mut app,
        "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.kept = 'stamp' THEN NEW.name := 'stamped'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER zz BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION stamp()",
    )
    .await;
    bed.legacy.fence(true).await.unwrap();
    exec(&mut app, "UPDATE item SET kept = 'login'").await;
    for key in [1, 2] {
        let error = attempt(&mut app, &format!("UPDATE item SET kept = 'stamp' WHERE id = {key}")).await.unwrap_err();
        assert!(error.contains("ficus: "), "{error}");
    }
    bed.legacy.fence(false).await.unwrap();
    exec(&mut app, "UPDATE item SET kept = 'stamp'").await;
    assert_eq!(number(&mut app, "SELECT count(*) FROM item WHERE name = 'stamped'").await, 2);
}

#[tokio::test]
async fn whom_the_fence_refused_is_counted_and_named() {
    let bed = Bed::new("name text, kept text", &["kept"]).await;
    let (mut stray, mut other) = (bed.app(Side::Legacy).await, bed.app(Side::Legacy).await);
    exec(&mut stray, "SET application_name = 'nightly-import'; INSERT INTO item VALUES (1, 'a', 'k')").await;
    assert_eq!(bed.legacy.refused().await.unwrap(), Some(Refused::default()), "nobody yet");
    bed.legacy.fence(true).await.unwrap();
    // WHEN somebody is refused twice, once inside a transaction that is undone, and somebody else writes what may be written
    assert!(attempt(&mut stray, "UPDATE item SET name = 'secret'").await.is_err());
    let told = bed.legacy.refused().await.unwrap().unwrap().writers;
    let [who] = &*told else { panic!("{told:?}") };
    assert!(who.ends_with(", last statement `UPDATE item SET name = …`") && who.contains(", application `nightly-import`, "), "{who}");
    exec(&mut stray, "BEGIN").await;
    assert!(attempt(&mut stray, "DELETE FROM item").await.is_err());
    exec(&mut stray, "ROLLBACK").await;
    exec(&mut other, "UPDATE item SET kept = 'login'").await;
    // THEN both are counted, and the one is named, without values
    let refused = bed.legacy.refused().await.unwrap().unwrap();
    assert_eq!(refused.statements, 2);
    let [who] = &*refused.writers else { panic!("{:?}", refused.writers) };
    assert!(who.contains("application `nightly-import`") && who.contains("role `"), "{who}");
    assert!(!who.contains("secret"), "{who}");
    assert_eq!(bed.modern.refused().await.unwrap(), Some(Refused::default()), "the other side is told apart");
    // WHEN it has gone, THEN the count stays
    drop(stray);
    while !bed.legacy.refused().await.unwrap().unwrap().writers.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bed.legacy.fence(false).await.unwrap();
    assert_eq!(bed.legacy.refused().await.unwrap().unwrap().statements, 2);
}
