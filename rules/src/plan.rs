//! The nouns of a rule set after every name in it is resolved. Built by [`crate::spec`], read by everything else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::claims::Claim;
use crate::flag::Flag;
use crate::gate::Gates;
use crate::hours::Hours;
use crate::mapping::TableMap;
use crate::parity::Leniency;
use crate::plugin::Plugins;
use crate::require::Require;
use crate::route::Matched;
use crate::{Share, Side};

/// All that the rule files say, resolved and free of contradictions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSet {
    /// Capabilities by name.
    pub capabilities: BTreeMap<String, Capability>,
    /// Feature flags by name.
    pub flags: BTreeMap<String, Flag>,
    /// Some route answers preflights ([`crate::plugin::Cors`]).
    pub answers_preflights: bool,
}

impl RuleSet {
    /// The route that was matched in it.
    pub fn route(&self, matched: &Matched) -> &Route {
        &self.capabilities[&matched.capability].routes[matched.route]
    }
}

/// What is moved as one: its routes, its tables, its steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Capability {
    /// Where it stands: `users.toml:1`.
    pub source: String,
    /// Its name; also the label of metrics.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The upstream (and database) in `ficus.toml` that serves it today.
    pub legacy: String,
    /// The upstream (and database) in `ficus.toml` that will.
    pub modern: String,
    /// Capabilities whose tables this one joins.
    pub depends_on: Vec<String>,
    /// Capabilities into whose tables foreign keys of this one lead, and before which it may move all the same.
    pub ahead_of: Vec<String>,
    /// Salt of the buckets; its name unless set. A new salt reshuffles everybody.
    pub salt: String,
    /// Its routes, in the order of the file.
    pub routes: Vec<Route>,
    /// What identifies a caller, first that the request has.
    pub cohort: Vec<Unit>,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// What every step is judged by.
    pub gates: Gates,
    /// When its steps may begin; empty: at any time.
    pub windows: Vec<Hours>,
    /// What a failing gate leads to.
    pub returns: Return,
    /// What becomes of writes to legacy's database that come past the gateway while modern owns.
    pub strays: StrayWrites,
    /// Its tables, parents before children.
    pub tables: Vec<TableMap>,
    /// What the comparison of shadowed answers leaves out or tolerates.
    pub leniency: Leniency,
    /// What the tokens for its modern side say of a user, beside id, name and role.
    pub claims: BTreeMap<String, Claim>,
    /// Expectations that `ficus check` runs.
    pub tests: Vec<RouteTest>,
}

impl Capability {
    /// When the first step of a kind may begin; empty: at any time.
    pub fn windows_of(&self, kind: impl Fn(&StepAction) -> bool) -> &[Hours] {
        let of_step = self.steps.iter().find(|step| kind(&step.action)).map(|step| self.windows_of_step(step));
        of_step.unwrap_or(&self.windows)
    }

    /// When a step may begin; empty: at any time.
    pub fn windows_of_step<'a>(&'a self, step: &'a Step) -> &'a [Hours] {
        if step.windows.is_empty() { &self.windows } else { &step.windows }
    }
}

/// A matcher and what serves it.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Where it stands: `users.toml:12`.
    pub source: String,
    /// Path pattern: literals, `{name}` for one segment, a trailing `{*name}` for the rest.
    pub path: String,
    /// Host names it is limited to, lower case, without port; empty: any.
    pub hosts: Vec<String>,
    /// Methods it is limited to; empty: any.
    pub methods: Vec<String>,
    /// Headers that must match, by lower-case name.
    pub headers: BTreeMap<String, Condition>,
    /// Query parameters that must match.
    pub query: BTreeMap<String, Condition>,
    /// The path that the modern side sees, with `{name}` filled in; unset: the same path.
    pub modern_path: Option<String>,
    /// Stays on this side, whatever the phase.
    pub pin: Option<Side>,
    /// A pinned route whose writes touch the capability's tables: they are held by the fence, and refused (409) while
    /// the other side owns the tables.
    pub writes_tables: bool,
    /// A flag that must be on for the modern side to serve it, as long as legacy owns.
    pub flag: Option<String>,
    /// Writes that the modern side answers need a CSRF token, as Django checks it (default true).
    pub csrf: bool,
    /// Who may use it; unset: everybody.
    pub require: Option<Require>,
    /// Reads that fail on the modern side are answered by legacy (default true).
    pub fallback: bool,
    /// Reads may be shadowed (default true); writes too, where modern rehearses them.
    pub shadow: bool,
    /// Modern carries a write out and takes it back where it is asked to, and says so: its writes may be shadowed.
    pub dry_run: bool,
    /// Answers of modern to reads that legacy gives instead, by status, where `fallback` is on.
    pub fallback_on: Vec<u16>,
    /// How long an upstream may take to begin its answer, or pause within it; unset: the gateway's default.
    pub timeout: Option<Duration>,
    /// What else is done to its requests and answers; `None`: nothing.
    pub plugins: Option<Arc<Plugins>>,
    /// Deadlines beside it.
    pub deadlines: Deadlines,
    /// Answers to GET are kept.
    pub cache: Option<Caching>,
}

/// Answers of modern that legacy gives instead, unless the route says otherwise.
pub const FALLBACK_STATUSES: [u16; 4] = [500, 502, 503, 504];

/// A read with a longer body is sent once, so that modern's answer is the one that there is.
pub const KEPT_BODY: u64 = 64 * 1024;

