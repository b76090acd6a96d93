//! The triggers on a captured table, as text; that is pure. Beside it, whether there are others.
//!
//! They only insert keys into the log, or raise when the fence is on; they never fail by themselves, and they leave
//! `changes()` and `last_insert_rowid()` as they are. Rows that a `REPLACE` displaces fire no trigger of their own, so the
//! BEFORE triggers look for whoever holds one of the new row's unique values.

use ficus_rules::mapping::{Shape, Value};
use sha2::{Digest, Sha256};
use sqlx::SqliteConnection;

use super::objects::NEW;
use super::schema::Table;
use super::sql::{belongs, name, text};

/// A pair that is captured from a table, and its shape there.
pub(super) type Captured<'a> = (&'a str, &'a Shape);

/// A trigger: its name and the statement that makes it.
pub(super) type Trigger = (String, String);

/// The values of the fence: strangers write; they are refused; they write, and what they write is kept (`let_in.rs`).
pub(super) const OPEN: i64 = 0;
pub(super) const CLOSED: i64 = 1;
pub(super) const LETTING: i64 = 2;

/// Whether a trigger keeps what strangers write: capture does not rest on it.
pub(super) fn is_keeper(trigger: &str) -> bool {
    trigger.rsplit('_').next().is_some_and(|kind| kind.starts_with('k'))
}

/// What all triggers of a capability on one side begin with.
pub(super) fn prefix(scope: &str) -> String {
    format!("_ficus_{}_", digest(scope))
}

/// All triggers on one table. `scope` names capability and side. `records`: what is written while the fence lets it through is kept.
/// `tells`: an entry says that its row is new. A release before this one did not, and missed nothing for it.
pub(super) fn all(scope: &str, table: &Table, pairs: &[Captured<'_>], records: bool, tells: bool) -> Vec<Trigger> {
    let Some((_, shape)) = pairs.first() else { return Vec::new() };
    let text = Text { scope, table: &shape.table, known: table, pairs, tells };
    let mut triggers = text.all();
    if records {
        triggers.extend(text.keepers());
    }
    triggers
}

/// Whether a trigger of the application's may do something when a row is removed or written anew.
pub(super) async fn notices_anew(connection: &mut SqliteConnection, table: &str) -> Result<bool, sqlx::Error> {
    let any = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE AND (sql LIKE '%delete%' OR sql LIKE '%insert%') \
         AND substr(name, 1, 7) <> '_ficus_' LIMIT 1";
    Ok(super::sql::one(connection, any, &[Value::Text(table.to_owned())]).await?.is_some())
}

struct Text<'a> {
    scope: &'a str,
    table: &'a str,
    known: &'a Table,
    pairs: &'a [Captured<'a>],
    tells: bool,
}

const OTHERS: &str = "(SELECT \"writer\" FROM \"_ficus_context\") IS NULL";

