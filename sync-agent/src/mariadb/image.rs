//! Rows of a rows event, cut into cells, by the types that the table map gives. Pure; never panics. What a cell means
//! (signed or not, which character set, which label) is [`super::value`]'s.

use super::bytes::{Bits, Broken, Bytes};

/// One cell as the log has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    /// Lowest byte first.
    Int(&'a [u8]),
    Float(f32),
    Double(f64),
    Decimal {
        digits: &'a [u8],
        precision: u8,
        scale: u8,
    },
    /// Text, bytes, documents.
    Bytes(&'a [u8]),
    Date {
        year: u16,
        month: u8,
        day: u8,
    },
    DateTime {
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
        micros: u32,
    },
    Time {
        negative: bool,
        hours: u16,
        minute: u8,
        second: u8,
        micros: u32,
    },
    /// Seconds since 1970; nothing at all is the zero date.
    Timestamp {
        seconds: u32,
        micros: u32,
    },
    /// The number of a label, from 1.
    Enum(u16),
    /// A bit for each label.
    Set(u64),
    /// Highest byte first.
    Bit(&'a [u8]),
    Year(u8),
}

/// Cuts the next image off.
pub(super) fn cut<'a>(images: &mut Bytes<'a>, columns: &[(u8, [u8; 2])], present: &Bits<'_>) -> Result<Vec<Option<Cell<'a>>>, Broken> {
    let there = (0..columns.len()).filter(|index| present.get(*index)).count();
    let nulls = images.bits(there)?;
    let mut nth = 0;
    let mut cells = Vec::with_capacity(columns.len());
    for (index, (kind, detail)) in columns.iter().enumerate() {
        if !present.get(index) {
            cells.push(None);
            continue;
        }
        cells.push(Some(if nulls.get(nth) { Cell::Null } else { cell(images, *kind, *detail)? }));
        nth += 1;
    }
    Ok(cells)
}

fn cell<'a>(bytes: &mut Bytes<'a>, kind: u8, detail: [u8; 2]) -> Result<Cell<'a>, Broken> {
    Ok(match kind {
        1 => Cell::Int(bytes.take(1)?),
        2 => Cell::Int(bytes.take(2)?),
        9 => Cell::Int(bytes.take(3)?),
        3 => Cell::Int(bytes.take(4)?),
        8 => Cell::Int(bytes.take(8)?),
        4 => Cell::Float(f32::from_le_bytes(array(bytes.take(4)?)?)),
        5 => Cell::Double(f64::from_le_bytes(array(bytes.take(8)?)?)),
        6 => Cell::Null,
        13 => Cell::Year(bytes.byte()?),
        10 | 14 => date(bytes.little(3)?),
        17 => {
            let seconds = u32::try_from(bytes.big(4)?).map_err(|_| Broken("a time is none"))?;
            Cell::Timestamp { seconds, micros: fraction(bytes, detail[0])? }
        }
        18 => date_time(bytes, detail[0])?,
        19 => time(bytes, detail[0])?,
        7 | 11 | 12 => {
            return Err(Broken(
                "a column has a temporal type of old, which does not say its own length; ALTER TABLE .. FORCE makes it new",
            ));
        }
        16 => Cell::Bit(bytes.take(usize::from(detail[1]) + usize::from(detail[0] > 0))?),
        246 => Cell::Decimal { digits: bytes.take(decimal_length(detail[0], detail[1])?)?, precision: detail[0], scale: detail[1] },
        247 => label(bytes, detail[1])?,
        248 => set(bytes, detail[1])?,
        254 => return string(bytes, detail),
        15 | 253 => Cell::Bytes(prefixed(bytes, if u16::from_le_bytes(detail) < 256 { 1 } else { 2 })?),
        245 | 249..=252 | 255 if (1..=4).contains(&detail[0]) => Cell::Bytes(prefixed(bytes, usize::from(detail[0]))?),
        140 | 141 => return Err(Broken("a column is COMPRESSED; take that attribute away")),
        _ => return Err(Broken("a column has a type that is not known")),
    })
}

/// CHAR, BINARY, and, by the first byte of the detail, ENUM and SET. Long CHARs have two bits of their length in there.
fn string<'a>(bytes: &mut Bytes<'a>, [first, second]: [u8; 2]) -> Result<Cell<'a>, Broken> {
    if first & 0x30 != 0x30 {
        let length = u16::from(second) | u16::from((first & 0x30) ^ 0x30) << 4;
        return Ok(Cell::Bytes(prefixed(bytes, if length < 256 { 1 } else { 2 })?));
    }
    match first {
        247 => label(bytes, second),
        248 => set(bytes, second),
        _ => Ok(Cell::Bytes(prefixed(bytes, 1)?)),
    }
}

fn label<'a>(bytes: &mut Bytes<'a>, length: u8) -> Result<Cell<'a>, Broken> {
    match length {
        1 | 2 => Ok(Cell::Enum(u16::try_from(bytes.little(usize::from(length))?).unwrap_or(0))),
        _ => Err(Broken("an enumeration is too long")),
    }
}

