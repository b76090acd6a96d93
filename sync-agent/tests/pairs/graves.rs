//! Rows that are marked instead of deleted: they come back under their key, and may be another pair's then.

use ficus_rules::Side;
use ficus_rules::mapping::{ColumnMap, ColumnSource, Mark, Rows, TableMap, Value, ZeroDates};

use super::app::{App, Engine};
use super::world::{World, report, streaming};

fn schema(_: Engine, side: Side) -> Vec<String> {
    let more = "name varchar(50) NOT NULL";
    match side {
        Side::Legacy => {
            vec![format!(
                "CREATE TABLE item (id integer NOT NULL PRIMARY KEY, {more} UNIQUE, kind integer NOT NULL, gone integer NOT NULL, seen varchar(9))"
            )]
        }
        Side::Modern => ["tall", "small"]
            .map(|table| format!("CREATE TABLE {table} (legacy_id integer NOT NULL PRIMARY KEY, {more} UNIQUE, dead integer NULL)"))
            .to_vec(),
    }
}

fn map(modern: &str, kind: i64) -> TableMap {
    TableMap {
        events: Vec::new(),
        source: "pairs.toml:1".into(),
        legacy: "item".into(),
        modern: modern.into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: None,
        columns: vec![ColumnMap { modern: "dead".into(), from: ColumnSource::Constant(Value::Null) }],
        only: false,
        keep_legacy: vec!["seen".into()],
        keep_modern: Vec::new(),
        zero_dates: ZeroDates::default(),
        rows: Rows {
            filter: vec![("kind".into(), Value::Int(kind)), ("gone".into(), Value::Int(0))],
            legacy_delete: vec![("gone".into(), Mark::Value(Value::Int(1)))],
            modern_delete: vec![("dead".into(), Mark::Value(Value::Int(1)))],
        },
    }
}

async fn all(app: &mut App, side: Side) -> String {
    let sql = match side {
        Side::Legacy => "SELECT concat_ws('/', id, name, kind, gone, seen) FROM item ORDER BY id",
        Side::Modern => {
            "SELECT r FROM (SELECT concat_ws('/', 'tall', legacy_id, name, coalesce(dead, 0)) AS r FROM tall
             UNION ALL SELECT concat_ws('/', 'small', legacy_id, name, coalesce(dead, 0)) FROM small) t ORDER BY r"
        }
    };
    // SQLite has no such function yet.
    let sqlite = |sql: &str| {
        let concatenated = sql.replace(
            "concat_ws('/', 'tall', legacy_id, name, coalesce(dead, 0))",
            "'tall/' || legacy_id || '/' || name || '/' || coalesce(dead, 0)",
        );
        let concatenated = concatenated.replace(
            "concat_ws('/', 'small', legacy_id, name, coalesce(dead, 0))",
            "'small/' || legacy_id || '/' || name || '/' || coalesce(dead, 0)",
        );
        concatenated.replace("concat_ws('/', id, name, kind, gone, seen)", "id || '/' || name || '/' || kind || '/' || gone || '/' || seen")
    };
    let sql = if app.engine() == Engine::Sqlite { sqlite(sql) } else { sql.to_owned() };
    app.rows(&sql).await.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect::<Vec<_>>().join(" ")
}

