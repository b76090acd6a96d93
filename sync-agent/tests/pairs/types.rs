//! Every type of each engine in the natural type of each other, with extreme values: copied, streamed and brought back,
//! beside what the databases' own clients print.

use std::process::Command;

use ficus_rules::Side;
use ficus_rules::mapping::{Rows, TableMap, ZeroDates};
use ficus_rules::wire::VerifyScope;

use super::app::Engine;
use super::world::{World, report, streaming};

/// Type and literal on legacy, type on modern, and what modern's client prints for it there.
type Case = (&'static str, &'static str, &'static str, &'static str);

const MARIADB_TO_POSTGRES: &[Case] = &[
    ("tinyint", "-128", "smallint", "-128"),
    ("tinyint unsigned", "255", "smallint", "255"),
    ("tinyint(1)", "1", "boolean", "t"),
    ("tinyint(1)", "0", "boolean", "f"),
    ("smallint unsigned", "65535", "integer", "65535"),
    ("mediumint", "-8388608", "integer", "-8388608"),
    ("int unsigned", "4294967295", "bigint", "4294967295"),
    ("bigint", "-9223372036854775808", "bigint", "-9223372036854775808"),
    ("bigint unsigned", "18446744073709551615", "numeric(20)", "18446744073709551615"),
    ("decimal(65,30)", "-0.000000000000000000000000000001", "numeric(65,30)", "-0.000000000000000000000000000001"),
    ("decimal(30,10)", "-12345678901234567890.1234500000", "numeric(30,10)", "-12345678901234567890.1234500000"),
    ("float", "0.1", "real", "0.1"),
    ("double", "-1.7976931348623157e308", "double precision", "-1.7976931348623157e+308"),
    ("double", "5e-324", "double precision", "5e-324"),
    ("char(10)", "'ab  '", "varchar(10)", "ab"),
    ("varchar(300)", "'😀 it''s ž '", "text", "😀 it's ž "),
    ("varchar(20) character set latin1", "'é€ž'", "varchar(20)", "é€ž"),
    ("longtext", "repeat('long', 3)", "text", "longlonglong"),
    ("binary(4)", "x'00ff0000'", "bytea", "00ff0000"),
    ("varbinary(20)", "x'00ff80'", "bytea", "00ff80"),
    ("longblob", "x'c328'", "bytea", "c328"),
    ("date", "'9999-12-31'", "date", "9999-12-31"),
    ("date", "'1000-01-01'", "date", "1000-01-01"),
    ("datetime(6)", "'9999-12-31 23:59:59.999999'", "timestamp(6)", "9999-12-31 23:59:59.999999"),
    ("datetime", "'1000-01-01 00:00:00'", "timestamp", "1000-01-01 00:00:00"),
    ("timestamp(6)", "'2038-01-19 03:14:07.999999'", "timestamptz", "2038-01-19 03:14:07.999999+00"),
    ("timestamp", "'1970-01-01 00:00:01'", "timestamptz", "1970-01-01 00:00:01+00"),
    ("time(6)", "'23:59:59.999999'", "time", "23:59:59.999999"),
    ("year", "2155", "integer", "2155"),
    ("bit(12)", "b'101010101010'", "integer", "2730"),
    ("bit(1)", "b'1'", "boolean", "t"),
    ("enum('a','it''s')", "'it''s'", "text", "it's"),
    ("set('x','y','z')", "'x,z'", "text", "x,z"),
    ("json", "'{\"a\": [1.0, null], \"b\": 1}'", "jsonb", "{\"a\": [1.0, null], \"b\": 1}"),
    ("uuid", "'123e4567-e89b-12d3-a456-426655440000'", "uuid", "123e4567-e89b-12d3-a456-426655440000"),
    ("char(32)", "'123e4567e89b12d3a456426655440000'", "uuid", "123e4567-e89b-12d3-a456-426655440000"),
    ("inet6", "'2001:db8::ff00:42:8329'", "text", "2001:db8::ff00:42:8329"),
    ("inet4", "'192.168.0.0'", "text", "192.168.0.0"),
    ("bigint", "-9007199254740993", "interval", "-2501999:47:34.740993"),
    ("int", "NULL", "integer", ""),
];

