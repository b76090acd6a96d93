//! How long a leader may believe that it leads. It asks for a lease elsewhere and renews it there; who grants it counts the
//! lease from when it hears the question, the leader from when it sent it, and for a tenth less: clocks do not run equally
//! fast. So a leader stops before anybody else can begin, also one that was paused in between.
//!
//! Does not decide who leads: whoever grants the lease does.

use std::time::Duration;

use crate::time::Steady;

/// A leader's belief.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mandate {
    until: Steady,
    ended: bool,
}

impl Mandate {
    /// One that nobody else can have.
    pub fn alone() -> Mandate {
        Mandate { until: Steady(u64::MAX), ended: false }
    }

    /// A lease of so long was granted, and asked for at this time.
    pub fn granted(asked: Steady, lasts: Duration) -> Mandate {
        Mandate { until: asked.plus(lasts.mul_f64(0.9)), ended: false }
    }

    /// It was renewed for so long, and that was asked for at this time. What has ended does not begin anew.
    pub fn renew(&mut self, asked: Steady, lasts: Duration) {
        self.until = self.until.max(Mandate::granted(asked, lasts).until);
    }

    /// Somebody else leads, or may.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Whether it may act as a leader.
    pub fn holds(&self, now: Steady) -> bool {
        !self.ended && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Mandate;
    use crate::time::Steady;

    const LASTS: Duration = Duration::from_secs(10);

    #[test]
    fn a_leader_stops_before_its_lease_ends_by_any_clock() {
        // It asks at 0, is heard at 0 at the earliest; its clock is slow by a hundredth, the other's is fast by one.
        let mandate = Mandate::granted(Steady(0), LASTS);
        let last_believed = (0..20_000).rev().find(|at| mandate.holds(Steady(*at))).expect("it holds at the beginning");
        let really = last_believed as f64 / 0.99;
        assert!(really < 10_000.0 / 1.01, "it believes in itself for {really} ms");
    }

    #[test]
    fn a_renewal_counts_from_when_it_was_asked_for() {
        let mut mandate = Mandate::granted(Steady(0), LASTS);
        mandate.renew(Steady(5_000), LASTS);
        assert!(mandate.holds(Steady(13_999)) && !mandate.holds(Steady(14_000)));
        mandate.renew(Steady(1_000), LASTS);
        assert!(mandate.holds(Steady(13_999)), "an answer that comes late takes nothing away");
    }

    #[test]
    fn what_has_ended_does_not_begin_anew() {
        let mut mandate = Mandate::granted(Steady(0), LASTS);
        mandate.end();
        mandate.renew(Steady(1_000), LASTS);
        assert!(!mandate.holds(Steady(1_001)));
        assert!(Mandate::alone().holds(Steady(u64::MAX - 1)));
    }
}
