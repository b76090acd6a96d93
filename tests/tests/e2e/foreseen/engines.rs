//! The same between other engines, and on the way back.

use std::str::FromStr as _;

use anyhow::Result;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::forecast::held;
use super::notebooks::{Lock, Notebooks};
use crate::notebooks::Rows;
use crate::{Directory, mariadb, postgres};

/// The address of a database.
struct Postgres<'a>(&'a str);
struct MariaDb<'a>(&'a str);

impl Lock for Postgres<'_> {
    type Session = PgConnection;

    async fn lock(&self) -> Result<PgConnection> {
        let mut session = PgConnection::connect(self.0).await?;
        sqlx::raw_sql("BEGIN; LOCK TABLE notes IN ROW EXCLUSIVE MODE").execute(&mut session).await?;
        Ok(session)
    }

    async fn let_go(session: PgConnection) -> Result<()> {
        Ok(session.close().await?)
    }
}

impl Lock for MariaDb<'_> {
    type Session = Conn;

    async fn lock(&self) -> Result<Conn> {
        let mut session = Conn::from_url(self.0).await?;
        session.query_drop("BEGIN").await?;
        session.query_drop("INSERT INTO note (text, person_id) VALUES ('a note', 1)").await?;
        Ok(session)
    }

    async fn let_go(mut session: Conn) -> Result<()> {
        session.query_drop("ROLLBACK").await?;
        Ok(session.disconnect().await?)
    }
}

/// Notes in the old notebook, as many as the parameter says.
fn burst(notes: u64) -> String {
    format!(
        "INSERT INTO note (text, person_id) WITH RECURSIVE count (at) AS (SELECT 1 UNION ALL SELECT at + 1 FROM count WHERE at < {notes}) \
         SELECT 'a note', 1 FROM count"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_other_engines_and_on_the_way_back_it_comes_as_foreseen() -> Result<()> {
    let directory = Directory::new();
    let rows = [Rows::in_sqlite(&directory.path().join("old.sqlite3")), Rows::in_postgres(postgres::Server::shared()).await];
    let world = Notebooks::start(&directory, &rows).await?;
    let (forecast, modern) = (world.forecast(), Postgres(&rows[1].app));

    // WHEN writes are slow THEN draining is what the pause is made of, from SQLite to PostgreSQL and back
    world.slow_writes(&world.old, "cutover").await?;
    world.slow_writes(&world.new, "revert").await?;

    // WHEN a job's transactions are long in PostgreSQL, as they were the last time THEN it is the fence, on the way back
    forecast.switch("cutover").await?;
    world.switch_under_a_lock("revert", &modern).await?;
    forecast.switch("cutover").await?;
    let (back, _) = forecast.now().await?;
    held(&back, "fence_database", world.switch_under_a_lock("revert", &modern).await?)?;

    // WHEN the target is slow to take what was written THEN it is catching up
    let add = async |notes| {
        let mut legacy = SqliteConnection::connect_with(&SqliteConnectOptions::from_str(&rows[0].app)?).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(burst(notes))).execute(&mut legacy).await?;
        Ok(())
    };
    world.slow_target(&rows[1].app, add).await?;
    drop(world);
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_mariadb_it_comes_as_foreseen() -> Result<()> {
    let directory = Directory::new();
    let rows = [Rows::in_mariadb(mariadb::Server::shared()).await, Rows::in_postgres(postgres::Server::shared()).await];
    let world = Notebooks::start(&directory, &rows).await?;
    let (forecast, legacy) = (world.forecast(), MariaDb(&rows[0].app));

    // WHEN writes are slow THEN draining is what the pause is made of
    world.slow_writes(&world.old, "cutover").await?;
    forecast.switch("revert").await?;

    // WHEN a job's transactions are long in MariaDB, as they were the last time THEN it is the fence
    world.switch_under_a_lock("cutover", &legacy).await?;
    forecast.switch("revert").await?;
    let (switch, _) = forecast.now().await?;
    held(&switch, "fence_database", world.switch_under_a_lock("cutover", &legacy).await?)?;
    forecast.switch("revert").await?;
    // The last time says nothing of a lock any more.
    forecast.switch("cutover").await?;
    forecast.switch("revert").await?;

    // WHEN the target is slow to take what was written THEN it is catching up
    let add = async |notes| {
        let mut session = Conn::from_url(&rows[0].app).await?;
        session.query_drop(burst(notes)).await?;
        Ok(session.disconnect().await?)
    };
    world.slow_target(&rows[1].app, add).await?;
    drop(world);
    directory.passed();
    Ok(())
}
