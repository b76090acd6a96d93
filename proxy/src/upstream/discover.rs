//! Finds out where instances are, again and again. What cannot be found out, and an answer that names nobody, change
//! nothing: a name server that is away must not take a service down.

mod dns;
mod file;

use std::sync::Arc;
use std::time::Duration;

use super::Pool;
use crate::config::{Instances, Weighted};
use crate::metrics::metrics;

/// What one look found.
struct Found {
    instances: Vec<Weighted>,
    /// When to look again.
    again: Duration,
}

/// Finds the instances of an upstream once: what a gateway would find now.
///
/// # Errors
/// Why it cannot be found out, or that nobody is named.
pub async fn find_instances(instances: &Instances) -> Result<Vec<Weighted>, String> {
    match (Source::of(instances), instances) {
        (Some(mut source), _) => Ok(source.look().await?.instances),
        (None, Instances::Fixed(addresses)) => Ok(addresses.clone()),
        (None, _) => Ok(Vec::new()),
    }
}

/// Looks for the instances of an upstream for ever; at once done where they never change.
pub(crate) async fn run(pool: Arc<Pool>) {
    let Some(mut source) = Source::of(&pool.settings().instances) else { return };
    let failures = metrics().discovery_failures.with_label_values(&[pool.name()]);
    let mut troubled = false;
    loop {
        let again = match source.look().await {
            Ok(found) => {
                if std::mem::take(&mut troubled) {
                    tracing::info!(upstream = pool.name(), "its instances are found again");
                }
                pool.update(&found.instances);
                found.again
            }
            Err(why) => {
                failures.inc();
                if !std::mem::replace(&mut troubled, true) {
                    tracing::warn!(upstream = pool.name(), why, "where its instances are cannot be found out; those known are kept");
                }
                source.after_failure()
            }
        };
        tokio::time::sleep(again).await;
    }
}

enum Source {
    Dns(Box<dns::Names>),
    File(file::File),
}

impl Source {
    /// `None`: they never change.
    fn of(instances: &Instances) -> Option<Source> {
        match instances {
            Instances::Fixed(_) => None,
            Instances::Dns { name, port, lookup } => Some(Source::Dns(Box::new(dns::Names::new(name, Some(*port), lookup)))),
            Instances::Srv { name, lookup } => Some(Source::Dns(Box::new(dns::Names::new(name, None, lookup)))),
            Instances::File(path) => Some(Source::File(file::File::new(path))),
        }
    }

    async fn look(&mut self) -> Result<Found, String> {
        match self {
            Source::Dns(names) => names.look().await,
            Source::File(file) => file.look().await,
        }
    }

    fn after_failure(&self) -> Duration {
        match self {
            Source::Dns(_) => dns::LEAST,
            Source::File(_) => file::EVERY,
        }
    }
}
