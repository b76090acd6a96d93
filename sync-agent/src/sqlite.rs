//! SQLite as an engine: triggers that log touched keys, one read transaction for a snapshot, a context row as the mark
//! that keeps the agent's own writes out of the log.
//!
//! Everything that Ficus keeps in a database stands in tables that begin with `_ficus_` (`objects.rs`), and its triggers
//! do too. The agent's connections have foreign keys off and order their writes themselves, parents before children:
//! an enforced key could refuse a row for what lies outside the capability (a mark sheet of a deleted user), and would
//! then stop the stream; what dangles is reported by verification instead ([`Reader::orphans`]).
//!
//! Write transactions are short, begin with `IMMEDIATE`, and no read transaction is open while the agent waits: the
//! application never meets a locked database because of it.
//!
//! [`Reader::orphans`]: crate::port::Reader::orphans

mod apply;
mod busy;
mod capture;
mod catalog;
mod control;
mod findings;
mod let_in;
mod objects;
mod outbox;
mod parts;
mod read;
mod schema;
mod snapshot;
mod sql;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod triggers;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::mapping::{Plan, Shape, Value};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{Sqlite, Transaction};

use crate::error::Error;
use crate::port::Direction;

/// How long a statement waits for a lock before it gives up.
const BUSY: Duration = Duration::from_secs(10);

/// A database file, opened; what tables it has can be asked before anything is compiled.
#[derive(Debug, Clone)]
pub(crate) struct File {
    label: String,
    read: SqlitePool,
    write: SqlitePool,
    /// Never waits for a lock.
    probe: SqlitePool,
}

/// One side of one capability in a SQLite file.
pub(crate) struct Endpoint {
    file: File,
    capability: String,
    side: Side,
    /// `capability/side`: the key of everything kept in the `_ficus_` tables.
    scope: String,
    pairs: Vec<Pair>,
    tables: BTreeMap<String, schema::Table>,
    /// A connection that does nothing but look whether others have written.
    watch: tokio::sync::Mutex<Watch>,
    /// What was last seen of the write lock.
    lock: tokio::sync::Mutex<busy::Lock>,
    /// The schema that capture was last seen complete under.
    schema: AtomicI64,
    /// The agent's turn at the stream that ends here.
    epoch: AtomicI64,
    quarantined: AtomicU64,
    /// Up to here the log has no entry of ours any more. One capability's entries are not gone through by the others again and again.
    pruned: AtomicU64,
    /// Triggers keep what is written while the fence lets it through.
    records: AtomicBool,
    /// How many of those rows have been decided about: counted once, and followed from there. Nobody else decides.
    settled: tokio::sync::Mutex<Option<u64>>,
}

/// A pair as this side has it.
struct Pair {
    name: String,
    shape: Shape,
    sequence: Option<String>,
    sql: parts::Statements,
}

#[derive(Default)]
struct Watch {
    connection: Option<PoolConnection<Sqlite>>,
    version: Option<i64>,
}

