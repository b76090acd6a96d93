//! Decides a request, and lets it through when it may go: holds it while the fence is closed, refuses what must not
//! reach a side that does not own the tables. Everything that says *which side* is `ficus_rules::decide`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ficus_rules::decide::{Admission, Caller, Decision, Snapshot, decide_matched, is_safe, matched, needs_anonymous, unidentified};
use ficus_rules::require::Access;
use ficus_rules::route::Matched;
use ficus_rules::{Side, Timestamp};
use http::StatusCode;

use crate::answer::Refusal;
use crate::carried::Carried;
use crate::client::Client;
use crate::fence::InFlight;
use crate::gateway::Inner;
use crate::hold::Held;
use crate::identity::Identity;
use crate::metrics::metrics;
use crate::plugins;

pub(crate) use ficus_rules::decide::ANONYMOUS_COOKIE;

/// Bodies up to this size are read by HTTP/1 while their request is held, so that a client that leaves is noticed at once.
const READ_WHILE_HELD: usize = 60 * 1024;
/// How often the connection of a larger one is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a request goes no further.
pub(crate) enum Stop {
    /// It is answered by the gateway.
    Refused(Refusal),
    /// Its client has left; nothing is sent anywhere.
    Left,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

/// Lets a request through, at once or when the fence opens. Afterwards its decision is final, and a write is counted.
pub(crate) async fn admit(gateway: &Inner, session: &mut Client<'_>, carried: &mut Carried) -> Result<(), Stop> {
    gateway.standing.admit(!is_safe(&carried.asked.method))?;
    let mut held: Option<(Held, Instant)> = None;
    let mut arrives = true;
    loop {
        let snapshot = gateway.current.load_full();
        let matched = matched(&snapshot, &carried.asked);
        let first = std::mem::take(&mut arrives);
        if first {
            plugins::receive(gateway, carried, &snapshot, matched.as_ref()).await?;
        }
        // Nothing was waited for until here, but by plugins and by a fence.
        let now = match first && carried.met.is_none() {
            true => (carried.arrived, carried.started),
            false => (SystemTime::now(), Instant::now()),
        };
        let decision = decided(gateway, &snapshot, matched.as_ref(), carried, now).await?;
        let (admission, tracked) = (decision.admission, decision.tracked);
        let refused = decision.access.status().map(|status| (status, decision.log_in.clone()));
        carried.side = decision.side;
        carried.counters = decision.capability.as_deref().map(|capability| gateway.counters.of(capability));
        carried.decision = Some(decision);
        carried.snapshot = snapshot;
        if let Some((status, log_in)) = refused {
            return Err(no_access(carried, status, log_in).into());
        }
        let Some(counters) = carried.counters.clone().filter(|_| tracked) else { return Ok(()) };
        if !gateway.validity.allows(carried.serving().phase, Instant::now()) {
            return Err(out_of_touch().into());
        }
        match admission {
            Admission::Refuse => return Err(not_the_owner(carried.side).into()),
            Admission::Hold => {
                let since = held.as_ref().map_or_else(Instant::now, |(_, since)| *since);
                let mut waiting = match held.take().filter(|(held, _)| held.is_for(&counters.name)) {
                    Some((mut held, _)) => {
                        held.wait_again();
                        held
                    }
                    None => gateway.holds.wait(&counters.name, gateway.names(carried).into_iter().next()).ok_or_else(too_many)?,
                };
                // What was published since the decision may have opened the fence already.
                if Arc::ptr_eq(&gateway.current.load_full(), &carried.snapshot) {
                    let came = Box::pin(turn(gateway, session, &mut waiting, &counters.name, since)).await;
                    carried.timings.hold = Some(since.elapsed());
                    came?;
                }
                held = Some((waiting, since));
            }
            Admission::Forward => {
                if let Some(inflight) = InFlight::enter(&counters, &carried.snapshot, &gateway.current) {
                    carried.inflight = Some(inflight);
                    carried.held = held.map(|(held, _)| held);
                    return Ok(());
                }
            }
        }
    }
}

/// A write that was let through is about to be sent. Much may have been waited for since: its body, a place, a connection; or
/// the process was stopped. Without word from the orchestrator the owner may be another one by now.
pub(crate) fn sends(gateway: &Inner, carried: &Carried) -> Result<(), Refusal> {
    let may = carried.inflight.is_none() || gateway.validity.allows(carried.serving().phase, Instant::now());
    if may { Ok(()) } else { Err(out_of_touch()) }
}

/// One decision by one snapshot, with all that it needs to know of the caller.
async fn decided(
    gateway: &Inner,
    snapshot: &Snapshot,
    matched: Option<&Matched>,
    carried: &mut Carried,
    (wall, now): (SystemTime, Instant),
) -> Result<Decision, Refusal> {
    let around = gateway.around.circumstances(now);
    let now = Timestamp::from(wall);
    let mut caller = Caller { anonymous: carried.anonymous.clone(), ..Caller::default() };
    let Some(capability) = matched.map(|matched| matched.capability.as_str()) else {
        return Ok(decide_matched(snapshot, None, &carried.asked, &caller, &around, now));
    };
    if carried.login.is_none() {
        carried.login = Some(gateway.callers.find(&carried.asked, &carried.peer).await);
    }
    if let Some(user) = carried.login.as_ref().and_then(|login| login.user()) {
        caller.user = Some(user.id.clone());
        caller.roles.clone_from(&user.roles);
    }
    if gateway.recent.is_of_use() {
        gateway.recent.recall(&gateway.names(carried), &mut carried.markers);
    }
    caller.markers.clone_from(&carried.markers);
    if caller.anonymous.is_none() && needs_anonymous(snapshot, capability, &carried.asked, &caller) {
        carried.anonymous = Some(uuid::Uuid::new_v4().simple().to_string());
        carried.anonymous_is_new = true;
        caller.anonymous.clone_from(&carried.anonymous);
    }
    let decision = decide_matched(snapshot, matched, &carried.asked, &caller, &around, now);
    match carried.login.as_ref().map(|login| &login.identity) {
        Some(Identity::Unknown) if decision.access != Access::Open => Err(identity_unknown()),
        Some(Identity::Unknown) => unidentified(decision, snapshot, &caller).ok_or_else(identity_unknown),
        _ => Ok(decision),
    }
}

/// Waits for a held request's turn.
async fn turn(gateway: &Inner, session: &mut Client<'_>, held: &mut Held, capability: &str, since: Instant) -> Result<(), Stop> {
    let (gauge, seconds) = (metrics().held.with_label_values(&[capability]), metrics().hold.with_label_values(&[capability]));
    let deadline = tokio::time::Instant::from_std(since + gateway.holds.limits().max_wait);
    gauge.inc();
    let outcome = tokio::select! {
        () = held.turn() => match is_connected(session) {
            true => Ok(()),
            false => Err(Stop::Left),
        },
        () = client_leaves(session) => Err(Stop::Left),
        () = tokio::time::sleep_until(deadline) => Err(held_too_long().into()),
    };
    gauge.dec();
    seconds.observe(since.elapsed().as_secs_f64());
    outcome
}

/// Returns when the client has gone. By HTTP/2 a stream says so by itself, and its body stays where it is. Otherwise reads a small
/// body meanwhile, into the buffer from which pingora sends it later.
async fn client_leaves(client: &mut Client<'_>) {
    let Some(session) = client.session() else { return until_gone(client).await };
    if let Some(closes) = session.watch_h2_stream_close() {
        let _ = closes.await;
        return;
    }
    let length = session.get_header("content-length").and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let chunked = session.get_header("transfer-encoding").is_some();
    let small = !chunked && length.unwrap_or(0) <= READ_WHILE_HELD && session.get_header("expect").is_none();
    if !small {
        return until_gone(client).await;
    }
    session.enable_retry_buffering();
    while session.read_body_or_idle(false).await.is_ok() {}
}

/// Looks at the connection every now and then.
async fn until_gone(client: &Client<'_>) {
    while is_connected(client) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether the client still has both directions open, as far as the kernel knows.
pub(crate) fn is_connected(session: &Client<'_>) -> bool {
    const ESTABLISHED: u8 = 1;
    session.socket().and_then(|socket| socket.tcp_info()).is_none_or(|info| info.tcpi_state == ESTABLISHED)
}

/// Strangers that ask for a page are shown the way to the log-in, if there is one.
fn no_access(carried: &Carried, status: u16, log_in: Option<String>) -> Refusal {
    let page = carried.asked.method == "GET" && !carried.asked.wants_json();
    match log_in.filter(|_| page) {
        Some(way) => Refusal::elsewhere(StatusCode::FOUND, "log_in", way),
        None if status == 401 => Refusal::new(StatusCode::UNAUTHORIZED, "log_in", "this needs a log-in"),
        None => Refusal::new(StatusCode::FORBIDDEN, "role", "you may not use this: it is for others"),
    }
}

fn out_of_touch() -> Refusal {
    Refusal::later(
        "out_of_touch",
        "this gateway has not heard from the orchestrator for too long to know who owns this data; writes wait until it has",
    )
}

fn identity_unknown() -> Refusal {
    Refusal::later("identity_unknown", "who you are cannot be found out at the moment; nothing was changed")
}

fn not_the_owner(side: Side) -> Refusal {
    let detail = format!("the data that this page changes belongs to the {} side now; use the new pages for it", side.other());
    Refusal::new(StatusCode::CONFLICT, "not_the_owner", &detail)
}

fn too_many() -> Refusal {
    Refusal::later("hold_full", "too many writes wait while data is moved; this one was not made, try it again")
}

fn held_too_long() -> Refusal {
    Refusal::later("hold_deadline", "the data is being moved and that takes long; this write was not made, try it again")
}
