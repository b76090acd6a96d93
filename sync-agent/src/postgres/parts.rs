//! A table pair on one side, and its statements, put together once. Pure.

use std::borrow::Cow;
use std::io::Write as _;

use ficus_rules::Side;
use ficus_rules::mapping::{Kind, Plan, Row, Shape, Value, canonical_integer};

use super::schema::{Column, Table, Unique};
use super::sql::{Filter, belongs, name, text_array};
use super::{copy, value};
use crate::error::Error;
use crate::isolate::Blame;

/// A pair as this side has it.
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) shape: Shape,
    /// Its table, quoted.
    pub(super) table: String,
    /// The sequence that gives out its numbers, quoted.
    pub(super) sequence: Option<String>,
    pub(super) key: Column,
    pub(super) columns: Vec<Column>,
    /// What the lookups find.
    pub(super) lookups: Vec<Column>,
    pub(super) filters: Vec<Filter>,
    pub(super) sql: Statements,
}

/// Ready-made SQL.
pub(super) struct Statements {
    /// `SELECT key, columns, lookups FROM table AS t WHERE <belongs>` as texts, to be continued with `AND`.
    pub(super) select: String,
    /// What it selects.
    pub(super) texts: String,
    /// The same as columns, of rows that have a key.
    pub(super) copy_out: String,
    /// What orders keys: as numbers, or byte by byte.
    pub(super) order: String,
    /// Like `order`, for a key in a parameter.
    pub(super) order_cast: &'static str,
    /// `t.key = ANY($1)` with the cast that it needs.
    pub(super) is_key: String,
    pub(super) delete: String,
    /// Up to `$1` rows of the pair.
    pub(super) delete_some: String,
    /// Moves unique values of the keys in `$1` out of the way, unless there are none.
    pub(super) park: Option<String>,
    /// A row has nothing but what is mapped: removed and inserted again, it is what it was.
    pub(super) whole: bool,
    /// `FROM table AS t WHERE <belongs> AND key IS NOT NULL`.
    pub(super) from: String,
    /// An upsert of rows in arrays of texts, one per column.
    pub(super) upsert: String,
    /// The same, and [`Statements::delete`], without what stands between: the arrays as literals.
    pub(super) upsert_around: [String; 2],
    pub(super) delete_around: [String; 2],
    /// Straight into the table.
    pub(super) copy_in: String,
    /// The table that a large batch is copied to first, and the statements that fill it and empty it into the target.
    pub(super) staging: [String; 3],
    /// Its name.
    pub(super) staged: String,
    /// Changes the rows that are there to what that table has, where its number of rows tells whether all were there. Costs
    /// less than the upsert, which locks each row first.
    pub(super) change: Option<String>,
    /// By unique index but the key's: its columns, as places in a row.
    pub(super) unique: Vec<Vec<Place>>,
    /// By unique index: the key of whoever holds its values, which are arrays of texts.
    pub(super) holder: Vec<String>,
}

/// Where a unique column's value stands in a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Key,
    Column(usize),
}

impl Pair {
    pub(super) fn new(index: usize, plan: &Plan, side: Side, shape: Shape, table: &Table, lookups: Vec<Column>) -> Result<Pair, Error> {
        let column = |wanted: &String| {
            let missing = || Error::Refused(format!("{side} table {} has no column {wanted}", shape.table));
            table.column(wanted).cloned().ok_or_else(missing)
        };
        let key = column(&shape.key)?;
        if !matches!(key.info.kind, Kind::Int | Kind::Text | Kind::Char32 | Kind::Uuid) {
            return Err(Error::Refused(format!(
                "{side} table {}: its key {} is of type {}; rows are correlated by integers, texts and uuids only",
                shape.table, shape.key, key.info.kind
            )));
        }
        let columns = shape.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let mut filters = Vec::new();
        for (name, wanted) in &shape.filter {
            let column = column(name)?;
            let literal = value::write(&column.info.kind, wanted)
                .map_err(|reason| Error::Refused(format!("{side} table {}: the constant of {name}: {reason}", shape.table)))?;
            filters.push(Filter {
                column: name.clone(),
                literal: literal.map(|text| text.into_owned()),
                value: wanted.clone(),
                kind: column.info.kind,
                cast: column.cast,
            });
        }
        let sql = Statements::new(index, &shape, table, &key, &columns, &filters, plan, side)?;
        Ok(Pair { name: plan.pair.clone(), table: table.qualified.clone(), sequence: None, shape, key, columns, lookups, filters, sql })
    }

