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

#[tokio::test]
async fn values_that_cannot_be_moved_out_of_the_way_change_places() {
    let unique = ["small smallint", "day date", "moment timestamptz", "mood mood", "net inet", "number numeric(3,2)", "short short"];
    let columns: Vec<String> = unique.iter().map(|column| format!("{column} NOT NULL UNIQUE")).collect();
    let bed = Bed::new(&format!("{}, email text NOT NULL", columns.join(", ")), &[]).await;
    let mut modern = bed.app(Side::Modern).await;
    exec(&mut modern, "CREATE UNIQUE INDEX ON \"the new\".\"Item\" (lower(email))").await;
    let bed = bed.anew().await;
    let row = |key: i64, values: [&str; 7]| {
        let [day, moment, mood, net, number, short, email] = values.map(|text| Value::Text(text.into()));
        Row { key: Value::Int(key), values: vec![Value::Int(32_000 + key % 2), day, moment, mood, net, number, short, email] }
    };
    let one = ["2024-01-01", "2024-01-01 00:00:00", "sad", "10.0.0.1", "9.99", "a", "a@b"];
    let other = ["2024-01-02", "2024-01-02 00:00:00", "glad", "10.0.0.2", "9.98", "b", "B@b"];
    for (first, second) in [(one, other), (other, one)] {
        let upserts = vec![row(1, first), row(2, second)];
        let done = bed.modern.apply(&[Changes { upserts, ..Changes::default() }], Position(1), Effort::Isolated, &[]).await;
        assert!(matches!(done, Ok(Applied::Done { quarantined: 0, .. })), "{done:?}");
    }
    assert_eq!(
        text(&mut modern, "SELECT string_agg(email, ' ' ORDER BY legacy_id) FROM \"the new\".\"Item\"").await.as_deref(),
        Some("B@b a@b")
    );
}