impl Text<'_> {
    fn all(&self) -> Vec<Trigger> {
        let columns = self.columns();
        let of = columns.iter().map(|column| name(column)).collect::<Vec<_>>().join(", ");
        let update = format!("UPDATE OF {of}");
        let mut triggers = vec![
            self.trigger("fi", "BEFORE INSERT", &self.fenced(), &self.refuse()),
            self.trigger("fu", &format!("BEFORE {update}"), &self.fenced(), &self.refuse()),
            self.trigger("fd", "BEFORE DELETE", &self.fenced(), &self.refuse()),
            self.trigger("ai", "AFTER INSERT", OTHERS, &self.born()),
            self.trigger("ad", "AFTER DELETE", OTHERS, &self.log(self.each(|shape| self.row(shape, "OLD", "1")))),
            self.trigger("au", &format!("AFTER {update}"), OTHERS, &self.log(self.updated())),
        ];
        let displaced = self.displaced("1");
        if !displaced.is_empty() {
            triggers.push(self.trigger("bi", "BEFORE INSERT", OTHERS, &self.log(displaced)));
            let other = format!("t.{key} IS NOT OLD.{key}", key = name(&self.pairs[0].1.key));
            triggers.push(self.trigger("bu", &format!("BEFORE {}", self.update_of_unique()), OTHERS, &self.log(self.displaced(&other))));
        }
        triggers
    }

    /// What strangers write while the fence lets them through, with what was there: `let_in.rs`. A row that `OR REPLACE` displaces fires
    /// nothing of its own: whichever may be is kept before the insert, also where it stays in the end (`OR IGNORE`, an upsert).
    fn keepers(&self) -> Vec<Trigger> {
        let (Some((pair, shape)), letting) = (self.pairs.first(), self.fence_is(LETTING)) else { return Vec::new() };
        let columns = self.columns();
        let keep_as = |key: &str, was: &str, becomes: &str, displaced: u8| {
            format!(
                "INSERT INTO \"_ficus_stray\" (\"scope\", \"pair\", \"key\", \"was\", \"becomes\", \"at\", \"displaced\") SELECT {}, {}, {key}.{}, {was}, {becomes}, strftime('%Y-%m-%d %H:%M:%f', 'now'), {displaced}",
                text(self.scope),
                text(pair),
                name(&shape.key),
            )
        };
        let keep = |key: &str, was: &str, becomes: &str| keep_as(key, was, becomes, 0);
        let (old, new) = (image("OLD", &columns), image("NEW", &columns));
        let of = columns.iter().map(|column| name(column)).collect::<Vec<_>>().join(", ");
        let differs = columns.iter().map(|column| name(column)).map(|column| format!("OLD.{column} IS NOT NEW.{column}"));
        let changed = format!("{letting} AND ({})", differs.collect::<Vec<_>>().join(" OR "));
        let mut same = vec![format!("t.{key} = NEW.{key}", key = name(&shape.key))];
        for unique in &self.known.unique {
            if let Some(terms) = unique.columns.iter().map(|column| column.as_ref().map(term)).collect::<Option<Vec<_>>>() {
                same.push(format!("({})", terms.join(" AND ")));
            }
        }
        let displaced = |condition: &str| {
            let there = format!("FROM {} AS t WHERE ({}) AND {condition}", name(self.table), same.join(" OR "));
            format!("{} {there}", keep_as("t", &image("t", &columns), "NULL", 1))
        };
        let other = format!("t.{key} IS NOT OLD.{key}", key = name(&shape.key));
        vec![
            self.trigger("kb", "BEFORE INSERT", &letting, &displaced("1")),
            self.trigger("kc", &format!("BEFORE UPDATE OF {of}"), &letting, &displaced(&other)),
            self.trigger("ki", "AFTER INSERT", &letting, &keep("NEW", "NULL", &new)),
            self.trigger("ku", &format!("AFTER UPDATE OF {of}"), &changed, &keep("OLD", &old, &new)),
            self.trigger("kd", "AFTER DELETE", &letting, &keep("OLD", &old, "NULL")),
        ]
    }

    fn trigger(&self, kind: &str, event: &str, when: &str, body: &str) -> Trigger {
        let trigger = format!("{}{}_{kind}", prefix(self.scope), digest(self.table));
        let sql = format!(
            "CREATE TRIGGER {} {event} ON {} WHEN {when} BEGIN /* ficus: {} */ {body}; END",
            name(&trigger),
            name(self.table),
            self.scope.replace("*/", ""),
        );
        (trigger, sql)
    }

    fn fenced(&self) -> String {
        self.fence_is(CLOSED)
    }

    fn fence_is(&self, value: i64) -> String {
        format!("{OTHERS} AND (SELECT \"fenced\" FROM \"_ficus_fence\" WHERE \"scope\" = {}) = {value}", text(self.scope))
    }

    fn refuse(&self) -> String {
        let why = format!(
            "ficus: table {} refuses writes: its capability ({}) is fenced, because it moves or has moved to the other side; write through the gateway",
            self.table, self.scope
        );
        format!("SELECT RAISE(ABORT, {})", text(&why))
    }

    /// One selection per pair.
    fn each(&self, select: impl Fn(&Captured<'_>) -> String) -> Vec<String> {
        self.pairs.iter().map(select).collect()
    }

    fn log(&self, selections: Vec<String>) -> String {
        format!("INSERT INTO \"_ficus_log\" (\"scope\", \"pair\", \"key\", \"at\") {}", selections.join(" UNION ALL "))
    }

    /// The keys of a row that was not there. One that `REPLACE` puts in the place of another of its key is new as well: to SQLite it is.
    fn born(&self) -> String {
        if !self.tells {
            return self.log(self.each(|captured| self.row(captured, "NEW", "1")));
        }
        let rows = self.each(|captured| self.entry(captured, "NEW", &format!("julianday('now'), {NEW}"), "1"));
        format!("INSERT INTO \"_ficus_log\" (\"scope\", \"pair\", \"key\", \"at\", \"what\") {}", rows.join(" UNION ALL "))
    }

    /// The key of the trigger's row, if it belongs to the pair.
    fn row(&self, captured: &Captured<'_>, row: &str, condition: &str) -> String {
        self.entry(captured, row, "julianday('now')", condition)
    }

    /// The same, with what else there is to say of it.
    fn entry(&self, (pair, shape): &Captured<'_>, row: &str, more: &str, condition: &str) -> String {
        let key = format!("{row}.{}", name(&shape.key));
        let belongs = belongs(&shape.filter, row);
        format!("SELECT {}, {}, {key}, {more} WHERE {key} IS NOT NULL AND {belongs} AND ({condition})", text(self.scope), text(pair))
    }

    fn updated(&self) -> Vec<String> {
        let mut selections = self.each(|captured| self.row(captured, "NEW", "1"));
        selections.extend(self.each(|captured| {
            let key = name(&captured.1.key);
            let left = format!("OLD.{key} IS NOT NEW.{key} OR NOT ({})", belongs(&captured.1.filter, "NEW"));
            self.row(captured, "OLD", &left)
        }));
        selections
    }

    /// Keys of the rows that hold a unique value of the new row. An index on the key itself needs none: the new row
    /// has the key of the row that it displaces.
    fn displaced(&self, condition: &str) -> Vec<String> {
        let mut selections = Vec::new();
        for (pair, shape) in self.pairs {
            for unique in self.known.unique.iter().filter(|unique| !is_exactly_key(unique.names().as_deref(), shape)) {
                let Some(terms) = unique.columns.iter().map(|column| column.as_ref().map(term)).collect::<Option<Vec<_>>>() else {
                    continue;
                };
                selections.push(format!(
                    "SELECT {}, {}, t.{key}, julianday('now') FROM {} AS t WHERE {} AND {} AND t.{key} IS NOT NULL AND ({condition})",
                    text(self.scope),
                    text(pair),
                    name(self.table),
                    terms.join(" AND "),
                    belongs(&shape.filter, "t"),
                    key = name(&shape.key),
                ));
            }
        }
        selections
    }

    fn update_of_unique(&self) -> String {
        let mut columns: Vec<String> = Vec::new();
        for (column, _) in self.known.unique.iter().flat_map(|unique| unique.columns.iter().flatten()) {
            if !columns.contains(&name(column)) {
                columns.push(name(column));
            }
        }
        format!("UPDATE OF {}", columns.join(", "))
    }

    /// What the agent reads or writes of the table; nothing else is captured or fenced.
    fn columns(&self) -> Vec<&String> {
        let mut columns: Vec<&String> = Vec::new();
        for (_, shape) in self.pairs {
            for column in std::iter::once(&shape.key).chain(&shape.columns) {
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
        }
        columns
    }
}

/// A row as JSON by column. Bytes are none of its texts, and a number that has more digits than JSON is given here keeps them.
fn image(row: &str, columns: &[&String]) -> String {
    let cell = |column: &&String| {
        let value = format!("{row}.{}", name(column));
        let exact = format!("json_object('real', printf('%!.17g', {value}))");
        let real = format!("CASE WHEN CAST(printf('%!.15g', {value}) AS REAL) = {value} THEN {value} ELSE {exact} END");
        let bytes = format!("json_object('hex', lower(hex({value})))");
        format!("{}, CASE typeof({value}) WHEN 'blob' THEN {bytes} WHEN 'real' THEN {real} ELSE {value} END", text(column))
    };
    format!("json_object({})", columns.iter().map(cell).collect::<Vec<_>>().join(", "))
}

/// Whether an index tells rows apart by nothing but the pair's key.
pub(super) fn is_of_key(index: Option<&[&str]>, shape: &Shape) -> bool {
    index.is_some_and(|names| {
        names.contains(&shape.key.as_str())
            && names.iter().all(|name| *name == shape.key || shape.filter.iter().any(|(column, _): &(String, Value)| column == name))
    })
}

/// Whether the row that holds the same values in this index is the pair's row of the same key.
fn is_exactly_key(index: Option<&[&str]>, shape: &Shape) -> bool {
    is_of_key(index, shape) && index.is_some_and(|names| shape.filter.iter().all(|(column, _)| names.contains(&column.as_str())))
}

fn term((column, collation): &(String, String)) -> String {
    format!("t.{column} = NEW.{column} COLLATE {}", name(collation), column = name(column))
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
