//! What other services are told: every change, in the order of each row, from whichever side owns; whoever dies meanwhile.
#![allow(clippy::unwrap_used)]

#[path = "support/buses.rs"]
mod buses;
#[path = "support/own.rs"]
mod own;
#[path = "support/slow.rs"]
mod slow;
mod support;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use buses::{Kind, Server};
use ficus_rules::Side;
use ficus_rules::event::{EventMap, Types};
use ficus_rules::mapping::uuid_of;
use ficus_rules::wire::SyncOrder;
use ficus_sync_agent::{Agent, Bus, Config, Resolved};
use serde_json::{Value as Json, json};
use slow::Slow;
use support::{World, exec, legacy_user, number, streaming, text, until};

fn user_events(bus: &str, columns: &[&str]) -> EventMap {
    let kind = |word: &str| Some(format!("user.{word}"));
    EventMap {
        source: "users.toml:1".into(),
        table: "users".into(),
        bus: bus.into(),
        types: Types { created: kind("registered"), updated: kind("updated"), deleted: kind("deleted") },
        subject: Some("id".into()),
        columns: columns.iter().map(|&column| column.to_owned()).collect(),
    }
}

async fn world() -> World {
    let mut world = World::new().await;
    world.tables[0].events.push(user_events("bus", &["given_name", "role"]));
    world
}

async fn agent(world: &World, buses: &[(&str, Bus)]) -> Agent {
    let mut config = Config::new("test", BTreeMap::new());
    config.poll = Duration::from_millis(2);
    config.batch_rows = world.batch_rows;
    config.buses = buses.iter().map(|(name, bus)| ((*name).to_owned(), bus.clone())).collect();
    world.agent_with(config).await
}

fn told(event: &Json) -> (&str, i64, &str) {
    let given = event["data"]["given_name"].as_str().unwrap_or("");
    (event["type"].as_str().unwrap(), event["data"]["legacy_id"].as_i64().unwrap(), given)
}

/// Of each row, a later event has a higher number.
fn in_order(events: &[Json]) {
    let mut last: HashMap<&str, &str> = HashMap::new();
    for event in events {
        let (subject, number) = (event["subject"].as_str().unwrap(), event["sequence"].as_str().unwrap());
        let before = last.insert(subject, number);
        assert!(before.is_none_or(|before| before < number), "{subject}: {number} came after {before:?}");
    }
}

async fn rename(world: &World, side: Side, id: i64, name: &str) {
    let (table, column, key) =
        if side == Side::Legacy { ("accounts_customuser", "first_name", "id") } else { ("users", "given_name", "legacy_id") };
    exec(&mut world.app(side).await, &format!("UPDATE {table} SET {column} = '{name}' WHERE {key} = {id}")).await;
}

async fn everything_that_happens(kind: Kind) {
    let mut bus = Server::start(kind).await;
    let mut world = world().await;
    let mut legacy = world.app(Side::Legacy).await;
    // GIVEN rows that were there before, which nobody needs to be told of
    legacy_user(&mut legacy, 1).await;
    let agent = agent(&world, &[("bus", bus.bus())]).await;
    streaming(&agent).await;
    // WHEN they change, come and go
    rename(&world, Side::Legacy, 1, "Grace").await;
    world.settle(&agent, Side::Legacy).await;
    legacy_user(&mut legacy, 2).await;
    world.settle(&agent, Side::Legacy).await;
    exec(&mut legacy, "DELETE FROM accounts_usernote; DELETE FROM accounts_staff; DELETE FROM accounts_customuser WHERE id = 2").await;
    world.settle(&agent, Side::Legacy).await;
    let last =
        |name: &'static str| move |events: &[Json]| events.last().is_some_and(|event| told(event).2 == name || told(event).0 == name);
    let events = bus.once("the deletion", last("user.deleted")).await;
    // THEN each is told
    let expected = [("user.updated", 1, "Grace"), ("user.registered", 2, "Ada"), ("user.deleted", 2, "")];
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), expected);
    // with what was asked for, in the words of modern, and nothing else
    assert_eq!(events[0]["data"], json!({ "legacy_id": 1, "given_name": "Grace", "role": "student" }));
    assert_eq!(events[2]["data"], json!({ "legacy_id": 2 }));
    for (event, id) in events.iter().zip([1, 2, 2]) {
        assert_eq!(event["subject"], uuid_of("users", "accounts_customuser", id).to_string());
        assert_eq!((&event["specversion"], &event["source"]), (&json!("1.0"), &json!("/capabilities/users/tables/users")));
        assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event}");
    }
    in_order(&events);
    // WHEN the writes move THEN the events go on, from the new owner, each once
    world.switch(&agent, Side::Modern).await;
    rename(&world, Side::Modern, 1, "Edsger").await;
    let events = bus.once("the change on modern", last("Edsger")).await;
    world.switch(&agent, Side::Legacy).await;
    rename(&world, Side::Legacy, 1, "Barbara").await;
    let more = bus.once("the change after the way back", last("Barbara")).await;
    assert_eq!((events.len(), more.len()), (4, 5), "{more:#?}");
    assert_eq!(told(&more[3]), ("user.updated", 1, "Edsger"));
    assert_eq!(more[3]["data"]["role"], "student", "in the words of modern");
    in_order(&more);
    // AND nothing waits any more
    until(&agent, "no trouble", |report| report.events.get("bus").is_some_and(|bus| bus.waiting == 0 && bus.trouble.is_none())).await;
    for side in Side::BOTH {
        let mut app = world.app(side).await;
        while number(&mut app, "SELECT count(*) FROM _ficus_outbox").await > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    agent.stop().await;
}

