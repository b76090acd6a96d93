//! All capabilities as a table that is never wider than [`WIDTH`], and lines that are broken to a width. Pure.

use comfy_table::{ContentArrangement, Table, presets};
use ficus_rules::api::CapabilityStatus;
use ficus_rules::gate::Verdict;

/// Columns of a terminal that a page takes at most.
pub(in crate::command) const WIDTH: usize = 100;

const HEADINGS: [&str; 9] = ["CAPABILITY", "PHASE", "STEP", "OWNER", "READS", "LAG", "DRIFT", "ASIDE", "GATES"];

/// One line for each capability, below headings; more where something is too long for its column.
pub(super) fn table<'a>(capabilities: impl Iterator<Item = (&'a String, &'a CapabilityStatus)>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(u16::try_from(WIDTH).unwrap_or(u16::MAX)).set_header(HEADINGS);
    table.add_rows(capabilities.map(|(name, capability)| cells(name, capability)));
    // The margin at the left belongs to a frame that there is not.
    table.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end())).collect()
}

fn cells(name: &str, capability: &CapabilityStatus) -> [String; 9] {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    [
        name.to_owned(),
        capability.stage.map_or(capability.phase.as_str(), |stage| stage.as_str()).to_owned(),
        capability.step.map_or_else(|| "-".to_owned(), |step| format!("{step}/{}", capability.steps)),
        capability.owner.to_string(),
        capability.serving.reads.to_string(),
        capability.lag_seconds.map_or_else(|| "-".to_owned(), lasting),
        number(capability.drift_rows),
        capability.quarantined.to_string(),
        gates(capability),
    ]
}

/// A lag in few letters.
fn lasting(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.2}s"),
        ..6_000.0 => format!("{:.0}m", seconds / 60.0),
        _ => format!("{:.0}h", seconds / 3_600.0),
    }
}

/// How many of them pass; the worst word when not all do.
fn gates(capability: &CapabilityStatus) -> String {
    let count = |verdict| capability.gates.iter().filter(|gate| gate.verdict == verdict).count();
    let worst = [(Verdict::Fail, "fail"), (Verdict::Error, "in error"), (Verdict::Inconclusive, "open")];
    let worst = worst.into_iter().map(|(verdict, word)| (count(verdict), word)).find(|(count, _)| *count > 0);
    match (capability.gates.len(), worst) {
        (0, _) => "-".to_owned(),
        (_, Some((count, word))) => format!("{count} {word}"),
        (all, None) => format!("{all} pass"),
    }
}

/// Lines that are no longer than `width`: broken between words, or inside a word that is longer, and indented from the
/// second piece on.
pub(in crate::command) fn folded(text: &str, width: usize) -> String {
    let mut page = String::new();
    for line in text.lines() {
        let indent = line.chars().take_while(|c| *c == ' ').count() + 4;
        let mut left = line;
        let mut room = width;
        while left.chars().count() > room {
            let end = left.char_indices().nth(room).map_or(left.len(), |(end, _)| end);
            let space = left[..end].rfind(' ').filter(|space| !left[..*space].trim().is_empty());
            let cut = space.unwrap_or(end);
            page.push_str(left[..cut].trim_end());
            page.push('\n');
            page.extend(std::iter::repeat_n(' ', indent));
            left = left[cut..].trim_start();
            room = width.saturating_sub(indent).max(1);
        }
        page.push_str(left);
        page.push('\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_it_may_be_and_no_word_is_lost() {
        let long = "x".repeat(130);
        let text = format!("users: ramping\n  waiting for: {} {long} end\n\nshort\n", "some words ".repeat(30));
        for width in 20..=120 {
            let page = folded(&text, width);
            assert!(page.lines().all(|line| line.chars().count() <= width), "{page}");
            let words = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(words(&page), words(&text));
            assert!(page.contains("\n      some") || page.contains("\n      words"), "{page}");
        }
        assert_eq!(folded("short\n\n  as it is\n", 100), "short\n\n  as it is\n");
    }

    #[test]
    fn a_table_of_the_longest_things_fits_a_hundred_columns() {
        let gate = serde_json::json!({ "gate": "errors", "verdict": "inconclusive", "measured": "" });
        let capability = |gates| -> CapabilityStatus {
            serde_json::from_value(serde_json::json!({
                "phase": "catching_up", "step": 12, "steps": 12, "step_action": null, "switch": null, "stage": "fence_database",
                "since": 0, "owner": "modern", "epoch": 1,
                "serving": { "phase": "ramping", "epoch": 1, "owner": "legacy", "reads": 999_999, "shadow": 0, "fenced": false },
                "holds": [], "waiting_for": [], "gates": vec![gate.clone(); gates], "backfill": null, "lag_seconds": 59.999,
                "drift_rows": 18_446_744_073_709_551_615_u64, "verified_at": null, "verifying": false, "repairing": false,
                "quarantined": 18_446_744_073_709_551_615_u64, "agent": null, "last_pause_ms": null, "trouble": null
            }))
            .expect("a status")
        };
        let capabilities = [("a".repeat(40), capability(0)), ("b".to_owned(), capability(10))];
        let table = table(capabilities.iter().map(|(name, capability)| (name, capability)));
        assert!(table.lines().count() < 8 && table.lines().all(|line| line.chars().count() <= WIDTH), "{table}");
        assert!(table.starts_with("CAPABILITY") && table.contains("aaaaaaaaaaa") && table.contains("10 open"), "{table}");
    }
}
