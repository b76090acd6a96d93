//! What every engine must pass, whatever it is: the promises of [`crate::port`] that the loops lean on. An engine hands
//! in a [`Bed`]: two databases with the tables below, and a way to write to them as a stranger.

use async_trait::async_trait;
use ficus_rules::Side;
use ficus_rules::mapping::{ColumnMap, ColumnSource, Plan, Row, TableMap, Value, compile};
use tokio::sync::mpsc;

use crate::error::Error;
use crate::port::{Applied, Changes, Copied, Effort, Engine, Event, KeyRange, Left, Load, Outgoing, Piece, Position, Shared};
use crate::quarantine::{Image, Kept};

/// Legacy has `item (id, name UNIQUE, kept)`, modern `things (id text key, legacy_id UNIQUE, title UNIQUE)`.
#[async_trait]
pub(crate) trait Bed: Send + Sync {
    fn engine(&self, side: Side) -> &dyn Engine;
    /// Runs a statement as an application would.
    async fn stranger(&self, side: Side, sql: &str) -> Result<(), String>;
    /// Whether the log forgets what is confirmed. Other engines keep it as long as their server does.
    fn forgets(&self) -> bool {
        true
    }
}

/// The position of a snapshot, and the keys of its rows.
async fn snapshot(source: &Shared, left: &[Left]) -> (Position, Vec<Value>) {
    let (sender, mut pieces) = mpsc::channel(8);
    source.snapshot(left, &[], 100, sender).await.expect("a snapshot");
    let Some(Piece::Begins(position, total)) = pieces.recv().await else { panic!("it begins") };
    let mut keys = Vec::new();
    while let Some(piece) = pieces.recv().await {
        let Piece::Rows(_, rows) = piece else { panic!("it begins once") };
        keys.extend(rows.into_iter().map(|row| row.key));
    }
    assert_eq!(total, keys.len() as u64);
    (position, keys)
}

/// Rows that change places, and one that is refused, where a check may not want the values anywhere else: by the check, whether they
/// can be moved out of the way, and whether the rows have a column of their own.
const CHECKS: [(&str, bool, bool); 3] =
    [("place >= 0", true, true), ("place BETWEEN 0 AND 99", false, false), ("place BETWEEN 0 AND 99", false, true)];