#[tokio::test]
async fn redis_is_told_everything_that_happens() {
    everything_that_happens(Kind::Redis).await;
}

#[tokio::test]
async fn rabbitmq_is_told_everything_that_happens() {
    everything_that_happens(Kind::Rabbit).await;
}

/// The last that was told of each row is how it is.
async fn told_to_the_end(bus: &mut Server, world: &World, ids: std::ops::RangeInclusive<i64>) -> Vec<Json> {
    let mut expected = HashMap::new();
    let mut legacy = world.app(Side::Legacy).await;
    for id in ids {
        expected.insert(id, text(&mut legacy, &format!("SELECT first_name FROM accounts_customuser WHERE id = {id}")).await);
    }
    let is_told = |events: &[Json]| {
        let mut last = HashMap::new();
        for event in events {
            let (kind, id, name) = told(event);
            last.insert(id, (kind != "user.deleted").then(|| name.to_owned()));
        }
        expected.iter().all(|(id, name)| last.get(id) == Some(name))
    };
    let events = bus.once("the last state of every row", is_told).await;
    in_order(&events);
    for id in expected.keys() {
        let first = events.iter().map(told).find(|(_, of, _)| of == id).unwrap();
        assert_eq!(first.0, "user.registered", "{id} came: {first:?}");
    }
    events
}

async fn a_bus_that_dies(kind: Kind) {
    let mut bus = Server::start(kind).await;
    let mut world = world().await;
    let mut other = user_events("elsewhere", &[]);
    other.types.created = None;
    world.tables[0].events.push(other);
    let agent = agent(&world, &[("bus", bus.bus())]).await;
    streaming(&agent).await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=20 {
        legacy_user(&mut legacy, id).await;
    }
    for round in 0..2 {
        // WHEN it dies in the middle of the work
        bus.kill();
        for id in 1..=20 {
            rename(&world, Side::Legacy, id, &format!("in round {round}")).await;
            if id == 10 && round % 2 == 1 {
                bus.begin();
            }
        }
        // THEN rows go on, whether it is there or not
        world.settle(&agent, Side::Legacy).await;
        if round % 2 == 0 {
            let report =
                until(&agent, "trouble", |report| report.events["bus"].trouble.is_some() && report.events["bus"].waiting > 0).await;
            assert_eq!(report.trouble, None, "of the events alone");
            bus.begin();
        }
        // AND it is told everything once it is back
        told_to_the_end(&mut bus, &world, 1..=20).await;
    }
    until(&agent, "the trouble is over", |report| report.events["bus"].trouble.is_none()).await;
    // A bus that nobody knows is in nobody's way, and what it is owed waits.
    let report = until(&agent, "what is wrong is said", |report| report.events["elsewhere"].waiting > 0).await;
    assert!(report.events["elsewhere"].trouble.as_ref().is_some_and(|why| why.contains("[events.elsewhere]")), "{report:?}");
    agent.stop().await;
}

#[tokio::test]
async fn a_redis_that_dies_is_told_later() {
    a_bus_that_dies(Kind::Redis).await;
}

#[tokio::test]
async fn a_rabbitmq_that_dies_is_told_later() {
    a_bus_that_dies(Kind::Rabbit).await;
}

#[tokio::test]
async fn agents_that_die_lose_no_event() {
    let mut bus = Server::start(Kind::Redis).await;
    let mut world = world().await;
    world.batch_rows = 5;
    let mut running = agent(&world, &[("bus", bus.bus())]).await;
    streaming(&running).await;
    let mut legacy = world.app(Side::Legacy).await;
    for step in 1..=120 {
        if step % 3 == 1 {
            legacy_user(&mut legacy, step / 3 + 1).await;
        }
        rename(&world, Side::Legacy, step % (step / 3 + 1) + 1, &format!("in step {step}")).await;
        if step % 7 == 0 {
            // Wherever it stands: reading, writing, sending, forgetting.
            drop(running);
            running = agent(&world, &[("bus", bus.bus())]).await;
            tokio::time::sleep(Duration::from_millis(step as u64 % 23)).await;
        }
    }
    streaming(&running).await;
    told_to_the_end(&mut bus, &world, 1..=40).await;
    running.stop().await;
}

