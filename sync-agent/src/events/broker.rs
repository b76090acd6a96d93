//! What a publisher needs of a bus, and which kinds of buses there are.

use std::time::Duration;

use async_trait::async_trait;

use super::{amqp, redis};
use crate::port::Outgoing;

/// A bus that does not answer for so long is taken for lost.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What a stream or an exchange is called, unless `ficus.toml` says so.
pub(super) const NAME: &str = "ficus.events";

/// Where events go.
#[derive(Clone, PartialEq, Eq)]
pub struct Bus {
    /// `redis://:password@127.0.0.1:6379/0` or `amqp://user:password@127.0.0.1:5672/vhost`
    pub url: String,
    /// Of the stream (Redis) or the topic exchange (AMQP); unset: `ficus.events`.
    pub name: Option<String>,
    /// About so many entries stay in a stream; unset: all of them.
    pub keep: Option<u64>,
}

/// An address may hold a password: it is not printed.
impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("name", &self.name.as_deref().unwrap_or(NAME)).field("keep", &self.keep).finish_non_exhaustive()
    }
}

/// Whether a text can be [`Bus::url`].
///
/// # Errors
/// What it should look like. The URL is not repeated: it may hold a password.
pub fn check(url: &str) -> Result<(), String> {
    let fine = match scheme(url) {
        "redis" => redis::speaks(url),
        "amqp" => amqp::speaks(url),
        _ => false,
    };
    let like = "write it like \"redis://127.0.0.1:6379/0\" or \"amqp://127.0.0.1:5672/%2f\"";
    if fine { Ok(()) } else { Err(format!("this is not the address of a bus: {like}")) }
}

pub(super) fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// A connected bus.
#[async_trait]
pub(super) trait Broker: Send {
    /// Hands over events in their order, no two of one subject. When it returns, the bus has them for good; after an error it
    /// may have any of them, and the connection is of no use.
    async fn publish(&mut self, wave: &[&Outgoing]) -> Result<(), Refused>;
}

/// Why a bus did not take something, in words that hold no secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

impl Bus {
    /// Connects.
    pub(super) async fn connect(&self) -> Result<Box<dyn Broker>, Refused> {
        Ok(match scheme(&self.url) {
            "amqp" => Box::new(amqp::Exchange::connect(self).await?),
            _ => Box::new(redis::Stream::connect(self).await?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_is_refused_is_not_repeated() {
        for fine in ["redis://127.0.0.1:6379/0", "redis://:p@h", "amqp://127.0.0.1", "amqp://ficus:p@bus:5672/shop"] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for not in ["", "kafka://:p@a", "rediss://:p@h", "amqps://u:p@h", "http://h"] {
            assert!(check(not).is_err_and(|why| !why.contains(":p@")), "{not}");
        }
    }
}
