//! Rows that differ at first sight: written a moment ago, or wrong? The owner's row is read, the stream is awaited until
//! it has applied everything up to then, the other side is read, and the owner's once more. A row that the owner changed
//! in between proves nothing; one that it left alone, twice in a row, and that still differs, is drift.

use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::mapping::{Row, Value};

use super::{Both, Compared, Verifier};
use crate::error::Error;

/// Rounds that a row gets. One that its owner changed in most of them is left to the stream: every change writes all of
/// it anew. One that the stream did not catch up with is drift.
const ROUNDS: u32 = 60;

/// Rounds in a row that have to agree that a row is wrong.
const CONFIRMED: u32 = 2;

/// How long one round waits for the stream.
const PATIENCE: Duration = Duration::from_secs(10);

/// A row that differs, and what the rounds so far have shown.
struct Suspect {
    key: Value,
    /// Rounds in a row in which it was left alone, and wrong.
    wrong: u32,
    /// Rounds in which the owner changed it while the stream kept up.
    moved: u32,
    /// Rounds in which the stream did not catch up.
    late: u32,
    /// How it was when last seen.
    seen: Option<(Both, String)>,
}

impl Suspect {
    fn new(key: Value) -> Suspect {
        Suspect { key, wrong: 0, moved: 0, late: 0, seen: None }
    }

    /// One more round in which it differed.
    fn note(&mut self, caught_up: bool, moved: bool) {
        match (caught_up, moved) {
            (false, _) => (self.late, self.wrong) = (self.late + 1, 0),
            (true, true) => (self.moved, self.wrong) = (self.moved + 1, 0),
            (true, false) => self.wrong += 1,
        }
    }

    fn is_wrong(&self) -> bool {
        self.wrong >= CONFIRMED
    }

    /// Whether nothing but its owner's writes kept the rounds from a judgement.
    fn is_restless(&self) -> bool {
        self.moved > self.late
    }
}

impl Verifier {
    pub(super) async fn recheck(&self, pair: usize, keys: Vec<Value>, compared: &mut Compared) -> Result<(), Error> {
        let mut suspects: Vec<Suspect> = keys.into_iter().map(Suspect::new).collect();
        for round in 0..ROUNDS {
            if suspects.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(u64::from(round.min(10)) * 3)).await;
            suspects = self.round(pair, suspects, compared).await?;
        }
        for suspect in suspects {
            compared.give_up(suspect);
        }
        Ok(())
    }

    async fn round(&self, pair: usize, suspects: Vec<Suspect>, compared: &mut Compared) -> Result<Vec<Suspect>, Error> {
        let (owner, other) = (self.side(self.owner), self.side(self.owner.other()));
        let keys: Vec<Value> = suspects.iter().map(|suspect| suspect.key.clone()).collect();
        let before = owner.rows(pair, &keys).await?;
        let end = owner.end_position().await?;
        let caught_up = self.state.applied(self.owner, end, PATIENCE).await;
        let there = other.rows(pair, &keys).await?;
        let after = owner.rows(pair, &keys).await?;

        let mut left = Vec::new();
        for mut suspect in suspects {
            let pick = |rows: &[Row]| rows.iter().find(|row| row.key == suspect.key).cloned();
            let (one, two, copy) = (pick(&before), pick(&after), pick(&there));
            let first = self.both(pair, one.clone(), copy.clone());
            let second = self.both(pair, two.clone(), copy);
            if self.difference(pair, &first).is_none() {
                compared.agree(&first);
            } else if let Some(how) = self.difference(pair, &second) {
                suspect.note(caught_up, one != two);
                if suspect.is_wrong() {
                    compared.differ(suspect.key, &second, how);
                } else {
                    suspect.seen = Some((second, how));
                    left.push(suspect);
                }
            } else {
                compared.agree(&second);
            }
        }
        Ok(left)
    }

    /// One row of the owner beside its copy.
    fn both(&self, pair: usize, owners: Option<Row>, copy: Option<Row>) -> Both {
        let (legacy, modern) = match self.owner {
            Side::Legacy => (owners, copy),
            Side::Modern => (copy, owners),
        };
        let joined = self.join(pair, legacy.into_iter().collect(), modern.into_iter().collect());
        joined.into_iter().next().map_or(Both { legacy: None, modern: None }, |(_, both)| both)
    }
}

impl Compared {
    /// The rounds are over without a judgement.
    fn give_up(&mut self, suspect: Suspect) {
        let restless = suspect.is_restless();
        match suspect.seen {
            Some((both, how)) if !restless => self.differ(suspect.key, &both, format!("{how} (the stream did not catch up)")),
            _ => self.restless.push(suspect.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rounds: impl IntoIterator<Item = (bool, bool)>) -> Suspect {
        let mut suspect = Suspect::new(Value::Int(1));
        for (caught_up, moved) in rounds {
            suspect.note(caught_up, moved);
            suspect.seen = Some((Both { legacy: None, modern: None }, "column".to_owned()));
        }
        suspect
    }

    fn given_up(suspect: Suspect) -> (usize, usize) {
        let mut compared = Compared::default();
        compared.give_up(suspect);
        (compared.drift.len(), compared.restless.len())
    }

    #[test]
    fn a_row_left_alone_twice_in_a_row_is_wrong() {
        let (alone, moved) = ((true, false), (true, true));
        assert!(after([alone, alone]).is_wrong());
        assert!(!after([alone, moved, alone]).is_wrong());
    }

    #[test]
    fn a_row_that_the_stream_never_caught_up_with_is_drift() {
        assert_eq!(given_up(after([(false, false); 60])), (1, 0));
        assert_eq!(given_up(after([(false, true); 60])), (1, 0), "nor does it help that its owner changed it");
    }

    #[test]
    fn a_row_that_its_owner_kept_changing_is_excused_and_counted() {
        assert_eq!(given_up(after([(true, true); 60])), (0, 1));
        assert_eq!(given_up(after((0..60).map(|round| (round % 7 != 0, true)))), (0, 1), "late now and then");
    }
}
