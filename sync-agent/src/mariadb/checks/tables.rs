//! One table: what keeps it, what acts on its rows beside the application, and which of its columns cannot be carried.

use ficus_rules::finding::Finding;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::error::Error;
use crate::mariadb::connect::Server;
use crate::mariadb::parts::name;
use crate::mariadb::schema::{Reference, Table};
use crate::mariadb::value::{Charset, Column, Form};
use crate::port::Wanted;

pub(super) async fn find(server: &Server, conn: &mut Conn, wanted: &Wanted, table: &str, known: &Table) -> Result<Vec<Finding>, Error> {
    let mut found = Vec::new();
    if !known.engine.eq_ignore_ascii_case("InnoDB") {
        let what = format!("table {table} is kept by {}", known.engine);
        let finding = Finding::refused("table_engine", what, "it has no transactions").table(table);
        found.push(finding.mend(format!("ALTER TABLE {} ENGINE=InnoDB;", name(table))));
    }
    found.extend(known.references.iter().filter_map(|reference| acting(table, reference)));
    let triggers = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS \
         WHERE TRIGGER_SCHEMA = DATABASE() AND BINARY EVENT_OBJECT_TABLE = ? AND left(TRIGGER_NAME, 7) <> '_ficus_' ORDER BY TRIGGER_NAME";
    let triggers: Vec<String> = conn.exec(triggers, (table,)).await.map_err(|e| server.failed(e))?;
    for trigger in triggers {
        let means = "what it does has been done on the other side already, and is done twice, or refuses a row";
        let what = format!("the trigger {trigger} of table {table} fires for rows that the agent writes");
        let finding = Finding::warning("trigger_of_others", what, means).table(table);
        let then = "or let it do nothing for the agent: IF substring_index(user(), '@', 1) <> '…' THEN … END IF";
        found.push(finding.mend(format!("DROP TRIGGER {};", name(&trigger))).then(then));
    }
    let mut columns: Vec<&str> = Vec::new();
    for wanted in wanted.tables.iter().filter(|wanted| wanted.table == table) {
        for column in std::iter::once(&wanted.key).chain(&wanted.columns).filter_map(|column| known.column(column)) {
            if !columns.contains(&column.name.as_str()) {
                columns.push(&column.name);
                found.extend(untold(table, column));
            }
        }
    }
    Ok(found)
}

/// A foreign key that acts by itself.
fn acting(table: &str, reference: &Reference) -> Option<Finding> {
    let acts = reference.acts.as_ref()?;
    let list = |columns: &[String]| columns.iter().map(|column| name(column)).collect::<Vec<_>>().join(", ");
    let (quoted, key) = (name(table), name(&reference.name));
    let what = format!("the foreign key {} of {table} acts by itself ({acts})", reference.name);
    let add = format!(
        "ALTER TABLE {quoted} ADD CONSTRAINT {key} FOREIGN KEY ({}) REFERENCES {} ({});",
        list(&reference.columns),
        name(&reference.parent),
        list(&reference.parent_columns),
    );
    let finding =
        Finding::refused("reference_acts", what, "its changes are not in the binary log, so the application has to make them").table(table);
    Some(finding.mend(format!("ALTER TABLE {quoted} DROP FOREIGN KEY {key};")).mend(add))
}

/// Why values of a column cannot be carried.
fn untold(table: &str, column: &Column) -> Option<Finding> {
    let (quoted, name) = (name(table), name(&column.name));
    let finding = match &column.form {
        Form::Text(Charset::Other(charset)) => {
            let what = format!("column {} of {table} has the character set {charset}", column.name);
            let finding = Finding::refused("column_charset", what, "its bytes in the log are not understood");
            let null = if column.nullable { "" } else { " NOT NULL" };
            let length = column.length;
            finding.mend(format!("ALTER TABLE {quoted} MODIFY {name} varchar({length}) CHARACTER SET utf8mb4{null};"))
        }
        Form::Other(kind) => {
            let what = format!("column {} of {table} is {kind}", column.name);
            let finding = Finding::refused("column_type", what, "values of that type are not carried");
            finding.then("take it out of the mapping, or change its type")
        }
        _ => return None,
    };
    Some(finding.column(table, &column.name))
}
