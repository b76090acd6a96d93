//! One-way conversions between kinds, from canonical form to canonical form. A step changes nothing that it cannot give
//! back: what does not fit is refused, and the row with it. Where something is lost all the same, [`Step::caveat`] says so.

use jiff::tz::TimeZone;

use super::{Why, clock, decimal, json, loose, uuid};
use crate::mapping::{Kind, Value};

/// A conversion.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Whatever an application wrote, as a value of that kind.
    Read(Kind),
    /// As an application writes it where there is no type for it.
    Write(Kind),
    /// 0 and 1.
    IntToBool,
    IntToDecimal,
    DecimalToInt,
    IntToReal,
    RealToInt,
    RealToDecimal,
    /// To what 32 bits keep of it.
    RealToSingle,
    DecimalToReal,
    IntToText,
    TextToInt,
    RealToText,
    TextToReal,
    TextToDecimal,
    TextToUuid,
    UuidToHex,
    UuidToBytes,
    BytesToUuid,
    TextToBytes,
    BytesToText,
    TextToJson,
    /// One of these.
    TextToEnum(Vec<String>),
    TextToDate,
    TextToTime,
    /// A time with an offset is what the clocks of the zone showed; none: UTC.
    TextToTimestamp(Option<TimeZone>),
    DateToTimestamp,
    TimestampToDate,
    TimestampToInstant(TimeZone),
    InstantToTimestamp(TimeZone),
    /// Microseconds.
    IntervalToInt,
}

/// The steps from one kind to another; none: the value serves as it is. `None`: there is no way.
pub(super) fn between(from: &Kind, to: &Kind, zone: Option<&TimeZone>) -> Option<Vec<Step>> {
    use Kind::{Bool, Bytes, Char32, Date, Decimal, Enum, Instant, Int, Interval, Json, Native, Real, Text, Time, Timestamp, Uuid};
    let padded = |kind: &Kind| Step::Write(kind.clone());
    let steps = match (from, to) {
        (Enum(known), Enum(labels)) if known.iter().all(|label| labels.contains(label)) => Vec::new(),
        (Enum(_), Enum(labels)) => vec![Step::TextToEnum(labels.clone())],
        (Timestamp, Instant) => zone.map(|zone| Step::TimestampToInstant(zone.clone())).into_iter().collect(),
        (Instant, Timestamp) => zone.map(|zone| Step::InstantToTimestamp(zone.clone())).into_iter().collect(),
        (same, other) if same == other => Vec::new(),
        (Interval, Int) => vec![Step::IntervalToInt],
        (Int, Bool) => vec![Step::IntToBool],
        (Bool, Int) | (Int, Interval) => Vec::new(),
        (Int, Decimal) => vec![Step::IntToDecimal],
        (Decimal, Int) => vec![Step::DecimalToInt],
        (Int, Real) => vec![Step::IntToReal],
        (Real, Int) => vec![Step::RealToInt],
        (Real, Decimal) => vec![Step::RealToDecimal],
        (Decimal, Real) => vec![Step::DecimalToReal],
        (Int, Text | Char32) => vec![Step::IntToText],
        (Text | Char32, Int) => vec![Step::TextToInt],
        (Real, Text | Char32) => vec![Step::RealToText],
        (Text | Char32, Real) => vec![Step::TextToReal],
        (Text | Char32, Decimal) => vec![Step::TextToDecimal],
        (Text | Char32, Uuid) => vec![Step::TextToUuid],
        (Uuid, Char32) => vec![Step::UuidToHex],
        (Uuid, Bytes) => vec![Step::UuidToBytes],
        (Bytes, Uuid) => vec![Step::BytesToUuid],
        (Text | Char32, Bytes) => vec![Step::TextToBytes],
        (Bytes, Text | Char32) => vec![Step::BytesToText],
        (Text | Char32, Json) => vec![Step::TextToJson],
        (Text | Char32, Enum(labels)) => vec![Step::TextToEnum(labels.clone())],
        (Text | Char32, Text | Char32 | Native(_)) | (Decimal | Enum(_) | Json | Native(_), Text | Char32) | (Uuid, Text) => Vec::new(),
        (Text | Char32, Date) => vec![Step::TextToDate],
        (Text | Char32, Time) => vec![Step::TextToTime],
        (Text | Char32, Timestamp) => vec![Step::TextToTimestamp(zone.cloned())],
        (Text | Char32, Instant) => chain(Step::TextToTimestamp(zone.cloned()), &Timestamp, to, zone)?,
        (Instant, Text | Char32) if zone.is_some() => [between(from, &Timestamp, zone)?, vec![padded(&Timestamp)]].concat(),
        (Time | Timestamp | Instant, Text | Char32) => vec![padded(from)],
        (Date, Text | Char32) => Vec::new(),
        (Date, Timestamp) => vec![Step::DateToTimestamp],
        (Timestamp, Date) => vec![Step::TimestampToDate],
        (Date, Instant) => chain(Step::DateToTimestamp, &Timestamp, to, zone)?,
        (Instant, Date) => [between(from, &Timestamp, zone)?, vec![Step::TimestampToDate]].concat(),
        _ => return None,
    };
    Some(steps)
}