/// Whom a check refuses is set aside, and nobody else.
async fn contended(bed: &dyn Bed) {
    bed.stranger(Side::Legacy, "CREATE TABLE seat (id integer PRIMARY KEY, place integer NOT NULL)").await.expect("creates");
    for (number, (check, parks, own)) in CHECKS.into_iter().enumerate() {
        let (name, note) = (format!("seats{number}"), if own { ", note integer" } else { "" });
        let ddl = format!("CREATE TABLE {name} (legacy_id integer PRIMARY KEY, place integer NOT NULL UNIQUE{note}, CHECK ({check}))");
        bed.stranger(Side::Modern, &ddl).await.expect("creates");
        let map = TableMap {
            legacy: "seat".into(),
            modern: name.clone(),
            columns: Vec::new(),
            keep_legacy: Vec::new(),
            keep_modern: if own { vec!["note".into()] } else { Vec::new() },
            ..map()
        };
        let legacy = bed.engine(Side::Legacy).columns(&["seat".into()]).await.expect("columns");
        let modern = bed.engine(Side::Modern).columns(std::slice::from_ref(&name)).await.expect("columns");
        let plans = compile(&name, &[map], &legacy, &modern).expect("compiles");
        let sink = bed.engine(Side::Modern).side(&name, Side::Modern, &plans).await.expect("a side");
        sink.prepare().await.expect("prepares");
        sink.claim("a database", None).await.expect("a turn");
        let row = |(id, place): (i64, i64)| Row { key: Value::Int(id), values: vec![Value::Int(place)] };
        let apply = async |rows: &[(i64, i64)], effort| {
            let upserts = rows.iter().copied().map(row).collect();
            sink.apply(&[Changes { upserts, ..Changes::default() }], Position(5), effort, &[]).await.expect("answers")
        };
        let first: Vec<(i64, i64)> = (1..=20).map(|id| (id, id)).collect();
        assert!(matches!(apply(&first, Effort::Plain).await, Applied::Done { .. }));
        let parked = apply(&[(19, 20), (20, 19)], Effort::Parked).await;
        assert_eq!(matches!(parked, Applied::Done { .. }), parks, "{check}: {parked:?}");
        // WHEN two change places, most move, and one is refused
        let moved: Vec<(i64, i64)> = (1..=18)
            .map(|id| match id {
                1 => (1, 2),
                2 => (2, 1),
                5 => (5, -5),
                _ => (id, id + 40),
            })
            .collect();
        let Applied::Done { rejected, .. } = apply(&moved, Effort::Isolated).await else { panic!("isolated") };
        // THEN the others are written, but for those that would lose something by it
        let expected: &[i64] = if parks || !own { &[5] } else { &[1, 2, 5] };
        let aside = rejected.iter().filter(|rejected| expected.iter().any(|id| rejected.row.key == Value::Int(*id)));
        assert_eq!((aside.count(), rejected.len()), (expected.len(), expected.len()), "{check}: {rejected:?}");
        let there = sink.chunk(0, &KeyRange { after: None, through: Some(Value::Int(18)) }, 100).await.expect("a chunk");
        let there: Vec<(Value, Value)> = there.into_iter().map(|row| (row.key, row.values[0].clone())).collect();
        let wanted = moved.iter().map(|(id, place)| (*id, if expected.contains(id) { *id } else { *place }));
        assert_eq!(there, wanted.map(|(id, place)| (Value::Int(id), Value::Int(place))).collect::<Vec<_>>(), "{check}");
        bed.engine(Side::Modern).remove(&name, Side::Modern, 0).await.expect("removes");
    }
}

/// What was copied is remembered with the rows, refused or not, and forgotten with them.
async fn copies(bed: &dyn Bed, sink: &Shared) {
    let plan = &plans(bed).await[0];
    let thing = |id: i64, name: &str| plan.forward(&Row { key: Value::Int(id), values: vec![Value::Text(name.into())] }).expect("maps");
    let noted = |rows, left| Copied { pair: "item".to_owned(), plan: "a plan".to_owned(), rows, left };
    sink.note_copied(&[noted(0, Left::All)]).await.expect("notes");
    assert_eq!(sink.copied().await.expect("asks"), [noted(0, Left::All)]);
    for (rows, copied, refused) in [
        (vec![thing(1, "one"), thing(2, "two")], noted(2, Left::After(Value::Int(2))), 0),
        (vec![thing(3, "three"), thing(4, "two")], noted(4, Left::After(Value::Text("4".to_owned()))), 1),
        (Vec::new(), noted(4, Left::Nothing), 0),
    ] {
        let load = Load { copied: Some(copied.clone()), ..sink.ready(0, rows) };
        assert_eq!(sink.load(load).await.expect("loads").len(), refused);
        assert_eq!(sink.copied().await.expect("asks"), [copied]);
    }
    assert_eq!(sink.chunk(0, &KeyRange::default(), 10).await.expect("a chunk").len(), 3);
    sink.empty().await.expect("empties");
    assert_eq!(sink.copied().await.expect("asks"), []);
    assert_eq!(sink.chunk(0, &KeyRange::default(), 10).await.expect("a chunk").len(), 0);
}

