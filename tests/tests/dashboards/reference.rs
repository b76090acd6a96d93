//! The reference of the rule language knows every key of the parser. And what rule files are made of, for others who try them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::school;

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

/// A key that no place has.
pub(crate) const NOBODYS: &str = "qqqqqqqqqqqqqqqqqqqqqqqqqqqq";

/// Every place of the rule files with a key that it cannot have.
pub(crate) const PLACES: [(&str, &str); 41] = [
    ("the file", "[qqqqqqqqqqqqqqqqqqqqqqqqqqqq]\n"),
    (
        "[capability]",
        "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n",
    ),
    ("[[route]]", "[[route]]\npath = \"/\"\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[plugins]", "[plugins]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `ip`", "[plugins.ip]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `maintenance`", "[plugins.maintenance]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `redirect`", "[plugins.redirect]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `cors`", "[plugins.cors]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `basic_auth`", "[plugins.basic_auth]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `rate_limit`", "[plugins.rate_limit]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `request_size`", "[plugins.request_size]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `version`", "[plugins.version]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `rewrite`", "[plugins.rewrite]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `rewrite` query", "[plugins.rewrite]\nquery = { qqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1 }\n"),
    ("a plugin `request_headers`", "[plugins.request_headers]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `response_headers`", "[plugins.response_headers]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `security_headers`", "[plugins.security_headers]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a plugin `compression`", "[plugins.compression]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[[route]] deadlines", "[[route]]\npath = \"/\"\ndeadlines = { qqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1 }\n"),
    ("[[route]] cache", "[[route]]\npath = \"/\"\ncache = { qqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1 }\n"),
    ("[[route]] require", "[[route]]\npath = \"/\"\nrequire = { qqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1 }\n"),
    ("a condition", "[[route]]\npath = \"/\"\nquery = { a = { qqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1 } }\n"),
    ("[cohort]", "[cohort]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a claim", "[claims]\na = { qqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1 }\n"),
    ("[[step]]", "[[step]]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[gate]", "[gate.qqqqqqqqqqqqqqqqqqqqqqqqqqqq]\n"),
    ("[gate.errors]", "[gate.errors]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[gate.latency_p99]", "[gate.latency_p99]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[gate.shadow]", "[gate.shadow]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[gate.lag]", "[gate.lag]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[gate.parity]", "[gate.parity]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[gate.quarantine]", "[gate.quarantine]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1"),
    ("[gate.NAME]", "[gate.own]\npromql = \"up\"\nmax = 1\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1"),
    ("[cutover]", "[cutover]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[return]", "[return]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[[table]]", "[[table]]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("a column", "[[table]]\nlegacy = \"a\"\nmodern = \"b\"\n[table.columns]\nx = { pack = [\"a\"], qqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1 }\n"),
    ("[[event]]", "[[event]]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[[test]]", "[[test]]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[[flag.NAME.rule]]", "[flag.a]\n[[flag.a.rule]]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
    ("[flag.NAME]", "[flag.a]\nqqqqqqqqqqqqqqqqqqqqqqqqqqqq = 1\n"),
];

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
    for (place, text) in PLACES {
        let keys = keys(text)?;
        ensure!(!keys.is_empty(), "nobody says which keys {place} has");
        for key in keys {
            let told = |before: &str| reference.contains(&format!("{before}{key} =")) || reference.contains(&format!("{before}{key}`"));
            let header = reference.contains(&format!("[{key}")) || reference.contains(&format!(".{key}]"));
            ensure!(["\n", " ", "`", "{ "].iter().any(|before| told(before)) || header, "the reference does not know `{key}` of {place}");
        }
    }
    Ok(())
}

/// The keys that a place may have: the complaint about one that it may not have lists them.
pub(crate) fn keys(text: &str) -> Result<Vec<String>> {
    let printed = complaints(text)?;
    let line = printed.lines().find(|line| line.contains("is not a key of")).with_context(|| format!("no complaint in {printed}"))?;
    let listed = line.rsplit_once("(there is ").map_or("", |(_, listed)| listed);
    Ok(listed.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// What is said of a place, with all that it needs around it.
pub(crate) fn complaints(text: &str) -> Result<String> {
    let directory = tempfile::tempdir()?;
    write(directory.path(), "ficus.toml", CONFIGURATION)?;
    let flags = text.starts_with("[flag.");
    write(
        directory.path(),
        if flags { "rules/flags.toml" } else { "rules/users.toml" },
        &if flags { text.to_owned() } else { completed(text) },
    )?;
    Ok(check(directory.path())?.1)
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
