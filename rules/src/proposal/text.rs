//! A proposal as a rule file. Decisions are lines, with the reason behind them; what is not decided is a comment.

use super::{Decision, From, Names, Pair, Proposal};

/// Where reasons begin.
const REASON: usize = 60;

pub(super) fn rule_file(proposal: &Proposal, names: &Names) -> String {
    let Names { capability, legacy, modern } = names;
    let mut lines = vec![
        "# Proposed by `ficus map init` from the tables of both databases. A proposal: read every line, answer every".to_owned(),
        "# question (`# ?`), and run `ficus check`, then `ficus check --live`, until nothing is left to answer.".to_owned(),
        String::new(),
        "[capability]".to_owned(),
        format!("name = {}", quoted(capability)),
        format!("legacy = {}", quoted(legacy)),
        format!("modern = {}", quoted(modern)),
        String::new(),
        "# ? which requests does it answer? A capability has a route, and this one is made up from its name".to_owned(),
        "[[route]]".to_owned(),
        format!("path = {}", quoted(&format!("/{capability}/{{*rest}}"))),
        String::new(),
        "# ? in which steps does it move? Without any it stays where it is".to_owned(),
        "# [[step]]".to_owned(),
        "# cutover = true".to_owned(),
    ];
    proposal.pairs.iter().for_each(|pair| table(pair, &mut lines));
    if !proposal.unpaired.is_empty() {
        lines.extend([String::new(), "# ? legacy tables without a counterpart: they belong to other capabilities, or stay".to_owned()]);
        for (table, nearest) in &proposal.unpaired {
            let nearest = nearest.as_ref().map_or(String::new(), |nearest| format!(" (the nearest is {nearest})"));
            lines.push(comment(&format!("  {table}{nearest}")));
        }
    }
    if !proposal.unfed.is_empty() {
        lines.extend([String::new(), comment(&format!("? modern tables that nothing feeds: {}", proposal.unfed.join(", ")))]);
    }
    if !proposal.left.is_empty() {
        lines.extend([String::new(), comment(&format!("Left out, because they are a framework's: {}", proposal.left.join(", ")))]);
    }
    lines.push(String::new());
    lines.join("\n")
}

fn table(pair: &Pair, lines: &mut Vec<String>) {
    lines.push(String::new());
    lines.push(with_reason("[[table]]", &pair.why));
    lines.push(format!("legacy = {}", quoted(&pair.legacy)));
    lines.push(format!("modern = {}", quoted(&pair.modern)));
    if pair.key != "id" {
        lines.push(format!("key = {}", quoted(&pair.key)));
    }
    if pair.modern_key != "legacy_id" {
        lines.push(format!("modern_key = {}", quoted(&pair.modern_key)));
    }
    if let Some(sequence) = &pair.sequence {
        lines.push(with_reason(&format!("sequence = {}", quoted(sequence)), "gives out the legacy keys of rows that are born there"));
    }
    for (column, why) in &pair.keep_legacy {
        lines.push(with_reason(&format!("keep_legacy = [{}]", quoted(column)), why));
    }
    lines.extend(pair.questions.iter().map(|question| comment(&format!("? {question}"))));
    if !pair.columns.is_empty() {
        lines.push("[table.columns]".to_owned());
        lines.extend(pair.columns.iter().map(|decision| column(decision, pair)));
    }
}

fn column(decision: &Decision, pair: &Pair) -> String {
    let from = match &decision.from {
        From::Column(column) => quoted(column),
        From::Uuid5 { column, of: None } => format!("{{ from = {}, as = \"uuid5\" }}", quoted(column)),
        From::Uuid5 { column, of: Some(of) } if *of == pair.legacy && *column == pair.key => {
            format!("{{ from = {}, as = \"uuid5\" }}", quoted(column))
        }
        From::Uuid5 { column, of: Some(of) } => format!("{{ from = {}, as = \"uuid5\", of = {} }}", quoted(column), quoted(of)),
        From::Constant(word) => format!("{{ constant = {} }}", quoted(word)),
    };
    with_reason(&format!("{} = {from}", decision.modern), &decision.why)
}

fn with_reason(line: &str, why: &str) -> String {
    format!("{line:REASON$} {}", comment(why))
}

/// On one line, whatever a name in it has.
fn comment(text: &str) -> String {
    let clean: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    format!("# {clean}")
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
