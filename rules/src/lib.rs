//! What should happen: the pure domain of Ficus.
//!
//! Routes and their matching, cohorts, flags, the decision about a request, the comparison of two answers, gates, the
//! migration's state machine, table mappings, the rule language and the messages between the parts.
//!
//! It never does IO, reads a clock or draws a random number: `now` comes in as an argument, and so does everything that
//! was observed. The shells round it (`proxy`, `sync-agent`, `orchestrator`, `cli`) do the rest.
//!
//! The life of a rule set:
//!
//! 1. [`spec`] parses the TOML of a directory and reports every error at once, with file, line, column and hint;
//! 2. what it yields is a [`plan::RuleSet`], in which every name is resolved;
//! 3. [`route::Router`] indexes its routes;
//! 4. [`decide::decide`] answers, for one request and one published state, which side serves it and why.
//!
//! The life of a capability: [`migration::advance`] moves its state by what was observed; [`migration::desired`] says
//! what the gateways and the agent should be doing in that state; [`wire`] carries both.
//!
//! Read next: `plan.rs` for the nouns, `decide.rs` for the request path, `migration.rs` for the procedure.

pub mod access;
pub mod api;
pub mod audit;
pub mod bucket;
pub mod catalog;
pub mod claims;
pub mod comparison;
pub mod count;
pub mod crossing;
pub mod decide;
pub mod event;
pub mod finding;
pub mod flag;
pub mod gate;
pub mod hours;
pub mod identity;
pub mod lease;
pub mod log_out;
pub mod mapping;
pub mod marker;
pub mod migration;
pub mod network;
pub mod parity;
pub mod path;
pub mod plan;
pub mod plugin;
pub mod preflight;
pub mod proposal;
pub mod require;
pub mod roster;
pub mod route;
pub mod share;
pub mod side;
pub mod spec;
pub mod time;
pub mod trace;
pub mod wire;

pub use share::Share;
pub use side::Side;
pub use time::Timestamp;
