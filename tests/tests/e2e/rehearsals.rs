//! Writes that the users service rehearses while the monolith carries them out: compared, shown where they differ, and not stored
//! by anybody but the monolith, whose rows come by the sync.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::http::{Answer, Http};
use ficus_tests::school;
use ficus_tests::world::{Plan, World};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::Row as _;

use super::Directory;
use super::busy::Holder;
use super::commands::{modern, plant};

const PATIENCE: Duration = Duration::from_secs(120);
/// Longer than a rehearsal takes, also on a busy machine.
const HELD: Duration = Duration::from_secs(2);
/// What a rehearsal that stored something would leave. The copies of rows come by the sync, and take no numbers.
const LEFT: &str = "SELECT coalesce((SELECT max(id) FROM seq_users), 0) + coalesce((SELECT max(id) FROM seq_notes), 0) \
    + coalesce((SELECT max(id) FROM seq_profiles_student), 0)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_rehearsed_by_the_service_compared_and_stored_by_the_monolith_alone() -> Result<()> {
    let directory = Directory::new();
    let rules = tempfile::tempdir()?;
    rehearsed(rules.path())?;
    let world = World::start(directory.path(), Plan { rules: rules.path().to_owned(), ..Plan::default() }).await?;
    let operator = world.operator()?;
    operator.type_in(&["advance", "users"]).await?;
    operator.until_phase("users", "shadowing", PATIENCE).await?;
    operator.type_in(&["hold", "users", "--reason", "rehearsals"]).await?;
    let mut admin = Caller::log_in(world.http(), "admin1", PASSWORD).await?;
    let mut staff = Caller::log_in(world.http(), "staff1", PASSWORD).await?;
    let explained = operator.type_in(&["explain", "POST", "/api/v1/users/7/notes/", "--user", "1"]).await?;
    ensure!(explained.contains("shadow      yes"), "{explained}");

    let before = number(&world, LEFT).await?;
    let new = json!({"username": "rehearsed", "password": PASSWORD, "role": "student", "first_name": "Ada"});
    written(&world, &mut admin, Method::POST, "/api/v1/users/", &new, "same").await?;
    let notes = format!("/api/v1/users/{}/notes/", staff.id);
    written(&world, &mut staff, Method::POST, &notes, &json!({"text": "twice is once"}), "same").await?;
    let refused = json!({"username": "no name", "password": PASSWORD, "role": "student"});
    let answer = written(&world, &mut admin, Method::POST, "/api/v1/users/", &refused, "same").await?;
    ensure!(answer.status == StatusCode::BAD_REQUEST, "{}", answer.text());
    ensure!(number(&world, LEFT).await? == before, "a rehearsal took a number that lasts");
    let verified = operator.type_in(&["verify", "users", "--wait", "60s"]).await?;
    ensure!(verified.contains("drift 0 rows"), "{verified}");
    for (count, wanted) in
        [("users WHERE username = 'rehearsed'", 1), ("notes WHERE text = 'twice is once'", 1), ("users WHERE username = 'no name'", 0)]
    {
        ensure!(number(&world, &format!("SELECT count(*) FROM {count}")).await? == wanted, "{count}");
    }
    ensure!(operator.type_in(&["diffs", "users"]).await? == "no differences were seen\n");

    // The service would answer with another name: its copy has one.
    plant(&world, staff.id).await?;
    let me = format!("/api/v1/users/{}/", staff.id);
    written(&world, &mut staff, Method::PATCH, &me, &json!({"address": "1 Dry Street"}), "different").await?;
    let shown = operator.type_in(&["diffs", "users"]).await?;
    ensure!(shown.contains(&format!("PATCH {me}")) && shown.contains("first_name"), "{shown}");
    drop(world);
    directory.passed();
    Ok(())
}

/// The school's rules, with a service that rehearses.
fn rehearsed(folder: &Path) -> Result<()> {
    let rules = std::fs::read_to_string(school::folder().join("rules/users.toml"))?;
    let route = "modern_path = \"/users/{rest}\"\n";
    let gate = "ignore = [\"cookie:messages\"]\n";
    ensure!(rules.contains(route) && rules.contains(gate), "the rules are not what they were");
    let rules = rules.replacen(route, &format!("{route}dry_run = true\n"), 1);
    let tolerated = format!("{gate}tolerate = {{ \"$.created_at\" = \"30s\", \"$.date_joined\" = \"30s\" }}\n");
    std::fs::write(folder.join("users.toml"), rules.replacen(gate, &tolerated, 1))?;
    Ok(())
}

/// Writes, while the monolith waits for its database and the service has the time to rehearse; and waits for what came of the
/// comparison.
async fn written(world: &World, caller: &mut Caller, method: Method, path: &str, body: &Value, verdict: &str) -> Result<Answer> {
    // Reads of before are compared as well.
    tokio::time::sleep(HELD).await;
    let before = verdicts(world, verdict).await?;
    let holder = Holder::begin(&world.school_database().url())?;
    let (answer, ended) = tokio::join!(caller.send_json(method.clone(), path, body), async {
        tokio::time::sleep(HELD).await;
        holder.end()
    });
    ended?;
    let answer = answer?;
    ensure!(answer.header("x-ficus-side") == Some("legacy"), "{method} {path}: {} {}", answer.status, answer.text());
    let begun = Instant::now();
    while verdicts(world, verdict).await? == before {
        if begun.elapsed() > PATIENCE {
            let metrics = Http::new(&world.admin_url(), PATIENCE).get("/metrics").await?.text();
            let shadow: Vec<&str> = metrics.lines().filter(|line| line.starts_with("ficus_shadow")).collect();
            let shown = world.operator()?.type_in(&["diffs", "users"]).await?;
            anyhow::bail!("{method} {path} was not found to be {verdict}: {shown}\n{}", shadow.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(answer)
}

/// Comparisons that ended so.
async fn verdicts(world: &World, verdict: &str) -> Result<u64> {
    let metrics = Http::new(&world.admin_url(), PATIENCE).get("/metrics").await?.text();
    let line = metrics.lines().find(|line| line.starts_with("ficus_shadow_comparisons_total{") && line.contains(&format!("\"{verdict}\"")));
    let count = line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0");
    count.parse::<f64>().map(|count| count as u64).context("a counter")
}

async fn number(world: &World, question: &str) -> Result<i64> {
    let row = sqlx::query(sqlx::AssertSqlSafe(question.to_owned())).fetch_one(&mut modern(world).await?).await?;
    Ok(row.get(0))
}
