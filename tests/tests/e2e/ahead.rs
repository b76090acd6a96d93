//! `ficus plan`: the path ahead.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::operator::Operator;
use ficus_tests::world::{Plan, World};
use serde_json::Value;

use super::Directory;

const PATIENCE: Duration = Duration::from_secs(120);

async fn path(operator: &Operator) -> Result<Value> {
    let ahead: Value = serde_json::from_str(&operator.type_in(&["plan", "--json"]).await?)?;
    ensure!(ahead["capabilities"][0]["name"] == "users", "{ahead}");
    Ok(ahead)
}

fn legs(ahead: &Value) -> Vec<String> {
    let legs = ahead["capabilities"][0]["path"]["legs"].as_array().cloned().unwrap_or_default();
    legs.iter().map(|leg| leg["name"].as_str().unwrap_or_default().to_owned()).collect()
}

fn fits(page: &str) -> bool {
    page.lines().all(|line| line.chars().count() <= 100)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_path_is_seen_from_where_a_capability_stands() -> Result<()> {
    let directory = Directory::new();
    let world = World::start(directory.path(), Plan::default()).await?;
    let operator = world.operator()?;
    // WHEN nothing has begun, THEN all of it lies ahead, and nothing is gone
    let ahead = path(&operator).await?;
    let first = legs(&ahead);
    ensure!(first.first().is_some_and(|leg| leg == "draft") && first.last().is_some_and(|leg| leg == "retire"), "{first:?}");
    ensure!(ahead["gone"]["capabilities"] == serde_json::json!({ "moved": 0, "of": 1 }), "{}", ahead["gone"]);
    // With requests there is more to say.
    world.http().get("/api/v1/users/health/").await?;
    let deadline = std::time::Instant::now() + PATIENCE;
    let page = loop {
        let page = operator.type_in(&["plan", "--dry-run"]).await?;
        ensure!(page.contains("`ficus advance` to begin") && fits(&page), "{page}");
        if page.contains("of their latest requests") {
            break page;
        }
        ensure!(std::time::Instant::now() < deadline, "nobody speaks of the request:\n{page}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    ensure!(page.lines().count() > 5, "{page}");

    operator.type_in(&["advance", "users"]).await?;
    operator.until_phase("users", "shadowing", PATIENCE).await?;
    ensure!(!legs(&path(&operator).await?).contains(&"copy".to_owned()), "the copy lies behind");
    operator.type_in(&["hold", "users", "--reason", "exam week"]).await?;
    let page = operator.type_in(&["plan", "users", "--dry-run"]).await?;
    ensure!(page.contains("in the way: held: exam week") && page.contains("hear 10ms (assumed)") && fits(&page), "{page}");
    operator.type_in(&["release", "users", "--reason", "exam week"]).await?;

    // WHEN it has moved once, and back, THEN the next pause is foreseen from what was measured; of what size: `foreseen`
    operator.type_in(&["cutover", "users", "--wait", "30s"]).await?;
    let ahead = path(&operator).await?;
    ensure!(
        ahead["gone"]["capabilities"]["moved"] == 1 && ahead["gone"]["tables"]["moved"] == ahead["gone"]["tables"]["of"],
        "{}",
        ahead["gone"]
    );
    ensure!(legs(&ahead) == ["soak", "retire"], "{:?}", legs(&ahead));
    operator.type_in(&["revert", "users", "--wait", "30s"]).await?;
    let ahead = path(&operator).await?;
    ahead["capabilities"][0]["path"]["switch"]["pause_ms"].as_u64().context("a pause is foreseen")?;
    let assumed = ahead["capabilities"][0]["pace"]["assumed"].to_string();
    ensure!(!assumed.contains("hear") && !assumed.contains("recheck"), "measured at the last switch: {assumed}");
    drop(world);
    directory.passed();
    Ok(())
}
