//! Are both sides equal? Walks the pairs by key while writes go on, and rechecks whatever differs until it agrees, keeps
//! changing, or stays wrong. Reads only; repairing means touching the rows that it found ([`Verifier::repair`]).
//!
//! Rows are compared in modern's shape: mapping forward loses nothing, and a UUID that does not belong to its kept key
//! is found, which mapping back would hide.

mod hash;
mod recheck;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use ficus_rules::count;
use ficus_rules::mapping::{Plan, Row, Value};
use ficus_rules::wire::{TableVerified, VerifyReport, VerifyScope};
use ficus_rules::{Side, Timestamp};

use self::hash::Root;
pub(crate) use self::hash::show;
use crate::crash;
use crate::error::Error;
use crate::metrics;
use crate::port::{Direction, KeyRange, Shared, Touched};
use crate::state::{Dirty, State, now};

/// Rows read at a time.
const CHUNK: usize = 1_000;

/// Rows that may be left set aside by a way back: of more, some count as drift.
const LEFT: u32 = 100_000;

/// Samples of differing keys in a report.
const SAMPLES: usize = 10;

/// Compares both sides of a capability.
pub(crate) struct Verifier {
    pub(crate) legacy: Shared,
    pub(crate) modern: Shared,
    pub(crate) plans: Arc<Vec<Plan>>,
    pub(crate) state: Arc<State>,
    /// Whose rows are right.
    pub(crate) owner: Side,
}

/// The comparison of one pair.
#[derive(Default)]
pub(crate) struct Compared {
    legacy_rows: u64,
    modern_rows: u64,
    legacy_root: Root,
    modern_root: Root,
    /// What differs and stays so: the key, and how it differs.
    drift: Vec<(Value, String)>,
    /// What its owner changed too often to be compared.
    restless: Vec<Value>,
    /// Rows of modern that nothing correlates.
    keyless: u64,
}

/// One row of both sides. Legacy's is already in modern's shape; if it has none, why.
pub(crate) struct Both {
    legacy: Option<Result<Row, String>>,
    modern: Option<Row>,
}

impl Verifier {
    /// Compares, and reports under the token of the wish. One at a time; may be ended anywhere. `leaves_aside`: rows that are known to
    /// be set aside are no drift.
    pub(crate) async fn run(&self, token: u64, scope: VerifyScope, leaves_aside: bool) -> Result<(), Error> {
        let _turn = self.state.verification().await;
        self.state.update(|report| {
            // The last answer stays until there is a new one: its token says whose it is, and the parity gate needs it.
            let begun = || VerifyReport { token, done: false, at: Timestamp::default(), tables: Vec::new() };
            report.verified.get_or_insert_with(begun);
        });
        let taken = self.state.take_dirty();
        // A log that is not read while strangers are let in does not tell which rows they wrote; a way back that leaves them aside has
        // read it to its end.
        let strays = !leaves_aside && self.state.report().strays.iter().any(|strays| strays.unsettled > 0);
        let keys = if scope == VerifyScope::Changed && !strays { taken.keys.by_pair() } else { None };
        let mut tables = Vec::new();
        let mut again = Dirty::nothing();
        let aside = if leaves_aside { self.aside().await? } else { HashSet::new() };
        for pair in 0..self.plans.len() {
            let mut compared = match &keys {
                Some(keys) => self.some(pair, keys.get(&pair).map_or(&[], Vec::as_slice)).await?,
                None => self.all(pair).await?,
            };
            compared.remember(pair, &mut again);
            compared.drift.retain(|(key, _)| !aside.contains(&(self.plans[pair].pair.clone(), hash::show(key))));
            tables.push(self.table(pair, compared));
        }
        if keys.is_none() {
            self.note_orphans(&mut tables).await?;
        }
        crash::point(if scope == VerifyScope::Full { "verify_full" } else { "verify_changed" });
        let report = VerifyReport { token, done: true, at: now(), tables };
        // All of it was looked at: what is not right, or could not be told, is looked at again.
        taken.settle();
        self.state.keep_dirty(again);
        self.state.update(|state| state.verified = Some(report));
        Ok(())
    }

    /// The rows that are known not to be on the side that does not own as they are on the one that does, by pair and key.
    async fn aside(&self) -> Result<HashSet<(String, String)>, Error> {
        let mut kept = self.side(self.owner.other()).set_aside(LEFT).await?;
        kept.extend(self.legacy.show_unsettled(LEFT).await?);
        Ok(kept.into_iter().map(|kept| (kept.pair, kept.key)).collect())
    }

