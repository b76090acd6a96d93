//! Rows of the initial copy between two databases of this engine, from the lines of one COPY to the lines of the other. What
//! both print alike is handed on as the bytes that it is; what is made of one value, is made of that value. A line that is in
//! any way unlike what the server prints goes by the values of its row, as every row does between other engines
//! ([`crate::backfill`]): what is set aside, and why, is decided there. Pure.

use std::sync::Arc;

use ficus_rules::mapping::{Kind, Part, Plan, Row, UuidOf, Value};

use super::parts::Pair;
use super::schema::Column;
use super::snapshot::row;
use super::{copy, value};
use crate::apply::rejected;
use crate::error::Error;
use crate::port::{Direction, Lines, Load, LoadRows, Mapped, Rejected, Straight};

/// What a source lets the target know of its lines.
pub(super) struct Printed {
    pub(super) label: String,
    pub(super) pair: Arc<Pair>,
}

/// The way of one pair.
pub(super) struct Way {
    index: usize,
    plan: Plan,
    printed: Printed,
    modern: Arc<Pair>,
    /// What a line of modern is made of, the key first.
    fields: Vec<Field>,
}

/// One field of a line of modern.
enum Field {
    /// That field of legacy's line, in its canonical form. A clock may show a zero date.
    Text { from: usize, form: Form, clock: bool },
    /// The UUID of an integer.
    Uuid { from: usize, of: UuidOf },
    /// What the plan makes of the value for its column of that index.
    Made { from: usize, column: usize },
    /// The same in every line.
    Constant(Vec<u8>),
}

/// What is between the server's text of a value and its canonical one ([`value::read`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nothing.
    Same,
    /// 1 and 0, for `t` and `f`.
    Bool,
    /// No zeros at the end of a fraction.
    Decimal,
    /// No offset, which is that of UTC.
    Instant,
    /// No blanks at the end.
    Padded,
}

/// A line, or a field of it, that is to go by its values.
struct Odd;

impl Way {
    /// The way of a pair by its plan; `None`: some column is made of several values, or of a part of one.
    pub(super) fn new(index: usize, plan: &Plan, printed: Printed, modern: Arc<Pair>) -> Option<Way> {
        let legacy = |from: usize| from.checked_sub(1).map_or(&printed.pair.key, |column| &printed.pair.columns[column]);
        let text = |from: usize, to: &Column| {
            let clock = matches!(legacy(from).info.kind, Kind::Date | Kind::Time | Kind::Timestamp | Kind::Instant);
            form(legacy(from), &to.info.kind).map(|form| Field::Text { from, form, clock })
        };
        let mut fields = vec![text(0, &modern.key)?];
        for (column, (part, to)) in plan.parts()?.into_iter().zip(&modern.columns).enumerate() {
            let made = |from| Field::Made { from, column };
            fields.push(match part {
                Part::Same(from) => text(from, to).unwrap_or_else(|| made(from)),
                Part::Digits(from) if has_digits(legacy(from), &to.info.kind) => Field::Text { from, form: Form::Same, clock: false },
                Part::Uuid(from, of) if legacy(from).info.kind == Kind::Int && matches!(to.info.kind, Kind::Uuid | Kind::Text) => {
                    Field::Uuid { from, of }
                }
                Part::Digits(from) | Part::Uuid(from, _) | Part::Made(from) => made(from),
                Part::Constant(constant) => {
                    let mut field = Vec::new();
                    copy::field(&mut field, value::write(&to.info.kind, &constant).ok()?.as_deref());
                    Field::Constant(field)
                }
            });
        }
        Some(Way { index, plan: plan.clone(), printed, modern, fields })
    }

    /// One line by its values. What cannot be written any other way than row by row is [`Odd`].
    fn by_values(&self, line: &[u8], aside: &mut Vec<Rejected>, out: &mut Vec<u8>) -> Result<Result<(), Odd>, Error> {
        let before = out.len();
        match self.plan.into_forward(self.row(line)?) {
            Ok(row) => Ok(self.modern.line(&row, out).map_err(|_| {
                out.truncate(before);
                Odd
            })),
            Err((row, error)) => {
                aside.push(rejected(&self.plan, Direction::Forward, self.index, &row, &error));
                Ok(Ok(()))
            }
        }
    }

    fn row(&self, line: &[u8]) -> Result<Row, Error> {
        let table = &self.printed.pair.shape.table;
        row(&self.printed.pair, line).map_err(|(column, reason)| {
            Error::Refused(format!("{}: column {column} of table {table} {reason}; correct it", self.printed.label))
        })
    }

