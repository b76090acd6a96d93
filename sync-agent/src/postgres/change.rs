//! From a row of the log to what it means for the pairs: which keys were touched, and with which image. Pure.
//!
//! Images stay in the message that brought them; most are superseded by a newer one before anybody reads them.

use std::sync::Arc;

use bytes::Bytes;
use ficus_rules::mapping::Value;

use super::parts::Pair;
use super::pgoutput::{Cell, Old, Relation, Tuple};
use super::schema::Column;
use super::value::Reason;

/// A key that can be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Number(i64),
    Text(String),
}

impl Key {
    /// The key of a value, if it can be one.
    pub(super) fn of(value: &Value) -> Option<Key> {
        match value {
            Value::Int(number) => Some(Key::Number(*number)),
            Value::Text(text) => Some(Key::Text(text.clone())),
            Value::Null | Value::Real(_) | Value::Blob(_) => None,
        }
    }

    pub(super) fn value(&self) -> Value {
        match self {
            Key::Number(number) => Value::Int(*number),
            Key::Text(text) => Value::Text(text.clone()),
        }
    }
}

/// What one change means for one pair.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// The row of a key is as in the image; without one it is gone. `born`: it was not there before.
    Row { pair: usize, key: Key, image: Option<Image>, born: bool },
    /// The row of a key is to be looked at.
    Touched { pair: usize, key: Key },
    /// The log does not say which rows: the table was emptied, or its replica identity was not the agent's.
    Unreadable { pair: usize },
}

/// A row, where its message has it.
#[derive(Debug, Clone)]
pub(super) struct Image {
    message: Bytes,
    new: Tuple,
    old: Option<Tuple>,
    places: Arc<Places>,
}

/// An image over those before it that may have what it lacks.
#[derive(Debug)]
pub(super) struct Layers<'i> {
    top: &'i Image,
    under: Option<Box<Layers<'i>>>,
}

/// Where a relation has the columns of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pair: usize,
    key: Option<usize>,
    /// The key is part of the replica identity, and all that is.
    identified: bool,
    columns: Vec<Option<usize>>,
    filters: Vec<Option<usize>>,
}

impl Places {
    pub(super) fn pair(&self) -> usize {
        self.pair
    }

    pub(super) fn new(index: usize, pair: &Pair, relation: &Relation) -> Places {
        let place = |name: &String| relation.columns.iter().position(|column| column.name == *name);
        let key = place(&pair.shape.key);
        let identity = relation.columns.iter().filter(|column| column.key).count();
        Places {
            pair: index,
            key,
            identified: identity == 1 && key.is_some_and(|key| relation.columns[key].key) && pair.filters.is_empty(),
            columns: pair.shape.columns.iter().map(place).collect(),
            filters: pair.filters.iter().map(|filter| place(&filter.column)).collect(),
        }
    }
}

/// A row of the log, beside the pair that it may belong to.
pub(super) struct Seen<'a> {
    pub(super) message: &'a Bytes,
    pub(super) pair: &'a Pair,
    pub(super) places: &'a Arc<Places>,
}

/// A column whose text cannot be read.
pub(super) type Unfit = (String, Reason);

