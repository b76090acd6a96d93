//! `ficus journal`: what happened, in order.

use anyhow::{Result, bail};
use ficus_rules::api::JournalEntry;
use ficus_rules::audit::Head;
use ficus_rules::count::counted;
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

/// Entries that are read at once.
const PAGE: usize = 1_000;

/// Follows the chain from the first entry to the last, and past `known`, if somebody kept it.
pub(crate) async fn verify(args: &Args, known: Option<&Head>) -> Result<()> {
    let admin = Admin::new(args)?;
    let (mut head, mut seen) = (Head::default(), known.is_none());
    loop {
        // Asked first: what is written meanwhile comes after it.
        let written: Head = admin.get("/api/v1/journal/head").await?;
        let page: Vec<JournalEntry> = admin.get(&format!("/api/v1/journal?after={}&limit={PAGE}", head.id)).await?;
        if page.is_empty() {
            head.ends(&written)?;
            break;
        }
        for entry in &page {
            head.follow(entry)?;
            seen |= known == Some(&head);
        }
    }
    if let Some(known) = known.filter(|_| !seen) {
        bail!("entry {} is not the one that was kept: all up to it was written anew", known.id);
    }
    if args.json {
        return super::print_json(&head);
    }
    match head.id {
        0 => println!("the journal is empty"),
        id => println!(
            "{} together; keep this elsewhere: ficus journal --verify --head {id}:{}",
            counted(id, "entry fits", "entries fit"),
            head.hash
        ),
    }
    Ok(())
}

/// Reads `412:9f86d0…`.
pub(crate) fn head(text: &str) -> Result<Head, String> {
    let parts = text.split_once(':').and_then(|(id, hash)| Some((id.parse().ok()?, hash)));
    let (id, hash) = parts.filter(|(_, hash)| hash.len() == 64).ok_or("write it as `--verify` printed it, ID:HASH")?;
    Ok(Head { id, hash: hash.to_ascii_lowercase() })
}
