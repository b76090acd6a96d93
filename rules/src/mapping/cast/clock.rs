//! Dates and times as text: from the spellings that applications use to the one of [`super::super::Kind`], and a clock on
//! a wall to a point in time. The zone database is compiled in.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

use super::Why;

const NO_TIMESTAMP: Why = "not a date and time";
const SKIPPED: Why = "the clocks of its zone never showed this time: they were set forward over it";

/// A zone by its name, `Europe/Berlin`.
pub(in crate::mapping) fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// A point in time as a canonical timestamp in UTC, to the second.
pub(in crate::mapping) fn now(at: crate::Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_second(i64::try_from(at.seconds()).ok()?).ok()?;
    Some(shown(TimeZone::UTC.to_datetime(at)))
}

/// `2026-11-20`, or the same at midnight.
pub(super) fn date(text: &str) -> Option<String> {
    let (date, time) = text.split_at_checked(10)?;
    let midnight = time.is_empty() || matches!(time.as_bytes()[0], b' ' | b'T') && self::time(&time[1..])? == "00:00:00";
    (midnight && is_date(date)).then(|| date.to_owned())
}

/// `18:30`, `18:30:05` or with a fraction, of which microseconds fit.
pub(super) fn time(text: &str) -> Option<String> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = clock.split(':').collect();
    let (hour, minute, second) = match parts[..] {
        [hour, minute] if fraction.is_empty() => (hour, minute, "00"),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let below = |part: &str, limit: u8| part.len() == 2 && digits(part) && part.parse::<u8>().is_ok_and(|number| number < limit);
    let fraction_fits = digits(fraction) && fraction.trim_end_matches('0').len() <= 6;
    if !below(hour, 24) || !below(minute, 60) || !below(second, 60) || !fraction_fits {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{hour}:{minute}:{second}{point}{fraction}"))
}

/// A date, or a date and a time, with or without an offset. With one, what the clocks of the zone (none: UTC) showed.
pub(super) fn timestamp(text: &str, zone: Option<&TimeZone>) -> Result<String, Why> {
    if endless(text) {
        return Ok(text.to_owned());
    }
    let (date, rest) = text.split_at_checked(10).filter(|(date, _)| is_date(date)).ok_or(NO_TIMESTAMP)?;
    if rest.is_empty() {
        return Ok(format!("{date} 00:00:00"));
    }
    let rest = rest.strip_prefix([' ', 'T']).ok_or(NO_TIMESTAMP)?;
    let (clock, offset) = match rest.find(['Z', '+', '-']) {
        Some(at) => (&rest[..at], Some(offset(&rest[at..]).ok_or(NO_TIMESTAMP)?)),
        None => (rest, None),
    };
    let local = format!("{date} {}", time(clock.trim_end()).ok_or(NO_TIMESTAMP)?);
    match offset {
        None => Ok(local),
        Some(offset) => {
            let instant = TimeZone::fixed(offset).to_timestamp(civil(&local)?).map_err(|_| NO_TIMESTAMP)?;
            Ok(shown(zone.unwrap_or(&TimeZone::UTC).to_datetime(instant)))
        }
    }
}

/// When the clocks of a zone showed a time: in UTC. Of the two times in autumn, the first.
pub(super) fn instant(local: &str, zone: &TimeZone) -> Result<String, Why> {
    if endless(local) {
        return Ok(local.to_owned());
    }
    let moment = zone.to_ambiguous_timestamp(civil(local)?);
    if matches!(moment.offset(), AmbiguousOffset::Gap { .. }) {
        return Err(SKIPPED);
    }
    let moment = moment.earlier().map_err(|_| NO_TIMESTAMP)?;
    Ok(shown(TimeZone::UTC.to_datetime(moment)))
}

/// What the clocks of a zone showed then.
pub(super) fn local(instant: &str, zone: &TimeZone) -> Result<String, Why> {
    if endless(instant) {
        return Ok(instant.to_owned());
    }
    let moment = TimeZone::UTC.to_timestamp(civil(instant)?).map_err(|_| NO_TIMESTAMP)?;
    Ok(shown(zone.to_datetime(moment)))
}

/// A canonical time or timestamp as applications write it into a column without a type for it: six digits of a second
/// that is not whole, so that equal times are equal texts.
pub(super) fn padded(text: &str) -> String {
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{whole}.{fraction:0<6}"),
        None => text.to_owned(),
    }
}

