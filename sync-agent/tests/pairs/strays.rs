//! Writers past the gateway once modern owns, where the rules let them: their rows are kept with who wrote, go nowhere else, and
//! nothing is lost of them until somebody has decided.

use ficus_rules::Side;
use ficus_rules::mapping::TableMap;
use ficus_rules::plan::StrayWrites;
use ficus_rules::wire::{CapabilityReport, Fences, MarkEnd, Strays, VerifyScope};
use ficus_sync_agent::Agent;

use super::app::{App, Engine};
use super::resume::killed_at;
use super::world::{World, report, streaming, until};
use super::{schema, tables};

mod back;
mod digits;

const BOTH: Fences = Fences { legacy: true, modern: true };

/// What a switch does until both databases are fenced and the end of the owner's log is applied.
async fn fenced(world: &mut World, agent: &Agent, owner: Side) -> CapabilityReport {
    world.order(agent, |orders, _| (orders.fenced, orders.strays, orders.carry_strays) = (BOTH, StrayWrites::Refuse, false));
    let generation = Some(world.orders.generation);
    let seen = until(agent, "fenced", |report| report.fenced == BOTH && report.generation == generation).await;
    let token = world.order(agent, |orders, token| orders.mark_end = Some(MarkEnd { token, side: owner }));
    until(agent, "the end", |report| report.end.as_ref().is_some_and(|end| end.token == token && end.reached)).await;
    seen
}

/// The rest of it.
async fn flipped(world: &mut World, agent: &Agent, to: Side) {
    world.order(agent, |orders, _| {
        (orders.owner, orders.mark_end) = (to, None);
        orders.epoch += 1;
        orders.fenced = Fences { legacy: to == Side::Modern, modern: to == Side::Legacy };
    });
    until(agent, "the new owner is open", |report| !report.fenced.of(to) && report.fenced.of(to.other())).await;
}

/// Legacy lets strangers write from now on.
async fn let_through(world: &mut World, agent: &Agent, how: StrayWrites) {
    world.order(agent, |orders, _| {
        (orders.fenced, orders.strays) = (Fences { legacy: true, modern: false }, how);
        orders.carry_strays = how == StrayWrites::Forward;
    });
    let generation = Some(world.orders.generation);
    until(agent, "let through", |report| report.generation == generation && !report.fenced.legacy && report.forward.live).await;
}

fn of_legacy(report: &CapabilityReport) -> Strays {
    let found = report.strays.iter().find(|strays| strays.side == Side::Legacy).cloned();
    let tables = std::collections::BTreeMap::new();
    found.unwrap_or(Strays {
        side: Side::Legacy,
        refused: 0,
        writers: vec![],
        reported: 0,
        unsettled: 0,
        untried: 0,
        wrote: vec![],
        tables,
    })
}

async fn texts(app: &mut App, query: &str) -> Vec<String> {
    app.rows(query).await.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("|")).collect()
}

/// Names of all writers of a side, by key.
async fn names(app: &mut App, side: Side) -> Vec<String> {
    let (table, key) = if side == Side::Legacy { ("writer", "id") } else { ("writers", "legacy_id") };
    texts(app, &format!("SELECT name FROM {table} ORDER BY {key}")).await
}

