//! The rule language and what is decided by it, from outside the crate.

mod broken;
mod comparing;
mod csrf;
mod deciding;
mod defaults;
mod examples;
mod fuzz;
#[path = "../support/mutator.rs"]
mod mutator;
mod properties;
mod ramp;
mod routing;
mod support;