const POSTGRES_TO_MARIADB: &[Case] = &[
    ("smallint", "-32768", "smallint", "-32768"),
    ("integer", "2147483647", "int", "2147483647"),
    ("bigint", "-9223372036854775808", "bigint", "-9223372036854775808"),
    ("numeric(65,30)", "-0.000000000000000000000000000001", "decimal(65,30)", "-0.000000000000000000000000000001"),
    ("numeric(12,2)", "9999999999.99", "decimal(12,2)", "9999999999.99"),
    ("real", "0.1", "float", "0.1"),
    ("double precision", "-1.7976931348623157e308", "double", "-1.7976931348623157e308"),
    ("boolean", "true", "tinyint(1)", "1"),
    ("text", "'😀 it''s \\ ž '", "longtext", "😀 it's \\ ž "),
    ("varchar(20)", "''", "varchar(20)", ""),
    ("char(8)", "'ab'", "char(8)", "ab"),
    ("bytea", "'\\x00ff5c0a'", "longblob", "00ff5c0a"),
    ("date", "'9999-12-31'", "date", "9999-12-31"),
    ("time", "'23:59:59.999999'", "time(6)", "23:59:59.999999"),
    ("timetz", "'18:30:05+02'", "varchar(30)", "18:30:05+02"),
    ("timestamp", "'9999-12-31 23:59:59.999999'", "datetime(6)", "9999-12-31 23:59:59.999999"),
    ("timestamptz", "'2038-01-19 08:59:07.999999+05:45'", "timestamp(6)", "2038-01-19 03:14:07.999999"),
    ("timestamptz", "'1000-01-01 00:00:00+00'", "datetime(6)", "1000-01-01 00:00:00.000000"),
    ("interval", "make_interval(hours => -30, secs => -0.000001)", "bigint", "-108000000001"),
    ("uuid", "'550e8400-e29b-41d4-a716-446655440000'", "uuid", "550e8400-e29b-41d4-a716-446655440000"),
    ("uuid", "'550e8400-e29b-41d4-a716-446655440000'", "char(32)", "550e8400e29b41d4a716446655440000"),
    ("uuid", "'550e8400-e29b-41d4-a716-446655440000'", "binary(16)", "550e8400e29b41d4a716446655440000"),
    ("jsonb", "'{\"b\": [1.50, null, \"☃\"]}'", "json", "{\"b\": [1.50, null, \"☃\"]}"),
    ("int[]", "'{1,NULL,3}'", "longtext", "{1,NULL,3}"),
    ("text[]", "ARRAY['a,b', '', NULL, '\"']", "longtext", "{\"a,b\",\"\",NULL,\"\\\"\"}"),
    ("int4range", "'[1,5)'", "varchar(50)", "[1,5)"),
    ("inet", "'10.0.0.1/24'", "varchar(50)", "10.0.0.1/24"),
    ("bit(3)", "b'101'", "varchar(3)", "101"),
    ("integer", "NULL", "int", "NULL"),
];

const MARIADB_TO_SQLITE: &[Case] = &[
    ("bigint", "-9223372036854775808", "integer", "-9223372036854775808"),
    ("tinyint(1)", "1", "bool", "1"),
    ("decimal(12,2)", "1234567890.12", "decimal(12,2)", "1234567890.12"),
    ("double", "0.1", "real", "0.1"),
    ("varchar(300)", "'😀 it''s ž '", "varchar(300)", "😀 it's ž "),
    ("longblob", "x'00ff80'", "blob", "00ff80"),
    ("date", "'9999-12-31'", "date", "9999-12-31"),
    ("datetime(6)", "'2026-11-20 18:30:05.120000'", "datetime", "2026-11-20 18:30:05.120000"),
    ("timestamp(6)", "'2038-01-19 03:14:07.999999'", "datetime", "2038-01-19 03:14:07.999999"),
    ("time(6)", "'18:30:05.5'", "time", "18:30:05.500000"),
    ("json", "'{\"a\": [1.0, null]}'", "text", "{\"a\": [1.0, null]}"),
    ("uuid", "'123e4567-e89b-12d3-a456-426655440000'", "char(32)", "123e4567e89b12d3a456426655440000"),
    ("enum('a','b')", "'b'", "varchar(5)", "b"),
    ("year", "0", "integer", "0"),
    ("int", "NULL", "integer", ""),
];

