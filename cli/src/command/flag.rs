//! `ficus flag`: what flags there are, and an operator's override of one.

use std::fmt::Write as _;

use anyhow::Result;
use ficus_rules::api::FlagRequest;
use ficus_rules::count;
use ficus_rules::decide::Snapshot;
use ficus_rules::flag::{OFF, ON};
use ficus_rules::wire::Overrides;
use http::Method;
use serde::Serialize;

use super::explain;
use super::wish::{because, whoami};
use crate::admin::Admin;
use crate::args::{Args, Flag};

/// Shows all flags, or sets or clears the override of one and prints what is overridden then.
pub(crate) async fn execute(args: &Args, flag: &Flag) -> Result<()> {
    let admin = Admin::new(args)?;
    let (Some(name), Some(value)) = (&flag.name, flag.value.as_deref()) else {
        let snapshot = explain::published(admin.get("/api/v1/published?after=0&wait_ms=0").await?)?;
        let lines = lines(&snapshot);
        if args.json {
            return super::print_json(&lines);
        }
        print!("{}", page(&lines));
        return Ok(());
    };
    let path = format!("/api/v1/flags/{name}");
    let reason = Some(flag.reason.clone()).filter(|reason| !reason.is_empty());
    let overrides: Overrides = match value {
        "clear" => admin.send(Method::DELETE, &path, &because(&flag.reason)).await?,
        value => {
            let variant = Some(value.to_owned()).filter(|value| ![ON, OFF].contains(&value.as_str()));
            let for_seconds = flag.lasts.map(|lasts| lasts.as_secs());
            let request = FlagRequest { on: value == ON, variant, for_seconds, by: whoami(), reason };
            admin.send(Method::PUT, &path, &request).await?
        }
    };
    if args.json {
        return super::print_json(&overrides);
    }
    println!("{} overridden", count::of(overrides.flags.len() as u64, "flag"));
    for (name, flag) in &overrides.flags {
        println!("  {name}: {}", flag.variant());
    }
    Ok(())
}

/// One flag as it stands.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    description: String,
    /// What the files say where nobody is targeted.
    file: String,
    /// What an operator says for everybody.
    overridden: Option<String>,
}

fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let overrides = &snapshot.published.overrides.flags;
    let now = ficus_rules::Timestamp::from(std::time::SystemTime::now());
    let named = snapshot.rules.flags.values().map(|flag| {
        let shares = flag.split.iter().flat_map(|split| &split.shares).map(|(variant, share)| format!(", {variant} for {share}"));
        let expired = if flag.is_expired(now) { ", its last day has come" } else { "" };
        let said = format!("{}{}", flag.default, shares.collect::<String>());
        let file = format!("{}{expired}", if flag.killed { "killed" } else { &said });
        let overridden = overrides.get(&flag.name).map(|one| format!("{} {}", one.variant(), one.note).trim().to_owned());
        Line { name: flag.name.clone(), description: flag.description.clone(), file, overridden }
    });
    named.collect()
}

fn page(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "no flag yet: write one into flags.toml in the rules directory\n".to_owned();
    }
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or_default();
    let mut page = String::new();
    for line in lines {
        let overridden = line.overridden.as_ref().map_or(String::new(), |word| format!(" (override: {word})"));
        let text = format!("{:<width$}  {}{overridden}  {}", line.name, line.file, line.description);
        let _ = writeln!(page, "{}", text.trim_end());
    }
    page
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use clap::Parser as _;
    use ficus_rules::wire::{FlagOverride, Published, RuleFile};

    use super::super::explain;
    use crate::args::Args;

    #[test]
    fn flags_are_listed_with_what_overrides_them() {
        let text = "[flag.new-profile]\ndescription = \"The new page\"\ndefault = true\n\n[flag.other]\n";
        let mut state = Published { rules: vec![RuleFile { name: "flags.toml".into(), text: text.into() }], ..Published::default() };
        state.overrides.flags.insert("new-profile".into(), FlagOverride { note: "by ann".into(), ..FlagOverride::default() });
        let page = super::page(&super::lines(&explain::published(state).unwrap()));
        assert_eq!(page, "new-profile  on (override: off by ann)  The new page\nother        off\n");
    }

    #[test]
    fn a_flag_is_named_with_its_value_or_not_at_all() {
        assert!(Args::try_parse_from(["ficus", "flag"]).is_ok());
        assert!(Args::try_parse_from(["ficus", "flag", "x", "on"]).is_ok());
        assert!(Args::try_parse_from(["ficus", "flag", "x"]).is_err());
    }
}
