//! One request, one decision: which side serves it, and because of what. `ficus explain` and the gateway call the same
//! function. Does not fetch an identity, count, wait or forward: the gateway does, before and after.

mod spelled;
mod unidentified;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bucket;
use crate::flag;
use crate::marker::{self, Marker};
use crate::migration::Phase;
use crate::plan::{Capability, Route, RuleSet, Unit};
use crate::plugin;
use crate::require::Access;
use crate::route::{Matched, Request, Router};
use crate::wire::{Freshness, PinOverride, Published, Serving};
use crate::{Side, Timestamp};

pub use self::spelled::is_ambiguous;
pub use self::unidentified::unidentified;

/// The cookie by which strangers keep their side.
pub const ANONYMOUS_COOKIE: &str = "ficus_anon";

/// Everything that requests are decided by: rules and published state, taken as one. A request reads one and keeps it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The published state.
    pub published: Published,
    /// Its rule files, resolved.
    pub rules: RuleSet,
    /// The index over their routes.
    pub router: Router,
}

/// Who calls, as far as the gateway could verify it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The verified user's id.
    pub user: Option<String>,
    /// The verified user's roles.
    pub roles: Vec<String>,
    /// The id in the gateway's own anonymous cookie (made for this request if it had none).
    pub anonymous: Option<String>,
    /// Valid markers of its last writes.
    pub markers: Vec<Marker>,
    /// Its bucket, where that is known and not who it is: of a request that was logged.
    pub bucket: Option<u32>,
}

/// Where a caller stands in a capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cohort {
    /// What its bucket was made of: `user`, `cookie`, `header`, `anonymous`; `none`: nothing identifies it.
    pub by: String,
    /// Of a million; modern serves the buckets below its share.
    pub bucket: u32,
}

/// What the gateway has learnt from outside the rules.
#[derive(Debug, Clone, Default)]
pub struct Circumstances {
    /// How fresh the copies are, by capability.
    pub freshness: BTreeMap<String, Freshness>,
    /// Capabilities whose modern side does not answer; reads go to legacy while it owns.
    pub modern_down: Vec<String>,
}

/// The decision about one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// The capability; `None`: no route matched, the default upstream serves it.
    pub capability: Option<String>,
    /// The route's source, like `users.toml:12`.
    pub route: Option<String>,
    /// Its place among the capability's routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_index: Option<usize>,
    /// The side that serves it.
    pub side: Side,
    /// The other path that the upstream sees, if it is another.
    pub upstream_path: Option<String>,
    /// It may change rows: any method but GET, HEAD, OPTIONS and TRACE.
    pub write: bool,
    /// Whether it is forwarded now.
    pub admission: Admission,
    /// A copy of it goes to the other side; of a write, to be rehearsed.
    pub shadow: bool,
    /// A failure of modern is answered by legacy.
    pub fallback: bool,
    /// The gateway must check the CSRF token first.
    pub csrf: bool,
    /// Whether its caller may use the route.
    #[serde(default)]
    pub access: Access,
    /// Where a stranger that asked for a page is sent to log in.
    #[serde(default)]
    pub log_in: Option<String>,
    /// A write that touches the capability's tables: gateways count it while it is in flight, and mark its caller.
    pub tracked: bool,
    /// The path that the modern side sees of a mirrored copy.
    pub mirror_path: Option<String>,
    /// How long an upstream may take to begin its answer, or pause within it, if the route says so.
    pub timeout: Option<Duration>,
    /// Why this side.
    pub because: Because,
    /// Where the caller stands, if that made the difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort: Option<Cohort>,
}

impl Decision {
    /// Whether the gates judge its answer: only what both sides are asked alike may be compared. A pinned route is one side's
    /// alone; callers that legacy serves for a reason of their own (they wrote, or modern would not know them) are not any callers.
    pub fn is_judged(&self) -> bool {
        use Because::{InCohort, OutsideCohort, OwnerReads, OwnerWrites};
        self.capability.is_some() && matches!(self.because, OwnerReads | OwnerWrites | InCohort | OutsideCohort)
    }
}

/// Whether a request is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Forward it.
    Forward,
    /// Hold it until the fence opens.
    Hold,
    /// Refuse it: its pinned side does not own the tables that it writes.
    Refuse,
}