impl Seen<'_> {
    pub(super) fn inserted(&self, new: Tuple, entries: &mut Vec<Entry>) -> Result<(), Unfit> {
        if self.belongs(&new, None) {
            let key = self.key(&new)?;
            self.push(key, Some((new, None)), entries);
            if let Some(Entry::Row { born, .. }) = entries.last_mut() {
                *born = true;
            }
        }
        Ok(())
    }

    pub(super) fn deleted(&self, old: &Old, entries: &mut Vec<Entry>) -> Result<(), Unfit> {
        match old {
            Old::Full(old) if self.belongs(old, None) => self.push(self.key(old)?, None, entries),
            Old::Full(_) => {}
            Old::Key(old) if self.places.identified => self.push(self.key(old)?, None, entries),
            Old::Key(_) => entries.push(Entry::Unreadable { pair: self.places.pair }),
        }
        Ok(())
    }

    pub(super) fn updated(&self, old: Option<Old>, new: Tuple, entries: &mut Vec<Entry>) -> Result<(), Unfit> {
        let old = match old {
            Some(Old::Full(old)) => old,
            Some(Old::Key(_)) | None if !self.places.identified => {
                // What the row was called before is not known.
                entries.push(Entry::Unreadable { pair: self.places.pair });
                return Ok(());
            }
            Some(Old::Key(old)) => {
                self.push(self.key(&old)?, None, entries);
                self.push(self.key(&new)?, Some((new, None)), entries);
                return Ok(());
            }
            None => {
                self.push(self.key(&new)?, Some((new, None)), entries);
                return Ok(());
            }
        };
        let (was, is) = (self.belongs(&old, None), self.belongs(&new, Some(&old)));
        let key = match self.cell(&new, self.places.key) {
            Cell::Unchanged => self.key(&old)?,
            _ => self.key(&new)?,
        };
        let before = if was { self.key(&old)? } else { None };
        let renamed = was && before != key;
        if was && (renamed || !is) {
            self.push(before, None, entries);
        }
        if is && (!was || renamed || self.differs(&old, &new)) {
            self.push(key, Some((new, Some(old))), entries);
        }
        Ok(())
    }

    fn push(&self, key: Option<Key>, image: Option<(Tuple, Option<Tuple>)>, entries: &mut Vec<Entry>) {
        let Some(key) = key else { return };
        let image = image.map(|(new, old)| {
            let old = old.filter(|_| new.0.contains(&Cell::Unchanged));
            Image { message: self.message.clone(), new, old, places: Arc::clone(self.places) }
        });
        entries.push(Entry::Row { pair: self.places.pair, key, image, born: false });
    }

    fn cell(&self, tuple: &Tuple, place: Option<usize>) -> Cell {
        place.map_or(Cell::Unchanged, |place| tuple.cell(place))
    }

    fn text(&self, tuple: &Tuple, place: Option<usize>) -> Option<&str> {
        self.cell(tuple, place).text(self.message).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// `None`: NULL, so that nothing correlates the row.
    fn key(&self, tuple: &Tuple) -> Result<Option<Key>, Unfit> {
        let Some(text) = self.text(tuple, self.places.key) else { return Ok(None) };
        let unfit = |reason| (self.pair.shape.key.clone(), reason);
        Ok(Key::of(&self.pair.key.read(text).map_err(unfit)?))
    }

    fn belongs(&self, tuple: &Tuple, before: Option<&Tuple>) -> bool {
        self.pair.filters.iter().zip(&self.places.filters).all(|(filter, place)| match (self.cell(tuple, *place), before) {
            (Cell::Unchanged, Some(before)) => filter.holds(self.text(before, *place)),
            _ => filter.holds(self.text(tuple, *place)),
        })
    }

    /// Whether a mapped column has another value.
    fn differs(&self, old: &Tuple, new: &Tuple) -> bool {
        self.places.columns.iter().any(|place| match self.cell(new, *place) {
            Cell::Unchanged => false,
            cell => {
                cell.text(self.message) != self.cell(old, *place).text(self.message)
                    || (cell == Cell::Null) != (self.cell(old, *place) == Cell::Null)
            }
        })
    }
}

impl<'i> Layers<'i> {
    /// A newer image of the row whose image so far was `under`.
    pub(super) fn new(top: &'i Image, under: Option<Layers<'i>>) -> Layers<'i> {
        let lacks = top.old.is_none() && top.new.0.contains(&Cell::Unchanged);
        Layers { top, under: under.filter(|_| lacks).map(Box::new) }
    }

    /// The values of the pair's columns; `None` for one that the log does not have.
    pub(super) fn values(&self, columns: &[Column]) -> Result<Vec<Option<Value>>, Unfit> {
        columns.iter().enumerate().map(|(index, column)| self.value(index, column)).collect()
    }

    fn value(&self, index: usize, column: &Column) -> Result<Option<Value>, Unfit> {
        let top = self.top;
        let Some(place) = top.places.columns.get(index).copied().flatten() else { return Ok(None) };
        let mut cell = top.new.cell(place);
        if let (Cell::Unchanged, Some(old)) = (cell, &top.old) {
            cell = old.cell(place);
        }
        let unfit = |reason| (column.info.name.clone(), reason);
        match cell {
            Cell::Null => Ok(Some(Value::Null)),
            Cell::Unchanged => self.under.as_ref().map_or(Ok(None), |under| under.value(index, column)),
            Cell::Text { .. } => {
                let text = cell.text(&top.message).and_then(|bytes| std::str::from_utf8(bytes).ok());
                let text = text.ok_or_else(|| unfit("holds bytes that are no UTF-8"))?;
                column.read(text).map(Some).map_err(unfit)
            }
        }
    }
}