    /// A row as texts: the key first. What cannot be written is the row's fault.
    pub(super) fn texts<'r>(&self, row: &'r Row) -> Result<Vec<Option<Cow<'r, str>>>, Blame> {
        self.cells(row).map(|(column, cell)| value::write(&column.info.kind, cell).map_err(|reason| column.blame(reason))).collect()
    }

    /// A row as a line of COPY, at the end of others.
    pub(super) fn line(&self, row: &Row, lines: &mut Vec<u8>) -> Result<(), Blame> {
        for (index, (column, cell)) in self.cells(row).enumerate() {
            if index > 0 {
                lines.push(b'\t');
            }
            if let (Kind::Int, Value::Int(number)) = (&column.info.kind, cell) {
                // Writing to a vector cannot fail.
                let _ = write!(lines, "{number}");
            } else {
                let text = value::write(&column.info.kind, cell).map_err(|reason| column.blame(reason))?;
                copy::field(lines, text.as_deref());
            }
        }
        lines.push(b'\n');
        Ok(())
    }

    fn cells<'r>(&self, row: &'r Row) -> impl Iterator<Item = (&Column, &'r Value)> {
        std::iter::once((&self.key, &row.key)).chain(self.columns.iter().zip(&row.values))
    }

    /// Refuses an upsert that left rows alone because they are another pair's.
    pub(super) fn owns_all(&self, rows: usize, written: u64) -> Result<(), Blame> {
        if self.filters.is_empty() || written >= rows as u64 {
            return Ok(());
        }
        let reason = format!("its key {} is that of a row of table {} that is not the pair's", self.shape.key, self.shape.table);
        Err(Blame { unique: true, reason, reference: None })
    }

    /// Keys as a statement takes them. What cannot be a key of the pair is left out.
    pub(super) fn keys<'v>(&self, keys: impl Iterator<Item = &'v Value>) -> Keys {
        match self.key.info.kind {
            Kind::Int => Keys::Numbers(keys.filter_map(canonical_integer).collect()),
            _ => Keys::Texts(
                keys.filter_map(|key| match key {
                    Value::Text(text) if !text.contains('\0') => Some(text.clone()),
                    Value::Int(number) => Some(number.to_string()),
                    _ => None,
                })
                .collect(),
            ),
        }
    }
}

/// Keys of a pair.
pub(super) enum Keys {
    Numbers(Vec<i64>),
    Texts(Vec<String>),
}

impl Keys {
    pub(super) fn bind(
        self,
        query: sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>,
    ) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
        match self {
            Keys::Numbers(keys) => query.bind(keys),
            Keys::Texts(keys) => query.bind(keys),
        }
    }

    /// An array of all of them, to be cast.
    pub(super) fn literal(&self) -> String {
        match self {
            Keys::Numbers(keys) => text_array(keys.iter().map(|key| Some(Cow::Owned(key.to_string())))),
            Keys::Texts(keys) => text_array(keys.iter().map(|key| Some(Cow::Borrowed(key.as_str())))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Keys::Numbers(keys) => keys.is_empty(),
            Keys::Texts(keys) => keys.is_empty(),
        }
    }
}

