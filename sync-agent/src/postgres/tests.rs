//! What the contract does not ask of every engine, against a real server.

use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::mapping::{Plan, Row, TableMap, Value, compile};
use sqlx::PgConnection;
use tokio::sync::mpsc;

use super::Server as Opened;
use crate::contract::postgres::server::{Server, attempt, exec, number, text};
use crate::error::Error;
use crate::port::{Applied, Batch, Changes, Effort, Engine, KeyRange, Piece, Position, Shared, Wanted};

/// Two databases with a table each, the copy's with `legacy_id` for `id`; both sides prepared, and it is our turn.
struct Bed {
    server: &'static Server,
    names: [String; 2],
    legacy: Shared,
    modern: Shared,
    plans: Vec<Plan>,
    opened: [Opened; 2],
}

impl Bed {
    async fn new(columns: &str, kept: &[&str]) -> Bed {
        Bed::on(Server::shared(), columns, kept).await
    }

    async fn on(server: &'static Server, columns: &str, kept: &[&str]) -> Bed {
        let names = [server.database().await, server.database().await];
        let types = "CREATE TYPE mood AS ENUM ('sad', 'so so', 'glad'); CREATE DOMAIN short AS varchar(10) CHECK (VALUE <> 'bad')";
        for (name, ddl) in names.iter().zip([
            format!("{types}; CREATE TABLE item (id int PRIMARY KEY, {columns})"),
            format!("{types}; CREATE SCHEMA \"the new\"; CREATE TABLE \"the new\".\"Item\" (legacy_id bigint PRIMARY KEY, {columns})"),
        ]) {
            exec(&mut server.app(name).await, &ddl).await;
        }
        let map = TableMap {
            source: "test.toml:1".into(),
            legacy: "item".into(),
            modern: "the new.Item".into(),
            legacy_key: "id".into(),
            modern_key: "legacy_id".into(),
            sequence: None,
            columns: Vec::new(),
            only: false,
            keep_legacy: kept.iter().map(|column| (*column).to_owned()).collect(),
            keep_modern: Vec::new(),
            rows: ficus_rules::mapping::Rows::default(),
        };
        let open = async |name: &String| Opened::open(&server.url(name), "test").await.unwrap();
        let opened = [open(&names[0]).await, open(&names[1]).await];
        let (legacy, modern) =
            (opened[0].columns(&["item".into()]).await.unwrap(), opened[1].columns(&["the new.Item".into()]).await.unwrap());
        let plans = compile("test", &[map], &legacy, &modern).unwrap();
        let bed = Bed {
            server,
            legacy: opened[0].side("test", Side::Legacy, &plans).await.unwrap(),
            modern: opened[1].side("test", Side::Modern, &plans).await.unwrap(),
            names,
            plans,
            opened,
        };
        bed.begin().await;
        bed
    }

    async fn begin(&self) {
        self.legacy.prepare().await.unwrap();
        self.modern.prepare().await.unwrap();
        self.legacy.claim(&self.modern.id().await.unwrap(), None).await.unwrap();
        self.modern.claim(&self.legacy.id().await.unwrap(), None).await.unwrap();
    }

    /// A new session on legacy, as after an error.
    async fn again(&mut self) {
        self.legacy = self.opened[0].side("test", Side::Legacy, &self.plans).await.unwrap();
        self.begin().await;
    }

    async fn app(&self, side: Side) -> PgConnection {
        self.server.app(&self.names[usize::from(side == Side::Modern)]).await
    }

    async fn snapshot(&self) -> (Position, Vec<Row>) {
        let (sender, mut pieces) = mpsc::channel(100);
        let position = self.legacy.snapshot(1_000, sender).await.unwrap();
        let mut rows = Vec::new();
        while let Some(piece) = pieces.recv().await {
            if let Piece::Rows(_, piece) = piece {
                rows.extend(piece);
            }
        }
        rows.sort_by_key(|row| format!("{:>30}", format!("{:?}", row.key)));
        (position, rows)
    }

