//! From the command line to what it does. Long-running parts start their own runtime; operator commands share a small one.

mod check;
mod diffs;
mod explain;
mod flag;
mod init;
pub(crate) mod journal;
mod map;
mod pin;
mod plan;
mod progress;
mod quarantine;
mod reload;
mod revert;
mod schema;
mod state;
mod status;
mod wish;

use anyhow::Result;

use crate::admin;
use crate::args::{Args, Command, MapWhat, StateWhat};
use crate::config::Config;
use crate::exit::BadConfiguration;
use crate::{logging, panics, run};

/// Does what the command line asks.
pub(crate) fn execute(args: Args) -> Result<()> {
    match &args.command {
        Command::Run | Command::Gateway { .. } | Command::Agent | Command::Orchestrator { .. } => part(&args),
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(operator(&args))
        }
    }
}

fn part(args: &Args) -> Result<()> {
    logging::start();
    panics::watch();
    let mut config = Config::load(&args.config)?;
    let admin = admin::bases(args, &config);
    match &args.command {
        Command::Gateway { name } => {
            config.gateway.name = name.clone().unwrap_or(config.gateway.name);
            run::gateway_alone(&config, &admin)
        }
        Command::Agent => run::agent_alone(&config, &admin),
        Command::Orchestrator { address } => {
            if let Some(etcd) = &mut config.etcd {
                etcd.address = address.clone().unwrap_or(std::mem::take(&mut etcd.address));
                crate::config::reached_by(&etcd.address).map_err(BadConfiguration)?;
            }
            run::orchestrator_alone(&config)
        }
        _ => run::everything(&config, &admin),
    }
}

async fn operator(args: &Args) -> Result<()> {
    match &args.command {
        Command::Run | Command::Gateway { .. } | Command::Agent | Command::Orchestrator { .. } => {
            unreachable!("parts are started elsewhere")
        }
        Command::Init(asked) => init::execute(args, asked).await,
        Command::Check(asked) => check::execute(args, asked).await,
        Command::Map { what: MapWhat::Init(asked) } => map::init(args, asked).await,
        Command::Schema { of } => {
            print!("{}", schema::text(*of));
            Ok(())
        }
        Command::Explain(asked) => explain::execute(args, asked).await,
        Command::Status { capability, watch } => status::execute(args, capability.as_deref(), *watch).await,
        Command::Plan { capability, dry_run } => plan::execute(args, capability.as_deref(), *dry_run).await,
        Command::Advance(wish) => wish::execute(args, "advance", wish, None).await,
        Command::Hold(wish) => wish::execute(args, "hold", wish, None).await,
        Command::Release(asked) => wish::execute(args, "release", &asked.wish, asked.hold.as_deref()).await,
        Command::Approve(wish) => wish::execute(args, "approve", wish, None).await,
        Command::Cutover(wish) => wish::execute(args, "cutover", wish, None).await,
        Command::Abort(wish) => wish::execute(args, "abort", wish, None).await,
        Command::Revert(asked) => revert::execute(args, asked).await,
        Command::Retire(wish) => wish::execute(args, "retire", wish, None).await,
        Command::Verify(wish) => wish::execute(args, "verify", wish, None).await,
        Command::Repair(wish) => wish::execute(args, "repair", wish, None).await,
        Command::Pin(pin) => pin::execute(args, pin).await,
        Command::Flag(flag) => flag::execute(args, flag).await,
        Command::Diffs { capability, propose } => diffs::execute(args, capability.as_deref(), *propose).await,
        Command::Quarantine { capability } => quarantine::execute(args, capability).await,
        Command::Journal { verify: true, head, .. } => journal::verify(args, head.as_ref()).await,
        Command::Journal { capability, limit, .. } => journal::execute(args, capability.as_deref(), *limit).await,
        Command::State { what: StateWhat::Move { dry_run } } => state::moved(args, *dry_run).await,
        Command::Reload { reason } => reload::execute(args, reason).await,
    }
}

/// Prints a value as indented JSON.
fn print_json<T: serde::Serialize>(value: &T) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
