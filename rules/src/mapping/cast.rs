//! What happens to a value between two columns of different kinds: decided once per pair of columns, both ways at once.
//! There and back is the identity, or the row is set aside; what is lost in spite of that is a [`Loss`], known before the
//! first row. Equal kinds cost nothing.

mod clock;
mod decimal;
mod json;
mod loose;
mod step;
#[cfg(test)]
mod tests;
mod uuid;
mod zero;

use jiff::tz::TimeZone;

pub(super) use self::clock::{now, zone};
pub(super) use self::loose::{read, write};
use self::step::{Step, between};
use self::zero::Zero;
use crate::Side;
use crate::mapping::plan::canonical_integer;
use crate::mapping::{Kind, Value, ZeroDates};

/// Why a value has no counterpart: ends the sentence that begins with the column. Names no value.
pub(super) type Why = &'static str;

/// Both ways between a legacy and a modern column.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Cast {
    there: Vec<Step>,
    back: Vec<Step>,
    /// Of this kind a value may have several spellings; compared are the values.
    spelled: Option<Kind>,
    zero: Option<Zero>,
}

/// Something that does not survive the way between the two sides, or a row that does not fit there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of {table}: to {to}, {what}")]
pub struct Loss {
    /// The modern table.
    pub table: String,
    /// The modern column.
    pub column: String,
    /// The side that a value is on its way to.
    pub to: Side,
    /// What does not fit (such rows are set aside), or is not kept.
    pub what: String,
}

/// The name of a JSON document, equal for all that say the same.
pub(super) fn document(text: &str) -> Option<String> {
    json::identity(text)
}

/// Whether values get from a legacy column to a modern one and back; an error is the remedy.
pub(crate) fn castable(legacy: &Kind, modern: &Kind) -> Result<(), &'static str> {
    Cast::between(legacy, modern, None).map(drop)
}

/// Whether a text is a date.
pub(crate) fn is_date(text: &str) -> bool {
    text.len() == 10 && clock::date(text).is_some()
}

/// Whether there is a zone of that name.
pub(crate) fn is_zone(name: &str) -> bool {
    zone(name).is_some()
}

