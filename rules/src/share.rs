//! Shares of a whole, in millionths: exact, ordered, free of floating point.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A share between nothing and everything, in steps of a millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(u32);

impl Share {
    /// Nothing.
    pub const NONE: Share = Share(0);
    /// Everything.
    pub const ALL: Share = Share(1_000_000);

    /// `millionths` of the whole; more than a million is everything.
    pub fn from_millionths(millionths: u32) -> Share {
        Share(millionths.min(1_000_000))
    }

    /// The share in millionths.
    pub fn millionths(self) -> u32 {
        self.0
    }

    /// The share as a number between 0 and 1.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// Reads `"5%"`, `"0.5%"`, `"100 %"`: at most four decimals, at most 100.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Share, String> {
        let expected = || format!("`{text}` is not a percentage: write it like \"5%\" or \"0.5%\"");
        let number = text.trim().strip_suffix('%').ok_or_else(expected)?.trim();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || decimals.len() > 4 || !digits(whole) || !digits(decimals) {
            return Err(expected());
        }
        let padded = format!("{decimals:0<4}");
        let millionths = whole.parse::<u32>().map_err(|_| expected())? * 10_000 + padded.parse::<u32>().map_err(|_| expected())?;
        if millionths > 1_000_000 {
            return Err(format!("`{text}` is more than 100%"));
        }
        Ok(Share(millionths))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 10_000, self.0 % 10_000);
        if decimals == 0 {
            return write!(f, "{whole}%");
        }
        let decimals = format!("{decimals:04}");
        write!(f, "{whole}.{}%", decimals.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn a_share_reads_back_what_it_prints() {
        for millionths in [0, 1, 10, 5_000, 50_000, 123_456, 999_999, 1_000_000] {
            let share = Share::from_millionths(millionths);
            let printed = share.to_string();
            assert_eq!(Share::parse(&printed), Ok(share), "{printed}");
        }
    }

    #[test]
    fn what_is_no_percentage_is_refused() {
        for text in ["", "5", "%", "101%", "100.0001%", "-1%", "1.23456%", "five%", "1e2%", "0x5%", "+5%"] {
            assert!(Share::parse(text).is_err(), "{text}");
        }
    }
}
