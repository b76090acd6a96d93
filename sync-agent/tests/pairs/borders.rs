//! A foreign key between the tables of two capabilities, each with streams of its own: who refers to a row comes before it, by a
//! moment, by longer than anybody waits, or by a whole copy. The agent's role may not switch references off on PostgreSQL.

use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::wire::CapabilityReport;
use ficus_sync_agent::Agent;

use super::app::App;
use super::app::Engine::{self, MariaDb, Postgres, Sqlite};
use super::world::World;

/// The capability of the parents; that of their children is `notes`.
const PARENTS: &str = "users";

fn schema(_: Engine, side: Side) -> Vec<String> {
    let [people, notes, key] = if side == Side::Legacy { ["person", "note", "id"] } else { ["people", "notes", "legacy_id"] };
    vec![
        format!("CREATE TABLE {people} ({key} integer NOT NULL PRIMARY KEY, name varchar(50) NOT NULL)"),
        format!(
            "CREATE TABLE {notes} ({key} integer NOT NULL PRIMARY KEY, person_id integer NOT NULL, name varchar(50) NOT NULL, FOREIGN KEY (person_id) REFERENCES {people} ({key}))"
        ),
    ]
}

fn rules(name: &str, legacy: &str, modern: &str) -> String {
    format!(
        "[capability]\nname = \"{name}\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n[[route]]\npath = \"/{name}\"\n[[table]]\nlegacy = \"{legacy}\"\nmodern = \"{modern}\"\n"
    )
}

/// Both capabilities, or that of the children alone.
fn files(both: bool) -> Vec<(&'static str, String)> {
    let notes = ("notes", rules("notes", "note", "notes"));
    if both { vec![(PARENTS, rules(PARENTS, "person", "people")), notes] } else { vec![notes] }
}

async fn order(world: &mut World, agent: &Agent, both: bool) {
    let files = files(both);
    world.rules(agent, &files.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>());
}

