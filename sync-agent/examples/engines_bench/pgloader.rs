//! `pgloader`, which copies a database to PostgreSQL: it makes the tables, and their keys once the rows are there.

use std::process::Stdio;

use tokio::process::Command;

use crate::database::{Database, file};
use crate::machine::PATIENCE;
use crate::{Result, postgres};

pub(crate) fn is_there() -> bool {
    let asked = std::process::Command::new("pgloader").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// Copies the people. Times stay without a zone; everything else is as it is by default.
pub(crate) async fn load(source: &Database, target: &Database) -> Result<()> {
    let (from, only) = match source {
        Database::MariaDb { server, name } => (
            format!("mysql://root@127.0.0.1:{}/{name}", server.port),
            format!("INCLUDING ONLY TABLE NAMES MATCHING 'person' ALTER SCHEMA '{name}' RENAME TO 'public'"),
        ),
        Database::Sqlite { directory } => {
            (format!("sqlite://{}", file(directory).display()), "INCLUDING ONLY TABLE NAMES LIKE 'person'".to_owned())
        }
        Database::Postgres { .. } => return Err("PostgreSQL is no source here".into()),
    };
    let Database::Postgres { server, name } = target else { return Err("it knows no other target than PostgreSQL".into()) };
    let into = format!("postgresql://{}@127.0.0.1:{}/{name}?sslmode=disable", postgres::AGENT, server.port);
    let directory = tempfile::tempdir()?;
    let orders = directory.path().join("orders");
    std::fs::write(&orders, format!("LOAD DATABASE FROM {from} INTO {into} CAST type datetime to timestamp {only};\n"))?;
    let mut command = Command::new("pgloader");
    command.arg("--root-dir").arg(directory.path()).arg(&orders).env("PGPASSWORD", postgres::PASSWORD);
    let output = tokio::time::timeout(PATIENCE, command.stdin(Stdio::null()).kill_on_drop(true).output()).await??;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("pgloader ended with {}: {}", output.status, String::from_utf8_lossy(&output.stdout)).into())
}
