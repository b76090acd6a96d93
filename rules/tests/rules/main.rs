//! The rule language and what is decided by it, from outside the crate.

mod broken;
mod comparing;
mod csrf;
mod deciding;
mod examples;
mod properties;
mod routing;
mod support;
