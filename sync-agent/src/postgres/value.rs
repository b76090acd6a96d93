//! A value's text in PostgreSQL, and its canonical form. Pure. The text forms are those of sessions whose settings are
//! pinned ([`super::url::SETTINGS`]): ISO dates, UTC, intervals in ISO 8601, bytes in hexadecimal.
//!
//! What has no canonical form keeps PostgreSQL's text: `infinity`, years before Christ. Such a value goes from PostgreSQL
//! to PostgreSQL; another engine refuses it.

use std::borrow::Cow;
use std::fmt::Write;

use ficus_rules::mapping::{Kind, Value};

/// Why a value cannot be read or written. Names no value.
pub(super) type Reason = &'static str;

/// The canonical form of a text.
pub(super) fn read(kind: &Kind, text: &str) -> Result<Value, Reason> {
    Ok(match kind {
        Kind::Bool => match text {
            "t" | "true" => Value::Int(1),
            "f" | "false" => Value::Int(0),
            _ => return Err("is no boolean"),
        },
        Kind::Int => text.parse().map_or_else(|_| owned(text), Value::Int),
        Kind::Real => Value::Real(real(text).ok_or("is no number")?),
        Kind::Decimal => owned(decimal(text)),
        Kind::Bytes => Value::Blob(bytes(text).ok_or("holds no bytes in hexadecimal form")?),
        Kind::Instant => Value::Text(text.strip_suffix("+00").map_or_else(|| text.replacen("+00", "", 1), str::to_owned)),
        Kind::Interval => microseconds(text).map_or_else(|| owned(text), Value::Int),
        _ => owned(text),
    })
}

/// The canonical form of a number of four bytes: as wide as any other, without digits that it does not have.
pub(super) fn single(text: &str) -> Result<Value, Reason> {
    text.parse::<f32>().map(|number| Value::Real(f64::from(number))).map_err(|_| "is no number")
}

/// The text of a value for a column of a kind; `None` is NULL.
pub(super) fn write<'v>(kind: &Kind, value: &'v Value) -> Result<Option<Cow<'v, str>>, Reason> {
    Ok(Some(match (kind, value) {
        (_, Value::Null) => return Ok(None),
        (Kind::Interval, Value::Int(number)) => Cow::Owned(interval(*number)),
        (Kind::Interval, Value::Text(text)) if text.starts_with(['P', '-']) => Cow::Borrowed(text),
        (Kind::Interval, _) => return Err("the value is no interval"),
        (Kind::Date | Kind::Time | Kind::Timestamp | Kind::Instant, value) => match value {
            Value::Text(text) if is_clock(text) => Cow::Borrowed(text),
            _ => return Err("the value is no date or time"),
        },
        (_, Value::Int(number)) => Cow::Owned(number.to_string()),
        (Kind::Real | Kind::Decimal, Value::Real(number)) => Cow::Owned(real_text(*number)),
        (Kind::Int, Value::Real(number)) => Cow::Owned(format!("{number}")),
        (_, Value::Real(number)) => Cow::Owned(real_text(*number)),
        (Kind::Bytes, Value::Blob(bytes)) => Cow::Owned(hex(bytes)),
        (Kind::Bytes, Value::Text(_)) => return Err("the value is text, and the column holds bytes"),
        (_, Value::Blob(_)) => return Err("the value is bytes, and the column holds none"),
        (_, Value::Text(text)) if text.contains('\0') => return Err("the text has a zero byte, which PostgreSQL cannot store"),
        (_, Value::Text(text)) => Cow::Borrowed(text),
    }))
}

fn owned(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// PostgreSQL also reads `now` and `tomorrow`; no stored value means that.
fn is_clock(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) || matches!(text, "infinity" | "-infinity")
}

fn real(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

fn real_text(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        format!("{number:?}")
    }
}

