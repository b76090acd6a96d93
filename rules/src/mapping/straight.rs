//! What of a plan can be done to values without taking them apart: for an engine that has the same text for a value on both
//! sides. Says what becomes of a column; which texts are the same is the engine's business.

use uuid::Uuid;

use crate::mapping::Value;
use crate::mapping::plan::{Form, Place, Plan, RowError, Rule};

/// What a modern column is made of. Places are those in a line of the legacy row: 0 is the key, its columns follow.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// The value at that place, in the same canonical form; but for zero dates, of which [`Plan::part`] knows.
    Same(usize),
    /// The integer at that place, as its digits.
    Digits(usize),
    /// A UUID of the integer at that place: lower case with hyphens.
    Uuid(usize, UuidOf),
    /// What [`Plan::part`] makes of the value at that place.
    Made(usize),
    /// The same in every row.
    Constant(Value),
}

/// Makes UUIDs of the integers of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UuidOf(Uuid);

impl UuidOf {
    /// Appends the UUID of an integer that is given as its decimal digits.
    pub fn append(self, digits: &[u8], text: &mut Vec<u8>) {
        let mut written = Uuid::encode_buffer();
        text.extend_from_slice(Uuid::new_v5(&self.0, digits).hyphenated().encode_lower(&mut written).as_bytes());
    }
}

impl Plan {
    /// What the modern columns are made of, in their order; `None`: some of several values, or of parts of one.
    pub fn parts(&self) -> Option<Vec<Part>> {
        let from = |place: &Place| match place {
            Place::Key => 0,
            Place::Column(index) => index + 1,
        };
        let part = |rule: &Rule| match rule {
            Rule::Copy(place, cast) => Some(if cast.keeps() {
                Part::Same(from(place))
            } else if cast.is_digits() {
                Part::Digits(from(place))
            } else {
                Part::Made(from(place))
            }),
            Rule::Map { from: place, .. } => Some(Part::Made(from(place))),
            Rule::Uuid { from: place, namespace, form: Form::Text, .. } => Some(Part::Uuid(from(place), UuidOf(*namespace))),
            Rule::Uuid { from: place, .. } => Some(Part::Made(from(place))),
            Rule::Constant(value) => Some(Part::Constant(value.clone())),
            Rule::Pack(_) | Rule::Unpack { .. } => None,
        };
        self.rules.iter().map(part).collect()
    }

    /// One modern value, of the legacy value that it is made of.
    ///
    /// # Errors
    /// As [`Plan::forward`].
    pub fn part(&self, column: usize, value: &Value) -> Result<Value, RowError> {
        self.make(&self.rules[column], &self.modern.columns[column], &|_| value, &[])
    }
}