fn chain(first: Step, then: &Kind, to: &Kind, zone: Option<&TimeZone>) -> Option<Vec<Step>> {
    Some([vec![first], between(then, to, zone)?].concat())
}

impl Step {
    /// The value after the step. NULL never comes here.
    pub(super) fn run(&self, value: &Value) -> Result<Value, Why> {
        const NO_TEXT: Why = "not text";
        match (self, value) {
            (Step::Read(kind), value) => return loose::read(value, kind),
            (Step::Write(kind), value) => return loose::write(value, kind),
            (Step::IntToBool, Value::Int(0 | 1)) | (Step::IntervalToInt, Value::Int(_)) => return Ok(value.clone()),
            (Step::IntToDecimal | Step::IntToText, Value::Int(number)) => return Ok(Value::Text(number.to_string())),
            // An unsigned number that is too large for a signed one travels as its digits.
            (Step::IntToDecimal | Step::IntToText, Value::Text(_)) => return Ok(value.clone()),
            (Step::IntToReal, Value::Int(number)) => return real(*number).map(Value::Real),
            (Step::IntToReal, Value::Text(_)) => return Err("more digits than a floating-point number keeps"),
            (Step::RealToInt, Value::Real(_)) => {
                return super::canonical_integer(value).map(Value::Int).ok_or("not a whole number that keeps its digits");
            }
            (Step::RealToDecimal, Value::Real(number)) => return decimal::of_real(*number).map(Value::Text).ok_or("not a decimal number"),
            (Step::RealToSingle, Value::Real(number)) => return single(*number).map(Value::Real),
            (Step::RealToText, Value::Real(number)) => return Ok(Value::Text(number.to_string())),
            (Step::UuidToBytes, Value::Text(text)) => return uuid::to_bytes(text).map(Value::Blob).ok_or(uuid::NONE),
            (Step::BytesToUuid, Value::Blob(bytes)) => return uuid::of_bytes(bytes).map(Value::Text).ok_or(uuid::NONE),
            (Step::TextToBytes, Value::Text(text)) => return Ok(Value::Blob(text.clone().into_bytes())),
            (Step::BytesToText, Value::Blob(bytes)) => {
                return String::from_utf8(bytes.clone()).map(Value::Text).map_err(|_| "bytes that are no UTF-8 text");
            }
            _ => {}
        }
        let Value::Text(text) = value else {
            return Err(match self {
                Step::IntToBool => "a number that is neither 0 nor 1",
                _ => NO_TEXT,
            });
        };
        self.text(text)
    }