impl Statements {
    #[allow(clippy::too_many_arguments, reason = "what a pair is made of, named once")]
    fn new(
        index: usize,
        shape: &Shape,
        table: &Table,
        key: &Column,
        columns: &[Column],
        filters: &[Filter],
        plan: &Plan,
        side: Side,
    ) -> Result<Statements, Error> {
        let target = conflict_target(shape, table).ok_or_else(|| {
            let columns: Vec<String> = shape.filter.iter().map(|(column, _)| name(column)).chain([name(&shape.key)]).collect();
            Error::Refused(format!(
                "{side} table {} has no unique index on its key that is neither partial nor deferrable; create it: CREATE UNIQUE INDEX CONCURRENTLY {} ON {} ({})",
                shape.table,
                name(&format!("{}_{}", shape.table, shape.key)),
                table.qualified,
                columns.join(", "),
            ))
        })?;
        let qualified = &table.qualified;
        let keyed = format!("t.{}", name(&shape.key));
        let belonging = belongs(filters, "t");
        let from = format!("FROM {qualified} AS t WHERE {belonging} AND {keyed} IS NOT NULL");
        let lookups = |text: bool| {
            let cast = if text { "::text" } else { "" };
            shape.lookups.iter().map(move |lookup| {
                // The table of a lookup is one of the side's own.
                let [id, key, column] = [&lookup.id, &lookup.key, &lookup.column].map(|part| name(part));
                format!("(SELECT r.{key}{cast} FROM {} AS r WHERE r.{id} = t.{column})", super::schema::lookup(&lookup.table))
            })
        };
        let all: Vec<&Column> = std::iter::once(key).chain(columns).collect();
        let texts: Vec<String> = all.iter().map(|column| column.text_of("t")).chain(lookups(true)).collect();
        let plain: Vec<String> = all.iter().map(|column| format!("t.{}", name(&column.info.name))).chain(lookups(false)).collect();
        let names: Vec<String> = all.iter().map(|column| name(&column.info.name)).collect();
        let list = names.join(", ");
        // A row that the pair has marked as deleted comes back under its key.
        let marked = |filter: &Filter| plan.marks(side).any(|(column, _)| *column == filter.column);
        let (marks, owned): (Vec<Filter>, Vec<Filter>) = filters.iter().cloned().partition(marked);
        // Of those, the ones that have it in all that its index tells apart.
        let told_apart: Vec<Filter> = owned.iter().filter(|filter| target.contains(&filter.column)).cloned().collect();
        let buried = format!(" OR {} AND ({}) IS NOT TRUE", belongs(&told_apart, "t"), belongs(&marks, "t"));
        let buried = if marks.is_empty() { "" } else { &buried };
        let writable = format!("({}{buried})", belongs(&owned, "t"));
        let conflict = conflict(key, columns, &target, &owned, &writable);
        let arrays: Vec<String> = (1..=all.len()).map(|place| format!("${place}::text[]")).collect();
        let cells: Vec<String> = (0..all.len()).map(|place| format!("a{place}")).collect();
        let casts: Vec<String> = all.iter().enumerate().map(|(place, column)| format!("u.a{place}::{}", column.cast)).collect();
        let staged = format!("pg_temp._ficus_batch_{index}");
        let (order, order_cast, key_array) = match key.info.kind {
            Kind::Int => (keyed.clone(), "::int8", "$1::int8[]"),
            Kind::Uuid => (format!("{keyed}::text COLLATE \"C\""), "::text", "$1::text[]::uuid[]"),
            _ => (format!("{keyed}::text COLLATE \"C\""), "::text", "$1::text[]"),
        };
        let is_key = format!("{keyed} = ANY({key_array})");
        // The index finds some that are others.
        let is_key = if key.loose { format!("{is_key} AND {keyed}::text COLLATE \"C\" = ANY({key_array})") } else { is_key };
        let insert = format!("INSERT INTO {qualified} AS t ({list}) OVERRIDING SYSTEM VALUE SELECT {} FROM unnest(", casts.join(", "));
        let after = format!(") AS u({}) {conflict}", cells.join(", "));
        let (unique, holder) = unique(shape, table, &from, &key.text_of("t"));
        Ok(Statements {
            select: format!("SELECT {} FROM {qualified} AS t WHERE {belonging}", texts.join(", ")),
            texts: texts.join(", "),
            copy_out: format!("SELECT {} {from}", plain.join(", ")),
            order,
            order_cast,
            delete_around: [
                format!("DELETE FROM {qualified} AS t WHERE {keyed} = ANY("),
                format!("{}) AND {belonging}", key_array.trim_start_matches("$1")),
            ],
            upsert_around: [insert.clone(), after.clone()],
            delete: format!("DELETE FROM {qualified} AS t WHERE {is_key} AND {belonging}"),
            delete_some: format!("DELETE FROM {qualified} AS t WHERE t.ctid = ANY(ARRAY(SELECT t.ctid {from} LIMIT $1))"),
            park: park(shape, table, key).map(|set| format!("UPDATE {qualified} AS t SET {set} WHERE {is_key} AND {writable}")),
            whole: table.columns.iter().all(|column| all.iter().any(|mapped| mapped.number == column.number)),
            is_key,
            from,
            upsert: format!("{insert}{}{after}", arrays.join(", ")),
            copy_in: format!("COPY {qualified} ({list}) FROM STDIN"),
            staging: [
                format!(
                    "CREATE TEMPORARY TABLE IF NOT EXISTS {staged} ON COMMIT DELETE ROWS AS SELECT {list} FROM {qualified} WHERE false"
                ),
                format!("COPY {staged} ({list}) FROM STDIN"),
                format!("INSERT INTO {qualified} AS t ({list}) OVERRIDING SYSTEM VALUE SELECT {list} FROM {staged} {conflict}"),
            ],
            change: change(qualified, &staged, key, columns, &target, &owned),
            staged,
            unique,
            holder,
        })
    }
}

