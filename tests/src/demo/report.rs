//! The closing table: each promise, what was measured, and whether it was kept.

use std::fmt;
use std::time::Duration;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, LineStyle, Table};
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
    /// Empty: nothing was promised.
    promised: String,
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
        let failures: Vec<String> = ledger.failures().iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        report.figure("requests", ledger.requests().to_string());
        report.promise("  failed, by kind", if failures.is_empty() { "0".into() } else { failures.join(", ") }, "0", failures.is_empty());
        report.none("  stale: older than what the caller wrote", ledger.stale_reads().len());
        report.figure("acknowledged writes through the gateway", ledger.acknowledged().to_string());
        report.figure("acknowledged writes past it (manage.py)", direct.written.len().to_string());
        report.none("  lost", findings.lost.len());
        report.none("  doubled", findings.doubled.len());
        report.promise("writes past it, refused after a cutover", direct.refused.to_string(), "some", direct.refused > 0);
        for switch in &switches {
            report.switch(ledger, switch);
        }
        let drift = status["drift_rows"].as_u64();
        let drift_text = drift.map_or("not measured".into(), |rows| rows.to_string());
        report.promise("rows that differ at the end", drift_text, "0", verified.code == 0 && drift == Some(0));
        let quarantined = &status["agent"]["quarantined"];
        report.promise("rows set aside (quarantined)", quarantined.to_string(), "0", *quarantined == 0);
        let bound = format!("< {} MB", MEMORY / 1_000_000);
        report.promise("memory of ficus, at most", format!("{} MB", memory / 1_000_000), &bound, memory < MEMORY);
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

    fn figure(&mut self, what: &str, measured: String) {
        self.rows.push(Row { what: what.to_owned(), measured, promised: String::new(), kept: None });
    }

    fn promise(&mut self, what: &str, measured: String, promised: &str, kept: bool) {
        self.rows.push(Row { what: what.to_owned(), measured, promised: promised.to_owned(), kept: Some(kept) });
    }

    fn none(&mut self, what: &str, count: usize) {
        self.promise(what, count.to_string(), "0", count == 0);
    }

    /// The writes that were under way at any time of the switch.
    fn switch(&mut self, ledger: &Ledger, switch: &Switch) {
        let timings = ledger.timings();
        let during = timings.iter().filter(|t| t.write && t.sent < switch.to && t.sent + t.took > switch.from);
        let mut times: Vec<Duration> = during.map(|t| t.took).collect();
        times.sort();
        let p99 = times.get((times.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
        let longest = times.last().copied().unwrap_or_default();
        self.figure(&format!("{}: writes were held for", switch.name), switch.pause_ms.map_or("?".into(), |ms| format!("{ms:.0} ms")));
        let measured = format!("p99 {} ms, longest {} ms", p99.as_millis(), longest.as_millis());
        let bound = format!("p99 < {} ms", PAUSE.as_millis());
        self.promise(
            &format!("  {} writes came meanwhile and took", times.len()),
            measured,
            &bound,
            switch.pause_ms.is_some() && p99 < PAUSE,
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none())).set_header(["", "measured", "promised", ""]);
        for row in &self.rows {
            let mark = match row.kept {
                None => "",
                Some(true) => "kept",
                Some(false) => "BROKEN",
            };
            table.add_row([row.what.as_str(), row.measured.as_str(), row.promised.as_str(), mark]);
        }
        for column in [1, 2] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        writeln!(f, "\n{table}")?;
        for detail in &self.details {
            writeln!(f, "  {detail}")?;
        }
        writeln!(f, "{}", if self.kept() { "Every promise was kept." } else { "A promise was broken." })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;
    use crate::ledger::Timing;

    fn report(drift: u64) -> Report {
        let ledger = Ledger::default();
        let from = Instant::now();
        for took in (0..2_000).map(|number| Duration::from_micros(120 * number)) {
            ledger.answered(Timing { sent: from, took, write: true }, Some("legacy"));
        }
        let direct = Direct { written: vec!["direct-1".into(); 10_000], refused: 10_000 };
        let switch = Switch { name: "second cutover", from, to: from + Duration::from_secs(1), pause_ms: Some(1_234.0) };
        let status = json!({ "drift_rows": drift, "agent": { "quarantined": 0 } });
        let verified = Printed { code: 0, out: String::new(), err: String::new() };
        Report::new(&ledger, Findings::default(), &direct, vec![switch], 149_000_000, verified, &status)
    }

    #[test]
    fn the_table_fits_a_hundred_columns() {
        let text = report(0).to_string();
        for text in [&text, &report(3).to_string()] {
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        }
        assert!(text.contains("p99 237 ms, longest 239 ms") && text.ends_with("Every promise was kept.\n"), "{text}");
    }

    #[test]
    fn one_broken_promise_breaks_the_demo() {
        let report = report(3);
        let text = report.to_string();
        assert!(!report.kept() && text.matches("BROKEN").count() == 1 && text.ends_with("A promise was broken.\n"), "{text}");
    }
}
