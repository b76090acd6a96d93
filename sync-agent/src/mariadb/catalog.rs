//! All tables of a MariaDB database in the shape that every engine's have. Reads only.

use ficus_rules::catalog::{Catalog, Column, Limits, Quote, Reference, Table};
use ficus_rules::mapping::Kind;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::connect::Server;
use super::schema;
use super::value::{Column as Known, Form};

const TABLES: &str = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' \
     AND left(TABLE_NAME, 7) <> '_ficus_' ORDER BY BINARY TABLE_NAME";

const COLUMNS: &str = "SELECT COLUMN_NAME, COLUMN_TYPE, DATA_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE FROM information_schema.COLUMNS \
     WHERE TABLE_SCHEMA = DATABASE() AND BINARY TABLE_NAME = ?";

/// Name, type as it is spelled, type, precision, scale.
type Told = (String, String, String, Option<u64>, Option<u64>);

/// Reads all tables.
pub(super) async fn read(server: &Server, conn: &mut Conn) -> Result<Catalog, mysql_async::Error> {
    let names: Vec<String> = conn.query(TABLES).await?;
    let known = schema::tables(conn, &names).await?;
    let mut tables = Vec::new();
    for (name, known) in known {
        let told: Vec<Told> = conn.exec(COLUMNS, (&name,)).await?;
        let column = |column: &Known| {
            let (declared, data, digits) = match told.iter().find(|(name, ..)| *name == column.name) {
                Some((_, declared, data, precision, scale)) => (declared.clone(), data.as_str(), precision.zip(*scale)),
                None => (String::new(), "", None),
            };
            Column {
                name: column.name.clone(),
                kind: column.kind.clone(),
                declared,
                default: !column.required,
                generated: column.generated,
                limits: limits(column, data, digits),
            }
        };
        let primary = known.unique.iter().find(|unique| unique.index == "PRIMARY");
        let references = known.references.iter().map(|reference| Reference {
            name: reference.name.clone(),
            columns: reference.columns.clone(),
            parent: reference.parent.clone(),
            parent_columns: reference.parent_columns.clone(),
            acts: reference.acts.clone(),
        });
        tables.push(Table {
            name,
            columns: known.columns.iter().map(column).collect(),
            primary: primary.map(|unique| unique.columns.clone()).unwrap_or_default(),
            unique: known.unique.iter().filter(|unique| !unique.partial).map(|unique| unique.columns.clone()).collect(),
            references: references.collect(),
            qualified: None,
        });
    }
    let (major, minor, patch) = server.version();
    let engine = if server.is_mariadb() { "MariaDB" } else { "MySQL" };
    Ok(Catalog {
        engine: format!("{engine} {major}.{minor}.{patch}"),
        quote: Quote::Back,
        refuses_acts: true,
        acts_for_agent: false,
        tables,
    })
}

fn limits(column: &Known, data: &str, digits: Option<(u64, u64)>) -> Limits {
    let bits = match data {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        "bigint" => 64,
        _ => 0,
    };
    let range = match (&column.form, bits) {
        _ if column.kind == Kind::Bool => Some((-128, 127)),
        // Numbers above 63 bits fit, too.
        (Form::Int { unsigned: true }, 64) => None,
        (Form::Int { unsigned: false }, 64) => Some((i64::MIN, i64::MAX)),
        (Form::Int { unsigned: true }, 1..) => Some((0, (1 << bits) - 1)),
        (Form::Int { unsigned: false }, 1..) => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
        (Form::Year, _) => Some((0, 2155)),
        _ => None,
    };
    Limits {
        not_null: !column.nullable,
        chars: matches!(data, "char" | "varchar").then_some(column.length),
        bytes: matches!(data, "binary" | "varbinary" | "tinytext" | "text" | "mediumtext" | "tinyblob" | "blob" | "mediumblob")
            .then_some(column.length),
        range,
        digits: digits.filter(|_| column.form == Form::Decimal),
        no_zero_byte: false,
        // They are set aside on their way in.
        no_zero_date: true,
        no_long_time: false,
        times: (column.form == Form::Timestamp).then_some(("1970-01-01 00:00:01", "2038-01-19 03:14:07.999999")),
        finite: true,
    }
}
