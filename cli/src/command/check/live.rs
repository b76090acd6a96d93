//! `ficus check --live`: are databases and upstreams ready for what the rules say of them? Prints what
//! [`ficus_sync_agent::preflight`] finds; changes nothing anywhere.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use ficus_rules::Side;
use ficus_rules::count::{self, counted};
use ficus_rules::finding::{Finding, Severity};
use ficus_rules::plan::RuleSet;
use ficus_rules::spec::Complaint;
use ficus_sync_agent::Resolved;
use ficus_sync_agent::preflight::{self, Options, Report, Subject};
use serde::Serialize;

use crate::args::{Args, Check};
use crate::config::{Config, Upstream};
use crate::exit::BadConfiguration;

/// How long an upstream may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is printed with `--json`.
#[derive(Serialize)]
struct Told {
    complaints: Vec<Complaint>,
    /// Upstreams that take no connection, with their addresses.
    unreachable: BTreeMap<String, String>,
    /// Why callers could not be told apart: `[identity.django]` and what its tables are do not agree.
    identity: Option<String>,
    #[serde(flatten)]
    report: Report,
}

/// Prints every finding; fails with exit code 64 if one of them refuses.
pub(crate) async fn execute(args: &Args, asked: &Check, config: &Config, rules: &RuleSet, complaints: Vec<Complaint>) -> Result<()> {
    let subjects = subjects(asked, config, rules)?;
    let report = preflight::look(&subjects, Options { rows: asked.rows, samples: asked.samples }).await;
    let (refuses, refused) = (report.refuses(), count(&report, Severity::Refused));
    let unreachable = unreachable(&config.upstreams).await;
    let identity = identity(config).await;
    let nobody_is_known = identity.is_some();
    if args.json {
        crate::command::print_json(&Told { complaints, unreachable, identity, report })?;
    } else {
        for (name, address) in &unreachable {
            println!("warning: nobody answers at {address}, upstream {name}");
        }
        if let Some(why) = &identity {
            println!("refused: nobody would be known who logs in: {why}");
            println!("  name the table and its columns in [identity.django]: user_table, id_column, username_column, active_column");
        }
        subjects.iter().for_each(|subject| print(subject, &report));
        let (warnings, notes) = (count(&report, Severity::Warning), count(&report, Severity::Note));
        println!("{refused} refused, {}, {}", count::of(warnings as u64, "warning"), count::of(notes as u64, "note"));
    }
    if refuses {
        bail!(BadConfiguration(format!(
            "{} the agent from starting: run what mends them, then check again",
            counted(refused as u64, "finding keeps", "findings keep")
        )));
    }
    if nobody_is_known {
        bail!(BadConfiguration("who calls cannot be told: mend [identity.django], then check again".to_owned()));
    }
    Ok(())
}

/// Why sessions and users cannot be read as `[identity.django]` has them; `None`: they can, or nobody is to be told apart.
async fn identity(config: &Config) -> Option<String> {
    ficus_proxy::check_identity(&config.identity).await.err()
}

/// The capabilities that have tables, with their databases.
fn subjects(asked: &Check, config: &Config, rules: &RuleSet) -> Result<Vec<Subject>> {
    if let Some(name) = asked.capability.as_ref().filter(|name| !rules.capabilities.contains_key(*name)) {
        let names: Vec<&str> = rules.capabilities.keys().map(String::as_str).collect();
        bail!(BadConfiguration(format!("no capability is called {name} (there are: {})", names.join(", "))));
    }
    let mut subjects = Vec::new();
    for (name, capability) in &rules.capabilities {
        let wanted = asked.capability.as_ref().is_none_or(|wanted| wanted == name);
        if !wanted || capability.tables.is_empty() {
            continue;
        }
        let url = |upstream: &String| {
            let known = config.upstreams.get(upstream).and_then(|upstream| upstream.database.clone());
            let why = || {
                format!("upstream {upstream} has no database, and {name} has tables: name one in ficus.toml, under [upstream.{upstream}]")
            };
            known.ok_or_else(|| BadConfiguration(why()))
        };
        let (legacy, modern) = (capability.legacy.clone(), capability.modern.clone());
        let (legacy_url, modern_url) = (url(&legacy)?, url(&modern)?);
        let resolved = Resolved { legacy, legacy_url, modern, modern_url, tables: capability.tables.clone() };
        let (depends_on, ahead_of) = (capability.depends_on.clone(), capability.ahead_of.clone());
        subjects.push(Subject { name: name.clone(), depends_on, ahead_of, resolved });
    }
    Ok(subjects)
}

async fn unreachable(upstreams: &BTreeMap<String, Upstream>) -> BTreeMap<String, String> {
    let mut silent = BTreeMap::new();
    for (name, upstream) in upstreams {
        let instances = match ficus_proxy::find_instances(&upstream.server.instances).await {
            Ok(instances) => instances,
            Err(why) => {
                silent.insert(name.clone(), why);
                continue;
            }
        };
        let mut silently = Vec::new();
        for instance in &instances {
            let connecting = async {
                match instance.address.strip_prefix("unix:") {
                    Some(path) => tokio::net::UnixStream::connect(path).await.map(drop),
                    None => tokio::net::TcpStream::connect(&instance.address).await.map(drop),
                }
            };
            let connected = tokio::time::timeout(PATIENCE, connecting).await;
            if !matches!(connected, Ok(Ok(_))) {
                silently.push(instance.address.as_str());
            }
        }
        if !silently.is_empty() {
            silent.insert(name.clone(), silently.join(", "));
        }
    }
    silent
}

fn count(report: &Report, severity: Severity) -> usize {
    report.findings.iter().filter(|placed| placed.finding.severity == severity).count()
}

fn print(subject: &Subject, report: &Report) {
    println!("\n{}", subject.name);
    let own = |side: Option<Side>| report.findings.iter().filter(move |placed| placed.capability == subject.name && placed.side == side);
    for seen in report.databases.iter().filter(|seen| seen.capability == subject.name) {
        let engine = if seen.engine.is_empty() { "not reached" } else { &seen.engine };
        println!("  {}: {} ({engine})", seen.side, seen.upstream);
        let mut found = own(Some(seen.side)).peekable();
        if found.peek().is_none() {
            println!("    nothing to mend");
        }
        found.for_each(|placed| print_finding(&placed.finding));
    }
    let mut found = own(None).peekable();
    if found.peek().is_some() {
        println!("  rule file");
        found.for_each(|placed| print_finding(&placed.finding));
    }
    let walked = report.walked.iter().filter(|walked| walked.capability == subject.name);
    let walked: Vec<String> =
        walked.map(|walked| format!("{} {}{}", walked.table, walked.rows, if walked.all { "" } else { " and more" })).collect();
    if !walked.is_empty() {
        println!("  rows looked at: {}", walked.join(", "));
    }
}

fn print_finding(finding: &Finding) {
    println!("    {:8} {}", finding.severity.as_str(), finding.what);
    if !finding.means.is_empty() {
        println!("             {}", finding.means);
    }
    if !finding.samples.is_empty() {
        let more = if finding.rows.is_some_and(|rows| rows > finding.samples.len() as u64) { ", …" } else { "" };
        println!("             keys: {}{more}", finding.samples.join(", "));
    }
    for statement in &finding.statements {
        println!("           → {statement}");
    }
    if !finding.then.is_empty() {
        println!("           → {}", finding.then);
    }
}