#[tokio::test]
async fn rows_that_others_hang_on_are_not_removed_for_a_moment() {
    let bed = Bed::new("place int NOT NULL UNIQUE CHECK (place BETWEEN 0 AND 99)", &[]).await;
    let mut modern = bed.app(Side::Modern).await;
    let apply = async |rows: [(i64, i64); 2]| {
        let upserts = rows.map(|(key, place)| Row { key: Value::Int(key), values: vec![Value::Int(place)] }).to_vec();
        match bed.modern.apply(&[Changes { upserts, ..Changes::default() }], Position(1), Effort::Isolated, &[]).await.unwrap() {
            Applied::Done { quarantined, .. } => quarantined,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(apply([(1, 1), (2, 2)]).await, 0);
    for hangs in ["ON DELETE CASCADE", "", "ON DELETE SET NULL"] {
        exec(&mut modern, &format!("CREATE TABLE child (of bigint REFERENCES \"the new\".\"Item\" {hangs})")).await;
        exec(&mut modern, "INSERT INTO child VALUES (1), (2)").await;
        assert_eq!(apply([(1, 2), (2, 1)]).await, 2, "{hangs}");
        assert_eq!(number(&mut modern, "SELECT count(of) FROM child").await, 2, "{hangs}");
        exec(&mut modern, "DROP TABLE child").await;
    }
    let notices = "CREATE TABLE book (event text);
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.book VALUES (TG_OP); RETURN NULL; END $$";
    exec(&mut modern, notices).await;
    for event in ["DELETE", "INSERT"] {
        exec(&mut modern, &format!("CREATE TRIGGER keep AFTER {event} ON \"the new\".\"Item\" FOR EACH ROW EXECUTE FUNCTION keep()")).await;
        assert_eq!(apply([(1, 2), (2, 1)]).await, 2, "{event}");
        exec(&mut modern, "DROP TRIGGER keep ON \"the new\".\"Item\"").await;
    }
    assert_eq!(number(&mut modern, "SELECT count(*) FROM book").await, 0);
    assert_eq!(apply([(1, 2), (2, 1)]).await, 0);
}

#[tokio::test]
async fn a_key_that_changes_its_letters_only_keeps_its_row() {
    for (prepare, key) in [
        ("CREATE EXTENSION citext", "citext"),
        ("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)", "text COLLATE loose"),
    ] {
        let bed = Bed::new("name text NOT NULL UNIQUE", &[]).await;
        for (opened, side) in bed.opened.iter().zip([Side::Legacy, Side::Modern]) {
            opened.remove("test", side, 0).await.unwrap();
        }
        exec(&mut bed.app(Side::Legacy).await, "ALTER TABLE item ALTER id TYPE text").await;
        let mut modern = bed.app(Side::Modern).await;
        exec(&mut modern, &format!("{prepare}; ALTER TABLE \"the new\".\"Item\" ALTER legacy_id TYPE {key}")).await;
        let bed = bed.anew().await;
        for (many, effort) in
            [2, 1_200].into_iter().flat_map(|many| [Effort::Plain, Effort::Parked, Effort::Isolated].map(|effort| (many, effort)))
        {
            exec(&mut modern, "DELETE FROM \"the new\".\"Item\"").await;
            let rows = |letters: &str| -> Vec<Row> {
                let row = |id| Row { key: Value::Text(format!("{letters}{id}")), values: vec![Value::Text(format!("name {id}"))] };
                (0..many).map(row).collect()
            };
            let apply = async |upserts: Vec<Row>, deletes: Vec<Value>| {
                let done = bed.modern.apply(&[Changes { upserts, deletes, ..Changes::default() }], Position(1), effort, &[]).await;
                assert!(matches!(done, Ok(Applied::Done { quarantined: 0, .. })), "{key}, {effort:?}: {done:?}");
            };
            apply(rows("Abc"), Vec::new()).await;
            apply(rows("abc"), rows("Abc").into_iter().map(|row| row.key).collect()).await;
            let there = "SELECT count(*) FROM \"the new\".\"Item\" WHERE left(legacy_id::text COLLATE \"C\", 3) = 'abc'";
            assert_eq!(number(&mut modern, there).await, many, "{key}, {effort:?}");
        }
    }
}

#[tokio::test]
async fn a_sequence_that_the_key_only_asks_is_raised() {
    let numbers = "nextval('\"the new\".\"Numbers\"')";
    // Of one whose numbers something else is made of nobody knows how high it has to be.
    for (default, next) in [(numbers.to_owned(), 41), (format!("{numbers} * 10"), 1)] {
        let bed = Bed::new("name text", &[]).await;
        let mut modern = bed.app(Side::Modern).await;
        exec(&mut modern, "CREATE SEQUENCE \"the new\".\"Numbers\"").await;
        exec(&mut modern, &format!("ALTER TABLE \"the new\".\"Item\" ALTER legacy_id SET DEFAULT {default}")).await;
        let bed = bed.anew().await;
        bed.apply(&[Row { key: Value::Int(40), values: vec![Value::Text("copied".into())] }]).await;
        bed.modern.raise_sequence(0, bed.modern.sequence(0).await.unwrap()).await.unwrap();
        assert_eq!(number(&mut modern, &format!("SELECT {numbers}")).await, next, "{default}");
    }
}

#[tokio::test]
async fn events_are_kept_with_rows_that_are_written_while_others_wait() {
    let bed = Bed::new("name text, of int", &[]).await;
    let mut modern = bed.app(Side::Modern).await;
    exec(&mut modern, "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1)").await;
    exec(&mut modern, "ALTER TABLE \"the new\".\"Item\" ADD FOREIGN KEY (of) REFERENCES parent").await;
    bed.apply(&[Row { key: Value::Int(1), values: vec![Value::Text("old".into()), Value::Int(1)] }]).await;
    // GIVEN a row that goes, and one whose parent another stream has to bring
    let told = |number: u64, id: i64| Event {
        key: Value::Int(id),
        outgoing: Outgoing {
            number,
            bus: "bus".into(),
            id: format!("{number}"),
            kind: "item.changed".into(),
            subject: format!("{id}"),
            body: "{}".into(),
        },
    };
    let changes = [Changes {
        upserts: vec![Row { key: Value::Int(2), values: vec![Value::Text("new".into()), Value::Int(2)] }],
        deletes: vec![Value::Int(1)],
        events: vec![told(1, 1), told(2, 2)],
        ..Changes::default()
    }];
    let kept = async || bed.modern.outbox("bus", 10).await.unwrap().into_iter().map(|event| event.number).collect::<Vec<_>>();
    let apply = bed.modern.apply(&changes, Position(1), Effort::Isolated, &[]);
    let others = async {
        while number(&mut modern, "SELECT count(*) FROM \"the new\".\"Item\"").await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // THEN whoever would go on from here finds it told
        assert_eq!(kept().await, [1]);
        // and what has left is not told again.
        bed.modern.sent("bus", &[1]).await.unwrap();
        exec(&mut modern, "INSERT INTO parent VALUES (2)").await;
    };
    let (done, ()) = tokio::join!(apply, others);
    assert!(matches!(done, Ok(Applied::Done { quarantined: 0, .. })), "{done:?}");
    assert_eq!(kept().await, [2]);
}

#[tokio::test]
async fn columns_that_the_server_always_fills_take_what_is_carried() {
    let bed = Bed::new("name text, number int NOT NULL", &[]).await;
    let mut modern = bed.app(Side::Modern).await;
    let always =
        "ALTER TABLE \"the new\".\"Item\" ALTER legacy_id ADD GENERATED ALWAYS AS IDENTITY, ALTER number ADD GENERATED ALWAYS AS IDENTITY";
    exec(&mut modern, always).await;
    let bed = bed.anew().await;
    for many in [5, 700, 3_000] {
        for name in ["old", "new"] {
            let row = |key| Row { key: Value::Int(key), values: vec![Value::Text(name.into()), Value::Int(key + 7)] };
            bed.apply(&(1..=many).map(row).collect::<Vec<_>>()).await;
        }
        let right = "SELECT count(*) FROM \"the new\".\"Item\" WHERE name = 'new' AND number = legacy_id + 7";
        assert_eq!(number(&mut modern, right).await, many);
    }
    bed.modern.raise_sequence(0, bed.modern.sequence(0).await.unwrap()).await.unwrap();
    exec(&mut modern, "INSERT INTO \"the new\".\"Item\" (name) VALUES ('born here')").await;
    assert_eq!(number(&mut modern, "SELECT legacy_id FROM \"the new\".\"Item\" WHERE name = 'born here'").await, 3_001);
}
