//! Small readings of strings: durations, and the name that was probably meant.

use std::time::Duration;

/// How a duration is written.
pub(super) const DURATION: &str = "write a number and a unit, like \"500ms\", \"30s\", \"15m\", \"1h\" or \"7d\"";

/// Reads `"500ms"`, `"30s"`, `"15m"`, `"1h"`, `"7d"`: whole numbers, one unit.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(milliseconds)?))
}

/// A duration as it is written, in the greatest unit of which it is a multiple.
pub(super) fn written(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = |(of, _): &(u128, &str)| milliseconds > 0 && milliseconds.is_multiple_of(*of);
    let (of, unit) = units.into_iter().find(whole).unwrap_or((1, if milliseconds == 0 { "s" } else { "ms" }));
    format!("{}{unit}", milliseconds / of)
}

/// How a size is written.
pub(super) const SIZE: &str = "write a number and a unit, like \"64KiB\", \"10MiB\" or \"1GiB\"";

/// Reads `"512B"`, `"64KiB"`, `"10MiB"`, `"1GiB"`: whole numbers, one unit, in bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

/// A size as it is written, in the greatest unit of which it is a multiple.
pub(super) fn written_size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let (of, unit) = units.into_iter().find(|(of, _)| bytes > 0 && bytes.is_multiple_of(*of)).unwrap_or((1, "B"));
    format!("{}{unit}", bytes / of)
}

/// "did you mean `path`?", or all that there is to choose from.
pub(super) fn suggest<'a>(typed: &str, choices: impl IntoIterator<Item = &'a str>) -> String {
    let choices: Vec<&str> = choices.into_iter().collect();
    let distance = |choice: &str| strsim::osa_distance(&typed.to_lowercase(), &choice.to_lowercase());
    let nearest = choices.iter().map(|choice| (distance(choice), *choice)).min();
    match nearest {
        Some((far, choice)) if far <= 1 + choice.chars().count() / 4 => format!("did you mean `{choice}`?"),
        Some(_) => format!("there is {}", list(&choices)),
        None => String::new(),
    }
}

/// The words alone.
pub(super) const fn of_choices<T, const N: usize>(choices: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = choices[at].0;
        at += 1;
    }
    words
}

/// `a`, `b` and `c`
pub(super) fn list(items: &[&str]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("`{item}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
        None => String::new(),
    }
}

/// Whether a text may name a capability or a flag: it is a metric's label and part of cookies and database objects.
pub(super) fn is_name(text: &str) -> bool {
    let tail = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    text.len() <= 40 && text.bytes().next().is_some_and(|first| first.is_ascii_lowercase()) && text.bytes().all(tail)
}

/// Whether a text is a token as header and cookie names are (RFC 9110, 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::{duration, size, suggest, written, written_size};
    use std::time::Duration;

    #[test]
    fn durations_have_one_unit() {
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        assert_eq!(duration("7d"), Some(Duration::from_secs(604_800)));
        for text in ["", "5", "s", "1.5h", "1h30m", "-1s", "1 s", "5M", "99999999999999999999d", "99999999999999999d"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        for text in ["0s", "20ms", "1500ms", "90s", "5m", "36h", "7d"] {
            assert_eq!(duration(text).map(written).as_deref(), Some(text));
        }
        for text in ["0B", "1000B", "1KiB", "1536KiB", "10MiB", "1GiB"] {
            assert_eq!(size(text).map(written_size).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_near_name_is_suggested() {
        assert_eq!(suggest("paht", ["path", "pin"]), "did you mean `path`?");
        assert_eq!(suggest("zzz", ["path", "pin"]), "there is `path` and `pin`");
    }
}