pub(crate) async fn holds(bed: &dyn Bed) {
    let legacy_side = side(bed, Side::Legacy).await;
    let modern_side = side(bed, Side::Modern).await;
    let (source, sink) = (&legacy_side, &modern_side);
    bed.stranger(Side::Legacy, "INSERT INTO item VALUES (1, 'one', 'k'), (2, 'two', 'k')").await.expect("no fence yet");
    for database in [source, sink] {
        database.prepare().await.expect("prepares");
        database.prepare().await.expect("prepares twice");
    }

    // Gaps are remembered until they are closed; capture that has just begun is one.
    source.claim(&sink.id().await.expect("an id"), None).await.expect("a turn");
    assert_eq!(source.gaps().await.expect("asks"), [0]);
    source.set_unseen(Some(7)).await.expect("notes");
    source.set_unseen(Some(17)).await.expect("notes another");
    source.close_gaps(&[0]).await.expect("closes");
    assert_eq!((source.gaps().await.expect("asks"), source.unseen().await.expect("asks")), (vec![], Some(17)));
    source.set_unseen(None).await.expect("takes it back");
    assert_eq!(source.unseen().await.expect("asks"), None);
    source.open_gaps(&[0]).await.expect("opens");
    source.open_gaps(&[0]).await.expect("opens twice");
    assert_eq!(source.gaps().await.expect("asks"), [0]);
    source.close_gaps(&[0]).await.expect("closes");

    // A snapshot is exact: what is in it is not in the log after it.
    let (position, keys) = snapshot(source, &[]).await;
    assert_eq!(keys, [Value::Int(1), Value::Int(2)]);
    // One that goes on has what is left, and says how much that is.
    assert_eq!(snapshot(source, &[Left::After(Value::Int(1))]).await.1, [Value::Int(2)]);
    assert_eq!(snapshot(source, &[Left::Nothing]).await.1, []);
    assert_eq!(source.read(position, 10, &[]).await.expect("reads").entries, 0);

    // Orders grow old.
    for database in [source, sink] {
        for epoch in [0, 1, 1, 2] {
            database.obey(epoch).await.expect("newer, or the same");
        }
        assert!(matches!(database.obey(1).await, Err(Error::Outdated { ordered: 1, known: 2, .. })));
        database.prepare().await.expect("prepares again");
        assert!(matches!(database.obey(0).await, Err(Error::Outdated { ordered: 0, known: 2, .. })), "it is forgotten by no start");
    }

    // Whoever claims last has the turn.
    let id = source.id().await.expect("an id");
    let first = sink.claim(&id, None).await.expect("a turn");
    assert_eq!((first.position, first.backfilled), (None, false));
    assert!(matches!(sink.claim("another database", None).await, Err(Error::Refused(_))));
    sink.claim(&id, None).await.expect("a turn");
    copies(bed, sink).await;
    sink.begin_at(position, true).await.expect("begins");
    let quiet = sink.end_position().await.expect("an end");

    // Keys are logged whoever is displaced; kept columns are not.
    bed.stranger(Side::Legacy, "REPLACE INTO item VALUES (3, 'two', 'k')").await.expect("open");
    bed.stranger(Side::Legacy, "UPDATE item SET kept = 'other' WHERE id = 1").await.expect("open");
    let batch = source.read(position, 10, &[]).await.expect("reads");
    let mut keys: Vec<String> = batch.touched.iter().map(|touched| format!("{:?}", touched.key)).collect();
    keys.sort();
    assert_eq!(keys, ["Int(2)", "Int(3)"]);
    // Others may write to the same server: its end may lie further than the last entry.
    assert_eq!((batch.rows[0].len(), batch.left), (1, 0));
    assert!(position < batch.upto && batch.upto <= batch.end);

    // Rows and position are one; unique values may change hands inside a batch.
    let plan = &plans(bed).await[0];
    let thing = |id: i64, name: &str| plan.forward(&Row { key: Value::Int(id), values: vec![Value::Text(name.into())] }).expect("maps");
    let apply = async |upserts: Vec<Row>, effort, at| sink.apply(&[Changes { upserts, ..Changes::default() }], at, effort, &[]).await;
    let done = apply(vec![thing(1, "one"), thing(3, "two")], Effort::Plain, batch.upto).await;
    assert!(matches!(done, Ok(Applied::Done { quarantined: 0, .. })));
    let swap = || vec![thing(1, "two"), thing(3, "one")];
    assert!(matches!(apply(swap(), Effort::Plain, Position(90)).await, Ok(Applied::Refused { .. })));
    let held = sink.claim(&id, None).await.expect("a turn");
    assert_eq!(held.position, Some(batch.upto), "a refused batch moves nothing");
    assert!(matches!(apply(swap(), Effort::Parked, batch.upto).await, Ok(Applied::Done { .. })));
    let contested = vec![thing(7, "one"), thing(8, "eight")];
    match apply(contested, Effort::Isolated, batch.upto).await {
        Ok(Applied::Done { rejected, quarantined: 1 }) => assert_eq!(rejected[0].row.key, Value::Int(7)),
        other => panic!("one row set aside: {other:?}"),
    }
    let titles = sink.chunk(0, &KeyRange { after: Some(Value::Int(1)), through: Some(Value::Int(8)) }, 10).await.expect("a chunk");
    assert_eq!(titles.iter().map(|row| row.key.clone()).collect::<Vec<_>>(), [Value::Int(3), Value::Int(8)]);

    // What is set aside is kept with both images, until it can be written.
    let aside = sink.set_aside(10).await.expect("asks");
    let [Kept { pair, key, at, reason, wanted: Image::Text(wanted), there: Image::None }] = aside.as_slice() else {
        panic!("one row that was to be written and is not there: {aside:?}");
    };
    assert_eq!((pair.as_str(), key.as_str()), ("item", "7"));
    assert!(crate::state::now().0.abs_diff(*at) < 3_600_000 && !reason.is_empty(), "{aside:?}");
    let wanted: serde_json::Value = serde_json::from_str(wanted).expect("JSON");
    assert_eq!((&wanted["legacy_id"], &wanted["title"]), (&7.into(), &"one".into()));
    let displaced = vec![thing(3, "eight")];
    assert!(matches!(apply(displaced, Effort::Isolated, batch.upto).await, Ok(Applied::Done { quarantined: 2, .. })));
    let aside = sink.set_aside(10).await.expect("asks");
    let of_three = aside.iter().find(|kept| kept.key == "3").expect("the other one");
    assert!(matches!(&of_three.there, Image::Text(there) if there.contains("\"one\"")), "{of_three:?}");
    assert_eq!(sink.set_aside(1).await.expect("asks").len(), 1);
    assert!(matches!(
        apply(vec![thing(3, "one"), thing(7, "seven")], Effort::Isolated, batch.upto).await,
        Ok(Applied::Done { quarantined: 0, .. })
    ));
    assert_eq!(sink.set_aside(10).await.expect("asks"), []);

    // Events are kept with their rows, or neither is; by bus, in order; of rows that are set aside none.
    let told = |number: u64, id: i64, bus: &str| Event {
        key: Value::Int(id),
        outgoing: Outgoing {
            number,
            bus: bus.into(),
            id: format!("{number:036}"),
            kind: "thing.updated".into(),
            subject: format!("it's {id}"),
            body: format!("{{\"of\": {id}}}"),
        },
    };
    let tell = async |upserts: Vec<Row>, events: Vec<Event>, effort| {
        let changes = [Changes { upserts, events, ..Changes::default() }];
        sink.apply(&changes, batch.upto, effort, &[]).await.expect("answers")
    };
    let kept = async |bus, at_most| sink.outbox(bus, at_most).await.expect("asks");
    let numbers = async |bus| kept(bus, 10).await.iter().map(|event| event.number).collect::<Vec<_>>();
    assert_eq!(sink.last_event().await.expect("asks"), 0);
    let (one, two) = (told(1 << 50, 20, "bus"), told((1 << 50) + 1, 20, "other"));
    let done = tell(vec![thing(20, "twenty")], vec![one.clone(), two.clone()], Effort::Plain).await;
    assert!(matches!(done, Applied::Done { .. }), "{done:?}");
    assert_eq!(kept("bus", 10).await, [one.outgoing]);
    assert_eq!(kept("other", 10).await, [two.outgoing]);
    let refused = tell(vec![thing(21, "one")], vec![told((1 << 50) + 2, 21, "bus")], Effort::Plain).await;
    assert!(matches!(refused, Applied::Refused { .. }), "{refused:?}");
    assert_eq!(numbers("bus").await, [1 << 50]);
    let events = vec![told((1 << 50) + 3, 21, "bus"), told((1 << 50) + 4, 22, "bus")];
    let done = tell(vec![thing(21, "one"), thing(22, "twenty-two")], events, Effort::Isolated).await;
    assert!(matches!(&done, Applied::Done { rejected, .. } if rejected.len() == 1), "{done:?}");
    assert_eq!(numbers("bus").await, [1 << 50, (1 << 50) + 4]);
    assert!(matches!(tell(vec![thing(21, "free")], Vec::new(), Effort::Isolated).await, Applied::Done { quarantined: 0, .. }));
    assert_eq!((sink.waiting("bus").await.expect("asks"), sink.last_event().await.expect("asks")), (2, (1 << 50) + 4));
    assert_eq!(kept("bus", 1).await.len(), 1);
    sink.sent("bus", &[1 << 50]).await.expect("forgets");
    assert_eq!((numbers("bus").await, numbers("other").await), (vec![(1 << 50) + 4], vec![(1 << 50) + 1]));
    // What is read at once is bounded in bytes, and never nothing.
    let large = |number: u64| {
        let mut event = told(number, 22, "bus");
        event.outgoing.body = "x".repeat(3 << 20);
        event
    };
    let three = ((1 << 50) + 5..(1 << 50) + 8).map(large).collect();
    assert!(matches!(tell(vec![thing(22, "large")], three, Effort::Plain).await, Applied::Done { .. }));
    assert_eq!(numbers("bus").await.len(), 3, "less than 4 MiB before the last");
    // One that came to the outbox behind a higher one stays until it has left as well.
    sink.sent("bus", &[(1 << 50) + 5, (1 << 50) + 7]).await.expect("forgets");
    assert_eq!(numbers("bus").await, [(1 << 50) + 4, (1 << 50) + 6]);
    sink.sent("bus", &[(1 << 50) + 4, (1 << 50) + 6]).await.expect("forgets");
    sink.sent("other", &numbers("other").await).await.expect("forgets");
    assert_eq!(sink.last_event().await.expect("asks"), 0);

    // The agent's writes are no changes.
    assert_eq!(sink.read(quiet, 10, &[]).await.expect("reads").touched, []);

    // The fence stops strangers only.
    sink.fence(true).await.expect("fences");
    assert!(sink.is_fenced().await.expect("asks"));
    let refused = bed.stranger(Side::Modern, "DELETE FROM things").await.expect_err("fenced");
    assert!(refused.contains("ficus: "), "{refused}");
    assert!(matches!(apply(vec![thing(1, "still")], Effort::Plain, batch.upto).await, Ok(Applied::Done { .. })));
    sink.fence(false).await.expect("opens");
    bed.stranger(Side::Modern, "DELETE FROM things WHERE legacy_id = 8").await.expect("open");
    assert_eq!(sink.read(quiet, 10, &[]).await.expect("reads").touched.len(), 1);

    // Numbers never return after the log was pruned.
    let back = sink.id().await.expect("an id");
    source.claim(&back, None).await.expect("a turn");
    assert!(source.pruned().await.expect("asks") <= position);
    source.confirm(batch.upto).await.expect("prunes");
    let pruned = source.pruned().await.expect("asks");
    assert!(if bed.forgets() { pruned == batch.upto } else { pruned <= batch.upto });
    source.confirm(Position(0)).await.expect("nothing to prune");
    assert_eq!(source.pruned().await.expect("asks"), pruned, "it only grows");
    let end = source.end_position().await.expect("an end");
    assert!(end >= batch.end);
    assert_eq!(source.read(batch.upto, 10, &[]).await.expect("reads").touched, []);
    bed.stranger(Side::Legacy, "INSERT INTO item VALUES (9, 'nine', 'k')").await.expect("open");
    assert!(source.end_position().await.expect("an end") > end);

    // What is kept for the agent is told, and never more than there is to tell.
    assert!(source.kept_log().await.expect("asks") < 1 << 30);

    // A batch may be read while the one before it is being written; that one may be asked for again.
    for id in 10..14 {
        bed.stranger(Side::Legacy, &format!("INSERT INTO item VALUES ({id}, 'number {id}', 'k')")).await.expect("open");
    }
    // Until all of it has arrived, a batch may be shorter than it could be.
    while source.read(batch.upto, 100, &[]).await.expect("reads").entries < 5 {}
    let read = async |after| source.read(after, 2, &[]).await.expect("reads");
    let (first, mut seen) = (read(batch.upto).await, Vec::new());
    let second = read(first.upto).await;
    for (one, two) in [(&first, read(batch.upto).await), (&second, read(first.upto).await)] {
        assert_eq!((one.upto, &one.touched), (two.upto, &two.touched));
        seen.extend(two.touched.into_iter().map(|touched| touched.key));
    }
    assert_eq!(seen, (9..13).map(Value::Int).collect::<Vec<_>>());

    for (engine, side) in [(bed.engine(Side::Legacy), Side::Legacy), (bed.engine(Side::Modern), Side::Modern)] {
        // Orders that are older than those that were carried out do nothing, not even this.
        assert!(matches!(engine.remove("contract", side, 1).await, Err(Error::Outdated { ordered: 1, known: 2, .. })));
        engine.remove("contract", side, 2).await.expect("removes");
        engine.remove("contract", side, 0).await.expect("removes twice: it is as new");
    }
    assert!(apply(vec![thing(1, "late")], Effort::Plain, batch.upto).await.is_err());
    outlived(bed).await;
    contended(bed).await;
}

