//! `ficus reload`: the rule files are read again, now.

use anyhow::Result;
use http::Method;
use serde_json::Value;

use crate::admin::Admin;
use crate::args::Args;

/// Asks, and prints the generation that serves.
pub(crate) async fn execute(args: &Args) -> Result<()> {
    let answer: Value = Admin::new(args)?.send(Method::POST, "/api/v1/reload", &serde_json::json!({})).await?;
    if args.json {
        return super::print_json(&answer);
    }
    println!("rules at generation {}", answer["generation"]);
    Ok(())
}
