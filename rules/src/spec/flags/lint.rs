//! Flags against each other: what they require, circles, and those whose last day has come.

use std::collections::BTreeMap;

use super::super::Known;
use super::super::document::Documents;
use super::super::source::Report;
use super::super::words::suggest;
use super::FlagDocument;

pub(in super::super) fn lint(documents: &Documents, known: &Known, report: &Report) {
    let named: BTreeMap<&str, &FlagDocument> = documents.flags.iter().map(|flag| (flag.flag.name.as_str(), flag)).collect();
    for document in &documents.flags {
        for required in &document.requires {
            let Some(other) = named.get(required.value.as_str()) else {
                let hint = suggest(&required.value, named.keys().copied());
                report.error(&required.at, format!("there is no flag `{}`", required.value), hint);
                continue;
            };
            let variant = &document.flag.requires[&required.value];
            if !other.flag.variants.contains_key(variant) {
                let hint = suggest(variant, other.flag.variants.keys().map(String::as_str));
                report.error(&required.at, format!("`{}` has no variant `{variant}`", required.value), hint);
            }
        }
        if let Some(way) = circle(document, &named) {
            report.error(
                &document.at,
                format!("the flags require each other: {}", way.join(" → ")),
                "none of them could ever be on: remove one `requires`",
            );
        }
        if let (Some(at), Some(today)) = (&document.expires, known.today)
            && document.flag.is_expired(today)
        {
            let message = format!("the last day of `{}` has come", document.flag.name);
            report.warn(at, message, "remove the flag with what it gates, or give it another day");
        }
    }
}

/// The circle that a flag stands in; told at the first of it by name.
fn circle<'a>(start: &'a FlagDocument, named: &BTreeMap<&str, &'a FlagDocument>) -> Option<Vec<&'a str>> {
    let mut way = vec![start.flag.name.as_str()];
    leads_back(start, &mut way, named).then_some(way)
}

fn leads_back<'a>(from: &'a FlagDocument, way: &mut Vec<&'a str>, named: &BTreeMap<&str, &'a FlagDocument>) -> bool {
    for name in from.flag.requires.keys() {
        if name == way[0] {
            way.push(name);
            return true;
        }
        let Some(next) = named.get(name.as_str()).filter(|_| name.as_str() > way[0] && !way.contains(&name.as_str())) else { continue };
        way.push(name);
        if leads_back(next, way, named) {
            return true;
        }
        way.pop();
    }
    false
}
