//! What a column holds, in words that all engines share, and the one form in which a value of each kind travels.
//!
//! An engine reads its columns into these forms and writes them back from these forms; it never looks at the other
//! engine. What happens between two kinds is a cast, decided per pair of columns when a plan is compiled.

use std::fmt;

/// The kind of a column. Beside each: the [`super::Value`] that carries it; NULL is always [`super::Value::Null`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Not declared, or declared in a way that promises nothing (SQLite): whatever the value is.
    Any,
    /// `Int` 0 or 1.
    Bool,
    /// `Int`. An unsigned 64-bit number above `i64::MAX` is `Text`, decimal digits.
    Int,
    /// `Real`. NaN and the infinities are `Real` too.
    Real,
    /// The same, of a column that keeps 32 bits of a number: seven digits or so.
    Single,
    /// `Text`: an optional minus, digits, and a fraction without trailing zeros if there is one: `-12.5`, `100`, `0.001`.
    /// `NaN`, `Infinity` and `-Infinity` where the engine has them.
    Decimal,
    /// `Text`.
    Text,
    /// `Text`, of a column that holds 32 characters: where an ORM keeps UUIDs without a type for them, as hexadecimal
    /// digits without hyphens. Against anything but a UUID the same as [`Kind::Text`].
    Char32,
    /// `Blob`.
    Bytes,
    /// `Text`: `2026-11-20`.
    Date,
    /// `Text`: `18:30:05` or `18:30:05.123456`; the fraction without trailing zeros.
    Time,
    /// `Text`: `2026-11-20 18:30:05`, with a fraction like [`Kind::Time`]. A reading of a clock in a zone that is not said.
    Timestamp,
    /// `Text` like [`Kind::Timestamp`], in UTC. A point in time.
    Instant,
    /// `Int`: microseconds. What has months or days of unknown length in it is `Text` in ISO 8601: `P1M2DT3S`.
    Interval,
    /// `Text`: lower case with hyphens.
    Uuid,
    /// `Text`: the document as the engine prints it; two are the same when they parse to the same.
    Json,
    /// `Text`: the label; the labels that there are, in their order.
    Enum(Vec<String>),
    /// `Text` as the engine prints it (arrays, ranges, geometry, networks): the engine's name for it, `int4[]`.
    Native(String),
    /// Declared so and not enforced (SQLite): mostly what the kind inside says, in a spelling of the application's, but any
    /// value may stand there. Engines that enforce their types never say this.
    Loose(Box<Kind>),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Any => "of no declared type",
            Kind::Bool => "boolean",
            Kind::Int => "integer",
            Kind::Real => "floating-point",
            Kind::Single => "single-precision floating-point",
            Kind::Decimal => "decimal",
            Kind::Text => "text",
            Kind::Char32 => "char(32)",
            Kind::Bytes => "bytes",
            Kind::Date => "date",
            Kind::Time => "time",
            Kind::Timestamp => "timestamp without time zone",
            Kind::Instant => "timestamp with time zone",
            Kind::Interval => "interval",
            Kind::Uuid => "uuid",
            Kind::Json => "json",
            Kind::Enum(_) => "enum",
            Kind::Native(name) => name,
            Kind::Loose(kind) => return kind.fmt(f),
        })
    }
}
