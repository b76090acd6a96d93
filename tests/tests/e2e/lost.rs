//! The new owner's database is lost in the moment between the flip and its opening: nobody has been let write to it, so legacy owns
//! again, by itself; and when it is back, the capability moves as if nothing had been.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::world::{Plan, World};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Directory;
use super::kills::{PATIENCE, until_both_stream, walk_in, wish_until_accepted};
use super::postgres::{Server, exec};

/// The orchestrator waits at each stage of a switch; this lets it go on at once, but for one.
struct Stages {
    folder: PathBuf,
    goes_on: JoinHandle<()>,
}

impl Stages {
    fn but_for(folder: PathBuf, stays: &'static str) -> Result<Stages> {
        std::fs::create_dir(&folder)?;
        let watched = folder.clone();
        let goes_on = tokio::spawn(async move {
            loop {
                for stage in std::fs::read_dir(&watched).into_iter().flatten().flatten().filter(|stage| stage.file_name() != stays) {
                    // It may have waited for long enough, and gone on.
                    drop(std::fs::remove_file(stage.path()));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Ok(Stages { folder, goes_on })
    }

    async fn until(&self, stage: &str) -> Result<()> {
        let reached = async {
            while !self.folder.join(stage).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.with_context(|| format!("{stage} was never reached"))
    }

    fn go_on(&self, stage: &str) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.join(stage))?)
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        self.goes_on.abort();
    }
}

/// The server lets nobody into a database, and whoever is in it is thrown out; or lets them in again.
async fn shut(database: &str, shut: bool) {
    let mut root = Server::shared().root("postgres").await;
    exec(&mut root, &format!("ALTER DATABASE {database} ALLOW_CONNECTIONS {}", !shut)).await;
    if shut {
        exec(&mut root, &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")).await;
    }
}

async fn takes_a_write(staff: &mut Caller, owner: &str, address: &str) -> Result<()> {
    let me = format!("/api/v1/users/{}/", staff.id);
    let written = staff.send_json(Method::PATCH, &me, &json!({ "address": address })).await?;
    ensure!(written.status == StatusCode::OK, "a write through the gateway: {} {}", written.status, written.text());
    ensure!(written.header("x-ficus-side") == Some(owner), "{:?} answered, {owner} owns", written.header("x-ficus-side"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_whose_database_is_lost_before_it_opens_is_left_again() -> Result<()> {
    let (directory, name) = (Directory::new(), Server::shared().database().await);
    let folder = directory.path().join("stages");
    let stages = Stages::but_for(folder.clone(), "open")?;
    let environment = vec![("FICUS_WAIT_AT".to_owned(), folder.display().to_string())];
    let world =
        World::start(directory.path(), Plan { service_database: Some(Server::shared().url(&name)), environment, ..Plan::default() })
            .await?;
    let mut staff = Caller::log_in(world.http(), "staff7", PASSWORD).await?;
    let operator = world.operator()?;
    operator.type_in(&["advance", "users"]).await?;
    walk_in(&world).await?;
    takes_a_write(&mut staff, "legacy", "1 Before Road").await?;

    // WHEN it is flipped, and nobody has been told yet
    wish_until_accepted(&world, "cutover").await?;
    stages.until("open").await?;
    shut(&name, true).await;
    stages.go_on("open")?;

    // THEN legacy owns again by itself, which is told, and takes writes
    let back = |status: &Value| status["owner"] == "legacy" && status["switch"].is_null() && status["epoch"] == 2;
    let status = operator.until("users", "legacy to own again", PATIENCE, back).await?;
    ensure!(status["holds"].to_string().contains("cutover: it has not opened in time"), "{}", status["holds"]);
    takes_a_write(&mut staff, "legacy", "2 After Road").await?;
    let journal = operator.type_in(&["journal", "users"]).await?;
    ensure!(journal.contains("no gateway has let anybody into modern, and legacy owns again (epoch 2)"), "{journal}");

    // AND it moves when the database is back, with all that was written
    shut(&name, false).await;
    until_both_stream(&world).await?;
    operator.type_in(&["verify", "users", "--wait", "60s"]).await?;
    operator.type_in(&["release", "users"]).await?;
    wish_until_accepted(&world, "cutover").await?;
    stages.until("open").await?;
    stages.go_on("open")?;
    operator.until_phase("users", "soaking", PATIENCE).await?;
    takes_a_write(&mut staff, "modern", "3 Moved Road").await?;
    operator.type_in(&["verify", "users", "--wait", "60s"]).await?;
    drop(world);
    directory.passed();
    Ok(())
}
