//! What strangers write while the fence lets them through ([`triggers::LETTING`]): triggers keep each row in a table of Ficus, as it
//! was and as it became, with who wrote it, in the writer's own transaction. Here are these triggers, and the questions about what
//! they kept. That none of it is carried to the other side is for the stream ([`crate::stream`]).
//!
//! They act after the row, where a key that the server gave is known. `TRUNCATE` fires none.

use ficus_rules::mapping::{Kind, Shape};
use mysql_async::prelude::Queryable;

use super::control::fence_value;
use super::parts::{name, text};
use super::schema::Table;
use super::triggers::{self, Trigger};
use super::{Endpoint, objects};
use crate::busy::statement;
use crate::error::Error;
use crate::port::{LetIn, SETTLE, WROTE};
use crate::quarantine::{Image, Kept, LARGEST};

/// Who wrote: account and address, connection, statement.
type Who = (Option<String>, Option<u64>, Option<String>);

impl Endpoint {
    /// The triggers that keep rows of a table.
    pub(super) fn keepers(&self, mark: &str, table: &Table, shapes: &[&Shape]) -> Vec<Trigger> {
        let Some(shape) = shapes.first() else { return Vec::new() };
        let pair = self.pairs.iter().find(|pair| pair.shape.table == shape.table).map_or("", |pair| pair.name.as_str());
        let keep = |key: &str, was: &str, becomes: &str| {
            let insert = format!(
                "INSERT INTO `_ficus_stray` (`scope`, `pair`, `key`, `was`, `becomes`, `account`, `connection`, `query`, `at`) VALUES \
                 ({}, {}, {key}.{}, {was}, {becomes}, USER(), CONNECTION_ID(), \
                 (SELECT left(p.INFO, 4000) FROM information_schema.PROCESSLIST AS p WHERE p.ID = CONNECTION_ID()), UTC_TIMESTAMP(3))",
                text(&self.scope),
                text(pair),
                name(&shape.key),
            );
            triggers::at_fence(&self.scope, mark, triggers::LETTING, &insert)
        };
        let (old, new) = (image("OLD", table, shapes), image("NEW", table, shapes));
        let of = |kind: &str| triggers::name_of(&self.scope, &shape.table, kind);
        let updated = format!("IF {} THEN {}; END IF", triggers::changed(table, shapes), keep("OLD", &old, &new));
        vec![
            (of("ki"), "AFTER INSERT", format!("BEGIN {}; END", keep("NEW", "NULL", &new))),
            (of("ku"), "AFTER UPDATE", format!("BEGIN {updated}; END")),
            (of("kd"), "AFTER DELETE", format!("BEGIN {}; END", keep("OLD", &old, "NULL"))),
        ]
    }

    pub(super) async fn is_letting(&self) -> Result<bool, Error> {
        let mut conn = self.server.lease().await?;
        let there = objects::has(&mut conn, "_ficus_fence").await.map_err(|e| self.failed(e))?;
        let value = if there { fence_value(&mut conn, &self.scope).await.map_err(|e| self.failed(e))? } else { None };
        conn.done();
        Ok(value == Some(triggers::LETTING))
    }

    pub(super) async fn count_let_in(&self) -> Result<LetIn, Error> {
        let mut conn = self.server.lease().await?;
        let count = "SELECT count(*), count(*) - count(`settled`) FROM `_ficus_stray` WHERE `scope` = ?";
        let found: Option<(u64, u64)> = conn.exec_first(count, (&self.scope,)).await.map_err(|e| self.failed(e))?;
        let (rows, unsettled) = found.unwrap_or_default();
        let mut found = LetIn { rows, unsettled, wrote: Vec::new() };
        if unsettled > 0 {
            let newest = "SELECT `account`, `connection`, `query` FROM `_ficus_stray` WHERE `scope` = ? AND `settled` IS NULL \
                 ORDER BY `id` DESC LIMIT ?";
            for row in conn.exec::<Who, _, _>(newest, (&self.scope, WROTE)).await.map_err(|e| self.failed(e))? {
                let who = in_words(row);
                if !found.wrote.contains(&who) {
                    found.wrote.push(who);
                }
            }
        }
        conn.done();
        Ok(found)
    }