    /// Reads on until everything that was committed is in it, in one.
    async fn read(&self, after: Position) -> Batch {
        let mut whole = self.legacy.read(after, 100_000, &[]).await.unwrap();
        while whole.upto < whole.end {
            let more = self.legacy.read(whole.upto, 100_000, &[]).await.unwrap();
            (whole.upto, whole.end) = (more.upto, more.end);
            whole.entries += more.entries;
            whole.touched.extend(more.touched);
            whole.rows[0].extend(more.rows.into_iter().flatten());
        }
        whole
    }

    async fn apply(&self, rows: &[Row]) {
        let upserts = rows.iter().map(|row| self.plans[0].forward(row).unwrap()).collect();
        let changes = [Changes { upserts, ..Changes::default() }];
        match self.modern.apply(&changes, Position(1), Effort::Plain, &[]).await {
            Ok(Applied::Done { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

const TYPES: &str = "small smallint, large bigint, number numeric, money numeric(12, 3), single real, double double precision, yes boolean,
    words text, brief varchar(20), padded char(8), bytes bytea, day date, clock time, zoned timetz, local timestamp, moment timestamptz, length interval,
    uid uuid, doc json, docb jsonb, mood mood, short short, numbers int[], texts text[], span int4range, address inet, net cidr, bits bit(3), place point, letter \"char\"";

const VALUES: [&str; 7] = [
    "1, -32768, 9223372036854775807, 1234567890123456789012345678901234567890.123450, 12.500, 0.1, 0.1, true, 'it''s \"ok\" \\ tab\t nl
 cr\r ☃', 'a', 'ab', '\\x00ff5c0a', '2026-11-20', '18:30:05.120', '18:30:05+02', '2026-11-20 18:30:05.000001', '2026-11-20 18:30:05+05:45', '1 year 2 mons -3 days 04:05:06.7',
     '550e8400-e29b-41d4-a716-446655440000', '{\"a\": 1.0,  \"a\": 2}', '{\"b\": [1, null, \"x\\ny\"]}', 'so so', 'ten chars!', '{1,NULL,3}', '{\"a,b\",\"\",NULL,\"\\\\\"}', '[1,5)', '10.0.0.1', '10.0.0.0/8', '101', '(1.5,-2)', 'x'",
    "2, 0, 0, 'NaN', 0, 'NaN', '-Infinity', false, '', '', '', '', 'infinity', '24:00:00', '00:00:00-15:59', '-infinity', 'infinity', '0',
     NULL, 'null', 'null', 'sad', '', '{}', '{}', 'empty', '::1', '::/0', '000', '(0,0)', ' '",
    "3, 1, -1, 100, -0.001, 1e30, 5e-324, true, '\\N', '\\.', 'x ', '\\x', '0044-03-15 BC', '00:00', '00:00+00', '0044-03-15 12:00:00 BC', '0044-03-15 12:00:00+00 BC', '-00:00:00.000001',
     '00000000-0000-0000-0000-000000000000', '[]', '{}', 'glad', 'x', '{{1,2},{3,4}}', '{NULL}', '(,)', '1.2.3.4/24', '1.2.3.4/32', '111', '(NaN,Infinity)', ''",
    "4, 2, 2, 1e-20, 1, '-0', '-0', NULL, 'NULL', NULL, NULL, NULL, '9999-12-31', '23:59:59.999999', NULL, '294276-12-31 23:59:59.999999', '4713-01-01 00:00:00+00 BC', '30 hours',
     NULL, '\"\\u2603\"', '1e400', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "5, NULL, NULL, 'Infinity', NULL, 'Infinity', 'Infinity', NULL, E'\\b\\f\\v', NULL, NULL, NULL, '-infinity', NULL, NULL, 'infinity', '-infinity', '1 day',
     NULL, NULL, NULL, NULL, NULL, '[0:1]={1,2}', NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "6, NULL, NULL, '-Infinity', NULL, NULL, 1.7976931348623157e308, NULL, repeat('long ☃', 20000), NULL, NULL, decode(repeat('00ff', 50000), 'hex'), NULL, NULL, NULL, NULL, NULL, '100000 hours 0.5 seconds',
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    "7, NULL, NULL, 0.00, NULL, NULL, 123456789.123456789, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '-1 mon',
     NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
];

/// Both tables as the server prints them, without what an equal number may be printed like.
async fn printed(connection: &mut PgConnection, table: &str, key: &str) -> String {
    let columns = "small, large, trim_scale(number), trim_scale(money), single, double, yes, words, brief, padded, bytes, day, clock, zoned, local, moment, length, uid, doc::text, docb, mood, short, numbers, texts, span, address, net, bits, place, letter";
    text(connection, &format!("SELECT string_agg(row({key}, {columns})::text, E'\\n' ORDER BY {key}) FROM {table}"))
        .await
        .unwrap_or_default()
}

#[tokio::test]
async fn every_type_keeps_its_value_on_every_way() {
    let bed = Bed::new(TYPES, &[]).await;
    let (mut legacy, mut modern) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    let start = bed.legacy.end_position().await.unwrap();
    for values in VALUES {
        exec(&mut legacy, &format!("INSERT INTO item VALUES ({values})")).await;
    }
    let (_, copied) = bed.snapshot().await;
    let selected = bed.legacy.chunk(0, &KeyRange::default(), 100).await.unwrap();
    let streamed = bed.read(start).await.rows.remove(0);
    assert_eq!(copied.len(), VALUES.len());
    assert_eq!(copied, selected);
    assert_eq!(copied, streamed);
    let column = |name: &str| bed.plans[0].legacy.columns.iter().position(|column| column == name).unwrap();
    assert_eq!(copied[0].values[column("moment")], Value::Text("2026-11-20 12:45:05".into()));
    assert_eq!(copied[0].values[column("padded")], Value::Text("ab".into()));
    assert_eq!(copied[2].values[column("length")], Value::Int(-1));
    assert_eq!(copied[3].values[column("length")], Value::Int(108_000_000_000));
    assert_eq!(copied[1].values[column("yes")], Value::Int(0));
    assert_eq!(copied[0].values[column("single")], Value::Real(f64::from(0.1_f32)));

    let there = printed(&mut legacy, "item", "id").await;
    bed.apply(&copied).await;
    assert_eq!(printed(&mut modern, "\"the new\".\"Item\"", "legacy_id").await, there, "as arrays");
    exec(&mut modern, "DELETE FROM \"the new\".\"Item\"").await;
    let mapped: Vec<Row> = copied.iter().map(|row| bed.plans[0].forward(row).unwrap()).collect();
    assert!(bed.modern.load(0, &mapped).await.unwrap().is_empty());
    assert_eq!(printed(&mut modern, "\"the new\".\"Item\"", "legacy_id").await, there, "by COPY");
}

#[tokio::test]
async fn values_that_nobody_thought_of_keep_as_well() {
    let bed = Bed::new(TYPES, &[]).await;
    let (mut legacy, mut modern) = (bed.app(Side::Legacy).await, bed.app(Side::Modern).await);
    let start = bed.legacy.end_position().await.unwrap();
    // Twice as many as a batch of arrays takes: these go by COPY.
    exec(
        &mut legacy,
        "INSERT INTO item (id, large, number, money, single, double, words, bytes, day, clock, local, moment, length, uid, docb, numbers, texts, span)
         SELECT i, (random() * 9e18)::int8 - 4500000000000000000, (random() * 10 ^ (random() * 40 - 20))::numeric, (random() * 1e8)::numeric(12, 3) * sign(random() - 0.5)::int,
           (random() * 10 ^ (random() * 60 - 30))::real, random() * 10 ^ (random() * 600 - 300), translate(md5(random()::text), 'abcdef012', E'\\t\\n\\r\\\\\"'',{}'),
           decode(md5(random()::text), 'hex'), date '4000-01-01 BC' + (random() * 4e6)::int, time '0:00' + random() * interval '1 day', timestamp '1900-01-01' + random() * interval '300 years',
           timestamptz '1900-01-01' + random() * interval '300 years', (random() * 1e6 - 5e5) * interval '1 second' + (random() * 3)::int * interval '1 mon', md5(random()::text)::uuid,
           jsonb_build_object(md5(random()::text), random()), ARRAY[(random() * 1e9)::int, NULL], ARRAY[translate(md5(random()::text), 'abc012', E'\\t,\"\\\\{}'), ''], int4range(0, (random() * 100)::int)
         FROM generate_series(1, 1500) AS i",
    )
    .await;
    let batch = bed.read(start).await;
    assert_eq!((batch.rows[0].len(), batch.entries, batch.upto), (1500, 1500, batch.end));
    let mut streamed = batch.rows[0].clone();
    streamed.sort_by_key(|row| format!("{:>30}", format!("{:?}", row.key)));
    assert_eq!(streamed, bed.snapshot().await.1);
    bed.apply(&streamed).await;
    assert_eq!(printed(&mut modern, "\"the new\".\"Item\"", "legacy_id").await, printed(&mut legacy, "item", "id").await);
}

#[tokio::test]
async fn a_value_that_is_too_long_is_refused_and_never_cut() {
    let bed = Bed::new("brief varchar(3), short short, padded char(2)", &[]).await;
    let row = |key, cells: [&str; 3]| Row { key: Value::Int(key), values: cells.map(|cell| Value::Text(cell.into())).to_vec() };
    let rows = vec![
        row(1, ["long", "x", "a"]),
        row(2, ["abc", "eleven char", "a"]),
        row(3, ["abc", "bad", "a"]),
        row(4, ["abc", "x", "abc"]),
        row(5, ["abc", "x", "ab"]),
    ];
    let changes = [Changes { upserts: rows, ..Changes::default() }];
    assert!(matches!(bed.modern.apply(&changes, Position(1), Effort::Plain, &[]).await, Ok(Applied::Refused { .. })));
    let Ok(Applied::Done { rejected, quarantined: 4 }) = bed.modern.apply(&changes, Position(1), Effort::Isolated, &[]).await else {
        panic!("set aside")
    };
    assert!(rejected.iter().all(|rejected| !rejected.reason.contains("eleven")), "{rejected:?}");
    assert_eq!(number(&mut bed.app(Side::Modern).await, "SELECT sum(legacy_id) FROM \"the new\".\"Item\"").await, 5);
}

#[tokio::test]
async fn values_out_of_line_survive_changes_that_do_not_write_them() {
    for kept in [&[][..], &["kept"][..]] {
        let mut bed = Bed::new("big text, name text, kept text", kept).await;
        let mut legacy = bed.app(Side::Legacy).await;
        exec(&mut legacy, "ALTER TABLE item ALTER big SET STORAGE EXTERNAL").await;
        bed.again().await;
        let start = bed.legacy.end_position().await.unwrap();
        exec(&mut legacy, "INSERT INTO item VALUES (1, repeat('b', 9000), 'one', 'k'), (2, repeat('c', 9000), 'two', 'k')").await;
        exec(&mut legacy, "UPDATE item SET name = 'uno' WHERE id = 1").await;
        exec(&mut legacy, "UPDATE item SET name = 'un' WHERE id = 1").await;
        let batch = bed.read(start).await;
        let find = |rows: &[Row], key: i64| rows.iter().rfind(|row| row.key == Value::Int(key)).cloned().unwrap();
        assert_eq!(find(&batch.rows[0], 1).values[..2], [Value::Text("b".repeat(9000)), Value::Text("un".into())]);
        // The insert is not in this batch any more.
        exec(&mut legacy, "UPDATE item SET name = 'deux' WHERE id = 2").await;
        let batch = bed.read(batch.upto).await;
        assert_eq!(find(&batch.rows[0], 2).values[..2], [Value::Text("c".repeat(9000)), Value::Text("deux".into())]);
    }
}

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
    let first = bed.legacy.read(start, 1, &[]).await.unwrap();
    assert_eq!((first.entries, first.touched[0].key.clone()), (1, Value::Int(100)), "the order is that of commits");
    assert!(first.upto < first.end);
    // The second transaction is longer than the limit.
    let second = bed.legacy.read(first.upto, 5, &[]).await.unwrap();
    assert_eq!((second.touched.len(), second.rows[0].len(), second.entries), (31, 30, 32), "a transaction is not divided");
    let repeated = bed.legacy.read(first.upto, 5, &[crate::port::Touched { pair: 0, key: Value::Int(101) }]).await.unwrap();
    assert_eq!((repeated.upto, repeated.touched.len(), repeated.rows[0].len()), (second.upto, 32, 31));
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
async fn a_server_on_another_timeline_is_refused() {
    let mut bed = Bed::new("name text", &[]).await;
    exec(&mut bed.app(Side::Legacy).await, "UPDATE _ficus.capture SET timeline = timeline + 1").await;
    bed.legacy = bed.opened[0].side("test", Side::Legacy, &bed.plans).await.unwrap();
    let Err(Error::Refused(why)) = bed.legacy.prepare().await else { panic!("refused") };
    assert!(why.contains("timeline") && why.contains("remove the capability"), "{why}");
}

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
    for (setting, value) in super::url::SETTINGS {
        let found = text(&mut connection, &format!("SELECT current_setting('{setting}')")).await.unwrap();
        // The driver sends its own; they mean the same from 1 on.
        let value = if setting == "extra_float_digits" { "2" } else { value };
        assert_eq!(found.replace(", ", ","), value, "{setting}");
    }
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
async fn a_table_gets_its_identity_back_by_an_index_of_another_schema() {
    let bed = Bed::new("name text NOT NULL", &[]).await;
    let mut modern = bed.app(Side::Modern).await;
    exec(&mut modern, "CREATE UNIQUE INDEX \"By name\" ON \"the new\".\"Item\" (name)").await;
    bed.opened[1].remove("test", Side::Modern).await.unwrap();
    exec(&mut modern, "ALTER TABLE \"the new\".\"Item\" REPLICA IDENTITY USING INDEX \"By name\"").await;
    bed.opened[1].side("test", Side::Modern, &bed.plans).await.unwrap().prepare().await.unwrap();
    let identity = "SELECT relreplident::text FROM pg_class WHERE relname = 'Item'";
    assert_eq!(text(&mut modern, identity).await.as_deref(), Some("f"));
    bed.opened[1].remove("test", Side::Modern).await.unwrap();
    assert_eq!(text(&mut modern, identity).await.as_deref(), Some("i"));
}

#[tokio::test]
async fn rows_that_cannot_be_told_apart_and_keys_with_zero_bytes_are_set_aside() {
    let bed = Bed::new("name text", &[]).await;
    let row = |key: Value, name: &str| Row { key, values: vec![Value::Text(name.into())] };
    let twice = [Changes { upserts: vec![row(Value::Int(1), "a"), row(Value::Text("1".into()), "b")], ..Changes::default() }];
    let refused = bed.modern.apply(&twice, Position(1), Effort::Plain, &[]).await.unwrap();
    assert!(matches!(refused, Applied::Refused { .. }), "{refused:?}");
    let zero =
        [Changes { upserts: vec![row(Value::Text("a\0b".into()), "a")], deletes: vec![Value::Text("c\0d".into())], ..Changes::default() }];
    for _ in 0..2 {
        let Applied::Done { quarantined, .. } = bed.modern.apply(&zero, Position(2), Effort::Isolated, &[]).await.unwrap() else {
            panic!("applied")
        };
        assert_eq!(quarantined, 1);
    }
    bed.legacy.touch(&[crate::port::Touched { pair: 0, key: Value::Text("a\0b".into()) }]).await.unwrap();
}
