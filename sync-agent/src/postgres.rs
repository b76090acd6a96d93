//! PostgreSQL as an engine (14 and newer): logical replication as the log, the slot's exported snapshot for the initial
//! copy, the checkpoint row as the mark that keeps the agent's own writes out of the log.
//!
//! Everything that Ficus keeps in a database stands in the schema `_ficus` (`objects.rs`); beside it there are a
//! publication and a slot per capability and side, one fence trigger per table, and the replica identity of tables whose
//! key is not all that identifies a change (`prepare.rs`). What is needed: `wal_level = logical`, a role with REPLICATION
//! that owns the tables and may create in the database, and a direct connection (no pooler in between).
//!
//! Like on SQLite, references are not enforced on what the agent writes, where the role may say so
//! (`session_replication_role`, which also keeps the application's triggers from changing rows that have been changed
//! already); where it may not, they are, deferred to the end of each part, and those into other capabilities' tables are waited for
//! ([`absent`]).
//!
//! No statement waits for a lock without end, no session of an application is ever ended, and no transaction is open
//! while the agent waits for something, but for the next part of a large one (`long.rs`), a minute at most.

mod absent;
mod apply;
mod at_once;
mod busy;
mod capture;
mod catalog;
mod change;
mod control;
mod copy;
mod feed;
mod fence;
mod findings;
mod fold;
mod let_in;
mod load;
mod locks;
mod long;
mod objects;
mod outbox;
mod parts;
mod pgoutput;
mod prepare;
mod quarantine;
mod read;
mod receiver;
mod rest;
mod schema;
mod slot;
mod snapshot;
mod sql;
mod straight;
mod strays;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod url;
mod value;
mod visible;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::time::{Duration, Instant};

use ficus_rules::Side;
use ficus_rules::mapping::{Plan, Shape};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{Postgres, Transaction};

use self::objects::Names;
use self::parts::Pair;
use crate::error::Error;
use crate::port::Direction;

/// How often the server hears how far we are, at least; its own limit is `wal_sender_timeout`, a minute by default.
const FEEDBACK: Duration = Duration::from_millis(500);

/// A database, opened; what tables it has can be asked before anything is compiled.
#[derive(Clone)]
pub(crate) struct Server {
    label: String,
    address: url::Address,
    pool: PgPool,
}

/// One side of one capability in a PostgreSQL database.
pub(crate) struct Endpoint {
    server: Server,
    capability: String,
    side: Side,
    names: Names,
    pairs: Vec<Arc<Pair>>,
    tables: BTreeMap<String, schema::Table>,
    /// The replication connection and what came over it.
    feed: tokio::sync::Mutex<feed::Feed>,
    /// What capture rested on when it was last seen complete.
    intact: tokio::sync::Mutex<Option<prepare::Seen>>,
    /// The agent's turn at the stream that ends here.
    epoch: AtomicI64,
    quarantined: AtomicU64,
    /// Triggers keep what is written while the fence lets it through.
    records: AtomicBool,
    /// How many of those rows have been decided about: counted once, and followed from there. Nobody else decides.
    settled: tokio::sync::Mutex<Option<u64>>,
    /// Transactions that the fence would wait for, and since when they are known.
    writers: std::sync::Mutex<BTreeMap<String, Instant>>,
    /// Those of them that a fence which is being closed waits for.
    in_its_way: std::sync::Mutex<BTreeSet<String>>,
    /// Sizes of the server's log, for [`slot::Sizes::tidy`].
    wal: slot::Sizes,
    /// While nobody but appliers writes to the tables: [`rest`].
    still: rest::Still,
    absent: absent::Waiting,
}

