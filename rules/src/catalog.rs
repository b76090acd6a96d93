//! What a database says of all its tables: columns with kinds and limits, keys, references. The same shape for every engine.
//! Engines fill it in; [`crate::preflight`] judges it, [`crate::proposal`] matches two of them. Knows no rows.

use crate::mapping::{ColumnInfo, Kind, Tables, Value};

/// The tables of one database, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalog {
    /// The engine's name for people: `PostgreSQL 15.18`.
    pub engine: String,
    /// What names are quoted with in its SQL.
    pub quote: Quote,
    /// It does not log what references do by themselves, so that its engine refuses those that do something.
    pub refuses_acts: bool,
    /// References act also on what the agent removes: its role may not switch them off.
    pub acts_for_agent: bool,
    /// Its tables, without those of Ficus and of the engine.
    pub tables: Vec<Table>,
}

/// What a name is quoted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quote {
    /// `"name"`
    #[default]
    Double,
    /// `` `name` ``
    Back,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// As rule files name it.
    pub name: String,
    /// In their order.
    pub columns: Vec<Column>,
    /// The columns of its primary key; empty: it has none.
    pub primary: Vec<String>,
    /// What no two rows share; the primary key among them. Only indexes that hold for every row, on columns.
    pub unique: Vec<Vec<String>>,
    /// Its references to other tables.
    pub references: Vec<Reference>,
    /// Its name in SQL where that is more than the quoted name (a schema before it).
    pub qualified: Option<String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// As the database spells its type.
    pub declared: String,
    /// A row can be inserted without it.
    pub default: bool,
    /// Made from other columns: never written.
    pub generated: bool,
    /// What does not fit although it is of the kind.
    pub limits: Limits,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its name; empty: it has none (SQLite).
    pub name: String,
    /// The referring columns.
    pub columns: Vec<String>,
    /// The table that they refer to.
    pub parent: String,
    /// Its columns.
    pub parent_columns: Vec<String>,
    /// What it does by itself when the parent's row goes or changes: `ON DELETE CASCADE`.
    pub acts: Option<String>,
}

/// Which values of a column's kind it does not take.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// NULL.
    pub not_null: bool,
    /// Longer texts than so many characters.
    pub chars: Option<u64>,
    /// Longer texts or bytes than so many bytes.
    pub bytes: Option<u64>,
    /// Integers outside of it.
    pub range: Option<(i64, i64)>,
    /// Decimals with more digits than so many in all, or behind the point.
    pub digits: Option<(u64, u64)>,
    /// Texts with a zero byte.
    pub no_zero_byte: bool,
    /// Dates with a zero in them.
    pub no_zero_date: bool,
    /// Times beyond a day.
    pub no_long_time: bool,
    /// Points in time outside of it.
    pub times: Option<(&'static str, &'static str)>,
    /// NaN and the infinities.
    pub finite: bool,
}

