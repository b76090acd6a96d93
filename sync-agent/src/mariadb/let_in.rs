//! What strangers write while the fence lets them through ([`triggers::LETTING`]): triggers keep each row in a table of Ficus, as it
//! was and as it became, with who wrote it, in the writer's own transaction. Here are these triggers, and the questions about what
//! they kept. That none of it is carried to the other side is for the stream ([`crate::stream`]).
//!
//! They act after the row, where a key that the server gave is known. `TRUNCATE` fires none.

use ficus_rules::mapping::{Kind, Shape};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::control::fence_value;
use super::parts::{name, text};
use super::schema::Table;
use super::triggers::{self, Trigger};
use super::{Endpoint, Pair, objects};
use crate::busy::statement;
use crate::error::Error;
use crate::port::{KEPT_DAYS, KEPT_ROWS, LetIn, LetInPair, SETTLE, Stray, WROTE};
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
        let mut known = self.settled.lock().await;
        let mut conn = self.server.lease().await?;
        let count = async |conn: &mut Conn, which: &str| {
            let query = format!("SELECT count(*) FROM `_ficus_stray` WHERE `scope` = ? AND `settled` {which}");
            let found: Option<u64> = conn.exec_first(query, (&self.scope,)).await.map_err(|e| self.failed(e))?;
            Ok::<_, Error>(found.unwrap_or(0))
        };
        let settled = match *known {
            Some(settled) => settled,
            None => {
                let forgotten = "SELECT `strays` FROM `_ficus_forgotten` WHERE `scope` = ?";
                let forgotten: Option<u64> = conn.exec_first(forgotten, (&self.scope,)).await.map_err(|e| self.failed(e))?;
                *known.insert(forgotten.unwrap_or(0) + count(&mut conn, "IS NOT NULL").await?)
            }
        };
        let unsettled = count(&mut conn, "IS NULL").await?;
        drop(known);
        let mut found = LetIn { rows: settled + unsettled, unsettled, ..LetIn::default() };
        if unsettled > 0 {
            let of_pairs =
                "SELECT `pair`, count(*), count(`passed`) FROM `_ficus_stray` WHERE `scope` = ? AND `settled` IS NULL GROUP BY `pair`";
            let of_pair = |(pair, rows, passed)| LetInPair { pair, rows, passed };
            found.pairs = conn.exec_map(of_pairs, (&self.scope,), of_pair).await.map_err(|e| self.failed(e))?;
        }
        if found.rows > 0 {
            let which = if unsettled > 0 { "AND `settled` IS NULL" } else { "" };
            let newest =
                format!("SELECT `account`, `connection`, `query` FROM `_ficus_stray` WHERE `scope` = ? {which} ORDER BY `id` DESC LIMIT ?");
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

    pub(super) async fn forget_decided(&self) -> Result<bool, Error> {
        let mut conn = self.server.lease().await?;
        let newest = format!(
            "SELECT `id` FROM `_ficus_stray` WHERE `scope` = ? AND `settled` IS NOT NULL ORDER BY `id` DESC LIMIT 1 OFFSET {KEPT_ROWS}"
        );
        let beyond: Option<i64> = conn.exec_first(newest, (&self.scope,)).await.map_err(|e| self.failed(e))?;
        let old = format!(
            "SELECT `id` FROM `_ficus_stray` WHERE `scope` = ? AND `settled` IS NOT NULL \
             AND (`settled` < UTC_TIMESTAMP() - INTERVAL {KEPT_DAYS} DAY OR `id` <= ?) ORDER BY `id` LIMIT {SETTLE}"
        );
        let numbers: Vec<i64> = conn.exec(old, (&self.scope, beyond.unwrap_or(0))).await.map_err(|e| self.failed(e))?;
        conn.done();
        if numbers.is_empty() {
            return Ok(false);
        }
        let mut conn = self.guarded().await?;
        let list = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        conn.query_drop(format!("DELETE FROM `_ficus_stray` WHERE `id` IN ({list})")).await.map_err(|e| self.failed(e))?;
        let rows = conn.affected_rows();
        let count = "INSERT INTO `_ficus_forgotten` VALUES (?, ?) ON DUPLICATE KEY UPDATE `strays` = `strays` + VALUES(`strays`)";
        conn.exec_drop(count, (&self.scope, rows)).await.map_err(|e| self.failed(e))?;
        self.commit(conn).await?;
        Ok(numbers.len() == SETTLE)
    }

    pub(super) async fn decided(&self, numbers: &[i64]) -> Result<(), Error> {
        for numbers in numbers.chunks(SETTLE) {
            let mut known = self.settled.lock().await;
            let mut conn = self.guarded().await?;
            let list = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            // By their own numbers: others that are being written are not waited for.
            let settle = format!("UPDATE `_ficus_stray` SET `settled` = UTC_TIMESTAMP(3) WHERE `id` IN ({list}) AND `settled` IS NULL");
            conn.query_drop(settle).await.map_err(|e| self.failed(e))?;
            let settled = conn.affected_rows();
            self.commit(conn).await?;
            *known = known.map(|known| known + settled);
        }
        Ok(())
    }

    /// What was kept is made a row of its table's types again by the server, and read like one.
    pub(super) async fn unread(&self, at_most: u32) -> Result<Vec<Stray>, Error> {
        let mut conn = self.server.lease().await?;
        let list = format!(
            "SELECT `id`, `pair` FROM `_ficus_stray` WHERE `scope` = ? AND `settled` IS NULL AND `passed` IS NULL ORDER BY `id` LIMIT {at_most}"
        );
        let rows: Vec<(i64, String)> = conn.exec(list, (&self.scope,)).await.map_err(|e| self.failed(e))?;
        let mut strays = Vec::with_capacity(rows.len());
        for (number, name) in rows {
            let pair = self.pairs.iter().position(|pair| pair.name == name);
            strays.push(Stray { number, pair, was: None, becomes: None });
        }
        let Some(last) = strays.last().map(|stray| stray.number) else {
            conn.done();
            return Ok(strays);
        };
        for (at, pair) in self.pairs.iter().enumerate() {
            if !strays.iter().any(|stray| stray.pair == Some(at)) {
                continue;
            }
            let types =
                "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
            let types: Vec<(String, String)> = conn.exec(types, (&pair.shape.table,)).await.map_err(|e| self.failed(e))?;
            for image in ["was", "becomes"] {
                let query = pair.kept(image, &types);
                let found: Vec<mysql_async::Row> = conn.exec(query, (&self.scope, &pair.name, last)).await.map_err(|e| self.failed(e))?;
                for row in found {
                    let number: Option<i64> = row.get(row.len() - 1);
                    let stray = strays.iter_mut().find(|stray| Some(stray.number) == number && stray.pair == Some(at));
                    let read = Some(pair.row(row));
                    match stray {
                        Some(stray) if image == "was" => stray.was = read,
                        Some(stray) => stray.becomes = read,
                        None => {}
                    }
                }
            }
        }
        conn.done();
        Ok(strays)
    }

    pub(super) async fn passed(&self, number: i64, reason: &str) -> Result<(), Error> {
        let mut conn = self.guarded().await?;
        conn.exec_drop("UPDATE `_ficus_stray` SET `passed` = ? WHERE `id` = ?", (reason, number)).await.map_err(|e| self.failed(e))?;
        self.commit(conn).await
    }

    pub(super) async fn show_let_in(&self, at_most: u32) -> Result<Vec<Kept>, Error> {
        let image = |column: &str| format!("LENGTH(`{column}`), IF(LENGTH(`{column}`) <= {LARGEST}, `{column}`, NULL)");
        let select = format!(
            "SELECT `pair`, `key`, TIMESTAMPDIFF(SECOND, '1970-01-01', `at`), {}, {}, `passed`, `account`, `connection`, `query` \
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
            Option<String>,
            Option<u64>,
            Option<String>,
        );
        let mut conn = self.server.lease().await?;
        let rows: Vec<Columns> = conn.exec(select, (&self.scope,)).await.map_err(|e| self.failed(e))?;
        conn.done();
        let kept = |(pair, key, at, becomes, becomes_text, was, was_text, passed, account, connection, query): Columns| Kept {
            pair,
            key: key.unwrap_or_default(),
            at: u64::try_from(at).unwrap_or(0) * 1_000,
            reason: crate::strays::reason(&in_words((account, connection, query)), passed.as_deref()),
            wanted: Image::read(becomes, becomes_text),
            there: Image::read(was, was_text),
        };
        Ok(rows.into_iter().map(kept).collect())
    }
}

