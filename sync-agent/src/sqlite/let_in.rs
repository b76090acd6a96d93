//! What strangers write while the fence lets them through ([`triggers::LETTING`]): triggers keep each row in a table of Ficus, as it
//! was and as it became, in the writer's own transaction (`triggers.rs`). Here are the questions about what they kept. Who wrote, SQLite
//! does not tell. That none of it is carried to the other side is for the stream ([`crate::stream`]).

use ficus_rules::mapping::{Row, Value};
use sqlx::SqliteConnection;

use super::apply::Failure;
use super::{Endpoint, sql, triggers};
use crate::crash;
use crate::error::Error;
use crate::port::{KEPT_DAYS, KEPT_ROWS, LetIn, LetInPair, Rewrite, Rewritten, SETTLE, Same, Stray};
use crate::quarantine::{Image, Kept, LARGEST};

/// Asked every second, however many have been settled: the index holds the others.
const UNSETTLED: &str = "SELECT count(*) FROM \"_ficus_stray\" WHERE \"scope\" = ?1 AND \"settled\" IS NULL";

impl Endpoint {
    pub(super) async fn is_letting(&self) -> Result<bool, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_ficus_fence'";
        let there = sql::one(&mut connection, exists, &[]).await.map_err(|e| self.failed(e))?.is_some();
        drop(connection);
        Ok(there && self.fence_value().await? == Some(triggers::LETTING))
    }

    pub(super) async fn count_let_in(&self) -> Result<LetIn, sqlx::Error> {
        let mut known = self.settled.lock().await;
        let mut connection = self.file.read.acquire().await?;
        let mut count = async |query| {
            let found = sql::one(&mut connection, query, &[self.scope_value()]).await?;
            Ok::<_, sqlx::Error>(if let Some(Value::Int(number)) = found { u64::try_from(number).unwrap_or(0) } else { 0 })
        };
        let settled = match *known {
            Some(settled) => settled,
            None => {
                let forgotten = count("SELECT \"strays\" FROM \"_ficus_forgotten\" WHERE \"scope\" = ?1").await?;
                *known.insert(forgotten + count("SELECT count(\"settled\") FROM \"_ficus_stray\" WHERE \"scope\" = ?1").await?)
            }
        };
        let unsettled = count(UNSETTLED).await?;
        let mut pairs = Vec::new();
        if unsettled > 0 {
            let of_pairs = "SELECT \"pair\", count(*), count(\"passed\") FROM \"_ficus_stray\" WHERE \"scope\" = ?1 AND \"settled\" IS NULL GROUP BY \"pair\"";
            for row in sql::all(&mut connection, of_pairs, &[self.scope_value()]).await? {
                if let [Value::Text(pair), Value::Int(rows), Value::Int(passed)] = row.as_slice() {
                    let [rows, passed] = [rows, passed].map(|number| u64::try_from(*number).unwrap_or(0));
                    pairs.push(LetInPair { pair: pair.clone(), rows, passed });
                }
            }
        }
        Ok(LetIn { rows: settled + unsettled, unsettled, pairs, wrote: Vec::new() })
    }

    pub(super) async fn undecided(&self) -> Result<Vec<i64>, sqlx::Error> {
        let mut connection = self.file.read.acquire().await?;
        let query = "SELECT \"id\" FROM \"_ficus_stray\" WHERE \"scope\" = ?1 AND \"settled\" IS NULL";
        let rows = sql::all(&mut connection, query, &[self.scope_value()]).await?;
        Ok(rows.iter().filter_map(|row| if let [Value::Int(id)] = row.as_slice() { Some(*id) } else { None }).collect())
    }

    pub(super) async fn forget_decided(&self) -> Result<bool, Error> {
        let old = format!(
            "SELECT \"id\" FROM \"_ficus_stray\" WHERE \"scope\" = ?1 AND \"settled\" IS NOT NULL AND (\"settled\" < datetime('now', '-{KEPT_DAYS} days') \
             OR \"id\" <= (SELECT \"id\" FROM \"_ficus_stray\" WHERE \"scope\" = ?1 AND \"settled\" IS NOT NULL ORDER BY \"id\" DESC LIMIT 1 OFFSET {KEPT_ROWS})) \
             ORDER BY \"id\" LIMIT {SETTLE}"
        );
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let rows = sql::all(&mut connection, &old, &[self.scope_value()]).await.map_err(|e| self.failed(e))?;
        drop(connection);
        if rows.is_empty() {
            return Ok(false);
        }
        let mut tx = self.guarded().await?;
        let numbers: Vec<String> =
            rows.iter().flatten().filter_map(|id| if let Value::Int(id) = id { Some(id.to_string()) } else { None }).collect();
        let list = Value::Text(format!("[{}]", numbers.join(",")));
        let forget = "DELETE FROM \"_ficus_stray\" WHERE \"id\" IN (SELECT value FROM json_each(?1))";
        let forgotten = sql::run_with(&mut tx, forget, &[list]).await.map_err(|e| self.failed(e))?;
        let count = "INSERT INTO \"_ficus_forgotten\" VALUES (?1, ?2) ON CONFLICT (\"scope\") DO UPDATE SET \"strays\" = \"strays\" + excluded.\"strays\"";
        let values = [self.scope_value(), Value::Int(i64::try_from(forgotten).unwrap_or(i64::MAX))];
        sql::run_with(&mut tx, count, &values).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))?;
        Ok(rows.len() == SETTLE)
    }

    pub(super) async fn decided(&self, numbers: &[i64]) -> Result<(), Error> {
        for numbers in numbers.chunks(SETTLE) {
            let mut known = self.settled.lock().await;
            let mut tx = self.guarded().await?;
            let settle = "UPDATE \"_ficus_stray\" SET \"settled\" = datetime('now') WHERE \"scope\" = ?1 AND \"id\" IN (SELECT value FROM json_each(?2)) AND \"settled\" IS NULL";
            let list = Value::Text(format!("[{}]", numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")));
            let settled = sql::run_with(&mut tx, settle, &[self.scope_value(), list]).await.map_err(|e| self.failed(e))?;
            tx.commit().await.map_err(|e| self.failed(e))?;
            *known = known.map(|known| known + settled);
        }
        Ok(())
    }

    pub(super) async fn unread(&self, at_most: u32) -> Result<Vec<Stray>, sqlx::Error> {
        let mut connection = self.file.read.acquire().await?;
        let open = "\"scope\" = ?1 AND \"settled\" IS NULL AND \"passed\" IS NULL";
        let list = format!("SELECT \"id\", \"pair\", \"displaced\" FROM \"_ficus_stray\" WHERE {open} ORDER BY \"id\" LIMIT ?2");
        let rows = sql::all(&mut connection, &list, &[self.scope_value(), Value::Int(i64::from(at_most))]).await?;
        let (mut strays, mut replaced) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            let [Value::Int(number), Value::Text(name), Value::Int(displaced)] = row.as_slice() else { continue };
            let mut stray =
                Stray { number: *number, pair: self.pairs.iter().position(|pair| pair.name == *name), was: None, becomes: None };
            let Some(pair) = stray.pair else {
                strays.push(stray);
                continue;
            };
            let shape = &self.pairs[pair].shape;
            for (image, into) in [("was", &mut stray.was), ("becomes", &mut stray.becomes)] {
                let columns: Vec<String> = std::iter::once(&shape.key).chain(&shape.columns).map(|name| kept(image, name)).collect();
                let query = format!("SELECT {} FROM \"_ficus_stray\" WHERE \"id\" = ?1 AND \"{image}\" IS NOT NULL", columns.join(", "));
                let found = sql::all(&mut connection, &query, &[Value::Int(*number)]).await?.pop();
                *into = found.map(|mut values| Row { key: values.remove(0), values });
            }
            let known = stray.was.as_ref().map(|row| row.key.clone());
            if let Some(key) = known.filter(|_| *displaced == 1)
                && !self.rows_in(&mut connection, pair, std::slice::from_ref(&key)).await?.is_empty()
            {
                // It was not displaced after all, or by one with its key: what it was is what that one takes the place of.
                replaced.push((pair, stray.was.take()));
            } else if let (None, Some(row)) = (&stray.was, &stray.becomes) {
                let of_key = |(of, was): &(usize, Option<Row>)| *of == pair && was.as_ref().is_some_and(|was| was.key == row.key);
                if let Some(at) = replaced.iter().rposition(of_key) {
                    stray.was = replaced.swap_remove(at).1;
                }
            }
            strays.push(stray);
        }
        Ok(strays)
    }

    pub(super) async fn passed(&self, number: i64, reason: &str) -> Result<(), Error> {
        let mut tx = self.guarded().await?;
        let pass = "UPDATE \"_ficus_stray\" SET \"passed\" = ?3 WHERE \"scope\" = ?1 AND \"id\" = ?2";
        let values = [self.scope_value(), Value::Int(number), Value::Text(reason.to_owned())];
        sql::run_with(&mut tx, pass, &values).await.map_err(|e| self.failed(e))?;
        tx.commit().await.map_err(|e| self.failed(e))
    }

    /// The whole file is this transaction's: nobody changes a row between the look at it and the write.
    pub(super) async fn rewrite_rows(&self, pair: usize, number: i64, steps: &[Rewrite], same: &Same<'_>) -> Result<Rewritten, Error> {
        let mut tx = self.guarded().await?;
        match self.rewrite_in(&mut tx, pair, number, steps, same).await {
            Ok(true) => {}
            Ok(false) => return Ok(Rewritten::Changed),
            Err(Failure::Blame(blame)) => return Ok(Rewritten::Refused(blame.reason)),
            Err(Failure::Other(error)) => return Err(self.failed(error)),
        }
        crash::point("after_rewrite_before_commit");
        match tx.commit().await {
            Ok(()) => Ok(Rewritten::Done),
            // What is deferred to the commit is a refusal as well.
            Err(error) => match sql::blame(&error) {
                Some(blame) => Ok(Rewritten::Refused(blame.reason)),
                None => Err(self.failed(error)),
            },
        }
    }

    /// Whether all rows were as expected.
    async fn rewrite_in(
        &self,
        tx: &mut SqliteConnection,
        pair: usize,
        number: i64,
        steps: &[Rewrite],
        same: &Same<'_>,
    ) -> Result<bool, Failure> {
        let carried = "INSERT INTO \"_ficus_carried\" VALUES (?1, ?2) ON CONFLICT (\"stream\") DO UPDATE SET \"number\" = ?2 \
             WHERE \"number\" <> ?2";
        if sql::run_with(tx, carried, &[Value::Text(self.stream()), Value::Int(number)]).await? == 0 {
            return Ok(true);
        }
        for step in steps {
            let key = std::slice::from_ref(&step.key);
            let found = self.rows_in(tx, pair, key).await?.pop();
            if !step.fits(found.as_ref(), same) {
                return Ok(false);
            }
            match step.over(found.as_ref()) {
                None => self.delete(tx, pair, key).await?,
                Some(row) => self.upsert(tx, pair, &[row]).await?,
            }
        }
        Ok(true)
    }

    pub(super) async fn show_let_in(&self, at_most: u32) -> Result<Vec<Kept>, sqlx::Error> {
        let image = |column: &str| format!("length({column}), CASE WHEN length(CAST({column} AS BLOB)) <= {LARGEST} THEN {column} END");
        let select = format!(
            "SELECT \"pair\", CASE typeof(\"key\") WHEN 'blob' THEN hex(\"key\") ELSE CAST(\"key\" AS TEXT) END, \
             CAST(strftime('%s', \"at\") AS INTEGER), {}, {}, \"passed\" FROM \"_ficus_stray\" WHERE \"scope\" = ?1 AND \"settled\" IS NULL \
             ORDER BY \"id\" DESC LIMIT ?2",
            image("\"becomes\""),
            image("\"was\""),
        );
        let mut connection = self.file.read.acquire().await?;
        let rows = sql::all(&mut connection, &select, &[self.scope_value(), Value::Int(i64::from(at_most))]).await?;
        let text = |value: &Value| if let Value::Text(text) = value { Some(text.clone()) } else { None };
        let number = |value: &Value| if let Value::Int(number) = value { Some(*number) } else { None };
        let kept = |row: &Vec<Value>| {
            let [pair, key, at, becomes, becomes_text, was, was_text, passed] = row.as_slice() else { return None };
            Some(Kept {
                pair: text(pair)?,
                key: text(key).unwrap_or_default(),
                at: u64::try_from(number(at)?).unwrap_or(0) * 1_000,
                reason: crate::strays::reason("", text(passed).as_deref()),
                wanted: Image::read(number(becomes), text(becomes_text)),
                there: Image::read(number(was), text(was_text)),
            })
        };
        Ok(rows.iter().filter_map(kept).collect())
    }
}

/// A column of a row that was kept: what [`triggers::image`] made of it, undone.
fn kept(image: &str, column: &str) -> String {
    let path = |inner: &str| sql::text(&format!("$.{}{inner}", serde_json::Value::from(column)));
    let (image, whole) = (sql::name(image), path(""));
    format!(
        "CASE WHEN json_type({image}, {whole}) IS NOT 'object' THEN json_extract({image}, {whole}) \
         WHEN json_type({image}, {hex}) IS NOT NULL THEN unhex(json_extract({image}, {hex})) ELSE CAST(json_extract({image}, {real}) AS REAL) END",
        hex = path(".hex"),
        real = path(".real"),
    )
}
