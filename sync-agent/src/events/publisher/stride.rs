//! How many events are on their way to a bus at once: more while it is quick, fewer after a failure. A bus that is slow, and
//! given more than it takes within the patience, would be given the same again and again. Pure.

use std::time::Duration;

use super::super::broker::PATIENCE;

/// To begin with.
const FIRST: usize = 16;
/// All that is read at once.
const MOST: usize = super::PIECE as usize;

/// Twice as many still take half of the patience at most.
const QUICK: Duration = PATIENCE.checked_div(4).expect("four is not zero");

/// How many at most.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stride(usize);

impl Default for Stride {
    fn default() -> Stride {
        Stride(FIRST)
    }
}

impl Stride {
    pub(super) fn most(&self) -> usize {
        self.0
    }

    /// So many were confirmed.
    pub(super) fn arrived(&mut self, events: usize, took: Duration) {
        if took < QUICK && events >= self.0 {
            self.0 = (self.0 * 2).min(MOST);
        }
    }

    /// Of so many it is not known.
    pub(super) fn failed(&mut self, events: usize) {
        self.0 = (events / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a bus that takes so long for each event: how many it is given at once, and how often it was too late.
    fn settled(each: Duration) -> (usize, u32) {
        let (mut stride, mut late) = (Stride(MOST), 0);
        for _ in 0..100 {
            let took = each * u32::try_from(stride.most()).unwrap_or(u32::MAX);
            if took > PATIENCE {
                late += 1;
                stride.failed(stride.most());
            } else {
                stride.arrived(stride.most(), took);
            }
        }
        (stride.most(), late)
    }

    #[test]
    fn a_slow_bus_is_given_what_it_takes_in_time() {
        assert_eq!(settled(Duration::from_micros(10)), (MOST, 0));
        assert_eq!(settled(Duration::from_millis(100)), (62, 3));
        assert_eq!(settled(Duration::from_secs(9)), (1, 8), "one by one, if it has to be");
        let mut lost = Stride(MOST);
        for _ in 0..30 {
            lost.failed(lost.most());
        }
        assert_eq!(lost, Stride(1), "never nothing");
    }

    #[test]
    fn few_events_that_are_quick_prove_nothing() {
        let mut stride = Stride::default();
        stride.arrived(1, Duration::ZERO);
        assert_eq!(stride, Stride(FIRST));
    }
}