/// Only mapped columns are set: what else stands in the row stays. A row of the key that is another pair's is left alone,
/// unless a deletion has marked it: then it is no pair's any more.
fn conflict(key: &Column, columns: &[Column], target: &[String], owned: &[Filter], writable: &str) -> String {
    let mut set = assignments(key, columns, target, "excluded");
    let target: Vec<String> = target.iter().map(|column| name(column)).collect();
    if set.is_empty() {
        // Counts the rows that are there already.
        set.extend(owned.first().map(|Filter { column, .. }| format!("{0} = t.{0}", name(column))));
    }
    let guard = if owned.is_empty() { String::new() } else { format!(" WHERE {writable}") };
    let action = if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}{guard}", set.join(", ")) };
    format!("ON CONFLICT ({}) DO {action}", target.join(", "))
}

/// The mapped columns that are not part of the key, set to those of a row called `from`; the key as well where the row that was
/// found by it may have it in other letters.
fn assignments(key: &Column, columns: &[Column], target: &[String], from: &str) -> Vec<String> {
    let others = columns.iter().filter(|column| !target.contains(&column.info.name) && !column.always && column.info.name != key.info.name);
    std::iter::once(key).filter(|key| key.loose).chain(others).map(|column| format!("{0} = {from}.{0}", name(&column.info.name))).collect()
}

/// See [`Statements::change`]. Row by row along the index of the key: a whole table is never read for a batch.
fn change(qualified: &str, staged: &str, key: &Column, columns: &[Column], target: &[String], owned: &[Filter]) -> Option<String> {
    let set = assignments(key, columns, target, "s");
    // NULLs in an index are as many values.
    let fixed = |column: &String| owned.iter().any(|filter| filter.column == *column && filter.literal.is_some());
    let one_each = target.iter().all(|column| *column == key.info.name || fixed(column));
    let key = name(&key.info.name);
    (one_each && !set.is_empty()).then(|| {
        format!(
            "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
            UPDATE {qualified} AS t SET {} FROM {staged} AS s WHERE t.{key} = s.{key} AND {};
            RESET enable_hashjoin; RESET enable_mergejoin",
            set.join(", "),
            belongs(owned, "t")
        )
    })
}

