//! Plugins of a route at work. What they answer and change is decided by `ficus_rules::plugin`; here a request is walked
//! through their phases, and what is not pure is done: callers are counted, passwords checked, bodies packed.
//!
//! A request meets the plugins of the snapshot that it arrived under, once, before a fence may hold it; its answer meets
//! the same ones, whatever was published meanwhile.

mod apply;
mod counting;
mod pack;
mod passwords;
mod shared;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use ficus_rules::decide::{Caller, Snapshot, flag_is_on};
use ficus_rules::plugin::{Active, Answered, Asking, By, Plugins, RateLimit, RequestSize, credentials};
use ficus_rules::route::{Matched, Request as _};
use ficus_rules::{Side, Timestamp};
use http::StatusCode;
use pingora::http::{RequestHeader, ResponseHeader};

pub(crate) use apply::{Headers, apply};
pub(crate) use counting::Counting;
pub use shared::{RedisServer, check as check_redis};

use crate::answer::Refusal;
use crate::carried::Carried;
use crate::gateway::Inner;
use crate::metrics::metrics;
use pack::Packer;
use passwords::Passwords;

/// What plugins share between requests, and keep over a new snapshot.
pub(crate) struct Shared {
    counting: Counting,
    passwords: Passwords,
}

/// The plugins that a request has met.
pub(crate) struct Met {
    plugins: Arc<Plugins>,
    active: Active,
    /// What the path's names stood for.
    params: BTreeMap<String, String>,
    /// Where the request comes from, past trusted proxies.
    client: Option<IpAddr>,
    /// The version of the API that is asked for.
    version: Option<String>,
    /// What the answer says of a limit.
    said: Vec<(&'static str, String)>,
    takes: Option<RequestSize>,
    received: u64,
    packer: Option<Packer>,
}

impl Shared {
    pub(crate) fn new(redis: Option<RedisServer>) -> Shared {
        Shared { counting: Counting::new(redis), passwords: Passwords::new() }
    }
}

impl Met {
    fn new(plugins: Arc<Plugins>, matched: &Matched, client: Option<IpAddr>) -> Met {
        Met {
            plugins,
            active: Active::default(),
            params: matched.params.clone(),
            client,
            version: None,
            said: Vec::new(),
            takes: None,
            received: 0,
            packer: None,
        }
    }

    fn asking<'a>(&'a self, carried: &'a Carried) -> Asking<'a> {
        Asking { request: &carried.asked, params: &self.params, client: self.client, https: carried.https }
    }

    /// Whether an upstream may see another request than the one that was made.
    pub(crate) fn changes_requests(&self) -> bool {
        self.plugins.version.is_some() || self.plugins.rewrite.is_some() || self.plugins.request_headers.is_some()
    }

    /// Headers that a limit knows callers by, whether or not it takes part for this one.
    pub(crate) fn known_by(&self) -> impl Iterator<Item = &str> {
        let by = self.plugins.rate_limit.iter().flat_map(|limit| &limit.what.by);
        by.filter_map(|by| if let By::Header(name) = by { Some(name.as_str()) } else { None })
    }

    /// Another try: its body comes from the start.
    pub(crate) fn begin_attempt(&mut self) {
        self.received = 0;
    }
}

/// A request on its way in. What it has met so far stays with it, also when it is refused.
pub(crate) async fn receive(
    gateway: &Inner,
    carried: &mut Carried,
    snapshot: &Arc<Snapshot>,
    matched: Option<&Matched>,
) -> Result<(), Refusal> {
    let Some((matched, plugins)) = matched.and_then(|matched| Some((matched, snapshot.rules.route(matched).plugins.clone()?))) else {
        return Ok(());
    };
    let mut met = Met::new(plugins, matched, carried.client);
    let walked = Box::pin(walk(gateway, carried, snapshot, &mut met)).await;
    carried.met = Some(met);
    walked.map_err(|(kind, answer)| {
        carried.snapshot = snapshot.clone();
        carried.met_in = Some(matched.capability.clone());
        metrics().plugin_answers.with_label_values(&[kind.as_str()]).inc();
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::FORBIDDEN);
        Refusal { headers: answer.headers, page: answer.page, ..Refusal::new(status, answer.reason, &answer.detail) }
    })
}

