//! `ficus pin`: an operator's override of where reads go.

use anyhow::Result;
use ficus_rules::api::PinRequest;
use ficus_rules::count;
use ficus_rules::wire::Overrides;
use http::Method;

use super::wish::whoami;
use crate::admin::Admin;
use crate::args::{Args, Pin};

/// Sets or clears the pin, and prints what is overridden then.
pub(crate) async fn execute(args: &Args, pin: &Pin) -> Result<()> {
    let request = PinRequest {
        capability: pin.capability.clone(),
        user: pin.user.clone(),
        side: pin.side.map(Into::into),
        for_seconds: pin.lasts.map(|lasts| lasts.as_secs()),
        by: whoami(),
        reason: Some(pin.reason.clone()).filter(|reason| !reason.is_empty()),
    };
    let method = if pin.clear { Method::DELETE } else { Method::POST };
    let overrides: Overrides = Admin::new(args)?.send(method, "/api/v1/pins", &request).await?;
    if args.json {
        return super::print_json(&overrides);
    }
    println!("{}", count::of(overrides.pins.len() as u64, "pin"));
    for pin in &overrides.pins {
        let who = pin.user.as_ref().map_or("everybody".into(), |user| format!("user {user}"));
        println!("  {} for {who}: {}", pin.capability, pin.side);
    }
    Ok(())
}
