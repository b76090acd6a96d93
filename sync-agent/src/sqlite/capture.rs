//! SQLite as a source: the log that triggers write, read and pruned.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use ficus_rules::mapping::{Row, Value};
use sqlx::SqliteConnection;
use tokio::sync::mpsc;

use super::schema;
use super::triggers::{self, Captured, Trigger};
use super::{Endpoint, Pair, objects, parts, sql};
use crate::error::Error;
use crate::port::{Batch, Left, Piece, Position, Source, Touched, unseen_name, unseen_token};

/// Entries that one pruning removes at most: it is a write transaction on the application's database.
const PRUNE: i64 = 2_000;

/// The log, by number: an index by capability would be written with each of the application's writes.
pub(super) const ENTRIES: &str = "SELECT \"seq\", \"pair\", \"key\", (julianday('now') - \"at\") * 86400.0, \"what\" FROM \"_ficus_log\" WHERE \"seq\" > ?1 AND \"scope\" = ?2 ORDER BY \"seq\" LIMIT ?3";
pub(super) const LEFT: &str = "SELECT count(*) FROM \"_ficus_log\" WHERE \"seq\" > ?1 AND \"scope\" = ?2";
pub(super) const PRUNABLE: &str = "SELECT min(\"seq\"), max(\"seq\") FROM (SELECT \"seq\" FROM \"_ficus_log\" WHERE \"seq\" > ?3 AND \"seq\" <= ?1 AND \"scope\" = ?2 ORDER BY \"seq\" LIMIT ?4)";
pub(super) const FORGET: &str = "DELETE FROM \"_ficus_log\" WHERE \"seq\" >= ?3 AND \"seq\" <= ?1 AND \"scope\" = ?2";

/// A key of the log.
#[derive(Clone)]
struct Seen {
    key: Value,
    /// Somebody wrote it.
    written: bool,
    /// By its first entry it was not there before.
    born: bool,
}

/// Bytes of one entry, about: a number, the names of writer and table, a key, a time.
const ENTRY: u64 = 64;

impl Endpoint {
    /// The end of the log: the highest number ever given out, pruned or not.
    pub(super) async fn end_in(&self, connection: &mut SqliteConnection) -> Result<Position, sqlx::Error> {
        let end = sql::one(connection, "SELECT seq FROM sqlite_sequence WHERE name = '_ficus_log'", &[]).await?;
        Ok(match end {
            Some(Value::Int(end)) => Position(u64::try_from(end).unwrap_or(0)),
            _ => Position(0),
        })
    }

    /// Refuses when a trigger is missing or not the one that it should be. Costs one pragma while nothing changed.
    pub(super) async fn intact(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        let version = schema::version(connection).await.map_err(|e| self.failed(e))?;
        if version == self.schema.load(Ordering::Acquire) {
            return Ok(());
        }
        let tables = schema::tables(connection, self.tables.keys()).await.map_err(|e| self.failed(e))?;
        if tables != self.tables || !self.outdated(connection).await?.is_empty() {
            return Err(Error::SchemaChanged);
        }
        self.schema.store(version, Ordering::Release);
        Ok(())
    }

    /// Triggers by table, as they should be, or as a release before this one made them.
    fn triggers(&self, now: bool) -> Vec<(&String, Vec<Trigger>)> {
        let captured = self.tables.iter().map(|(name, table)| {
            let pairs: Vec<Captured<'_>> =
                self.pairs.iter().filter(|pair| pair.shape.table == *name).map(|pair| (pair.name.as_str(), &pair.shape)).collect();
            (name, triggers::all(&self.scope, table, &pairs, self.records.load(Ordering::Acquire), now))
        });
        captured.collect()
    }

