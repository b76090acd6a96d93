//! All tables of a PostgreSQL database in the shape that every engine's have. Reads only.

use std::collections::BTreeMap;

use ficus_rules::catalog::{Catalog, Column, Quote, Reference, Table};
use sqlx::{PgConnection, Row};

use super::schema;

const TABLES: &str = "SELECT c.oid::int8, CASE WHEN pg_table_is_visible(c.oid) THEN c.relname::text ELSE n.nspname || '.' || c.relname END
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', '_ficus') AND NOT starts_with(n.nspname, 'pg_toast')
    ORDER BY 2";

/// Columns in their order, generated ones among them.
const COLUMNS: &str = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

const REFERENCES: &str = "SELECT k.conname::text, k.confrelid::int8,
      ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c(n, o) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.n ORDER BY c.o),
      ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS c(n, o) JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = c.n ORDER BY c.o),
      CASE k.confdeltype WHEN 'c' THEN 'ON DELETE CASCADE' WHEN 'n' THEN 'ON DELETE SET NULL' WHEN 'd' THEN 'ON DELETE SET DEFAULT' END,
      CASE k.confupdtype WHEN 'c' THEN 'ON UPDATE CASCADE' WHEN 'n' THEN 'ON UPDATE SET NULL' WHEN 'd' THEN 'ON UPDATE SET DEFAULT' END
    FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.conrelid = $1::int8::oid AND k.conparentid = 0 ORDER BY k.conname";

/// Reads all tables.
pub(super) async fn read(connection: &mut PgConnection) -> Result<Catalog, sqlx::Error> {
    let server = "SELECT current_setting('server_version'), current_setting('session_replication_role') <> 'replica'";
    let server = sqlx::query(server).fetch_one(&mut *connection).await?;
    let (version, acts_for_agent): (String, bool) = (server.try_get(0)?, server.try_get(1)?);
    let mut names: BTreeMap<i64, String> = BTreeMap::new();
    for row in sqlx::query(TABLES).fetch_all(&mut *connection).await? {
        names.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let mut tables = Vec::new();
    for (oid, name) in &names {
        let known = schema::tables(connection, std::iter::once(name)).await?.remove(name);
        // It may have been dropped since.
        let Some(known) = known.filter(|known| i64::from(known.oid) == *oid) else { continue };
        let mut table = Table { name: name.clone(), qualified: Some(known.qualified.clone()), ..Table::default() };
        for row in sqlx::query(COLUMNS).bind(oid).fetch_all(&mut *connection).await? {
            let (column, declared, generated): (String, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let told = known.column(&column);
            table.columns.push(Column {
                kind: told.map_or(ficus_rules::mapping::Kind::Any, |told| told.info.kind.clone()),
                default: told.is_none_or(|told| !told.info.required),
                limits: told.map(|told| told.limits.clone()).unwrap_or_default(),
                name: column,
                declared,
                generated,
            });
        }
        table.primary = known.primary().map(<[String]>::to_vec).unwrap_or_default();
        table.unique = known.unique.iter().filter(|unique| unique.plain).map(|unique| unique.columns.clone()).collect();
        for row in sqlx::query(REFERENCES).bind(oid).fetch_all(&mut *connection).await? {
            let parent: i64 = row.try_get(1)?;
            let acts: Option<String> = row.try_get(4)?;
            table.references.push(Reference {
                name: row.try_get(0)?,
                columns: row.try_get(2)?,
                parent: names.get(&parent).cloned().unwrap_or_default(),
                parent_columns: row.try_get(3)?,
                acts: acts.or(row.try_get(5)?),
            });
        }
        tables.push(table);
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Catalog { engine: format!("PostgreSQL {version}"), quote: Quote::Double, refuses_acts: false, acts_for_agent, tables })
}
