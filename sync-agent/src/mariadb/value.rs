//! Values in the canonical form of their kind ([`ficus_rules::mapping::Kind`]): from cells of the binary log, from the
//! results of queries, and into arguments of statements. Both ways in give the same value for the same row. Pure.
//!
//! What MariaDB can hold and the kind cannot say travels as the server prints it: a `tinyint(1)` of 2 as that number, a
//! time beyond a day as `30:00:00`, a zero date as `0000-00-00`. Whoever cannot hold it refuses that row, with a reason.

use std::net::{Ipv4Addr, Ipv6Addr};

use ficus_rules::mapping::{Kind, Value};
use mysql_async::Value as Sql;

use super::bytes::{Broken, big, little};
use super::image::{self, Cell};

/// A column, as far as its values need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) form: Form,
    pub(super) nullable: bool,
    /// A row cannot be inserted without it.
    pub(super) required: bool,
    /// Made from other columns: never written.
    pub(super) generated: bool,
    /// Characters or bytes that fit.
    pub(super) length: u64,
}

/// How a column stores its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Int {
        unsigned: bool,
    },
    Real,
    Decimal,
    Text(Charset),
    /// `BINARY(n)`: the log leaves zeros at the end out.
    Bytes {
        padded: Option<usize>,
    },
    Date,
    DateTime,
    Timestamp,
    Time,
    Year,
    Bit,
    Enum(Vec<String>),
    Set(Vec<String>),
    Uuid,
    Inet6,
    Inet4,
    /// Not carried.
    Other(String),
}

/// Character sets whose bytes are understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    Latin1,
    Utf16,
    Utf16Le,
    Utf32,
    /// The name of one that is not.
    Other(String),
}

impl Charset {
    /// By MariaDB's name.
    pub(super) fn of(name: &str) -> Charset {
        match name {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Charset::Utf8,
            "latin1" => Charset::Latin1,
            "ucs2" | "utf16" => Charset::Utf16,
            "utf16le" => Charset::Utf16Le,
            "utf32" => Charset::Utf32,
            other => Charset::Other(other.to_owned()),
        }
    }

    /// Text, or bytes where the text is none.
    fn decode(&self, bytes: &[u8]) -> Result<Value, Broken> {
        let wide = |unit: fn(&[u8]) -> u64| {
            let units = bytes.chunks(2).map(|pair| u16::try_from(unit(pair)).unwrap_or(0)).collect::<Vec<u16>>();
            String::from_utf16(&units).ok()
        };
        let text = match self {
            Charset::Utf8 => String::from_utf8(bytes.to_vec()).ok(),
            Charset::Latin1 => Some(bytes.iter().map(|byte| latin1(*byte)).collect()),
            Charset::Utf16 => wide(big),
            Charset::Utf16Le => wide(little),
            Charset::Utf32 => bytes.chunks(4).map(|unit| char::from_u32(u32::try_from(big(unit)).unwrap_or(u32::MAX))).collect(),
            Charset::Other(_) => return Err(Broken("a column has a character set that is not known")),
        };
        Ok(text.map_or_else(|| Value::Blob(bytes.to_vec()), Value::Text))
    }
}

/// MySQL's latin1 is Windows' code page 1252, with the five gaps filled by control characters.
fn latin1(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•',
        '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        other => char::from(other),
    }
}

