//! What the contract does not ask of every engine.

use std::sync::Arc;
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::mapping::{Row, TableMap, Value, compile};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, SqliteConnection};
use tokio::sync::watch;

use super::{File, sql};
use crate::apply::Applier;
use crate::error::Error;
use crate::port::{Applied, Changes, Direction, Effort, Engine, KeyRange, Position, Shared, Touched};
use crate::state::State;
use crate::stream::Stream;

/// Two files with a table each, both sides prepared, and it is our turn.
struct Bed {
    dir: tempfile::TempDir,
    plans: Vec<ficus_rules::mapping::Plan>,
    legacy: Shared,
    modern: Shared,
    files: [File; 2],
}

impl Bed {
    async fn new() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (name, ddl) in [
            ("legacy", "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)"),
            ("modern", "CREATE TABLE item (legacy_id INTEGER PRIMARY KEY, name TEXT)"),
        ] {
            exec(&mut app(&dir, name).await, ddl).await;
            files.push(File::open(&format!("sqlite://{}", dir.path().join(name).display()), name).await.unwrap());
        }
        let map = TableMap {
            source: "test.toml:1".into(),
            legacy: "item".into(),
            modern: "item".into(),
            legacy_key: "id".into(),
            modern_key: "legacy_id".into(),
            sequence: None,
            columns: Vec::new(),
            only: false,
            keep_legacy: Vec::new(),
            keep_modern: Vec::new(),
            zero_dates: ficus_rules::mapping::ZeroDates::default(),
            rows: ficus_rules::mapping::Rows::default(),
            events: Vec::new(),
        };
        let files: [File; 2] = files.try_into().unwrap();
        let (of_legacy, of_modern) = (files[0].columns(&["item".into()]).await.unwrap(), files[1].columns(&["item".into()]).await.unwrap());
        let plans = compile("test", &[map], &of_legacy, &of_modern).unwrap();
        let legacy = files[0].side("test", Side::Legacy, &plans).await.unwrap();
        let modern = files[1].side("test", Side::Modern, &plans).await.unwrap();
        for (side, other) in [(&legacy, &modern), (&modern, &legacy)] {
            side.prepare().await.unwrap();
            other.prepare().await.unwrap();
            side.claim(&other.id().await.unwrap(), None).await.unwrap();
        }
        Bed { dir, plans, legacy, modern, files }
    }
}

async fn app(dir: &tempfile::TempDir, name: &str) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(dir.path().join(name)).create_if_missing(true);
    options.journal_mode(SqliteJournalMode::Wal).busy_timeout(Duration::from_secs(120)).connect().await.unwrap()
}

