//! `ficus plan`: the path ahead, which is the path that is walked then.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::operator::Operator;
use ficus_tests::school;
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

/// What the rule file says, and what comes before and after.
fn written() -> Result<Vec<String>> {
    let rules: toml::Table = std::fs::read_to_string(school::folder().join("rules/users.toml"))?.parse()?;
    let steps = rules["step"].as_array().context("steps")?.iter().map(|step| {
        let share = |kind: &str, name: &str| Some(format!("{name} {}", step.get(kind)?.as_str()?));
        let is = |kind: &str| step.get(kind).map(|_| kind.to_owned());
        share("shadow", "shadow").or_else(|| share("reads", "reads")).or_else(|| is("cutover")).or_else(|| is("soak"))
    });
    let before = ["draft", "copy", "stream"].map(|leg| Some(leg.to_owned()));
    before.into_iter().chain(steps).chain([Some("retire".to_owned())]).collect::<Option<_>>().context("a step of no kind")
}

/// What was done, by the journal, in the words of the path: its steps, and of a switch every stage.
fn done(journal: &[Value], path: &[String]) -> Vec<String> {
    let steps = path.iter().skip(3).collect::<Vec<_>>();
    let word = |entry: &Value| match entry["kind"].as_str()? {
        "phase" if entry["detail"]["phase"] == "backfilling" => Some("copy".to_owned()),
        "phase" if entry["detail"]["phase"] == "streaming" => Some("stream".to_owned()),
        "step" => Some(steps[usize::try_from(entry["detail"]["step"].as_u64()?).ok()?].clone()),
        "stage" => Some(entry["detail"]["stage"].as_str()?.to_owned()),
        "flipped" => Some("open".to_owned()),
        "switched" => Some("switched".to_owned()),
        _ => None,
    };
    journal.iter().filter_map(word).collect()
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
    ensure!(first == written()?, "{first:?}");
    let rehearsed = ahead["capabilities"][0]["path"]["switch"]["stages"].as_array().context("the cutover is rehearsed")?.clone();
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

    // WHEN it walks from step to step THEN what lies ahead is what is left of the path
    let at = first.iter().position(|leg| leg.starts_with("shadow")).context("it shadows")?;
    let cutover = first.iter().position(|leg| leg == "cutover").context("a cutover")?;
    for next in at + 1..cutover {
        operator.until_accepted("advance", "users", PATIENCE).await?;
        let left = legs(&path(&operator).await?);
        ensure!(left == first[next..], "at {next}: {left:?}");
    }
    operator.type_in(&["approve", "users"]).await?;
    operator.until_accepted("advance", "users", PATIENCE).await?;
    operator.until_phase("users", "soaking", PATIENCE).await?;
    // and every step and stage that was rehearsed has been taken, in this order
    let journal: Vec<Value> = serde_json::from_str(&operator.type_in(&["journal", "users", "--limit", "500", "--json"]).await?)?;
    let stages = rehearsed.iter().filter_map(|stage| stage[0].as_str().map(str::to_owned));
    let wanted: Vec<String> = first[1..cutover].iter().cloned().chain(stages).chain(["switched".to_owned()]).collect();
    ensure!(done(&journal, &first) == wanted, "{:?}, not {wanted:?}", done(&journal, &first));

    // WHEN it has moved once, and back, THEN the next pause is foreseen from what was measured; of what size: `foreseen`
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
