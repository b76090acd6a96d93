//! Rows that would not survive: a bounded walk over both sides in chunks, as verification walks, each row tried against its
//! plan and the limits of the columns that it would be written to. Holds no transaction, and nothing but counts and some keys.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use ficus_rules::Side;
use ficus_rules::catalog::Table;
use ficus_rules::finding::{Finding, Severity};
use ficus_rules::mapping::{Loss, Lost, Plan, Row, key_of};

use super::{Opened, Options, Report, Subject, Walked};
use crate::error::Error;
use crate::port::{KeyRange, Shared};

/// Rows of one chunk.
const CHUNK: usize = 2_000;

/// What is known of the rows of one side of a pair.
#[derive(Default)]
struct Tally {
    rows: u64,
    all: bool,
    /// By what is lost, and whether because another row has the same: how many rows, and keys of some.
    lost: BTreeMap<(Lost, bool), (u64, Vec<String>)>,
}

/// Walks over all pairs, and says what would not survive.
pub(super) async fn walk(subject: &Subject, plans: &[Plan], legacy: &Opened, modern: &Opened, options: Options, report: &mut Report) {
    for (side, opened, other) in [(Side::Legacy, legacy, modern), (Side::Modern, modern, legacy)] {
        let endpoint = match opened.engine.side(&subject.name, side, plans).await {
            Ok(endpoint) => endpoint,
            Err(error) => {
                // A finding that has told the same has the statement.
                if !report.findings.iter().any(|known| known.side == Some(side) && known.finding.severity == Severity::Refused) {
                    let means = "rows could not be looked at";
                    report.add(subject, Some(side), Finding::refused("refused", error.to_string(), means));
                }
                continue;
            }
        };
        for (pair, plan) in plans.iter().enumerate() {
            let target = other.catalog.table(match side {
                Side::Legacy => &plan.modern.table,
                Side::Modern => &plan.legacy.table,
            });
            let Some(target) = target else { continue };
            if let Err(error) = pair_of(subject, &endpoint, side, (pair, plan), target, options, report).await {
                let table = table_of(plan, side);
                let means = "rows that come after it could not be looked at";
                report.add(subject, Some(side), Finding::warning("rows_unreadable", error.to_string(), means).table(table));
            }
        }
        if options.rows > 0 {
            orphans(subject, side, &endpoint, report).await;
        }
    }
}

async fn pair_of(
    subject: &Subject,
    endpoint: &Shared,
    side: Side,
    (pair, plan): (usize, &Plan),
    target: &Table,
    options: Options,
    report: &mut Report,
) -> Result<(), Error> {
    let table = table_of(plan, side);
    let tally = tally(endpoint, side, (pair, plan), target, options).await?;
    if options.rows > 0 {
        let walked = Walked { capability: subject.name.clone(), side, table: table.to_owned(), rows: tally.rows, all: tally.all };
        report.walked.push(walked);
        let keyless = endpoint.keyless(pair).await?;
        if keyless > 0 {
            let shape = if side == Side::Legacy { &plan.legacy } else { &plan.modern };
            let what = format!("{keyless} rows of {table} have no {}", shape.key);
            let means = match side {
                Side::Legacy => "they have no counterpart, and stay on legacy",
                Side::Modern => "they were born there and belong to nobody on legacy: they stay, and a revert loses them",
            };
            report.add(
                subject,
                Some(side),
                Finding::warning("rows_without_key", what, means).column(table, &shape.key).rows(keyless, Vec::new()),
            );
        }
    }
    let looked = if tally.all { format!("all {} rows", tally.rows) } else { format!("{} rows", tally.rows) };
    let told: Vec<&Loss> = plan.losses.iter().filter(|loss| loss.to == side.other()).collect();
    for loss in &told {
        if !tally.lost.keys().any(|(lost, _)| lost.column == loss.column) {
            let what = format!("column {} of {}: {}", loss.column, loss.table, loss.what);
            let what = if tally.rows > 0 { format!("{what} (none of {looked} of {table})") } else { what };
            let (code, means) = match side {
                Side::Legacy => ("loss", "a value of that sort would not survive the way to modern"),
                Side::Modern => ("revert_loss", "a value of that sort, written on modern, would not survive a revert"),
            };
            report.add(subject, Some(side), Finding::note(code, what, means).column(table, &loss.column));
        }
    }
    for ((lost, again), (rows, samples)) in tally.lost {
        let column = format!("column {} of {}", lost.column, if side == Side::Legacy { &plan.modern.table } else { table });
        let (code, means) = match (side, lost.aside) {
            (Side::Legacy, _) if again => ("rows_twice", "these rows would be set aside, and be missing on modern until they are mended"),
            (Side::Legacy, true) => ("rows_set_aside", "these rows would be set aside, and be missing on modern until they are mended"),
            (Side::Legacy, false) => ("rows_changed", "these rows arrive, and come back otherwise"),
            (Side::Modern, _) => ("revert_set_aside", "these rows of modern would be set aside on their way back"),
        };
        let what = format!("{column}: {}: {rows} of {looked} of {table}", lost.why);
        report.add(subject, Some(side), Finding::warning(code, what, means).column(table, &lost.column).rows(rows, samples));
    }
    Ok(())
}

