//! Rows that live in another form on the other side: marked instead of deleted, split over two tables, packed into a
//! document, told by a clock on another wall.

use ficus_rules::Side;
use ficus_rules::mapping::{ColumnMap, ColumnSource, Mark, Rows, TableMap, Value};

use super::support::{World, exec, number, streaming, text};

const LEGACY: &str = "CREATE TABLE item (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, name varchar(30) NOT NULL, kind integer NOT NULL,
  deleted_at datetime NULL, seen datetime NOT NULL, bio text NULL, rank integer NOT NULL);
INSERT INTO item VALUES (1, 'one', 1, NULL, '2026-07-01 12:00:00', 'b', 7), (2, 'two', 2, NULL, '2026-07-01 12:00:00', NULL, 8),
  (3, 'gone', 1, '2026-01-01 00:00:00', '2026-07-01 12:00:00', NULL, 9);";

const MODERN: &str =
    "CREATE TABLE tall (legacy_id integer UNIQUE, name text NOT NULL, seen datetime NOT NULL, profile json NOT NULL, dead bool NOT NULL);
CREATE TABLE small (legacy_id integer UNIQUE, name text NOT NULL, seen datetime NOT NULL, profile json NOT NULL, dead bool NOT NULL);";

fn map(modern: &str, kind: i64) -> TableMap {
    let columns = [
        ("seen", ColumnSource::Local { column: "seen".into(), zone: "Europe/Berlin".into() }),
        ("profile", ColumnSource::Pack { columns: vec!["bio".into(), "rank".into()] }),
        ("dead", ColumnSource::Constant(Value::Int(0))),
    ];
    TableMap {
        events: Vec::new(),
        source: "users.toml:1".into(),
        legacy: "item".into(),
        modern: modern.into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: None,
        columns: columns.into_iter().map(|(name, from)| ColumnMap { modern: name.into(), from }).collect(),
        only: false,
        keep_legacy: Vec::new(),
        keep_modern: Vec::new(),
        zero_dates: ficus_rules::mapping::ZeroDates::default(),
        rows: Rows {
            filter: vec![("kind".into(), Value::Int(kind)), ("deleted_at".into(), Value::Null)],
            legacy_delete: vec![("deleted_at".into(), Mark::Now)],
            modern_delete: vec![("dead".into(), Mark::Value(Value::Int(1)))],
        },
    }
}

#[tokio::test]
async fn rows_are_split_packed_and_marked_both_ways() {
    let mut world = World::new().await;
    let mut legacy = world.app(Side::Legacy).await;
    let mut modern = world.app(Side::Modern).await;
    exec(&mut legacy, LEGACY).await;
    exec(&mut modern, MODERN).await;
    world.tables = vec![map("tall", 1), map("small", 2)];
    let agent = world.agent().await;
    streaming(&agent).await;
    assert_eq!(
        text(&mut modern, "SELECT group_concat(name || seen || profile) FROM tall").await.as_deref(),
        Some("one2026-07-01 10:00:00{\"bio\": \"b\", \"rank\": 7}")
    );
    assert_eq!(
        text(&mut modern, "SELECT group_concat(name || profile) FROM small").await.as_deref(),
        Some("two{\"bio\": null, \"rank\": 8}")
    );
    world.must_be_equal(&agent).await;

    // A row that changes its kind changes its table; one that is deleted stays, marked.
    exec(&mut legacy, "INSERT INTO item VALUES (4, 'four', 1, NULL, '2026-12-01 12:00:00', NULL, 1), (5, 'five', 2, NULL, '2026-12-01 12:00:00', NULL, 1)").await;
    world.settle(&agent, Side::Legacy).await;
    exec(&mut legacy, "UPDATE item SET kind = 2 WHERE id = 1; DELETE FROM item WHERE id = 2; UPDATE item SET deleted_at = '2026-02-01 00:00:00' WHERE id = 5").await;
    world.settle(&agent, Side::Legacy).await;
    let rows = "SELECT group_concat(name || dead) FROM (SELECT name, dead FROM small ORDER BY name)";
    assert_eq!(text(&mut modern, rows).await.as_deref(), Some("five1,one0,two1"));
    assert_eq!(number(&mut modern, "SELECT dead FROM tall WHERE legacy_id = 1").await, 1);
    world.must_be_equal(&agent).await;

    // The way back: what modern removes or marks, legacy marks.
    world.switch(&agent, Side::Modern).await;
    exec(
        &mut modern,
        "DELETE FROM tall WHERE legacy_id = 4; UPDATE small SET profile = '{\"rank\":3}', seen = '2026-01-01 00:30:00' WHERE legacy_id = 1",
    )
    .await;
    world.settle(&agent, Side::Modern).await;
    assert_eq!(number(&mut legacy, "SELECT count(*) FROM item WHERE id = 4 AND name = 'four' AND deleted_at > '2026'").await, 1);
    let one = "SELECT kind || seen || coalesce(bio, '-') || rank FROM item WHERE id = 1 AND deleted_at IS NULL";
    assert_eq!(text(&mut legacy, one).await.as_deref(), Some("22026-01-01 01:30:00-3"));
    assert_eq!(number(&mut legacy, "SELECT count(*) FROM item WHERE id = 3").await, 1, "nobody touched what takes no part");
    world.must_be_equal(&agent).await;
    agent.stop().await;
}