impl Pair {
    /// The rows that were kept, `was` or `becomes`, each with its number at the end. Arguments: scope, pair, highest number.
    fn kept(&self, image: &str, types: &[(String, String)]) -> String {
        let (mut typed, mut selected) = (Vec::new(), Vec::new());
        for (at, column) in std::iter::once(&self.key).chain(&self.columns).enumerate() {
            let path = |inner: &str| text(&format!("$.{}{inner}", serde_json::Value::from(column.name.as_str())));
            let kind = types.iter().find(|(known, _)| *known == column.name).map_or("LONGTEXT", |(_, kind)| kind);
            match column.kind {
                Kind::Bytes => selected.push(format!("UNHEX(JSON_UNQUOTE(JSON_EXTRACT(s.`{image}`, {})))", path(".hex"))),
                // It is kept as it is, or as a text of it.
                Kind::Json => selected.push(format!(
                    "IF(JSON_TYPE(JSON_EXTRACT(s.`{image}`, {0})) = 'NULL', NULL, JSON_UNQUOTE(JSON_EXTRACT(s.`{image}`, {0})))",
                    path("")
                )),
                _ => {
                    typed.push(format!("c{at} {kind} PATH {} ERROR ON ERROR", path("")));
                    selected.push(format!("t.c{at}"));
                }
            }
        }
        format!(
            "SELECT {}, s.`id` FROM `_ficus_stray` AS s JOIN JSON_TABLE(s.`{image}`, '$' COLUMNS ({})) AS t WHERE s.`scope` = ? \
             AND s.`pair` = ? AND s.`settled` IS NULL AND s.`passed` IS NULL AND s.`id` <= ? AND s.`{image}` IS NOT NULL",
            selected.join(", "),
            typed.join(", "),
        )
    }
}

/// A row as JSON by column, those that the agent reads or writes. Bytes are none of its texts.
fn image(row: &str, table: &Table, shapes: &[&Shape]) -> String {
    let mut cells: Vec<String> = Vec::new();
    for column in shapes.iter().flat_map(|shape| std::iter::once(&shape.key).chain(&shape.columns)) {
        let value = format!("{row}.{}", name(column));
        let bytes = table.column(column).is_some_and(|column| matches!(column.kind, Kind::Bytes));
        // Of a FLOAT not all digits are shown.
        let real = table.column(column).is_some_and(|column| matches!(column.kind, Kind::Single));
        let value = if real { format!("CAST({value} AS DOUBLE)") } else { value };
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
    // Of some servers it is the trigger's own.
    let query = query.filter(|query| !query.contains("`_ficus_stray`"));
    who.extend(query.and_then(|query| statement(&query, &['\'', '"'])).map(|shown| format!("statement `{shown}`")));
    who.join(", ")
}
