//! Two notebooks that people write, and the causes of a long pause that are the same whatever their rows are in.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use ficus_tests::bare::Bare;
use ficus_tests::notebook::{Book, Illness, NAME, Notebook, RULES, Store, UPSTREAMS};
use ficus_tests::operator::Operator;
use hyper::{Method, StatusCode};
use sqlx::PgPool;

use super::forecast::{Forecast, LONG, PATIENCE, held, seconds};
use super::{LOCKED, SLOW};
use crate::Directory;
use crate::notebooks::Rows;

const PEOPLE: i64 = 10;

pub(super) struct Notebooks {
    bare: Bare,
    operator: Operator,
    pub(super) old: Notebook,
    pub(super) new: Notebook,
}

impl Notebooks {
    pub(super) async fn start(directory: &Directory, rows: &[Rows; 2]) -> Result<Notebooks> {
        let stores = [Store::open(Book::Old, &rows[0].app, PEOPLE).await?, Store::open(Book::New, &rows[1].app, PEOPLE).await?];
        let [old, new] = [Notebook::start(stores[0].clone()).await?, Notebook::start(stores[1].clone()).await?];
        let upstreams = [(UPSTREAMS[0], old.port, rows[0].agent.as_str()), (UPSTREAMS[1], new.port, rows[1].agent.as_str())];
        let rules = RULES.replacen("max = \"2s\"", "max = \"1m\"", 1);
        let bare = Bare::start_over(directory.path(), &upstreams, &[("notebook.toml", &rules)]).await?;
        let operator = bare.operator()?;
        operator.type_in(&["advance", NAME]).await?;
        operator.until_phase(NAME, "shadowing", PATIENCE).await?;
        Ok(Notebooks { bare, operator, old, new })
    }

    pub(super) fn forecast(&self) -> Forecast<'_> {
        Forecast { operator: &self.operator, capability: NAME }
    }

    /// A write that somebody waits for.
    fn write(&self) -> tokio::task::JoinHandle<Result<()>> {
        let http = self.bare.http();
        tokio::spawn(async move {
            let headers = [("content-type", "application/json")];
            let answer = http.send(Method::POST, "/notes/1", &headers, Bytes::from(r#"{"text": "a note"}"#)).await?;
            ensure!(answer.status == StatusCode::CREATED, "{} {}", answer.status, answer.text());
            Ok(())
        })
    }

    /// One of the services is slow, which a switch away from it foresees.
    pub(super) async fn slow_writes(&self, service: &Notebook, wish: &str) -> Result<()> {
        let forecast = self.forecast();
        service.becomes(Illness::Slow(Duration::from_millis(LONG)));
        self.write().await??;
        forecast.until("a slow write", |_, pace| seconds(&pace["writes"]) > LONG as f64 / 2_000.0).await?;
        let under_way = self.write();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (switch, _) = forecast.now().await?;
        held(&switch, "drain", forecast.switch(wish).await?)?;
        under_way.await??;
        service.becomes(Illness::Well);
        Ok(())
    }

    /// Moves the writes while a transaction holds a lock on the tables that are left; it is young enough not to be in the way.
    pub(super) async fn switch_under_a_lock<L: Lock>(&self, wish: &str, database: &L) -> Result<u64> {
        for _ in 0..10 {
            let session = database.lock().await?;
            let held = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(LOCKED)).await;
                L::let_go(session).await
            });
            let typed = self.operator.try_type(&[wish, NAME, "--wait", "60s"]).await?;
            held.await??;
            match typed.code {
                0 => return self.forecast().last_pause().await,
                // The machine was so slow that it had grown old before it was asked.
                _ => ensure!(typed.err.contains("a fence would wait for it"), "{typed:?}"),
            }
        }
        bail!("the transaction is old each time")
    }

    /// The new database is slow to take what the burst writes into the old one.
    pub(super) async fn slow_target(&self, new: &str, burst: impl AsyncFnOnce(u64) -> Result<()>) -> Result<()> {
        sqlx::raw_sql(SLOW).execute(&PgPool::connect(new).await?).await?;
        burst(LONG / 20).await?;
        let forecast = self.forecast();
        let switch = forecast.until("the lag", |_, pace| seconds(&pace["lag"]) > LONG as f64 / 3_000.0).await?;
        held(&switch, "catch_up", forecast.switch("cutover").await?)
    }
}

/// A database in which a transaction holds a lock on the capability's tables.
pub(super) trait Lock {
    type Session: Send + 'static;

    async fn lock(&self) -> Result<Self::Session>;
    fn let_go(session: Self::Session) -> impl Future<Output = Result<()>> + Send;
}
