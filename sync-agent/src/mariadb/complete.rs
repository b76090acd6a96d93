//! The rows of a batch: from the log, and from the tables what the log alone does not have.
//!
//! The log is sent to us a moment before the tables show the commit, and long before when the server waits for a replica.
//! Who then looked for a row in the tables would take it for gone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ficus_rules::mapping::{Row, Value};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::Endpoint;
use super::apply::stored;
use super::capture::Image;
use super::parts::name;
use crate::error::Error;
use crate::port::Position;

/// How long the tables may take to show what the log has.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_micros(500);

/// What is known of a key after folding.
pub(super) struct Folded {
    pub(super) pair: usize,
    pub(super) key: Value,
    pub(super) image: Image,
    /// The first change of it made the row.
    pub(super) born: bool,
}

impl Endpoint {
    /// The rows of a fold, those that were not there before first, and how many of these there are. Images come first; what they lack
    /// is read from the tables as they are now: keys that were only touched, and rows whose references lead to a row that is gone
    /// by now (so they have changed, too).
    pub(super) async fn rows_of(&self, folded: &[Folded], upto: Position) -> Result<(Vec<Vec<Row>>, Vec<usize>), Error> {
        let mut rows: Vec<Vec<Row>> = vec![Vec::new(); self.pairs.len()];
        let mut again: Vec<Vec<Value>> = vec![Vec::new(); self.pairs.len()];
        let (born, others): (Vec<&Folded>, Vec<&Folded>) = folded.iter().partition(|folded| folded.born);
        let mut fresh = vec![0; self.pairs.len()];
        for Folded { pair, key, image, born } in born.into_iter().chain(others) {
            match image {
                Image::Gone => {}
                Image::Reread | Image::Asked => again[*pair].push(key.clone()),
                Image::Row(values) => {
                    rows[*pair].push(Row { key: key.clone(), values: values.clone() });
                    fresh[*pair] += usize::from(*born);
                }
            }
        }
        if self.pairs.iter().all(|pair| pair.lookups.is_empty()) && again.iter().all(Vec::is_empty) {
            return Ok((rows, fresh));
        }
        let mut conn = self.server.lease().await?;
        let found = self.looked_up(&mut conn, &rows).await.map_err(|e| self.failed(e))?;
        for (index, pair) in self.pairs.iter().enumerate() {
            let whole = std::mem::take(&mut rows[index]);
            let born = std::mem::take(&mut fresh[index]);
            for (at, mut row) in whole.into_iter().enumerate() {
                let mut dangling = false;
                for (nth, lookup) in pair.shape.lookups.iter().enumerate() {
                    let place = pair.shape.columns.iter().position(|column| *column == lookup.column);
                    let reference = place.map_or(&Value::Null, |place| &row.values[place]);
                    let key = found.get(&(index, nth, stored(reference))).cloned().unwrap_or(Value::Null);
                    dangling |= key == Value::Null && *reference != Value::Null;
                    row.values.push(key);
                }
                if dangling {
                    again[index].push(row.key);
                } else {
                    rows[index].push(row);
                    fresh[index] += usize::from(at < born);
                }
            }
        }
        if again.iter().any(|keys| !keys.is_empty()) {
            self.until_shown(&mut conn, upto).await?;
            for (index, pair) in self.pairs.iter().enumerate() {
                rows[index].extend(pair.rows_in(&mut conn, &again[index]).await.map_err(|e| self.failed(e))?);
            }
            conn.query_drop("ROLLBACK").await.map_err(|e| self.failed(e))?;
        }
        conn.done();
        Ok((rows, fresh))
    }

    /// By pair, lookup and reference: the key of the row that it leads to.
    async fn looked_up(&self, conn: &mut Conn, rows: &[Vec<Row>]) -> Result<HashMap<(usize, usize, String), Value>, mysql_async::Error> {
        let mut found = HashMap::new();
        for (index, pair) in self.pairs.iter().enumerate() {
            for (nth, lookup) in pair.shape.lookups.iter().enumerate() {
                let Some(place) = pair.shape.columns.iter().position(|column| *column == lookup.column) else { continue };
                let (column, key) = (&pair.columns[place], &pair.lookups[nth]);
                let mut wanted: HashMap<String, Value> = rows[index]
                    .iter()
                    .map(|row| &row.values[place])
                    .filter(|value| **value != Value::Null)
                    .map(|value| (stored(value), value.clone()))
                    .collect();
                for (parent, rows) in
                    self.pairs.iter().zip(rows).filter(|(parent, _)| parent.shape.table == lookup.table && parent.shape.key == lookup.key)
                {
                    let Some(at) = parent.shape.columns.iter().position(|column| *column == lookup.id) else { continue };
                    for row in rows {
                        if wanted.remove(&stored(&row.values[at])).is_some() {
                            found.insert((index, nth, stored(&row.values[at])), row.key.clone());
                        }
                    }
                }
                let wanted: Vec<Value> = wanted.into_values().collect();
                for wanted in wanted.chunks(1_000) {
                    let mut list: Vec<mysql_async::Value> = wanted.iter().map(|value| column.argument(value)).collect();
                    let length = [1, 10, 100, 1_000].into_iter().find(|length| *length >= list.len()).unwrap_or(list.len());
                    list.resize(length, list.last().cloned().unwrap_or(mysql_async::Value::NULL));
                    let query = format!(
                        "SELECT {id}, {key} FROM {table} WHERE {id} IN ({list})",
                        id = name(&lookup.id),
                        key = name(&lookup.key),
                        table = name(&lookup.table),
                        list = vec!["?"; length].join(",")
                    );
                    for (id, of) in conn.exec::<(mysql_async::Value, mysql_async::Value), _, _>(query, list).await? {
                        found.insert((index, nth, stored(&column.of_result(id))), key.of_result(of));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Begins a transaction that sees everything up to a position. MySQL cannot say what one sees: what it shows is taken.
    async fn until_shown(&self, conn: &mut Conn, upto: Position) -> Result<(), Error> {
        let begun = Instant::now();
        loop {
            conn.query_drop("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.map_err(|e| self.failed(e))?;
            if !self.server.is_mariadb() {
                return conn.query_drop("START TRANSACTION").await.map_err(|e| self.failed(e));
            }
            if self.begin(conn).await? >= upto {
                return Ok(());
            }
            conn.query_drop("ROLLBACK").await.map_err(|e| self.failed(e))?;
            if begun.elapsed() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                return Err(self.lost(format!(
                    "its tables do not show what its binary log has had for {seconds} s; does a commit wait for a replica?"
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
