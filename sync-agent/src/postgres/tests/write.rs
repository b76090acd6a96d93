//! What is written, and what refuses it.

use super::*;

#[tokio::test]
async fn rows_whose_keys_others_refer_to_are_moved_out_of_the_way_without_their_keys() {
    let bed = Bed::new("name text NOT NULL UNIQUE, code int NOT NULL UNIQUE", &[]).await;
    let mut modern = bed.app(Side::Modern).await;
    exec(&mut modern, "CREATE TABLE child (code int NOT NULL REFERENCES \"the new\".\"Item\" (code))").await;
    let modern_side = bed.opened[1].side("test", Side::Modern, &bed.plans).await.unwrap();
    modern_side.prepare().await.unwrap();
    modern_side.claim(&bed.legacy.id().await.unwrap(), None).await.unwrap();
    let row = |key: i64, name: &str| Row { key: Value::Int(key), values: vec![Value::Text(name.into()), Value::Int(key)] };
    let apply = async |rows: Vec<Row>, effort| {
        modern_side.apply(&[Changes { upserts: rows, ..Changes::default() }], Position(1), effort, &[]).await
    };
    assert!(matches!(apply(vec![row(1, "a"), row(2, "b")], Effort::Plain).await, Ok(Applied::Done { .. })));
    exec(&mut modern, "INSERT INTO child VALUES (1), (2)").await;
    assert!(matches!(apply(vec![row(1, "b"), row(2, "a")], Effort::Plain).await, Ok(Applied::Refused { .. })));
    assert!(matches!(apply(vec![row(1, "b"), row(2, "a")], Effort::Parked).await, Ok(Applied::Done { quarantined: 0, .. })));
}

#[tokio::test]
async fn what_a_database_sets_for_its_sessions_does_not_reach_the_agent() {
    let name = Server::shared().database().await;
    let mut root = Server::shared().root(&name).await;
    for setting in [
        "synchronous_commit = off",
        "statement_timeout = '5ms'",
        "lock_timeout = 0",
        "idle_in_transaction_session_timeout = '5ms'",
        "idle_session_timeout = '5ms'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "default_transaction_deferrable = on",
    ] {
        exec(
            &mut root,
            &format!("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET {}', current_database()); END $$", setting.replace('\'', "''")),
        )
        .await;
    }
    let opened = Opened::open(&Server::shared().url(&name), "test").await.unwrap();
    let mut connection = opened.pool.acquire().await.unwrap();
    for (setting, value) in super::super::url::SETTINGS {
        let found = text(&mut connection, &format!("SELECT current_setting('{setting}')")).await.unwrap();
        // The driver sends its own; they mean the same from 1 on.
        let value = if setting == "extra_float_digits" { "2" } else { value };
        assert_eq!(found.replace(", ", ","), value, "{setting}");
    }
}

#[tokio::test]
async fn a_row_of_another_pair_keeps_its_key() {
    let mut bed = Bed::new("name text, kind text", &[]).await;
    bed.plans[0].modern.filter = vec![("kind".into(), Value::Text("ours".into()))];
    bed.modern = bed.opened[1].side("test", Side::Modern, &bed.plans).await.unwrap();
    bed.begin().await;
    let mut modern = bed.app(Side::Modern).await;
    exec(&mut modern, "INSERT INTO \"the new\".\"Item\" VALUES (1, 'a', 'theirs'), (2, 'b', 'ours'), (3, 'c', NULL)").await;
    for many in [4, 2_000] {
        let row = |key| Row { key: Value::Int(key), values: vec![Value::Text("new".into()), Value::Text("ours".into())] };
        let changes = [Changes { upserts: (1..=many).map(row).collect(), ..Changes::default() }];
        let refused = bed.modern.apply(&changes, Position(1), Effort::Plain, &[]).await.unwrap();
        assert!(matches!(refused, Applied::Refused { .. }), "{refused:?}");
        let Applied::Done { rejected, .. } = bed.modern.apply(&changes, Position(1), Effort::Isolated, &[]).await.unwrap() else {
            panic!("applied")
        };
        let keys: Vec<&Value> = rejected.iter().map(|rejected| &rejected.row.key).collect();
        assert_eq!(keys, [&Value::Int(1), &Value::Int(3)]);
        let there = text(
            &mut modern,
            "SELECT string_agg(name || coalesce(kind, '-'), ' ' ORDER BY legacy_id) FROM \"the new\".\"Item\" WHERE legacy_id < 5",
        );
        assert_eq!(there.await.as_deref(), Some("atheirs newours c- newours"));
    }
}

