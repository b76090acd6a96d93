//! What is read off the log, and what that rests on.

use super::*;

#[tokio::test]
async fn a_batch_is_whole_transactions_and_may_be_asked_for_twice() {
    let bed = Bed::new("name text", &[]).await;
    let (mut one, mut two) = (bed.app(Side::Legacy).await, bed.app(Side::Legacy).await);
    let start = bed.legacy.end_position().await.unwrap();
    exec(&mut one, "BEGIN; INSERT INTO item SELECT i, 'first' FROM generate_series(1, 30) i; SAVEPOINT s; DELETE FROM item; ROLLBACK TO s")
        .await;
    exec(&mut two, "INSERT INTO item VALUES (100, 'between')").await;
    exec(&mut one, "UPDATE item SET id = 200 WHERE id = 3; COMMIT").await;
    exec(&mut two, "INSERT INTO item VALUES (101, 'after')").await;
    let mut root = Server::shared().root(&bed.names[0]).await;
    let connection = "SELECT active_pid::int8 FROM pg_replication_slots WHERE database = current_database()";
    let first = bed.legacy.read(start, 1, &[]).await.unwrap();
    let begun = number(&mut root, connection).await;
    assert_eq!((first.entries, first.touched[0].key.clone()), (1, Value::Int(100)), "the order is that of commits");
    assert!(first.upto < first.end);
    // The second transaction is longer than the limit.
    let second = bed.legacy.read(first.upto, 5, &[]).await.unwrap();
    assert_eq!((second.touched.len(), second.rows[0].len(), second.entries), (31, 30, 32), "a transaction is not divided");
    let repeated = bed.legacy.read(first.upto, 5, &[crate::port::Touched { pair: 0, key: Value::Int(101) }]).await.unwrap();
    assert_eq!((repeated.upto, repeated.touched.len(), repeated.rows[0].len()), (second.upto, 32, 31));
    // The next one is read while this one is written, which then is asked for again.
    for after in [second.upto, first.upto, second.upto] {
        bed.legacy.read(after, 5, &[]).await.unwrap();
    }
    let repeated = bed.legacy.read(first.upto, 5, &[]).await.unwrap();
    assert_eq!((repeated.upto, repeated.touched.len()), (second.upto, 31));
    assert_eq!(number(&mut root, connection).await, begun, "on the same connection");
    let third = bed.read(second.upto).await;
    assert_eq!((third.touched.len(), third.upto), (1, third.end));
    assert!(third.age < 30.0);
    // A session that begins further back gets all of it again.
    assert_eq!(bed.read(start).await.entries, 34);
}

#[tokio::test]
async fn commits_that_are_not_written_through_are_found_as_well() {
    let bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    exec(&mut app, "SET synchronous_commit = off").await;
    let mut position = bed.legacy.end_position().await.unwrap();
    for id in 1..=20 {
        exec(&mut app, &format!("INSERT INTO item VALUES ({id}, 'x')")).await;
        assert!(bed.legacy.changed().await.unwrap());
        let mut seen = 0;
        // Complete means that everything that was committed before is in it.
        loop {
            let batch = bed.legacy.read(position, 100, &[]).await.unwrap();
            (position, seen) = (batch.upto, seen + batch.touched.len());
            if batch.upto == batch.end {
                break;
            }
        }
        assert_eq!(seen, 1, "row {id}");
    }
}

#[tokio::test]
async fn an_emptied_table_becomes_a_gap_once() {
    let mut bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    bed.legacy.close_gaps(&[0]).await.unwrap();
    let start = bed.legacy.end_position().await.unwrap();
    exec(&mut app, "INSERT INTO item VALUES (1, 'gone')").await;
    exec(&mut app, "BEGIN; TRUNCATE item; INSERT INTO item VALUES (2, 'new'); COMMIT").await;
    let batch = bed.legacy.read(start, 100, &[]).await.unwrap();
    assert_eq!(batch.touched.len(), 1, "up to what cannot be read");
    assert!(matches!(bed.legacy.read(batch.upto, 100, &[]).await, Err(Error::SchemaChanged)));
    bed.again().await;
    assert_eq!(bed.legacy.gaps().await.unwrap(), [0]);
    let batch = bed.read(batch.upto).await;
    assert_eq!(batch.touched[0].key, Value::Int(2));
}