/// Walks over the rows of one side of a pair.
async fn tally(endpoint: &Shared, side: Side, (pair, plan): (usize, &Plan), target: &Table, options: Options) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    let mut twice = Twice::new(plan, side, target);
    let mut range = KeyRange::default();
    while tally.rows < options.rows {
        let limit = CHUNK.min(usize::try_from(options.rows - tally.rows).unwrap_or(CHUNK));
        let rows = endpoint.chunk(pair, &range, limit).await?;
        let Some(last) = rows.last() else {
            tally.all = true;
            break;
        };
        range.after = Some(last.key.clone());
        for row in &rows {
            let lost = match side {
                Side::Legacy => plan.trial(row, target),
                Side::Modern => plan.trial_back(row, target),
            };
            let again = twice.look(plan, row).into_iter().map(|lost| (lost, true));
            for lost in lost.into_iter().map(|lost| (lost, false)).chain(again) {
                let (rows, samples) = tally.lost.entry(lost).or_default();
                *rows += 1;
                if samples.len() < options.samples {
                    samples.push(key_of(&row.key));
                }
            }
        }
        tally.rows += rows.len() as u64;
    }
    Ok(tally)
}

/// Rows that a unique index of modern takes only once. Hashes of their values are kept, not the values.
struct Twice {
    /// Columns of each index, by their place in a modern row, and what has been seen.
    indexes: Vec<(Vec<String>, Vec<usize>, HashSet<u64>)>,
}

impl Twice {
    fn new(plan: &Plan, side: Side, target: &Table) -> Twice {
        let place = |name: &String| plan.modern.columns.iter().position(|column| column == name);
        let places = |unique: &Vec<String>| Some((unique.clone(), unique.iter().map(place).collect::<Option<Vec<_>>>()?, HashSet::new()));
        let indexes = if side == Side::Legacy { target.unique.iter().filter_map(places).collect() } else { Vec::new() };
        Twice { indexes }
    }

    fn look(&mut self, plan: &Plan, row: &Row) -> Vec<Lost> {
        if self.indexes.is_empty() {
            return Vec::new();
        }
        let Ok(made) = plan.forward(row) else { return Vec::new() };
        let mut lost = Vec::new();
        for (columns, places, seen) in &mut self.indexes {
            // NULL is equal to nothing.
            if places.iter().any(|place| made.values[*place] == ficus_rules::mapping::Value::Null) {
                continue;
            }
            let mut hasher = DefaultHasher::new();
            places.iter().for_each(|place| format!("{:?}", made.values[*place]).hash(&mut hasher));
            if !seen.insert(hasher.finish()) {
                let why = format!("another row has the same {}, and modern takes it once", columns.join(", "));
                lost.push(Lost { column: columns.join(", "), aside: true, why });
            }
        }
        lost
    }
}

async fn orphans(subject: &Subject, side: Side, endpoint: &Shared, report: &mut Report) {
    match endpoint.orphans().await {
        Ok(orphans) => {
            for orphan in orphans {
                let means = "where the other side enforces references, these rows are set aside; elsewhere they go on to dangle";
                report.add(subject, Some(side), Finding::warning("orphans", orphan, means));
            }
        }
        Err(error) => {
            report.add(subject, Some(side), Finding::warning("rows_unreadable", error.to_string(), "orphans were not looked for"))
        }
    }
}

fn table_of(plan: &Plan, side: Side) -> &str {
    match side {
        Side::Legacy => &plan.legacy.table,
        Side::Modern => &plan.modern.table,
    }
}
