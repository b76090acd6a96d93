//! A compiled table pair: the shape of both tables, and rows from one shape to the other. Knows no database: an engine
//! reads rows in a [`Shape`] and writes them.

use crate::mapping::cast::{self, Cast, Loss, Why};
use crate::mapping::pack::{self, Field};
use crate::mapping::rows::Graves;
use uuid::Uuid;

use crate::event::EventPlan;

use crate::mapping::{Value, uuid_in};

/// How one pair of tables is read, written and mapped. Made by [`super::compile()`].
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The capability; part of every UUID's namespace.
    pub capability: String,
    /// The name of the pair: the legacy table.
    pub pair: String,
    /// The legacy table.
    pub legacy: Shape,
    /// The modern table.
    pub modern: Shape,
    /// The table on modern whose sequence gives out legacy keys.
    pub sequence: Option<String>,
    /// What does not survive the way to the other side, column by column.
    pub losses: Vec<Loss>,
    /// Whom its changes are told.
    pub events: Vec<EventPlan>,
    pub(super) rules: Vec<Rule>,
    /// Columns of legacy, by index, that have one value.
    pub(super) fixed: Vec<(usize, Value)>,
    pub(super) graves: Graves,
    pub(super) documents: Vec<Document>,
    /// By rule: the legacy column whose value it hands on as it is, unless another rule does.
    pub(super) moved: Vec<Option<usize>>,
}

/// What is read and written of one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The table.
    pub table: String,
    /// The column that holds the legacy key.
    pub key: String,
    /// The columns that are written, without the key; a row that is read begins with them.
    pub columns: Vec<String>,
    /// What a row that is read has after them.
    pub lookups: Vec<Lookup>,
    /// What holds for every row of the pair, beside the columns that are read and written anyway. A row for which it does
    /// not hold is none of the pair: one that stops fulfilling it has left, like one that was deleted.
    pub filter: Vec<(String, Value)>,
}

/// The kept key of the row that a column references:
/// `SELECT key FROM table WHERE id = <column of the row>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The referencing column.
    pub column: String,
    /// The referenced table.
    pub table: String,
    /// Its column that the reference holds.
    pub id: String,
    /// Its column that keeps the legacy key.
    pub key: String,
}

/// A row in a [`Shape`]: the key, and the values of its columns (when read: and of its lookups).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The legacy key.
    pub key: Value,
    /// In the order of the shape.
    pub values: Vec<Value>,
}

impl Row {
    /// Bytes of its texts and blobs.
    pub fn bytes(&self) -> usize {
        let of = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            _ => 0,
        };
        self.values.iter().map(of).sum()
    }
}

/// Why a row has no counterpart. Names columns, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The table of values does not list it.
    #[error("column {column}: the value is not in its map; add it to the map in the rule file")]
    Unmapped {
        /// The column.
        column: String,
    },
    /// A UUID is made of integers only.
    #[error("column {column}: not an integer, so it has no uuid")]
    NotAnInteger {
        /// The column.
        column: String,
    },
    /// The referenced row is missing.
    #[error("column {column}: refers to a row that does not exist")]
    Dangling {
        /// The column.
        column: String,
    },
    /// The value cannot be one of the other column's kind.
    #[error("column {column}: {why}")]
    Unfit {
        /// The column.
        column: String,
        /// What it is instead.
        why: Why,
    },
    /// The UUID is not the one that the kept key gives.
    #[error("column {column}: the uuid is not the one of its kept legacy key")]
    ForeignUuid {
        /// The column.
        column: String,
    },
}

/// Where in a legacy row a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Key,
    Column(usize),
}

/// What [`Plan::moved`] says. Everything else is made before anything is moved, so that a column may be read by others.
pub(super) fn moved(rules: &[Rule]) -> Vec<Option<usize>> {
    let mut taken = Vec::new();
    let each = rules.iter().map(|rule| match rule {
        Rule::Copy(Place::Column(from), cast) if cast.is_nothing() && !taken.contains(from) => {
            taken.push(*from);
            Some(*from)
        }
        _ => None,
    });
    each.collect()
}

/// How the modern column of the same index is made, and unmade.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    Copy(Place, Cast),
    Map {
        from: Place,
        values: Vec<(Value, Value)>,
    },
    /// `lookup` is the index among the lookups; the key needs none.
    Uuid {
        from: Place,
        namespace: Uuid,
        lookup: Option<usize>,
        form: Form,
    },
    Constant(Value),
    /// A document of these.
    Pack(Vec<(Place, Field)>),
    /// One of the fields of the document of that index.
    Unpack {
        document: usize,
        field: usize,
    },
}

/// A legacy column whose document's fields are modern columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    pub(super) from: Place,
    /// Each with the index of its modern column.
    pub(super) fields: Vec<(usize, Field)>,
    /// A row cannot be written with NULL there.
    pub(super) required: bool,
}

