//! The triggers that are the fence: on every captured table, before every row that is inserted or deleted, and after every
//! row that is changed: whatever another trigger makes of a row is seen then. The text is pure; beside it, which of them
//! there are.
//!
//! A stranger's row reads the fence's row with a shared lock, which it keeps until its transaction ends. Closing the fence
//! writes that row, and therefore waits for everybody who passed before, and nobody passes after: it is switch and barrier
//! in one. The agent's sessions have said whose they are (`@_ficus_agent`) and read nothing.
//!
//! What a refused statement did is undone, but for the number that a row of it took and the lock of its session: by these it is
//! counted, and known again ([`super::strays`]). No sequence gives that number: nobody could log statements as text then.
//!
//! `TRUNCATE` and other DDL fire no trigger: those are seen in the log.

use ficus_rules::mapping::{Kind, Shape};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use sha2::{Digest, Sha256};

use super::parts::{name, text};
use super::schema::Table;

/// The values of the fence: strangers write; they are refused; they write, and what they write is kept (`let_in.rs`).
pub(super) const OPEN: i64 = 0;
pub(super) const CLOSED: i64 = 1;
pub(super) const LETTING: i64 = 2;

/// A trigger: its name, when it acts, its body.
pub(super) type Trigger = (String, &'static str, String);

/// A trigger that there is.
pub(super) struct Existing {
    pub(super) name: String,
    pub(super) table: String,
    /// As in [`Trigger`].
    when: String,
    body: String,
}

impl Existing {
    /// Whether it works only as long as the table has the columns that it names.
    pub(super) fn names_columns(&self) -> bool {
        self.body.contains("OLD.") || self.body.contains("NEW.")
    }

    /// Whether it is this one, on this table.
    pub(super) fn is(&self, (name, when, body): &Trigger, table: &str) -> bool {
        (&*self.name, &*self.table, &*self.when, &*self.body) == (name, table, when, body)
    }
}

/// Whether a trigger of the application's may do something when a row is removed or written anew.
pub(super) async fn notices_anew(conn: &mut Conn, table: &str) -> Result<bool, mysql_async::Error> {
    let any = "SELECT 1 FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND BINARY EVENT_OBJECT_TABLE = ? \
         AND EVENT_MANIPULATION IN ('DELETE', 'INSERT') AND LEFT(TRIGGER_NAME, 7) <> '_ficus_' LIMIT 1";
    Ok(conn.exec_first::<u8, _, _>(any, (table,)).await?.is_some())
}

/// What all triggers of a capability on one side begin with.
fn prefix(scope: &str) -> String {
    format!("_ficus_{}_", digest(scope))
}

/// The table whose AUTO_INCREMENT numbers refused statements, and which stays empty.
pub(super) fn strays(scope: &str) -> String {
    format!("{}strays", prefix(scope))
}

/// What the name of a lock that a refused session takes begins with; its connection's number follows. Such locks are the
/// server's: databases are told apart by their marks.
pub(super) fn lock(scope: &str, mark: &str) -> String {
    format!("{}{}_", prefix(scope), digest(mark))
}

/// The name of a trigger on a table.
pub(super) fn name_of(scope: &str, table: &str, kind: &str) -> String {
    format!("{}{}_{kind}", prefix(scope), digest(table))
}

/// For strangers' rows: reads the fence, which waits for whoever switches it, and does something at one of its values.
pub(super) fn at_fence(scope: &str, mark: &str, value: i64, then: &str) -> String {
    format!(
        "IF NOT (@_ficus_agent <=> {}) THEN BEGIN DECLARE fenced INT DEFAULT 0; \
         SELECT f.`fenced` INTO fenced FROM `_ficus_fence` AS f WHERE f.`scope` = {} LOCK IN SHARE MODE; \
         IF fenced = {value} THEN {then}; END IF; END; END IF",
        text(mark),
        text(scope),
    )
}

/// The fence's triggers on one table. `scope` names capability and side.
pub(super) fn all(scope: &str, mark: &str, table: &Table, shapes: &[&Shape]) -> Vec<Trigger> {
    let Some(shape) = shapes.first() else { return Vec::new() };
    let name_of = |kind: &str| name_of(scope, &shape.table, kind);
    let count =
        format!("INSERT INTO {} VALUES (); DO GET_LOCK(concat({}, connection_id()), 0); ", name(&strays(scope)), text(&lock(scope, mark)),);
    let signal = format!("{count}SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = {}", text(&message(&shape.table, scope)));
    let refuse = at_fence(scope, mark, CLOSED, &signal);
    // A name would be in the application's way when its column is renamed or dropped: none where nothing stays behind.
    let taken = |name: &String| shapes.iter().any(|shape| shape.key == *name || shape.columns.contains(name));
    let differs = match table.columns.iter().any(|column| !column.generated && !taken(&column.name)) {
        true => format!("IF {} THEN {refuse}; END IF", changed(table, shapes)),
        false => refuse.clone(),
    };
    vec![
        (name_of("i"), "BEFORE INSERT", format!("BEGIN {refuse}; END")),
        (name_of("u"), "AFTER UPDATE", format!("BEGIN {differs}; END")),
        (name_of("d"), "BEFORE DELETE", format!("BEGIN {refuse}; END")),
    ]
}

/// MariaDB cuts a message after 128 characters: what matters stands first.
fn message(table: &str, scope: &str) -> String {
    let full = format!("ficus: table {table} is fenced ({scope}): it moves or has moved to the other side; write through the gateway");
    full.chars().take(126).collect()
}

/// Whether a column that the agent reads or writes has another value. Texts are compared byte by byte: a collation would
/// let a change of case pass.
pub(super) fn changed(table: &Table, shapes: &[&Shape]) -> String {
    let mut terms: Vec<String> = Vec::new();
    for column in shapes.iter().flat_map(|shape| std::iter::once(&shape.key).chain(&shape.columns)) {
        let quoted = name(column);
        let plain = table
            .column(column)
            .is_some_and(|column| matches!(column.kind, Kind::Bool | Kind::Int | Kind::Real | Kind::Single | Kind::Decimal));
        let same = if plain { format!("OLD.{quoted} <=> NEW.{quoted}") } else { format!("BINARY OLD.{quoted} <=> BINARY NEW.{quoted}") };
        let term = format!("NOT ({same})");
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    terms.join(" OR ")
}

/// The triggers of a scope that there are.
pub(super) async fn existing(conn: &mut Conn, scope: &str) -> Result<Vec<Existing>, mysql_async::Error> {
    let query = "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, concat(ACTION_TIMING, ' ', EVENT_MANIPULATION), ACTION_STATEMENT \
         FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND left(TRIGGER_NAME, char_length(?)) = ?";
    let found: Vec<(String, String, String, String)> = conn.exec(query, (prefix(scope), prefix(scope))).await?;
    Ok(found.into_iter().map(|(name, table, when, body)| Existing { name, table, when, body }).collect())
}

/// The statement that makes it. `replacing`: in the place of one that is there, without a moment in between.
pub(super) fn create((trigger, when, body): &Trigger, table: &str, replacing: bool) -> String {
    let or_replace = if replacing { "OR REPLACE " } else { "" };
    format!("CREATE {or_replace}TRIGGER {} {when} ON {} FOR EACH ROW {body}", name(trigger), name(table))
}

pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
