//! What strangers write while the fence lets them through ([`triggers::LETTING`]): triggers keep each row in a table of Ficus, as it
//! was and as it became, in the writer's own transaction (`triggers.rs`). Here are the questions about what they kept. Who wrote, SQLite
//! does not tell. That none of it is carried to the other side is for the stream ([`crate::stream`]).

use ficus_rules::mapping::Value;

use super::{Endpoint, sql, triggers};
use crate::error::Error;
use crate::port::{LetIn, SETTLE};
use crate::quarantine::{Image, Kept, LARGEST};

impl Endpoint {
    pub(super) async fn is_letting(&self) -> Result<bool, Error> {
        let mut connection = self.file.read.acquire().await.map_err(|e| self.failed(e))?;
        let exists = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '_ficus_fence'";
        let there = sql::one(&mut connection, exists, &[]).await.map_err(|e| self.failed(e))?.is_some();
        drop(connection);
        Ok(there && self.fence_value().await? == Some(triggers::LETTING))
    }

    pub(super) async fn count_let_in(&self) -> Result<LetIn, sqlx::Error> {
        let mut connection = self.file.read.acquire().await?;
        let count = "SELECT count(*), count(*) - count(\"settled\") FROM \"_ficus_stray\" WHERE \"scope\" = ?1";
        let rows = sql::all(&mut connection, count, &[self.scope_value()]).await?;
        let number = |value: &Value| if let Value::Int(number) = value { u64::try_from(*number).unwrap_or(0) } else { 0 };
        Ok(match rows.first().map(Vec::as_slice) {
            Some([rows, unsettled]) => LetIn { rows: number(rows), unsettled: number(unsettled), wrote: Vec::new() },
            _ => LetIn::default(),
        })
    }

    pub(super) async fn undecided(&self) -> Result<Vec<i64>, sqlx::Error> {
        let mut connection = self.file.read.acquire().await?;
        let query = "SELECT \"id\" FROM \"_ficus_stray\" WHERE \"scope\" = ?1 AND \"settled\" IS NULL";
        let rows = sql::all(&mut connection, query, &[self.scope_value()]).await?;
        Ok(rows.iter().filter_map(|row| if let [Value::Int(id)] = row.as_slice() { Some(*id) } else { None }).collect())
    }

    pub(super) async fn decided(&self, numbers: &[i64]) -> Result<(), Error> {
        for numbers in numbers.chunks(SETTLE) {
            let mut tx = self.guarded().await?;
            let settle = "UPDATE \"_ficus_stray\" SET \"settled\" = datetime('now') WHERE \"scope\" = ?1 AND \"id\" IN (SELECT value FROM json_each(?2))";
            let list = Value::Text(format!("[{}]", numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")));
            sql::run_with(&mut tx, settle, &[self.scope_value(), list]).await.map_err(|e| self.failed(e))?;
            tx.commit().await.map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    pub(super) async fn show_let_in(&self, at_most: u32) -> Result<Vec<Kept>, sqlx::Error> {
        let image = |column: &str| format!("length({column}), CASE WHEN length(CAST({column} AS BLOB)) <= {LARGEST} THEN {column} END");
        let select = format!(
            "SELECT \"pair\", CASE typeof(\"key\") WHEN 'blob' THEN hex(\"key\") ELSE CAST(\"key\" AS TEXT) END, \
             CAST(strftime('%s', \"at\") AS INTEGER), {}, {} FROM \"_ficus_stray\" WHERE \"scope\" = ?1 AND \"settled\" IS NULL \
             ORDER BY \"id\" DESC LIMIT ?2",
            image("\"becomes\""),
            image("\"was\""),
        );
        let mut connection = self.file.read.acquire().await?;
        let rows = sql::all(&mut connection, &select, &[self.scope_value(), Value::Int(i64::from(at_most))]).await?;
        let text = |value: &Value| if let Value::Text(text) = value { Some(text.clone()) } else { None };
        let number = |value: &Value| if let Value::Int(number) = value { Some(*number) } else { None };
        let kept = |row: &Vec<Value>| {
            let [pair, key, at, becomes, becomes_text, was, was_text] = row.as_slice() else { return None };
            Some(Kept {
                pair: text(pair)?,
                key: text(key).unwrap_or_default(),
                at: u64::try_from(number(at)?).unwrap_or(0) * 1_000,
                reason: crate::strays::reason(""),
                wanted: Image::read(number(becomes), text(becomes_text)),
                there: Image::read(number(was), text(was_text)),
            })
        };
        Ok(rows.iter().filter_map(kept).collect())
    }
}
