//! `ficus reload`: the rule files are read again, now.

use anyhow::Result;
use ficus_rules::api::Reloaded;
use http::Method;

use super::wish::because;
use crate::admin::Admin;
use crate::args::Args;

/// Asks, and prints the generation that serves.
pub(crate) async fn execute(args: &Args, reason: &str) -> Result<()> {
    let answer: Reloaded = Admin::new(args)?.send(Method::POST, "/api/v1/reload", &because(reason)).await?;
    if args.json {
        return super::print_json(&answer);
    }
    println!("rules at generation {}", answer.rules_generation);
    Ok(())
}