    /// Tables that lack a trigger, have another one, or one too many; and whether capture may have missed something for it.
    async fn outdated(&self, connection: &mut SqliteConnection) -> Result<Vec<(&String, Vec<Trigger>, bool)>, Error> {
        let query = "SELECT name, sql, tbl_name FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, length(?1)) = ?1";
        let found = sql::all(connection, query, &[Value::Text(triggers::prefix(&self.scope))]).await.map_err(|e| self.failed(e))?;
        let found: HashSet<(String, String, String)> = found
            .into_iter()
            .filter_map(|row| match <[Value; 3]>::try_from(row) {
                Ok([Value::Text(name), Value::Text(sql), Value::Text(table)]) => Some((name, sql, table)),
                _ => None,
            })
            .collect();
        let complete = |table: &String, wanted: &[Trigger], keepers: bool| {
            let counts = |name: &str| keepers || !triggers::is_keeper(name);
            let wanted: Vec<&Trigger> = wanted.iter().filter(|(name, _)| counts(name)).collect();
            wanted.len() == found.iter().filter(|(name, _, on)| on == table && counts(name)).count()
                && wanted.iter().all(|(name, sql)| found.contains(&(name.clone(), sql.clone(), table.clone())))
        };
        let both = self.triggers(true).into_iter().zip(self.triggers(false));
        let outdated = both.filter(|((table, wanted), _)| !complete(table, wanted, true));
        let outdated = outdated.map(|((table, wanted), (_, before))| {
            let gap = !complete(table, &wanted, false) && !complete(table, &before, false);
            (table, wanted, gap)
        });
        Ok(outdated.collect())
    }

    /// Replaces the triggers of outdated tables, and remembers what may have been missed.
    async fn install(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        for (table, wanted, gap) in self.outdated(connection).await? {
            let prefix = format!("{}%", triggers::prefix(&self.scope).replace('_', "\\_"));
            let query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?1 AND name LIKE ?2 ESCAPE '\\'";
            let old = sql::all(connection, query, &[Value::Text(table.clone()), Value::Text(prefix)]).await.map_err(|e| self.failed(e))?;
            for row in old {
                if let [Value::Text(name)] = row.as_slice() {
                    let drop = format!("DROP TRIGGER {}", sql::name(name));
                    sql::run(connection, &drop).await.map_err(|e| self.failed(e))?;
                }
            }
            for (_, create) in &wanted {
                sql::run(connection, create).await.map_err(|e| self.failed(e))?;
            }
            for pair in self.pairs.iter().filter(|pair| gap && pair.shape.table == *table) {
                self.note_gap(connection, pair).await?;
            }
        }
        Ok(())
    }

    async fn note_gap(&self, connection: &mut SqliteConnection, pair: &Pair) -> Result<(), Error> {
        let gap = "INSERT OR IGNORE INTO \"_ficus_gap\" (\"scope\", \"pair\") VALUES (?1, ?2)";
        let values = [self.scope_value(), Value::Text(pair.name.clone())];
        sql::run_with(connection, gap, &values).await.map_err(|e| self.failed(e))?;
        Ok(())
    }

    /// An entry whose key cannot be carried is nobody's once its row is gone: it has never been copied.
    async fn without(&self, connection: &mut SqliteConnection, pair: usize, seq: i64) -> Result<(), Error> {
        let Pair { sql: parts::Statements { keys, key, .. }, .. } = &self.pairs[pair];
        let query = format!("{keys} AND {key} IN (SELECT \"key\" FROM \"_ficus_log\" WHERE \"seq\" = ?1)");
        match sql::one(connection, &query, &[Value::Int(seq)]).await.map_err(|e| self.failed(e))? {
            Some(_) => Err(self.no_key(pair)),
            None => Ok(()),
        }
    }

    /// Refuses rows whose keys are bytes. SQLite orders them after every number and text, so that an index finds them.
    async fn keys_fit(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        for (index, pair) in self.pairs.iter().enumerate() {
            let query = format!("{} AND {} >= x'' LIMIT 1", pair.sql.keys, pair.sql.key);
            if sql::one(connection, &query, &[]).await.map_err(|e| self.failed(e))?.is_some() {
                return Err(self.no_key(index));
            }
        }
        Ok(())
    }