async fn moved(engines: [Engine; 2], how: StrayWrites) -> (World, Agent, App, App) {
    let mut world = World::new(engines, schema, tables()).await;
    let (mut legacy, modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
    for id in 1..=6 {
        legacy.exec(&format!("INSERT INTO writer (id, name, body, level, price) VALUES ({id}, 'writer {id}', 'b', 1, 1.5)")).await;
        legacy.exec(&format!("INSERT INTO book (id, writer_id, title, price) VALUES ({id}, {id}, 'book {id}', 2.5)")).await;
    }
    let agent = world.agent().await;
    streaming(&agent).await;
    fenced(&mut world, &agent, Side::Legacy).await;
    let refused = legacy.attempt("UPDATE writer SET level = 9 WHERE id = 1").await.unwrap_err();
    assert!(refused.contains("ficus: "), "during a switch nobody writes: {refused}");
    flipped(&mut world, &agent, Side::Modern).await;
    let_through(&mut world, &agent, how).await;
    (world, agent, legacy, modern)
}

async fn kept_and_carried_nowhere(engines: [Engine; 2]) {
    // GIVEN a capability that modern owns
    let (mut world, agent, mut legacy, mut modern) = moved(engines, StrayWrites::Report).await;
    let before = names(&mut modern, Side::Modern).await;

    // WHEN strangers change, remove, make a row, and undo one
    legacy.exec("UPDATE writer SET name = 'stray' WHERE id = 1").await;
    legacy.exec("DELETE FROM book WHERE id = 2").await;
    legacy.exec("INSERT INTO writer (id, name, body, level, price) VALUES (50, 'of nobody', NULL, 1, 1.5)").await;
    legacy.exec(legacy.engine().begin()).await;
    legacy.exec("UPDATE writer SET name = 'undone' WHERE id = 5").await;
    legacy.exec("ROLLBACK").await;
    // AND the owner's application writes to one of the rows
    modern.exec("UPDATE writers SET level = 7 WHERE legacy_id = 1").await;
    world.settle(&agent, Side::Modern).await;

    // THEN each is kept, with what was, and told
    let seen = until(&agent, "kept", |report| of_legacy(report).unsettled == 3).await;
    assert_eq!(of_legacy(&seen).reported, 3);
    assert_eq!(of_legacy(&seen).tables.into_iter().collect::<Vec<_>>(), [("book".to_owned(), 1), ("writer".to_owned(), 2)]);
    let who = of_legacy(&seen).wrote.join("; ");
    match engines[0] {
        Engine::Postgres => assert!(who.contains("role `") && who.contains("statement `DELETE FROM book WHERE id = …`"), "{who}"),
        Engine::MariaDb => assert!(who.contains("account `root@") && who.contains("connection ") && !who.contains("_ficus"), "{who}"),
        Engine::Sqlite => assert_eq!(who, ""),
    }
    let shown = agent.quarantine().rows;
    let row = shown.iter().find(|row| (row.legacy.as_str(), row.key.as_str()) == ("writer", "1")).unwrap();
    let name = |image: &Option<serde_json::Value>| image.as_ref().unwrap()["name"].as_str().unwrap().to_owned();
    assert_eq!((name(&row.there), name(&row.wanted), row.from), ("writer 1".into(), "stray".into(), Side::Legacy));
    let gone = shown.iter().find(|row| row.legacy == "book").unwrap();
    assert!(gone.wanted.is_none() && gone.there.as_ref().is_some_and(|there| there["title"] == "book 2"), "{gone:?}");
    // AND modern has none of it, while the owner's write has come to legacy
    assert_eq!(names(&mut modern, Side::Modern).await, before);
    assert_eq!(texts(&mut legacy, "SELECT name FROM writer WHERE id = 1 AND level = 7").await, ["writer 1"], "the owner's row is whole");
    // AND verification says which rows differ, also by a look at what changed
    for scope in [VerifyScope::Full, VerifyScope::Changed] {
        let drift: Vec<u64> = world.verify(&agent, scope).await.iter().map(|table| table.drift_rows).collect();
        assert_eq!(drift, [1, 1], "{scope:?}: writer 50 and book 2");
    }

    // WHEN the agent is away while another writes, and comes back
    agent.stop().await;
    legacy.exec("UPDATE writer SET name = 'meanwhile' WHERE id = 3").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    until(&agent, "kept", |report| of_legacy(report).unsettled == 4).await;
    world.settle(&agent, Side::Modern).await;
    assert_eq!(names(&mut modern, Side::Modern).await, before);

    // THEN who reads that legacy is fenced for a way back reads of every one of them
    legacy.exec("UPDATE writer SET name = 'at last' WHERE id = 4").await;
    let seen = fenced(&mut world, &agent, Side::Modern).await;
    assert_eq!(of_legacy(&seen).unsettled, 5);
    assert!(legacy.attempt("UPDATE writer SET name = 'late' WHERE id = 4").await.unwrap_err().contains("ficus: "));

    // WHEN somebody decides
    let_through(&mut world, &agent, StrayWrites::Report).await;
    let token = world.order(&agent, |orders, token| orders.repair = Some(token));
    let seen =
        until(&agent, "repaired", |report| report.repaired.as_ref().is_some_and(|repair| repair.token == token && repair.done)).await;
    assert_eq!((of_legacy(&seen).unsettled, of_legacy(&seen).reported), (0, 5), "what was written stays known");
    assert!(agent.quarantine().rows.is_empty());
    assert_eq!(names(&mut legacy, Side::Legacy).await, before);
    assert!(world.verify(&agent, VerifyScope::Full).await.iter().all(|table| table.drift_rows == 0));

    // THEN the way back is free, and nothing of it comes up again
    fenced(&mut world, &agent, Side::Modern).await;
    flipped(&mut world, &agent, Side::Legacy).await;
    agent.stop().await;
    legacy.exec("UPDATE writer SET level = 8 WHERE id = 6").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    world.settle(&agent, Side::Legacy).await;
    assert_eq!(names(&mut modern, Side::Modern).await, before);
    assert_eq!(texts(&mut modern, "SELECT name FROM writers WHERE level = 8").await, ["writer 6"]);
    assert!(world.verify(&agent, VerifyScope::Full).await.iter().all(|table| table.drift_rows == 0));
    agent.stop().await;
}

/// The agent dies when legacy has been closed for a way back, before what strangers wrote is behind the stream.
async fn killed_on_the_way_back(engines: [Engine; 2]) {
    let (mut world, agent, mut legacy, mut modern) = moved(engines, StrayWrites::Report).await;
    let before = names(&mut modern, Side::Modern).await;
    agent.stop().await;
    for id in 1..=6 {
        legacy.exec(&format!("UPDATE writer SET name = 'stray {id}' WHERE id = {id}")).await;
    }
    let orders = world.orders.capabilities.get_mut("users").unwrap();
    (orders.fenced, orders.strays) = (BOTH, StrayWrites::Refuse);
    world.orders.generation += 1;
    killed_at(&world, "strays").await;
    let agent = world.agent().await;
    let seen = until(&agent, "fenced", |report| report.fenced == BOTH).await;
    assert_eq!(of_legacy(&seen).unsettled, 6, "whoever reads that it is fenced reads what was written");
    world.settle(&agent, Side::Modern).await;
    assert_eq!(names(&mut modern, Side::Modern).await, before);
    let token = world.order(&agent, |orders, token| orders.repair = Some(token));
    until(&agent, "repaired", |report| report.repaired.as_ref().is_some_and(|repair| repair.token == token && repair.done)).await;
    fenced(&mut world, &agent, Side::Modern).await;
    flipped(&mut world, &agent, Side::Legacy).await;
    world.settle(&agent, Side::Legacy).await;
    assert_eq!((names(&mut modern, Side::Modern).await, names(&mut legacy, Side::Legacy).await), (before.clone(), before));
    assert_eq!(of_legacy(&report(&agent)).unsettled, 0);
    agent.stop().await;
}

/// What both sides say of every row, in modern's columns and order.
async fn both(legacy: &mut App, modern: &mut App) -> [Vec<String>; 2] {
    let writers = texts(legacy, "SELECT concat(id, '|', name, '|', level) FROM writer ORDER BY id").await;
    let books = texts(legacy, "SELECT concat(id, '|', writer_id, '|', title) FROM book ORDER BY id").await;
    let of_modern = texts(modern, "SELECT concat(legacy_id, '|', name, '|', level) FROM writers ORDER BY legacy_id").await;
    let references =
        "SELECT concat(b.legacy_id, '|', w.legacy_id, '|', b.title) FROM books b JOIN writers w ON w.id = b.writer_id ORDER BY b.legacy_id";
    let books_of_modern = texts(modern, references).await;
    [[writers, books].concat(), [of_modern, books_of_modern].concat()]
}

async fn carried(agent: &Agent, rows: u64) -> CapabilityReport {
    until(agent, "carried", |report| of_legacy(report).reported == rows && of_legacy(report).unsettled == 0).await
}

async fn forwarded(engines: [Engine; 2]) {
    // GIVEN a capability that modern owns
    let (mut world, agent, mut legacy, mut modern) = moved(engines, StrayWrites::Forward).await;

    // WHEN strangers make a parent and its child, change, remove, give another key, and undo
    legacy.exec("INSERT INTO writer (id, name, body, level, price) VALUES (50, 'of nobody', NULL, 1, 1.25)").await;
    legacy.exec("INSERT INTO book (id, writer_id, title, price) VALUES (50, 50, 'its book', 0.5)").await;
    legacy.exec("UPDATE writer SET name = 'stray' WHERE id = 1").await;
    legacy.exec("UPDATE writer SET name = 'stray again' WHERE id = 1").await;
    legacy.exec("DELETE FROM book WHERE id = 2").await;
    legacy.exec("UPDATE book SET id = 60 WHERE id = 3").await;
    legacy.exec(legacy.engine().begin()).await;
    legacy.exec("UPDATE writer SET name = 'undone' WHERE id = 5").await;
    legacy.exec("ROLLBACK").await;

    // THEN modern has all of it, and nobody has to decide about anything
    carried(&agent, 6).await;
    world.settle(&agent, Side::Modern).await;
    let [of_legacy_side, of_modern] = both(&mut legacy, &mut modern).await;
    assert_eq!(of_modern, of_legacy_side);
    for row in ["50|of nobody|1", "1|stray again|1", "60|3|book 3", "50|50|its book"] {
        assert!(of_modern.contains(&row.to_owned()), "{row} in {of_modern:?}");
    }
    assert!(!of_modern.iter().any(|row| row.starts_with("2|2|") || row.starts_with("3|3|") || row.contains("undone")), "{of_modern:?}");
    assert!(world.verify(&agent, VerifyScope::Full).await.iter().all(|table| table.drift_rows == 0));

    // WHEN modern's row has become another one before a stray write is carried
    agent.stop().await;
    modern.exec("UPDATE writers SET level = 7 WHERE legacy_id = 4").await;
    legacy.exec("UPDATE writer SET name = 'too late' WHERE id = 4").await;
    // AND another one is good
    legacy.exec("UPDATE writer SET name = 'in time' WHERE id = 6").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    // THEN the one stays with its reason, and modern's row is as its application left it
    let seen = until(&agent, "passed", |report| of_legacy(report).reported == 8 && of_legacy(report).unsettled == 1).await;
    assert!(!seen.fenced.legacy);
    let passed = |agent: &Agent| agent.quarantine().rows.iter().any(|row| row.reason.contains("modern's row had changed since"));
    for round in 0.. {
        if passed(&agent) {
            break;
        }
        assert!(round < 600, "{:?}", agent.quarantine().rows);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(
        texts(&mut modern, "SELECT concat(name, '|', level) FROM writers WHERE legacy_id IN (4, 6) ORDER BY legacy_id").await,
        ["writer 4|7", "in time|1"]
    );
    let token = world.order(&agent, |orders, token| orders.repair = Some(token));
    until(&agent, "repaired", |report| report.repaired.as_ref().is_some_and(|repair| repair.token == token && repair.done)).await;
    world.settle(&agent, Side::Modern).await;
    let [of_legacy_side, of_modern] = both(&mut legacy, &mut modern).await;
    assert_eq!(of_modern, of_legacy_side);

    // AND on the way back nothing of it comes up again
    fenced(&mut world, &agent, Side::Modern).await;
    flipped(&mut world, &agent, Side::Legacy).await;
    world.settle(&agent, Side::Legacy).await;
    assert_eq!(both(&mut legacy, &mut modern).await, [of_modern.clone(), of_modern]);
    agent.stop().await;
}

/// The agent dies when a row is written to modern, and when it is committed there and not settled: the second time in a way back
/// that has begun meanwhile.
async fn killed_between_write_and_settlement(engines: [Engine; 2]) {
    let (mut world, agent, mut legacy, mut modern) = moved(engines, StrayWrites::Forward).await;
    agent.stop().await;
    legacy.exec("UPDATE writer SET level = level + 1 WHERE id = 1").await;
    legacy.exec("INSERT INTO writer (id, name, body, level, price) VALUES (50, 'of nobody', NULL, 1, 1.25)").await;
    legacy.exec("DELETE FROM book WHERE id = 2").await;
    killed_at(&world, "after_rewrite_before_commit").await;
    world.orders.capabilities.get_mut("users").unwrap().strays = StrayWrites::Refuse;
    world.orders.generation += 1;
    killed_at(&world, "after_rewrite_before_settle").await;
    let agent = world.agent().await;
    streaming(&agent).await;
    let seen = until(&agent, "nobody writes any more", |report| report.fenced.legacy && of_legacy(report).untried == 0).await;
    assert_eq!((of_legacy(&seen).reported, of_legacy(&seen).unsettled), (3, 0));
    world.settle(&agent, Side::Modern).await;
    let [of_legacy_side, of_modern] = both(&mut legacy, &mut modern).await;
    assert_eq!(of_modern, of_legacy_side);
    assert!(of_modern.contains(&"1|writer 1|2".to_owned()) && of_modern.contains(&"50|of nobody|1".to_owned()), "{of_modern:?}");
    agent.stop().await;
}

/// Both databases give out numbers, and both go on from the same one.
#[tokio::test]
async fn new_rows_of_strangers_get_numbers_that_modern_does_not_give_out() {
    let notes = |engine: Engine, side: Side| {
        let table = if side == Side::Legacy { "note" } else { "notes" };
        let number = if engine == Engine::Postgres { "bigint GENERATED BY DEFAULT AS IDENTITY" } else { "bigint AUTO_INCREMENT" };
        vec![format!("CREATE TABLE {table} (id {number} PRIMARY KEY, body varchar(50) NOT NULL)")]
    };
    let map = TableMap {
        legacy: "note".into(),
        modern: "notes".into(),
        modern_key: "id".into(),
        columns: vec![],
        keep_modern: vec![],
        ..tables().remove(0)
    };
    for engines in [[Engine::Postgres, Engine::MariaDb], [Engine::MariaDb, Engine::Postgres]] {
        let mut world = World::new(engines, notes, vec![map.clone()]).await;
        let (mut legacy, mut modern) = (world.app(Side::Legacy).await, world.app(Side::Modern).await);
        for body in ["one", "two"] {
            legacy.exec(&format!("INSERT INTO note (body) VALUES ('{body}')")).await;
        }
        let agent = world.agent().await;
        streaming(&agent).await;
        fenced(&mut world, &agent, Side::Legacy).await;
        let token = world.order(&agent, |orders, token| orders.raise_sequences = Some(token));
        until(&agent, "numbers", |report| report.sequences_raised == Some(token)).await;
        flipped(&mut world, &agent, Side::Modern).await;
        let_through(&mut world, &agent, StrayWrites::Forward).await;
        legacy.exec("INSERT INTO note (body) VALUES ('stray')").await;
        modern.exec("INSERT INTO notes (body) VALUES ('own')").await;
        carried(&agent, 1).await;
        world.settle(&agent, Side::Modern).await;
        let [on_legacy, on_modern] =
            [texts(&mut legacy, "SELECT body FROM note ORDER BY id").await, texts(&mut modern, "SELECT body FROM notes ORDER BY id").await];
        assert_eq!((on_legacy.as_slice(), &on_modern), (&["one", "two", "own", "stray"].map(String::from)[..], &on_legacy), "{engines:?}");
        agent.stop().await;
    }
}

/// Strangers add one to a row of legacy, modern's application adds a thousand to its row, all at once and again and again. Every
/// write of modern's stands, and of the strangers' those that were carried, each once: a sum tells.
async fn nothing_is_written_over(engines: [Engine; 2], seed: u64) {
    const KEYS: u64 = 3;
    let (mut world, agent, mut legacy, mut modern) = moved(engines, StrayWrites::Forward).await;
    let (mut chance, mut strays, mut owners) = (seed, [0_u64; KEYS as usize], [0_u64; KEYS as usize]);
    for _ in 0..60 {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = (chance >> 33) % KEYS;
        if (chance >> 40).is_multiple_of(2) {
            legacy.exec(&format!("UPDATE writer SET level = level + 1 WHERE id = {}", key + 1)).await;
            strays[usize::try_from(key).unwrap()] += 1;
        } else {
            modern.exec(&format!("UPDATE writers SET level = level + 1000 WHERE legacy_id = {}", key + 1)).await;
            owners[usize::try_from(key).unwrap()] += 1;
        }
        tokio::time::sleep(std::time::Duration::from_millis((chance >> 50) % 120)).await;
    }
    let (all, mut before) = (strays.iter().sum::<u64>(), u64::MAX);
    // Until none is left that has neither been carried nor passed by.
    for round in 0.. {
        tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
        let left = of_legacy(&report(&agent)).unsettled;
        if of_legacy(&report(&agent)).reported == all && left == before {
            break;
        }
        assert!(round < 120, "{left} of {all} are left");
        before = left;
    }
    world.settle(&agent, Side::Modern).await;
    let passed = agent.quarantine().rows;
    assert!(passed.len() as u64 == before && passed.iter().all(|row| row.reason.contains("modern's row had changed since")), "{passed:?}");
    let mut levels = Vec::new();
    for (at, (strays, owners)) in strays.iter().zip(owners).enumerate() {
        let passed = passed.iter().filter(|row| row.key == (at + 1).to_string()).count() as u64;
        levels.push((1 + owners * 1000 + strays - passed).to_string());
    }
    let found = texts(&mut modern, "SELECT concat(level, '') FROM writers WHERE legacy_id <= 3 ORDER BY legacy_id").await;
    assert_eq!(found, levels, "seed {seed}: {strays:?} strays, {owners:?} of the owner's, {} passed by", passed.len());
    let token = world.order(&agent, |orders, token| orders.repair = Some(token));
    until(&agent, "repaired", |report| report.repaired.as_ref().is_some_and(|repair| repair.token == token && repair.done)).await;
    assert!(world.verify(&agent, VerifyScope::Full).await.iter().all(|table| table.drift_rows == 0));
    agent.stop().await;
}

#[tokio::test]
async fn no_write_of_the_owners_is_lost_to_a_stray_one() {
    for (seed, engines) in
        [[Engine::Postgres, Engine::MariaDb], [Engine::MariaDb, Engine::Sqlite], [Engine::Sqlite, Engine::Postgres]].into_iter().enumerate()
    {
        nothing_is_written_over(engines, seed as u64).await;
    }
}

/// Of what an insertion may displace there is a note before it is known whether it does.
#[tokio::test]
async fn what_takes_the_place_of_rows_in_sqlite_is_carried_as_it_came_out() {
    let (mut world, agent, mut legacy, mut modern) = moved([Engine::Sqlite, Engine::Postgres], StrayWrites::Forward).await;
    legacy.exec("INSERT OR IGNORE INTO book (id, writer_id, title, price) VALUES (1, 1, 'ignored', 0.5)").await;
    legacy
        .exec("INSERT INTO book (id, writer_id, title, price) VALUES (2, 2, 'x', 0.5) ON CONFLICT (id) DO UPDATE SET title = 'upserted'")
        .await;
    legacy.exec("REPLACE INTO book (id, writer_id, title, price) VALUES (3, 3, 'replaced', 0.5)").await;
    // AND a number with more digits than fifteen
    legacy.exec("UPDATE book SET price = 0.1 + 0.2 WHERE id = 4").await;
    until(&agent, "carried", |report| of_legacy(report).reported >= 5 && of_legacy(report).unsettled == 0).await;
    world.settle(&agent, Side::Modern).await;
    let [of_legacy_side, of_modern] = both(&mut legacy, &mut modern).await;
    assert_eq!(of_modern, of_legacy_side);
    for row in ["1|1|book 1", "2|2|upserted", "3|3|replaced"] {
        assert!(of_modern.contains(&row.to_owned()), "{row} in {of_modern:?}");
    }
    assert!(world.verify(&agent, VerifyScope::Full).await.iter().all(|table| table.drift_rows == 0));
    agent.stop().await;
}

#[tokio::test]
async fn what_strangers_write_to_postgres_is_carried_to_mariadb() {
    forwarded([Engine::Postgres, Engine::MariaDb]).await;
}

#[tokio::test]
async fn what_strangers_write_to_mariadb_is_carried_to_postgres() {
    forwarded([Engine::MariaDb, Engine::Postgres]).await;
}

#[tokio::test]
async fn what_strangers_write_to_sqlite_is_carried_to_postgres() {
    forwarded([Engine::Sqlite, Engine::Postgres]).await;
}

#[tokio::test]
async fn what_strangers_write_to_postgres_is_carried_to_sqlite() {
    forwarded([Engine::Postgres, Engine::Sqlite]).await;
}

#[tokio::test]
async fn postgres_is_told_once_by_an_agent_that_dies() {
    killed_between_write_and_settlement([Engine::MariaDb, Engine::Postgres]).await;
}

#[tokio::test]
async fn mariadb_is_told_once_by_an_agent_that_dies() {
    killed_between_write_and_settlement([Engine::Sqlite, Engine::MariaDb]).await;
}

#[tokio::test]
async fn sqlite_is_told_once_by_an_agent_that_dies() {
    killed_between_write_and_settlement([Engine::Postgres, Engine::Sqlite]).await;
}

#[tokio::test]
async fn postgres_keeps_what_strangers_write() {
    kept_and_carried_nowhere([Engine::Postgres, Engine::MariaDb]).await;
}

#[tokio::test]
async fn mariadb_keeps_what_strangers_write() {
    kept_and_carried_nowhere([Engine::MariaDb, Engine::Postgres]).await;
}

#[tokio::test]
async fn sqlite_keeps_what_strangers_write() {
    kept_and_carried_nowhere([Engine::Sqlite, Engine::Postgres]).await;
}

#[tokio::test]
async fn postgres_carries_none_of_it_when_its_agent_dies() {
    killed_on_the_way_back([Engine::Postgres, Engine::Sqlite]).await;
}

#[tokio::test]
async fn mariadb_carries_none_of_it_when_its_agent_dies() {
    killed_on_the_way_back([Engine::MariaDb, Engine::Sqlite]).await;
}

#[tokio::test]
async fn sqlite_carries_none_of_it_when_its_agent_dies() {
    killed_on_the_way_back([Engine::Sqlite, Engine::MariaDb]).await;
}

/// More of them than are looked at at once are of a table that has left the rules, and older than the one that can be carried.
async fn left_the_rules(engine: Engine) {
    let (mut world, agent, mut legacy, mut modern) = moved([engine, Engine::Sqlite], StrayWrites::Report).await;
    for round in 0..201 {
        legacy.exec(&format!("UPDATE book SET title = 'stray {round}' WHERE id = 1")).await;
    }
    let table = if engine == Engine::Postgres { "_ficus.stray" } else { "_ficus_stray" };
    legacy.exec(&format!("UPDATE {table} SET pair = 'gone'")).await;
    legacy.exec("UPDATE writer SET name = 'stray' WHERE id = 1").await;
    let_through(&mut world, &agent, StrayWrites::Forward).await;
    let seen =
        until(&agent, "the last one is carried", |report| of_legacy(report).reported == 202 && of_legacy(report).unsettled == 201).await;
    assert_eq!((names(&mut modern, Side::Modern).await[0].as_str(), of_legacy(&seen).untried), ("stray", 0));
    let told = |agent: &Agent| agent.quarantine().rows.iter().filter(|row| row.reason.contains("its table has left the rules")).count();
    // As many as are shown.
    for round in 0.. {
        if told(&agent) > 0 && told(&agent) == agent.quarantine().rows.len() {
            break;
        }
        assert!(round < 600, "{:?}", agent.quarantine().rows);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn what_has_left_the_rules_keeps_nothing_back_on_postgresql() {
    left_the_rules(Engine::Postgres).await;
}

#[tokio::test]
async fn what_has_left_the_rules_keeps_nothing_back_on_mariadb() {
    left_the_rules(Engine::MariaDb).await;
}

#[tokio::test]
async fn what_has_left_the_rules_keeps_nothing_back_on_sqlite() {
    left_the_rules(Engine::Sqlite).await;
}

/// What was decided about long ago is forgotten, and so is what is more than anybody looks up; it stays counted, and what nobody has
/// decided about stays.
async fn history_is_bounded(engine: Engine) {
    let (world, agent, mut legacy, _) = moved([engine, Engine::Sqlite], StrayWrites::Report).await;
    until(&agent, "it looks", |report| report.forward.live).await;
    agent.stop().await;
    let (table, long_ago, now) = match engine {
        Engine::Postgres => ("_ficus.stray", "now() - interval '31 days'", "now()"),
        Engine::MariaDb => ("_ficus_stray", "UTC_TIMESTAMP() - INTERVAL 31 DAY", "UTC_TIMESTAMP()"),
        Engine::Sqlite => ("_ficus_stray", "datetime('now', '-31 days')", "datetime('now')"),
    };
    let numbers = |upto: u32| match engine {
        Engine::Postgres => format!("generate_series(1, {upto}) AS n"),
        Engine::MariaDb => format!("seq_1_to_{upto} AS n"),
        Engine::Sqlite => format!("(WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {upto}) SELECT n FROM n)"),
    };
    let columns = if engine == Engine::Postgres { "scope, pair, at, settled" } else { "`scope`, `pair`, `at`, `settled`" };
    for (settled, rows) in [(long_ago, 2_500), ("NULL", 3), (now, 100_010)] {
        let insert =
            format!("INSERT INTO {table} ({columns}) SELECT 'users/legacy', 'writer', {long_ago}, {settled} FROM {}", numbers(rows));
        legacy.exec(&insert).await;
    }
    let agent = world.agent().await;
    let kept = format!("SELECT CAST(count(*) AS char(20)), CAST(count(settled) AS char(20)) FROM {table}");
    let begun = std::time::Instant::now();
    loop {
        let found = texts(&mut legacy, &kept).await.remove(0).replace(' ', "");
        if found == "100003|100000" {
            break;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(120), "{engine:?}: {found}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let counted = |report: &CapabilityReport| (of_legacy(report).reported, of_legacy(report).unsettled) == (102_513, 3);
    until(&agent, "all are counted", counted).await;
    agent.stop().await;
    // Another agent counts them as well.
    let agent = world.agent().await;
    until(&agent, "all are counted", counted).await;
    agent.stop().await;
}

#[tokio::test]
async fn history_is_bounded_on_postgresql() {
    history_is_bounded(Engine::Postgres).await;
}

#[tokio::test]
async fn history_is_bounded_on_mariadb() {
    history_is_bounded(Engine::MariaDb).await;
}

#[tokio::test]
async fn history_is_bounded_on_sqlite() {
    history_is_bounded(Engine::Sqlite).await;
}
