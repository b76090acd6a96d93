//! `ficus quarantine`: the rows of a capability that could not be applied, with both images.

use anyhow::Result;
use ficus_rules::api::Quarantine;
use ficus_rules::count::counted;
use serde_json::Value;

use crate::admin::Admin;
use crate::args::Args;

/// Prints them, newest first.
pub(crate) async fn execute(args: &Args, capability: &str) -> Result<()> {
    let quarantine: Quarantine = Admin::new(args)?.get(&format!("/api/v1/capabilities/{capability}/quarantine")).await?;
    if args.json {
        return super::print_json(&quarantine);
    }
    let shown = quarantine.rows.len();
    match quarantine.total {
        0 => println!("no row is set aside"),
        total if shown as u64 == total => println!("{}", counted(total, "row is set aside", "rows are set aside")),
        total => println!("{total} rows are set aside; the newest {shown}:"),
    }
    for row in &quarantine.rows {
        println!("{} {}, from {}: {}", row.legacy, row.key, row.from, row.reason);
        image("to be written", row.wanted.as_ref());
        image("there instead", row.there.as_ref());
        if row.cut {
            println!("  long values are cut; all of it is in the target's database");
        }
    }
    if quarantine.total > 0 {
        println!(
            "remove the cause, then `ficus repair {capability}`: the rows of whoever owns are written, and what is left here is decided"
        );
    }
    Ok(())
}

fn image(name: &str, image: Option<&Value>) {
    let Some(cells) = image.and_then(Value::as_object) else { return };
    let cells: Vec<String> = cells.iter().map(|(column, value)| format!("{column}={value}")).collect();
    println!("  {name}: {}", cells.join(" "));
}
