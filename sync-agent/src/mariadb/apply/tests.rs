//! What only an index that is not the key's can do wrong.

use ficus_rules::Side;
use ficus_rules::mapping::{ColumnMap, ColumnSource, Mark, Plan, Row, TableMap, Value, compile};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::contract::mariadb::server::{Server, exec};
use crate::mariadb::Server as Opened;
use crate::mariadb::value::tests::map;
use crate::port::{Applied, Changes, Effort, Engine, Position, Shared, Touched};

/// A database whose tables are mapped to each other, and modern's side of it, whose turn it is.
pub(in crate::mariadb) struct Bed {
    pub(in crate::mariadb) root: Conn,
    plans: Vec<Plan>,
    pub(in crate::mariadb) sink: Shared,
}

impl Bed {
    /// One with the two tables of [`map`], which have these columns.
    pub(in crate::mariadb) async fn new(from: &str, to: &str, map: TableMap) -> Bed {
        let name = Server::shared().database().await;
        let mut root = Server::shared().root(&name).await;
        exec(&mut root, &format!("CREATE TABLE `from``here` ({from})")).await;
        exec(&mut root, &format!("CREATE TABLE `to here` ({to})")).await;
        Bed::of(&name, root, &[map]).await
    }

    /// One of tables that are there already.
    async fn of(name: &str, root: Conn, maps: &[TableMap]) -> Bed {
        let opened = Opened::open(&Server::shared().url(name), "kinds").await.expect("opens");
        let (from, to): (Vec<String>, Vec<String>) = maps.iter().map(|map| (map.legacy.clone(), map.modern.clone())).unzip();
        let (from, to) = (opened.columns(&from).await.expect("columns"), opened.columns(&to).await.expect("columns"));
        let plans = compile("kinds", maps, &from, &to).expect("compiles");
        let sink = opened.side("kinds", Side::Modern, &plans).await.expect("a side");
        sink.prepare().await.expect("prepares");
        sink.claim("a source", None).await.expect("a turn");
        Bed { root, plans, sink }
    }
}

#[tokio::test]
async fn a_row_that_another_index_finds_is_left_alone() {
    // The primary key is found first, and it is not what rows are correlated by.
    let to = "legacy_id int UNIQUE, c0 varchar(20) PRIMARY KEY";
    let Bed { mut root, sink, .. } = Bed::new("id int PRIMARY KEY, `c``0` varchar(20) NOT NULL", to, map(1)).await;
    exec(&mut root, "INSERT INTO `to here` VALUES (1, 'a'), (2, 'b')").await;
    let row = |id: i64, text: &str| Row { key: Value::Int(id), values: vec![Value::Text(text.into())] };
    let apply = async |upserts: Vec<Row>, effort| {
        sink.apply(&[Changes { upserts, ..Changes::default() }], Position(5), effort, &[]).await.expect("applies")
    };
    match apply(vec![row(1, "b")], Effort::Plain).await {
        Applied::Refused { holders } => assert_eq!(holders, [Touched { pair: 0, key: Value::Int(2) }]),
        other => panic!("{other:?}"),
    }
    let all = "SELECT group_concat(legacy_id, c0 ORDER BY legacy_id) FROM `to here`";
    assert_eq!(root.query_first::<String, _>(all).await.expect("asks").as_deref(), Some("1a,2b"));
    // With the other one in the batch they change places.
    assert!(matches!(apply(vec![row(1, "b"), row(2, "a")], Effort::Parked).await, Applied::Done { quarantined: 0, .. }));
    assert_eq!(root.query_first::<String, _>(all).await.expect("asks").as_deref(), Some("1b,2a"));
    // Texts that a collation takes for equal are two values.
    assert!(matches!(apply(vec![row(1, "B")], Effort::Plain).await, Applied::Done { .. }));
    assert_eq!(root.query_first::<String, _>(all).await.expect("asks").as_deref(), Some("1B,2a"));
}