fn set<'a>(bytes: &mut Bytes<'a>, length: u8) -> Result<Cell<'a>, Broken> {
    if length > 8 {
        return Err(Broken("a set is too long"));
    }
    Ok(Cell::Set(bytes.little(usize::from(length))?))
}

fn prefixed<'a>(bytes: &mut Bytes<'a>, width: usize) -> Result<&'a [u8], Broken> {
    let length = usize::try_from(bytes.little(width)?).map_err(|_| Broken("a length is too great"))?;
    bytes.take(length)
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Broken> {
    bytes.try_into().map_err(|_| Broken("a number has another length"))
}

#[allow(clippy::cast_possible_truncation, reason = "the bits are masked or few")]
fn date<'a>(packed: u64) -> Cell<'a> {
    Cell::Date { year: (packed >> 9) as u16, month: (packed >> 5 & 15) as u8, day: (packed & 31) as u8 }
}

/// Forty bits with an offset: year and month as `13 * year + month`, day, hour, minute, second; then the fraction.
#[allow(clippy::cast_possible_truncation, reason = "the bits are masked or few")]
fn date_time<'a>(bytes: &mut Bytes<'a>, digits: u8) -> Result<Cell<'a>, Broken> {
    let packed = bytes.big(5)? & 0x7f_ffff_ffff;
    let months = packed >> 22;
    Ok(Cell::DateTime {
        year: (months / 13) as u16,
        month: (months % 13) as u8,
        day: (packed >> 17 & 31) as u8,
        hour: (packed >> 12 & 31) as u8,
        minute: (packed >> 6 & 63) as u8,
        second: (packed & 63) as u8,
        micros: fraction(bytes, digits)?,
    })
}

/// Twenty-four bits and the fraction as one number with an offset; its sign is the time's.
#[allow(clippy::cast_possible_truncation, reason = "the bits are masked or few")]
fn time<'a>(bytes: &mut Bytes<'a>, digits: u8) -> Result<Cell<'a>, Broken> {
    let (width, factor) = fraction_of(digits)?;
    let all = i64::try_from(bytes.big(3 + width)?).map_err(|_| Broken("a time is none"))?;
    let packed = all - (0x80_0000 << (8 * width));
    let (negative, packed) = (packed < 0, packed.unsigned_abs());
    let clock = packed >> (8 * width);
    let micros = (packed & ((1 << (8 * width)) - 1)) as u32 * factor;
    Ok(Cell::Time { negative, hours: (clock >> 12 & 1023) as u16, minute: (clock >> 6 & 63) as u8, second: (clock & 63) as u8, micros })
}

fn fraction(bytes: &mut Bytes<'_>, digits: u8) -> Result<u32, Broken> {
    let (width, factor) = fraction_of(digits)?;
    let number = u32::try_from(bytes.big(width)?).map_err(|_| Broken("a time is none"))?;
    number.checked_mul(factor).ok_or(Broken("a time is none"))
}

/// Bytes of a fraction, and how many microseconds its unit has.
fn fraction_of(digits: u8) -> Result<(usize, u32), Broken> {
    match digits {
        0 => Ok((0, 1)),
        1 | 2 => Ok((1, 10_000)),
        3 | 4 => Ok((2, 100)),
        5 | 6 => Ok((3, 1)),
        _ => Err(Broken("a time has too many digits")),
    }
}

/// Bytes of so many digits that do not fill a group of nine.
const PART: [usize; 9] = [0, 1, 1, 2, 2, 3, 3, 4, 4];

fn decimal_length(precision: u8, scale: u8) -> Result<usize, Broken> {
    let whole = precision.checked_sub(scale).ok_or(Broken("a decimal has more places than digits"))?;
    let of = |digits: u8| usize::from(digits / 9) * 4 + PART[usize::from(digits % 9)];
    Ok(of(whole) + of(scale))
}

/// The canonical text of a decimal.
pub(super) fn decimal(digits: &[u8], precision: u8, scale: u8) -> Result<String, Broken> {
    let mut owned = digits.to_vec();
    let first = owned.first_mut().ok_or(Broken("a decimal has no digits"))?;
    let negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if negative {
        owned.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let whole = precision.checked_sub(scale).ok_or(Broken("a decimal has more places than digits"))?;
    let mut bytes = Bytes(&owned);
    let mut text = String::new();
    let mut group = |width: usize, count: usize, text: &mut String| -> Result<(), Broken> {
        if count > 0 {
            text.push_str(&format!("{:0count$}", bytes.big(width)?));
        }
        Ok(())
    };
    let (left, right) = (usize::from(whole % 9), usize::from(scale % 9));
    group(PART[left], left, &mut text)?;
    for _ in 0..whole / 9 {
        group(4, 9, &mut text)?;
    }
    text.push('.');
    for _ in 0..scale / 9 {
        group(4, 9, &mut text)?;
    }
    group(PART[right], right, &mut text)?;
    Ok(super::value::decimal(&format!("{}{text}", if negative { "-" } else { "" })))
}
