//! What MariaDB says of its tables: columns with kinds, unique indexes, references. Reads only.

use std::collections::BTreeMap;

use ficus_rules::mapping::{ColumnInfo, Kind};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::value::{Charset, Column, Form};

/// One table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    /// Its unique indexes, the primary key first.
    pub(super) unique: Vec<Unique>,
    /// Its references to other tables.
    pub(super) references: Vec<Reference>,
    pub(super) engine: String,
    /// Its numbers come from a counter (`AUTO_INCREMENT`), or it is one (`CREATE SEQUENCE`).
    pub(super) counter: Option<Counter>,
    /// The column that has them.
    pub(super) counted: Option<String>,
}

/// Where numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    AutoIncrement,
    Sequence,
}

/// A unique index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unique {
    pub(super) index: String,
    pub(super) columns: Vec<String>,
    /// It looks at the beginning of a column only, or at an expression.
    pub(super) partial: bool,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) parent: String,
    pub(super) parent_columns: Vec<String>,
    /// What it does by itself to the referencing row: changes that the binary log does not have.
    pub(super) acts: Option<String>,
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// For the plans: generated columns are left out.
    pub(super) fn info(&self) -> Vec<ColumnInfo> {
        let written = self.columns.iter().filter(|column| !column.generated);
        let info = |Column { name, kind, required, nullable, .. }: &Column| ColumnInfo {
            name: name.clone(),
            kind: kind.clone(),
            required: *required,
            nullable: *nullable,
        };
        written.map(info).collect()
    }
}

/// Reads the named tables of the connection's database; one that does not exist is left out.
pub(super) async fn tables(conn: &mut Conn, names: &[String]) -> Result<BTreeMap<String, Table>, mysql_async::Error> {
    let mut tables = BTreeMap::new();
    for name in names {
        if let Some(table) = table(conn, name).await? {
            tables.insert(name.clone(), table);
        }
    }
    Ok(tables)
}

async fn table(conn: &mut Conn, name: &str) -> Result<Option<Table>, mysql_async::Error> {
    let found =
        "SELECT TABLE_TYPE, coalesce(ENGINE, '') FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND BINARY TABLE_NAME = ?";
    let Some((what, engine)) = conn.exec_first::<(String, String), _, _>(found, (name,)).await? else { return Ok(None) };
    let mut table = Table { engine, ..Table::default() };
    if what == "SEQUENCE" {
        table.counter = Some(Counter::Sequence);
        return Ok(Some(table));
    }
    let documents = documents(conn, name).await?;
    let columns = "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, coalesce(CHARACTER_SET_NAME, ''), IS_NULLABLE = 'YES', COLUMN_DEFAULT IS NULL, EXTRA, \
         coalesce(GENERATION_EXPRESSION, '') <> '', coalesce(CHARACTER_MAXIMUM_LENGTH, 0) \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND BINARY TABLE_NAME = ? ORDER BY ORDINAL_POSITION";
    for row in conn.exec::<Row, _, _>(columns, (name,)).await? {
        let (name, data, full, charset, nullable, bare, extra, generated, length): (
            String,
            String,
            String,
            String,
            bool,
            bool,
            String,
            bool,
            u64,
        ) = mysql_async::from_row(row);
        let auto = extra.contains("auto_increment");
        if auto {
            (table.counter, table.counted) = (Some(Counter::AutoIncrement), Some(name.clone()));
        }
        let form = form(&data, &full, &charset, length);
        let length = whole_bytes(&data).unwrap_or(length);
        let kind = kind(&data, &full, &form, documents.contains(&name));
        let generated = generated || extra.contains("GENERATED");
        let required = !nullable && bare && !auto && !generated;
        table.columns.push(Column { name, kind, form, nullable, required, generated, length });
    }
    let indexes = "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART IS NOT NULL FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = DATABASE() AND BINARY TABLE_NAME = ? AND NON_UNIQUE = 0 ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX";
    for (index, column, part) in conn.exec::<(String, Option<String>, bool), _, _>(indexes, (name,)).await? {
        if table.unique.last().is_none_or(|last| last.index != index) {
            table.unique.push(Unique { index, columns: Vec::new(), partial: false });
        }
        let Some(unique) = table.unique.last_mut() else { continue };
        unique.partial |= part || column.is_none();
        unique.columns.extend(column);
    }
    table.references = references(conn, name).await?;
    Ok(Some(table))
}

