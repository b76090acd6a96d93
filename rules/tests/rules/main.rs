//! The rule language and what is decided by it, from outside the crate.

mod examples;
mod routing;
mod support;