impl File {
    /// Opens an existing file. `label` names it in errors.
    pub(crate) async fn open(url: &str, label: &str) -> Result<File, Error> {
        let refused =
            |error: sqlx::Error| Error::Refused(format!("{label}: {url} cannot be opened ({error}); check the path in ficus.toml"));
        let options = SqliteConnectOptions::from_str(url).map_err(refused)?;
        let options = options.create_if_missing(false).foreign_keys(false).busy_timeout(BUSY).statement_cache_capacity(200);
        let pool =
            |most: u32| SqlitePoolOptions::new().max_connections(most).test_before_acquire(false).idle_timeout(None).max_lifetime(None);
        let read = pool(6).connect_with(options.clone()).await.map_err(refused)?;
        // A statement of many rows keeps copies of the pages that it changes: not in a file.
        let write = pool(1).connect_with(options.clone().pragma("temp_store", "MEMORY")).await.map_err(refused)?;
        let probe = pool(1).connect_lazy_with(options.busy_timeout(Duration::ZERO));
        Ok(File { label: label.to_owned(), read, write, probe })
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, Error> {
        self.write.begin_with("BEGIN IMMEDIATE").await.map_err(|e| self.failed(e))
    }

    fn failed(&self, source: sqlx::Error) -> Error {
        Error::Database { database: self.label.clone(), source: Box::new(source) }
    }
}

impl Endpoint {
    /// One side of the plans of a capability.
    pub(crate) async fn new(file: File, capability: &str, side: Side, plans: &[Plan]) -> Result<Endpoint, Error> {
        let shape = |plan: &Plan| match side {
            Side::Legacy => plan.legacy.clone(),
            Side::Modern => plan.modern.clone(),
        };
        let shapes: Vec<Shape> = plans.iter().map(shape).collect();
        let mut connection = file.read.acquire().await.map_err(|e| file.failed(e))?;
        let sequences = plans.iter().filter_map(|plan| plan.sequence.as_ref()).filter(|_| side == Side::Modern);
        let names = shapes.iter().map(|shape| &shape.table).chain(sequences);
        let tables = schema::tables(&mut connection, names).await.map_err(|e| file.failed(e))?;
        drop(connection);
        let mut pairs = Vec::new();
        for (plan, shape) in plans.iter().zip(shapes) {
            let table = tables.get(&shape.table).ok_or_else(|| Error::Refused(format!("{side} has no table {}", shape.table)))?;
            let sequence = match side {
                Side::Legacy => table.autoincrement.then(|| shape.table.clone()),
                // Without one, rows that are born there get their key from the table itself.
                Side::Modern => plan.sequence.clone().or_else(|| table.counts(&shape.key).then(|| shape.table.clone())),
            };
            if let Some(name) = sequence.as_ref().filter(|name| !tables.get(*name).is_some_and(|table| table.autoincrement)) {
                return Err(Error::Refused(format!(
                    "{side} has no table {name} with an AUTOINCREMENT column; create it: CREATE TABLE \"{name}\" (id INTEGER PRIMARY KEY AUTOINCREMENT)"
                )));
            }
            let marks: Vec<_> = plan.marks(side).cloned().collect();
            let sql = parts::Statements::new(&shape, table, side, &marks)?;
            pairs.push(Pair { name: plan.pair.clone(), shape, sequence, sql });
        }
        Ok(Endpoint {
            file,
            capability: capability.to_owned(),
            side,
            scope: scope(capability, side),
            pairs,
            tables,
            watch: tokio::sync::Mutex::default(),
            lock: tokio::sync::Mutex::default(),
            schema: AtomicI64::new(i64::MIN),
            epoch: AtomicI64::new(0),
            quarantined: AtomicU64::new(0),
            pruned: AtomicU64::new(0),
            records: AtomicBool::new(false),
            settled: tokio::sync::Mutex::default(),
        })
    }

    /// The stream that ends here.
    fn stream(&self) -> String {
        stream(&self.capability, self.side)
    }

    fn failed(&self, source: sqlx::Error) -> Error {
        self.file.failed(source)
    }

    /// A row of the pair has a key that no change of it could be carried by.
    fn no_key(&self, pair: usize) -> Error {
        let Shape { table, key, .. } = &self.pairs[pair].shape;
        Error::Refused(format!(
            "{}: a row of table {table} has a key that is neither a number nor UTF-8 text; give it another one, or remove it: SELECT rowid, hex({key}) FROM {table} WHERE typeof({key}) IN ('blob', 'text')",
            self.file.label,
            table = sql::name(table),
            key = sql::name(key),
        ))
    }

    fn pair_index(&self, name: &str) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.name == name)
    }

    fn scope_value(&self) -> Value {
        Value::Text(self.scope.clone())
    }
}

fn scope(capability: &str, side: Side) -> String {
    format!("{capability}/{side}")
}

fn stream(capability: &str, target: Side) -> String {
    format!("{capability}/{}", Direction::from(target.other()).as_str())
}