async fn references(conn: &mut Conn, name: &str) -> Result<Vec<Reference>, mysql_async::Error> {
    let query = "SELECT k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.DELETE_RULE, r.UPDATE_RULE \
         FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r \
         ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME \
         WHERE k.TABLE_SCHEMA = DATABASE() AND BINARY k.TABLE_NAME = ? AND k.REFERENCED_TABLE_NAME IS NOT NULL \
         ORDER BY k.CONSTRAINT_NAME, k.ORDINAL_POSITION";
    let mut references: Vec<Reference> = Vec::new();
    for (name, column, parent, parent_column, delete, update) in
        conn.exec::<(String, String, String, String, String, String), _, _>(query, (name,)).await?
    {
        if references.last().is_none_or(|last| last.name != name) {
            let acting =
                [("DELETE", delete), ("UPDATE", update)].into_iter().find(|(_, rule)| !matches!(rule.as_str(), "RESTRICT" | "NO ACTION"));
            let acts = acting.map(|(event, rule)| format!("ON {event} {rule}"));
            references.push(Reference { name, columns: Vec::new(), parent, parent_columns: Vec::new(), acts });
        }
        if let Some(reference) = references.last_mut() {
            reference.columns.push(column);
            reference.parent_columns.push(parent_column);
        }
    }
    Ok(references)
}

/// MariaDB's JSON is a text with a check; the check's clause tells.
async fn documents(conn: &mut Conn, name: &str) -> Result<Vec<String>, mysql_async::Error> {
    let known = "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema' AND TABLE_NAME = 'CHECK_CONSTRAINTS' AND COLUMN_NAME = 'TABLE_NAME'";
    if conn.query_first::<u8, _>(known).await?.is_none() {
        return Ok(Vec::new());
    }
    let query =
        "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() AND BINARY TABLE_NAME = ?";
    let clauses: Vec<String> = conn.exec(query, (name,)).await?;
    let columns = clauses.iter().filter_map(|clause| clause.strip_prefix("json_valid(`")?.strip_suffix("`)"));
    Ok(columns.map(|column| column.replace("``", "`")).collect())
}

/// The bytes of a whole number.
fn whole_bytes(data: &str) -> Option<u64> {
    Some(match data {
        "tinyint" => 1,
        "smallint" => 2,
        "mediumint" => 3,
        "int" => 4,
        "bigint" => 8,
        _ => return None,
    })
}

fn form(data: &str, full: &str, charset: &str, length: u64) -> Form {
    let unsigned = full.contains("unsigned");
    match data {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Form::Int { unsigned },
        "float" | "double" => Form::Real,
        "decimal" => Form::Decimal,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" if !full.contains("COMPRESSED") => {
            Form::Text(Charset::of(charset))
        }
        "binary" => Form::Bytes { padded: usize::try_from(length).ok() },
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" if !full.contains("COMPRESSED") => Form::Bytes { padded: None },
        "date" => Form::Date,
        "datetime" => Form::DateTime,
        "timestamp" => Form::Timestamp,
        "time" => Form::Time,
        "year" => Form::Year,
        "bit" => Form::Bit,
        "enum" => Form::Enum(labels(full)),
        "set" => Form::Set(labels(full)),
        "uuid" => Form::Uuid,
        "inet6" => Form::Inet6,
        "inet4" => Form::Inet4,
        other => Form::Other(other.to_owned()),
    }
}

fn kind(data: &str, full: &str, form: &Form, document: bool) -> Kind {
    match form {
        Form::Int { .. } if full == "tinyint(1)" => Kind::Bool,
        Form::Bit if full == "bit(1)" => Kind::Bool,
        Form::Int { .. } | Form::Bit | Form::Year => Kind::Int,
        Form::Real if data == "float" => Kind::Single,
        Form::Real => Kind::Real,
        Form::Decimal => Kind::Decimal,
        Form::Text(_) if document => Kind::Json,
        Form::Text(_) if full == "char(32)" => Kind::Char32,
        Form::Text(_) => Kind::Text,
        Form::Bytes { .. } => Kind::Bytes,
        Form::Date => Kind::Date,
        Form::DateTime => Kind::Timestamp,
        Form::Timestamp => Kind::Instant,
        Form::Time => Kind::Time,
        Form::Enum(labels) => Kind::Enum(labels.clone()),
        Form::Uuid => Kind::Uuid,
        Form::Set(_) | Form::Inet6 | Form::Inet4 | Form::Other(_) => Kind::Native(data.to_owned()),
    }
}

/// The labels in `enum('a','it''s')`.
pub(super) fn labels(full: &str) -> Vec<String> {
    let inner = full.split_once('(').map_or("", |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
    let (mut labels, mut label, mut inside) = (Vec::new(), String::new(), false);
    let mut letters = inner.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' if !inside => inside = true,
            '\'' if letters.peek() == Some(&'\'') => {
                letters.next();
                label.push('\'');
            }
            '\'' => {
                inside = false;
                labels.push(std::mem::take(&mut label));
            }
            other if inside => label.push(other),
            _ => {}
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn labels_may_have_quotes_and_commas() {
        assert_eq!(labels("enum('a','it''s','b,c)','')"), ["a", "it's", "b,c)", ""]);
    }
}