const POSTGRES_TO_SQLITE: &[Case] = &[
    ("bigint", "9223372036854775807", "integer", "9223372036854775807"),
    ("boolean", "false", "bool", "0"),
    ("numeric(12,2)", "-1234567890.10", "decimal(12,2)", "-1234567890.1"),
    ("double precision", "0.1", "real", "0.1"),
    ("text", "'😀 it''s \\ ž '", "text", "😀 it's \\ ž "),
    ("bytea", "'\\x00ff5c0a'", "blob", "00ff5c0a"),
    ("date", "'0001-01-01'", "date", "0001-01-01"),
    ("time", "'18:30:05.120'", "time", "18:30:05.120000"),
    ("timestamptz", "'2026-11-20 18:30:05.000001+05:45'", "datetime", "2026-11-20 12:45:05.000001"),
    ("timestamp", "'9999-12-31 23:59:59'", "datetime", "9999-12-31 23:59:59"),
    ("interval", "'30 hours'", "bigint", "108000000000"),
    ("uuid", "'550e8400-e29b-41d4-a716-446655440000'", "char(32)", "550e8400e29b41d4a716446655440000"),
    ("jsonb", "'{\"b\": [1, null]}'", "text", "{\"b\": [1, null]}"),
    ("text[]", "'{}'", "text", "{}"),
    ("integer", "NULL", "integer", ""),
];

const SQLITE_TO_POSTGRES: &[Case] = &[
    ("integer", "-9223372036854775808", "bigint", "-9223372036854775808"),
    ("bool", "1", "boolean", "t"),
    ("decimal(12,2)", "1234567890.12", "numeric(12,2)", "1234567890.12"),
    ("real", "-123456789.0625", "double precision", "-123456789.0625"),
    ("varchar(30)", "'😀 it''s \\ ž '", "varchar(30)", "😀 it's \\ ž "),
    ("text", "''", "text", ""),
    ("blob", "x'00ff80'", "bytea", "00ff80"),
    ("date", "'9999-12-31'", "date", "9999-12-31"),
    ("datetime", "'2026-11-20 18:30:05.120000'", "timestamptz", "2026-11-20 18:30:05.12+00"),
    ("datetime", "'0001-01-01 00:00:00'", "timestamp", "0001-01-01 00:00:00"),
    ("time", "'18:30:05.000001'", "time", "18:30:05.000001"),
    ("bigint", "-1", "interval", "-00:00:00.000001"),
    ("char(32)", "'550e8400e29b41d4a716446655440000'", "uuid", "550e8400-e29b-41d4-a716-446655440000"),
    ("text", "'{\"b\": [1, null]}'", "jsonb", "{\"b\": [1, null]}"),
    ("integer", "NULL", "integer", ""),
];

const SQLITE_TO_MARIADB: &[Case] = &[
    ("integer", "9223372036854775807", "bigint", "9223372036854775807"),
    ("bool", "0", "tinyint(1)", "0"),
    ("decimal(12,2)", "-0.5", "decimal(12,2)", "-0.50"),
    ("real", "0.1", "double", "0.1"),
    ("varchar(30)", "'😀 it''s \\ ž '", "varchar(30)", "😀 it's \\ ž "),
    ("blob", "x'00ff80'", "longblob", "00ff80"),
    ("date", "'1000-01-01'", "date", "1000-01-01"),
    ("datetime", "'2026-11-20 18:30:05.120000'", "datetime(6)", "2026-11-20 18:30:05.120000"),
    ("datetime", "'2038-01-19 03:14:07'", "timestamp(6)", "2038-01-19 03:14:07.000000"),
    ("time", "'23:59:59.999999'", "time(6)", "23:59:59.999999"),
    ("char(32)", "'550e8400e29b41d4a716446655440000'", "uuid", "550e8400-e29b-41d4-a716-446655440000"),
    ("text", "'{\"b\": [1, null]}'", "json", "{\"b\": [1, null]}"),
    ("integer", "NULL", "int", "NULL"),
];