    async fn fold(&self, connection: &mut SqliteConnection, after: Position, limit: usize, also: &[Touched]) -> Result<Batch, Error> {
        let end = self.end_in(connection).await.map_err(|e| self.failed(e))?;
        let mut batch = Batch { upto: end, end, rows: vec![Vec::new(); self.pairs.len()], ..Batch::default() };
        if end <= after && also.is_empty() {
            return Ok(batch);
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let entries =
            sql::all(connection, ENTRIES, &[number(after), self.scope_value(), Value::Int(limit)]).await.map_err(|e| self.failed(e))?;
        batch.entries = entries.len() as u64;
        let mut keys: Vec<Vec<Seen>> = vec![Vec::new(); self.pairs.len()];
        let mut seen: HashMap<(usize, String), usize> = HashMap::new();
        let mut add = |pair: usize, key: Value, what: i64| {
            let at = *seen.entry((pair, sql::literal(&key))).or_insert(keys[pair].len());
            let written = what != objects::ASKED;
            match keys[pair].get_mut(at) {
                Some(seen) => seen.written |= written,
                None => keys[pair].push(Seen { key, written, born: what == objects::NEW }),
            }
        };
        let mut last = after;
        for (index, entry) in entries.into_iter().enumerate() {
            let Ok([Value::Int(seq), Value::Text(pair), key, age, Value::Int(what)]) = <[Value; 5]>::try_from(entry) else { continue };
            last = Position(u64::try_from(seq).unwrap_or(0));
            if let (0, Value::Real(age)) = (index, age) {
                batch.age = age.max(0.0);
            }
            let Some(pair) = self.pair_index(&pair) else { continue };
            if sql::is_key(&key) {
                add(pair, key, what);
            } else {
                self.without(connection, pair, seq).await?;
            }
        }
        for touched in also {
            add(touched.pair, touched.key.clone(), objects::ASKED);
        }
        if batch.entries >= u64::try_from(limit).unwrap_or(u64::MAX) {
            batch.upto = last;
            if let Some(Value::Int(left)) =
                sql::one(connection, LEFT, &[number(last), self.scope_value()]).await.map_err(|e| self.failed(e))?
            {
                batch.left = u64::try_from(left).unwrap_or(0);
            }
        }
        for (pair, keys) in keys.into_iter().enumerate() {
            let born: HashSet<String> = keys.iter().filter(|seen| seen.born).map(|seen| sql::literal(&seen.key)).collect();
            let first = batch.touched.len();
            batch.asked.extend(keys.iter().enumerate().filter(|(_, seen)| !seen.written).map(|(at, _)| first + at));
            let keys: Vec<Value> = keys.into_iter().map(|seen| seen.key).collect();
            let rows = self.rows_in(connection, pair, &keys).await.map_err(|e| self.failed(e))?;
            let (fresh, others): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| born.contains(&sql::literal(&row.key)));
            batch.fresh.push(fresh.len());
            batch.rows[pair] = fresh;
            batch.rows[pair].extend(others);
            batch.touched.extend(keys.into_iter().map(|key| Touched { pair, key }));
        }
        Ok(batch)
    }
}

#[async_trait]
impl Source for Endpoint {
    async fn prepare(&self) -> Result<(), Error> {
        let mut connection = self.file.write.acquire().await.map_err(|e| self.failed(e))?;
        let mode = sql::one(&mut connection, "PRAGMA journal_mode", &[]).await.map_err(|e| self.failed(e))?;
        if mode != Some(Value::Text("wal".into())) {
            return Err(Error::Refused(format!(
                "{}: not in WAL mode, where a reader never blocks a writer; run once on the database: PRAGMA journal_mode = WAL;",
                self.file.label
            )));
        }
        drop(connection);
        let mut tx = self.file.begin().await?;
        objects::create(&mut tx, &self.scope).await.map_err(|e| self.failed(e))?;
        self.install(&mut tx).await?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        self.keys_fit(&mut connection).await?;
        self.intact(&mut connection).await
    }