/// How long an upstream may take for a request, where `timeout` or the gateway's defaults are not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deadlines {
    /// To accept the connection.
    pub connect: Option<Duration>,
    /// From the last of the request to the first of the answer.
    pub first_byte: Option<Duration>,
    /// Without anything that moves, once the answer has begun; of a WebSocket, in either direction.
    pub idle: Option<Duration>,
    /// For everything, from the first try to the end of the answer.
    pub total: Option<Duration>,
}

/// How long answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caching {
    /// Never longer, whatever they say.
    pub at_most: Duration,
    /// For so long where they say nothing; unset: then not at all.
    pub by_default: Option<Duration>,
}

/// A condition on a header or a query parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Present, with any value.
    Present,
    /// Absent.
    Absent,
    /// Exactly this.
    Equals(String),
    /// Begins with this.
    Prefix(String),
}

/// What identifies a caller for its bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// The verified user's id.
    User,
    /// The value of a cookie.
    Cookie(String),
    /// The value of a header.
    Header(String),
    /// The gateway's own anonymous cookie.
    Anonymous,
}

/// One step of the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Where it stands: `users.toml:20`.
    pub source: String,
    /// What happens in it.
    pub action: StepAction,
    /// In a soak: this share of the reads is asked of legacy, too, and compared.
    #[serde(default)]
    pub compare: Share,
    /// How long it lasts at least, with all gates passing, before the next one.
    pub hold: Duration,
    /// Waits for `ficus approve` before it begins.
    pub approve: bool,
    /// When it may begin; empty: as the capability says.
    #[serde(default)]
    pub windows: Vec<Hours>,
}

/// `[return]`: what a failing gate leads to, and what comes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Return {
    /// Where a ramp goes back to.
    pub ramp: RampReturn,
    /// What is done while modern owns.
    pub soak: SoakReturn,
    /// How often it goes forward again by itself, until somebody releases it or it has moved on.
    pub tries: u32,
    /// For so long before that no gate must have failed.
    pub cool_down: Duration,
    /// What becomes of modern's open transactions that the way back would wait for.
    pub transactions: OpenTransactions,
    /// Whether it goes back by itself over rows that are set aside.
    pub aside: SetAsideRows,
}

/// Where a ramp goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RampReturn {
    /// All reads to legacy.
    Legacy,
    /// The share of reads before this one, and from there further back.
    LastGood,
}

/// What a failing gate leads to while modern owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SoakReturn {
    /// The writes go back to legacy.
    Revert,
    /// It does not retire.
    Hold,
    /// Somebody is told.
    Page,
}

/// What becomes of an open transaction in modern's database that the way back would wait for. Legacy's are always waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenTransactions {
    /// The agent ends its session, where it may: nobody was told that it is done.
    End,
    /// The way back waits for its end.
    Wait,
}

/// What rows that are set aside mean for a way back that nobody types. They are on modern alone, or newer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetAsideRows {
    /// It waits for somebody to decide about them.
    Hold,
    /// It leaves them where they are: set aside.
    GoBack,
}

impl Default for Return {
    fn default() -> Self {
        Return {
            ramp: RampReturn::Legacy,
            soak: SoakReturn::Revert,
            tries: 0,
            cool_down: Duration::from_secs(600),
            transactions: OpenTransactions::End,
            aside: SetAsideRows::Hold,
        }
    }
}

/// `[cutover]`: what becomes of writes to legacy's database that come past the gateway while modern owns. During a switch they
/// are refused, whatever stands here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StrayWrites {
    /// The database refuses them, and whoever wrote sees an error.
    #[default]
    Refuse,
    /// The database takes them, and keeps with them what was there and who wrote. They go nowhere else, and until somebody has
    /// decided about them (`ficus repair`) nothing is reverted or retired.
    Report,
    /// The same, and each of their rows is written to modern as an application of modern's would, if modern has the row as it was
    /// for whoever wrote. Otherwise it is as with [`StrayWrites::Report`].
    Forward,
}

impl StrayWrites {
    /// Whether the database takes them.
    pub fn lets_in(self) -> bool {
        self != StrayWrites::Refuse
    }
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepAction {
    /// Mirrors this share of the reads.
    Shadow(Share),
    /// Serves this share of the callers' reads from modern (and goes on shadowing what the last shadow step said).
    Reads(Share),
    /// Moves the writes.
    Cutover,
    /// Modern owns; reverse sync runs for this long before the capability may retire.
    Soak(Duration),
}

impl StepAction {
    /// Its word in the rule file.
    pub fn as_str(&self) -> &'static str {
        match self {
            StepAction::Shadow(_) => "shadow",
            StepAction::Reads(_) => "reads",
            StepAction::Cutover => "cutover",
            StepAction::Soak(_) => "soak",
        }
    }

    /// Whether it moves the writes.
    pub fn is_cutover(&self) -> bool {
        matches!(self, StepAction::Cutover)
    }
}

/// An expectation in a rule file: `request` at `at` is served by `expect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTest {
    /// Where it stands: `users.toml:61`.
    pub source: String,
    /// Method.
    pub method: String,
    /// Path with query.
    pub target: String,
    /// Host, if it matters.
    pub host: Option<String>,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// The user, if logged in.
    pub user: Option<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// The moment that it speaks of.
    pub at: Moment,
    /// What must come of it.
    pub expect: Expected,
}

/// What must come of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// No route of any capability matches it.
    NoRoute,
    /// This side serves it.
    Side(Side),
    /// The gateway refuses it with this status, since its caller is not who it must be: 401 or 403.
    Refused(u16),
}

/// A moment in a capability's way, for tests and `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// Before anything moved (also while backfilling, streaming and shadowing).
    Start,
    /// While this share of the reads is served by modern.
    Reads(Share),
    /// After the cutover.
    Cutover,
}
