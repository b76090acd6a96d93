//! Redis, as far as sessions are read from it. It is connected to at the first look-up, and anew when a connection was lost.

use std::sync::{Mutex, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};

use super::store::{Failure, LIMIT};
use crate::Error;

/// No session is longer.
const LONGEST: usize = 1024 * 1024;

/// A server.
pub(super) struct Redis {
    client: redis::Client,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Redis {
    pub(super) fn new(url: &str) -> Result<Redis, Error> {
        // Never the whole: it may hold a password.
        let client = redis::Client::open(url).map_err(|_| Error::Name("the address of Redis".to_owned()))?;
        Ok(Redis { client, connection: Mutex::default() })
    }

    /// The value under a key, up to 1 MiB of it.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        let value = match self.ask(key).await {
            // The connection may have been lost long ago; a new one tells.
            Err(lost) if lost.is_unrecoverable_error() || lost.is_io_error() => {
                self.keep(None);
                self.ask(key).await.inspect_err(|_| self.keep(None))?
            }
            answered => answered?,
        };
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    async fn ask(&self, key: &str) -> Result<Vec<u8>, RedisError> {
        let kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let config = AsyncConnectionConfig::new().set_connection_timeout(Some(LIMIT)).set_response_timeout(Some(LIMIT));
                let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
                self.keep(Some(connection.clone()));
                connection
            }
        };
        redis::cmd("GETRANGE").arg(key).arg(0).arg(LONGEST).query_async(&mut connection).await
    }

    fn keep(&self, connection: Option<MultiplexedConnection>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }
}