impl Catalog {
    /// The table of that name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// A name in its SQL.
    pub fn quoted(&self, name: &str) -> String {
        match self.quote {
            Quote::Double => format!("\"{}\"", name.replace('"', "\"\"")),
            Quote::Back => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// A table's name in its SQL.
    pub fn quoted_table(&self, name: &str) -> String {
        self.table(name).and_then(|table| table.qualified.clone()).unwrap_or_else(|| self.quoted(name))
    }

    /// The columns that [`crate::mapping::compile()`] asks for.
    pub fn columns(&self) -> Tables {
        self.tables.iter().map(|table| (table.name.clone(), table.columns.iter().filter_map(Column::info).collect())).collect()
    }

    /// References of other tables to this one: who, and which.
    pub fn referring<'c>(&'c self, parent: &'c str) -> impl Iterator<Item = (&'c Table, &'c Reference)> + 'c {
        let all = self.tables.iter().flat_map(|table| table.references.iter().map(move |reference| (table, reference)));
        all.filter(move |(table, reference)| reference.parent == parent && table.name != parent)
    }
}

impl Table {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl Column {
    /// For the plans; generated columns are not listed there.
    pub fn info(&self) -> Option<ColumnInfo> {
        let required = self.limits.not_null && !self.default;
        let nullable = !self.limits.not_null;
        (!self.generated).then(|| ColumnInfo { name: self.name.clone(), kind: self.kind.clone(), required, nullable })
    }
}

impl Limits {
    /// Why a value does not fit; ends a sentence that begins with the column. Names no value.
    pub fn refuses(&self, value: &Value, kind: &Kind) -> Option<String> {
        match value {
            Value::Null => self.not_null.then(|| "may not be NULL".to_owned()),
            Value::Int(number) => {
                let (least, most) = self.range.filter(|(least, most)| !(*least..=*most).contains(number))?;
                Some(format!("takes numbers from {least} to {most}"))
            }
            Value::Real(number) => (self.finite && !number.is_finite()).then(|| "takes no NaN and no infinity".to_owned()),
            Value::Blob(bytes) => {
                let most = self.bytes.filter(|most| bytes.len() as u64 > *most)?;
                Some(format!("takes {most} bytes at most"))
            }
            Value::Text(text) => self.refuses_text(text, kind),
        }
    }

    fn refuses_text(&self, text: &str, kind: &Kind) -> Option<String> {
        match kind {
            Kind::Date | Kind::Timestamp | Kind::Instant => {
                let date = text.get(..10).unwrap_or(text);
                if self.no_zero_date && (date.starts_with("0000") || date.contains("-00")) {
                    return Some("takes no date with a zero in it".to_owned());
                }
                let (first, last) = self.times.filter(|(first, last)| !(*first..=*last).contains(&text))?;
                Some(format!("takes times from {first} to {last}"))
            }
            Kind::Time => (self.no_long_time && text >= "24:00:00.").then(|| "takes times of a day".to_owned()),
            // Numbers above 63 bits travel as their digits.
            Kind::Int => self.range.map(|(least, most)| format!("takes numbers from {least} to {most}")),
            Kind::Decimal => self.refuses_decimal(text),
            Kind::Text | Kind::Char32 | Kind::Json | Kind::Enum(_) | Kind::Native(_) => {
                if self.no_zero_byte && text.contains('\0') {
                    return Some("takes no text with a zero byte".to_owned());
                }
                if let Some(most) = self.chars.filter(|most| text.chars().count() as u64 > *most) {
                    return Some(format!("takes {most} characters at most"));
                }
                let most = self.bytes.filter(|most| text.len() as u64 > *most)?;
                Some(format!("takes {most} bytes at most"))
            }
            _ => None,
        }
    }

    fn refuses_decimal(&self, text: &str) -> Option<String> {
        let digits = text.trim_start_matches('-');
        if !digits.starts_with(|first: char| first.is_ascii_digit()) {
            return self.finite.then(|| "takes no NaN and no infinity".to_owned());
        }
        let (all, behind) = self.digits?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let whole = whole.trim_start_matches('0');
        let fits = whole.len() as u64 <= all.saturating_sub(behind) && fraction.len() as u64 <= behind;
        (!fits).then(|| format!("takes {all} digits at most, {behind} of them behind the point"))
    }

    /// In which way it takes less than another column does; ends a sentence that begins with the column.
    pub fn narrower(&self, other: &Limits) -> Option<String> {
        let less = |own: Option<u64>, other: Option<u64>| own.filter(|own| other.is_none_or(|other| other > *own));
        if let Some(chars) = less(self.chars, other.chars.or(other.bytes.map(|bytes| bytes / 4))) {
            return Some(format!("takes {chars} characters at most"));
        }
        if let Some(bytes) = less(self.bytes, other.bytes.or(other.chars)) {
            return Some(format!("takes {bytes} bytes at most"));
        }
        if let Some((least, most)) = self.range.filter(|own| other.range.is_none_or(|other| other.0 < own.0 || other.1 > own.1)) {
            return Some(format!("takes numbers from {least} to {most}"));
        }
        if let Some((all, behind)) = self
            .digits
            .filter(|own| other.digits.is_none_or(|other| other.1 > own.1 || other.0.saturating_sub(other.1) > own.0.saturating_sub(own.1)))
        {
            return Some(format!("takes {all} digits at most, {behind} of them behind the point"));
        }
        (self.not_null && !other.not_null).then(|| "may not be NULL".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;
    use crate::mapping::{Kind, Value};

    #[test]
    fn what_does_not_fit_is_told() {
        let narrow = Limits {
            not_null: true,
            chars: Some(3),
            bytes: Some(8),
            range: Some((-128, 127)),
            digits: Some((4, 2)),
            no_zero_byte: true,
            no_zero_date: true,
            no_long_time: true,
            times: Some(("1970-01-01 00:00:01", "2038-01-19 03:14:07.999999")),
            finite: true,
        };
        let text = |text: &str| Value::Text(text.to_owned());
        for (value, kind) in [
            (Value::Null, Kind::Int),
            (Value::Int(128), Kind::Int),
            (text("18446744073709551615"), Kind::Int),
            (text("fourx"), Kind::Text),
            (text("a\0"), Kind::Text),
            (Value::Blob(vec![0; 9]), Kind::Bytes),
            (text("100.00"), Kind::Decimal),
            (text("-1.234"), Kind::Decimal),
            (text("NaN"), Kind::Decimal),
            (Value::Real(f64::NAN), Kind::Real),
            (text("0000-00-00"), Kind::Date),
            (text("2026-11-00 00:00:00"), Kind::Timestamp),
            (text("2039-01-01 00:00:00"), Kind::Instant),
            (text("30:00:00"), Kind::Time),
        ] {
            assert!(narrow.refuses(&value, &kind).is_some(), "{value:?} of {kind}");
            let wide = Limits::default();
            assert_eq!(wide.refuses(&value, &kind), None, "{value:?} of {kind}");
        }
        for (value, kind) in [
            (Value::Int(-128), Kind::Int),
            (text("äöü"), Kind::Text),
            (text("99.99"), Kind::Decimal),
            (text("0.5"), Kind::Decimal),
            (Value::Real(1.5), Kind::Real),
            (text("2026-11-20 18:30:05"), Kind::Instant),
            (text("23:59:59.999999"), Kind::Time),
        ] {
            assert_eq!(narrow.refuses(&value, &kind), None, "{value:?} of {kind}");
        }
    }

    #[test]
    fn a_column_is_narrower_in_the_first_way_that_it_is() {
        let chars = |chars| Limits { chars: Some(chars), ..Limits::default() };
        assert!(chars(30).narrower(&chars(150)).is_some_and(|why| why.contains("30 characters")));
        assert_eq!(chars(150).narrower(&chars(30)), None);
        assert!(chars(30).narrower(&Limits::default()).is_some());
        let range = |range| Limits { range: Some(range), ..Limits::default() };
        assert!(range((-32_768, 32_767)).narrower(&range((i64::from(i32::MIN), i64::from(i32::MAX)))).is_some());
        assert!(Limits { not_null: true, ..Limits::default() }.narrower(&Limits::default()).is_some());
        assert_eq!(Limits::default().narrower(&chars(3)), None);
    }
}
