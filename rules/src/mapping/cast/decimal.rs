//! Decimal numbers as text: the one spelling that every number has, and floating-point numbers there and back. Pure text;
//! knows no columns.

/// A spelling that grows longer than this by writing its exponent out is no number that a column would hold.
const LONGEST: usize = 20_000;

/// The canonical spelling of a number: `-12.5`, `100`, `0.001`. Takes signs, leading and trailing zeros, exponents.
pub(super) fn canonical(text: &str) -> Option<String> {
    if let Some(special) = special(text) {
        return Some(special.to_owned());
    }
    let Number { negative, digits, exponent } = number(text)?;
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    let width = i64::try_from(digits.len()).ok()?;
    let point = exponent.checked_add(width)?;
    if usize::try_from(point.unsigned_abs()).map_or(true, |far| far > LONGEST) {
        return None;
    }
    let (whole, fraction) = match usize::try_from(point) {
        Ok(point) if point >= digits.len() => (format!("{digits}{}", "0".repeat(point - digits.len())), String::new()),
        Ok(point) if point > 0 => (digits[..point].to_owned(), digits[point..].to_owned()),
        _ => ("0".to_owned(), format!("{}{digits}", "0".repeat(usize::try_from(point.unsigned_abs()).unwrap_or(0)))),
    };
    let sign = if negative { "-" } else { "" };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}

/// What a number is, however it is spelled: equal numbers, and only they, are equal here. Writes no exponent out.
pub(super) fn identity(text: &str) -> Option<String> {
    let Number { negative, digits, exponent } = number(text)?;
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    Some(format!("{}{digits}e{exponent}", if negative { "-" } else { "" }))
}

/// A floating-point number in as many digits as it needs to come back as itself.
pub(super) fn of_real(number: f64) -> Option<String> {
    canonical(&format!("{number:e}"))
}

/// A floating-point number in the 15 digits that are certain to have survived it. An application that keeps decimals in
/// a floating-point column reads them like this: 0.1 + 0.2 is 0.3.
pub(super) fn of_rounded_real(number: f64) -> Option<String> {
    canonical(&format!("{number:.14e}"))
}

/// The floating-point number nearest to a canonical decimal.
pub(super) fn to_real(decimal: &str) -> Option<f64> {
    match decimal {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        number => number.parse().ok(),
    }
}

/// Sign, digits without zeros at either end, and the power of ten of the last one. No digits: zero.
struct Number {
    negative: bool,
    digits: String,
    exponent: i64,
}

fn number(text: &str) -> Option<Number> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (negative, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let all = format!("{whole}{fraction}");
    let kept = all.trim_end_matches('0');
    let dropped = i64::try_from(all.len() - kept.len()).ok()?;
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(dropped)?;
    Some(Number { negative, digits: kept.trim_start_matches('0').to_owned(), exponent })
}

fn special(text: &str) -> Option<&'static str> {
    match text {
        "NaN" | "nan" => Some("NaN"),
        "Infinity" | "inf" => Some("Infinity"),
        "-Infinity" | "-inf" => Some("-Infinity"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{canonical, identity, of_real, of_rounded_real, to_real};
    use proptest::prelude::*;

    #[test]
    fn a_number_has_one_spelling() {
        for (text, expected) in [
            ("1.50", "1.5"),
            ("-0.0", "0"),
            ("+007", "7"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.25E-2", "0.0125"),
            ("100", "100"),
            ("-12.5", "-12.5"),
            ("120e-1", "12"),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", ".", "-", "1,5", "1e", "0x1", "1e99999999", " 1", "1 "] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn a_column_of_prices_reads_back_as_prices() {
        assert_eq!(of_rounded_real(0.1 + 0.2).as_deref(), Some("0.3"));
        assert_eq!(of_real(0.1 + 0.2).as_deref(), Some("0.30000000000000004"));
        assert_eq!(of_rounded_real(1_234_567_890.123_456_7).as_deref(), Some("1234567890.12346"));
    }

    proptest! {
        #[test]
        fn every_double_comes_back(number in any::<f64>().prop_filter("a number", |n| n.is_finite())) {
            let back = of_real(number).and_then(|text| to_real(&text));
            prop_assert_eq!(back, Some(number));
        }

        #[test]
        fn fifteen_digits_survive_a_double(digits in 1..1_000_000_000_000_000i64, scale in 0..15usize) {
            let decimal = canonical(&format!("{digits}e-{scale}")).expect("a number");
            let real = to_real(&decimal).expect("a number");
            prop_assert_eq!(of_rounded_real(real), Some(decimal));
        }

        #[test]
        fn spellings_of_one_number_are_one(digits in any::<i64>(), zeros in 0..5usize) {
            let padded = format!("{digits}.{}", "0".repeat(zeros));
            prop_assert_eq!(canonical(&padded), Some(digits.to_string()));
            prop_assert_eq!(identity(&padded), identity(&format!("{digits}{}e-{zeros}", "0".repeat(zeros))));
        }
    }
}
