//! MariaDB as an engine (10.6 or newer; 10.11 is what it is tested with): changes from the binary log, the checkpoint row as
//! the mark that keeps the agent's own writes from flowing back, triggers for the fence. MySQL 8 is served by the same files
//! where it does not differ; that is not tested.
//!
//! Everything that Ficus keeps in a database stands in InnoDB tables that begin with `_ficus_` (`objects.rs`). What the
//! server has to be set to is checked in `checks.rs`, each with its remedy. The agent's account needs, beside all rights on
//! its database: `REPLICATION SLAVE` and `BINLOG MONITOR` (on MySQL `REPLICATION CLIENT`).
//!
//! The agent's connections have foreign keys off and order their writes themselves, parents before children: an enforced
//! key could refuse a row for what lies outside the capability. What dangles is reported by verification.
//!
//! A position is the number of a binary log's file in the upper half, and the offset after the commit in the lower one.
//!
//! The path of a change: `event.rs` and `image.rs` (bytes), `value.rs` (values), `capture.rs` (transactions), `follow.rs`
//! (the connection and its buffer), `source.rs` (batches),
//! `complete.rs` (rows).

mod apply;
mod busy;
mod bytes;
mod capture;
mod catalog;
mod checks;
mod complete;
mod connect;
mod control;
mod event;
mod follow;
mod image;
mod let_in;
mod load;
mod locks;
mod objects;
mod outbox;
mod parts;
mod read;
mod refusal;
mod schema;
mod snapshot;
mod source;
mod strays;
mod triggers;
mod url;
mod value;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use ficus_rules::Side;
use ficus_rules::mapping::{Plan, Shape};

use self::schema::{Counter, Table};
use self::value::Column;
use crate::error::Error;
use crate::port::{Direction, Position};

pub(crate) use self::connect::Server;

/// How whoever only reads reaches the database behind a URL.
pub(crate) fn address(url: &str, label: &str) -> Result<mysql_async::Opts, Error> {
    // An error means that the process has chosen already.
    drop(rustls::crypto::ring::default_provider().install_default());
    Ok(url::read(url, label)?.into())
}

/// One side of one capability in a MariaDB database.
pub(crate) struct Endpoint {
    server: Server,
    capability: String,
    side: Side,
    /// `capability/side`: the key of everything kept in the `_ficus_` tables.
    scope: String,
    pairs: Arc<Vec<Pair>>,
    tables: BTreeMap<String, Table>,
    /// Who this database is; what the agent's sessions prove themselves with.
    mark: OnceLock<String>,
    follow: tokio::sync::Mutex<follow::State>,
    /// Where the log ended when everything of it had been read.
    seen: std::sync::Mutex<Option<Position>>,
    /// Statements up to here have been looked at.
    handled: AtomicU64,
    /// The last captured change that was read.
    last: AtomicU64,
    noted: std::sync::Mutex<source::Noted>,
    /// The session knows that the log is gone up to here.
    told: AtomicU64,
    /// The agent's turn at the stream that ends here.
    epoch: AtomicI64,
    quarantined: AtomicU64,
    /// Triggers keep what is written while the fence lets it through.
    records: AtomicBool,
    /// How many of those rows have been decided about: counted once, and followed from there. Nobody else decides.
    settled: tokio::sync::Mutex<Option<u64>>,
    /// Since when the fence would have had to wait, whenever it was looked.
    waits: std::sync::Mutex<Option<Instant>>,
    /// The connection that closes the fence; 0: none does.
    closing: AtomicU32,
}

/// A pair as this side has it.
pub(crate) struct Pair {
    name: String,
    shape: Shape,
    key: Column,
    /// In the order of the shape.
    columns: Vec<Column>,
    lookups: Vec<Column>,
    sequence: Option<(String, Counter)>,
    sql: parts::Statements,
}

