//! A stream of Redis: one entry for each event, with its `id`, `type`, `subject`, and the whole as `event`.

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};

use super::broker::{Broker, Bus, NAME, PATIENCE, Refused};
use crate::port::Outgoing;

/// A connected stream.
pub(super) struct Stream {
    connection: MultiplexedConnection,
    name: String,
    keep: Option<u64>,
}

/// Whether it is the address of a Redis.
pub(super) fn speaks(url: &str) -> bool {
    redis::Client::open(url).is_ok()
}

impl Stream {
    pub(super) async fn connect(bus: &Bus) -> Result<Stream, Refused> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
        let client = redis::Client::open(bus.url.as_str()).map_err(|_| Refused("the address is none of a Redis".to_owned()))?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await.map_err(refused)?;
        Ok(Stream { connection, name: bus.name.as_deref().unwrap_or(NAME).to_owned(), keep: bus.keep })
    }
}

#[async_trait]
impl Broker for Stream {
    async fn publish(&mut self, wave: &[&Outgoing]) -> Result<(), Refused> {
        let mut pipe = redis::pipe();
        for event in wave {
            let add = pipe.cmd("XADD").arg(&self.name);
            if let Some(keep) = self.keep {
                add.arg("MAXLEN").arg("~").arg(keep);
            }
            let fields = [("id", &event.id), ("type", &event.kind), ("subject", &event.subject), ("event", &event.body)];
            add.arg("*").arg(&fields).ignore();
        }
        pipe.query_async::<()>(&mut self.connection).await.map_err(refused)
    }
}

fn refused(error: RedisError) -> Refused {
    Refused(format!("Redis: {error}"))
}