/// A turn is over with the capability, also for who does not see it end and another one begin.
async fn outlived(bed: &dyn Bed) {
    let plan = &plans(bed).await[0];
    let changes = || {
        let row = plan.forward(&Row { key: Value::Int(30), values: vec![Value::Text("late".into())] }).expect("maps");
        [Changes { upserts: vec![row], ..Changes::default() }]
    };
    bed.stranger(Side::Modern, "DELETE FROM things").await.expect("no fence");
    let (late, next) = (side(bed, Side::Modern).await, side(bed, Side::Modern).await);
    assert_eq!(late.turn().await.expect("asks"), None);
    late.prepare().await.expect("prepares");
    assert_eq!(late.turn().await.expect("asks"), None);
    let turn = late.claim("a database", None).await.expect("a turn").turn;
    assert_eq!(late.turn().await.expect("asks"), Some(turn));
    assert_eq!(late.claim("a database", Some(turn)).await.expect("the next").turn, turn + 1);
    assert!(matches!(late.claim("a database", Some(turn - 1)).await, Err(Error::Superseded)));
    assert!(
        matches!(late.apply(&changes(), Position(1), Effort::Plain, &[]).await, Ok(Applied::Done { .. })),
        "it was refused for nothing"
    );
    bed.engine(Side::Modern).remove("contract", Side::Modern, 0).await.expect("removes");
    bed.stranger(Side::Modern, "DELETE FROM things").await.expect("no fence");
    next.prepare().await.expect("prepares");
    assert!(matches!(next.claim("a database", Some(turn + 1)).await, Err(Error::TakenOut { .. })));
    assert_eq!(next.turn().await.expect("asks"), None);
    for times in 0..2 {
        next.claim("a database", None).await.expect("a turn");
        let said = late.apply(&changes(), Position(1), Effort::Plain, &[]).await;
        assert!(matches!(said, Err(Error::Superseded)), "after {times} turns: {said:?}");
        let said = late.begin_at(Position(2), true).await;
        assert!(matches!(said, Err(Error::Superseded)), "after {times} turns: {said:?}");
    }
    assert_eq!(next.chunk(0, &KeyRange::default(), 10).await.expect("a chunk"), []);
    bed.engine(Side::Modern).remove("contract", Side::Modern, 0).await.expect("removes");
}