/// Before and after all times.
fn endless(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

fn civil(canonical: &str) -> Result<DateTime, Why> {
    canonical.parse().map_err(|_| NO_TIMESTAMP)
}

fn shown(time: DateTime) -> String {
    time.to_string().replacen('T', " ", 1)
}

fn offset(text: &str) -> Option<Offset> {
    if text == "Z" {
        return Some(Offset::UTC);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let numbers = text[1..].replace(':', "");
    if !digits(&numbers) || !matches!(numbers.len(), 2 | 4 | 6) {
        return None;
    }
    let part = |at: usize| numbers.get(at..at + 2).map_or(Some(0), |part| part.parse::<i32>().ok());
    Offset::from_seconds(sign * (part(0)? * 3600 + part(2)? * 60 + part(4)?)).ok()
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| text.get(from..to).filter(|part| digits(part)).and_then(|part| part.parse::<i16>().ok());
    let parts = (number(0, 4), number(5, 7), number(8, 10));
    let (Some(year), Some(month), Some(day)) = parts else { return false };
    let narrow = |number: i16| i8::try_from(number).unwrap_or(0);
    bytes[4] == b'-' && bytes[7] == b'-' && Date::new(year, narrow(month), narrow(day)).is_ok()
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{SKIPPED, date, instant, local, padded, time, timestamp, zone};

    #[test]
    fn spellings_of_one_time_are_one() {
        let expected = Ok("2026-11-20 18:30:05.12".to_owned());
        for text in [
            "2026-11-20 18:30:05.12",
            "2026-11-20 18:30:05.120000",
            "2026-11-20T18:30:05.12Z",
            "2026-11-20 20:30:05.12+02:00",
            "2026-11-20 20:30:05.12+02",
            "2026-11-20T13:00:05.12-0530",
            "2026-11-20 18:30:05.12 +00:00",
        ] {
            assert_eq!(timestamp(text, None), expected, "{text}");
        }
        let berlin = zone("Europe/Berlin");
        assert_eq!(timestamp("2026-11-20T18:30:05Z", berlin.as_ref()).as_deref(), Ok("2026-11-20 19:30:05"));
        assert_eq!(timestamp("2026-11-20", None).as_deref(), Ok("2026-11-20 00:00:00"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "2026-02-30 10:00:00", "2026-11-20 24:00:00", "2026-11-20x10:00:00", "1763663405", "2026-11-20 10:00:00+1", "20261120"]
        {
            assert!(timestamp(text, None).is_err(), "{text}");
        }
        for text in ["7:30", "18:60", "18:30:05.1234567", "18.5", "18:30:05,5"] {
            assert_eq!(time(text), None, "{text}");
        }
        for text in ["2026-11-2", "2026-11-20 00:00:01", "2026-13-01", "2026-11-20Z"] {
            assert_eq!(date(text), None, "{text}");
        }
        assert_eq!(date("2026-11-20 00:00:00").as_deref(), Some("2026-11-20"));
        assert_eq!(time("18:30").as_deref(), Some("18:30:00"));
    }

    #[test]
    fn a_zone_in_summer_in_winter_and_between() {
        let berlin = zone("Europe/Berlin").expect("a zone");
        for (wall, utc) in [
            ("2026-07-01 12:00:00", "2026-07-01 10:00:00"),
            ("2026-12-01 12:00:00.5", "2026-12-01 11:00:00.5"),
            ("2026-10-25 02:30:00", "2026-10-25 00:30:00"),
        ] {
            assert_eq!(instant(wall, &berlin).as_deref(), Ok(utc));
            assert_eq!(local(utc, &berlin).as_deref(), Ok(wall));
        }
        assert_eq!(local("2026-10-25 01:30:00", &berlin).as_deref(), Ok("2026-10-25 02:30:00"), "the second pass looks like the first");
        assert_eq!(instant("2026-03-29 02:30:00", &berlin), Err(SKIPPED));
        assert!(zone("Europe/Atlantis").is_none());
    }

    #[test]
    fn written_like_an_application_would() {
        assert_eq!(padded("18:30:05.12"), "18:30:05.120000");
        assert_eq!(padded("2026-11-20 18:30:05"), "2026-11-20 18:30:05");
    }
}