async fn come_back(engines: [Engine; 2]) {
    let mut world = World::new(engines, schema, vec![map("tall", 1), map("small", 2)]).await;
    let mut apps = [world.app(Side::Legacy).await, world.app(Side::Modern).await];
    apps[0].exec("INSERT INTO item VALUES (1, 'one', 1, 0, 's'), (2, 'two', 2, 0, 's'), (3, 'three', 1, 0, 's')").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    // Each transaction on one side, and what there is on both after it.
    for (side, transaction, legacy, modern) in [
        (Side::Legacy, "DELETE FROM item WHERE id = 1", "2/two/2/0/s 3/three/1/0/s", "small/2/two/0 tall/1/one/1 tall/3/three/0"),
        (
            Side::Legacy,
            "INSERT INTO item VALUES (1, 'uno', 1, 0, 't')",
            "1/uno/1/0/t 2/two/2/0/s 3/three/1/0/s",
            "small/2/two/0 tall/1/uno/0 tall/3/three/0",
        ),
        (
            Side::Legacy,
            "DELETE FROM item WHERE id IN (1, 3); INSERT INTO item VALUES (1, 'three', 1, 0, 's'), (3, 'uno', 1, 0, 's')",
            "1/three/1/0/s 2/two/2/0/s 3/uno/1/0/s",
            "small/2/two/0 tall/1/three/0 tall/3/uno/0",
        ),
        (
            Side::Legacy,
            "UPDATE item SET kind = 3 - kind",
            "1/three/2/0/s 2/two/1/0/s 3/uno/2/0/s",
            "small/1/three/0 small/2/two/1 small/3/uno/0 tall/1/three/1 tall/2/two/0 tall/3/uno/1",
        ),
        // And back again, all of them out of their graves.
        (
            Side::Legacy,
            "UPDATE item SET kind = 3 - kind",
            "1/three/1/0/s 2/two/2/0/s 3/uno/1/0/s",
            "small/1/three/1 small/2/two/0 small/3/uno/1 tall/1/three/0 tall/2/two/1 tall/3/uno/0",
        ),
        (
            Side::Modern,
            "DELETE FROM tall WHERE legacy_id = 1",
            "1/three/1/1/s 2/two/2/0/s 3/uno/1/0/s",
            "small/1/three/1 small/2/two/0 small/3/uno/1 tall/2/two/1 tall/3/uno/0",
        ),
        // Marked as one pair's, it is taken over by another.
        (
            Side::Modern,
            "UPDATE small SET dead = NULL WHERE legacy_id = 1",
            "1/three/2/0/s 2/two/2/0/s 3/uno/1/0/s",
            "small/1/three/0 small/2/two/0 small/3/uno/1 tall/2/two/1 tall/3/uno/0",
        ),
        // At once, to the pair that is written first and to the one that is written last.
        (
            Side::Modern,
            "UPDATE small SET dead = 1 WHERE legacy_id = 2; UPDATE tall SET dead = NULL WHERE legacy_id = 2;
             UPDATE tall SET dead = 1 WHERE legacy_id = 3; UPDATE small SET dead = NULL WHERE legacy_id = 3",
            "1/three/2/0/s 2/two/1/0/s 3/uno/2/0/s",
            "small/1/three/0 small/2/two/1 small/3/uno/0 tall/2/two/0 tall/3/uno/1",
        ),
    ] {
        let app = &mut apps[usize::from(side == Side::Modern)];
        app.exec("BEGIN").await;
        for statement in transaction.split(';') {
            app.exec(statement).await;
        }
        app.exec("COMMIT").await;
        world.settle(&agent, side).await;
        assert_eq!(report(&agent).quarantined, 0, "{engines:?}: {transaction}");
        for (side, app, expected) in [(Side::Legacy, 0, legacy), (Side::Modern, 1, modern)] {
            assert_eq!(all(&mut apps[app], side).await, expected, "{engines:?}, {side}: {transaction}");
        }
    }
    for table in world.verify(&agent, ficus_rules::wire::VerifyScope::Full).await {
        assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "{}", table.modern);
    }
    agent.stop().await;
}

/// Where two pairs may have rows of one key, the grave of one is nothing to the other.
async fn lie_beside(engines: [Engine; 2]) {
    let schema = |engine: Engine, side: Side| {
        let tables = schema(engine, side).into_iter();
        let keyed = tables.map(|table| {
            let two = table.replace("id integer NOT NULL PRIMARY KEY, name", "id integer NOT NULL, name");
            if side == Side::Legacy { two.replace("seen varchar(9))", "seen varchar(9), PRIMARY KEY (kind, id))") } else { table }
        });
        keyed.collect()
    };
    let world = World::new(engines, schema, vec![map("tall", 1), map("small", 2)]).await;
    let mut apps = [world.app(Side::Legacy).await, world.app(Side::Modern).await];
    apps[0].exec("INSERT INTO item VALUES (1, 'one', 1, 0, 's'), (2, 'two', 1, 0, 's'), (1, 'un', 2, 0, 's')").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    for (transaction, legacy) in [
        ("DELETE FROM small WHERE legacy_id = 1", ["1/one/1/0/s", "1/un/2/1/s", "2/two/1/0/s"]),
        // Names are swapped, so that they have to be moved out of each other's way.
        (
            "UPDATE tall SET name = 'x' WHERE legacy_id = 1; UPDATE tall SET name = 'one' WHERE legacy_id = 2;
             UPDATE tall SET name = 'two' WHERE legacy_id = 1",
            ["1/two/1/0/s", "1/un/2/1/s", "2/one/1/0/s"],
        ),
    ] {
        apps[1].exec("BEGIN").await;
        for statement in transaction.split(';') {
            apps[1].exec(statement).await;
        }
        apps[1].exec("COMMIT").await;
        world.settle(&agent, Side::Modern).await;
        assert_eq!(report(&agent).quarantined, 0, "{engines:?}: {transaction}");
        let found = all(&mut apps[0], Side::Legacy).await;
        let mut found: Vec<&str> = found.split(' ').collect();
        found.sort_unstable();
        assert_eq!(found, legacy, "{engines:?}: {transaction}");
    }
    agent.stop().await;
}

#[tokio::test]
async fn in_sqlite() {
    lie_beside([Engine::Sqlite, Engine::Sqlite]).await;
}

#[tokio::test]
async fn in_postgres() {
    lie_beside([Engine::Postgres, Engine::Sqlite]).await;
}

#[tokio::test]
async fn in_mariadb() {
    lie_beside([Engine::MariaDb, Engine::Sqlite]).await;
}

super::pairs!(super::graves::come_back);
