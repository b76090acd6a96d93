//! What PostgreSQL's catalogs say of tables: columns with their kinds, unique indexes, replica identity. Reads only.

use std::collections::BTreeMap;

use ficus_rules::catalog::Limits;
use ficus_rules::mapping::{ColumnInfo, Kind, Value};
use sqlx::{PgConnection, Row};

use super::{sql, value};
use crate::isolate::Blame;
use crate::port::WantedTable;

/// One table.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) oid: u32,
    /// Schema and name, quoted.
    pub(super) qualified: String,
    /// `r`, `p`, `v`, ... as in `pg_class.relkind`.
    pub(super) class: String,
    /// It survives a crash.
    pub(super) permanent: bool,
    /// `d`, `n`, `f` or `i`.
    pub(super) identity: String,
    /// Generated columns are left out.
    pub(super) columns: Vec<Column>,
    /// The primary key among them.
    pub(super) unique: Vec<Unique>,
}

/// A column, and how its values become canonical.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) info: ColumnInfo,
    /// Stays when it is renamed; no other column gets it.
    pub(super) number: i16,
    pub(super) nullable: bool,
    /// Its type below domains, without a length: casts to it never cut.
    pub(super) cast: String,
    /// The longest text that it takes.
    pub(super) most: Option<i32>,
    /// `GENERATED ALWAYS AS IDENTITY`: an UPDATE may not name it.
    pub(super) always: bool,
    /// Its cast to text is not its text form.
    pub(super) own_text: bool,
    /// Texts that differ may be the same to its indexes: `citext`, or a collation that is not deterministic.
    pub(super) loose: bool,
    /// Filled up with blanks, which mean nothing.
    pub(super) padded: bool,
    /// Of four bytes: the number that its text stands for is the nearest of those, and not of eight.
    pub(super) single: bool,
    /// What it does not take.
    pub(super) limits: Limits,
}

/// A unique index.
#[derive(Debug, Clone)]
pub(super) struct Unique {
    /// Its columns; fewer than it has when some are expressions.
    pub(super) columns: Vec<String>,
    /// It holds for every row, on columns only, and at once.
    pub(super) plain: bool,
    /// Other rows refer to its values, which therefore stay with their rows.
    pub(super) referenced: bool,
    pub(super) primary: bool,
}

impl Table {
    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.info.name == name)
    }

    /// Whether the log tells the key of every change, and whether a mapped column changed: with the replica identity FULL,
    /// or by the primary key where that is the key of all pairs and every column is mapped.
    pub(super) fn is_identified<'w>(&self, mut wanted: impl Iterator<Item = &'w WantedTable>) -> bool {
        let by_key = |wanted: &WantedTable| {
            let mapped = |column: &Column| column.info.name == wanted.key || wanted.columns.contains(&column.info.name);
            !wanted.filtered && self.primary() == Some(std::slice::from_ref(&wanted.key)) && self.columns.iter().all(mapped)
        };
        self.identity == "f" || self.identity == "d" && wanted.all(by_key)
    }

    /// The columns of its primary key.
    pub(super) fn primary(&self) -> Option<&[String]> {
        self.unique.iter().find(|unique| unique.primary && unique.plain).map(|unique| unique.columns.as_slice())
    }
}

impl Column {
    /// A value in its canonical form.
    pub(super) fn read(&self, text: &str) -> Result<Value, value::Reason> {
        if self.single {
            return value::single(text);
        }
        value::read(&self.info.kind, if self.padded { text.trim_end_matches(' ') } else { text })
    }

    /// A value that it cannot hold.
    pub(super) fn blame(&self, reason: value::Reason) -> Blame {
        Blame { unique: false, reason: format!("column {}: {reason}", self.info.name), reference: None }
    }

    /// The expression that selects its text, of the row `alias`.
    pub(super) fn text_of(&self, alias: &str) -> String {
        let column = format!("{alias}.{}", sql::name(&self.info.name));
        if self.own_text { format!("CASE WHEN {column} IS NOT NULL THEN concat({column}) END") } else { format!("{column}::text") }
    }
}

