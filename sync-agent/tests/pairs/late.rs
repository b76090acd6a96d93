//! Orders that are out of date by the time that they arrive: an agent that was cut off for long, a capability that was retired since.

use std::sync::mpsc;
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::wire::SyncOrder;

use super::app::App;
use super::app::Engine::{self, MariaDb, Postgres, Sqlite};
use super::world::{World, streaming, until};
use super::{schema, tables};

async fn has_any_of_ours(app: &mut App) -> bool {
    let ours = match app.engine() {
        Sqlite => "SELECT name FROM sqlite_master WHERE substr(name, 1, 6) = '_ficus'",
        Postgres => {
            "SELECT nspname::text FROM pg_namespace WHERE nspname = '_ficus' UNION ALL SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal \
             UNION ALL SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()"
        }
        MariaDb => {
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE '\\_ficus%' \
             UNION ALL SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()"
        }
    };
    !app.rows(ours).await.is_empty()
}

#[tokio::test]
async fn nothing_is_made_before_somebody_has_said_that_the_orders_are_the_newest() {
    let mut world = World::new([Sqlite, Sqlite], schema, tables()).await;
    let mut apps = [world.app(Side::Legacy).await, world.app(Side::Modern).await];
    let agent = world.idle().await;
    let mut questions = agent.questions();
    agent.order(world.orders.clone());
    questions.wait_for(|question| *question == 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for app in &mut apps {
        assert!(!has_any_of_ours(app).await);
    }

    // They were taken back.
    world.order(&agent, |orders, _| (orders.epoch, orders.sync) = (2, SyncOrder::Remove));
    agent.answer(1);
    until(&agent, "removed", |report| report.removed).await;
    for app in &mut apps {
        assert!(!has_any_of_ours(app).await);
    }
    agent.stop().await;
}

/// Between the first answer and its turn, whoever had the turn may have carried out newer orders.
#[tokio::test]
async fn whoever_has_taken_a_turn_asks_once_more_before_it_does_anything() {
    let mut world = World::new([Sqlite, Sqlite], schema, tables()).await;
    let mut legacy = world.app(Side::Legacy).await;
    let agent = world.idle().await;
    let mut questions = agent.questions();
    world.order(&agent, |orders, _| orders.fenced.legacy = true);
    for question in [1, 2] {
        let asks = tokio::time::timeout(Duration::from_secs(60), questions.wait_for(|asked| *asked == question)).await.is_ok();
        assert!(asks, "question {question}: {:?}", super::report(&agent));
        if question == 1 {
            agent.answer(1);
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    legacy.exec("INSERT INTO writer (id, name, level, price) VALUES (1, 'one', 1, 1.5)").await;

    // They were taken back.
    world.order(&agent, |orders, _| orders.fenced.legacy = false);
    agent.answer(2);
    streaming(&agent).await;
    legacy.exec("INSERT INTO writer (id, name, level, price) VALUES (2, 'two', 1, 1.5)").await;
    world.settle(&agent, Side::Legacy).await;
    agent.stop().await;
}

#[tokio::test]
async fn nobody_is_told_to_empty_the_table_of_a_modern_that_owns() {
    let mut world = World::new([Sqlite, Sqlite], schema, tables()).await;
    world.app(Side::Modern).await.exec("INSERT INTO writers (id, legacy_id, name, level, price) VALUES ('1', 1, 'one', 1, 1.5)").await;
    world.orders.capabilities.get_mut("users").unwrap().owner = Side::Modern;
    let agent = world.agent().await;
    let why = until(&agent, "refused", |report| report.trouble.is_some()).await.trouble.unwrap();
    assert!(why.contains("modern owns the rows") && !why.contains("DELETE"), "{why}");
    agent.stop().await;
}

/// An agent sleeps while another one retires the capability, and the new service goes on alone.
async fn slept_through_the_end(engines: [Engine; 2]) {
    let mut world = World::new(engines, schema, tables()).await;
    let mut apps = [world.app(Side::Legacy).await, world.app(Side::Modern).await];
    apps[0].exec("INSERT INTO writer (id, name, level, price) VALUES (1, 'one', 1, 1.5)").await;
    let bed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let sleeper = {
        let _in = bed.enter();
        world.idle().await
    };
    let mut questions = sleeper.questions();
    sleeper.order(world.orders.clone());
    for question in [1, 2] {
        questions.wait_for(|asked| *asked == question).await.unwrap();
        sleeper.answer(question);
    }
    streaming(&sleeper).await;
    world.settle(&sleeper, Side::Legacy).await;
    let (wake, sleep) = mpsc::channel::<()>();
    let (asleep, falls_asleep) = tokio::sync::oneshot::channel();
    bed.spawn(async move {
        asleep.send(()).unwrap();
        let _ = sleep.recv();
    });
    falls_asleep.await.unwrap();

    let agent = world.agent().await;
    streaming(&agent).await;
    world.order(&agent, |orders, _| (orders.epoch, orders.sync, orders.owner) = (2, SyncOrder::Remove, Side::Modern));
    until(&agent, "removed", |report| report.removed).await;
    agent.stop().await;
    for app in &mut apps {
        assert!(!has_any_of_ours(app).await, "{engines:?}");
    }
    // Nothing but its orders is in the way of who would begin anew.
    apps[1].exec("DELETE FROM writers").await;
    apps[0].exec("INSERT INTO writer (id, name, level, price) VALUES (2, 'two', 1, 1.5)").await;

    wake.send(()).unwrap();
    let asks = tokio::time::timeout(Duration::from_secs(60), questions.wait_for(|asked| *asked > 2)).await.is_ok();
    assert!(asks, "{engines:?}: it asked nobody, {:?}", super::report(&sleeper).trouble);
    tokio::time::sleep(Duration::from_millis(500)).await;
    for app in &mut apps {
        assert!(!has_any_of_ours(app).await, "{engines:?}: made by orders of long ago");
    }
    sleeper.order(world.orders.clone());
    sleeper.answer(*questions.borrow());
    until(&sleeper, "removed", |report| report.removed).await;
    assert_eq!(apps[1].rows("SELECT name FROM writers").await.len(), 0, "{engines:?}");
    for app in &mut apps {
        assert!(!has_any_of_ours(app).await, "{engines:?}");
    }
    sleeper.stop().await;
    bed.shutdown_background();
}

#[tokio::test]
async fn on_sqlite_nobody_who_slept_through_the_end_writes() {
    slept_through_the_end([Sqlite, Sqlite]).await;
}

#[tokio::test]
async fn on_postgresql_nobody_who_slept_through_the_end_writes() {
    slept_through_the_end([Postgres, Postgres]).await;
}

#[tokio::test]
async fn on_mariadb_nobody_who_slept_through_the_end_writes() {
    slept_through_the_end([MariaDb, MariaDb]).await;
}
