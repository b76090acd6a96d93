//! Chance out of a seed (SplitMix64), and clocks that do not agree. The same seed, the same world.

use crate::Timestamp;
use crate::time::Steady;

/// A stream of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    pub(super) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// A machine's clock: up to a hundredth fast or slow, and set by somebody now and then.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clock {
    /// Millionths that it is fast.
    rate: i64,
    /// Milliseconds that it was set ahead.
    pub(super) ahead: i64,
}

impl Clock {
    pub(super) fn new(chance: &mut Chance) -> Clock {
        Clock { rate: chance.below(20_001) as i64 - 10_000, ahead: chance.below(4_001) as i64 - 2_000 }
    }

    /// What nobody sets, `now` milliseconds after the world began.
    pub(super) fn steady(&self, now: u64) -> Steady {
        Steady((now as i64 * (1_000_000 + self.rate) / 1_000_000) as u64)
    }

    /// What people read.
    pub(super) fn wall(&self, now: u64) -> Timestamp {
        Timestamp((1_000_000_000 + self.steady(now).0 as i64 + self.ahead) as u64)
    }
}