async fn side(bed: &dyn Bed, side: Side) -> Shared {
    bed.engine(side).side("contract", side, &plans(bed).await).await.expect("a side")
}

async fn plans(bed: &dyn Bed) -> Vec<Plan> {
    let legacy = bed.engine(Side::Legacy).columns(&["item".into()]).await.expect("columns");
    let modern = bed.engine(Side::Modern).columns(&["things".into()]).await.expect("columns");
    compile("contract", &[map()], &legacy, &modern).expect("compiles")
}

fn map() -> TableMap {
    TableMap {
        events: Vec::new(),
        source: "contract.toml:1".into(),
        legacy: "item".into(),
        modern: "things".into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: None,
        columns: vec![
            ColumnMap { modern: "title".into(), from: ColumnSource::Column("name".into()) },
            ColumnMap { modern: "id".into(), from: ColumnSource::Uuid5 { column: "id".into(), of: "item".into() } },
        ],
        only: false,
        keep_legacy: vec!["kept".into()],
        keep_modern: Vec::new(),
        zero_dates: ficus_rules::mapping::ZeroDates::default(),
        rows: ficus_rules::mapping::Rows::default(),
    }
}

pub(crate) mod mariadb;
pub(crate) mod postgres;
mod sqlite {
    use super::{Bed, Engine, Side, async_trait, holds};
    use crate::sqlite::File;
    use sqlx::ConnectOptions;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

