//! What one side keeps less of than the other is no change, and a stranger's write to another column takes nothing of it.

use ficus_rules::Side;
use ficus_rules::mapping::TableMap;
use ficus_rules::plan::StrayWrites;
use ficus_rules::wire::VerifyScope;

use super::super::app::Engine;
use super::super::world::{World, streaming};
use super::{carried, fenced, flipped, let_through, tables, texts};

/// A FLOAT keeps seven digits of what modern wrote.
async fn of_a_float(modern_engine: Engine, types: [&'static str; 2]) {
    let engines = [Engine::MariaDb, modern_engine];
    let parcels = |_, side: Side| {
        let (table, number) = if side == Side::Legacy { ("parcel", types[0]) } else { ("parcels", types[1]) };
        vec![format!("CREATE TABLE {table} (id bigint PRIMARY KEY, body varchar(50) NOT NULL, weight {number} NULL)")]
    };
    let map = TableMap {
        legacy: "parcel".into(),
        modern: "parcels".into(),
        modern_key: "id".into(),
        columns: vec![],
        keep_modern: vec![],
        ..tables().remove(0)
    };
    let mut world = World::new(engines, parcels, vec![map]).await;
    let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    legacy.exec("INSERT INTO parcel VALUES (1, 'old', 0.1), (2, 'old', NULL), (3, 'old', 0.3)").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    fenced(&mut world, &agent, Side::Legacy).await;
    flipped(&mut world, &agent, Side::Modern).await;
    let_through(&mut world, &agent, StrayWrites::Forward).await;
    modern.exec("UPDATE parcels SET weight = 0.7 WHERE id IN (1, 2)").await;
    modern.exec("INSERT INTO parcels VALUES (4, 'new', 123.456789)").await;
    world.settle(&agent, Side::Modern).await;

    // WHEN strangers write to another column, to this one, and remove a row
    legacy.exec("UPDATE parcel SET body = 'stray' WHERE id IN (1, 2)").await;
    legacy.exec("UPDATE parcel SET weight = 0.25 WHERE id = 3").await;
    legacy.exec("DELETE FROM parcel WHERE id = 4").await;
    // THEN all of it is carried, and modern's number has all of its digits
    carried(&agent, 4).await;
    world.settle(&agent, Side::Modern).await;
    let found = texts(&mut modern, "SELECT concat(id, ' ', body) FROM parcels ORDER BY id").await;
    assert_eq!(found, ["1 stray", "2 stray", "3 old"], "{types:?}");
    let whole =
        texts(&mut modern, &format!("SELECT concat(id, '') FROM parcels WHERE weight = CAST(0.7 AS {}) ORDER BY id", types[1])).await;
    assert_eq!(whole, ["1", "2"], "{types:?}");
    assert_eq!(texts(&mut modern, "SELECT concat(id, '') FROM parcels WHERE weight = 0.25").await, ["3"], "{types:?}");
    let drift: Vec<_> = world.verify(&agent, VerifyScope::Full).await.into_iter().map(|table| (table.drift_rows, table.samples)).collect();
    assert_eq!(drift, [(0, vec![])], "{types:?}");
    agent.stop().await;
}

#[tokio::test]
async fn a_float_is_not_changed_by_its_other_digits() {
    of_a_float(Engine::Postgres, ["float", "double precision"]).await;
    of_a_float(Engine::Postgres, ["float", "real"]).await;
    of_a_float(Engine::Sqlite, ["float", "real"]).await;
    of_a_float(Engine::MariaDb, ["double", "float"]).await;
}
