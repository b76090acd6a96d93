//! The fence in the database.

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