const MARIADB_TO_MARIADB: &[Case] = &[
    // As an application may have it.
    ("tinyint(1)", "2", "tinyint(1)", "2"),
    ("tinyint(1)", "1", "bool", "1"),
    ("bigint unsigned", "18446744073709551615", "bigint unsigned", "18446744073709551615"),
    ("decimal(65,30)", "-0.000000000000000000000000000001", "decimal(65,30)", "-0.000000000000000000000000000001"),
    ("float", "0.1", "float", "0.1"),
    ("double", "-1.7976931348623157e308", "double", "-1.7976931348623157e308"),
    ("char(10)", "'ab  '", "char(10)", "ab"),
    ("varchar(20) character set latin1", "'é€ž'", "varchar(20) character set utf8mb4", "é€ž"),
    ("longtext", "'😀 it''s ž '", "longtext", "😀 it's ž "),
    ("binary(4)", "x'00ff0000'", "binary(4)", "00ff0000"),
    ("longblob", "x'c328'", "longblob", "c328"),
    ("date", "'1000-01-01'", "date", "1000-01-01"),
    ("datetime(6)", "'9999-12-31 23:59:59.999999'", "datetime(6)", "9999-12-31 23:59:59.999999"),
    ("timestamp(6)", "'2038-01-19 03:14:07.999999'", "timestamp(6)", "2038-01-19 03:14:07.999999"),
    ("time(6)", "'-838:59:58.000001'", "time(6)", "-838:59:58.000001"),
    ("year", "2155", "year", "2155"),
    ("bit(12)", "b'101010101010'", "bit(12)", "2730"),
    ("enum('a','it''s')", "'it''s'", "enum('a','it''s')", "it's"),
    ("set('x','y','z')", "'x,z'", "set('x','y','z')", "x,z"),
    ("json", "'{\"a\": [1.0, null], \"b\": 1}'", "json", "{\"a\": [1.0, null], \"b\": 1}"),
    ("uuid", "'123e4567-e89b-12d3-a456-426655440000'", "uuid", "123e4567-e89b-12d3-a456-426655440000"),
    ("inet6", "'2001:db8::ff00:42:8329'", "inet6", "2001:db8::ff00:42:8329"),
    ("inet4", "'192.168.0.0'", "inet4", "192.168.0.0"),
    ("int", "NULL", "int", "NULL"),
];

const SQLITE_TO_SQLITE: &[Case] = &[
    ("integer", "-9223372036854775808", "integer", "-9223372036854775808"),
    ("bool", "1", "bool", "1"),
    ("decimal(12,2)", "1234567890.12", "decimal(12,2)", "1234567890.12"),
    ("real", "-123456789.0625", "real", "-123456789.0625"),
    ("varchar(30)", "'😀 it''s \\ ž '", "varchar(30)", "😀 it's \\ ž "),
    ("text", "''", "text", ""),
    ("blob", "x'00ff80'", "blob", "00ff80"),
    ("date", "'9999-12-31'", "date", "9999-12-31"),
    ("datetime", "'2026-11-20 18:30:05.120000'", "datetime", "2026-11-20 18:30:05.120000"),
    ("time", "'18:30:05.000001'", "time", "18:30:05.000001"),
    ("char(32)", "'550e8400e29b41d4a716446655440000'", "char(32)", "550e8400e29b41d4a716446655440000"),
    ("text", "'{\"b\": [1, null]}'", "text", "{\"b\": [1, null]}"),
    ("integer", "NULL", "integer", ""),
];

fn tables() -> Vec<TableMap> {
    vec![TableMap {
        events: Vec::new(),
        source: "pairs.toml:1".into(),
        legacy: "item".into(),
        modern: "things".into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: None,
        columns: Vec::new(),
        only: false,
        keep_legacy: Vec::new(),
        keep_modern: Vec::new(),
        zero_dates: ZeroDates::default(),
        rows: Rows::default(),
    }]
}

/// What a client prints of each column of a row; bytes as hexadecimal digits, bits as a number.
fn printed(world: &World, side: Side, key: i64, types: &[&str]) -> Vec<String> {
    let engine = world.engines[usize::from(side == Side::Modern)];
    let shown = |(at, kind): (usize, &&str)| match engine {
        _ if kind.contains("blob") || kind.contains("binary") => format!("lower(hex(c{at}))"),
        Engine::Postgres if *kind == "bytea" => format!("encode(c{at}, 'hex')"),
        Engine::MariaDb if kind.starts_with("bit") => format!("c{at} + 0"),
        _ => format!("c{at}"),
    };
    let columns: Vec<String> = types.iter().enumerate().map(shown).collect();
    let (table, id) = if side == Side::Legacy { ("item", "id") } else { ("things", "legacy_id") };
    let (program, arguments, variables) = world.client(side);
    let query = format!("SELECT {} FROM {table} WHERE {id} = {key}", columns.join(", "));
    let printed = Command::new(program).args(arguments).arg(query).envs(variables).output();
    let printed = printed.unwrap_or_else(|error| panic!("{program} is needed: {error}"));
    assert!(printed.status.success(), "{program}: {}", String::from_utf8_lossy(&printed.stderr));
    let line = String::from_utf8(printed.stdout).unwrap();
    line.trim_end_matches('\n').split(if engine == Engine::MariaDb { '\t' } else { '\u{1f}' }).map(str::to_owned).collect()
}

