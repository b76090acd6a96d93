//! `ficus check --live` on real servers: for each finding a database is made wrong in that way, the finding appears, the
//! statements that it prints are executed as they are, and it is gone.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/mariadb.rs"]
mod maria;
#[path = "preflight/mariadb.rs"]
mod mariadb;
#[path = "support/own.rs"]
mod own;
#[path = "support/postgres.rs"]
mod pg;
#[path = "preflight/postgres.rs"]
mod postgres;
#[path = "preflight/proposal.rs"]
mod proposal;
#[path = "preflight/sqlite.rs"]
mod sqlite;

use ficus_rules::Side;
use ficus_rules::finding::{Finding, Severity};
use ficus_rules::mapping::{ColumnMap, ColumnSource, Rows, TableMap};
use ficus_sync_agent::Resolved;
use ficus_sync_agent::preflight::{Options, Report, Subject, look};

/// Two databases of an engine, with the tables of a capability that nothing is wrong with.
trait Bed: Sized {
    async fn new() -> Self;
    fn url(&self, side: Side) -> String;
    /// Runs statements, one after the other, as whoever may do everything.
    async fn run(&self, side: Side, statement: &str);
}

/// A way to be wrong.
struct Case {
    side: Side,
    wrong: &'static [&'static str],
    code: &'static str,
    table: &'static str,
    severity: Severity,
    /// The statements that are printed take it away.
    mended: bool,
}

const fn case(side: Side, code: &'static str, table: &'static str, severity: Severity, wrong: &'static [&'static str]) -> Case {
    Case { side, wrong, code, table, severity, mended: true }
}

/// One that no statement takes away.
const fn told(side: Side, code: &'static str, table: &'static str, severity: Severity, wrong: &'static [&'static str]) -> Case {
    Case { side, wrong, code, table, severity, mended: false }
}

fn uuid(modern: &str, column: &str, of: &str) -> ColumnMap {
    ColumnMap { modern: modern.into(), from: ColumnSource::Uuid5 { column: column.into(), of: of.into() } }
}

fn maps() -> Vec<TableMap> {
    let map = |legacy: &str, modern: &str, columns: Vec<ColumnMap>| TableMap {
        events: Vec::new(),
        source: format!("users.toml: {legacy}"),
        legacy: legacy.into(),
        modern: modern.into(),
        legacy_key: "id".into(),
        modern_key: "legacy_id".into(),
        sequence: None,
        columns,
        only: false,
        keep_legacy: Vec::new(),
        keep_modern: Vec::new(),
        zero_dates: ficus_rules::mapping::ZeroDates::default(),
        rows: Rows::default(),
    };
    vec![
        map("accounts_user", "users", vec![uuid("id", "id", "accounts_user")]),
        map("accounts_note", "notes", vec![uuid("id", "id", "accounts_note"), uuid("user_id", "user_id", "accounts_user")]),
    ]
}

fn subject(legacy: String, modern: String) -> Subject {
    let resolved = Resolved { legacy: "monolith".into(), legacy_url: legacy, modern: "service".into(), modern_url: modern, tables: maps() };
    Subject { name: "users".into(), depends_on: Vec::new(), ahead_of: Vec::new(), resolved }
}

async fn look_at(legacy: String, modern: String) -> Report {
    look(&[subject(legacy, modern)], Options { rows: 10_000, samples: 3 }).await
}

async fn report<B: Bed>(bed: &B) -> Report {
    look_at(bed.url(Side::Legacy), bed.url(Side::Modern)).await
}

fn find<'r>(report: &'r Report, side: Side, code: &str, table: &str) -> Option<&'r Finding> {
    let mut findings = report.findings.iter().filter(|placed| placed.side == Some(side)).map(|placed| &placed.finding);
    findings.find(|finding| finding.code == code && finding.table.as_deref().unwrap_or("") == table)
}

/// Each case in databases of its own.
async fn walk<B: Bed>(cases: &[Case]) {
    for case in cases {
        let Case { side, wrong, code, table, severity, mended } = case;
        let bed = B::new().await;
        let before = report(&bed).await;
        assert!(find(&before, *side, code, table).is_none(), "{code} of {table} before anything is wrong: {:#?}", before.findings);
        for statement in *wrong {
            bed.run(*side, statement).await;
        }
        let seen = report(&bed).await;
        let found = find(&seen, *side, code, table).unwrap_or_else(|| panic!("no {code} of {table}: {:#?}", seen.findings)).clone();
        assert_eq!(found.severity, *severity, "{found:?}");
        assert_eq!(seen.refuses(), seen.findings.iter().any(|placed| placed.finding.severity == Severity::Refused));
        if *mended {
            assert!(!found.statements.is_empty(), "{found:?}");
            for statement in &found.statements {
                bed.run(*side, statement).await;
            }
            let after = report(&bed).await;
            assert!(find(&after, *side, code, table).is_none(), "{code} of {table} is still there: {:#?}", after.findings);
        } else {
            assert!(!found.then.is_empty() || *severity == Severity::Note, "nothing says what to do: {found:?}");
        }
    }
}

/// Nothing of Ficus is left behind, and a capability that nothing is wrong with is not refused.
async fn nothing_refused<B: Bed>(bed: &B) {
    let report = report(bed).await;
    assert!(!report.refuses(), "{:#?}", report.findings);
    assert_eq!(report.walked.len(), 4);
}

fn rows_of(report: &Report, side: Side, code: &str, column: &str) -> (u64, Vec<String>) {
    let placed = report
        .findings
        .iter()
        .find(|placed| placed.side == Some(side) && placed.finding.code == code && placed.finding.column.as_deref() == Some(column));
    let found = placed.unwrap_or_else(|| panic!("no {code} of {column}: {:#?}", report.findings));
    (found.finding.rows.unwrap(), found.finding.samples.clone())
}
