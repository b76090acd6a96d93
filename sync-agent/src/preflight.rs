//! A look at real databases before anything moves: `ficus check --live`. Opens both sides of every capability, asks the
//! engines and the catalogs what stands in the way, and walks over rows to see what would not survive. Creates nothing.
//!
//! What is wrong with settings and tables is found by the engines ([`crate::port::Engine::findings`]) and in
//! [`ficus_rules::preflight`]; this only asks, and puts it together.

mod rows;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ficus_rules::Side;
use ficus_rules::catalog::Catalog;
use ficus_rules::finding::{Finding, Severity};
use ficus_rules::mapping::{Plan, compile};
use ficus_rules::preflight::{Asked, Elsewhere, tables};
use serde::Serialize;

use crate::agent::Resolved;
use crate::engine::open;
use crate::error::Error;
use crate::port::{Engine, Wanted};

/// A clock that is further off is told.
const CLOCK: Duration = Duration::from_secs(2);

/// A capability that is looked at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Capabilities that it says it joins.
    pub depends_on: Vec<String>,
    /// Capabilities before which it may move, whatever its foreign keys say.
    pub ahead_of: Vec<String>,
    /// Its databases and tables.
    pub resolved: Resolved,
}

/// How much is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Rows of each table at most; 0: none.
    pub rows: u64,
    /// Keys of rows that would not survive, for each finding.
    pub samples: usize,
}

/// A finding, and where.
#[derive(Debug, Clone, Serialize)]
pub struct Placed {
    /// The capability.
    pub capability: String,
    /// The side; none: the rule file.
    pub side: Option<Side>,
    /// The upstream whose database it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
}

/// A database that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Seen {
    /// The capability.
    pub capability: String,
    /// The side.
    pub side: Side,
    /// The upstream.
    pub upstream: String,
    /// What it is: `PostgreSQL 15.18`; empty: it could not be opened.
    pub engine: String,
}

/// A table whose rows were looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Walked {
    /// The capability.
    pub capability: String,
    /// The side.
    pub side: Side,
    /// The table.
    pub table: String,
    /// How many rows.
    pub rows: u64,
    /// There are no others.
    pub all: bool,
}

/// All that was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// The databases.
    pub databases: Vec<Seen>,
    /// By capability, side and severity: the worst first.
    pub findings: Vec<Placed>,
    /// Tables whose rows were looked at.
    pub walked: Vec<Walked>,
}

impl Report {
    /// Whether an agent would not start with one of the capabilities.
    pub fn refuses(&self) -> bool {
        self.findings.iter().any(|placed| placed.finding.severity == Severity::Refused)
    }

    fn add(&mut self, subject: &Subject, side: Option<Side>, finding: Finding) {
        let upstream = side.map(|side| match side {
            Side::Legacy => subject.resolved.legacy.clone(),
            Side::Modern => subject.resolved.modern.clone(),
        });
        self.findings.push(Placed { capability: subject.name.clone(), side, upstream, finding });
    }
}

/// Looks at all capabilities. What cannot be asked is a finding, too.
pub async fn look(subjects: &[Subject], options: Options) -> Report {
    let mut report = Report::default();
    for subject in subjects {
        let (legacy, modern) = (side(subject, Side::Legacy, &mut report).await, side(subject, Side::Modern, &mut report).await);
        match (&legacy, &modern) {
            (Some(legacy), Some(modern)) => both(subjects, subject, legacy, modern, options, &mut report).await,
            (one, other) => {
                // What is wrong with a server does not wait for the other one.
                for (side, opened) in [(Side::Legacy, one), (Side::Modern, other)] {
                    if let Some(opened) = opened {
                        let wanted = Wanted::of_maps(&subject.name, side, &subject.resolved.tables);
                        ask(subjects, subject, opened, wanted, &mut report).await;
                    }
                }
            }
        }
        for side in [legacy, modern].into_iter().flatten() {
            side.engine.close().await;
        }
    }
    let place = |placed: &Placed| (placed.capability.clone(), placed.side, std::cmp::Reverse(placed.finding.severity));
    report.findings.sort_by_key(place);
    report
}

/// All tables of the database behind a URL. `label` names it in errors.
///
/// # Errors
/// It cannot be opened or read.
pub async fn catalog(url: &str, label: &str) -> Result<Catalog, Error> {
    let engine = open(url, label).await?;
    let catalog = engine.catalog().await;
    engine.close().await;
    catalog
}

/// An opened side.
struct Opened {
    engine: Box<dyn Engine>,
    catalog: Catalog,
}

async fn side(subject: &Subject, side: Side, report: &mut Report) -> Option<Opened> {
    let resolved = &subject.resolved;
    let (url, upstream) = match side {
        Side::Legacy => (&resolved.legacy_url, &resolved.legacy),
        Side::Modern => (&resolved.modern_url, &resolved.modern),
    };
    let mut seen = Seen { capability: subject.name.clone(), side, upstream: upstream.clone(), engine: String::new() };
    let opened = async {
        let engine = open(url, &format!("{upstream} ({side})")).await?;
        match engine.catalog().await {
            Ok(catalog) => Ok::<_, Error>(Opened { engine, catalog }),
            Err(error) => {
                engine.close().await;
                Err(error)
            }
        }
    };
    let opened = match opened.await {
        Ok(opened) => Some(opened),
        Err(error) => {
            report.add(subject, Some(side), Finding::refused("unreachable", error.to_string(), "nothing else of it could be looked at"));
            None
        }
    };
    seen.engine = opened.as_ref().map(|opened| opened.catalog.engine.clone()).unwrap_or_default();
    report.databases.push(seen);
    opened
}