/// How a column keeps a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lower case with hyphens.
    Text,
    /// Lower case without.
    Hex,
    /// 16 bytes.
    Bytes,
}

impl Plan {
    /// The modern row of a legacy row.
    ///
    /// # Errors
    /// When a value has no counterpart.
    pub fn forward(&self, row: &Row) -> Result<Row, RowError> {
        let value = |place: &Place| match place {
            Place::Key => &row.key,
            Place::Column(index) => &row.values[*index],
        };
        let unpacked = self.unpack(&value)?;
        let mut values = Vec::with_capacity(self.rules.len());
        for (rule, column) in self.rules.iter().zip(&self.modern.columns) {
            values.push(self.make(rule, column, &value, &unpacked)?);
        }
        Ok(Row { key: row.key.clone(), values })
    }

    /// As [`Plan::forward`], of a row that nobody needs any more: what stays as it is, is not copied.
    ///
    /// # Errors
    /// When a value has no counterpart; the row comes back as it was.
    pub fn into_forward(&self, mut row: Row) -> Result<Row, (Row, RowError)> {
        let mut values = match self.made(&row) {
            Ok(values) => values,
            Err(error) => return Err((row, error)),
        };
        for (value, from) in values.iter_mut().zip(&self.moved) {
            if let Some(from) = from {
                *value = std::mem::replace(&mut row.values[*from], Value::Null);
            }
        }
        Ok(Row { key: row.key, values })
    }

    /// The modern values but for those that are moved.
    fn made(&self, row: &Row) -> Result<Vec<Value>, RowError> {
        let value = |place: &Place| match place {
            Place::Key => &row.key,
            Place::Column(index) => &row.values[*index],
        };
        let unpacked = self.unpack(&value)?;
        let mut values = Vec::with_capacity(self.rules.len());
        for ((rule, moved), column) in self.rules.iter().zip(&self.moved).zip(&self.modern.columns) {
            values.push(if moved.is_some() { Value::Null } else { self.make(rule, column, &value, &unpacked)? });
        }
        Ok(values)
    }

    /// One modern value.
    #[inline]
    pub(super) fn make<'r>(
        &self,
        rule: &Rule,
        column: &str,
        value: &impl Fn(&Place) -> &'r Value,
        unpacked: &[Vec<Value>],
    ) -> Result<Value, RowError> {
        Ok(match rule {
            Rule::Copy(from, cast) => cast.there(value(from)).map_err(unfit(column))?,
            Rule::Constant(constant) => constant.clone(),
            Rule::Pack(fields) => {
                let fields = fields.iter().map(|(from, field)| (field, value(from)));
                pack::document(fields, false).map_err(|(_, why)| unfit(column)(why))?
            }
            Rule::Unpack { document, field } => unpacked[*document][*field].clone(),
            Rule::Map { from, values } => translate(value(from), values.iter().map(|(legacy, modern)| (legacy, modern)), column)?,
            Rule::Uuid { from, namespace, form, .. } => match value(from) {
                Value::Null => Value::Null,
                Value::Int(id) => uuid(namespace, *id, *form),
                _ => return Err(RowError::NotAnInteger { column: column.to_owned() }),
            },
        })
    }

    /// The legacy row of a modern row that was read with its lookups.
    ///
    /// # Errors
    /// When a value has no counterpart, or a UUID contradicts its key.
    pub fn back(&self, row: &Row) -> Result<Row, RowError> {
        let mut values = vec![Value::Null; self.legacy.columns.len()];
        for (at, value) in &self.fixed {
            values[*at] = value.clone();
        }
        for (index, (rule, column)) in self.rules.iter().zip(&self.modern.columns).enumerate() {
            let modern = &row.values[index];
            let (place, legacy) = match rule {
                Rule::Constant(_) | Rule::Unpack { .. } => continue,
                Rule::Pack(fields) => {
                    let known: Vec<&Field> = fields.iter().map(|(_, field)| field).collect();
                    let columns = pack::columns(modern, &known).map_err(unfit(column))?;
                    for ((from, _), value) in fields.iter().zip(columns) {
                        if let Place::Column(at) = from {
                            values[*at] = value;
                        }
                    }
                    continue;
                }
                Rule::Copy(from, cast) => (from, cast.back(modern).map_err(unfit(column))?),
                Rule::Map { from, values } => (from, translate(modern, values.iter().map(|(legacy, modern)| (modern, legacy)), column)?),
                Rule::Uuid { from, namespace, lookup, form } => {
                    let id = match lookup {
                        Some(lookup) => &row.values[self.modern.columns.len() + lookup],
                        None => &row.key,
                    };
                    (from, integer(namespace, *form, modern, id, column)?)
                }
            };
            if let Place::Column(at) = place {
                values[*at] = legacy;
            }
        }
        for Document { from, fields, required } in &self.documents {
            let nothing = !required && fields.iter().all(|(column, _)| row.values[*column] == Value::Null);
            if let (Place::Column(at), false) = (from, nothing) {
                let fields = fields.iter().map(|(column, field)| (field, &row.values[*column]));
                values[*at] = pack::document(fields, true).map_err(|(field, why)| unfit(field)(why))?;
            }
        }
        Ok(Row { key: row.key.clone(), values })
    }

    /// The first modern column in which two canonical modern rows differ.
    pub fn differing_column(&self, one: &Row, other: &Row) -> Option<&str> {
        let columns = self.modern.columns.iter().enumerate();
        columns.filter(|(index, _)| !same(&one.values[*index], &other.values[*index])).map(|(_, name)| name.as_str()).next()
    }

    /// A modern row in the one form of all rows that mean the same: [`same`] and hashes compare rows in it.
    pub fn canonical(&self, mut row: Row) -> Row {
        for (rule, value) in self.rules.iter().zip(&mut row.values) {
            let canonical = match rule {
                Rule::Copy(_, cast) => cast.canonical(value),
                Rule::Pack(fields) => canonical_document(fields, value),
                Rule::Unpack { document, field } => self.documents[*document].fields[*field].1.canonical(value),
                Rule::Map { .. } | Rule::Uuid { .. } | Rule::Constant(_) => None,
            };
            if let Some(canonical) = canonical {
                *value = canonical;
            }
        }
        row
    }

    /// The fields of all documents of a legacy row.
    pub(super) fn unpack<'r>(&self, value: &impl Fn(&Place) -> &'r Value) -> Result<Vec<Vec<Value>>, RowError> {
        let fields = |document: &Document| {
            let known: Vec<&Field> = document.fields.iter().map(|(_, field)| field).collect();
            let first = document.fields.first().map_or("", |(column, _)| &self.modern.columns[*column]);
            pack::columns(value(&document.from), &known).map_err(unfit(first))
        };
        self.documents.iter().map(fields).collect()
    }
}

