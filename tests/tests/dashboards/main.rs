//! What people look at: dashboards without an empty panel, alerts that fire when they should, runbooks and documentation
//! whose commands and examples work, manifests that agree. Queries are executed by a real Prometheus that scrapes a running system.

mod alerts;
mod container;
mod deploy;
mod documentation;
mod examples;
mod grafana;
mod kinds;
mod manifests;
mod marks;
#[path = "../../../sync-agent/tests/support/own.rs"]
mod own;
mod phases;
#[path = "../../../sync-agent/tests/support/postgres.rs"]
mod postgres;
mod reference;
mod runbooks;
mod schemas;
mod shell;
mod surroundings;
mod units;