impl Column {
    /// The value of a cell of the log.
    pub(super) fn of_cell(&self, cell: Cell<'_>) -> Result<Value, Broken> {
        Ok(match (cell, &self.form) {
            (Cell::Null, _) => Value::Null,
            (Cell::Int(bytes), Form::Int { unsigned: true }) => whole(little(bytes)),
            (Cell::Int(bytes), Form::Int { unsigned: false }) => Value::Int(signed(bytes)),
            (Cell::Float(number), Form::Real) => Value::Real(f64::from(number)),
            (Cell::Double(number), Form::Real) => Value::Real(number),
            (Cell::Decimal { digits, precision, scale }, Form::Decimal) => Value::Text(image::decimal(digits, precision, scale)?),
            (Cell::Bytes(bytes), Form::Text(charset)) => charset.decode(bytes)?,
            (Cell::Bytes(bytes), Form::Bytes { padded }) => Value::Blob(pad(bytes, padded.unwrap_or(0))),
            (Cell::Date { year, month, day }, Form::Date) => Value::Text(date(year, month, day)),
            (Cell::DateTime { year, month, day, hour, minute, second, micros }, Form::DateTime) => {
                Value::Text(format!("{} {}", date(year, month, day), clock(u64::from(hour), minute, second, micros)))
            }
            (Cell::Timestamp { seconds, micros }, Form::Timestamp) => Value::Text(instant(seconds, micros)),
            (Cell::Time { negative, hours, minute, second, micros }, Form::Time) => {
                Value::Text(time(negative, u64::from(hours), minute, second, micros))
            }
            (Cell::Year(0), Form::Year) => Value::Int(0),
            (Cell::Year(year), Form::Year) => Value::Int(1900 + i64::from(year)),
            (Cell::Bit(bytes), Form::Bit) => whole(big(bytes)),
            (Cell::Enum(0), Form::Enum(_)) => Value::Text(String::new()),
            (Cell::Enum(number), Form::Enum(labels)) => {
                Value::Text(labels.get(usize::from(number) - 1).ok_or(Broken("a label does not exist"))?.clone())
            }
            (Cell::Set(bits), Form::Set(labels)) => {
                let chosen = labels
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| bits.checked_shr(u32::try_from(*index).unwrap_or(64)).unwrap_or(0) & 1 == 1);
                Value::Text(chosen.map(|(_, label)| label.as_str()).collect::<Vec<_>>().join(","))
            }
            (Cell::Bytes(bytes), Form::Uuid) => uuid(&fixed(bytes)?),
            (Cell::Bytes(bytes), Form::Inet6) => Value::Text(Ipv6Addr::from(fixed::<16>(bytes)?).to_string()),
            (Cell::Bytes(bytes), Form::Inet4) => Value::Text(Ipv4Addr::from(fixed::<4>(bytes)?).to_string()),
            _ => return Err(Broken("a column has another type in the log than in its table")),
        })
    }

    /// The value in a query's result.
    pub(super) fn of_result(&self, value: Sql) -> Value {
        match (value, &self.form) {
            (Sql::NULL, _) => Value::Null,
            (Sql::Int(number), _) => Value::Int(number),
            (Sql::UInt(number), _) => whole(number),
            (Sql::Float(number), _) => Value::Real(f64::from(number)),
            (Sql::Double(number), _) => Value::Real(number),
            (Sql::Date(year, month, day, ..), Form::Date) => Value::Text(date(year, month, day)),
            (Sql::Date(year, month, day, hour, minute, second, micros), _) => {
                Value::Text(format!("{} {}", date(year, month, day), clock(u64::from(hour), minute, second, micros)))
            }
            (Sql::Time(negative, days, hours, minute, second, micros), _) => {
                Value::Text(time(negative, u64::from(days) * 24 + u64::from(hours), minute, second, micros))
            }
            (Sql::Bytes(bytes), Form::Bytes { .. } | Form::Other(_)) => Value::Blob(bytes),
            (Sql::Bytes(bytes), Form::Bit) => whole(big(&bytes)),
            (Sql::Bytes(bytes), Form::Decimal) => String::from_utf8(bytes).map_or(Value::Null, |text| Value::Text(decimal(&text))),
            (Sql::Bytes(bytes), _) => String::from_utf8(bytes).map_or_else(|error| Value::Blob(error.into_bytes()), Value::Text),
        }
    }

    /// As an argument of a statement.
    pub(super) fn argument(&self, value: &Value) -> Sql {
        match (value, &self.form) {
            (Value::Text(text), Form::Bit | Form::Int { .. }) if text.parse::<u64>().is_ok() => {
                text.parse::<u64>().map_or(Sql::NULL, Sql::UInt)
            }
            _ => argument(value),
        }
    }
}

/// A value as an argument, whatever its column.
pub(super) fn argument(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::NULL,
        Value::Int(number) => Sql::Int(*number),
        Value::Real(number) => Sql::Double(*number),
        Value::Text(text) => Sql::Bytes(text.clone().into_bytes()),
        Value::Blob(bytes) => Sql::Bytes(bytes.clone()),
    }
}

fn whole(number: u64) -> Value {
    i64::try_from(number).map_or_else(|_| Value::Text(number.to_string()), Value::Int)
}

#[allow(clippy::cast_possible_wrap, reason = "the sign bit is meant")]
fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8);
    ((little(bytes) << unused) as i64) >> unused
}

/// Without zeros that say nothing: `-012.50` is `-12.5`, `-0.0` is `0`.
pub(super) fn decimal(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    match (whole, fraction) {
        ("", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        ("", fraction) => format!("{sign}0.{fraction}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

fn date(year: u16, month: u8, day: u8) -> String {
    format!("{year:04}-{month:02}-{day:02}")
}

fn clock(hours: u64, minute: u8, second: u8, micros: u32) -> String {
    let time = format!("{hours:02}:{minute:02}:{second:02}");
    if micros == 0 { time } else { format!("{time}.{micros:06}").trim_end_matches('0').to_owned() }
}

fn time(negative: bool, hours: u64, minute: u8, second: u8, micros: u32) -> String {
    format!("{}{}", if negative { "-" } else { "" }, clock(hours, minute, second, micros))
}

/// Days to a date: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn instant(seconds: u32, micros: u32) -> String {
    if seconds == 0 && micros == 0 {
        return "0000-00-00 00:00:00".to_owned();
    }
    let (days, rest) = (u64::from(seconds / 86_400) + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (minutes, second) = (rest / 60, u8::try_from(rest % 60).unwrap_or(0));
    let minute = u8::try_from(minutes % 60).unwrap_or(0);
    format!("{year:04}-{month:02}-{day:02} {}", clock(u64::from(minutes / 60), minute, second, micros))
}

fn pad(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut owned = bytes.to_vec();
    owned.resize(owned.len().max(length), 0);
    owned
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Broken> {
    pad(bytes, N).try_into().map_err(|_| Broken("a value is too long for its column"))
}

fn uuid(bytes: &[u8; 16]) -> Value {
    Value::Text(uuid::Uuid::from_bytes(*bytes).to_string())
}

#[cfg(test)]
pub(super) mod tests;
