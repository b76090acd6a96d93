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
    use super::{duration, suggest};
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
    fn a_near_name_is_suggested() {
        assert_eq!(suggest("paht", ["path", "pin"]), "did you mean `path`?");
        assert_eq!(suggest("zzz", ["path", "pin"]), "there is `path` and `pin`");
    }
}
