//! What others are told while tables join a capability, and of rows that go from one pair to another: on a real Redis.

use std::time::{Duration, Instant};

use ficus_rules::Side;
use serde_json::Value as Json;

use super::app::Engine::{self, MariaDb, Postgres, Sqlite};
use super::buses::{Kind, Server};
use super::world::{World, report, streaming, until};

const ROWS: u32 = 3_000;

const HEAD: &str = "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n[[route]]\npath = \"/users\"\n";
const WRITERS: &str = "[[table]]\nlegacy = \"writer\"\nmodern = \"writers\"\n[table.columns]\nid = { from = \"id\", as = \"uuid5\" }\n";
const BOOKS: &str = "[[table]]\nlegacy = \"book\"\nmodern = \"books\"\n[table.columns]\nid = { from = \"id\", as = \"uuid5\" }\n\
    [[event]]\ntable = \"books\"\nto = \"bus\"\ncreated = \"book.created\"\nupdated = \"book.updated\"\ndeleted = \"book.deleted\"\nsubject = \"id\"\ncolumns = [\"title\"]\n";

fn schema(engine: Engine, side: Side) -> Vec<String> {
    let uuid = if engine == Sqlite { "text" } else { "uuid" };
    let own = match side {
        Side::Legacy => "id integer NOT NULL PRIMARY KEY".to_owned(),
        Side::Modern => format!("id {uuid} NOT NULL PRIMARY KEY, legacy_id integer UNIQUE"),
    };
    let names = if side == Side::Legacy { ["writer", "book"] } else { ["writers", "books"] };
    names.map(|name| format!("CREATE TABLE {name} ({own}, title varchar(90) NULL, shelf integer NULL)")).to_vec()
}

fn told(event: &Json) -> (&str, i64, &str) {
    let title = event["data"]["title"].as_str().unwrap_or("");
    (event["type"].as_str().unwrap().trim_start_matches("book."), event["data"]["legacy_id"].as_i64().unwrap(), title)
}

async fn arrived(world: &World, agent: &ficus_sync_agent::Agent) {
    until(agent, "nothing is compared any more", |report| report.trouble.is_none() && report.forward.live && report.reverse.live).await;
    world.settle(agent, Side::Legacy).await;
    until(agent, "all is told", |report| report.events.get("bus").is_some_and(|bus| bus.waiting == 0)).await;
}

/// GIVEN a table of many rows, WHEN it joins, and some of them change before they are copied, with an agent that dies meanwhile,
/// THEN these are told as they become, and the copy is not.
async fn of_a_table_that_joins(engines: [Engine; 2]) {
    let mut bus = Server::start(Kind::Redis).await;
    let mut world = World::new(engines, schema, Vec::new()).await;
    world.buses = [("bus".to_owned(), bus.bus())].into();
    let mut legacy = world.app(Side::Legacy).await;
    for from in (1..=ROWS).step_by(500) {
        let rows: Vec<String> = (from..from + 500).map(|id| format!("({id}, 'book {id}')")).collect();
        legacy.exec(&format!("INSERT INTO book (id, title) VALUES {}", rows.join(", "))).await;
    }
    let before = format!("{HEAD}{WRITERS}");
    let agent = world.agent_by_rules(&[("users", &before)]).await;
    streaming(&agent).await;
    let more = format!("{HEAD}{WRITERS}{BOOKS}");
    world.rules(&agent, &[("users", &more)]);
    let compares =
        |report: &ficus_rules::wire::CapabilityReport| report.trouble.as_ref().is_some_and(|why| why.contains("are being compared"));
    until(&agent, "it is compared", compares).await;
    // It may be anywhere in it.
    drop(agent);
    legacy.exec(&format!("UPDATE book SET title = 'changed' WHERE id = {}", ROWS - 5)).await;
    legacy.exec(&format!("DELETE FROM book WHERE id = {}", ROWS - 7)).await;
    legacy.exec("INSERT INTO book (id, title) VALUES (100000, 'new')").await;
    let agent = world.agent_by_rules(&[("users", &more)]).await;
    arrived(&world, &agent).await;
    legacy.exec(&format!("UPDATE book SET title = 'changed again' WHERE id = {}", ROWS - 5)).await;
    let events = bus.once("the last change", |events| events.last().is_some_and(|event| told(event).2 == "changed again")).await;
    arrived(&world, &agent).await;

    let mut events: Vec<(&str, i64, &str)> = events.iter().map(told).collect();
    let others: Vec<_> = events.iter().filter(|(_, id, _)| ![100_000, i64::from(ROWS) - 5, i64::from(ROWS) - 7].contains(id)).collect();
    assert!(others.is_empty(), "{engines:?}: {} events of rows that nobody wrote, as {:?}", others.len(), others[0]);
    events.dedup();
    events.sort_unstable_by_key(|(_, id, _)| *id);
    let (gone, five) = (i64::from(ROWS) - 7, i64::from(ROWS) - 5);
    let expected = [("deleted", gone, ""), ("updated", five, "changed"), ("updated", five, "changed again"), ("created", 100_000, "new")];
    assert!(events == expected, "{engines:?}: {events:?}");

    let titles = |table, key| format!("SELECT title FROM {table} ORDER BY {key}");
    let mut modern = world.app(Side::Modern).await;
    assert!(legacy.rows(&titles("book", "id")).await == modern.rows(&titles("books", "legacy_id")).await, "{engines:?}");
    assert_eq!(report(&agent).quarantined, 0);
    agent.stop().await;
}

