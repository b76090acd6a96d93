//! SQL text, and which errors are a row's fault. Names and literals are quoted here and nowhere else.

use std::borrow::Cow;

use ficus_rules::mapping::{Kind, Value};
use sqlx::postgres::{PgArguments, PgDatabaseError, PgSeverity};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres};

use super::value;
use crate::isolate::Blame;

/// An identifier, quoted.
pub(super) fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text literal. `standard_conforming_strings` is pinned, so that a backslash is one.
pub(super) fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An array of texts.
pub(super) fn text_array<'t>(texts: impl Iterator<Item = Option<Cow<'t, str>>>) -> String {
    let literals: Vec<String> = texts.map(|cell| cell.map_or_else(|| "NULL".to_owned(), |cell| text(&cell))).collect();
    format!("ARRAY[{}]::text[]", literals.join(","))
}

/// A statement that was put together here, from quoted names and placeholders.
pub(super) fn query(sql: &str) -> Query<'static, Postgres, PgArguments> {
    sqlx::query(AssertSqlSafe(sql.to_owned()))
}

/// Runs statements without arguments or rows, as one message.
pub(super) async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    Ok(sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await?.rows_affected())
}

/// The condition that a row, called `alias`, belongs to a pair. `kinds` and `types` are of the filter's columns.
pub(super) fn belongs(filter: &[Filter], alias: &str) -> String {
    let terms: Vec<String> = filter
        .iter()
        .map(|Filter { column, literal, cast, .. }| match literal {
            Some(literal) => format!("{alias}.{} = {}::{cast}", name(column), text(literal)),
            None => format!("{alias}.{} IS NULL", name(column)),
        })
        .collect();
    if terms.is_empty() { "true".to_owned() } else { terms.join(" AND ") }
}

/// A column that has the same value in every row of a pair.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub(super) column: String,
    /// Its text; `None`: NULL.
    pub(super) literal: Option<String>,
    pub(super) value: Value,
    pub(super) kind: Kind,
    pub(super) cast: String,
}

impl Filter {
    /// Whether a text of the column is the pair's.
    pub(super) fn holds(&self, text: Option<&str>) -> bool {
        match (text, &self.literal) {
            (None, None) => true,
            (Some(text), Some(literal)) => {
                text == literal || value::read(&self.kind, text).is_ok_and(|found| ficus_rules::mapping::same(&found, &self.value))
            }
            _ => false,
        }
    }
}

/// Why a row was refused, if the row is to blame: a constraint, a type, a size, or a trigger of the application
/// (manual, "PostgreSQL Error Codes").
pub(super) fn blame(error: &sqlx::Error) -> Option<Blame> {
    let error = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
    if error.severity() != PgSeverity::Error {
        return None;
    }
    let unique = matches!(error.code(), "23505" | "23P01");
    let reason = match error.code() {
        // Their messages name constraints and columns; the values stand in the detail.
        code if code.starts_with("23") || code.starts_with("44") => error.message().to_owned(),
        "22001" | "P0001" => error.message().to_owned(),
        "22003" | "22P03" => "a number is out of range for its column".to_owned(),
        "22007" | "22008" | "22009" => "a date or time is none for its column".to_owned(),
        "22021" => "a text has bytes that the database's encoding does not have".to_owned(),
        "22P02" => "a value does not have the form that the type of its column wants".to_owned(),
        "21000" => "rows of one batch have the same key for this database".to_owned(),
        code if code.starts_with("22") => format!("a value does not fit its column (SQLSTATE {code})"),
        code if code.starts_with("54") => "a value is too large, mostly for an index".to_owned(),
        _ => return None,
    };
    let reference = error.constraint().filter(|_| error.code() == "23503").map(str::to_owned);
    Some(Blame { unique, reason, reference })
}

/// The SQLSTATE of an error.
pub(super) fn code(error: &sqlx::Error) -> Option<&str> {
    Some(error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.code())
}

#[cfg(test)]
mod tests {
    #[test]
    fn quotes_are_doubled() {
        assert_eq!(super::name("a\"b"), "\"a\"\"b\"");
        assert_eq!(super::text("it's"), "'it''s'");
        let cells = [Some("it's".into()), None].into_iter();
        assert_eq!(super::text_array(cells), "ARRAY['it''s',NULL]::text[]");
    }
}