/// What a gauge shows, of a series with these values among its labels.
fn shown(name: &str, values: &[&str]) -> Option<f64> {
    let families = prometheus::gather();
    let series = families.iter().find(|family| family.name() == name)?.get_metric().iter();
    let of =
        |metric: &&prometheus::proto::Metric| values.iter().all(|value| metric.get_label().iter().any(|label| label.value() == *value));
    series.clone().find(of).map(|metric| metric.get_gauge().get_value())
}

async fn until_shown(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 120 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_waits_is_as_old_as_it_is_and_shown_for_as_long_as_somebody_carries_it() {
    // GIVEN a session that is older than the event by two seconds
    let mut bus = Server::start(Kind::Redis).await;
    let mut world = World::new().await;
    world.tables[0].events.push(user_events("aging", &[]));
    let agent = agent(&world, &[("aging", bus.bus())]).await;
    streaming(&agent).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    bus.kill();
    // WHEN it waits
    let written = Instant::now();
    legacy_user(&mut world.app(Side::Legacy).await, 1).await;
    let lag = || shown("ficus_events_lag_seconds", &["users", "aging"]);
    until_shown("an event that waits", || lag().is_some_and(|lag| lag > 0.0)).await;
    // THEN its age is its own
    let lag = lag().unwrap();
    assert!(lag < written.elapsed().as_secs_f64() + 1.0, "{lag} s, and it was written {:?} ago", written.elapsed());
    assert_eq!(shown("ficus_events_waiting", &["users", "aging"]), Some(1.0));
    // WHEN nobody carries events there any more THEN nothing is said of them
    agent.stop().await;
    for gauge in ["ficus_events_lag_seconds", "ficus_events_waiting"] {
        assert_eq!(shown(gauge, &["users", "aging"]), None, "{gauge}");
    }
}

#[tokio::test]
async fn what_stood_still_and_is_removed_stands_still_no_more() {
    // GIVEN a capability that cannot be mapped
    let world = World::new().await;
    let url = |side| format!("sqlite://{}", world.path(side).display());
    let mut tables = world.tables.clone();
    tables[0].legacy_key = "nowhere".into();
    let resolved = Resolved {
        legacy: "monolith".into(),
        legacy_url: url(Side::Legacy),
        modern: "users-service".into(),
        modern_url: url(Side::Modern),
        tables,
    };
    let agent = Agent::start_resolved(Config::new("test", BTreeMap::new()), [("broken".to_owned(), resolved)].into()).await.unwrap();
    let mut orders = world.orders.clone();
    let wish = orders.capabilities.remove("users").unwrap();
    orders.capabilities.insert("broken".to_owned(), wish);
    agent.order(orders.clone());
    let stands = || shown("ficus_sync_stands_still", &["broken"]);
    until_shown("it stands still", || stands() == Some(1.0)).await;
    // WHEN it is removed THEN that is over
    orders.generation += 1;
    orders.capabilities.get_mut("broken").unwrap().sync = SyncOrder::Remove;
    agent.order(orders);
    until_shown("it is removed", || agent.report().capabilities.get("broken").is_some_and(|report| report.removed)).await;
    assert!(stands().is_none_or(|stands| stands == 0.0), "{:?}", stands());
    agent.stop().await;
    assert_eq!(stands(), None);
}

#[tokio::test]
async fn a_slow_bus_is_told_everything_and_not_again_and_again() {
    // GIVEN a bus that takes longer for all that waits than it is waited for
    const EVENTS: usize = 130;
    let bus = Slow::start(Duration::from_millis(100)).await;
    let mut world = World::new().await;
    world.tables[0].events.push(user_events("slow", &[]));
    let agent = agent(&world, &[("slow", bus.bus())]).await;
    streaming(&agent).await;
    let mut legacy = world.app(Side::Legacy).await;
    for id in 1..=EVENTS {
        legacy_user(&mut legacy, i64::try_from(id).unwrap()).await;
    }
    world.settle(&agent, Side::Legacy).await;
    // THEN it is told all of it
    let mut app = world.app(Side::Modern).await;
    let began = Instant::now();
    while number(&mut app, "SELECT count(*) FROM _ficus_outbox").await > 0 {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "it was told {} times: {:?}",
            bus.heard().len(),
            support::report(&agent).events
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // and nothing more than a few times
    let mut times: HashMap<String, usize> = HashMap::new();
    for id in bus.heard() {
        *times.entry(id).or_default() += 1;
    }
    assert_eq!(times.len(), EVENTS);
    assert!(times.values().all(|times| *times <= 5), "{times:?}");
    agent.stop().await;
}
