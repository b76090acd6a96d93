//! What would become of a row, column by column, before any row is moved: what has no counterpart, and what would come back
//! otherwise. Unlike [`Plan::forward`] it does not stop at the first column.

use super::plan::{Place, RowError, Rule};
use super::{Kind, Plan, Row, Value, same};
use crate::Side;
use crate::catalog::Table;

/// A value that would not survive the way to the other side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// The modern column.
    pub column: String,
    /// The whole row would be set aside; otherwise it arrives without what is lost.
    pub aside: bool,
    /// Why; ends a sentence that begins with the column. Names no value.
    pub why: String,
}

impl Plan {
    /// Every value of a legacy row that would not survive, in the columns of `modern`.
    pub fn trial(&self, row: &Row, modern: &Table) -> Vec<Lost> {
        let value = |place: &Place| match place {
            Place::Key => &row.key,
            Place::Column(index) => &row.values[*index],
        };
        let mut lost = Vec::new();
        let unpacked = match self.unpack(&value) {
            Ok(unpacked) => unpacked,
            Err(error) => return vec![aside(&error)],
        };
        for (rule, column) in self.rules.iter().zip(&self.modern.columns) {
            let made = match self.make(rule, column, &value, &unpacked) {
                Ok(made) => made,
                Err(error) => {
                    lost.push(aside(&error));
                    continue;
                }
            };
            let target = modern.column(column);
            if let Some(why) = target.and_then(|column| column.limits.refuses(&made, bare(&column.kind))) {
                lost.push(Lost { column: column.clone(), aside: true, why });
            } else if let Rule::Copy(from, cast) = rule {
                // What is not declared as lost is another spelling of the same.
                let declared = self.losses.iter().find(|loss| loss.column == *column && loss.to == Side::Modern);
                let returned = cast.back(&made).ok();
                if let Some(loss) = declared.filter(|_| returned.is_none_or(|returned| !same(&returned, value(from)))) {
                    lost.push(Lost { column: column.clone(), aside: false, why: loss.what.clone() });
                }
            }
        }
        let key = modern.column(&self.modern.key);
        if let Some(why) = key.and_then(|column| column.limits.refuses(&row.key, bare(&column.kind))) {
            lost.push(Lost { column: self.modern.key.clone(), aside: true, why });
        }
        lost
    }

    /// Every value of a modern row (read with its lookups) that would not survive the way back, in the columns of `legacy`.
    /// Named are modern columns where the plan refuses, legacy ones where the table does.
    pub fn trial_back(&self, row: &Row, legacy: &Table) -> Vec<Lost> {
        let back = match self.back(row) {
            Ok(back) => back,
            Err(error) => return vec![aside(&error)],
        };
        let written = self.legacy.columns.iter().zip(&back.values).chain([(&self.legacy.key, &back.key)]);
        let refused = written.filter_map(|(name, value)| {
            let column = legacy.column(name)?;
            let why = column.limits.refuses(value, bare(&column.kind))?;
            Some(Lost { column: name.clone(), aside: true, why })
        });
        refused.collect()
    }
}

fn aside(error: &RowError) -> Lost {
    let (RowError::Unmapped { column }
    | RowError::NotAnInteger { column }
    | RowError::Dangling { column }
    | RowError::Unfit { column, .. }
    | RowError::ForeignUuid { column }) = error;
    let told = error.to_string();
    let why = told.strip_prefix(&format!("column {column}: ")).unwrap_or(&told).to_owned();
    Lost { column: column.clone(), aside: true, why }
}

fn bare(kind: &Kind) -> &Kind {
    match kind {
        Kind::Loose(kind) => bare(kind),
        kind => kind,
    }
}

/// A key for people.
pub fn key_of(value: &Value) -> String {
    match value {
        Value::Int(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Null => "NULL".to_owned(),
        Value::Real(number) => number.to_string(),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Lost;
    use crate::catalog::{Column, Limits, Table};
    use crate::mapping::{ColumnMap, ColumnSource, Kind, Row, Rows, TableMap, Value, compile};

    fn table(name: &str, columns: &[(&str, Kind, Limits)]) -> Table {
        let column = |(name, kind, limits): &(&str, Kind, Limits)| Column {
            name: (*name).to_owned(),
            kind: kind.clone(),
            declared: String::new(),
            default: true,
            generated: false,
            limits: limits.clone(),
        };
        Table { name: name.into(), columns: columns.iter().map(column).collect(), ..Table::default() }
    }

    #[test]
    fn every_column_is_tried_and_what_is_lost_in_silence_is_found() {
        let wide = Limits::default;
        let legacy = table(
            "a",
            &[("id", Kind::Int, wide()), ("at", Kind::Instant, wide()), ("n", Kind::Text, wide()), ("name", Kind::Text, wide())],
        );
        let short = Limits { chars: Some(3), ..Limits::default() };
        let modern = table(
            "b",
            &[("legacy_id", Kind::Int, wide()), ("at", Kind::Timestamp, wide()), ("n", Kind::Int, wide()), ("name", Kind::Text, short)],
        );
        let at = ColumnSource::Local { column: "at".into(), zone: "Europe/Berlin".into() };
        let map = TableMap {
            events: Vec::new(),
            source: "x.toml:1".into(),
            legacy: "a".into(),
            modern: "b".into(),
            legacy_key: "id".into(),
            modern_key: "legacy_id".into(),
            sequence: None,
            columns: vec![ColumnMap { modern: "at".into(), from: at }],
            only: false,
            keep_legacy: Vec::new(),
            keep_modern: Vec::new(),
            zero_dates: crate::mapping::ZeroDates::default(),
            rows: Rows::default(),
        };
        let infos = |table: &Table| BTreeMap::from([(table.name.clone(), table.columns.iter().filter_map(Column::info).collect())]);
        let plans = compile("c", &[map], &infos(&legacy), &infos(&modern)).unwrap_or_default();
        let trial = |at: &str, n: &str, name: &str| {
            let values = [at, n, name].map(|text| Value::Text(text.to_owned())).to_vec();
            plans[0].trial(&Row { key: Value::Int(1), values }, &modern)
        };
        assert_eq!(trial("2026-07-01 10:00:00", "1", "ada"), []);
        // The second pass of the hour that Berlin's clocks show twice, a text that is no number, a text that is too long.
        let lost = trial("2026-10-25 01:30:00", "one", "grace");
        let told: Vec<(&str, bool)> = lost.iter().map(|Lost { column, aside, .. }| (column.as_str(), *aside)).collect();
        assert_eq!(told, [("at", false), ("n", true), ("name", true)], "{lost:?}");
        assert!(lost[0].why.contains("show twice"), "{lost:?}");
    }
}