async fn there_and_back(engines: [Engine; 2], cases: &'static [Case]) {
    let (old, new): (Vec<&str>, Vec<&str>) = (cases.iter().map(|case| case.0).collect(), cases.iter().map(|case| case.2).collect());
    let schema = |_: Engine, side: Side| {
        let columns =
            |types: &[&str]| types.iter().enumerate().map(|(at, kind)| format!("c{at} {kind} NULL")).collect::<Vec<_>>().join(", ");
        vec![match side {
            Side::Legacy => format!("CREATE TABLE item (id integer NOT NULL PRIMARY KEY, touched integer NULL, {})", columns(&old)),
            Side::Modern => {
                format!("CREATE TABLE things (legacy_id integer NOT NULL PRIMARY KEY, touched integer NULL, {})", columns(&new))
            }
        }]
    };
    let mut world = World::new(engines, schema, tables()).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    if engines[0] == Engine::MariaDb {
        legacy.exec("SET time_zone = '+00:00'").await;
    }
    let literals: Vec<&str> = cases.iter().map(|case| case.1).collect();
    let insert = |id: i64| format!("INSERT INTO item VALUES ({id}, 0, {})", literals.join(", "));
    // One by the copy, one by the log.
    legacy.exec(&insert(1)).await;
    let agent = world.agent().await;
    streaming(&agent).await;
    legacy.exec(&insert(2)).await;
    world.settle(&agent, Side::Legacy).await;
    let before = printed(&world, Side::Legacy, 1, &old);
    let compare = |what: &str, found: Vec<String>, expected: &[String]| {
        assert_eq!(found.len(), cases.len(), "{what}: {found:?}");
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert_eq!(found, expected, "{engines:?}, {what}: {} {} as {}", cases[at].0, cases[at].1, cases[at].2);
        }
    };
    let expected: Vec<String> = cases.iter().map(|case| case.3.to_owned()).collect();
    for (key, way) in [(1, "copied"), (2, "streamed")] {
        compare(way, printed(&world, Side::Modern, key, &new), &expected);
    }
    // The whole row comes back, through other casts than it went.
    modern.exec("UPDATE things SET touched = 1").await;
    world.settle(&agent, Side::Modern).await;
    let touched = if engines[0] == Engine::Sqlite { "CAST(sum(touched) AS TEXT)" } else { "sum(touched)" };
    assert_eq!(legacy.rows(&format!("SELECT {touched} FROM item")).await[0][0].as_deref(), Some("2"));
    for key in [1, 2] {
        compare("back", printed(&world, Side::Legacy, key, &old), &before);
    }
    for table in world.verify(&agent, VerifyScope::Full).await {
        assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "{engines:?}");
    }
    assert_eq!(report(&agent).quarantined, 0);
    agent.stop().await;
}

#[tokio::test]
async fn mariadb_and_postgres() {
    there_and_back([Engine::MariaDb, Engine::Postgres], MARIADB_TO_POSTGRES).await;
}

#[tokio::test]
async fn postgres_and_mariadb() {
    there_and_back([Engine::Postgres, Engine::MariaDb], POSTGRES_TO_MARIADB).await;
}

#[tokio::test]
async fn mariadb_and_sqlite() {
    there_and_back([Engine::MariaDb, Engine::Sqlite], MARIADB_TO_SQLITE).await;
}

#[tokio::test]
async fn postgres_and_sqlite() {
    there_and_back([Engine::Postgres, Engine::Sqlite], POSTGRES_TO_SQLITE).await;
}

#[tokio::test]
async fn sqlite_and_postgres() {
    there_and_back([Engine::Sqlite, Engine::Postgres], SQLITE_TO_POSTGRES).await;
}

#[tokio::test]
async fn sqlite_and_mariadb() {
    there_and_back([Engine::Sqlite, Engine::MariaDb], SQLITE_TO_MARIADB).await;
}

#[tokio::test]
async fn mariadb_and_mariadb() {
    there_and_back([Engine::MariaDb, Engine::MariaDb], MARIADB_TO_MARIADB).await;
}

#[tokio::test]
async fn sqlite_and_sqlite() {
    there_and_back([Engine::Sqlite, Engine::Sqlite], SQLITE_TO_SQLITE).await;
}
