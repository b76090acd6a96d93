//! The closing table: each promise, what was measured, and whether it was kept.

use std::fmt;
use std::time::Duration;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use serde_json::Value;

use super::Direct;
use super::walk::Switch;
use crate::audit::Findings;
use crate::ledger::Ledger;
use crate::operator::Printed;

/// Writes that were under way during a switch may take this long, 99 of 100.
const PAUSE: Duration = Duration::from_millis(250);
/// What `ficus run` may use.
const MEMORY: u64 = 150_000_000;

/// The closing table.
pub(crate) struct Report {
    rows: Vec<Row>,
    details: Vec<String>,
}

struct Row {
    what: String,
    measured: String,
    /// `None`: nothing was promised.
    kept: Option<bool>,
}

impl Report {
    pub(crate) fn new(
        ledger: &Ledger,
        findings: Findings,
        direct: &Direct,
        switches: Vec<Switch>,
        memory: u64,
        verified: Printed,
        status: &Value,
    ) -> Report {
        let mut report = Report { rows: Vec::new(), details: Vec::new() };
        report.row("requests", ledger.requests().to_string(), None);
        let failures = ledger.failures();
        let failed: u64 = failures.values().sum();
        let kinds: Vec<String> = failures.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        report.row("requests failed, by kind", if failed == 0 { "0".into() } else { kinds.join(", ") }, Some(failed == 0));
        report.row("acknowledged writes", format!("{} + {} past the gateway", ledger.acknowledged(), direct.written.len()), None);
        report.row("writes past the gateway, refused while the service owned", direct.refused.to_string(), Some(direct.refused > 0));
        report.row("lost", findings.lost.len().to_string(), Some(findings.lost.is_empty()));
        report.row("doubled", findings.doubled.len().to_string(), Some(findings.doubled.is_empty()));
        let stale = ledger.stale_reads().len();
        report.row("stale reads", stale.to_string(), Some(stale == 0));
        for switch in &switches {
            report.switch(ledger, switch);
        }
        let drift = status["drift_rows"].as_u64();
        let drift_text = drift.map_or("not measured".into(), |rows| format!("{rows} rows"));
        report.row("drift at the end", drift_text, Some(verified.code == 0 && drift == Some(0)));
        report.row("quarantined rows", status["agent"]["quarantined"].to_string(), Some(status["agent"]["quarantined"] == 0));
        report.row("memory of ficus run, at most", format!("{} MB", memory / 1_000_000), Some(memory < MEMORY));
        report.details.extend(findings.lost.iter().take(10).map(|what| format!("lost: {what}")));
        report.details.extend(findings.doubled.iter().take(10).map(|what| format!("doubled: {what}")));
        if verified.code != 0 {
            report.details.push(format!("ficus verify: {}{}", verified.out, verified.err));
        }
        report
    }

    /// Every promise was kept.
    pub(crate) fn kept(&self) -> bool {
        self.rows.iter().all(|row| row.kept != Some(false))
    }

    fn row(&mut self, what: &str, measured: String, kept: Option<bool>) {
        self.rows.push(Row { what: what.to_owned(), measured, kept });
    }

    /// The writes that were under way at any time of the switch.
    fn switch(&mut self, ledger: &Ledger, switch: &Switch) {
        let timings = ledger.timings();
        let during = timings.iter().filter(|t| t.write && t.sent < switch.to && t.sent + t.took > switch.from);
        let mut times: Vec<Duration> = during.map(|t| t.took).collect();
        times.sort();
        let p99 = times.get((times.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
        let longest = times.last().copied().unwrap_or_default();
        let fenced = switch.pause_ms.map_or("?".into(), |ms| format!("{ms:.0}"));
        let measured =
            format!("{fenced} ms fenced; {} writes: p99 {} ms, longest {} ms", times.len(), p99.as_millis(), longest.as_millis());
        self.row(&format!("write pause at the {}", switch.name), measured, Some(switch.pause_ms.is_some() && p99 < PAUSE));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY).set_header(["", "measured", ""]);
        for row in &self.rows {
            let mark = match row.kept {
                None => "",
                Some(true) => "kept",
                Some(false) => "BROKEN",
            };
            table.add_row([row.what.as_str(), row.measured.as_str(), mark]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "\n{table}")?;
        for detail in &self.details {
            writeln!(f, "  {detail}")?;
        }
        writeln!(f, "{}", if self.kept() { "Every promise was kept." } else { "A promise was broken." })
    }
}
