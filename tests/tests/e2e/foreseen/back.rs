//! The same between SQLite and PostgreSQL, there and on the way back.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use ficus_tests::bare::Bare;
use ficus_tests::notebook::{Book, Illness, NAME, Notebook, RULES, Store, UPSTREAMS};
use hyper::{Method, StatusCode};
use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgPool};

use super::forecast::{Forecast, LONG, PATIENCE, held, seconds};
use super::{LOCKED, SLOW};
use crate::Directory;
use crate::postgres::Server;

const PEOPLE: i64 = 10;

/// A write that somebody waits for.
fn write(bare: &Bare) -> tokio::task::JoinHandle<Result<()>> {
    let http = bare.http();
    tokio::spawn(async move {
        let headers = [("content-type", "application/json")];
        let answer = http.send(Method::POST, "/notes/1", &headers, Bytes::from(r#"{"text": "a note"}"#)).await?;
        ensure!(answer.status == StatusCode::CREATED, "{} {}", answer.status, answer.text());
        Ok(())
    })
}

/// One of the services is slow, which a switch away from it foresees.
async fn slow_writes(bare: &Bare, forecast: &Forecast<'_>, service: &Notebook, wish: &str) -> Result<()> {
    service.becomes(Illness::Slow(Duration::from_millis(LONG)));
    write(bare).await??;
    forecast.until("a slow write", |_, pace| seconds(&pace["writes"]) > LONG as f64 / 2_000.0).await?;
    let under_way = write(bare);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (switch, _) = forecast.now().await?;
    held(&switch, "drain", forecast.switch(wish).await?)?;
    under_way.await??;
    service.becomes(Illness::Well);
    Ok(())
}

/// Takes the way back while a transaction holds a lock on modern's tables; it is young enough not to be in the way.
async fn back_under_a_lock(forecast: &Forecast<'_>, url: &str) -> Result<u64> {
    for _ in 0..10 {
        let mut session = PgConnection::connect(url).await?;
        sqlx::raw_sql("BEGIN; LOCK TABLE notes IN ROW EXCLUSIVE MODE").execute(&mut session).await?;
        let held = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(LOCKED)).await;
            session.close().await
        });
        let typed = forecast.operator.try_type(&["revert", NAME, "--wait", "60s"]).await?;
        held.await??;
        match typed.code {
            0 => return forecast.last_pause().await,
            // The machine was so slow that it had grown old before it was asked.
            _ => ensure!(typed.err.contains("a fence would wait for it"), "{typed:?}"),
        }
    }
    bail!("the transaction is old each time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_other_engines_and_on_the_way_back_it_comes_as_foreseen() -> Result<()> {
    let directory = Directory::new();
    let server = Server::shared();
    let urls = [format!("sqlite://{}", directory.path().join("old.sqlite3").display()), server.url(&server.database().await)];
    let stores = [Store::open(Book::Old, &urls[0], PEOPLE).await?, Store::open(Book::New, &urls[1], PEOPLE).await?];
    let [old, new] = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
    let upstreams = [(UPSTREAMS[0], old.port, urls[0].as_str()), (UPSTREAMS[1], new.port, urls[1].as_str())];
    let rules = RULES.replacen("max = \"2s\"", "max = \"1m\"", 1);
    let bare = Bare::start_over(directory.path(), &upstreams, &[("notebook.toml", &rules)]).await?;
    let operator = bare.operator()?;
    operator.type_in(&["advance", NAME]).await?;
    operator.until_phase(NAME, "shadowing", PATIENCE).await?;
    let forecast = Forecast { operator: &operator, capability: NAME };

    // WHEN writes are slow THEN draining is what the pause is made of, from SQLite to PostgreSQL and back
    slow_writes(&bare, &forecast, &old, "cutover").await?;
    slow_writes(&bare, &forecast, &new, "revert").await?;

    // WHEN a job's transactions are long in PostgreSQL, as they were the last time THEN it is the fence, on the way back
    forecast.switch("cutover").await?;
    back_under_a_lock(&forecast, &urls[1]).await?;
    forecast.switch("cutover").await?;
    let (back, _) = forecast.now().await?;
    held(&back, "fence_database", back_under_a_lock(&forecast, &urls[1]).await?)?;

    // WHEN the target is slow to take what was written THEN it is catching up
    let modern = PgPool::connect(&urls[1]).await?;
    sqlx::raw_sql(SLOW).execute(&modern).await?;
    let mut legacy = sqlx::SqliteConnection::connect_with(&sqlx::sqlite::SqliteConnectOptions::from_str(&urls[0])?).await?;
    let burst = format!(
        "INSERT INTO note (text, person_id) WITH RECURSIVE count (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM count WHERE at < {}) \
         SELECT 'a note', 1 FROM count",
        LONG / 20
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(burst)).execute(&mut legacy).await?;
    let switch = forecast.until("the lag", |_, pace| seconds(&pace["lag"]) > LONG as f64 / 3_000.0).await?;
    held(&switch, "catch_up", forecast.switch("cutover").await?)?;
    drop(bare);
    directory.passed();
    Ok(())
}