#[tokio::test]
async fn of_a_table_that_joins_on_postgresql() {
    of_a_table_that_joins([Postgres, MariaDb]).await;
}

#[tokio::test]
async fn of_a_table_that_joins_on_mariadb() {
    of_a_table_that_joins([MariaDb, Sqlite]).await;
}

#[tokio::test]
async fn of_a_table_that_joins_on_sqlite() {
    of_a_table_that_joins([Sqlite, Postgres]).await;
}

/// Two pairs of the same two tables: a row that goes from one to the other has changed, whichever comes first in the rules.
async fn of_a_row_that_moves(engines: [Engine; 2]) {
    let pair = |shelf: u8| {
        format!(
            "[[table]]\nlegacy = \"book\"\nmodern = \"books\"\nwhere = {{ shelf = {shelf} }}\n[table.columns]\nid = {{ from = \"id\", as = \"uuid5\" }}\nshelf = {{ constant = {shelf} }}\n"
        )
    };
    let event = BOOKS.split_once("[[event]]").unwrap().1;
    let rules = format!("{HEAD}{}{}[[event]]{event}", pair(1), pair(2));
    let mut bus = Server::start(Kind::Redis).await;
    let mut world = World::new(engines, schema, Vec::new()).await;
    world.buses = [("bus".to_owned(), bus.bus())].into();
    let mut legacy = world.app(Side::Legacy).await;
    legacy.exec("INSERT INTO book (id, title, shelf) VALUES (1, 'one', 1), (2, 'two', 2), (3, 'three', 1)").await;
    let agent = world.agent_by_rules(&[("users", &rules)]).await;
    streaming(&agent).await;
    for (id, shelf) in [(1, 2), (2, 1), (1, 1)] {
        legacy.exec(&format!("UPDATE book SET shelf = {shelf} WHERE id = {id}")).await;
        arrived(&world, &agent).await;
    }
    legacy.exec("UPDATE book SET shelf = 7 WHERE id = 3").await;
    arrived(&world, &agent).await;
    let mut modern = world.app(Side::Modern).await;
    modern.exec("UPDATE books SET title = 'by modern' WHERE legacy_id = 2").await;
    world.settle(&agent, Side::Modern).await;
    let begun = Instant::now();
    while bus.heard().await.len() < 5 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", bus.heard().await.iter().map(told).collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let events: Vec<(&str, i64, &str)> = bus.heard().await.iter().map(told).collect();
    let moved = |id, title| ("updated", id, title);
    assert_eq!(events, [moved(1, "one"), moved(2, "two"), moved(1, "one"), ("deleted", 3, ""), moved(2, "by modern")], "{engines:?}");
    agent.stop().await;
}

#[tokio::test]
async fn of_a_row_that_moves_on_postgresql() {
    of_a_row_that_moves([Postgres, Sqlite]).await;
}

#[tokio::test]
async fn of_a_row_that_moves_on_mariadb() {
    of_a_row_that_moves([MariaDb, Postgres]).await;
}

#[tokio::test]
async fn of_a_row_that_moves_on_sqlite() {
    of_a_row_that_moves([Sqlite, MariaDb]).await;
}
