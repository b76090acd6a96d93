//! The test language: a world with a real Django, a real new service and a real `ficus`, callers that behave like people,
//! and a ledger that remembers every answer.
//!
//! It never looks into the parts: it starts their binaries, speaks HTTP to them, and reads both databases at the end.
//!
//! The life of a world:
//!
//! 1. [`world::World`] makes a directory, a seeded monolith, a new service and a `ficus.toml`, and starts them on free ports;
//! 2. [`caller::Caller`]s log in through the gateway and read and write, for as long as [`load::Load`] runs;
//! 3. [`ledger::Ledger`] remembers what was acknowledged;
//! 4. [`audit`] compares both databases with the ledger;
//! 5. dropping the world ends every process that it started.

pub mod audit;
pub mod bare;
pub mod cable;
pub mod caller;
pub mod demo;
pub mod fleet;
pub mod http;
pub mod ledger;
pub mod load;
pub mod notebook;
pub mod operator;
pub mod origin;
pub mod process;
pub mod prometheus;
pub mod school;
pub mod slow;
pub mod world;
