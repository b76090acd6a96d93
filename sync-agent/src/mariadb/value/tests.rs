//! Every type, through the log, through a query and back into a table, beside what the server itself prints.

use ficus_rules::Side;
use ficus_rules::mapping::{ColumnMap, ColumnSource, Kind, Row, TableMap, Value, ZeroDates, compile};
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;

use crate::contract::mariadb::server::{Server, exec};
use crate::mariadb::Server as Opened;
use crate::port::{Applied, Changes, Effort, Engine, Piece, Position};

use super::decimal;

/// A column, a literal, and the value that it is. `=`: what the server prints for it.
fn cases() -> Vec<(&'static str, &'static str, Value)> {
    let text = |text: &str| Value::Text(text.to_owned());
    let blob = |bytes: &[u8]| Value::Blob(bytes.to_vec());
    vec![
        ("tinyint", "-128", Value::Int(-128)),
        ("tinyint unsigned", "255", Value::Int(255)),
        ("tinyint(1)", "1", Value::Int(1)),
        ("tinyint(1)", "2", Value::Int(2)),
        ("smallint", "-32768", Value::Int(-32_768)),
        ("mediumint", "-8388608", Value::Int(-8_388_608)),
        ("mediumint unsigned", "16777215", Value::Int(16_777_215)),
        ("int unsigned", "4294967295", Value::Int(4_294_967_295)),
        ("bigint", "-9223372036854775808", Value::Int(i64::MIN)),
        ("bigint unsigned", "18446744073709551615", text("18446744073709551615")),
        ("bigint unsigned", "9223372036854775807", Value::Int(i64::MAX)),
        ("decimal(30,10)", "-12345678901234567890.1234500000", text("-12345678901234567890.12345")),
        ("decimal(5,2)", "0", text("0")),
        ("decimal(9,0)", "999999999", text("999999999")),
        ("decimal(65,30)", "-0.000000000000000000000000000001", text("-0.000000000000000000000000000001")),
        ("float", "0.1", Value::Real(f64::from(0.1_f32))),
        ("double", "1.7976931348623157e308", Value::Real(f64::MAX)),
        ("double", "-0.1", Value::Real(-0.1)),
        ("char(10)", "'ab  '", text("ab")),
        ("char(200) character set utf8mb4", "repeat('ä', 200)", text(&"ä".repeat(200))),
        ("char(32)", "'00112233445566778899aabbccddeeff'", text("00112233445566778899aabbccddeeff")),
        ("varchar(20) character set latin1", "'é€ž'", text("é€ž")),
        ("varchar(20) character set utf8mb3", "'žluť '", text("žluť ")),
        ("varchar(20) character set ucs2", "'ž€'", text("ž€")),
        ("varchar(20) character set utf16", "'a😀'", text("a😀")),
        ("varchar(20) character set utf32", "'a😀'", text("a😀")),
        ("varchar(20) character set ascii", "'plain'", text("plain")),
        ("varchar(300)", "'😀'", text("😀")),
        ("tinytext", "''", text("")),
        ("longtext", "'l\\'o\\nng'", text("l'o\nng")),
        ("binary(16)", "x'00ff000000'", blob(&[0, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("varbinary(20)", "x'00ff80'", blob(&[0, 255, 128])),
        ("longblob", "x'c328'", blob(&[0xc3, 0x28])),
        ("date", "'0001-02-03'", text("0001-02-03")),
        ("date", "'9999-12-31'", text("9999-12-31")),
        ("datetime", "'2026-11-20 18:30:05'", text("2026-11-20 18:30:05")),
        ("datetime(6)", "'2026-11-20 18:30:05.120000'", text("2026-11-20 18:30:05.12")),
        ("datetime(3)", "'1000-01-01 00:00:00.001'", text("1000-01-01 00:00:00.001")),
        ("datetime(1)", "'2026-11-20 18:30:05.5'", text("2026-11-20 18:30:05.5")),
        ("timestamp", "'2038-01-19 03:14:07'", text("2038-01-19 03:14:07")),
        ("timestamp(6)", "'2024-02-29 23:59:59.999999'", text("2024-02-29 23:59:59.999999")),
        ("timestamp(2)", "'1970-01-01 00:00:01.25'", text("1970-01-01 00:00:01.25")),
        ("time", "'18:30:05'", text("18:30:05")),
        ("time", "'838:59:59'", text("838:59:59")),
        ("time(6)", "'-00:00:00.000001'", text("-00:00:00.000001")),
        ("time(1)", "'-01:02:03.5'", text("-01:02:03.5")),
        ("time(4)", "'-30:00:00.0001'", text("-30:00:00.0001")),
        ("year", "2026", Value::Int(2026)),
        ("year", "0", Value::Int(0)),
        ("bit(1)", "b'1'", Value::Int(1)),
        ("bit(12)", "b'101010101010'", Value::Int(0xaaa)),
        ("bit(64)", "b'1111111111111111111111111111111111111111111111111111111111111111'", text("18446744073709551615")),
        ("enum('a','it''s','ž')", "'it\\'s'", text("it's")),
        ("enum('a','b') character set latin1", "'b'", text("b")),
        ("set('x','y','z')", "'x,z'", text("x,z")),
        ("set('x','y','z')", "''", text("")),
        ("json", "'{\"b\": 1, \"a\": [1.0, null]}'", text("{\"b\": 1, \"a\": [1.0, null]}")),
        ("uuid", "'123e4567-e89b-12d3-a456-426655440000'", text("123e4567-e89b-12d3-a456-426655440000")),
        ("uuid", "'f47ac10b-58cc-4372-a567-0e02b2c3d479'", text("f47ac10b-58cc-4372-a567-0e02b2c3d479")),
        ("uuid", "'01890a5d-ac96-774b-bcce-b302099a8057'", text("01890a5d-ac96-774b-bcce-b302099a8057")),
        ("inet6", "'2001:db8::ff00:42:8329'", text("2001:db8::ff00:42:8329")),
        ("inet6", "'::ffff:192.168.0.1'", text("::ffff:192.168.0.1")),
        ("inet6", "'fe80::'", text("fe80::")),
        ("inet4", "'192.168.0.0'", text("192.168.0.0")),
        ("int", "NULL", Value::Null),
    ]
}

pub(in crate::mariadb) fn map(columns: usize) -> TableMap {
    TableMap {
        events: Vec::new(),
        source: "kinds.toml:1".into(),
        legacy: "from`here".into(),
        modern: "to here".into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: None,
        columns: (0..columns).map(|at| ColumnMap { modern: format!("c{at}"), from: ColumnSource::Column(format!("c`{at}")) }).collect(),
        only: true,
        keep_legacy: Vec::new(),
        keep_modern: Vec::new(),
        zero_dates: ficus_rules::mapping::ZeroDates::default(),
        rows: ficus_rules::mapping::Rows::default(),
    }
}

#[tokio::test]
async fn every_type_is_the_same_by_log_by_query_and_back() {
    let server = Server::shared();
    let name = server.database().await;
    let mut root = server.root(&name).await;
    exec(&mut root, "SET time_zone = '+00:00'").await;
    let cases = cases();
    let columns = |quote: &dyn Fn(usize) -> String| {
        cases.iter().enumerate().map(|(at, (kind, _, _))| format!("{} {kind} NULL", quote(at))).collect::<Vec<_>>().join(", ")
    };
    exec(
        &mut root,
        &format!(
            "CREATE TABLE `from``here` (id int PRIMARY KEY, made int AS (id + 1) VIRTUAL, {}, kept int AS (id * 2) STORED)",
            columns(&|at| format!("`c``{at}`"))
        ),
    )
    .await;
    exec(&mut root, &format!("CREATE TABLE `to here` (legacy_id int PRIMARY KEY, {})", columns(&|at| format!("c{at}")))).await;

    let opened = Opened::open(&server.url(&name), "kinds").await.expect("opens");
    let from = opened.columns(&["from`here".into()]).await.expect("columns");
    let to = opened.columns(&["to here".into()]).await.expect("columns");
    assert_eq!(from["from`here"].len(), cases.len() + 1, "generated columns are not written");
    assert_eq!((&from["from`here"][3].kind, &from["from`here"][62].kind), (&Kind::Bool, &Kind::Native("inet6".into())));
    let plans = compile("kinds", &[map(cases.len())], &from, &to).expect("compiles");
    let source = opened.side("kinds", Side::Legacy, &plans).await.expect("a side");
    let sink = opened.side("kinds", Side::Modern, &plans).await.expect("a side");
    for side in [&source, &sink] {
        side.prepare().await.expect("prepares");
    }
    source.claim(&sink.id().await.expect("an id"), None).await.expect("a turn");
    sink.claim(&source.id().await.expect("an id"), None).await.expect("a turn");
    let start = source.end_position().await.expect("an end");

    let names = (0..cases.len()).map(|at| format!("`c``{at}`")).collect::<Vec<_>>().join(", ");
    let values = cases.iter().map(|(_, literal, _)| (*literal).to_owned()).collect::<Vec<_>>().join(", ");
    exec(&mut root, &format!("INSERT INTO `from``here` (id, {names}) VALUES (1, {values})")).await;
    let batch = source.read(start, 10, &[]).await.expect("reads");
    let expected: Vec<Value> = cases.iter().map(|(_, _, value)| value.clone()).collect();
    let by_log = batch.rows[0].first().expect("a row");
    let by_query = source.rows(0, &[Value::Int(1)]).await.expect("reads").remove(0);
    for (at, (kind, literal, value)) in cases.iter().enumerate() {
        assert_eq!(&by_log.values[at], value, "by the log: {kind} {literal}");
        assert_eq!(&by_query.values[at], value, "by a query: {kind} {literal}");
    }

    // What the server prints, apart from zeros at the end of a fraction and from bytes.
    let printed: mysql_async::Row = root.query_first("SELECT * FROM `from``here`").await.expect("asks").expect("a row");
    for (at, (kind, _, value)) in cases.iter().enumerate() {
        let Value::Text(ours) = value else { continue };
        if kind.starts_with("bit") {
            continue;
        }
        let theirs: String = mysql_async::from_value(printed[at + 2].clone());
        let zeros = (kind.starts_with("date") || kind.starts_with("time")) && theirs.contains('.');
        let theirs = if zeros { theirs.trim_end_matches('0') } else { &theirs };
        if kind.starts_with("decimal") {
            assert_eq!(*ours, decimal(theirs), "{kind}");
        } else {
            assert_eq!(ours, theirs, "{kind}");
        }
    }

    // And into a table again.
    let row = plans[0].forward(by_log).expect("maps");
    assert_eq!(row.values, expected);
    let changes = Changes { upserts: vec![row], ..Changes::default() };
    let done = sink.apply(&[changes], batch.upto, Effort::Plain, &[]).await.expect("applies");
    assert!(matches!(done, Applied::Done { quarantined: 0, .. }), "{done:?}");
    assert_eq!(sink.rows(0, &[Value::Int(1)]).await.expect("reads")[0].values, expected);
    for (at, (kind, ..)) in cases.iter().enumerate() {
        let same = format!("SELECT BINARY f.`c``{at}` <=> BINARY t.c{at} FROM `from``here` f JOIN `to here` t ON t.legacy_id = f.id");
        assert_eq!(root.query_first::<i64, _>(same).await.expect("asks"), Some(1), "{kind}");
    }

    let (sender, mut pieces) = mpsc::channel(4);
    source.snapshot(&[], &[], 10, sender).await.expect("a snapshot");
    let mut copied: Vec<Row> = Vec::new();
    while let Some(piece) = pieces.recv().await {
        if let Piece::Rows(_, rows) = piece {
            copied.extend(rows);
        }
    }
    assert_eq!(copied, [by_query]);
}

#[tokio::test]
async fn a_zero_date_becomes_what_the_rule_file_says_and_comes_back() {
    let server = Server::shared();
    let name = server.database().await;
    let mut root = server.root(&name).await;
    exec(&mut root, "CREATE TABLE `from``here` (id int PRIMARY KEY, `c``0` datetime NOT NULL, `c``1` date NULL)").await;
    exec(&mut root, "CREATE TABLE `to here` (legacy_id int PRIMARY KEY, c0 datetime NULL, c1 date NULL)").await;
    exec(&mut root, "SET sql_mode = ''; INSERT INTO `from``here` VALUES (1, '0000-00-00', '0000-00-00'), (2, '2026-01-01', NULL)").await;
    let opened = Opened::open(&server.url(&name), "kinds").await.expect("opens");
    let from = opened.columns(&["from`here".into()]).await.expect("columns");
    let to = opened.columns(&["to here".into()]).await.expect("columns");
    let zeros = ["0000-00-00 00:00:00", "0000-00-00"].map(|text| Value::Text(text.into()));
    let sentinel = ["1000-01-01 00:00:00", "1000-01-01"].map(|text| Value::Text(text.into()));
    for (policy, there, back) in [
        (ZeroDates::Quarantine, None, None),
        // Only where no NULL may stand a NULL is a zero date on its way back.
        (ZeroDates::Null, Some([Value::Null, Value::Null]), Some([zeros[0].clone(), Value::Null])),
        (ZeroDates::Sentinel("1000-01-01".into()), Some(sentinel), Some(zeros.clone())),
    ] {
        let plans = compile("kinds", &[TableMap { zero_dates: policy.clone(), ..map(2) }], &from, &to).expect("compiles");
        let source = opened.side("kinds", Side::Legacy, &plans).await.expect("a side");
        source.prepare().await.expect("prepares");
        source.claim("another", None).await.expect("a turn");
        let rows = source.rows(0, &[Value::Int(1)]).await.expect("reads");
        assert_eq!(rows[0].values, zeros);
        let (Some(there), Some(back)) = (there, back) else {
            let refused = plans[0].forward(&rows[0]).expect_err("set aside").to_string();
            assert!(refused.contains("c0: a zero date") && !refused.contains("0000"), "{refused}");
            assert!(plans[0].back(&Row { key: Value::Int(1), values: zeros.to_vec() }).is_err());
            continue;
        };
        let modern = plans[0].forward(&rows[0]).expect("maps");
        assert_eq!(modern.values, there, "{policy:?}");
        let returned = plans[0].back(&modern).expect("maps back");
        assert_eq!(returned.values, back, "{policy:?}");
        let changes = Changes { upserts: vec![returned], ..Changes::default() };
        let done = source.apply(&[changes], Position(5), Effort::Plain, &[]).await.expect("applies");
        assert!(matches!(done, Applied::Done { quarantined: 0, .. }), "{policy:?}: {done:?}");
        assert_eq!(source.rows(0, &[Value::Int(1)]).await.expect("reads")[0].values, back, "{policy:?}");
        exec(&mut root, "UPDATE `from``here` SET `c``1` = '0000-00-00' WHERE id = 1").await;
    }
}

#[test]
fn decimals_have_one_spelling() {
    for (text, canonical) in [("-012.50", "-12.5"), ("0.00", "0"), ("-0", "0"), ("100", "100"), ("-.5", "-0.5"), ("000", "0")] {
        assert_eq!(decimal(text), canonical);
    }
}