#[tokio::test]
async fn texts_are_keys_byte_by_byte() {
    let collated = "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
    let from = format!("id {collated} PRIMARY KEY, `c``0` varchar(20) NOT NULL");
    let Bed { sink, .. } = Bed::new(&from, &format!("legacy_id {collated} UNIQUE, c0 varchar(20) NOT NULL"), map(1)).await;
    let key = |text: &str| Value::Text(text.into());
    let upserts = ["ä", "a", "B", "x"].map(|text| Row { key: key(text), values: vec![key(text)] }).to_vec();
    let apply = async |upserts: Vec<Row>, deletes: Vec<Value>| {
        sink.apply(&[Changes { upserts, deletes, ..Changes::default() }], Position(5), Effort::Isolated, &[]).await.expect("applies")
    };
    // `general_ci` takes ä for a: that row cannot stand beside the other one.
    match apply(upserts, Vec::new()).await {
        Applied::Done { rejected, .. } => {
            assert_eq!(rejected.iter().map(|rejected| rejected.row.key.clone()).collect::<Vec<_>>(), [key("a")])
        }
        other => panic!("{other:?}"),
    }
    apply(Vec::new(), vec![key("X"), key("b"), key("A")]).await;
    let keys = async |after: Option<&str>| {
        let range = crate::port::KeyRange { after: after.map(key), through: None };
        sink.chunk(0, &range, 10).await.expect("reads").into_iter().map(|row| row.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(None).await, [key("B"), key("x"), key("ä")], "in the order of their bytes, and none was removed");
    assert_eq!(keys(Some("B")).await, [key("x"), key("ä")]);
    assert_eq!(sink.rows(0, &[key("b")]).await.expect("reads"), []);
    apply(Vec::new(), vec![key("B"), key("x")]).await;
    assert_eq!(keys(None).await, [key("ä")]);
}

#[tokio::test]
async fn small_numbers_change_places_as_often_as_they_like() {
    change_places("tinyint").await;
    // Nothing is below zero.
    change_places("tinyint unsigned").await;
    change_places("bigint unsigned").await;
}

async fn change_places(of: &str) {
    let from = format!("id int PRIMARY KEY, `c``0` {of} NOT NULL");
    let Bed { sink, .. } = Bed::new(&from, &format!("legacy_id int UNIQUE, c0 {of} NOT NULL UNIQUE"), map(1)).await;
    let row = |id: i64, number: i64| Row { key: Value::Int(id), values: vec![Value::Int(number)] };
    for round in 0..100 {
        let upserts = vec![row(1, round % 2), row(2, (round + 1) % 2)];
        let effort = if round % 3 == 2 { Effort::Isolated } else { Effort::Parked };
        let done = sink.apply(&[Changes { upserts, ..Changes::default() }], Position(5), effort, &[]).await.expect("applies");
        assert!(matches!(done, Applied::Done { quarantined: 0, .. }), "round {round} of {of}: {done:?}");
    }
}

#[tokio::test]
async fn values_that_cannot_be_moved_out_of_the_way_change_places() {
    for (of, one, other) in [
        ("decimal(4,2)", Value::Text("1.5".into()), Value::Text("2.5".into())),
        ("time", Value::Text("01:00:00".into()), Value::Text("02:00:00".into())),
        ("year", Value::Int(2000), Value::Int(2001)),
        ("enum('a','b')", Value::Text("a".into()), Value::Text("b".into())),
    ] {
        let from = format!("id int PRIMARY KEY, `c``0` {of} NOT NULL");
        let to = format!("legacy_id int PRIMARY KEY, c0 {of} NOT NULL UNIQUE");
        let Bed { mut root, sink, .. } = Bed::new(&from, &to, map(1)).await;
        let row = |id: i64, value: &Value| Row { key: Value::Int(id), values: vec![value.clone()] };
        for (first, second) in [(&one, &other), (&other, &one)] {
            let upserts = vec![row(1, first), row(2, second)];
            let changes = [Changes { upserts, ..Changes::default() }];
            let done = sink.apply(&changes, Position(5), Effort::Isolated, &[]).await.expect("applies");
            assert!(matches!(done, Applied::Done { quarantined: 0, .. }), "{of}: {done:?}");
        }
        // A trigger of the application's would take what is removed for a moment for removed, or what is back for new.
        for event in ["DELETE", "INSERT"] {
            exec(&mut root, &format!("CREATE TRIGGER notices BEFORE {event} ON `to here` FOR EACH ROW SET @noticed = 1")).await;
            let changes = [Changes { upserts: vec![row(1, &one), row(2, &other)], ..Changes::default() }];
            let done = sink.apply(&changes, Position(5), Effort::Isolated, &[]).await.expect("applies");
            assert!(matches!(done, Applied::Done { quarantined: 2, .. }), "{of}, {event}: {done:?}");
            exec(&mut root, "DROP TRIGGER notices").await;
        }
    }
}

#[tokio::test]
async fn rows_with_long_keys_in_pairs_with_long_names_are_set_aside() {
    let server = Server::shared();
    let name = server.database().await;
    let mut root = server.root(&name).await;
    let (long, other) = ("l".repeat(64), "m".repeat(64));
    let mut maps = [map(1), map(1)];
    exec(&mut root, &format!("CREATE TABLE {long} (id varchar(700) PRIMARY KEY, `c``0` int NOT NULL)")).await;
    for (map, modern) in maps.iter_mut().zip([other.as_str(), "to here"]) {
        exec(&mut root, &format!("CREATE TABLE `{modern}` (legacy_id varchar(700) PRIMARY KEY, c0 int NOT NULL CHECK (c0 < 5))")).await;
        map.legacy.clone_from(&long);
        map.modern = modern.to_owned();
    }
    let Bed { plans, sink, .. } = Bed::of(&name, root, &maps).await;
    assert_eq!(plans[0].pair.len(), 129);
    let row = |end: &str, number: i64| Row { key: Value::Text("ž".repeat(690) + end), values: vec![Value::Int(number)] };
    let apply = async |upserts: Vec<Row>| {
        let changes = [Changes { upserts, ..Changes::default() }, Changes::default()];
        match sink.apply(&changes, Position(5), Effort::Isolated, &[]).await.expect("applies") {
            Applied::Done { quarantined, .. } => quarantined,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(apply(vec![row("a", 7), row("b", 8)]).await, 2);
    assert_eq!(apply(vec![row("a", 9)]).await, 2, "once each");
    assert_eq!(apply(vec![row("a", 1)]).await, 1, "one of them fits by now");
}

#[tokio::test]
async fn a_buried_row_comes_back_and_a_row_of_another_pair_is_left_alone() {
    let mut map = map(1);
    for (column, value) in [("kind", Value::Int(7)), ("gone", Value::Null)] {
        map.columns.push(ColumnMap { modern: column.into(), from: ColumnSource::Constant(value) });
    }
    map.rows.modern_delete = vec![("gone".into(), Mark::Value(Value::Int(1)))];
    let to = "legacy_id int PRIMARY KEY, c0 varchar(20) NOT NULL UNIQUE, kind int NOT NULL, gone int NULL, note int";
    let Bed { mut root, plans, sink } = Bed::new("id int PRIMARY KEY, `c``0` varchar(20) NOT NULL", to, map).await;
    // Two that were deleted, one of them as another pair's; and another pair's that lives.
    exec(&mut root, "INSERT INTO `to here` VALUES (1, 'a', 7, 1, 5), (2, 'b', 8, 1, 5), (3, 'c', 8, NULL, 5)").await;
    let row = |id: i64, text: &str| plans[0].forward(&Row { key: Value::Int(id), values: vec![Value::Text(text.into())] }).expect("maps");
    for effort in [Effort::Plain, Effort::Isolated] {
        let upserts = vec![row(1, "b"), row(2, "a")];
        let effort = if effort == Effort::Plain { Effort::Parked } else { effort };
        let done = sink.apply(&[Changes { upserts, ..Changes::default() }], Position(5), effort, &[]).await.expect("applies");
        assert!(matches!(done, Applied::Done { quarantined: 0, .. }), "{done:?}");
    }
    let upserts = vec![row(3, "x")];
    let done = sink.apply(&[Changes { upserts, ..Changes::default() }], Position(6), Effort::Isolated, &[]).await.expect("applies");
    assert!(matches!(&done, Applied::Done { quarantined: 1, .. }), "{done:?}");
    let all = "SELECT group_concat(concat_ws('/', legacy_id, c0, kind, coalesce(gone, '-'), note) ORDER BY legacy_id) FROM `to here`";
    assert_eq!(root.query_first::<String, _>(all).await.expect("asks").as_deref(), Some("1/b/7/-/5,2/a/7/-/5,3/c/8/-/5"));
}