async fn walk(gateway: &Inner, carried: &mut Carried, snapshot: &Snapshot, met: &mut Met) -> Result<(), Answered> {
    let plugins = met.plugins.clone();
    plugins.doorstep(&met.asking(carried))?;
    if plugins.ask_for_caller() && carried.login.is_none() {
        carried.login = Some(gateway.callers.find(&carried.asked, &carried.peer).await);
    }
    let caller = caller(carried);
    let now = Timestamp::from(SystemTime::now());
    met.active = plugins.active(|flag| flag_is_on(snapshot, flag, &carried.asked, &caller, now));
    plugins.first(met.active, &met.asking(carried))?;
    if let Some(basic) = plugins.asks_password(met.active) {
        let brought = credentials(carried.asked.header("authorization"));
        if !gateway.plugins.passwords.admit(basic, brought).await {
            return Err((ficus_rules::plugin::Kind::BasicAuth, basic.denied()));
        }
    }
    if let Some(limit) = plugins.counts(met.active) {
        count(gateway, limit, caller.user.as_deref(), carried, met).await?;
    }
    met.version = plugins.last(met.active, &met.asking(carried))?;
    met.takes = plugins.takes(met.active);
    Ok(())
}

async fn count(gateway: &Inner, limit: &RateLimit, user: Option<&str>, carried: &Carried, met: &mut Met) -> Result<(), Answered> {
    let key = limit.key(&met.asking(carried), user);
    let refused = |answer| Err((ficus_rules::plugin::Kind::RateLimit, answer));
    match gateway.plugins.counting.count(limit, key).await {
        Some(verdict) => {
            met.said = limit.said(&verdict);
            if verdict.allowed { Ok(()) } else { refused(RateLimit::denied(&verdict)) }
        }
        None if limit.shared == Some(ficus_rules::plugin::WhenAway::Closed) => refused(RateLimit::uncounted()),
        None => Ok(()),
    }
}

fn caller(carried: &Carried) -> Caller {
    let user = carried.login.as_ref().and_then(|login| login.user()).map(|user| user.id.clone());
    Caller { user, anonymous: carried.anonymous.clone(), ..Caller::default() }
}

/// The target that a side sees, if it is another than the client's; `other` is the path that the decision says.
pub(crate) fn target(carried: &Carried, side: Side, other: Option<&str>, raw: &str) -> Option<String> {
    let query = carried.asked.query.as_str();
    let rewritten = carried.met.as_ref().map(|met| {
        let path = met.plugins.path(met.active, side, other.unwrap_or(&carried.asked.path), &met.asking(carried));
        (path, met.plugins.query(met.active, side, query))
    });
    let (path, changed) = rewritten.unwrap_or_default();
    if path.is_none() && changed.is_none() && other.is_none() {
        return None;
    }
    let (path, query) = (path.as_deref().or(other).unwrap_or(raw), changed.as_deref().unwrap_or(query));
    Some(if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") })
}

/// Changes the headers that a server behind gets.
pub(crate) fn on_the_way_there(carried: &Carried, headers: &mut impl Headers) {
    if let Some(met) = &carried.met {
        apply(&met.plugins.on_the_way_there(met.active, met.version.as_deref()), headers);
    }
}

/// Changes the headers that the client gets, of an answer from behind and of one of our own.
pub(crate) fn on_the_way_back(carried: &Carried, head: &mut ResponseHeader) {
    let Some(met) = &carried.met else { return };
    apply(&met.plugins.on_the_way_back(met.active, &met.asking(carried), met.version.as_deref()), head);
    for (name, value) in &met.said {
        head.set(name, value);
    }
}

/// Begins to pack an answer, if it is to be packed.
pub(crate) fn pack(carried: &mut Carried, request: &RequestHeader, head: &mut ResponseHeader) {
    let Some(packs) = carried.met.as_ref().and_then(|met| met.plugins.packs(met.active)) else { return };
    let packer = Packer::begin(packs, &carried.asked, request, head);
    if let Some(met) = &mut carried.met {
        met.packer = packer;
    }
}

/// Packs a piece of an answer's body.
pub(crate) fn packed(carried: &mut Carried, piece: &mut Option<bytes::Bytes>, end: bool) {
    if let Some(packer) = carried.met.as_mut().and_then(|met| met.packer.as_mut()) {
        packer.pack(piece, end);
    }
}

/// What is left of a packed body that ends with trailers.
pub(crate) fn packed_rest(carried: &mut Carried) -> Option<bytes::Bytes> {
    let mut rest = None;
    packed(carried, &mut rest, true);
    rest.filter(|rest: &bytes::Bytes| !rest.is_empty())
}

/// Counts a piece of the request's body.
pub(crate) fn received(carried: &mut Carried, bytes: usize) -> Result<(), Refusal> {
    let Some(met) = &mut carried.met else { return Ok(()) };
    met.received += bytes as u64;
    let Some(answer) = met.takes.and_then(|takes| takes.answer(met.received)) else { return Ok(()) };
    Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, answer.reason, &answer.detail))
}
