//! `ficus revert`, and what it leaves behind if it shall go back although rows are set aside.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use anyhow::{Result, bail};
use ficus_rules::Side;
use ficus_rules::api::{Quarantine, WishRequest};
use ficus_rules::count::counted;

use super::wish;
use crate::admin::Admin;
use crate::args::{Args, Revert};
use crate::exit::Refused;

/// Wishes it; before it leaves rows behind, it says which, and asks.
pub(crate) async fn execute(args: &Args, asked: &Revert) -> Result<()> {
    let capability = &asked.wish.capability;
    if asked.leave_set_aside {
        let quarantine: Quarantine = Admin::new(args)?.get(&format!("/api/v1/capabilities/{capability}/quarantine")).await?;
        eprintln!("{}", left(&quarantine));
        if !asked.yes && !agrees(capability)? {
            bail!(Refused("nobody said yes, and nothing was done".to_owned()));
        }
    }
    let request = WishRequest { leave_set_aside: asked.leave_set_aside, ..wish::because(&asked.wish.reason) };
    wish::send(args, "revert", &asked.wish, request).await
}

/// How many rows, and the keys of the newest by table.
fn left(quarantine: &Quarantine) -> String {
    if quarantine.total == 0 {
        return "no row is set aside".to_owned();
    }
    let of = |from: Side| {
        let mut tables: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in quarantine.rows.iter().filter(|row| row.from == from) {
            tables.entry(&row.legacy).or_default().push(&row.key);
        }
        let tables: Vec<String> = tables.into_iter().map(|(table, keys)| format!("{table} {}", keys.join(", "))).collect();
        let other = from.other();
        (!tables.is_empty()).then(|| format!("{other} has not what {from} has of {}", tables.join("; ")))
    };
    let newest = if quarantine.rows.len() as u64 == quarantine.total { "" } else { "; of the newest" };
    let rows = counted(quarantine.total, "row stays set aside", "rows stay set aside");
    let sides: Vec<String> = [Side::Modern, Side::Legacy].into_iter().filter_map(of).collect();
    format!("{rows}{newest}: {}", sides.join("; "))
}

fn agrees(capability: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!(Refused("there is nobody to ask: say --yes".to_owned()));
    }
    eprint!("go back to legacy without them, and leave {capability} like that? [y/N] ");
    std::io::stderr().flush()?;
    let mut said = String::new();
    std::io::stdin().read_line(&mut said)?;
    Ok(matches!(said.trim(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use ficus_rules::Timestamp;
    use ficus_rules::wire::SetAside;

    use super::*;

    #[test]
    fn what_is_left_is_said_by_table_and_key() {
        let row = |legacy: &str, key: &str| SetAside {
            capability: "users".to_owned(),
            from: Side::Modern,
            legacy: legacy.to_owned(),
            modern: "users".to_owned(),
            key: key.to_owned(),
            at: Timestamp(0),
            reason: "too long".to_owned(),
            wanted: None,
            there: None,
            cut: false,
        };
        let stray = SetAside { from: Side::Legacy, ..row("mark", "5") };
        let rows = vec![row("person", "7"), row("note", "3"), row("person", "9"), stray];
        let all = left(&Quarantine { total: 4, rows: rows.clone() });
        assert_eq!(
            all,
            "4 rows stay set aside: legacy has not what modern has of note 3; person 7, 9; modern has not what legacy has of mark 5"
        );
        let some = left(&Quarantine { total: 30, rows });
        assert!(some.starts_with("30 rows") && some.contains("; of the newest: legacy has not"), "{some}");
        assert_eq!(left(&Quarantine::default()), "no row is set aside");
    }
}