/// Why a side was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// No route matched.
    NoRoute,
    /// The route is pinned in the file.
    Pinned,
    /// An operator pinned it.
    Override,
    /// Writes go to the owner.
    OwnerWrites,
    /// Reads go to the owner: none are ramped in this phase.
    OwnerReads,
    /// The caller's bucket is inside the ramped share.
    InCohort,
    /// The caller's bucket is outside the ramped share.
    OutsideCohort,
    /// The caller wrote, and its write is not yet known to be applied on the other side.
    OwnWrites,
    /// The other side's copy is too old, or nobody knows how old it is.
    CopyBehind,
    /// The route's flag is off for the caller, and legacy owns.
    FlagOff,
    /// Modern does not answer.
    ModernDown,
    /// Who calls could not be found out; modern would take the caller for a stranger.
    IdentityUnknown,
}

impl Because {
    /// All of them, as declared.
    pub const ALL: [Because; 12] = [
        Because::NoRoute,
        Because::Pinned,
        Because::Override,
        Because::OwnerWrites,
        Because::OwnerReads,
        Because::InCohort,
        Because::OutsideCohort,
        Because::OwnWrites,
        Because::CopyBehind,
        Because::FlagOff,
        Because::ModernDown,
        Because::IdentityUnknown,
    ];

    /// The word for labels and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Because::NoRoute => "no_route",
            Because::Pinned => "pinned",
            Because::Override => "override",
            Because::OwnerWrites => "owner_writes",
            Because::OwnerReads => "owner_reads",
            Because::InCohort => "in_cohort",
            Because::OutsideCohort => "outside_cohort",
            Because::OwnWrites => "own_writes",
            Because::CopyBehind => "copy_behind",
            Because::FlagOff => "flag_off",
            Because::ModernDown => "modern_down",
            Because::IdentityUnknown => "identity_unknown",
        }
    }
}

/// Whether a method leaves rows as they are (RFC 9110, 9.2.1).
pub fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// The id in a request's anonymous cookie, if it can be one.
pub fn anonymous_id(request: &dyn Request) -> Option<&str> {
    request.cookie(ANONYMOUS_COOKIE).filter(|id| (1..=64).contains(&id.len()))
}

/// Whether this caller's bucket in a capability comes from an anonymous id: one that has none gets one made.
pub fn needs_anonymous(snapshot: &Snapshot, capability: &str, request: &dyn Request, caller: &Caller) -> bool {
    let ramping = snapshot.published.capabilities.get(capability).is_some_and(|serving| serving.phase == Phase::Ramping);
    let has = |unit: &&Unit| **unit == Unit::Anonymous || unit_of(unit, request, caller).is_some();
    ramping && snapshot.rules.capabilities[capability].cohort.iter().find(has) == Some(&Unit::Anonymous)
}

/// The route that a request takes. A preflight takes the route of the request that it asks about, where plugins answer it.
pub fn matched(snapshot: &Snapshot, request: &dyn Request) -> Option<Matched> {
    if snapshot.rules.answers_preflights && plugin::is_preflight(request) {
        let asked = snapshot.router.find(&snapshot.rules, &plugin::AsAsked(request));
        let answered = |matched: &Matched| snapshot.rules.route(matched).plugins.as_ref().is_some_and(|plugins| plugins.cors.is_some());
        if let Some(asked) = asked.filter(answered) {
            return Some(asked);
        }
    }
    snapshot.router.find(&snapshot.rules, request)
}

/// Whether a flag is on for a caller; one that there is not is off.
pub fn flag_is_on(snapshot: &Snapshot, name: &str, request: &dyn Request, caller: &Caller, now: Timestamp) -> bool {
    flag::is_on(&snapshot.rules.flags, &snapshot.published.overrides.flags, name, request, caller, now)
}

/// Decides one request.
pub fn decide(snapshot: &Snapshot, request: &dyn Request, caller: &Caller, around: &Circumstances, now: Timestamp) -> Decision {
    decide_matched(snapshot, matched(snapshot, request).as_ref(), request, caller, around, now)
}