    struct Files {
        dir: tempfile::TempDir,
        legacy: File,
        modern: File,
    }

    fn options(dir: &tempfile::TempDir, side: Side) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(dir.path().join(side.as_str())).create_if_missing(true).journal_mode(SqliteJournalMode::Wal)
    }

    #[async_trait]
    impl Bed for Files {
        fn engine(&self, side: Side) -> &dyn Engine {
            match side {
                Side::Legacy => &self.legacy,
                Side::Modern => &self.modern,
            }
        }

        async fn stranger(&self, side: Side, sql: &str) -> Result<(), String> {
            let mut connection = options(&self.dir, side).connect().await.map_err(|e| e.to_string())?;
            let sql = sqlx::AssertSqlSafe(sql.to_owned());
            sqlx::raw_sql(sql).execute(&mut connection).await.map(drop).map_err(|e| e.to_string())
        }
    }

    #[tokio::test]
    async fn passes_the_contract() {
        let dir = tempfile::tempdir().expect("a directory");
        for (side, ddl) in [
            (Side::Legacy, "CREATE TABLE item (id integer PRIMARY KEY, name text UNIQUE, kept text)"),
            (Side::Modern, "CREATE TABLE things (id text PRIMARY KEY NOT NULL, legacy_id integer UNIQUE, title text NOT NULL UNIQUE)"),
        ] {
            let mut connection = options(&dir, side).connect().await.expect("connects");
            sqlx::raw_sql(ddl).execute(&mut connection).await.expect("creates");
        }
        let open =
            async |side: Side| File::open(&format!("sqlite://{}", dir.path().join(side.as_str()).display()), "test").await.expect("opens");
        let (legacy, modern) = (open(Side::Legacy).await, open(Side::Modern).await);
        holds(&Files { dir, legacy, modern }).await;
    }
}