    pub(super) async fn undecided(&self) -> Result<Vec<i64>, Error> {
        let mut conn = self.server.lease().await?;
        let query = "SELECT `id` FROM `_ficus_stray` WHERE `scope` = ? AND `settled` IS NULL";
        let found = conn.exec(query, (&self.scope,)).await.map_err(|e| self.failed(e))?;
        conn.done();
        Ok(found)
    }

    pub(super) async fn decided(&self, numbers: &[i64]) -> Result<(), Error> {
        for numbers in numbers.chunks(SETTLE) {
            let mut conn = self.guarded().await?;
            let list = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            // By their own numbers: others that are being written are not waited for.
            let settle = format!("UPDATE `_ficus_stray` SET `settled` = UTC_TIMESTAMP(3) WHERE `id` IN ({list})");
            conn.query_drop(settle).await.map_err(|e| self.failed(e))?;
            self.commit(conn).await?;
        }
        Ok(())
    }

    pub(super) async fn show_let_in(&self, at_most: u32) -> Result<Vec<Kept>, Error> {
        let image = |column: &str| format!("LENGTH(`{column}`), IF(LENGTH(`{column}`) <= {LARGEST}, `{column}`, NULL)");
        let select = format!(
            "SELECT `pair`, `key`, TIMESTAMPDIFF(SECOND, '1970-01-01', `at`), {}, {}, `account`, `connection`, `query` \
             FROM `_ficus_stray` WHERE `scope` = ? AND `settled` IS NULL ORDER BY `id` DESC LIMIT {at_most}",
            image("becomes"),
            image("was"),
        );
        type Columns = (
            String,
            Option<String>,
            i64,
            Option<i64>,
            Option<String>,
            Option<i64>,
            Option<String>,
            Option<String>,
            Option<u64>,
            Option<String>,
        );
        let mut conn = self.server.lease().await?;
        let rows: Vec<Columns> = conn.exec(select, (&self.scope,)).await.map_err(|e| self.failed(e))?;
        conn.done();
        let kept = |(pair, key, at, becomes, becomes_text, was, was_text, account, connection, query): Columns| Kept {
            pair,
            key: key.unwrap_or_default(),
            at: u64::try_from(at).unwrap_or(0) * 1_000,
            reason: crate::strays::reason(&in_words((account, connection, query))),
            wanted: Image::read(becomes, becomes_text),
            there: Image::read(was, was_text),
        };
        Ok(rows.into_iter().map(kept).collect())
    }
}

/// A row as JSON by column, those that the agent reads or writes. Bytes are none of its texts.
fn image(row: &str, table: &Table, shapes: &[&Shape]) -> String {
    let mut cells: Vec<String> = Vec::new();
    for column in shapes.iter().flat_map(|shape| std::iter::once(&shape.key).chain(&shape.columns)) {
        let value = format!("{row}.{}", name(column));
        let bytes = table.column(column).is_some_and(|column| matches!(column.kind, Kind::Bytes));
        let value = if bytes { format!("IF({value} IS NULL, NULL, JSON_OBJECT('hex', lower(hex({value}))))") } else { value };
        let cell = format!("{}, {value}", text(column));
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    format!("JSON_OBJECT({})", cells.join(", "))
}

fn in_words((account, connection, query): Who) -> String {
    let mut who = Vec::new();
    who.extend(account.map(|account| format!("account `{account}`")));
    who.extend(connection.map(|id| format!("connection {id}")));
    who.extend(query.and_then(|query| statement(&query, &['\'', '"'])).map(|shown| format!("statement `{shown}`")));
    who.join(", ")
}
