//! When something may happen: days and hours on the clocks of a zone. Pure: the instant comes in; the zone database is
//! compiled in.

use std::fmt;

use jiff::civil::{DateTime, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span};
use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// How they are written.
pub const EXAMPLE: &str = "\"mon-thu 09:00-16:00 Europe/Berlin\"";

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY: u16 = 24 * 60;
/// How far ahead a window is looked for: more than a week, which is when every one of them comes again.
const AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);

/// One window: some days, and hours of them. One that ends before it begins goes on into the next day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hours {
    text: String,
    /// From Monday on.
    days: [bool; 7],
    /// Minutes since midnight; the end is outside.
    from: u16,
    to: u16,
    zone: String,
}

impl Hours {
    /// Reads `mon-thu 09:00-16:00 Europe/Berlin`, `sat,sun 22:00-02:00 UTC`, `daily 00:00-24:00 UTC`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Hours, String> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [days, hours, zone] = parts[..] else { return Err(format!("`{text}` has not days, hours and a zone")) };
        let mut on = [false; 7];
        for part in days.split(',') {
            mark(part, &mut on).ok_or_else(|| format!("`{part}` is no day, nor a span of days (there is {})", DAYS.join(", ")))?;
        }
        let clock = |text: &str| {
            let (hour, minute) = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2)?;
            let minutes = hour.parse::<u16>().ok()? * 60 + minute.parse::<u16>().ok().filter(|minute| *minute < 60)?;
            (minutes <= DAY).then_some(minutes)
        };
        let span = hours.split_once('-').and_then(|(from, to)| Some((clock(from)?, clock(to)?)));
        let (from, to) = span.filter(|(from, to)| from != to && *from < DAY).ok_or_else(|| format!("`{hours}` is no span of hours"))?;
        if lookup(zone).is_none() {
            return Err(format!("no zone is called `{zone}`"));
        }
        Ok(Hours { text: parts.join(" "), days: on, from, to, zone: zone.to_owned() })
    }

    /// Whether an instant lies within.
    pub fn contain(&self, at: Timestamp) -> bool {
        let (Some(instant), Some(zone)) = (instant(at), lookup(&self.zone)) else { return false };
        self.contain_clock(zone.to_datetime(instant))
    }

    /// The first instant from `at` on that lies within; `None`: none within the next two weeks, or beyond all calendars.
    pub fn next(&self, at: Timestamp) -> Option<Timestamp> {
        if self.contain(at) {
            return Some(at);
        }
        let (now, zone) = (instant(at)?, lookup(&self.zone)?);
        let end = now.checked_add(AHEAD).ok()?;
        // A window begins at its hour, or in the moment in which the clocks are set into it.
        let begins = zone.to_datetime(now).date().series(Span::new().days(1)).take(15).flat_map(|date| {
            let hour = date.at((self.from / 60) as i8, (self.from % 60) as i8, 0, 0);
            let read = zone.to_ambiguous_timestamp(hour);
            [read.earlier(), read.later()]
        });
        let set = zone.following(now).map(|transition| transition.timestamp()).take_while(|at| *at <= end);
        let within = |at: &jiff::Timestamp| *at > now && self.contain_clock(zone.to_datetime(*at));
        let first = begins.flatten().chain(set).filter(within).min()?;
        u64::try_from(first.as_millisecond()).ok().map(Timestamp)
    }

    fn contain_clock(&self, clock: DateTime) -> bool {
        let minute = u16::from(clock.hour().unsigned_abs()) * 60 + u16::from(clock.minute().unsigned_abs());
        let on = |day: Weekday| self.days[usize::from(day.to_monday_zero_offset().unsigned_abs())];
        let (today, yesterday) = (on(clock.weekday()), on(clock.weekday().previous()));
        match self.from < self.to {
            true => today && (self.from..self.to).contains(&minute),
            false => today && minute >= self.from || yesterday && minute < self.to,
        }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn instant(at: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()
}

fn lookup(zone: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(zone).ok()
}

fn mark(part: &str, on: &mut [bool; 7]) -> Option<()> {
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    let (first, last) = match part.split_once('-') {
        _ if part == "daily" => (0, 6),
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(part)?, day(part)?),
    };
    // `sat-mon` goes over the end of the week.
    let count = (last + 7 - first) % 7 + 1;
    (first..first + count).for_each(|at| on[at % 7] = true);
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy as _;

    use super::Hours;
    use crate::Timestamp;

    fn at(text: &str) -> Timestamp {
        let instant: jiff::Timestamp = text.parse().expect("an instant");
        Timestamp(instant.as_millisecond().unsigned_abs())
    }

    #[test]
    fn hours_are_those_of_the_clocks_of_their_zone() {
        for (hours, instant, within) in [
            // A Friday; Berlin is two hours ahead in summer, one in winter.
            ("mon-thu 09:00-16:00 Europe/Berlin", "2026-07-10T10:00:00Z", false),
            ("mon-thu 09:00-16:00 Europe/Berlin", "2026-07-09T06:59:59Z", false),
            ("mon-thu 09:00-16:00 Europe/Berlin", "2026-07-09T07:00:00Z", true),
            ("mon-thu 09:00-16:00 Europe/Berlin", "2026-07-09T13:59:59Z", true),
            ("mon-thu 09:00-16:00 Europe/Berlin", "2026-07-09T14:00:00Z", false),
            ("mon-thu 09:00-16:00 Europe/Berlin", "2026-12-10T07:30:00Z", false),
            ("mon-thu 09:00-16:00 Europe/Berlin", "2026-12-10T08:00:00Z", true),
            // Late on Thursday in UTC is Friday in Tokyo.
            ("fri 00:00-24:00 Asia/Tokyo", "2026-07-09T15:00:00Z", true),
            ("fri 00:00-24:00 UTC", "2026-07-09T15:00:00Z", false),
            // Over midnight: it belongs to the day on which it began.
            ("sat 22:00-02:00 UTC", "2026-07-11T23:00:00Z", true),
            ("sat 22:00-02:00 UTC", "2026-07-12T01:59:00Z", true),
            ("sat 22:00-02:00 UTC", "2026-07-11T01:00:00Z", false),
            ("sat-mon 08:00-09:00 UTC", "2026-07-12T08:00:00Z", true),
            ("sat-mon 08:00-09:00 UTC", "2026-07-14T08:00:00Z", false),
            ("mon,wed 08:00-09:00 UTC", "2026-07-08T08:30:00Z", true),
            ("daily 08:00-09:00 UTC", "2026-07-10T08:30:00Z", true),
        ] {
            assert_eq!(Hours::parse(hours).expect(hours).contain(at(instant)), within, "{hours} at {instant}");
        }
    }

    /// Minute after minute, as far as a week and a day.
    fn sought(hours: &Hours, from: Timestamp) -> Option<Timestamp> {
        let begun = Timestamp(from.0 / 60_000 * 60_000);
        let minutes = (1..8 * 24 * 60).map(|minute| Timestamp(begun.0 + minute * 60_000));
        if hours.contain(from) { Some(from) } else { minutes.into_iter().find(|at| hours.contain(*at)) }
    }

    #[test]
    fn the_next_window_begins_when_the_clocks_of_its_zone_say() {
        for (hours, from, next) in [
            ("sat 08:00-10:00 UTC", "2026-07-06T10:00:00Z", "2026-07-11T08:00:00Z"),
            ("sat 08:00-10:00 UTC", "2026-07-11T08:30:12Z", "2026-07-11T08:30:12Z"),
            ("sat 08:00-10:00 UTC", "2026-07-11T10:00:00Z", "2026-07-18T08:00:00Z"),
            ("mon-thu 09:00-16:00 Europe/Berlin", "2026-07-10T10:00:00Z", "2026-07-13T07:00:00Z"),
            // The clocks are set from two to three: half past two is not.
            ("sun 02:30-04:00 Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
            // From three to two: the first hour comes twice.
            ("sun 02:00-02:30 Europe/Berlin", "2026-10-25T00:40:00Z", "2026-10-25T01:00:00Z"),
        ] {
            assert_eq!(Hours::parse(hours).expect(hours).next(at(from)), Some(at(next)), "{hours} from {from}");
        }
    }

    proptest::proptest! {
        /// As if every minute were looked at, also where clocks are set.
        #[test]
        fn the_next_window_is_the_first_one(
            days in 1u8..128,
            (from, to) in (0u16..24 * 4, 0u16..=24 * 4).prop_filter("a span", |(from, to)| from != to),
            zone in proptest::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
            begin in proptest::sample::select(vec!["2026-03-01T00:00:00Z", "2026-03-25T00:00:00Z", "2026-10-22T00:00:00Z", "2026-04-01T00:00:00Z"]),
            later in 0u64..10 * 86_400,
        ) {
            let named: Vec<_> = super::DAYS.iter().enumerate().filter(|(at, _)| days & (1 << at) != 0).map(|(_, day)| *day).collect();
            let clock = |quarters: u16| format!("{:02}:{:02}", quarters / 4, quarters % 4 * 15);
            let hours = Hours::parse(&format!("{} {}-{} {zone}", named.join(","), clock(from), clock(to))).expect("hours");
            let from = Timestamp(at(begin).0 + later * 1_000);
            let found = hours.next(from);
            match sought(&hours, from) {
                Some(sought) => proptest::prop_assert_eq!(found, Some(sought)),
                // An hour that a single day has, and that the clocks are set over in this week.
                None => proptest::prop_assert!(found.is_some_and(|found| hours.contain(found) && found.0 - from.0 >= 7 * 86_400_000)),
            }
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for text in [
            "",
            "mon",
            "mon 09:00-16:00",
            "mo 09:00-16:00 UTC",
            "mon 9:00-16:00 UTC",
            "mon 09:00-25:00 UTC",
            "mon 09:60-16:00 UTC",
            "mon 09:00-09:00 UTC",
            "mon 24:00-01:00 UTC",
            "mon 09:00 UTC",
            "mon 09:00-16:00 Europe/Berlim",
            "mon- 09:00-16:00 UTC",
        ] {
            assert!(Hours::parse(text).is_err(), "{text}");
        }
    }
}
