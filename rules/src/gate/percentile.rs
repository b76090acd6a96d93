//! The percentiles that have a gate of their own.

/// A share of the answers, the fastest of them: how long the slowest of these took is what a gate judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Percentile {
    /// Half of the answers were faster.
    P50,
    /// Nine of ten.
    P90,
    /// Nineteen of twenty.
    P95,
    /// Ninety-nine of a hundred.
    P99,
}

impl Percentile {
    /// All of them, the middle first.
    pub const ALL: [Percentile; 4] = [Percentile::P50, Percentile::P90, Percentile::P95, Percentile::P99];

    /// What its gate is called.
    pub const fn gate(self) -> &'static str {
        match self {
            Percentile::P50 => "latency_p50",
            Percentile::P90 => "latency_p90",
            Percentile::P95 => "latency_p95",
            Percentile::P99 => "latency_p99",
        }
    }

    /// The one whose gate is called so.
    pub fn of_gate(gate: &str) -> Option<Percentile> {
        Percentile::ALL.into_iter().find(|percentile| percentile.gate() == gate)
    }

    /// The share, from 0 to 1.
    pub const fn share(self) -> f64 {
        match self {
            Percentile::P50 => 0.5,
            Percentile::P90 => 0.9,
            Percentile::P95 => 0.95,
            Percentile::P99 => 0.99,
        }
    }

    /// Of fewer answers, it is the slowest of them.
    pub(crate) const fn enough(self) -> u64 {
        match self {
            Percentile::P50 => 2,
            Percentile::P90 => 10,
            Percentile::P95 => 20,
            Percentile::P99 => 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Percentile;

    #[test]
    fn a_percentile_is_called_as_its_gate() {
        for percentile in Percentile::ALL {
            assert_eq!(Percentile::of_gate(percentile.gate()), Some(percentile));
            assert_eq!(percentile.gate(), format!("latency_p{}", percentile.share() * 100.0));
            // So many answers have one that is slower than the percentile, fewer have none.
            let slower = |answers: u64| ((1.0 - percentile.share()) * answers as f64 + 1e-9).floor();
            assert_eq!((slower(percentile.enough()), slower(percentile.enough() - 1)), (1.0, 0.0), "{percentile:?}");
        }
        assert_eq!(Percentile::of_gate("latency_p42"), None);
    }
}