#[tokio::test]
async fn new_rows_that_are_there_already_are_written_over() {
    let bed = Bed::new("name text", &[]).await;
    let (mut app, mut copy) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    let start = bed.legacy.end_position().await.unwrap();
    // Enough to be copied as new ones; every third is on the other side as well, as after a repair.
    exec(&mut app, "INSERT INTO item SELECT i, 'new' FROM generate_series(1, 600) i").await;
    exec(&mut copy, "INSERT INTO \"the new\".\"Item\" SELECT i, 'old' FROM generate_series(1, 600, 3) i").await;
    let applier = Applier {
        source: bed.legacy.clone(),
        sink: bed.modern.clone(),
        plans: Arc::new(bed.plans.clone()),
        direction: Direction::Forward,
        state: fresh_state(),
    };
    let mut batch = bed.legacy.read(start, 1_000, &[]).await.unwrap();
    assert_eq!((batch.fresh.as_slice(), batch.rows[0].len()), (&[600][..], 600));
    let mapped = applier.mapper().map(&mut batch);
    let done = applier.apply(start, 1_000, batch, mapped).await.unwrap();
    assert_eq!((done.rows, done.quarantined), (vec![600], 0));
    let equal = "SELECT count(*) FROM \"the new\".\"Item\" WHERE name = 'new'";
    assert_eq!(number(&mut copy, equal).await, 600);
}

#[tokio::test]
async fn rows_that_are_not_there_are_written_by_whatever_should_only_change_them() {
    let bed = Bed::new("name text", &[]).await;
    let mut copy = bed.app(Side::Modern).await;
    let row = |key: i64, name: &str| Row { key: Value::Int(key), values: vec![Value::Text(name.into())] };
    for many in [5, 700, 3_000] {
        exec(&mut copy, "DELETE FROM \"the new\".\"Item\"").await;
        bed.apply(&(0..many).step_by(2).map(|key| row(key, "old")).collect::<Vec<_>>()).await;
        bed.apply(&(0..many).map(|key| row(key, "new")).collect::<Vec<_>>()).await;
        let new = "SELECT count(*) FROM \"the new\".\"Item\" WHERE name = 'new'";
        assert_eq!(number(&mut copy, new).await, many, "of {many}");
    }
}

#[tokio::test]
async fn an_agent_that_lost_its_turn_writes_nothing_however_much_it_has() {
    let bed = Bed::new("name text", &[]).await;
    let later = bed.opened[1].side("test", Side::Modern, &bed.plans).await.unwrap();
    later.claim(&bed.legacy.id().await.unwrap(), None).await.unwrap();
    for many in [1, 30, 600, 3_000] {
        let upserts = (0..many).map(|key| Row { key: Value::Int(key), values: vec![Value::Text("stray".into())] }).collect();
        let refused = bed.modern.apply(&[Changes { upserts, ..Changes::default() }], Position(7), Effort::Plain, &[]).await;
        assert!(matches!(refused, Err(Error::Superseded)), "{many} rows: {refused:?}");
    }
    let mut copy = bed.app(Side::Modern).await;
    assert_eq!(number(&mut copy, "SELECT count(*) FROM \"the new\".\"Item\"").await, 0);
    let position = Server::shared().root(&bed.names[1]).await;
    assert_eq!(number(&mut { position }, "SELECT coalesce(max(position), 0) FROM _ficus.checkpoint").await, 0, "nor moves the position");
}

#[tokio::test]
async fn a_row_that_cannot_be_sent_behind_one_that_is_refused_leaves_the_connection_whole() {
    // GIVEN a row that is there already, and far behind it one that cannot even be put into words
    let bed = Bed::new("name text", &[]).await;
    let mut copy = bed.app(Side::Modern).await;
    exec(&mut copy, "INSERT INTO \"the new\".\"Item\" VALUES (0, 'old')").await;
    let row = |key: i64, name: &str| Row { key: Value::Int(key), values: vec![Value::Text(name.into())] };
    let mut upserts: Vec<Row> = (0..40_000).map(|key| row(key, "a name of some length")).collect();
    upserts.push(row(40_000, "zero \0 byte"));
    let changes = [Changes { fresh: upserts.len(), upserts, ..Changes::default() }];
    // WHEN they are copied, with the first refused while the last are still to be sent
    for _ in 0..8 {
        let refused = bed.modern.apply(&changes, Position(7), Effort::Plain, &[]).await;
        assert!(matches!(refused, Ok(Applied::Refused { .. })), "{refused:?}");
    }
    // THEN all but that one are written in another way
    let done = bed.modern.apply(&changes, Position(7), Effort::Isolated, &[]).await;
    assert!(matches!(&done, Ok(Applied::Done { rejected, quarantined: 1 }) if rejected[0].row.key == Value::Int(40_000)), "{done:?}");
    assert_eq!(number(&mut copy, "SELECT count(*) FROM \"the new\".\"Item\" WHERE name <> 'old'").await, 40_000);
}
