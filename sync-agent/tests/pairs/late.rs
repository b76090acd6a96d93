//! Orders that are out of date by the time that they arrive: an agent that was cut off for long, a capability that was retired since.

use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::wire::SyncOrder;

use super::app::{App, Engine::Sqlite};
use super::world::{World, until};
use super::{schema, tables};

async fn has_any_of_ours(app: &mut App) -> bool {
    !app.rows("SELECT name FROM sqlite_master WHERE substr(name, 1, 6) = '_ficus'").await.is_empty()
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
