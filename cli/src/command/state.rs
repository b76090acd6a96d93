//! `ficus state move`: the state of one orchestrator, from its file into the etcd of several. Works on both directly: no orchestrator may.

use anyhow::{Result, anyhow, bail};
use ficus_orchestrator::{NotMoved, move_state};

use crate::args::Args;
use crate::config::Config;
use crate::exit::{BadConfiguration, Refused};
use crate::run::state_file;
use ficus_rules::count::{self, counted};

/// Moves it, or says what would be moved.
pub(super) async fn moved(args: &Args, dry_run: bool) -> Result<()> {
    let config = Config::load(&args.config)?;
    let Some(etcd) = &config.etcd else {
        bail!(BadConfiguration(format!("{} has no [orchestrator.etcd] to move the state to", args.config.display())));
    };
    let file = state_file(&config);
    let moved = move_state(&file, etcd, dry_run).await.map_err(|why| match why {
        NotMoved::Store(store) if !store.is_a_refusal() => anyhow!(store).context("the state was not moved"),
        refused => anyhow!(Refused(refused.to_string())),
    })?;
    if args.json {
        return super::print_json(&moved);
    }
    let (does, from) = (if dry_run { "would move" } else { "moved" }, file.display());
    println!(
        "{does} {}, {} of the journal, {} and generation {} from {from} to {}",
        counted(moved.capabilities as u64, "capability", "capabilities"),
        counted(moved.journal as u64, "entry", "entries"),
        count::of(moved.samples as u64, "sample"),
        moved.generation,
        moved.to
    );
    Ok(())
}