fn uses(subject: &Subject, url: &str) -> bool {
    subject.resolved.legacy_url == *url || subject.resolved.modern_url == *url
}

async fn both(subjects: &[Subject], subject: &Subject, legacy: &Opened, modern: &Opened, options: Options, report: &mut Report) {
    let maps = &subject.resolved.tables;
    let compiled = compile(&subject.name, maps, &legacy.catalog.columns(), &modern.catalog.columns());
    let (plans, errors) = match compiled {
        Ok(plans) => (Some(plans), Vec::new()),
        Err(errors) => (None, errors),
    };
    for (side, opened) in [(Side::Legacy, legacy), (Side::Modern, modern)] {
        let shape = |plan: &'_ Plan| match side {
            Side::Legacy => plan.legacy.clone(),
            Side::Modern => plan.modern.clone(),
        };
        let shapes: Option<Vec<_>> = plans.as_ref().map(|plans| plans.iter().map(shape).collect());
        let wanted = match &shapes {
            Some(shapes) => Wanted::of_shapes(&subject.name, side, shapes.iter()),
            None => Wanted::of_maps(&subject.name, side, maps),
        };
        ask(subjects, subject, opened, wanted, report).await;
    }
    let elsewhere = elsewhere(subjects, subject);
    let asked = Asked {
        capability: &subject.name,
        depends_on: &subject.depends_on,
        ahead_of: &subject.ahead_of,
        maps,
        legacy: &legacy.catalog,
        modern: &modern.catalog,
        elsewhere: &elsewhere,
    };
    for (side, finding) in tables(&asked, &errors) {
        report.add(subject, side, finding);
    }
    if let Some(plans) = plans {
        rows::walk(subject, &plans, legacy, modern, options, report).await;
    }
}

/// What only the engine knows.
async fn ask(subjects: &[Subject], subject: &Subject, opened: &Opened, mut wanted: Wanted, report: &mut Report) {
    let side = wanted.side;
    let url = match side {
        Side::Legacy => &subject.resolved.legacy_url,
        Side::Modern => &subject.resolved.modern_url,
    };
    wanted.together = subjects.iter().filter(|other| uses(other, url)).count();
    match opened.engine.findings(&wanted).await {
        Ok(found) => found.into_iter().for_each(|finding| report.add(subject, Some(side), finding)),
        Err(error) => {
            let means = "what else is wrong there is not known";
            report.add(subject, Some(side), Finding::refused("unknown", error.to_string(), means));
        }
    }
}

/// Tables that others map in the same databases.
fn elsewhere(subjects: &[Subject], subject: &Subject) -> Elsewhere {
    let own = &subject.resolved;
    let others = || subjects.iter().filter(|other| other.name != subject.name);
    let legacy = others().filter(|other| other.resolved.legacy_url == own.legacy_url);
    let modern = others().filter(|other| other.resolved.modern_url == own.modern_url);
    let owned = |other: &Subject, table: &str| (table.to_owned(), other.name.clone());
    let legacy: BTreeMap<_, _> =
        legacy.flat_map(|other| other.resolved.tables.iter().map(|map| owned(other, &map.legacy)).collect::<Vec<_>>()).collect();
    let modern: BTreeMap<_, _> =
        modern.flat_map(|other| other.resolved.tables.iter().map(|map| owned(other, &map.modern)).collect::<Vec<_>>()).collect();
    let depends_on = subjects.iter().map(|one| (one.name.clone(), one.depends_on.iter().cloned().collect())).collect();
    Elsewhere { depends_on, legacy, modern }
}

/// How far a server's clock is off, by what it said (seconds since 1970) between two looks at ours.
pub(crate) fn clock(before: SystemTime, after: SystemTime, server: f64) -> Option<Finding> {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
    let off = if server < seconds(before) { server - seconds(before) } else { (server - seconds(after)).max(0.0) };
    (off.abs() > CLOCK.as_secs_f64()).then(|| {
        let way = if off > 0.0 { "ahead of" } else { "behind" };
        let what = format!("the server's clock is {:.1} s {way} the agent's", off.abs());
        let means = "ages and lags are measured wrongly, and reads go to the owner for longer, or for less long, than they should";
        Finding::warning("clock", what, means).then("let both machines follow a time server (chrony, systemd-timesyncd)")
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::clock;

    #[test]
    fn a_clock_is_off_by_what_the_way_does_not_explain() {
        let (before, after) = (UNIX_EPOCH + Duration::from_secs(100), UNIX_EPOCH + Duration::from_secs(103));
        for (server, told) in [(90.0, Some("10.0 s behind")), (98.5, None), (101.0, None), (104.5, None), (113.0, Some("10.0 s ahead of"))]
        {
            let found = clock(before, after, server);
            assert_eq!(found.is_some(), told.is_some(), "{server}");
            assert!(told.is_none_or(|told| found.is_some_and(|found| found.what.contains(told))), "{server}");
        }
    }
}
