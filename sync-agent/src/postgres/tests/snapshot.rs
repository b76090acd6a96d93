//! The snapshot of the initial copy.

use super::*;

#[tokio::test]
async fn the_snapshot_is_exact_while_others_write() {
    let bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    exec(&mut app, "INSERT INTO item SELECT i, 'old' FROM generate_series(1, 5) i").await;
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let name = bed.names[0].clone();
            tokio::spawn(async move {
                let mut app = Server::shared().app(&name).await;
                for round in 0..60 {
                    exec(
                        &mut app,
                        &format!(
                            "INSERT INTO item VALUES ({}, 'new'); UPDATE item SET name = 'r{round}' WHERE id = {}",
                            100 + writer * 100 + round,
                            1 + writer
                        ),
                    )
                    .await;
                }
            })
        })
        .collect();
    let mut copies = Vec::new();
    for _ in 0..5 {
        copies.push(bed.snapshot().await);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let found = bed.legacy.chunk(0, &KeyRange::default(), 10_000).await.unwrap();
    for (position, rows) in copies {
        let batch = bed.read(position).await;
        for row in &batch.rows[0] {
            let is_new = matches!(row.key, Value::Int(key) if key >= 100);
            assert!(!(is_new && rows.iter().any(|copied| copied.key == row.key)), "{:?} is in the copy and in the log after it", row.key);
        }
        // The copy and the log after it are all that there is.
        let newest = |key: &Value| batch.rows[0].iter().rfind(|row| row.key == *key).or_else(|| rows.iter().find(|row| row.key == *key));
        for row in &found {
            assert_eq!(newest(&row.key), Some(row));
        }
    }
}

#[tokio::test]
async fn the_snapshot_is_exact_while_a_standby_stalls_a_commit() {
    // The commit stands in the log, and others do not see it: a copy that is taken then must not pass for newer than it.
    let server: &'static Server = Box::leak(Box::new(Server::start(&["fsync=off"])));
    let bed = Bed::on(server, "name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    exec(&mut app, "SET synchronous_commit = local").await;
    exec(&mut app, "INSERT INTO item VALUES (1, 'old')").await;
    let mut root = server.root(&bed.names[0]).await;
    exec(&mut root, "ALTER SYSTEM SET synchronous_standby_names = 'ghost'").await;
    exec(&mut root, "SELECT pg_reload_conf()").await;
    // Takes effect some time later: when a commit stalls.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let mut probe = bed.app(Side::Legacy).await;
    let same = "UPDATE item SET name = 'old'";
    while tokio::time::timeout(Duration::from_millis(500), exec(&mut probe, same)).await.is_ok() {}
    while number(&mut app, waiting).await > 0 {
        exec(&mut root, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut stalled = bed.app(Side::Legacy).await;
    let stalling = tokio::spawn(async move { exec(&mut stalled, "SET synchronous_commit = on; UPDATE item SET name = 'new'").await });
    while number(&mut app, waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(text(&mut app, "SELECT name FROM item").await.as_deref(), Some("old"));
    let ((position, rows), ()) = tokio::join!(bed.snapshot(), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        exec(&mut root, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
    });
    stalling.await.unwrap();
    let after = bed.read(position).await.rows.remove(0);
    let newest = after.last().or(rows.first()).unwrap();
    assert_eq!(newest.values, [Value::Text("new".into())]);
}