async fn exec(connection: &mut SqliteConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

#[tokio::test]
async fn nothing_to_prune_waits_for_nobody() {
    let bed = Bed::new().await;
    let mut other = app(&bed.dir, "legacy").await;
    exec(&mut other, "INSERT INTO item VALUES (1, 'one')").await;
    bed.legacy.confirm(bed.legacy.end_position().await.unwrap()).await.unwrap();
    exec(&mut other, "BEGIN IMMEDIATE").await;
    bed.legacy.confirm(bed.legacy.end_position().await.unwrap()).await.unwrap();
    exec(&mut other, "INSERT INTO item VALUES (2, 'two'); COMMIT").await;
    let end = bed.legacy.end_position().await.unwrap();
    bed.legacy.confirm(end).await.unwrap();
    assert_eq!(bed.legacy.pruned().await.unwrap(), end);
}

/// The entries of a capability that stands still are not gone through by the others again and again; and no index on the log, which the
/// application would write, is needed for that.
#[tokio::test]
async fn the_log_is_read_and_pruned_from_where_it_was_left() {
    let bed = Bed::new().await;
    let mut other = app(&bed.dir, "legacy").await;
    exec(&mut other, "CREATE INDEX _ficus_log_scope ON _ficus_log (scope)").await;
    bed.legacy.prepare().await.unwrap();
    // Another connection: what is only explained is explained by the schema that was known.
    let mut other = app(&bed.dir, "legacy").await;
    for query in [super::capture::PRUNABLE, super::capture::ENTRIES, super::capture::LEFT, super::capture::FORGET] {
        let steps = sql::all(&mut other, &format!("EXPLAIN QUERY PLAN {query}"), &[]).await.unwrap();
        let steps = format!("{steps:?}");
        assert!(steps.contains("SEARCH _ficus_log USING INTEGER PRIMARY KEY (rowid>?"), "{query}: {steps}");
    }
    // Ours are between those of another one.
    let entry = "INSERT INTO _ficus_log (scope, pair, key, at) VALUES ('still/legacy', 'item', 9, 0)";
    exec(&mut other, &format!("{entry}; INSERT INTO item VALUES (1, 'one'), (2, 'two'); {entry}")).await;
    for at_most in [2, 4] {
        bed.legacy.confirm(Position(at_most)).await.unwrap();
        let ours = sql::one(&mut other, "SELECT count(*) FROM _ficus_log WHERE scope <> 'still/legacy'", &[]).await.unwrap();
        assert_eq!(ours, Some(Value::Int(i64::from(at_most == 2))));
    }
    assert_eq!(bed.legacy.pruned().await.unwrap(), Position(3));
    // There was nothing of ours between 3 and 4, and it is not looked for again.
    bed.legacy.confirm(Position(4)).await.unwrap();
    exec(&mut other, "INSERT INTO _ficus_log (seq, scope, pair, key, at) SELECT 3, min(scope), 'item', 9, 0 FROM _ficus_fence").await;
    bed.legacy.confirm(Position(4)).await.unwrap();
    let all = sql::one(&mut other, "SELECT group_concat(seq) FROM _ficus_log", &[]).await.unwrap();
    assert_eq!(all, Some(Value::Text("1,3,4".into())));
}

/// What a commit without an answer has written is compared by the next verification of what has changed.
#[tokio::test]
async fn a_batch_of_which_nothing_is_known_is_remembered() {
    let bed = Bed::new().await;
    let mut other = app(&bed.dir, "legacy").await;
    exec(&mut other, "INSERT INTO item VALUES (7, 'seven')").await;
    let state = Arc::new(State::new("test", watch::Sender::default()));
    state.take_dirty().settle();
    // Whatever is written, there is no good answer: it is another agent's turn.
    let another = bed.files[1].side("test", Side::Modern, &bed.plans).await.unwrap();
    another.claim(&bed.legacy.id().await.unwrap(), None).await.unwrap();
    let applier = Applier {
        source: Arc::clone(&bed.legacy),
        sink: Arc::clone(&bed.modern),
        plans: Arc::new(bed.plans.clone()),
        direction: Direction::Forward,
        state: Arc::clone(&state),
    };
    let stop = watch::Sender::new(false);
    let stream = Stream {
        parts: false,
        applier,
        state: Arc::clone(&state),
        position: Position(0),
        poll: Duration::from_millis(5),
        batch_rows: 100,
        stop: stop.subscribe(),
    };
    assert!(matches!(stream.run().await, Err(Error::Superseded)));
    let dirty = state.take_dirty().keys.by_pair().unwrap();
    assert_eq!(dirty.into_values().flatten().collect::<Vec<_>>(), [Value::Int(7)]);
}

/// A log of a release that said by the sign of the time what it had asked for: its entries keep what they mean, also those that its
/// triggers go on to write until they are made anew.
#[tokio::test]
async fn the_log_of_an_older_release_is_read_on() {
    let bed = Bed::new().await;
    bed.legacy.close_gaps(&[0]).await.unwrap();
    let mut other = app(&bed.dir, "legacy").await;
    exec(
        &mut other,
        "INSERT INTO item VALUES (1, 'one'), (2, 'two'), (3, 'three'); UPDATE _ficus_log SET what = 0, at = CASE key WHEN 2 THEN -at ELSE at END",
    )
    .await;
    // As its trigger was.
    let (name, sql): (String, String) = sqlx::query_as("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%ai'")
        .fetch_one(&mut other)
        .await
        .unwrap();
    let older = sql.replace(", \"what\")", ")").replace("julianday('now'), 1 WHERE", "julianday('now') WHERE");
    assert!(!older.contains("what") && older.len() + 11 == sql.len(), "{sql}");
    exec(&mut other, &format!("DROP TRIGGER {name}; ALTER TABLE _ficus_log DROP COLUMN what; {older}")).await;
    let legacy = bed.files[0].side("test", Side::Legacy, &bed.plans).await.unwrap();
    legacy.prepare().await.unwrap();
    assert!(legacy.gaps().await.unwrap().is_empty());
    exec(&mut other, "INSERT INTO item VALUES (4, 'four')").await;
    legacy.claim(&bed.modern.id().await.unwrap(), None).await.unwrap();
    legacy.touch(&[Touched { pair: 0, key: Value::Int(5) }]).await.unwrap();
    let batch = legacy.read(Position(0), 100, &[]).await.unwrap();
    let keys = |asked: bool| {
        let touched = batch.touched.iter().enumerate().filter(|(at, _)| batch.asked.contains(at) == asked);
        touched.map(|(_, touched)| touched.key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(keys(true), [Value::Int(2), Value::Int(5)]);
    assert_eq!(keys(false), [Value::Int(1), Value::Int(3), Value::Int(4)]);
    assert!((0.0..60.0).contains(&batch.age), "{}", batch.age);
    // Once only.
    legacy.prepare().await.unwrap();
    assert_eq!(legacy.read(Position(0), 100, &[]).await.unwrap().asked, batch.asked);
}

#[tokio::test]
async fn a_table_s_own_numbers_go_on_above_those_of_the_other_side() {
    let bed = Bed::new().await;
    let mut other = app(&bed.dir, "modern").await;
    exec(&mut other, "DROP TABLE item; CREATE TABLE item (legacy_id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)").await;
    let modern = bed.files[1].side("test", Side::Modern, &bed.plans).await.unwrap();
    modern.prepare().await.unwrap();
    modern.claim(&bed.legacy.id().await.unwrap(), None).await.unwrap();
    // The row with the number 41 was deleted on legacy.
    modern.raise_sequence(0, 41).await.unwrap();
    exec(&mut other, "INSERT INTO item (name) VALUES ('born here')").await;
    let number = sqlx::query_scalar::<_, i64>("SELECT legacy_id FROM item").fetch_one(&mut other).await.unwrap();
    assert_eq!(number, 42);
}

#[tokio::test]
async fn a_full_disk_is_no_row_s_fault() {
    let bed = Bed::new().await;
    let limit = async |pages: i64| {
        let mut connection = bed.files[1].write.acquire().await.unwrap();
        sql::one(&mut connection, &format!("PRAGMA max_page_count = {pages}"), &[]).await.unwrap();
    };
    let row = |key: i64| Row { key: Value::Int(key), values: vec![Value::Text("x".repeat(4_000))] };
    let changes = [Changes { upserts: (0..200).map(row).collect(), ..Changes::default() }];
    // It is never less than what there is.
    limit(1).await;
    for effort in [Effort::Plain, Effort::Parked, Effort::Isolated] {
        let full = bed.modern.apply(&changes, Position(7), effort, &[]).await;
        assert!(matches!(full, Err(Error::Database { .. })), "{effort:?}: {full:?}");
    }
    assert_eq!(bed.modern.chunk(0, &KeyRange::default(), 10).await.unwrap(), []);
    limit(100_000).await;
    let done = bed.modern.apply(&changes, Position(7), Effort::Plain, &[]).await;
    assert!(matches!(done, Ok(Applied::Done { quarantined: 0, .. })), "{done:?}");
}

#[tokio::test]
async fn rows_are_not_removed_for_a_moment_where_a_trigger_would_notice() {
    let bed = Bed::new().await;
    let mut other = app(&bed.dir, "modern").await;
    exec(
        &mut other,
        "DROP TABLE item; CREATE TABLE item (legacy_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE CHECK (length(name) = 1))",
    )
    .await;
    let modern = bed.files[1].side("test", Side::Modern, &bed.plans).await.unwrap();
    modern.prepare().await.unwrap();
    modern.claim(&bed.legacy.id().await.unwrap(), None).await.unwrap();
    let apply = async |names: [&str; 2]| {
        let row = |(key, name): (i64, &str)| Row { key: Value::Int(key), values: vec![Value::Text(name.into())] };
        let changes = [Changes { upserts: [1, 2].into_iter().zip(names).map(row).collect(), ..Changes::default() }];
        match modern.apply(&changes, Position(1), Effort::Isolated, &[]).await.unwrap() {
            Applied::Done { quarantined, .. } => quarantined,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((apply(["a", "b"]).await, apply(["b", "a"]).await), (0, 0));
    exec(&mut other, "CREATE TABLE book (count); INSERT INTO book VALUES (0)").await;
    for event in ["DELETE", "INSERT"] {
        exec(&mut other, &format!("CREATE TRIGGER keep AFTER {event} ON item BEGIN UPDATE book SET count = count + 1; END")).await;
        assert_eq!(apply(["a", "b"]).await, 2, "{event}");
        exec(&mut other, "DROP TRIGGER keep").await;
    }
    assert_eq!(sql::one(&mut other, "SELECT count FROM book", &[]).await.unwrap(), Some(Value::Int(0)));
    assert_eq!(apply(["a", "b"]).await, 0);
}
