//! `ficus diffs`: samples of shadowed requests whose answers differed, and rules that would leave out what is noise.

use anyhow::Result;
use ficus_rules::api::Diffs;
use ficus_rules::parity::propose::{self, Proposal};

use crate::admin::Admin;
use crate::args::Args;

/// Prints them, newest last; or what is proposed.
pub(crate) async fn execute(args: &Args, capability: Option<&str>, propose: bool) -> Result<()> {
    let path = capability.map_or("/api/v1/diffs".to_owned(), |name| format!("/api/v1/diffs?capability={name}"));
    let diffs: Diffs = Admin::new(args)?.get(&path).await?;
    if propose {
        return proposals(args, &propose::propose(&diffs.samples));
    }
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

fn proposals(args: &Args, proposals: &[Proposal]) -> Result<()> {
    if args.json {
        return super::print_json(&proposals);
    }
    if proposals.is_empty() {
        println!("# nothing to propose: no place differs in two samples or more in a way that looks like noise");
    }
    for mine in proposals.chunk_by(|a, b| a.capability == b.capability) {
        println!(
            "# into the file of `{}`, if it is noise and no fault: each line leaves something unseen\n{}",
            mine[0].capability,
            propose::toml(mine)
        );
    }
    Ok(())
}