    /// One line of legacy as one of modern, at the end of others.
    fn line(&self, cells: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Odd> {
        for (index, field) in self.fields.iter().enumerate() {
            if index > 0 {
                out.push(b'\t');
            }
            let from = match field {
                Field::Constant(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Field::Text { from, .. } | Field::Uuid { from, .. } | Field::Made { from, .. } => *from,
            };
            let cell = *cells.get(from).ok_or(Odd)?;
            match field {
                Field::Made { column, .. } => self.made(from, *column, cell, out)?,
                _ if cell == b"\\N" => out.extend_from_slice(cell),
                Field::Text { form, clock, .. } => {
                    if *clock && !is_time(cell) {
                        return Err(Odd);
                    }
                    out.extend_from_slice(form.of(cell).ok_or(Odd)?);
                }
                Field::Uuid { of, .. } if is_integer(cell) => of.append(cell, out),
                Field::Uuid { .. } | Field::Constant(_) => return Err(Odd),
            }
        }
        out.push(b'\n');
        Ok(())
    }

    /// What the plan makes of a value.
    fn made(&self, from: usize, column: usize, cell: &[u8], out: &mut Vec<u8>) -> Result<(), Odd> {
        let legacy = from.checked_sub(1).map_or(&self.printed.pair.key, |column| &self.printed.pair.columns[column]);
        let found = match copy::fields(cell).next().flatten() {
            None => Value::Null,
            Some(bytes) => std::str::from_utf8(&bytes).ok().and_then(|text| legacy.read(text).ok()).ok_or(Odd)?,
        };
        let made = self.plan.part(column, &found).map_err(|_| Odd)?;
        copy::field(out, value::write(&self.modern.columns[column].info.kind, &made).map_err(|_| Odd)?.as_deref());
        Ok(())
    }
}

impl Straight for Way {
    fn map(self: Arc<Self>, lines: Lines) -> Result<Mapped, Error> {
        let mut aside = Vec::new();
        let mut out = copy::Pieces::default();
        let mut whole = true;
        // The server never prints such bytes, unless its database says nothing of its encoding.
        let plain = std::str::from_utf8(&lines.text).is_ok() && memchr::memchr(0, &lines.text).is_none();
        let mut last: &[u8] = &[];
        for_each_line(&lines.text, |line, cells| {
            last = line;
            let piece = out.last();
            let before = piece.len();
            if plain && self.line(cells, piece).is_ok() {
                return Ok(());
            }
            piece.truncate(before);
            whole &= self.by_values(line, &mut aside, piece)?.is_ok();
            Ok::<(), Error>(())
        })?;
        let last = self.row(last)?.key;
        let (pair, read) = (self.index, lines.rows);
        // What cannot be written is found when they are written one by one.
        let wire = whole.then(|| out.into_inner());
        Ok(Mapped { read, last, load: Load { pair, rows: LoadRows::Lines(self, lines), wire, copied: None }, aside })
    }

    fn rows(&self, lines: &Lines) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        for_each_line(&lines.text, |line, _| {
            rows.extend(self.plan.into_forward(self.row(line)?).ok());
            Ok::<(), Error>(())
        })?;
        Ok(rows)
    }
}

/// Calls `each` with every line, without its end, and its fields as they stand there.
fn for_each_line<'t, E>(text: &'t [u8], mut each: impl FnMut(&'t [u8], &[&'t [u8]]) -> Result<(), E>) -> Result<(), E> {
    let mut cells: Vec<&[u8]> = Vec::new();
    let (mut line, mut cell) = (0, 0);
    for at in memchr::memchr2_iter(b'\t', b'\n', text) {
        cells.push(&text[cell..at]);
        cell = at + 1;
        if text[at] == b'\n' {
            each(&text[line..at], &cells)?;
            cells.clear();
            line = cell;
        }
    }
    Ok(())
}

/// What is to be done to a text of a column of legacy so that one of such a kind on modern gets what it gets by the value,
/// where that stays as it is; `None`: that has to be found out value by value.
fn form(legacy: &Column, modern: &Kind) -> Option<Form> {
    use Kind::{Bool, Bytes, Char32, Date, Decimal, Enum, Instant, Int, Json, Native, Text, Time, Timestamp, Uuid};
    Some(match (&legacy.info.kind, modern) {
        (Bool, Bool | Int) => Form::Bool,
        (Decimal, Decimal | Text | Char32) => Form::Decimal,
        (Instant, Instant | Timestamp) => Form::Instant,
        (Text | Char32, Text | Char32 | Native(_)) if legacy.padded => Form::Padded,
        (Text | Char32, Text | Char32 | Native(_))
        | (Int, Int)
        | (Bytes, Bytes)
        | (Date, Date | Text | Char32)
        | (Time, Time)
        | (Timestamp, Timestamp | Instant)
        | (Uuid, Uuid | Text)
        | (Json, Json | Text | Char32)
        | (Enum(_), Enum(_) | Text | Char32)
        | (Native(_), Native(_) | Text | Char32) => Form::Same,
        _ => return None,
    })
}

/// Whether an integer's text is what a column of such a kind gets of its digits.
fn has_digits(legacy: &Column, modern: &Kind) -> bool {
    legacy.info.kind == Kind::Int && matches!(modern, Kind::Text | Kind::Char32 | Kind::Decimal)
}

impl Form {
    /// The canonical text; `None`: the server does not print such.
    fn of(self, cell: &[u8]) -> Option<&[u8]> {
        match self {
            Form::Same => Some(cell),
            Form::Bool => match cell {
                b"t" => Some(b"1"),
                b"f" => Some(b"0"),
                _ => None,
            },
            Form::Decimal => Some(match memchr::memchr(b'.', cell) {
                Some(_) => trimmed(trimmed(cell, b'0'), b'.'),
                None => cell,
            }),
            // Years before Christ have more behind it.
            Form::Instant => cell.strip_suffix(b"+00").or_else(|| cell.ends_with(b"infinity").then_some(cell)),
            Form::Padded => Some(trimmed(cell, b' ')),
        }
    }
}

/// Without all of these at its end.
fn trimmed(text: &[u8], end: u8) -> &[u8] {
    &text[..text.iter().rposition(|byte| *byte != end).map_or(0, |at| at + 1)]
}

/// Whether a text begins like a date or a time, and is no zero date.
fn is_time(cell: &[u8]) -> bool {
    cell.first().is_some_and(u8::is_ascii_digit) && !cell.starts_with(b"0000") || matches!(cell, b"infinity" | b"-infinity")
}

/// Whether a text is the one spelling of an integer that surely has no more than 64 bits.
fn is_integer(cell: &[u8]) -> bool {
    let digits = cell.strip_prefix(b"-").unwrap_or(cell);
    digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit) && digits.first().is_some_and(|first| *first != b'0' || cell.len() == 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