    /// What was set aside on its way to the side that owns now was left behind by the way back, and is decided by a repair: its own rows
    /// are right.
    pub(crate) async fn forget_aside(&self) -> Result<(), Error> {
        let owner = self.side(self.owner);
        let left = owner.quarantined().await?;
        if left > 0 {
            owner.forget_aside().await?;
            tracing::warn!(capability = %self.state.capability, rows = left, "rows that a revert left set aside are decided: the owner's stay");
            self.state.set_quarantined(Direction::from(self.owner.other()), 0);
            self.state.show_aside(self.owner.other(), Vec::new());
        }
        Ok(())
    }

    /// Writes the owner's rows over everything that differs, through its log and the stream. The number of rows; `None`: it is not
    /// wanted any more, and has stopped between two chunks.
    pub(crate) async fn repair(&self, pairs: &[usize], wanted: &tokio::sync::Mutex<bool>) -> Result<Option<u64>, Error> {
        let owner = self.side(self.owner);
        let mut rows = 0;
        for pair in pairs {
            let drift = self.all(*pair).await?.drift;
            let touched: Vec<Touched> = drift.into_iter().map(|(key, _)| Touched { pair: *pair, key }).collect();
            crash::point("repair");
            for chunk in touched.chunks(CHUNK) {
                let wanted = wanted.lock().await;
                if !*wanted {
                    return Ok(None);
                }
                owner.touch(chunk).await?;
            }
            rows += touched.len() as u64;
        }
        let end = owner.end_position().await?;
        while !self.state.applied(self.owner, end, std::time::Duration::from_secs(5)).await {
            tracing::info!(capability = %self.state.capability, "repair waits for the stream");
        }
        Ok(Some(rows))
    }

    fn side(&self, side: Side) -> &Shared {
        match side {
            Side::Legacy => &self.legacy,
            Side::Modern => &self.modern,
        }
    }

    /// Every row of a pair.
    async fn all(&self, pair: usize) -> Result<Compared, Error> {
        let mut compared = Compared { keyless: self.modern.keyless(pair).await?, ..Compared::default() };
        let mut after: Option<Value> = None;
        loop {
            let legacy = self.legacy.chunk(pair, &KeyRange { after: after.clone(), through: None }, CHUNK).await?;
            let through = (legacy.len() == CHUNK).then(|| legacy.last().map(|row| row.key.clone())).flatten();
            let mut modern = Vec::new();
            let mut from = after;
            loop {
                let rows = self.modern.chunk(pair, &KeyRange { after: from, through: through.clone() }, CHUNK).await?;
                from = rows.last().map(|row| row.key.clone());
                let more = rows.len() == CHUNK;
                modern.extend(rows);
                if !more {
                    break;
                }
            }
            self.compare(pair, legacy, modern, &mut compared).await?;
            match through {
                Some(through) => after = Some(through),
                None => return Ok(compared),
            }
        }
    }

    /// These rows of a pair.
    async fn some(&self, pair: usize, keys: &[Value]) -> Result<Compared, Error> {
        let mut compared = Compared::default();
        for keys in keys.chunks(CHUNK) {
            let (legacy, modern) = (self.legacy.rows(pair, keys).await?, self.modern.rows(pair, keys).await?);
            self.compare(pair, legacy, modern, &mut compared).await?;
        }
        Ok(compared)
    }

    async fn compare(&self, pair: usize, legacy: Vec<Row>, modern: Vec<Row>, compared: &mut Compared) -> Result<(), Error> {
        compared.legacy_rows += legacy.len() as u64;
        compared.modern_rows += modern.len() as u64;
        let mut suspects = Vec::new();
        for (key, both) in self.join(pair, legacy, modern) {
            match self.difference(pair, &both) {
                None => compared.agree(&both),
                Some(_) => suspects.push(key),
            }
        }
        self.recheck(pair, suspects, compared).await
    }