/// The name of a rule file as the catalogs look it up: `table`, or `schema.table`.
pub(super) fn lookup(table: &str) -> String {
    match table.split_once('.') {
        Some((schema, table)) => format!("{}.{}", sql::name(schema), sql::name(table)),
        None => sql::name(table),
    }
}

/// Reads the named tables; one that does not exist is left out.
pub(super) async fn tables<'a>(
    connection: &mut PgConnection,
    names: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<String, Table>, sqlx::Error> {
    let mut tables = BTreeMap::new();
    for name in names {
        if let Some(table) = table(connection, name).await? {
            tables.insert(name.clone(), table);
        }
    }
    Ok(tables)
}

const TABLE: &str = "SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence = 'p' AND NOT c.relispartition, c.relreplident::text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)";

const COLUMNS: &str = "SELECT a.attname::text, a.attnotnull OR t.typnotnull, a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL, a.attidentity = 'a',
      base.oid::int8, format_type(base.oid, -1), format_type(base.oid, NULL), base.typtype::text,
      CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, base.typname::text,
      ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = base.oid ORDER BY e.enumsortorder), a.attnum,
      base.typname = 'citext' OR EXISTS (SELECT 1 FROM pg_catalog.pg_collation c WHERE c.oid = a.attcollation AND NOT c.collisdeterministic)
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    CROSS JOIN LATERAL (
      WITH RECURSIVE up AS (SELECT t.oid, t.typbasetype, t.typtype, t.typname UNION ALL
        SELECT b.oid, b.typbasetype, b.typtype, b.typname FROM up JOIN pg_catalog.pg_type b ON b.oid = up.typbasetype WHERE up.typtype = 'd')
      SELECT * FROM up WHERE typtype <> 'd') base
    WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum";

const UNIQUE: &str = "SELECT i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL, i.indisprimary,
      EXISTS (SELECT 1 FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.conindid = i.indexrelid),
      ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number WHERE k.place <= i.indnkeyatts ORDER BY k.place)
    FROM pg_catalog.pg_index i WHERE i.indrelid = $1::int8::oid AND i.indisunique AND i.indisvalid ORDER BY i.indexrelid";

async fn table(connection: &mut PgConnection, name: &str) -> Result<Option<Table>, sqlx::Error> {
    let Some(row) = sqlx::query(TABLE).bind(lookup(name)).fetch_optional(&mut *connection).await? else { return Ok(None) };
    let oid: i64 = row.try_get(0)?;
    let qualified = format!("{}.{}", sql::name(row.try_get(1)?), sql::name(row.try_get(2)?));
    let mut table = Table {
        oid: u32::try_from(oid).unwrap_or(0),
        qualified,
        class: row.try_get(3)?,
        permanent: row.try_get(4)?,
        identity: row.try_get(5)?,
        columns: Vec::new(),
        unique: Vec::new(),
    };
    for row in sqlx::query(COLUMNS).bind(oid).fetch_all(&mut *connection).await? {
        table.columns.push(column(&row)?);
    }
    for row in sqlx::query(UNIQUE).bind(oid).fetch_all(&mut *connection).await? {
        table.unique.push(Unique {
            plain: row.try_get(0)?,
            primary: row.try_get(1)?,
            referenced: row.try_get(2)?,
            columns: row.try_get(3)?,
        });
    }
    Ok(Some(table))
}