    /// The steps that begin with text.
    fn text(&self, text: &str) -> Result<Value, Why> {
        let or = |found: Option<String>, why: Why| found.map(Value::Text).ok_or(why);
        match self {
            Step::DecimalToInt | Step::TextToInt => integer(text).ok_or("not a whole number, or not written like one"),
            Step::DecimalToReal => {
                let real = decimal::to_real(text).filter(|real| decimal::of_real(*real).as_deref() == Some(text));
                real.map(Value::Real).ok_or("more digits than a floating-point number keeps")
            }
            Step::TextToReal => {
                let real = text.parse::<f64>().ok().filter(|real| real.to_string() == text);
                real.map(Value::Real).ok_or("not a floating-point number, or not written like one")
            }
            Step::TextToDecimal => or(decimal::canonical(text), "not a decimal number"),
            Step::TextToUuid => or(uuid::canonical(text), uuid::NONE),
            Step::UuidToHex => Ok(Value::Text(text.replace('-', ""))),
            Step::TextToJson if json::is_document(text) => Ok(Value::Text(text.to_owned())),
            Step::TextToJson => Err("not a JSON document"),
            Step::TextToEnum(labels) if labels.iter().any(|label| label == text) => Ok(Value::Text(text.to_owned())),
            Step::TextToEnum(_) => Err("not one of the labels of the other side"),
            Step::TextToDate => or(clock::date(text), "not a date"),
            Step::TextToTime => or(clock::time(text), "not a time of day"),
            Step::TextToTimestamp(zone) => clock::timestamp(text, zone.as_ref()).map(Value::Text),
            Step::DateToTimestamp => Ok(Value::Text(format!("{text} 00:00:00"))),
            Step::TimestampToDate => or(clock::date(text), "not midnight, so it is more than a date"),
            Step::TimestampToInstant(zone) => clock::instant(text, zone).map(Value::Text),
            Step::InstantToTimestamp(zone) => clock::local(text, zone).map(Value::Text),
            Step::IntervalToInt => Err("months or days, which have no fixed length"),
            Step::IntToBool => Err("a number that is neither 0 nor 1"),
            _ => Err("of another type than its column"),
        }
    }

    /// What becomes of values that do not fit, or what is lost; nothing: every value fits and comes back.
    pub(super) fn caveat(&self) -> Option<String> {
        let caveat = match self {
            Step::IntToBool => "only 0 and 1 fit",
            Step::DecimalToInt | Step::RealToInt => "only whole numbers of 64 bits fit",
            Step::IntToReal => "numbers beyond 2^53 do not fit",
            Step::RealToSingle => "of a number about seven digits are kept, the others are not kept",
            Step::DecimalToReal => "numbers of more digits than a floating-point number keeps do not fit",
            Step::Write(Kind::Decimal) => "numbers of more than 15 digits do not fit",
            Step::TextToInt | Step::TextToReal => "text that is no number, or is written with needless zeros, does not fit",
            Step::TextToDecimal => "text that is no number does not fit; needless zeros are not kept",
            Step::TextToUuid => "text that is no uuid does not fit; capitals and where hyphens stand are not kept",
            Step::BytesToUuid => "only 16 bytes fit",
            Step::BytesToText => "bytes that are no UTF-8 do not fit",
            Step::TextToJson => "text that is no JSON does not fit; white space and the order of keys may not be kept",
            Step::TextToEnum(_) => "text that is none of the labels does not fit",
            Step::TextToDate | Step::TextToTime | Step::TextToTimestamp(_) => {
                "text that is no such time does not fit; its spelling (a T, needless zeros, an offset) is not kept"
            }
            Step::TimestampToDate => "only midnight fits",
            Step::TimestampToInstant(zone) => return Some(format!("times that the clocks of {} skip do not fit", name(zone))),
            Step::InstantToTimestamp(zone) if is_fixed(zone) => return None,
            Step::InstantToTimestamp(zone) => {
                return Some(format!("the hour that the clocks of {} show twice comes back as its first pass", name(zone)));
            }
            Step::IntervalToInt => "intervals of months or days do not fit",
            _ => return None,
        };
        Some(caveat.to_owned())
    }
}

fn name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("the zone")
}

fn is_fixed(zone: &TimeZone) -> bool {
    zone.to_fixed_offset().is_ok()
}

/// A whole number in its one spelling; above 63 bits it travels as its digits.
pub(super) fn integer(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return (number.to_string() == text).then_some(Value::Int(number));
    }
    text.parse::<u64>().ok().filter(|number| number.to_string() == text).map(|_| Value::Text(text.to_owned()))
}

/// The number that a column of 32 bits has in its place.
#[allow(clippy::cast_possible_truncation, reason = "that is what is asked")]
fn single(number: f64) -> Result<f64, Why> {
    let single = f64::from(number as f32);
    if single.is_infinite() && number.is_finite() { Err("larger than any single-precision number") } else { Ok(single) }
}

/// A whole number as a floating-point one that keeps every digit.
#[allow(clippy::cast_precision_loss, reason = "a number that loses digits is refused below")]
pub(super) fn real(number: i64) -> Result<f64, Why> {
    let real = number as f64;
    match super::canonical_integer(&Value::Real(real)) {
        Some(back) if back == number => Ok(real),
        _ => Err("more digits than a floating-point number keeps"),
    }
}