#[tokio::test]
async fn what_capture_rests_on_is_watched() {
    for (break_it, gap) in [
        ("ALTER TABLE item ADD COLUMN more text", false),
        ("ALTER TABLE item REPLICA IDENTITY NOTHING", true),
        ("DROP TABLE item; CREATE TABLE item (id int PRIMARY KEY, name text, kept text)", true),
        ("ALTER TABLE item DISABLE TRIGGER ALL", false),
        ("DO $$ BEGIN EXECUTE (SELECT 'ALTER PUBLICATION ' || pubname || ' DROP TABLE item' FROM pg_publication); END $$", true),
        (
            "DO $$ BEGIN EXECUTE (SELECT 'DROP PUBLICATION ' || pubname FROM pg_publication); END $$; INSERT INTO item VALUES (9, 'unpublished', '')",
            true,
        ),
        ("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()", true),
    ] {
        let mut bed = Bed::new("name text, kept text", &["kept"]).await;
        bed.legacy.close_gaps(&[0]).await.unwrap();
        let mut app = bed.app(Side::Legacy).await;
        exec(&mut app, break_it).await;
        assert!(matches!(bed.legacy.end_position().await, Err(Error::SchemaChanged)), "{break_it}");
        assert!(matches!(bed.legacy.fence(true).await, Err(Error::SchemaChanged)), "{break_it}");
        bed.again().await;
        assert_eq!(!bed.legacy.gaps().await.unwrap().is_empty(), gap, "{break_it}");
        let start = bed.legacy.end_position().await.unwrap();
        exec(&mut app, "INSERT INTO item VALUES (1, 'a', 'b'); UPDATE item SET name = 'c' WHERE id = 1").await;
        assert_eq!(bed.read(start).await.rows[0].len(), 1, "{break_it}");
        bed.legacy.fence(true).await.unwrap();
        assert!(attempt(&mut app, "DELETE FROM item").await.unwrap_err().contains("ficus: "), "{break_it}");
    }
}