/// The columns of a unique index that tells the pair's rows apart by their key.
fn conflict_target(shape: &Shape, table: &Table) -> Option<Vec<String>> {
    table.unique.iter().find(|unique| unique.plain && is_of_key(unique, shape)).map(|unique| unique.columns.clone())
}

/// Whether an index tells rows apart by nothing but the pair's key.
pub(super) fn is_of_key(unique: &Unique, shape: &Shape) -> bool {
    let fixed = |column: &String| *column == shape.key || shape.filter.iter().any(|(name, _)| name == column);
    unique.columns.contains(&shape.key) && unique.columns.iter().all(fixed)
}

/// An assignment that takes one written column of each unique index out of the others' way: to NULL where that is
/// allowed, else to a value that nobody else has.
fn park(shape: &Shape, table: &Table, key: &Column) -> Option<String> {
    let mut parked: Vec<String> = Vec::new();
    for unique in table.unique.iter().filter(|unique| !is_of_key(unique, shape) && !unique.referenced) {
        let fixed = |column: &String| *column == shape.key || shape.filter.iter().any(|(name, _)| name == column);
        let written = unique.columns.iter().filter(|column| shape.columns.contains(column) && !fixed(column));
        let Some(assignment) = written.filter_map(|column| out_of_the_way(table.column(column)?, key)).next() else { continue };
        if !parked.contains(&assignment) {
            parked.push(assignment);
        }
    }
    (!parked.is_empty()).then(|| parked.join(", "))
}

/// Numbers go up: below zero a check is likely.
fn out_of_the_way(column: &Column, key: &Column) -> Option<String> {
    let own = format!("t.{}::text", name(&key.info.name));
    let upper_half = |room: i64| format!("{0} + abs(hashtext({own}) % {0})", room / 2);
    let value = match &column.info.kind {
        _ if column.nullable => "NULL".to_owned(),
        Kind::Text | Kind::Char32 => format!("left(md5({own}) || '-ficus', {})", column.most.unwrap_or(38)),
        Kind::Uuid => format!("md5('ficus' || {own})::uuid"),
        Kind::Bytes => format!("convert_to('ficus-parked-' || {own}, 'UTF8')"),
        Kind::Decimal => {
            let whole = column.limits.digits.map_or(9, |(all, behind)| all.saturating_sub(behind).min(9));
            upper_half(10_i64.pow(u32::try_from(whole).unwrap_or(9)).max(2))
        }
        Kind::Int if column.cast == "smallint" => upper_half(1 << 15),
        Kind::Int | Kind::Real | Kind::Single => upper_half((1 << 31) - 2),
        _ => return None,
    };
    Some(format!("{} = {value}", name(&column.info.name)))
}

fn unique(shape: &Shape, table: &Table, from: &str, key: &str) -> (Vec<Vec<Place>>, Vec<String>) {
    let (mut places, mut holders) = (Vec::new(), Vec::new());
    for unique in table.unique.iter().filter(|unique| unique.plain && !is_of_key(unique, shape)) {
        let place = |column: &String| match shape.columns.iter().position(|known| known == column) {
            Some(index) => Some(Place::Column(index)),
            None => (*column == shape.key).then_some(Place::Key),
        };
        let Some(found) = unique.columns.iter().map(place).collect::<Option<Vec<_>>>() else { continue };
        let arrays: Vec<String> = (1..=found.len()).map(|place| format!("${place}::text[]")).collect();
        let cells: Vec<String> = (0..found.len()).map(|place| format!("a{place}")).collect();
        let terms = unique.columns.iter().enumerate().filter_map(|(place, column)| {
            let column = table.column(column)?;
            Some(format!("t.{} = u.a{place}::{}", name(&column.info.name), column.cast))
        });
        let terms: Vec<String> = terms.collect();
        let others = from.replacen("FROM ", &format!("FROM unnest({}) AS u({}), ", arrays.join(", "), cells.join(", ")), 1);
        holders.push(format!("SELECT DISTINCT {key} {others} AND {}", terms.join(" AND ")));
        places.push(found);
    }
    (places, holders)
}