impl Server {
    /// Opens an existing database. `label` names it in errors.
    pub(crate) async fn open(url: &str, label: &str) -> Result<Server, Error> {
        let address = url::Address::parse(url, label)?;
        let port = address.port();
        let pool = PgPoolOptions::new()
            .max_connections(6)
            .acquire_timeout(Duration::from_secs(10))
            .test_before_acquire(false)
            .max_lifetime(None)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if let Some(port) = port {
                        at_once::send(port);
                    }
                    // Needs a superuser, or a grant on the parameter (15 and newer); without it references are enforced.
                    match sql::run(connection, "SET session_replication_role = replica").await {
                        Err(error) if sql::code(&error) != Some("42501") => Err(error),
                        _ => Ok(()),
                    }
                })
            })
            .connect_with(address.queries())
            .await
            .map_err(|error| {
                Error::Refused(format!("{label}: cannot connect ({error}); check the URL in ficus.toml, and pg_hba.conf on the server"))
            })?;
        Ok(Server { label: label.to_owned(), address, pool })
    }

    async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.pool.begin().await.map_err(|e| self.failed(e))
    }

    fn failed(&self, source: sqlx::Error) -> Error {
        match sql::code(&source) {
            // A table or column of ours or theirs is gone: the next session looks again.
            Some("42P01" | "42703" | "3F000" | "42883") => {
                tracing::warn!(database = %self.label, error = %source, "something that a statement names is not there");
                Error::SchemaChanged
            }
            _ => Error::Database { database: self.label.clone(), source: Box::new(source) },
        }
    }
}

impl Endpoint {
    /// One side of the plans of a capability.
    pub(crate) async fn new(server: Server, capability: &str, side: Side, plans: &[Plan]) -> Result<Endpoint, Error> {
        let shape = |plan: &Plan| match side {
            Side::Legacy => plan.legacy.clone(),
            Side::Modern => plan.modern.clone(),
        };
        let shapes: Vec<Shape> = plans.iter().map(shape).collect();
        let mut connection = server.pool.acquire().await.map_err(|e| server.failed(e))?;
        let names = shapes.iter().map(|shape| &shape.table);
        let tables = schema::tables(&mut connection, names).await.map_err(|e| server.failed(e))?;
        let mut pairs = Vec::new();
        for (index, (plan, shape)) in plans.iter().zip(shapes).enumerate() {
            let table = tables.get(&shape.table).ok_or_else(|| Error::Refused(format!("{side} has no table {}", shape.table)))?;
            let mut lookups = Vec::new();
            for lookup in &shape.lookups {
                let found = tables.get(&lookup.table).and_then(|table| table.column(&lookup.key));
                lookups.push(
                    found
                        .cloned()
                        .ok_or_else(|| Error::Refused(format!("{side} has no column {} in table {}", lookup.key, lookup.table)))?,
                );
            }
            let mut pair = Pair::new(index, plan, side, shape, table, lookups)?;
            let named = plan.sequence.as_ref().filter(|_| side == Side::Modern);
            pair.sequence = control::sequence(&mut connection, &pair, named, side).await.map_err(|e| server.failed(e))??;
            pairs.push(Arc::new(pair));
        }
        let wal = slot::Sizes::of(&mut connection).await.map_err(|e| server.failed(e))?;
        let names = Names::of(&mut connection, capability, side).await.map_err(|e| server.failed(e))?;
        drop(connection);
        Ok(Endpoint {
            server,
            capability: capability.to_owned(),
            side,
            names,
            pairs,
            tables,
            feed: tokio::sync::Mutex::default(),
            intact: tokio::sync::Mutex::default(),
            epoch: AtomicI64::new(0),
            quarantined: AtomicU64::new(0),
            records: AtomicBool::new(false),
            settled: tokio::sync::Mutex::default(),
            writers: std::sync::Mutex::default(),
            in_its_way: std::sync::Mutex::default(),
            wal,
            still: rest::Still::default(),
            absent: absent::Waiting::default(),
        })
    }

    fn failed(&self, source: sqlx::Error) -> Error {
        self.server.failed(source)
    }

    fn pair_index(&self, name: &str) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.name == name)
    }

    /// Pairs that stand in a table.
    fn pairs_of(&self, table: &str) -> Vec<usize> {
        (0..self.pairs.len()).filter(|pair| self.pairs[*pair].shape.table == table).collect()
    }
}

/// How whoever only reads reaches the database behind a URL.
pub(crate) fn address(url: &str, label: &str) -> Result<sqlx::postgres::PgConnectOptions, Error> {
    Ok(url::Address::parse(url, label)?.reads())
}

fn scope(capability: &str, side: Side) -> String {
    format!("{capability}/{side}")
}

fn stream(capability: &str, target: Side) -> String {
    format!("{capability}/{}", Direction::from(target.other()).as_str())
}
