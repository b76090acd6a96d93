//! One table: whether it can be captured, whose it is, what else acts on its rows, and what its log says of a change.

use std::collections::BTreeSet;

use ficus_rules::finding::Finding;
use ficus_rules::mapping::Kind;
use sqlx::{PgConnection, Row};

use super::server::Role;
use crate::port::Wanted;
use crate::postgres::control::OF_COLUMN;
use crate::postgres::schema::Table;
use crate::postgres::sql;

const OWNER: &str = "SELECT pg_has_role(relowner, 'USAGE'), pg_get_userbyid(relowner)::text, row_security_active(oid)
    FROM pg_catalog.pg_class WHERE oid = $1::int8::oid";

/// Triggers of others that fire for what the agent writes: always those, and ordinary ones where it cannot silence them.
const TRIGGERS: &str = "SELECT tgname::text, tgenabled::text FROM pg_catalog.pg_trigger
    WHERE tgrelid = $1::int8::oid AND NOT tgisinternal AND NOT starts_with(tgname, '_ficus_') AND tgenabled::text = ANY($2) ORDER BY tgname";

/// What gives a column its value.
const DEFAULT: &str = "SELECT pg_get_expr(e.adbin, e.adrelid) FROM pg_catalog.pg_attrdef e
    JOIN pg_catalog.pg_attribute a ON a.attrelid = e.adrelid AND a.attnum = e.adnum WHERE e.adrelid = $1::int8::oid AND a.attname = $2";

pub(super) async fn find(
    connection: &mut PgConnection,
    role: &Role,
    wanted: &Wanted,
    name: &str,
    table: &Table,
) -> Result<Vec<Finding>, sqlx::Error> {
    let mut found = Vec::new();
    if table.class != "r" || !table.permanent {
        let what = format!("table {name} is partitioned, a partition, a view, unlogged or temporary");
        let finding = Finding::refused("table_kind", what, "capture and fence cannot follow it").table(name);
        found.push(if table.class == "r" {
            finding.mend(format!("ALTER TABLE {} SET LOGGED;", table.qualified)).then("if it is unlogged; else name an ordinary table")
        } else {
            finding.then("name an ordinary table in the rule file")
        });
        return Ok(found);
    }
    let row = sqlx::query(OWNER).bind(i64::from(table.oid)).fetch_one(&mut *connection).await?;
    let (owns, owner, hides): (bool, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if !owns {
        let what = format!("the role does not own table {name}");
        let finding = Finding::refused("table_owner", what, "its triggers and its publication need that").table(name);
        found.push(finding.mend(format!("GRANT {} TO {};", sql::name(&owner), role.name)));
    } else if hides {
        let what = format!("row security of table {name} holds for the agent, too");
        let finding = Finding::refused("row_security", what, "rows that it hides would be taken for removed").table(name);
        found.push(finding.mend(format!("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY;", table.qualified)));
    }
    found.extend(triggers(connection, role, name, table).await?);
    if !table.is_identified(wanted.tables.iter().filter(|wanted| wanted.table == name)) {
        let means = "Ficus sets it to FULL when it begins, which locks the table for a moment and makes updates log the whole old row";
        let what = format!("the replica identity of table {name} does not tell all that is needed of a change");
        let finding = Finding::note("replica_identity", what, means).table(name);
        found.push(finding.mend(format!("ALTER TABLE {} REPLICA IDENTITY FULL;", table.qualified)));
    }
    for key in wanted.tables.iter().filter(|wanted| wanted.table == name).map(|wanted| &wanted.key).collect::<BTreeSet<_>>() {
        found.extend(numbers(connection, role, name, table, key).await?);
    }
    Ok(found)
}

/// What the role may do with a sequence, by its name as [`OF_COLUMN`] has it: use its schema, which comes first, read it, and raise it.
const RIGHTS: &str = "SELECT quote_ident(n.nspname), has_schema_privilege(n.oid, 'USAGE'),
      has_sequence_privilege(c.oid, 'SELECT') AND has_sequence_privilege(c.oid, 'UPDATE')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'S' AND $1 IN (c.oid::regclass::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname)) LIMIT 1";

/// A key whose numbers come from somewhere that cannot be raised.
async fn numbers(connection: &mut PgConnection, role: &Role, name: &str, table: &Table, key: &str) -> Result<Option<Finding>, sqlx::Error> {
    if table.column(key).is_none_or(|column| column.info.kind != Kind::Int) {
        return Ok(None);
    }
    let sequence: Option<String> = sqlx::query_scalar(OF_COLUMN).bind(&table.qualified).bind(key).fetch_one(&mut *connection).await?;
    if let Some(sequence) = sequence {
        return Ok(rights(connection, role, &sequence).await?.map(|finding| finding.column(name, key)));
    }
    let default: Option<String> =
        sqlx::query_scalar(DEFAULT).bind(i64::from(table.oid)).bind(key).fetch_optional(&mut *connection).await?.flatten();
    let Some(default) = default else { return Ok(None) };
    let means = "it is not raised when the other side takes over, and may give out numbers that are taken";
    let what = format!("the numbers of {key} come from {default}, which is no sequence that the catalog knows of");
    let finding = Finding::warning("key_sequence", what, means).column(name, key);
    Ok(Some(finding.then("let the default be nextval('the sequence'::regclass), or raise it by hand at every cutover")))
}

/// A sequence of somebody else's.
async fn rights(connection: &mut PgConnection, role: &Role, sequence: &str) -> Result<Option<Finding>, sqlx::Error> {
    let Some(row) = sqlx::query(RIGHTS).bind(sequence).fetch_optional(connection).await? else { return Ok(None) };
    let (schema, enters, raises): (String, bool, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if enters && raises {
        return Ok(None);
    }
    let means = "no cutover gets past the step that raises it, and writes are held until that is given up";
    let mut finding = Finding::warning("sequence_rights", format!("the role may not raise the sequence {sequence}"), means);
    if !enters {
        finding = finding.mend(format!("GRANT USAGE ON SCHEMA {schema} TO {};", role.name));
    }
    if !raises {
        finding = finding.mend(format!("GRANT SELECT, UPDATE ON SEQUENCE {sequence} TO {};", role.name));
    }
    Ok(Some(finding))
}

async fn triggers(connection: &mut PgConnection, role: &Role, name: &str, table: &Table) -> Result<Vec<Finding>, sqlx::Error> {
    let firing: &[&str] = if role.silent { &["A", "R"] } else { &["A", "R", "O"] };
    let mut found = Vec::new();
    for row in sqlx::query(TRIGGERS).bind(i64::from(table.oid)).bind(firing).fetch_all(connection).await? {
        let (trigger, enabled): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let means = "what it does has been done on the other side already, and is done twice, or refuses a row";
        let what = format!("the trigger {trigger} of table {name} fires for rows that the agent writes");
        let finding = Finding::warning("trigger_of_others", what, means).table(name);
        found.push(match enabled.as_str() {
            "O" => role.silence(finding),
            _ => finding.mend(format!("ALTER TABLE {} ENABLE TRIGGER {};", table.qualified, sql::name(&trigger))),
        });
    }
    Ok(found)
}
