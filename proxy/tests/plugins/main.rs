//! Plugins at work, between real sockets.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, dead_code, reason = "tests")]

mod answered;
mod changed;
mod limited;
mod packed;
#[path = "../gateway/support.rs"]
mod support;

use std::collections::BTreeMap;

use ficus_rules::wire::{FlagOverride, Published, RuleFile, Serving};

use support::World;

pub const CAPABILITY: &str = "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n";

/// Serves by rules: everything after `[capability]`, and flags.
pub fn serve(world: &World, rules: &str, flags: &str, serving: Serving) {
    serve_with(world, rules, flags, serving, BTreeMap::new());
}

pub fn serve_with(world: &World, rules: &str, flags: &str, serving: Serving, overrides: BTreeMap<String, FlagOverride>) {
    let file = |name: &str, text: String| RuleFile { name: name.to_owned(), text };
    let generation = world.gateway.generation() + 1;
    let mut published = Published {
        generation,
        rules_generation: generation,
        rules: vec![file("flags.toml", flags.to_owned()), file("users.toml", format!("{CAPABILITY}{rules}"))],
        capabilities: [("users".to_owned(), serving)].into(),
        ..Published::default()
    };
    published.overrides.flags = overrides;
    world.gateway.publish(published).unwrap();
    world.confirm();
}