    async fn gaps(&self) -> Result<Vec<usize>, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT \"pair\" FROM \"_ficus_gap\" WHERE \"scope\" = ?1";
        let rows = sql::all(&mut connection, query, &[self.scope_value()]).await.map_err(|e| self.failed(e))?;
        let names = rows.iter().filter_map(|row| match row.as_slice() {
            [Value::Text(name)] => self.pair_index(name),
            _ => None,
        });
        Ok(names.collect())
    }

    async fn open_gaps(&self, pairs: &[usize]) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        for pair in pairs {
            self.note_gap(&mut tx, &self.pairs[*pair]).await?;
        }
        tx.commit().await.map_err(|e| self.failed(e))
    }

    async fn close_gaps(&self, pairs: &[usize]) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        for pair in pairs {
            let delete = "DELETE FROM \"_ficus_gap\" WHERE \"scope\" = ?1 AND \"pair\" = ?2";
            let values = [self.scope_value(), Value::Text(self.pairs[*pair].name.clone())];
            sql::run_with(&mut tx, delete, &values).await.map_err(|e| self.failed(e))?;
        }
        tx.commit().await.map_err(|e| self.failed(e))
    }

    async fn unseen(&self) -> Result<Option<u64>, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT \"pair\" FROM \"_ficus_gap\" WHERE \"scope\" = ?1";
        let rows = sql::all(&mut connection, query, &[self.scope_value()]).await.map_err(|e| self.failed(e))?;
        let tokens = rows.iter().filter_map(|row| if let [Value::Text(name)] = row.as_slice() { unseen_token(name) } else { None });
        Ok(tokens.max())
    }

    async fn set_unseen(&self, token: Option<u64>) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let forget = "DELETE FROM \"_ficus_gap\" WHERE \"scope\" = ?1 AND (\"pair\" = '' OR \"pair\" LIKE char(9) || '%')";
        sql::run_with(&mut tx, forget, &[self.scope_value()]).await.map_err(|e| self.failed(e))?;
        if let Some(token) = token {
            let note = "INSERT INTO \"_ficus_gap\" (\"scope\", \"pair\") VALUES (?1, ?2)";
            let values = [self.scope_value(), Value::Text(unseen_name(token))];
            sql::run_with(&mut tx, note, &values).await.map_err(|e| self.failed(e))?;
        }
        tx.commit().await.map_err(|e| self.failed(e))
    }

    async fn snapshot(&self, left: &[Left], _lines: &[usize], batch_rows: usize, pieces: mpsc::Sender<Piece>) -> Result<(), Error> {
        self.read_snapshot(left, batch_rows, pieces).await
    }

    async fn changed(&self) -> Result<bool, Error> {
        let mut watch = self.watch.lock().await;
        let connection = match &mut watch.connection {
            Some(connection) => connection,
            empty => empty.insert(self.file.read.acquire().await.map_err(|e| self.failed(e))?),
        };
        let version = match sql::one(connection, "PRAGMA data_version", &[]).await.map_err(|e| self.failed(e))? {
            Some(Value::Int(version)) => Some(version),
            _ => None,
        };
        let changed = watch.version != version || version.is_none();
        watch.version = version;
        Ok(changed)
    }

    async fn read(&self, after: Position, limit: usize, also: &[Touched]) -> Result<Batch, Error> {
        let mut tx = self.file.read.begin().await.map_err(|e| self.failed(e))?;
        self.intact(&mut tx).await?;
        let batch = self.fold(&mut tx, after, limit, also).await?;
        tx.rollback().await.map_err(|e| self.failed(e))?;
        if batch.end < after {
            return Err(Error::Refused(format!(
                "{}: its log ends at {} and {after} is already applied: an older copy of the database was put in place; put the newer one back, or start over with a new backfill",
                self.file.label, batch.end
            )));
        }
        Ok(batch)
    }

    fn bytes(&self, _from: Position, _to: Position, entries: u64) -> u64 {
        entries * ENTRY
    }

    async fn kept_log(&self) -> Result<u64, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let span = "SELECT (SELECT max(\"seq\") FROM \"_ficus_log\") - (SELECT min(\"seq\") FROM \"_ficus_log\") + 1";
        match sql::one(&mut connection, span, &[]).await.map_err(|e| self.failed(e))? {
            Some(Value::Int(entries)) => Ok(u64::try_from(entries).unwrap_or(0) * ENTRY),
            _ => Ok(0),
        }
    }

    async fn confirm(&self, position: Position) -> Result<(), Error> {
        let pruned = Position(self.pruned.load(Ordering::Acquire));
        let values = [number(position), self.scope_value(), number(pruned), Value::Int(PRUNE)];
        // There is mostly nothing, and to find that out keeps no writer of the file waiting.
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let found = sql::all(&mut connection, PRUNABLE, &values).await.map_err(|e| self.failed(e))?;
        drop(connection);
        let Some(&[Value::Int(first), Value::Int(last)]) = found.first().map(Vec::as_slice) else {
            self.pruned.fetch_max(position.0, Ordering::AcqRel);
            return Ok(());
        };
        let mut tx = self.guarded().await?;
        let values = [Value::Int(last), self.scope_value(), Value::Int(first)];
        sql::run_with(&mut tx, FORGET, &values).await.map_err(|e| self.failed(e))?;
        let note = "INSERT INTO \"_ficus_pruned\" (\"seq\", \"scope\") VALUES (?1, ?2) ON CONFLICT (\"scope\") DO UPDATE SET \"seq\" = max(\"seq\", excluded.\"seq\")";
        sql::run_with(&mut tx, note, &values[..2]).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        self.pruned.fetch_max(u64::try_from(last).unwrap_or(0), Ordering::AcqRel);
        Ok(())
    }

    async fn pruned(&self) -> Result<Position, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let query = "SELECT \"seq\" FROM \"_ficus_pruned\" WHERE \"scope\" = ?1";
        match sql::one(&mut connection, query, &[self.scope_value()]).await.map_err(|e| self.failed(e))? {
            Some(Value::Int(seq)) => Ok(Position(u64::try_from(seq).unwrap_or(0))),
            _ => Ok(Position(0)),
        }
    }

    async fn end_position(&self) -> Result<Position, Error> {
        let mut tx = self.file.read.begin().await.map_err(|e| self.failed(e))?;
        self.intact(&mut tx).await?;
        let end = self.end_in(&mut tx).await.map_err(|e| self.failed(e))?;
        tx.rollback().await.map_err(|e| self.failed(e))?;
        Ok(end)
    }

    async fn touch(&self, rows: &[Touched]) -> Result<(), Error> {
        for rows in rows.chunks(1_000) {
            let mut tx = self.guarded().await?;
            for pair in 0..self.pairs.len() {
                let keys = sql::json_keys(rows.iter().filter(|row| row.pair == pair).map(|row| &row.key));
                let insert = "INSERT INTO \"_ficus_log\" (\"scope\", \"pair\", \"key\", \"at\", \"what\") SELECT ?1, ?2, value, julianday('now'), ?4 FROM json_each(?3)";
                let values = [self.scope_value(), Value::Text(self.pairs[pair].name.clone()), keys, Value::Int(objects::ASKED)];
                sql::run_with(&mut tx, insert, &values).await.map_err(|e| self.failed(e))?;
            }
            tx.commit().await.map_err(|e| self.failed(e))?;
        }
        Ok(())
    }
}

fn number(position: Position) -> Value {
    Value::Int(i64::try_from(position.0).unwrap_or(i64::MAX))
}
