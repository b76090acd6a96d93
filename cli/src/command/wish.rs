//! The wishes about one capability: advance, hold, release, approve, cutover, abort, revert, retire, verify, repair.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ficus_rules::api::{CapabilityStatus, Status, WishRequest};
use ficus_rules::migration::Phase;
use http::Method;

use super::progress::Progress;
use super::status;
use crate::admin::Admin;
use crate::args::{Args, Wish};
use crate::exit::{Found, Refused};

/// `verify` and `repair` are only of use with their result.
const PATIENCE: Duration = Duration::from_secs(600);

/// Wishes, and waits for the end if that was asked for. `hold` is the one that is released.
pub(crate) async fn execute(args: &Args, wish: &str, asked: &Wish, hold: Option<&str>) -> Result<()> {
    send(args, wish, asked, WishRequest { hold: hold.map(str::to_owned), ..because(&asked.reason) }).await
}

/// The same with a request of the caller's.
pub(super) async fn send(args: &Args, wish: &str, asked: &Wish, request: WishRequest) -> Result<()> {
    let admin = Admin::new(args)?;
    let before = one(&admin, &asked.capability).await?;
    let path = format!("/api/v1/capabilities/{}/{wish}", asked.capability);
    let mut state: CapabilityStatus = admin.send(Method::POST, &path, &request).await?;
    let wait = asked.wait.or(matches!(wish, "verify" | "repair").then_some(PATIENCE));
    if let Some(patience) = wait {
        state = until_done(&admin, wish, &asked.capability, &before, patience).await?;
    }
    if args.json {
        super::print_json(&state)?;
    } else {
        print!("{}", status::paragraph(&asked.capability, &state));
        if wish == "verify" {
            differing_rows(&state).for_each(|row| println!("  {row}"));
        }
    }
    match state.drift_rows {
        _ if wish != "verify" => Ok(()),
        Some(0) => Ok(()),
        Some(_) => Err(Found.into()),
        None => bail!("{}", unknown_drift(&state)),
    }
}

/// Some of the rows that differ, by table, key and column.
fn differing_rows(state: &CapabilityStatus) -> impl Iterator<Item = String> {
    let report = state.agent.as_ref().and_then(|agent| agent.verified.as_ref());
    let tables = report.into_iter().flat_map(|report| &report.tables);
    tables.flat_map(|table| table.samples.iter().map(|row| format!("{}: {row}", table.legacy)))
}

/// Why nobody can say whether rows differ.
fn unknown_drift(state: &CapabilityStatus) -> String {
    let why = match (&state.agent, &state.trouble) {
        (_, Some(trouble)) => trouble.clone(),
        (None, None) => "no agent has reported this capability: is one running?".to_owned(),
        (Some(_), None) => format!("it is {}, and nothing is compared before its rows are copied", state.phase.as_str()),
    };
    format!("it is not known whether rows differ: {why}")
}

async fn one(admin: &Admin, capability: &str) -> Result<CapabilityStatus> {
    let mut status: Status = admin.get("/api/v1/status").await?;
    match status.capabilities.remove(capability) {
        Some(state) => Ok(state),
        None => {
            let names: Vec<String> = status.capabilities.into_keys().collect();
            bail!("no capability is called `{capability}` (there are: {})", names.join(", "))
        }
    }
}

async fn until_done(
    admin: &Admin,
    wish: &str,
    capability: &str,
    before: &CapabilityStatus,
    patience: Duration,
) -> Result<CapabilityStatus> {
    let mut progress = Progress::new();
    let deadline = Instant::now() + patience;
    loop {
        let state = one(admin, capability).await?;
        match done(wish, before, &state) {
            Some(Ok(())) => {
                progress.end();
                return Ok(state);
            }
            Some(Err(why)) => {
                progress.end();
                bail!(Refused(why));
            }
            None if Instant::now() > deadline => {
                progress.end();
                let missing: Vec<&str> = state.waiting_for.iter().map(|waiting| waiting.text.as_str()).collect();
                bail!("`{wish}` was not done within {patience:?}; waiting for: {}", missing.join("; "));
            }
            None => {}
        }
        progress.show(&state);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether what was wished for has come about, or will not.
fn done(wish: &str, before: &CapabilityStatus, state: &CapabilityStatus) -> Option<std::result::Result<(), String>> {
    let aborted = || Some(Err(format!("aborted: {}", state.holds.join("; "))));
    match wish {
        // A switch: until it has ended, here or where it came from.
        "cutover" | "revert" | "advance" if state.stage.is_some() => None,
        "cutover" if state.phase != Phase::Soaking => aborted(),
        "revert" if state.phase == Phase::Soaking => aborted(),
        "verify" => (!state.verifying && state.verified_at != before.verified_at).then_some(Ok(())),
        "repair" if state.stage.is_some() => Some(Err("given up: the writes are on their way to the other side".to_owned())),
        "repair" => (!state.repairing).then_some(Ok(())),
        "retire" => (state.phase == Phase::Retired).then_some(Ok(())),
        // Copying the rows is the beginning of the way, and what is waited for.
        "advance" if state.phase == Phase::Backfilling => None,
        "advance" => (state.phase != before.phase || state.step != before.step).then_some(Ok(())),
        _ => Some(Ok(())),
    }
}

/// What somebody at this machine says of a wish.
pub(super) fn because(reason: &str) -> WishRequest {
    let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
    WishRequest { by: whoami(), reason, ..WishRequest::default() }
}

/// Who wishes it, for the journal.
pub(super) fn whoami() -> String {
    std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "somebody".into())
}
