//! The usual rules with other routes.

use ficus_rules::wire::{Published, RuleFile, Serving};

use super::support::{World, published};

/// Publishes a capability `users` with these routes, and has it confirmed.
pub fn publish(world: &World, routes: &str, serving: Serving) {
    let head = "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n";
    let rules = vec![RuleFile { name: "users.toml".into(), text: format!("{head}{routes}") }];
    let generation = world.gateway.generation() + 1;
    world.gateway.publish(Published { rules, ..published(generation, serving) }).unwrap();
    world.confirm();
}
