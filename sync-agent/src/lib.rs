//! The sync agent: keeps the databases of both sides equal, capability by capability, while either of them is written.
//!
//! It never decides: what to run, which database to fence, when to look for an end, is ordered
//! ([`ficus_rules::wire::Orders`]) and reported ([`ficus_rules::wire::AgentReport`]) as levels. It never writes a row
//! that no rule file maps, and never holds a lock while it waits.
//!
//! The life of a row:
//!
//! 1. the application writes it; a trigger logs its key ([`sqlite`]);
//! 2. [`stream`] wakes up, folds the log and reads the newest state of every touched key in one transaction;
//! 3. its [`ficus_rules::mapping::Plan`] maps it to the other side ([`apply`]);
//! 4. it is written together with the position and the mark that keeps it from flowing back; what a constraint refuses
//!    is set aside with its reason, and tried again with the next change of its key;
//! 5. only then the source is told, and prunes its log; and other services, if the rules say so ([`events`]).
//!
//! Before anything, [`preflight`] looks whether it could go well, and creates nothing.
//!
//! Before the first change, [`backfill`] copies everything from an exact snapshot, and goes on where it was if it was broken
//! off; afterwards [`verify`] compares both
//! sides while writes go on, and repairs by pretending that the owner's rows were touched.
//!
//! Read next: `port.rs` (what a database must be able to do), `capability.rs` (one capability from start to end).

mod agent;
mod alone;
mod apply;
mod backfill;
pub mod backlog;
mod busy;
mod capability;
mod carried;
#[cfg(test)]
mod contract;
mod crash;
mod engine;
mod error;
mod events;
mod forwarder;
mod freshness;
mod isolate;
mod mariadb;
mod metrics;
mod newest;
#[cfg(test)]
#[path = "../tests/support/own.rs"]
mod own;
pub mod port;
mod postgres;
pub mod preflight;
mod pulse;
mod quarantine;
mod session;
mod sqlite;
mod state;
mod strays;
mod stream;
mod verify;

pub use agent::{Agent, Config, Resolved};
pub use engine::{Address, KNOWN, address, speaks};
pub use error::Error;
pub use events::{Bus, check_bus};
