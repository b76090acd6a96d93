//! `ficus explain --diff NEW_RULES --requests LOG`: which requests of a log would go elsewhere by other rules.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use ficus_rules::Timestamp;
use ficus_rules::api::KnownToGateways;
use ficus_rules::comparison::{Change, Comparison, Place, Summary};
use ficus_rules::count::{self, counted};
use ficus_rules::decide::{Because, Snapshot};
use ficus_rules::wire::Published;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::requests::{self, Line};
use crate::args::{Args, Explain};
use crate::command::{check, print_json};
use crate::config::Config;
use crate::exit::Found;
use crate::run;

/// What is printed as JSON.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    /// Lines that are no request of any format.
    unreadable_lines: u64,
    /// The number of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_unreadable_line: Option<u64>,
}

/// Prints the changes; [`Found`] if there are any.
pub(super) fn execute(args: &Args, asked: &Explain, before: &Snapshot, known: &KnownToGateways, rules: &Path, log: &Path) -> Result<()> {
    let names = Config::load(&args.config).map(|config| run::known(&config)).unwrap_or_default();
    let after = super::snapshot(Published { rules: check::read(rules)?, ..before.published.clone() }, &names)?;
    let now = Timestamp::from(std::time::SystemTime::now());
    let mut comparison = Comparison::new(before, &after, known, now, asked.samples);
    let (from, length) = open(log)?;
    let drawn = bar(length);
    let (mut number, mut unreadable, mut first) = (0u64, 0u64, None);
    let read = requests::read(from, &asked.host, |line, bytes| {
        number += 1;
        match line {
            Line::Request(logged) => comparison.take(&logged),
            Line::Empty | Line::Unruled => {}
            Line::Unreadable => {
                unreadable += 1;
                first = first.or(Some(number));
            }
        }
        drawn.inc(bytes);
    });
    drawn.finish_and_clear();
    read.with_context(|| format!("cannot read {}", log.display()))?;
    let summary = comparison.summary();
    if summary.requests == 0 && unreadable > 0 {
        bail!("no line of {} is a request: JSON lines of our own, the combined format, or `METHOD PATH`", log.display());
    }
    if args.json {
        print_json(&Printed { summary: &summary, unreadable_lines: unreadable, first_unreadable_line: first })?;
    } else {
        print(&summary, unreadable, first);
    }
    if summary.changed > 0 { Err(Found.into()) } else { Ok(()) }
}

/// The log, and how many bytes it has, if that is known.
fn open(log: &Path) -> Result<(Box<dyn BufRead>, Option<u64>)> {
    if log == Path::new("-") {
        return Ok((Box::new(std::io::stdin().lock()), None));
    }
    let file = File::open(log).with_context(|| format!("cannot read {}", log.display()))?;
    let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
    Ok((Box::new(BufReader::with_capacity(1 << 16, file)), length))
}

/// Drawn on a terminal only; into a pipe goes nothing.
fn bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:32} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}, {bytes_per_sec}"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(summary: &Summary, unreadable: u64, first: Option<u64>) {
    let Summary { requests, changed, other_side, unsure, routes_by_header, changes } = summary;
    println!("{}, {changed} would go elsewhere, {other_side} of these to the other side", count::of(*requests, "request"));
    for change in changes {
        print_change(change);
    }
    if *unsure > 0 {
        println!(
            "unsure: rules ask for something that the log does not have of {} (values of a query, who calls)",
            count::of(*unsure, "request")
        );
    }
    if *routes_by_header > 0 {
        println!(
            "unsure: {} for headers, which logs do not have; they were taken as absent",
            counted(*routes_by_header as u64, "route asks", "routes ask")
        );
    }
    if let Some(first) = first {
        println!("{unreadable} lines are no requests; the first of them is line {first}");
    }
}

fn print_change(change: &Change) {
    println!("\n{:>8}  {} -> {}", change.requests, said(&change.before), said(&change.after));
    for sample in &change.samples {
        let route = |route: &Option<String>| route.clone().unwrap_or_else(|| "no route".to_owned());
        let because = |because: &Option<Because>| because.as_ref().map_or("refused", Because::as_str);
        let (before, after) = (route(&sample.route_before), route(&sample.route_after));
        println!("          {} {}", sample.method, sample.target);
        println!("            {before} ({}) -> {after} ({})", because(&sample.because_before), because(&sample.because_after));
    }
}

fn said(place: &Place) -> String {
    match place {
        Place::To { capability, side, upstream, rewritten } => {
            let capability = capability.as_deref().unwrap_or("no capability");
            let path = if *rewritten { ", by another path" } else { "" };
            match upstream {
                Some(upstream) => format!("{side} ({capability}, {upstream}{path})"),
                None => format!("{side} ({capability})"),
            }
        }
        Place::Refused { why } => why.clone(),
    }
}
