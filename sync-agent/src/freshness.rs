//! Up to which moment a target has everything, judged by what looks at the source find. Pure; all times are the agent's.

use ficus_rules::Timestamp;

use crate::port::Position;

/// Follows one stream.
#[derive(Default)]
pub(crate) struct Freshness {
    /// The oldest end that is not reached yet, and when it was read: who writes without a pause moves the end on and on.
    ahead: Option<(Position, Timestamp)>,
}

/// What a look at the source found, once it is applied.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    /// When it began: whatever was committed then lies before `end`.
    pub(crate) asked: Timestamp,
    /// Where the log ended.
    pub(crate) end: Position,
    /// Up to where the target has it now.
    pub(crate) reached: Position,
}

impl Freshness {
    /// The moment up to which nothing is missing; `None`: none that is later than those before.
    pub(crate) fn after(&mut self, look: Look) -> Option<Timestamp> {
        if look.reached >= look.end {
            self.ahead = None;
            return Some(look.asked);
        }
        // Unless the clock was set back meanwhile.
        let through = self.ahead.filter(|(end, since)| look.reached >= *end && *since <= look.asked).map(|(_, since)| since);
        if self.ahead.is_none_or(|(end, _)| look.reached >= end) {
            self.ahead = Some((look.end, look.asked));
        }
        through
    }
}

#[cfg(test)]
mod tests {
    use super::{Freshness, Look};
    use crate::port::Position;
    use ficus_rules::Timestamp;

    fn look(asked: u64, end: u64, reached: u64) -> Look {
        Look { asked: Timestamp(asked), end: Position(end), reached: Position(reached) }
    }

    #[test]
    fn a_complete_look_is_fresh_as_of_its_beginning() {
        let mut freshness = Freshness::default();
        assert_eq!(freshness.after(look(10, 100, 100)), Some(Timestamp(10)));
        assert_eq!(freshness.after(look(20, 100, 100)), Some(Timestamp(20)));
    }

    #[test]
    fn it_goes_on_while_somebody_writes_without_a_pause() {
        let mut freshness = Freshness::default();
        // The end runs before us by 50 all the time.
        let moments: Vec<_> = (0..6).map(|step| freshness.after(look(10 * step, 100 + 40 * step, 50 + 40 * step))).collect();
        let through = |at| Some(Timestamp(at));
        // 100, read at 0, is behind us at the look of 20; 180, read then, at the look of 40.
        assert_eq!(moments, [None, None, through(0), None, through(20), None]);
    }

    #[test]
    fn it_never_claims_what_was_read_later_than_the_end_that_is_reached() {
        let mut freshness = Freshness::default();
        assert_eq!(freshness.after(look(10, 100, 20)), None);
        assert_eq!(freshness.after(look(20, 200, 99)), None);
        assert_eq!(freshness.after(look(30, 300, 199)), Some(Timestamp(10)), "not 20: 200 is not reached");
        assert_eq!(freshness.after(look(40, 400, 299)), None);
        assert_eq!(freshness.after(look(50, 400, 300)), Some(Timestamp(30)));
    }

    #[test]
    fn a_clock_that_was_set_back_begins_anew() {
        let mut freshness = Freshness::default();
        assert_eq!(freshness.after(look(1_000, 100, 20)), None);
        assert_eq!(freshness.after(look(10, 200, 150)), None, "1000 is in the future now");
        assert_eq!(freshness.after(look(20, 300, 210)), Some(Timestamp(10)));
    }
}