fn column(row: &sqlx::postgres::PgRow) -> Result<Column, sqlx::Error> {
    let (not_null, default): (bool, bool) = (row.try_get(1)?, row.try_get(2)?);
    let (base, typmod): (i64, i32) = (row.try_get(4)?, row.try_get(8)?);
    let (native, class, type_name): (String, String, String) = (row.try_get(6)?, row.try_get(7)?, row.try_get(9)?);
    // Lengths of char(n) and varchar(n) are kept with four bytes on top.
    let most = (matches!(base, 1042 | 1043) && typmod > 4).then(|| typmod - 4);
    let kind = match base {
        16 => Kind::Bool,
        20 | 21 | 23 => Kind::Int,
        700 => Kind::Single,
        701 => Kind::Real,
        1700 => Kind::Decimal,
        1042 | 1043 if most == Some(32) => Kind::Char32,
        19 | 25 | 1042 | 1043 => Kind::Text,
        17 => Kind::Bytes,
        1082 => Kind::Date,
        1083 => Kind::Time,
        1114 => Kind::Timestamp,
        1184 => Kind::Instant,
        1186 => Kind::Interval,
        2950 => Kind::Uuid,
        114 | 3802 => Kind::Json,
        _ if class == "e" => Kind::Enum(row.try_get(10)?),
        _ if type_name == "citext" => Kind::Text,
        _ => Kind::Native(native),
    };
    let own_text = matches!(&kind, Kind::Native(name) if !name.ends_with("[]"));
    Ok(Column {
        info: ColumnInfo { name: row.try_get(0)?, kind, required: not_null && !default, nullable: !not_null },
        number: row.try_get(11)?,
        nullable: !not_null,
        cast: row.try_get(5)?,
        most,
        always: row.try_get(3)?,
        own_text,
        loose: row.try_get(12)?,
        padded: base == 1042,
        single: base == 700,
        limits: limits(base, typmod, most, not_null),
    })
}

/// By the type below domains and its modifier.
fn limits(base: i64, typmod: i32, most: Option<i32>, not_null: bool) -> Limits {
    let range = match base {
        16 => Some((0, 1)),
        20 => Some((i64::MIN, i64::MAX)),
        21 => Some((i64::from(i16::MIN), i64::from(i16::MAX))),
        23 => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        _ => None,
    };
    // The precision stands above the scale, both behind four bytes.
    let digits = (base == 1700 && typmod > 4).then(|| ((typmod - 4) >> 16 & 0xffff, (typmod - 4) & 0x7ff));
    let count = |number: i32| u64::try_from(number).unwrap_or(0);
    Limits {
        not_null,
        chars: most.map(count),
        range,
        digits: digits.filter(|(_, behind)| *behind < 1024).map(|(all, behind)| (count(all), count(behind))),
        no_zero_byte: true,
        no_zero_date: true,
        no_long_time: true,
        finite: false,
        ..Limits::default()
    }
}

/// One text for everything that capture rests on: it changes when a column, an index, a trigger, the publication or the
/// slot does.
pub(super) const FINGERPRINT: &str = "SELECT md5(coalesce(string_agg(part, ';' ORDER BY part), '')) FROM (
      SELECT concat_ws(',', 'a', attrelid, attnum, attname, atttypid, atttypmod, attnotnull, attidentity, attgenerated, atthasdef) AS part
        FROM pg_catalog.pg_attribute WHERE attrelid::int8 = ANY($1) AND attnum > 0 AND NOT attisdropped
      UNION ALL SELECT concat_ws(',', 'c', oid, relname, relnamespace, relreplident, relkind, relpersistence, relispartition) FROM pg_catalog.pg_class WHERE oid::int8 = ANY($1)
      UNION ALL SELECT concat_ws(',', 'i', indexrelid) FROM pg_catalog.pg_index WHERE indrelid::int8 = ANY($1) AND indisunique AND indisvalid
      UNION ALL SELECT concat_ws(',', 't', tgrelid, tgname, tgenabled, tgfoid, md5(pg_get_triggerdef(oid))) FROM pg_catalog.pg_trigger
        WHERE tgrelid::int8 = ANY($1) AND NOT tgisinternal AND starts_with(tgname, $2)
      UNION ALL SELECT concat_ws(',', 'p', r.prrelid) FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $3
      UNION ALL SELECT concat_ws(',', 's', slot_name, wal_status = 'lost') FROM pg_catalog.pg_replication_slots WHERE slot_name = $4 AND database = current_database()) AS parts";
