//! The orchestrator over HTTP, with a fake gateway and a fake agent that obey it: the whole way of a capability, aborts
//! and restarts at every stage, rules that are bad, and the API's manners.

mod access;
mod api;
mod log_outs;
mod notifications;
mod probes;
mod restored;
mod returns;
mod rules;
mod several;
mod signed;
mod silence;
mod stored;
mod support;
mod way;
