//! Which rows are a pair's, and what a deletion leaves of one where rows are never removed. Compiles
//! [`super::Rows`]; the filter itself is applied by the engines.

use crate::mapping::cast::{self, bare};
use crate::mapping::compile::{Pair, kind};
use crate::mapping::plan::{Plan, Row, Shape};
use crate::mapping::{ColumnInfo, Kind, Mark, Value};
use crate::{Side, Timestamp};

/// What a deletion writes instead, by side: indexes among the columns of its shape. Empty: rows are removed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Graves {
    legacy: Vec<(usize, Mark)>,
    modern: Vec<(usize, Mark)>,
}

impl Plan {
    /// Whether a row that the other side deletes stays on this side, marked.
    pub fn buries(&self, side: Side) -> bool {
        !self.grave(side).is_empty()
    }

    /// The columns that a deletion writes on that side, each with what it is in a row that is not deleted.
    pub fn marks(&self, side: Side) -> impl Iterator<Item = &(String, Value)> {
        let shape = self.shape(side);
        let marked = move |(column, _): &&(String, Value)| self.grave(side).iter().any(|(at, _)| shape.columns[*at] == *column);
        shape.filter.iter().filter(marked)
    }

    /// What that side's rows look like.
    pub fn shape(&self, side: Side) -> &Shape {
        match side {
            Side::Legacy => &self.legacy,
            Side::Modern => &self.modern,
        }
    }

    /// A row of that side, as it was read there, as what a deletion leaves of it. Outside the filter from then on.
    #[must_use]
    pub fn bury(&self, side: Side, mut row: Row, now: Timestamp) -> Row {
        row.values.truncate(self.shape(side).columns.len());
        for (at, mark) in self.grave(side) {
            row.values[*at] = match mark {
                Mark::Value(value) => value.clone(),
                Mark::Now => cast::now(now).map_or(Value::Null, Value::Text),
            };
        }
        row
    }

    fn grave(&self, side: Side) -> &[(usize, Mark)] {
        match side {
            Side::Legacy => &self.graves.legacy,
            Side::Modern => &self.graves.modern,
        }
    }
}

impl Pair<'_> {
    /// The pair's name among those of its capability: the legacy table, unless several pairs share it; and which of its rows, where
    /// they share both tables.
    pub(super) fn name(&self) -> String {
        let map = self.map;
        let shared = |also_modern: bool| {
            let same = self.maps.iter().filter(|other| other.legacy == map.legacy && (!also_modern || other.modern == map.modern));
            same.count() > 1
        };
        if shared(true) {
            let tests: Vec<String> = map.rows.filter.iter().map(|(column, value)| format!("{column}={}", shown(value))).collect();
            return format!("{}/{}/{}", map.legacy, map.modern, tests.join(","));
        }
        if shared(false) { format!("{}/{}", map.legacy, map.modern) } else { map.legacy.clone() }
    }

    /// The filter of legacy, its values in the form of their columns.
    pub(super) fn filter(&mut self) -> Option<Vec<(String, Value)>> {
        let map = self.map;
        let tests = map.rows.filter.iter();
        tests.map(|(name, value)| Some((name.clone(), self.literal(&map.legacy, name, value, kind(self.legacy, name))?))).collect()
    }

    /// What deletions leave on both sides.
    pub(super) fn graves(&mut self, legacy: &Shape, modern: &Shape) -> Option<Graves> {
        let (map, columns) = (self.map, (self.legacy, self.modern));
        let legacy = self.grave("legacy_delete", "where", &map.rows.legacy_delete, legacy, columns.0)?;
        let modern = self.grave("modern_delete", "constant", &map.rows.modern_delete, modern, columns.1)?;
        Some(Graves { legacy, modern })
    }

    fn grave(
        &mut self,
        key: &str,
        filter: &str,
        marks: &[(String, Mark)],
        shape: &Shape,
        columns: &[ColumnInfo],
    ) -> Option<Vec<(usize, Mark)>> {
        let mut grave = Vec::new();
        let mut leaves = marks.is_empty();
        for (name, mark) in marks {
            let (Some(at), Some((_, alive))) =
                (shape.columns.iter().position(|column| column == name), shape.filter.iter().find(|(column, _)| column == name))
            else {
                let message =
                    format!("{key} writes column {name} of {}, which no {filter} tells of rows that are not deleted", shape.table);
                self.error(message, &format!("say with a {filter} what {name} is in a row that is not deleted"));
                return None;
            };
            let mark = match mark {
                Mark::Value(value) => Mark::Value(self.literal(&shape.table, name, value, kind(columns, name))?),
                Mark::Now if matches!(bare(kind(columns, name)), Kind::Timestamp | Kind::Instant | Kind::Text | Kind::Any) => Mark::Now,
                Mark::Now => {
                    let message = format!("{key} writes the time into column {name} of {}, which is {}", shape.table, kind(columns, name));
                    self.error(message, "name a column of times, or write a value");
                    return None;
                }
            };
            leaves |= !matches!(&mark, Mark::Value(value) if value == alive);
            grave.push((at, mark));
        }
        if !leaves {
            let message = format!("{key} leaves a row of {} as it is when it is not deleted", shape.table);
            self.error(message, "write another value");
            return None;
        }
        Some(grave)
    }
}

/// What a rule file says of a value.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => format!("{bytes:x?}"),
    }
}