async fn until(agent: &Agent, name: &str, what: &str, holds: impl Fn(&CapabilityReport) -> bool) -> CapabilityReport {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let report = agent.report().capabilities.get(name).cloned().unwrap_or_default();
        if holds(&report) {
            return report;
        }
        assert!(Instant::now() < deadline, "{name}, not within 60 s: {what}; {report:#?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn streams(agent: &Agent, name: &str) {
    let flows = |report: &CapabilityReport| report.backfill.complete && report.forward.live && report.reverse.live;
    until(agent, name, "both streams", flows).await;
}

async fn keys(app: &mut App, table: &str) -> Vec<String> {
    let rows = app.rows(&format!("SELECT CAST(legacy_id AS char(9)) FROM {table} ORDER BY legacy_id")).await;
    rows.into_iter().map(|row| row[0].clone().unwrap().trim().to_owned()).collect()
}

async fn has(app: &mut App, table: &str, wanted: &[&str]) {
    let begun = Instant::now();
    while keys(app, table).await != wanted {
        assert!(begun.elapsed() < Duration::from_secs(60), "{table} has {:?}, and not {wanted:?}", keys(app, table).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// GIVEN two capabilities that flow, WHEN nobody can write parents to modern for a moment, or for longer than their children wait, THEN
/// the children come with their parents, whoever has no such parent comes meanwhile, and nothing stays aside; the same backwards
/// when they are removed.
async fn comes_before_its_parent(legacy: Engine) {
    let mut world = World::new([legacy, Postgres], schema, Vec::new()).await;
    let (mut old, mut new, mut watching) = (world.app(Side::Legacy).await, world.app(Side::Modern).await, world.app(Side::Modern).await);
    old.exec("INSERT INTO person (id, name) VALUES (1, 'one')").await;
    old.exec("INSERT INTO note (id, person_id, name) VALUES (1, 1, 'of one')").await;
    let files = files(true);
    let agent = world.agent_by_rules(&files.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>()).await;
    for name in [PARENTS, "notes"] {
        streams(&agent, name).await;
    }
    has(&mut watching, "notes", &["1"]).await;

    // By a moment: it waits. References can be looked at, but nobody can write.
    new.exec("BEGIN").await;
    new.exec("LOCK TABLE people IN SHARE MODE").await;
    old.exec("INSERT INTO person (id, name) VALUES (2, 'two')").await;
    old.exec("INSERT INTO note (id, person_id, name) VALUES (2, 2, 'of two')").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(keys(&mut watching, "notes").await, ["1"], "{legacy:?}");
    assert_eq!(agent.report().capabilities["notes"].quarantined, 0, "{legacy:?}: nobody waited");
    new.exec("COMMIT").await;
    has(&mut watching, "notes", &["1", "2"]).await;
    assert_eq!(agent.report().capabilities["notes"].quarantined, 0, "{legacy:?}");

    // By longer than anybody waits: it is set aside, and comes when its parent has come.
    new.exec("BEGIN").await;
    new.exec("LOCK TABLE people IN SHARE MODE").await;
    old.exec("INSERT INTO person (id, name) VALUES (3, 'three')").await;
    old.exec("INSERT INTO note (id, person_id, name) VALUES (3, 3, 'of three')").await;
    old.exec("INSERT INTO note (id, person_id, name) VALUES (4, 1, 'of one, too')").await;
    until(&agent, "notes", "one is set aside", |report| report.quarantined == 1).await;
    has(&mut watching, "notes", &["1", "2", "4"]).await;
    new.exec("COMMIT").await;
    has(&mut watching, "notes", &["1", "2", "3", "4"]).await;
    until(&agent, "notes", "nothing is set aside", |report| report.quarantined == 0).await;

    // The same for a parent that is to go before its children have gone.
    new.exec("BEGIN").await;
    new.exec("LOCK TABLE notes IN SHARE MODE").await;
    old.exec("DELETE FROM note WHERE id = 3").await;
    old.exec("DELETE FROM person WHERE id = 3").await;
    until(&agent, PARENTS, "it is set aside", |report| report.quarantined == 1).await;
    assert_eq!(keys(&mut watching, "people").await, ["1", "2", "3"], "{legacy:?}");
    new.exec("COMMIT").await;
    has(&mut watching, "people", &["1", "2"]).await;
    until(&agent, PARENTS, "nothing is set aside", |report| report.quarantined == 0).await;
    has(&mut watching, "notes", &["1", "2", "4"]).await;
    agent.stop().await;
}

#[tokio::test]
async fn comes_before_its_parent_from_mariadb() {
    comes_before_its_parent(MariaDb).await;
}

#[tokio::test]
async fn comes_before_its_parent_from_sqlite() {
    comes_before_its_parent(Sqlite).await;
}

#[tokio::test]
async fn comes_before_its_parent_from_postgresql() {
    comes_before_its_parent(Postgres).await;
}

/// GIVEN children whose parents' capability has not begun, WHEN they are copied, THEN nothing of them is set aside: where modern
/// refuses them the copy waits and says for what, and goes on by itself; one whose parent is nowhere is set aside then, and comes
/// with it.
async fn is_copied_before_its_parent(engines: [Engine; 2]) {
    let mut world = World::new(engines, schema, Vec::new()).await;
    let (mut old, mut watching) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    for id in 1..=3 {
        old.exec(&format!("INSERT INTO person (id, name) VALUES ({id}, 'p')")).await;
        old.exec(&format!("INSERT INTO note (id, person_id, name) VALUES ({id}, {id}, 'n')")).await;
    }
    // As it is in data that is old enough.
    match engines[0] {
        Postgres => {
            old.exec("ALTER TABLE note DROP CONSTRAINT note_person_id_fkey").await;
        }
        MariaDb => old.exec("SET foreign_key_checks = 0").await,
        Sqlite => old.exec("PRAGMA foreign_keys = OFF").await,
    }
    old.exec("INSERT INTO note (id, person_id, name) VALUES (4, 4, 'of nobody')").await;
    let notes = files(false);
    let agent = world.agent_by_rules(&[(notes[0].0, &notes[0].1)]).await;
    if engines[1] == Postgres {
        let said = until(&agent, "notes", "it says what it waits for", |report| report.trouble.is_some()).await;
        let trouble = said.trouble.unwrap();
        for word in ["notes (person_id) refers to people, which is empty", "begin that one", "DROP CONSTRAINT \"notes_person_id_fkey\""] {
            assert!(trouble.contains(word), "no {word}: {trouble}");
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let report = agent.report().capabilities["notes"].clone();
        assert!(report.quarantined == 0 && !report.backfill.complete && keys(&mut watching, "notes").await.is_empty(), "{report:#?}");
        order(&mut world, &agent, true).await;
        streams(&agent, "notes").await;
        has(&mut watching, "notes", &["1", "2", "3"]).await;
        let report = until(&agent, "notes", "no trouble", |report| report.trouble.is_none()).await;
        assert_eq!(report.quarantined, 1, "{engines:?}: {report:#?}");
        old.exec("INSERT INTO person (id, name) VALUES (4, 'four')").await;
    } else {
        streams(&agent, "notes").await;
        has(&mut watching, "notes", &["1", "2", "3", "4"]).await;
        order(&mut world, &agent, true).await;
    }
    streams(&agent, PARENTS).await;
    has(&mut watching, "notes", &["1", "2", "3", "4"]).await;
    let people: &[&str] = if engines[1] == Postgres { &["1", "2", "3", "4"] } else { &["1", "2", "3"] };
    has(&mut watching, "people", people).await;
    until(&agent, "notes", "nothing is set aside", |report| report.quarantined == 0).await;
    agent.stop().await;
}

#[tokio::test]
async fn is_copied_before_its_parent_from_mariadb() {
    is_copied_before_its_parent([MariaDb, Postgres]).await;
}

#[tokio::test]
async fn is_copied_before_its_parent_from_sqlite() {
    is_copied_before_its_parent([Sqlite, Postgres]).await;
}

#[tokio::test]
async fn is_copied_before_its_parent_to_mariadb() {
    is_copied_before_its_parent([MariaDb, MariaDb]).await;
}

#[tokio::test]
async fn is_copied_before_its_parent_to_sqlite() {
    is_copied_before_its_parent([Postgres, Sqlite]).await;
}