#[tokio::test]
async fn a_slot_that_cannot_be_read_is_told_with_the_statement_that_drops_it() {
    // GIVEN a slot of our name that another plugin writes
    let bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    let ours = "(SELECT slot_name FROM pg_replication_slots WHERE database = current_database())";
    let slot = text(&mut app, ours).await.unwrap();
    let wanted = Wanted::of_shapes("test", Side::Legacy, bed.plans.iter().map(|plan| &plan.legacy));
    let lost = async || {
        let findings = bed.opened[0].findings(&wanted).await.unwrap();
        findings.into_iter().find(|finding| finding.code == "slot_lost")
    };
    assert_eq!(lost().await, None);
    exec(&mut app, &format!("SELECT pg_drop_replication_slot('{slot}')")).await;
    exec(&mut app, &format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')")).await;
    // WHEN the statement of the finding is run
    let found = lost().await.unwrap();
    exec(&mut app, &found.statements[0]).await;
    // THEN it is gone
    assert_eq!(lost().await, None);
}

#[tokio::test]
async fn a_server_on_another_timeline_is_refused() {
    let mut bed = Bed::new("name text", &[]).await;
    exec(&mut bed.app(Side::Legacy).await, "UPDATE _ficus.capture SET timeline = timeline + 1").await;
    bed.legacy = bed.opened[0].side("test", Side::Legacy, &bed.plans).await.unwrap();
    let Err(Error::Refused(why)) = bed.legacy.prepare().await else { panic!("refused") };
    assert!(why.contains("timeline") && why.contains("remove the capability"), "{why}");
}

#[tokio::test]
async fn a_later_agent_takes_the_slot_from_an_earlier_one() {
    let bed = Bed::new("name text", &[]).await;
    let start = bed.legacy.end_position().await.unwrap();
    bed.legacy.read(start, 10, &[]).await.unwrap();
    let later = bed.opened[0].side("test", Side::Legacy, &bed.plans).await.unwrap();
    later.prepare().await.unwrap();
    later.claim(&bed.modern.id().await.unwrap(), None).await.unwrap();
    exec(&mut bed.app(Side::Legacy).await, "INSERT INTO item VALUES (1, 'a')").await;
    assert_eq!(later.read(start, 10, &[]).await.unwrap().touched.len(), 1);
    assert!(matches!(bed.legacy.confirm(start).await, Err(Error::Superseded)));
    let lost = tokio::time::timeout(Duration::from_secs(30), async { while bed.legacy.read(start, 10, &[]).await.is_ok() {} });
    lost.await.expect("the earlier one loses its connection, and may not take it back");
    assert!(matches!(bed.legacy.read(start, 10, &[]).await, Err(Error::Superseded)));
}

#[tokio::test]
async fn a_lost_connection_does_not_put_the_log_beyond_what_the_target_remembers() {
    let bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    let durable = bed.legacy.end_position().await.unwrap();
    bed.read(durable).await;
    // What nobody maps moves the log, and no checkpoint.
    exec(&mut app, "CREATE TABLE other (id int); INSERT INTO other SELECT generate_series(1, 100)").await;
    let quiet = bed.read(bed.legacy.end_position().await.unwrap()).await.upto;
    assert!(quiet > durable);
    let mut root = Server::shared().root(&bed.names[0]).await;
    exec(&mut root, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = current_database() AND active")
        .await;
    exec(&mut app, "INSERT INTO other VALUES (0)").await;
    let lost = tokio::time::timeout(Duration::from_secs(30), async { while bed.legacy.read(quiet, 10, &[]).await.is_ok() {} });
    lost.await.expect("the connection is gone");
    let again = bed.read(quiet).await.upto;
    bed.legacy.confirm(again).await.unwrap();
    let pruned = bed.legacy.pruned().await.unwrap();
    assert!(pruned <= durable, "{pruned} is above {durable}");
    // What had rows is remembered, on whichever connection it came.
    exec(&mut app, "INSERT INTO item VALUES (1, 'a')").await;
    let read = bed.read(again).await.upto;
    bed.legacy.confirm(read).await.unwrap();
    let pruned = bed.legacy.pruned().await.unwrap();
    assert!(pruned > again && pruned <= read, "{pruned}");
}

#[tokio::test]
async fn a_pair_that_is_looked_at_otherwise_becomes_a_gap_once() {
    let mut bed = Bed::new("name text, other text", &[]).await;
    bed.legacy.close_gaps(&[0]).await.unwrap();
    bed.again().await;
    assert_eq!(bed.legacy.gaps().await.unwrap(), [] as [usize; 0], "nothing is new");
    let whole = bed.plans[0].legacy.clone();
    let narrow = ficus_rules::mapping::Shape { columns: vec!["name".into()], ..whole.clone() };
    let filtered = ficus_rules::mapping::Shape { filter: vec![("name".into(), Value::Text("a".into()))], ..whole.clone() };
    for shape in [narrow, whole.clone(), filtered, whole] {
        bed.plans[0].legacy = shape.clone();
        bed.again().await;
        assert_eq!(bed.legacy.gaps().await.unwrap(), [0], "{shape:?}");
        bed.legacy.close_gaps(&[0]).await.unwrap();
        bed.again().await;
        assert_eq!(bed.legacy.gaps().await.unwrap(), [] as [usize; 0], "{shape:?}");
    }
}

#[tokio::test]
async fn only_the_stream_that_ends_here_marks_a_transaction_as_the_agents_own() {
    let bed = Bed::new("name text", &[]).await;
    let mut root = Server::shared().root(&bed.names[0]).await;
    exec(&mut root, "INSERT INTO _ficus.checkpoint (stream, source_id, epoch) VALUES ('other/reverse', 'x', 1)").await;
    let start = bed.legacy.end_position().await.unwrap();
    for (key, stream) in [(1, "= 'other/reverse'"), (2, "<> 'other/reverse'")] {
        exec(
            &mut root,
            &format!(
                "BEGIN; UPDATE _ficus.checkpoint SET position = {key} WHERE stream {stream}; INSERT INTO item VALUES ({key}, 'a'); COMMIT"
            ),
        )
        .await;
    }
    let touched: Vec<Value> = bed.read(start).await.touched.into_iter().map(|touched| touched.key).collect();
    assert_eq!(touched, [Value::Int(1)]);
}

#[tokio::test]
async fn a_table_gets_its_identity_back_by_an_index_of_another_schema() {
    let bed = Bed::new("name text NOT NULL", &[]).await;
    let mut modern = bed.app(Side::Modern).await;
    exec(&mut modern, "CREATE UNIQUE INDEX \"By name\" ON \"the new\".\"Item\" (name)").await;
    bed.opened[1].remove("test", Side::Modern, 0).await.unwrap();
    exec(&mut modern, "ALTER TABLE \"the new\".\"Item\" REPLICA IDENTITY USING INDEX \"By name\"").await;
    bed.opened[1].side("test", Side::Modern, &bed.plans).await.unwrap().prepare().await.unwrap();
    let identity = "SELECT relreplident::text FROM pg_class WHERE relname = 'Item'";
    assert_eq!(text(&mut modern, identity).await.as_deref(), Some("f"));
    bed.opened[1].remove("test", Side::Modern, 0).await.unwrap();
    assert_eq!(text(&mut modern, identity).await.as_deref(), Some("i"));
}

/// What `FicusSlotGrows` looks at. The server lets the log go at its next checkpoint, not at once.
#[tokio::test]
async fn the_log_that_a_slot_keeps_grows_until_it_is_confirmed() {
    let bed = Bed::new("name text", &[]).await;
    let (mut app, mut root) = (bed.app(Side::Legacy).await, Server::shared().root(&bed.names[0]).await);
    let mut position = bed.legacy.end_position().await.unwrap();
    let before = bed.legacy.kept_log().await.unwrap();
    // GIVEN an agent that is behind
    exec(&mut app, "INSERT INTO item SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 12000) i").await;
    let grown = bed.legacy.kept_log().await.unwrap();
    assert!(grown > before + (8 << 20), "{before} bytes, then {grown}");
    // WHEN it has read and confirmed everything THEN the slot keeps little again
    let shrinks = async {
        loop {
            exec(&mut root, "CHECKPOINT").await;
            exec(&mut app, "UPDATE item SET name = 'later' WHERE id = 1").await;
            position = bed.read(position).await.upto;
            bed.legacy.confirm(position).await.unwrap();
            if bed.legacy.kept_log().await.unwrap() < grown / 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), shrinks).await.expect("the slot lets go of the log");
}

/// A standby that is away holds commits back for hours.
#[tokio::test]
async fn a_commit_that_nobody_sees_for_long_is_asked_for_seldom() {
    let server: &'static Server = Box::leak(Box::new(Server::start(&["synchronous_commit=local"])));
    let bed = Bed::on(server, "name text", &[]).await;
    let (mut root, mut app) = (server.root("postgres").await, bed.app(Side::Legacy).await);
    let start = bed.legacy.end_position().await.unwrap();
    exec(&mut root, "ALTER SYSTEM SET synchronous_standby_names = 'nowhere'").await;
    exec(&mut root, "SELECT pg_reload_conf()").await;
    let pid = number(&mut app, "pg_backend_pid()").await;
    exec(&mut app, "SET synchronous_commit = on").await;
    // Takes effect some time later: when a commit stalls.
    let committing = tokio::spawn(async move {
        for id in 1.. {
            exec(&mut app, &format!("INSERT INTO item VALUES ({id}, 'x')")).await;
        }
    });
    let waits = format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = {pid}");
    let deadline = std::time::Instant::now() + Duration::from_secs(120);
    while number(&mut root, &waits).await == 0 {
        assert!(std::time::Instant::now() < deadline, "no commit waits for the standby");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut position = start;
    let mut empty = 0;
    let mut begun = std::time::Instant::now();
    while empty < 30 {
        let batch = bed.legacy.read(position, 100_000, &[]).await.unwrap();
        empty = if batch.touched.is_empty() { empty + 1 } else { 0 };
        position = batch.upto;
        if empty <= 10 {
            begun = std::time::Instant::now();
        }
    }
    assert!(begun.elapsed() > Duration::from_millis(1_500), "20 looks in {:?}", begun.elapsed());
    committing.abort();
    exec(&mut root, "ALTER SYSTEM RESET synchronous_standby_names").await;
    exec(&mut root, "SELECT pg_reload_conf()").await;
}

/// More than what may wait between the connection and whoever reads, so that it comes in full pieces, and stops for a while.
const TRANSACTIONS: i64 = 12_000;

async fn write_many_small_ones(app: &mut PgConnection, bytes: usize) {
    let name = |first: &str| format!("repeat('{first}' || i, {bytes})");
    let each = format!("INSERT INTO item VALUES (i, {}); COMMIT; UPDATE item SET name = {} WHERE id = i; COMMIT", name("n"), name("m"));
    let all = format!("DO $$ BEGIN FOR i IN 1..{} LOOP {each}; END LOOP; END $$", TRANSACTIONS / 2);
    exec(app, "SET synchronous_commit = off").await;
    exec(app, &all).await;
}

#[tokio::test]
async fn what_comes_fast_comes_whole_and_in_its_order() {
    let bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    let start = bed.legacy.end_position().await.unwrap();
    // Also while somebody listens already.
    let writing = tokio::spawn(async move { write_many_small_ones(&mut app, 1).await });
    let (mut position, mut entries, mut names) = (start, 0, std::collections::BTreeMap::new());
    while entries < TRANSACTIONS.unsigned_abs() {
        let batch = tokio::time::timeout(Duration::from_secs(60), bed.legacy.read(position, 700, &[])).await.expect("all of it").unwrap();
        entries += batch.entries;
        position = batch.upto;
        names.extend(batch.rows[0].iter().map(|row| (format!("{:?}", row.key), format!("{:?}", row.values))));
    }
    writing.await.unwrap();
    assert_eq!((entries, names.len()), (TRANSACTIONS.unsigned_abs(), usize::try_from(TRANSACTIONS).unwrap() / 2));
    assert!(names.values().all(|name| name.contains("\"m")), "the newest image is the last");
}

#[tokio::test]
async fn the_server_hears_what_is_durable_while_nobody_takes_more() {
    // GIVEN more than is held of the log at once
    let bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    let start = bed.legacy.end_position().await.unwrap();
    write_many_small_ones(&mut app, 1_000).await;
    let mut first = bed.legacy.read(start, 1, &[]).await.unwrap();
    while first.entries == 0 {
        first = bed.legacy.read(first.upto, 1, &[]).await.unwrap();
    }
    // WHEN what was read is durable, and nobody reads on
    bed.legacy.confirm(first.upto).await.unwrap();
    // THEN the slot moves up to there
    let told = "SELECT (confirmed_flush_lsn - '0/0'::pg_lsn)::int8 FROM pg_replication_slots WHERE database = current_database()";
    let wanted = i64::try_from(first.upto.0).unwrap();
    for _ in 0..300 {
        if number(&mut app, told).await >= wanted {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(number(&mut app, told).await >= wanted);
    assert_eq!(bed.read(first.upto).await.entries + first.entries, TRANSACTIONS.unsigned_abs());
}

#[tokio::test]
async fn what_the_server_may_hold_of_open_transactions_is_raised_where_nobody_has_set_it() {
    let large = Server::start(&["shared_buffers=400MB"]);
    for (server, set, most) in [
        (Server::shared(), None, Some("-c logical_decoding_work_mem=65536")),
        (&large, None, Some("-c logical_decoding_work_mem=102400")),
        (&large, Some("1MB"), None),
    ] {
        let name = server.database().await;
        if let Some(set) = set {
            exec(&mut server.root(&name).await, &format!("ALTER DATABASE {name} SET logical_decoding_work_mem = '{set}'")).await;
        }
        let sizes = super::super::slot::Sizes::of(&mut server.app(&name).await).await.unwrap();
        assert_eq!(sizes.decoding().as_deref(), most, "{set:?}");
    }
}

#[tokio::test]
async fn what_arrived_beside_a_batch_is_not_waited_for() {
    let bed = Bed::new("name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    let start = bed.legacy.end_position().await.unwrap();
    exec(&mut app, "INSERT INTO item VALUES (1, 'first')").await;
    let first = bed.read(start).await;
    // WHEN another one is taken in while the first is written
    exec(&mut app, "INSERT INTO item VALUES (2, 'second')").await;
    while tokio::time::timeout(Duration::from_millis(200), bed.legacy.gather()).await.is_ok() {}
    let waited = tokio::time::timeout(Duration::from_secs(5), bed.legacy.wait(Duration::from_secs(60))).await;
    assert!(waited.is_ok(), "it is there");
    assert_eq!(bed.read(first.upto).await.touched[0].key, Value::Int(2));
}

#[tokio::test]
async fn the_connection_outlives_a_target_that_stands_still() {
    let server: &'static Server = Box::leak(Box::new(Server::start(&["fsync=off", "wal_sender_timeout=2s"])));
    let bed = Bed::on(server, "name text", &[]).await;
    let mut app = bed.app(Side::Legacy).await;
    let start = bed.legacy.end_position().await.unwrap();
    exec(&mut app, "INSERT INTO item VALUES (1, 'first')").await;
    let first = bed.read(start).await;
    let mut root = server.root(&bed.names[0]).await;
    let connection = "SELECT active_pid::int8 FROM pg_replication_slots WHERE database = current_database()";
    let begun = number(&mut root, connection).await;
    // GIVEN somebody who holds the table of the target for longer than the server waits for a word
    let mut holder = bed.app(Side::Modern).await;
    exec(&mut holder, "BEGIN; LOCK TABLE \"the new\".\"Item\"").await;
    let upserts = first.rows[0].iter().map(|row| bed.plans[0].forward(row).unwrap()).collect();
    let changes = [Changes { upserts, ..Changes::default() }];
    let release = async {
        // More than is taken in meanwhile.
        exec(&mut app, "INSERT INTO item SELECT i, repeat('meanwhile', 100) FROM generate_series(2, 30000) i").await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        exec(&mut holder, "COMMIT").await;
    };
    let applying = bed.modern.apply(&changes, first.upto, Effort::Plain, &[]);
    let (done, ()) = tokio::join!(applying, release);
    assert!(matches!(done, Ok(Applied::Done { .. })), "{done:?}");
    // THEN the same connection goes on
    assert_eq!(bed.read(first.upto).await.touched.len(), 29_999);
    assert_eq!(number(&mut root, connection).await, begun);
}

#[tokio::test]
async fn a_quiet_database_lets_the_server_forget_what_others_write() {
    let server: &'static Server = Box::leak(Box::new(Server::start(&["fsync=off"])));
    let bed = Bed::on(server, "name text", &[]).await;
    let other = server.database().await;
    let mut busy = server.app(&other).await;
    exec(&mut busy, "CREATE TABLE busy (note text)").await;
    let mut position = bed.legacy.end_position().await.unwrap();
    let ours = "SELECT min(confirmed_flush_lsn) - '0/0'::pg_lsn FROM pg_replication_slots WHERE database = current_database()";
    let mut root = server.root(&bed.names[0]).await;
    for _ in 0..3 {
        exec(&mut busy, "INSERT INTO busy SELECT repeat('note', 100) FROM generate_series(1, 10000)").await;
        let written = number(&mut busy, "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn").await;
        let begun = std::time::Instant::now();
        while number(&mut root, ours).await < written {
            assert!(begun.elapsed() < Duration::from_secs(30), "the log is kept");
            bed.legacy.wait(Duration::from_millis(100)).await;
            if bed.legacy.changed().await.unwrap() {
                position = bed.legacy.read(position, 1_000, &[]).await.unwrap().upto;
            }
            bed.legacy.confirm(position).await.unwrap();
        }
    }
}