/// Without trailing zeros of the fraction.
fn decimal(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The length of an interval without days and months: `PT1H2M3.5S`, `PT-0.000001S`.
fn microseconds(text: &str) -> Option<i64> {
    let mut rest = text.strip_prefix("PT")?;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(['H', 'M', 'S'])?;
        let (number, unit) = (&rest[..end], rest.as_bytes()[end]);
        rest = &rest[end + 1..];
        let scale: i64 = match unit {
            b'H' => 3_600_000_000,
            b'M' => 60_000_000,
            _ => 1_000_000,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let negative = whole.starts_with('-');
        total = total.checked_add(whole.parse::<i64>().ok()?.checked_mul(scale)?)?;
        if !fraction.is_empty() {
            if fraction.len() > 6 || unit != b'S' || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            let part: i64 = format!("{fraction:0<6}").parse().ok()?;
            total = total.checked_add(if negative { -part } else { part })?;
        }
    }
    Some(total)
}

fn interval(microseconds: i64) -> String {
    let (sign, length) = (if microseconds < 0 { "-" } else { "" }, microseconds.unsigned_abs());
    let (hours, rest) = (length / 3_600_000_000, length % 3_600_000_000);
    let mut text = format!("PT{sign}{hours}H{sign}{}", rest / 1_000_000);
    let _ = write!(text, ".{:06}S", rest % 1_000_000);
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    #[test]
    fn texts_have_one_canonical_form() {
        let decimals = [("100.00", "100"), ("0.10", "0.1"), ("-12.500", "-12.5"), ("100", "100"), ("NaN", "NaN"), ("0.0", "0")];
        for (from, to) in decimals {
            assert_eq!(read(&Kind::Decimal, from), Ok(text(to)));
        }
        assert_eq!(read(&Kind::Instant, "2026-11-20 18:30:05.12+00"), Ok(text("2026-11-20 18:30:05.12")));
        assert_eq!(read(&Kind::Instant, "0044-03-15 12:00:00+00 BC"), Ok(text("0044-03-15 12:00:00 BC")));
        assert_eq!(read(&Kind::Instant, "infinity"), Ok(text("infinity")));
        assert_eq!(read(&Kind::Bytes, "\\x00ff"), Ok(Value::Blob(vec![0, 255])));
        assert!(read(&Kind::Bytes, "\\x0").is_err() && read(&Kind::Bytes, "\\xzz").is_err() && read(&Kind::Bytes, "00").is_err());
        assert_eq!(read(&Kind::Int, "18446744073709551615"), Ok(text("18446744073709551615")));
        assert_eq!(read(&Kind::Real, "NaN"), Ok(Value::Real(f64::NAN)));
        assert_eq!(read(&Kind::Real, "0.1"), Ok(Value::Real(0.1)));
    }

    #[test]
    fn numbers_of_four_bytes_are_those_that_are_stored() {
        assert_eq!(single("0.1"), Ok(Value::Real(f64::from(0.1_f32))));
        assert_eq!(single("1e-45"), Ok(Value::Real(f64::from(f32::from_bits(1)))));
        assert_eq!(single("-Infinity"), Ok(Value::Real(f64::NEG_INFINITY)));
        assert!(matches!(single("NaN"), Ok(Value::Real(number)) if number.is_nan()));
        assert!(single("x").is_err());
    }

    #[test]
    fn intervals_are_numbers_unless_they_have_days() {
        for (from, to) in [("PT0S", 0), ("PT1H2M3.5S", 3_723_500_000), ("PT-0.000001S", -1), ("PT-1H-30M", -5_400_000_000)] {
            assert_eq!(read(&Kind::Interval, from), Ok(Value::Int(to)));
        }
        assert_eq!(read(&Kind::Interval, "P1DT1H"), Ok(text("P1DT1H")));
        assert_eq!(write(&Kind::Interval, &Value::Int(-1)).unwrap().unwrap(), "PT-0H-0.000001S");
    }

    #[test]
    fn words_that_mean_a_time_of_their_own_are_refused() {
        for word in ["now", "today", "epoch", "allballs", ""] {
            assert!(write(&Kind::Timestamp, &text(word)).is_err(), "{word}");
        }
        assert!(write(&Kind::Instant, &text("-infinity")).is_ok());
    }

    #[test]
    fn what_a_column_cannot_hold_is_refused() {
        assert!(write(&Kind::Text, &text("a\0b")).is_err());
        assert!(write(&Kind::Text, &Value::Blob(vec![1])).is_err());
        assert!(write(&Kind::Bytes, &text("a")).is_err());
        assert_eq!(write(&Kind::Int, &Value::Real(3.0)).unwrap().unwrap(), "3");
        assert_eq!(write(&Kind::Real, &Value::Real(0.1)).unwrap().unwrap(), "0.1");
        assert_eq!(write(&Kind::Bytes, &Value::Blob(vec![0, 171])).unwrap().unwrap(), "\\x00ab");
    }
}
