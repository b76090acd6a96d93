//! `ficus flag`: an operator's override of a feature flag.

use anyhow::Result;
use ficus_rules::api::FlagRequest;
use ficus_rules::wire::Overrides;
use http::Method;

use super::wish::whoami;
use crate::admin::Admin;
use crate::args::{Args, Flag, FlagArg};

/// Sets or clears the override, and prints what is overridden then.
pub(crate) async fn execute(args: &Args, flag: &Flag) -> Result<()> {
    let admin = Admin::new(args)?;
    let path = format!("/api/v1/flags/{}", flag.name);
    let overrides: Overrides = match flag.value {
        FlagArg::Clear => admin.send(Method::DELETE, &path, &serde_json::json!({})).await?,
        value => {
            let request = FlagRequest {
                on: value == FlagArg::On,
                for_seconds: flag.lasts.map(|lasts| lasts.as_secs()),
                by: whoami(),
                reason: Some(flag.reason.clone()).filter(|reason| !reason.is_empty()),
            };
            admin.send(Method::PUT, &path, &request).await?
        }
    };
    if args.json {
        return super::print_json(&overrides);
    }
    println!("{} flags overridden", overrides.flags.len());
    for (name, flag) in &overrides.flags {
        println!("  {name}: {}", if flag.on { "on" } else { "off" });
    }
    Ok(())
}