impl Cast {
    /// The cast of a pair of columns; an error is the remedy. `zone` is what the clocks behind timestamps without a zone
    /// show; none: UTC.
    pub(super) fn between(legacy: &Kind, modern: &Kind, zone: Option<&TimeZone>) -> Result<Cast, &'static str> {
        if free(legacy) && free(modern) && zone.is_none() {
            return Ok(Cast::default());
        }
        let (legacy, modern) = (End::of(legacy, modern), End::of(modern, legacy));
        if zone.is_some() {
            zoned(&legacy.kind, &modern.kind)?;
        }
        let clocks = Clocks::of(&legacy.kind, &modern.kind, zone);
        let way = |from: (&End, Option<&TimeZone>), to: (&End, Option<&TimeZone>)| {
            let read = from.0.free.then(|| match from.0.kind {
                Kind::Timestamp => Step::TextToTimestamp(from.1.cloned()),
                _ if from.0.declared => Step::Read(Kind::Loose(Box::new(from.0.kind.clone()))),
                _ => Step::Read(from.0.kind.clone()),
            });
            let steps = clocks.path(from, to).ok_or_else(|| remedy(&legacy.kind, &modern.kind))?;
            let mut steps: Vec<Step> = read.into_iter().chain(steps).collect();
            match to.0 {
                End { kind: Kind::Decimal, free: true, declared: false, .. } => steps.push(Step::Write(Kind::Any)),
                End { kind, free: true, .. } if loose::writes(kind) => steps.push(Step::Write(kind.clone())),
                End { single: true, .. } if from.0.kind == Kind::Real && !from.0.single => steps.push(Step::RealToSingle),
                _ => {}
            }
            Ok::<_, &'static str>(steps)
        };
        let (legacy, modern) = ((&legacy, clocks.legacy), (&modern, clocks.modern));
        Ok(Cast { there: way(legacy, modern)?, back: way(modern, legacy)?, spelled: spelled(&legacy.0.kind, modern.0), zero: None })
    }

    /// The same with what becomes of zero dates; `legacy` is the kind and whether NULL may stand there.
    pub(super) fn with_zero_dates(mut self, policy: &ZeroDates, legacy: (&Kind, bool)) -> Cast {
        self.zero = Zero::of(policy, legacy);
        self
    }

    /// What a legacy value is on modern.
    pub(super) fn there(&self, value: &Value) -> Result<Value, Why> {
        match self.zero.as_ref().and_then(|zero| zero.there(value)) {
            Some(stands_for_it) => walk(&self.there, &stands_for_it?),
            None => walk(&self.there, value),
        }
    }

    /// Whether a legacy value is the same on modern.
    pub(super) fn is_nothing(&self) -> bool {
        self.there.is_empty() && self.zero.is_none()
    }

    /// Whether a legacy value that is no zero date is the same on modern.
    pub(super) fn keeps(&self) -> bool {
        self.there.is_empty()
    }

    /// Whether a legacy integer becomes its digits.
    pub(super) fn is_digits(&self) -> bool {
        self.zero.is_none() && matches!(self.there[..], [Step::IntToText | Step::IntToDecimal])
    }

    /// What a modern value is on legacy.
    pub(super) fn back(&self, value: &Value) -> Result<Value, Why> {
        let legacy = walk(&self.back, value)?;
        match &self.zero {
            Some(zero) => zero.back(legacy),
            None => Ok(legacy),
        }
    }

    /// The one form of all modern values that mean the same; `None`: it is in it.
    pub(super) fn canonical(&self, value: &Value) -> Option<Value> {
        let returned =
            if self.back.is_empty() && self.there.is_empty() { None } else { self.back(value).and_then(|legacy| self.there(&legacy)).ok() };
        let Some(kind) = &self.spelled else { return returned };
        let value = returned.as_ref().unwrap_or(value);
        match (kind, value) {
            (Kind::Json, Value::Text(document)) => json::identity(document).map(Value::Text),
            (Kind::Json, _) => None,
            _ => loose::read(value, kind).ok(),
        }
        .or(returned)
    }

    /// What does not survive, by the side that it would go to.
    pub(super) fn losses(&self) -> impl Iterator<Item = (Side, String)> {
        let of = |steps: &[Step], to| steps.iter().filter_map(Step::caveat).map(move |what| (to, what)).collect::<Vec<_>>();
        let zero = self.zero.iter().filter_map(Zero::caveat).map(|what| (Side::Modern, what));
        of(&self.there, Side::Modern).into_iter().chain(zero).chain(of(&self.back, Side::Legacy))
    }
}

/// A literal of a rule file as a value of a column; `None`: no such value fits there.
pub(super) fn literal(value: &Value, kind: &Kind) -> Option<Value> {
    let Kind::Loose(declared) = kind else { return loose::read(value, kind).ok() };
    // Where nothing is enforced, any value may be meant.
    let stored = loose::read(value, declared).and_then(|value| loose::write(&value, declared));
    Some(stored.unwrap_or_else(|_| value.clone()))
}

/// Whether a key of one kind is the same value as a key of the other, in the same order: nothing is cast in keys.
pub(super) fn same_key(legacy: &Kind, modern: &Kind) -> bool {
    let carried = |kind: &Kind| match bare(kind) {
        Kind::Char32 => Kind::Text,
        kind => kind,
    };
    let (one, other) = (carried(legacy), carried(modern));
    free(legacy) && free(modern) || one == other || one == Kind::Any || other == Kind::Any
}

/// Nobody enforces it.
fn free(kind: &Kind) -> bool {
    matches!(kind, Kind::Any | Kind::Loose(_))
}

/// What it is declared to be; how much of a number it keeps is not asked.
pub(super) fn bare(kind: &Kind) -> Kind {
    match kind {
        Kind::Loose(kind) => bare(kind),
        Kind::Single => Kind::Real,
        kind => kind.clone(),
    }
}

