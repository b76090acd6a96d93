//! Rows that differ at first sight: written a moment ago, or wrong? The owner's row is read, the stream is awaited until
//! it has applied everything up to then, the other side is read, and the owner's once more. A row that the owner changed
//! in between proves nothing; one that it left alone, twice in a row, and that still differs, is drift.

use std::time::Duration;

use ficus_rules::Side;
use ficus_rules::mapping::{Row, Value};

use super::{Both, Compared, Verifier};
use crate::error::Error;

/// A row that changes in each of so many rounds is left to the stream: every change writes all of it anew.
const ROUNDS: u32 = 60;

/// Rounds in a row that have to agree that a row is wrong.
const CONFIRMED: u32 = 2;

/// How long one round waits for the stream.
const PATIENCE: Duration = Duration::from_secs(10);

struct Suspect {
    key: Value,
    seen: u32,
}

impl Verifier {
    pub(super) async fn recheck(&self, pair: usize, keys: Vec<Value>, compared: &mut Compared) -> Result<(), Error> {
        let mut suspects: Vec<Suspect> = keys.into_iter().map(|key| Suspect { key, seen: 0 }).collect();
        for round in 0..ROUNDS {
            if suspects.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(u64::from(round.min(10)) * 3)).await;
            suspects = self.round(pair, suspects, compared).await?;
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
        for Suspect { key, seen } in suspects {
            let pick = |rows: &[Row]| rows.iter().find(|row| row.key == key).cloned();
            let (one, two, copy) = (pick(&before), pick(&after), pick(&there));
            let first = self.both(pair, one.clone(), copy.clone());
            let second = self.both(pair, two.clone(), copy);
            if self.difference(pair, &first).is_none() {
                compared.agree(&first);
            } else if let Some(how) = self.difference(pair, &second) {
                let settled = caught_up && one == two;
                match (settled, seen + 1 >= CONFIRMED) {
                    (true, true) => compared.differ(key, &second, how),
                    (true, false) => left.push(Suspect { key, seen: seen + 1 }),
                    (false, _) => left.push(Suspect { key, seen: 0 }),
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