impl Endpoint {
    /// One side of the plans of a capability.
    pub(crate) async fn new(server: Server, capability: &str, side: Side, plans: &[Plan]) -> Result<Endpoint, Error> {
        let shape = |plan: &Plan| match side {
            Side::Legacy => plan.legacy.clone(),
            Side::Modern => plan.modern.clone(),
        };
        let shapes: Vec<Shape> = plans.iter().map(shape).collect();
        let sequences = plans.iter().filter_map(|plan| plan.sequence.as_ref()).filter(|_| side == Side::Modern);
        let looked_up = shapes.iter().flat_map(|shape| &shape.lookups).map(|lookup| &lookup.table);
        let names: Vec<String> = shapes.iter().map(|shape| &shape.table).chain(sequences).chain(looked_up).cloned().collect();
        let mut conn = server.lease().await?;
        let all = schema::tables(&mut conn, &names).await.map_err(|e| server.failed(e))?;
        conn.done();
        let mut pairs = Vec::new();
        for (plan, shape) in plans.iter().zip(&shapes) {
            pairs.push(Pair::new(plan, shape.clone(), side, &all)?);
        }
        let tables = all.into_iter().filter(|(name, _)| shapes.iter().any(|shape| shape.table == *name)).collect();
        Ok(Endpoint {
            server,
            capability: capability.to_owned(),
            side,
            scope: scope(capability, side),
            pairs: Arc::new(pairs),
            tables,
            mark: OnceLock::new(),
            follow: tokio::sync::Mutex::default(),
            seen: std::sync::Mutex::default(),
            handled: AtomicU64::new(0),
            last: AtomicU64::new(0),
            noted: std::sync::Mutex::default(),
            told: AtomicU64::new(0),
            epoch: AtomicI64::new(0),
            quarantined: AtomicU64::new(0),
            records: AtomicBool::new(false),
            settled: tokio::sync::Mutex::default(),
            waits: std::sync::Mutex::default(),
            closing: AtomicU32::new(0),
        })
    }

    /// The stream that ends here.
    fn stream(&self) -> String {
        stream(&self.capability, self.side)
    }

    fn failed(&self, source: mysql_async::Error) -> Error {
        self.server.failed(source)
    }

    fn refused(&self, why: impl std::fmt::Display) -> Error {
        Error::Refused(format!("{}: {why}", self.server.label()))
    }

    fn pair_index(&self, name: &str) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.name == name)
    }
}

impl Pair {
    fn new(plan: &Plan, shape: Shape, side: Side, tables: &BTreeMap<String, Table>) -> Result<Pair, Error> {
        let find = |table: &str, column: &str| {
            let found = tables.get(table).and_then(|table| table.column(column)).cloned();
            found.ok_or_else(|| Error::Refused(format!("{side} has no column {column} in a table {table}")))
        };
        let table = tables.get(&shape.table).ok_or_else(|| Error::Refused(format!("{side} has no table {}", shape.table)))?;
        let key = find(&shape.table, &shape.key)?;
        let columns = shape.columns.iter().map(|column| find(&shape.table, column)).collect::<Result<_, _>>()?;
        let lookups = shape.lookups.iter().map(|lookup| find(&lookup.table, &lookup.key)).collect::<Result<_, _>>()?;
        let sequence = match side {
            Side::Legacy => table.counter.map(|counter| (shape.table.clone(), counter)),
            Side::Modern => match &plan.sequence {
                // Rows that are born there get their key from the table itself.
                None => table.counter.filter(|_| table.counted.as_ref() == Some(&shape.key)).map(|counter| (shape.table.clone(), counter)),
                Some(name) => {
                    let counter = tables.get(name).and_then(|table| table.counter).ok_or_else(|| {
                        Error::Refused(format!(
                            "{side} has no sequence {name}; create it: CREATE SEQUENCE `{name}`, or a table with an AUTO_INCREMENT column"
                        ))
                    })?;
                    Some((name.clone(), counter))
                }
            },
        };
        let marks: Vec<_> = plan.marks(side).cloned().collect();
        let sql = parts::Statements::new(&shape, &key, table, side, &marks)?;
        Ok(Pair { name: plan.pair.clone(), shape, key, columns, lookups, sequence, sql })
    }
}

fn scope(capability: &str, side: Side) -> String {
    format!("{capability}/{side}")
}

fn stream(capability: &str, target: Side) -> String {
    format!("{capability}/{}", Direction::from(target.other()).as_str())
}