/// Decides one request whose route is known already ([`matched`]).
pub fn decide_matched(
    snapshot: &Snapshot,
    matched: Option<&Matched>,
    request: &dyn Request,
    caller: &Caller,
    around: &Circumstances,
    now: Timestamp,
) -> Decision {
    let write = !is_safe(request.method());
    let Some(matched) = matched else {
        return unrouted(write);
    };
    let capability = &snapshot.rules.capabilities[&matched.capability];
    let route = &capability.routes[matched.route];
    let untouched = Serving::untouched();
    let serving = snapshot.published.capabilities.get(&matched.capability).unwrap_or(&untouched);
    let asking = Asking { snapshot, matched, route, serving, request, caller, around, now, cohort: OnceCell::new() };

    let (side, because) = if write { asking.write_side() } else { asking.read_side() };
    let admission = match (write, route.pin) {
        (false, _) => Admission::Forward,
        (true, Some(_)) if !route.writes_tables => Admission::Forward,
        (true, _) if serving.fenced => Admission::Hold,
        (true, Some(pin)) if pin != serving.owner => Admission::Refuse,
        (true, _) => Admission::Forward,
    };
    let access = route.require.as_ref().map_or(Access::Open, |require| require.judge(caller));
    let log_in = route.require.as_ref().filter(|_| access == Access::Stranger).and_then(|require| require.way_to_log_in(&target(request)));
    let upstream_path = match side {
        Side::Legacy => None,
        Side::Modern => route.modern_path.as_ref().map(|pattern| fill(pattern, &matched.params)),
    };
    let compares = match serving.owner {
        Side::Legacy => side == Side::Legacy,
        Side::Modern => side == Side::Modern && serving.phase == Phase::Soaking && !write,
    };
    let mirrors = route.shadow && route.pin.is_none() && compares;
    let rehearses = route.dry_run && admission == Admission::Forward && asking.copy_is_caught_up();
    let shadow = mirrors && serving.shadow.millionths() > 0 && (!write || rehearses);
    let to_modern = shadow && side == Side::Legacy;
    let mirror_path = route.modern_path.as_ref().filter(|_| to_modern).map(|pattern| fill(pattern, &matched.params));
    Decision {
        capability: Some(matched.capability.clone()),
        route: Some(route.source.clone()),
        route_index: Some(matched.route),
        side,
        upstream_path,
        write,
        admission,
        shadow,
        fallback: route.fallback && !write && side == Side::Modern && serving.owner == Side::Legacy,
        csrf: route.csrf && write && side == Side::Modern,
        access,
        log_in,
        tracked: write && (route.pin.is_none() || route.writes_tables),
        mirror_path,
        timeout: route.timeout,
        cohort: matches!(because, Because::InCohort | Because::OutsideCohort).then(|| asking.cohort().clone()),
        because,
    }
}

/// Path and query, as they were asked for.
fn target(request: &dyn Request) -> String {
    match request.query() {
        "" => request.path().to_owned(),
        query => format!("{}?{query}", request.path()),
    }
}

fn unrouted(write: bool) -> Decision {
    Decision {
        capability: None,
        route: None,
        route_index: None,
        side: Side::Legacy,
        upstream_path: None,
        write,
        admission: Admission::Forward,
        shadow: false,
        fallback: false,
        csrf: false,
        access: Access::Open,
        log_in: None,
        tracked: false,
        mirror_path: None,
        timeout: None,
        because: Because::NoRoute,
        cohort: None,
    }
}

/// One question, with all that an answer leans on.
struct Asking<'a> {
    snapshot: &'a Snapshot,
    matched: &'a Matched,
    route: &'a Route,
    serving: &'a Serving,
    request: &'a dyn Request,
    caller: &'a Caller,
    around: &'a Circumstances,
    now: Timestamp,
    /// Where the caller stands, once that was asked.
    cohort: OnceCell<Cohort>,
}