/// One end of a cast: the kind that its values have, or are taken to have.
struct End {
    kind: Kind,
    /// Nobody enforces it.
    free: bool,
    /// Somebody said it at least.
    declared: bool,
    /// It keeps 32 bits of a number.
    single: bool,
}

impl End {
    /// A column that promises nothing is taken for one of the kind of the other.
    fn of(kind: &Kind, other: &Kind) -> End {
        match kind {
            Kind::Any => End { kind: bare(other), free: true, declared: false, single: false },
            kind => End { kind: bare(kind), free: free(kind), declared: true, single: *kind == Kind::Single },
        }
    }
}

/// Whose clocks a side's times without a zone show; none: UTC.
struct Clocks<'a> {
    legacy: Option<&'a TimeZone>,
    modern: Option<&'a TimeZone>,
}

impl<'a> Clocks<'a> {
    /// The side whose type has no zone shows the clocks of the named one. If neither has, modern is in UTC.
    fn of(legacy: &Kind, modern: &Kind, zone: Option<&'a TimeZone>) -> Clocks<'a> {
        match (legacy, modern) {
            (Kind::Instant, _) => Clocks { legacy: None, modern: zone },
            _ => Clocks { legacy: zone, modern: None },
        }
    }

    fn path(&self, (from, here): (&End, Option<&TimeZone>), (to, there): (&End, Option<&TimeZone>)) -> Option<Vec<Step>> {
        if self.legacy.is_none() && self.modern.is_none() {
            return between(&from.kind, &to.kind, None);
        }
        let instant = |kind: &Kind, zone: Option<&TimeZone>| match (kind, zone) {
            (Kind::Timestamp, None) => Kind::Instant,
            (kind, _) => kind.clone(),
        };
        let (first, last) = (instant(&from.kind, here), instant(&to.kind, there));
        Some([between(&first, &Kind::Instant, here)?, between(&Kind::Instant, &last, there)?].concat())
    }
}

/// Whether a zone has a meaning between two kinds; an error is the remedy.
fn zoned(legacy: &Kind, modern: &Kind) -> Result<(), &'static str> {
    let time = |kind: &Kind| matches!(kind, Kind::Timestamp | Kind::Instant | Kind::Text | Kind::Date);
    match (legacy, modern) {
        (Kind::Instant, Kind::Instant) => Err("both sides know when it was: remove `zone`"),
        (one, other) if time(one) && time(other) => Ok(()),
        _ => Err("only times have a `zone`: remove it"),
    }
}

/// The kind whose spellings a modern value may have although it is the same.
fn spelled(legacy: &Kind, modern: &End) -> Option<Kind> {
    if *legacy == Kind::Json || modern.kind == Kind::Json {
        return Some(Kind::Json);
    }
    let several = matches!(modern.kind, Kind::Decimal | Kind::Uuid | Kind::Date | Kind::Time | Kind::Timestamp | Kind::Instant);
    (several && !modern.free).then(|| modern.kind.clone())
}

fn walk(steps: &[Step], value: &Value) -> Result<Value, Why> {
    let Some((first, rest)) = steps.split_first().filter(|_| *value != Value::Null) else {
        return Ok(value.clone());
    };
    rest.iter().try_fold(first.run(value)?, |value, step| step.run(&value))
}

/// What to do about two kinds that no cast connects.
fn remedy(legacy: &Kind, modern: &Kind) -> &'static str {
    use Kind::{Bool, Date, Enum, Instant, Int, Native, Real, Text, Timestamp, Uuid};
    match (legacy, modern) {
        (Int, Uuid) => "make the uuid of the integer with `as = \"uuid5\"`",
        (Bool | Int, Text | Enum(_)) | (Text | Enum(_), Bool) | (Enum(_), Int) => {
            "say which value becomes which: { from = \"…\", map = { 0 = \"…\", 1 = \"…\" } }"
        }
        (Int | Real, Date | Timestamp | Instant) | (Date | Timestamp | Instant, Int | Real) => {
            "give both sides a type for times: a number does not say what it counts"
        }
        (Native(_), _) | (_, Native(_)) => "give modern the same type, or text",
        _ => "change the type of one of them, or leave both out with keep_legacy and keep_modern",
    }
}
