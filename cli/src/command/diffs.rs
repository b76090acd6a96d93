//! `ficus diffs`: samples of shadowed requests whose answers differed.

use anyhow::Result;
use ficus_rules::api::Diffs;

use crate::admin::Admin;
use crate::args::Args;

/// Prints them, newest last.
pub(crate) async fn execute(args: &Args, capability: Option<&str>) -> Result<()> {
    let path = capability.map_or("/api/v1/diffs".to_owned(), |name| format!("/api/v1/diffs?capability={name}"));
    let diffs: Diffs = Admin::new(args)?.get(&path).await?;
    if args.json {
        return super::print_json(&diffs);
    }
    if diffs.samples.is_empty() {
        println!("no differences were seen");
    }
    for sample in &diffs.samples {
        println!("{} {} {} legacy {} modern {}", sample.capability, sample.method, sample.path, sample.legacy_status, sample.modern_status);
        for difference in &sample.differences {
            println!("  {}: legacy {} modern {}", difference.path, difference.legacy, difference.modern);
        }
    }
    Ok(())
}