impl Asking<'_> {
    fn write_side(&self) -> (Side, Because) {
        match self.route.pin {
            Some(pin) => (pin, Because::Pinned),
            None => (self.serving.owner, Because::OwnerWrites),
        }
    }

    fn read_side(&self) -> (Side, Because) {
        let owner = self.serving.owner;
        if let Some(pin) = self.route.pin {
            return (pin, Because::Pinned);
        }
        let (side, because) = self.wished_read_side();
        if side == owner {
            return (side, because);
        }
        if side == Side::Modern && self.around.modern_down.contains(&self.matched.capability) {
            return (owner, Because::ModernDown);
        }
        if self.wrote_ahead() {
            return (owner, Because::OwnWrites);
        }
        if self.copy_is_behind() {
            return (owner, Because::CopyBehind);
        }
        (side, because)
    }

    /// Where a read would go if both copies were always equal.
    fn wished_read_side(&self) -> (Side, Because) {
        let owner = self.serving.owner;
        // Nobody keeps the other side's rows any more.
        if self.serving.phase == Phase::Retired {
            return (owner, Because::OwnerReads);
        }
        if let Some(side) = self.overridden() {
            return (side, Because::Override);
        }
        // A flag opens the way to modern; where modern owns, there is no way back through it.
        if owner == Side::Modern {
            return (owner, Because::OwnerReads);
        }
        if let Some(name) = &self.route.flag
            && !flag_is_on(self.snapshot, name, self.request, self.caller, self.now)
        {
            return (Side::Legacy, Because::FlagOff);
        }
        if self.serving.reads.millionths() == 0 {
            return (owner, Because::OwnerReads);
        }
        match self.cohort().bucket < self.serving.reads.millionths() {
            true => (Side::Modern, Because::InCohort),
            false => (Side::Legacy, Because::OutsideCohort),
        }
    }

    fn cohort(&self) -> &Cohort {
        self.cohort.get_or_init(|| self.stand())
    }

    fn stand(&self) -> Cohort {
        let capability = &self.snapshot.rules.capabilities[&self.matched.capability];
        let unit = unit(capability, self.request, self.caller);
        let by = unit.as_deref().and_then(|unit| Some(unit.split_once(':')?.0)).unwrap_or("none").to_owned();
        let bucket = self.caller.bucket.unwrap_or_else(|| bucket::bucket(&capability.salt, &unit.unwrap_or_default()));
        Cohort { by, bucket }
    }

    /// An operator's pin for this user, else for everybody.
    fn overridden(&self) -> Option<Side> {
        let live = |pin: &&PinOverride| pin.capability == self.matched.capability && pin.expires.is_none_or(|at| self.now < at);
        let counts = |pin: &&PinOverride| live(pin) && (pin.side == Side::Legacy || self.modern_may_be_read());
        let pins = &self.snapshot.published.overrides.pins;
        let mine = pins.iter().filter(counts).find(|pin| pin.user.is_some() && pin.user == self.caller.user);
        mine.or_else(|| pins.iter().filter(counts).find(|pin| pin.user.is_none())).map(|pin| pin.side)
    }

    /// Rows are known to be right from shadowing on; what went back to legacy is read there, by everybody at once. The
    /// orchestrator drops such pins too, a moment later. Without tables, a pin may lead the way.
    fn modern_may_be_read(&self) -> bool {
        let capability = &self.snapshot.rules.capabilities[&self.matched.capability];
        self.serving.owner == Side::Modern
            || match self.serving.phase {
                Phase::Draft | Phase::Backfilling | Phase::Streaming => capability.tables.is_empty(),
                Phase::Reverting | Phase::Reverted => false,
                _ => true,
            }
    }

    /// A write can be rehearsed on the copy: it has what its caller wrote before.
    fn copy_is_caught_up(&self) -> bool {
        !self.wrote_ahead() && !self.copy_is_behind()
    }

    /// The caller wrote at a time that the other copy is not known to have reached. A marker of an older epoch says
    /// nothing: the switch itself waited until everything before it was applied.
    fn wrote_ahead(&self) -> bool {
        let applied = self.around.freshness.get(&self.matched.capability).filter(|f| f.epoch == self.serving.epoch);
        let mine = self.caller.markers.iter().filter(|m| m.capability == self.matched.capability && m.epoch == self.serving.epoch);
        mine.map(|m| m.at).max().is_some_and(|at| applied.is_none_or(|f| f.through <= at))
    }

    /// The copy is not known to have everything that the owner had a while ago. Markers are forgotten after their
    /// lifetime: well before that, a copy that does not keep up must not be read from.
    fn copy_is_behind(&self) -> bool {
        let capability = &self.snapshot.rules.capabilities[&self.matched.capability];
        let applied = self.around.freshness.get(&self.matched.capability).filter(|f| f.epoch == self.serving.epoch);
        !capability.tables.is_empty() && applied.is_none_or(|f| self.now.since(f.through) > marker::LIFETIME / 2)
    }
}

/// What a caller's bucket is made of: the first unit of the cohort that the request has.
pub(crate) fn unit(capability: &Capability, request: &dyn Request, caller: &Caller) -> Option<String> {
    capability.cohort.iter().find_map(|unit| unit_of(unit, request, caller))
}

/// The value that identifies a caller by one kind of unit. The kind is part of it: user 7 and cookie 7 are two callers.
fn unit_of(unit: &Unit, request: &dyn Request, caller: &Caller) -> Option<String> {
    match unit {
        Unit::User => caller.user.as_ref().map(|user| format!("user:{user}")),
        Unit::Cookie(name) => request.cookie(name).map(|value| format!("cookie:{value}")),
        Unit::Header(name) => request.header(name).map(|value| format!("header:{value}")),
        Unit::Anonymous => caller.anonymous.as_ref().map(|id| format!("anonymous:{id}")),
    }
}

/// Fills a pattern like `modern_path` with what the path's names stood for.
pub(crate) fn fill(pattern: &str, params: &BTreeMap<String, String>) -> String {
    let mut filled = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, tail) = after.split_once('}').unwrap_or((after, ""));
        filled.push_str(params.get(name.trim_start_matches('*')).map_or("", String::as_str));
        rest = tail;
    }
    filled.push_str(rest);
    filled
}