pub(crate) fn uuid(namespace: &Uuid, id: i64, form: Form) -> Value {
    let uuid = uuid_in(namespace, id);
    match form {
        Form::Text => Value::Text(uuid.to_string()),
        Form::Hex => Value::Text(uuid.simple().to_string()),
        Form::Bytes => Value::Blob(uuid.as_bytes().to_vec()),
    }
}

fn integer(namespace: &Uuid, form: Form, found: &Value, id: &Value, column: &str) -> Result<Value, RowError> {
    match (found, id) {
        (Value::Null, _) => Ok(Value::Null),
        (_, Value::Int(number)) if *found == uuid(namespace, *number, form) => Ok(id.clone()),
        (_, Value::Int(_)) => Err(RowError::ForeignUuid { column: column.to_owned() }),
        _ => Err(RowError::Dangling { column: column.to_owned() }),
    }
}

/// A packed document as it would be packed again; without all keys it is the same as with NULL under those that it lacks.
fn canonical_document(fields: &[(Place, Field)], value: &Value) -> Option<Value> {
    let known: Vec<&Field> = fields.iter().map(|(_, field)| field).collect();
    let columns = pack::columns(value, &known).ok()?;
    let again = pack::document(known.into_iter().zip(&columns), false).ok()?;
    match &again {
        Value::Text(text) => cast::document(text).map(Value::Text),
        _ => None,
    }
}

fn unfit(column: &str) -> impl Fn(Why) -> RowError {
    move |why| RowError::Unfit { column: column.to_owned(), why }
}

/// Whether two values mean the same: a whole number is equal to itself with a fraction of zero, because a column's
/// affinity may store it either way.
pub fn same(one: &Value, other: &Value) -> bool {
    canonical_integer(one).map_or_else(|| one == other, |a| canonical_integer(other) == Some(a))
}

/// The integer that a number stands for, if it is a whole one.
#[allow(clippy::cast_possible_truncation, reason = "only what is exact is cast")]
pub fn canonical_integer(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Int(number) => Some(*number),
        Value::Real(number) if number.fract() == 0.0 && number.abs() < EXACT => Some(*number as i64),
        _ => None,
    }
}

fn translate<'a>(value: &Value, mut pairs: impl Iterator<Item = (&'a Value, &'a Value)>, column: &str) -> Result<Value, RowError> {
    match pairs.find(|(from, _)| same(from, value)) {
        Some((_, to)) => Ok(to.clone()),
        None if *value == Value::Null => Ok(Value::Null),
        None => Err(RowError::Unmapped { column: column.to_owned() }),
    }
}
