//! `ficus journal`: what happened, in order.

use anyhow::Result;
use ficus_rules::api::JournalEntry;
use jiff::Timestamp;

use crate::admin::Admin;
use crate::args::Args;

/// Prints the latest lines, newest last.
pub(crate) async fn execute(args: &Args, capability: Option<&str>, limit: u32) -> Result<()> {
    let filter = capability.map_or(String::new(), |name| format!("&capability={name}"));
    let entries: Vec<JournalEntry> = Admin::new(args)?.get(&format!("/api/v1/journal?limit={limit}{filter}")).await?;
    if args.json {
        return super::print_json(&entries);
    }
    for entry in &entries {
        let at = i64::try_from(entry.at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let at = at.map_or(entry.at.0.to_string(), |at| at.to_string());
        let whom = entry.by.as_ref().map_or(String::new(), |by| format!(" [{by}]"));
        let why = entry.line.detail["reason"].as_str().filter(|why| !entry.line.text.contains(why));
        let why = why.map_or(String::new(), |why| format!(" ({why})"));
        println!("{at} {} {}: {}{why}{whom}", entry.capability.as_deref().unwrap_or("-"), entry.line.kind, entry.line.text);
    }
    Ok(())
}