    /// Rows of both sides by key, legacy's in modern's shape, and all in the one form of what means the same.
    fn join(&self, pair: usize, legacy: Vec<Row>, modern: Vec<Row>) -> Vec<(Value, Both)> {
        let plan = &self.plans[pair];
        let mut rows: BTreeMap<Vec<u8>, (Value, Both)> = BTreeMap::new();
        for row in legacy {
            let mapped = plan.forward(&row).map(|row| plan.canonical(row)).map_err(|error| error.to_string());
            rows.insert(hash::key(&row.key), (row.key, Both { legacy: Some(mapped), modern: None }));
        }
        for mut row in modern {
            row.values.truncate(plan.modern.columns.len());
            let entry = rows.entry(hash::key(&row.key)).or_insert_with(|| (row.key.clone(), Both { legacy: None, modern: None }));
            entry.1.modern = Some(plan.canonical(row));
        }
        rows.into_values().collect()
    }

    /// How the two differ; names a column at most.
    fn difference(&self, pair: usize, both: &Both) -> Option<String> {
        match (&both.legacy, &both.modern) {
            (None, None) => None,
            (Some(Err(why)), _) => Some(why.clone()),
            (Some(Ok(_)), None) => Some("missing on modern".to_owned()),
            (None, Some(_)) => Some("missing on legacy".to_owned()),
            (Some(Ok(legacy)), Some(modern)) => self.plans[pair].differing_column(legacy, modern).map(str::to_owned),
        }
    }

    fn table(&self, pair: usize, compared: Compared) -> TableVerified {
        let plan = &self.plans[pair];
        let drift_rows = compared.drift.len() as u64 + compared.keyless;
        let labels = [self.state.capability.as_str(), plan.pair.as_str()];
        metrics::DRIFT.with_label_values(&labels).set(i64::try_from(drift_rows).unwrap_or(i64::MAX));
        let mut samples: Vec<String> =
            compared.drift.iter().take(SAMPLES).map(|(key, how)| format!("{}={}: {how}", plan.legacy.key, hash::show(key))).collect();
        if compared.keyless > 0 {
            samples.insert(
                0,
                format!("{} of modern table {} without {}", count::of(compared.keyless, "row"), plan.modern.table, plan.modern.key),
            );
        }
        if !compared.restless.is_empty() {
            let rows = compared.restless.len();
            tracing::warn!(capability = %self.state.capability, table = %plan.pair, rows, "rows changed too often to be compared");
            samples.insert(0, format!("no drift, but: {} changed too often to be compared", count::of(rows as u64, "row")));
        }
        TableVerified {
            legacy: plan.legacy.table.clone(),
            modern: plan.modern.table.clone(),
            legacy_rows: compared.legacy_rows,
            modern_rows: compared.modern_rows,
            drift_rows,
            legacy_root: compared.legacy_root.to_string(),
            modern_root: compared.modern_root.to_string(),
            samples,
        }
    }

    /// References that lead nowhere are worth knowing, and are no drift: both sides have them.
    async fn note_orphans(&self, tables: &mut [TableVerified]) -> Result<(), Error> {
        let orphans = self.legacy.orphans().await?.into_iter().chain(self.modern.orphans().await?);
        for orphan in orphans {
            tracing::warn!(capability = %self.state.capability, %orphan, "references that lead nowhere");
            if let Some(table) = tables.first_mut().filter(|table| table.samples.len() < SAMPLES) {
                table.samples.push(format!("no drift, but: {orphan}"));
            }
        }
        Ok(())
    }
}

impl Compared {
    /// What the next verification has to look at again, whatever its scope. Rows without a key have no other handle than
    /// everything.
    fn remember(&self, pair: usize, again: &mut Dirty) {
        again.add(self.drift.iter().map(|(key, _)| key).chain(&self.restless).map(|key| (pair, key.clone())));
        if self.keyless > 0 {
            *again = Dirty::default();
        }
    }

    /// Both sides have the same row, or the same nothing.
    fn agree(&mut self, both: &Both) {
        if let Some(row) = &both.modern {
            self.legacy_root.add(row);
            self.modern_root.add(row);
        }
    }

    /// They differ, and it is no write in flight.
    fn differ(&mut self, key: Value, both: &Both, how: String) {
        match &both.legacy {
            Some(Ok(row)) => self.legacy_root.add(row),
            Some(Err(_)) => self.legacy_root.add(&Row { key: key.clone(), values: Vec::new() }),
            None => {}
        }
        if let Some(row) = &both.modern {
            self.modern_root.add(row);
        }
        self.drift.push((key, how));
    }
}
