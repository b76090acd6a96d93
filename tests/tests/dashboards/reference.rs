//! The reference of the rule language knows every key of the parser. And what rule files are made of, for others who try them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::school;
use serde_json::Value;

use crate::schemas::schema as schema_of;
use crate::shell::docs;

/// What an example is part of: everything that it does not have itself is taken from here.
pub(crate) const AROUND: &str = r#"[capability]
name = "users"
legacy = "monolith"
modern = "users-service"

[[route]]
path = "/api/v1/users/{*rest}"

[[step]]
shadow = "100%"

[[step]]
cutover = true

[[step]]
soak = "7d"

[gate.errors]
max_increase = "1%"

[[table]]
legacy = "accounts_customuser"
modern = "users"

[[test]]
request = "GET /api/v1/users/42/"
at = "cutover"
expect = "modern"
"#;

pub(crate) const FLAGS: &str = "[flag.new-profile]\ndefault = false\n";

pub(crate) const CONFIGURATION: &str = r#"[gateway]
listen = ["127.0.0.1:8080"]
default = "monolith"

[upstream.monolith]
address = "127.0.0.1:8000"
database = "sqlite://school.sqlite3"

[upstream.users-service]
address = "127.0.0.1:8100"
database = "sqlite://users.sqlite3"

[events.bus]
url = "redis://127.0.0.1:6379"
"#;

/// A fenced block of a page.
pub(crate) struct Block {
    pub(crate) kind: String,
    pub(crate) text: String,
}

/// The pages that describe the rule language.
fn reference() -> Result<String> {
    ["rules.md", "plugins.md"].into_iter().map(|page| Ok(std::fs::read_to_string(docs().join(page))?)).collect()
}

#[test]
fn the_reference_of_the_rule_language_knows_every_key() -> Result<()> {
    let reference = reference()?;
    for schema in ["rules", "flags"] {
        for key in keys(&schema_of(schema)?) {
            let told = |before: &str| reference.contains(&format!("{before}{key} =")) || reference.contains(&format!("{before}{key}`"));
            let header = reference.contains(&format!("[{key}")) || reference.contains(&format!(".{key}]"));
            ensure!(["\n", " ", "`", "{ "].iter().any(|before| told(before)) || header, "the reference does not know `{key}` of {schema}");
        }
    }
    Ok(())
}

/// The keys that a schema has, wherever they are.
pub(crate) fn keys(node: &Value) -> BTreeSet<String> {
    let own = node["properties"].as_object().into_iter().flatten().map(|(key, _)| key.clone());
    let below: Vec<&Value> = match node {
        Value::Object(inner) => inner.values().collect(),
        Value::Array(inner) => inner.iter().collect(),
        _ => Vec::new(),
    };
    own.chain(below.into_iter().flat_map(keys)).collect()
}

/// A rule example with everything around it that a file needs.
pub(crate) fn completed(example: &str) -> String {
    within(example, AROUND)
}

/// An example with those sections of a whole file that it does not have itself.
pub(crate) fn within(example: &str, whole: &str) -> String {
    let own = sections(example);
    let has = |header: &str| own.iter().any(|(own, _)| own == header);
    // A test speaks of the routes that it was written for.
    let kept = |(header, _): &(String, String)| !(has(header) || header == "test" && has("route"));
    let around: String = sections(whole).into_iter().filter(kept).map(|(_, text)| text).collect();
    format!("{around}\n{example}")
}

/// A text's sections: their headers without brackets, and all their lines.
pub(crate) fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let header =
            line.trim_start().strip_prefix('[').map(|rest| rest.trim_start_matches('[').split(']').next().unwrap_or("").to_owned());
        match header.filter(|header| header != "table.columns") {
            Some(header) => sections.push((header, format!("{line}\n"))),
            None => match sections.last_mut() {
                Some((_, text)) => text.extend([line, "\n"]),
                None => sections.push((String::new(), format!("{line}\n"))),
            },
        }
    }
    sections
}

pub(crate) fn check(directory: &Path) -> Result<(i32, String)> {
    let output = Command::new(school::binary("ficus")?).arg("check").current_dir(directory).output()?;
    let printed = [output.stdout, output.stderr].concat();
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&printed).into_owned()))
}

pub(crate) fn write(directory: &Path, name: &str, text: &str) -> Result<()> {
    let file = directory.join(name);
    std::fs::create_dir_all(file.parent().context("a file in no folder")?)?;
    std::fs::create_dir_all(directory.join("rules"))?;
    Ok(std::fs::write(file, text)?)
}

pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let fenced = text.split("```").enumerate().filter(|(at, _)| at % 2 == 1);
    let split = |(_, block): (usize, &str)| {
        let (kind, text) = block.split_once('\n')?;
        Some(Block { kind: kind.trim().to_owned(), text: text.to_owned() })
    };
    fenced.filter_map(split).collect()
}
