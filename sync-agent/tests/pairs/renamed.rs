//! A pair is named by its tables, as far as others have the same. What is remembered of it under another name is found again: after
//! an upgrade, and when another pair joins it or goes.

use ficus_rules::wire::VerifyScope;
use ficus_rules::{Side, wire::CapabilityReport};
use ficus_sync_agent::Agent;

use super::app::Engine::{self, MariaDb, Postgres, Sqlite};
use super::world::{World, report, streaming, until};

const HEAD: &str = "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n[[route]]\npath = \"/users\"\n";

fn schema(_: Engine, side: Side) -> Vec<String> {
    let tables: &[(&str, &str)] =
        if side == Side::Legacy { &[("book", "id")] } else { &[("books", "legacy_id"), ("archive", "legacy_id")] };
    let of = |(table, key): &(&str, &str)| {
        format!("CREATE TABLE {table} ({key} integer NOT NULL PRIMARY KEY, title varchar(90) NULL, shelf integer NULL)")
    };
    tables.iter().map(of).collect()
}

/// A pair of `book`, of one shelf.
fn pair(modern: &str, shelf: u8) -> String {
    format!(
        "[[table]]\nlegacy = \"book\"\nmodern = \"{modern}\"\nwhere = {{ shelf = {shelf} }}\n[table.columns]\nshelf = {{ constant = {shelf} }}\n"
    )
}

async fn copied(world: &World) -> Vec<String> {
    let mut modern = world.app(Side::Modern).await;
    let table = if modern.engine() == Postgres { "_ficus.copied" } else { "_ficus_copied" };
    let rows = modern.rows(&format!("SELECT pair FROM {table} ORDER BY pair")).await;
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

/// Both sides have the same, and what is written goes on to flow.
async fn goes_on(world: &mut World, agent: &Agent, id: u32) -> CapabilityReport {
    until(agent, "nothing is compared any more", |report| report.trouble.is_none() && report.forward.live && report.reverse.live).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.exec(&format!("INSERT INTO book (id, title, shelf) VALUES ({id}, 'new', 1), ({}, 'new', 2)", id + 1)).await;
    legacy.exec("UPDATE book SET shelf = 3 - shelf WHERE id = 1").await;
    world.settle(agent, Side::Legacy).await;
    for table in world.verify(agent, VerifyScope::Full).await {
        assert_eq!((table.drift_rows, &table.samples), (0, &Vec::new()), "{:?}: {}", world.engines, table.modern);
        assert!(table.modern_rows > 1, "{:?}: {} has {} rows", world.engines, table.modern, table.modern_rows);
    }
    report(agent)
}

/// GIVEN two pairs of the same two tables, and what an earlier release remembered of them, which gave both one name, WHEN the agent
/// begins, also one that finds that something was written in between and that something is set aside, THEN nothing is copied anew,
/// and they flow.
async fn after_an_upgrade(engines: [Engine; 2]) {
    let mut world = World::new(engines, schema, Vec::new()).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.exec("INSERT INTO book (id, title, shelf) VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 1)").await;
    let rules = format!("{HEAD}{}{}", pair("books", 1), pair("books", 2));
    let agent = world.agent_by_rules(&[("users", &rules)]).await;
    streaming(&agent).await;
    goes_on(&mut world, &agent, 10).await;
    agent.stop().await;
    let mut modern = world.app(Side::Modern).await;
    let [copy, aside, name] = match engines[1] {
        Postgres => ["_ficus.copied", "_ficus.quarantine", "pair"],
        MariaDb => ["_ficus_copied", "_ficus_quarantine", "`pair`"],
        Sqlite => ["_ficus_copied", "_ficus_quarantine", "\"pair\""],
    };
    assert_eq!(copied(&world).await, ["book/books/shelf=1", "book/books/shelf=2"]);
    modern.exec(&format!("DELETE FROM {copy} WHERE {name} = 'book/books/shelf=1'")).await;
    modern.exec(&format!("UPDATE {copy} SET {name} = 'book/books'")).await;
    let columns = match engines[1] {
        Postgres => "(stream, pair, key, reason) VALUES ('users/forward', 'book/books', '3', 'long ago')",
        MariaDb => {
            "(`stream`, `pair`, `digest`, `key`, `reason`, `at`) VALUES ('users/forward', 'book/books', 'x', '3', 'long ago', now())"
        }
        Sqlite => "(stream, pair, key, reason, at) VALUES ('users/forward', 'book/books', 3, 'long ago', '2026-01-01')",
    };
    modern.exec(&format!("INSERT INTO {aside} {columns}")).await;
    legacy.exec("UPDATE book SET title = 'changed' WHERE id = 2").await;
    legacy.exec("DELETE FROM book WHERE id = 11").await;
    assert_eq!(modern.rows("SELECT title FROM books").await.len(), 5, "{engines:?}");
    let agent = world.agent_by_rules(&[("users", &rules)]).await;
    let seen = goes_on(&mut world, &agent, 20).await;
    assert_eq!(seen.quarantined, 0, "{engines:?}");
    assert_eq!(copied(&world).await, ["book/books/shelf=1", "book/books/shelf=2"], "{engines:?}");
    agent.stop().await;
}

#[tokio::test]
async fn after_an_upgrade_on_postgresql() {
    after_an_upgrade([MariaDb, Postgres]).await;
}

#[tokio::test]
async fn after_an_upgrade_on_mariadb() {
    after_an_upgrade([Sqlite, MariaDb]).await;
}

#[tokio::test]
async fn after_an_upgrade_on_sqlite() {
    after_an_upgrade([Postgres, Sqlite]).await;
}

/// GIVEN a pair that flows, WHEN another of the same legacy table joins, and when it goes again, THEN both flow, then the first.
async fn beside_another(engines: [Engine; 2]) {
    let mut world = World::new(engines, schema, Vec::new()).await;
    let mut legacy = world.app(Side::Legacy).await;
    legacy.exec("INSERT INTO book (id, title, shelf) VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 1)").await;
    let (one, two) = (format!("{HEAD}{}", pair("books", 1)), format!("{HEAD}{}{}", pair("books", 1), pair("archive", 2)));
    let agent = world.agent_by_rules(&[("users", &one)]).await;
    streaming(&agent).await;
    goes_on(&mut world, &agent, 10).await;
    assert_eq!(copied(&world).await, ["book"]);
    for (rules, names, id) in [(&two, vec!["book/archive", "book/books"], 20), (&one, vec!["book", "book/archive"], 30)] {
        world.rules(&agent, &[("users", rules)]);
        let begun = std::time::Instant::now();
        while copied(&world).await != names {
            let said = report(&agent).trouble;
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{engines:?}: {:?}, {said:?}", copied(&world).await);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        goes_on(&mut world, &agent, id).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn beside_another_on_postgresql() {
    beside_another([MariaDb, Postgres]).await;
}

#[tokio::test]
async fn beside_another_on_sqlite() {
    beside_another([Postgres, Sqlite]).await;
}
