//! The two spellings of a time: Django's text in the database, ISO 8601 in public. Both are UTC.

use jiff::Timestamp;

/// The current time as the database keeps it: `2026-01-02 03:04:05.000006`.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

/// `2026-01-02 03:04:05[.ffffff]` as `2026-01-02T03:04:05.ffffffZ`.
///
/// Django leaves the fraction out when it is zero; the public form always has its six digits.
pub fn public(stored: &str) -> String {
    let (seconds, fraction) = stored.split_once('.').unwrap_or((stored, ""));
    let digits: String = fraction.chars().take_while(char::is_ascii_digit).take(6).collect();
    format!("{}.{digits:0<6}Z", seconds.replacen(' ', "T", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_has_six_digits() {
        assert_eq!(public("2026-01-02 03:04:05.000006"), "2026-01-02T03:04:05.000006Z");
        assert_eq!(public("2026-01-02 03:04:05.5"), "2026-01-02T03:04:05.500000Z");
        assert_eq!(public("2026-01-02 03:04:05"), "2026-01-02T03:04:05.000000Z");
    }

    #[test]
    fn now_is_as_long_as_the_contract_says() {
        assert_eq!(now().len(), "2026-01-02 03:04:05.000006".len());
    }
}
