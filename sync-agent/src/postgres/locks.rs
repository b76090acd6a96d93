//! Locks on the application's tables: asked for again and again, each time for a moment. Whoever waits for one that excludes
//! everybody keeps out all who come later.

use std::time::Duration;

use super::{Server, sql};
use crate::error::Error;

/// How often locks are asked for, each time for [`LOCKS`], before the tables are said to be busy. Well below the second after which
/// PostgreSQL looks for deadlocks, and ends whichever transaction it looks from: that must not be the application's.
const ATTEMPTS: u32 = 40;
pub(super) const LOCKS: &str = "SET LOCAL lock_timeout = '200ms'";

/// Between two attempts: those who waited behind the last one get in.
const PAUSE: Duration = Duration::from_millis(100);

/// Attempts at a transaction that begins with [`LOCKS`].
#[derive(Default)]
pub(super) struct Attempts(u32);

impl Attempts {
    /// Whether a transaction that ended with an error is worth another attempt: comes back when it is time for it.
    pub(super) async fn again(&mut self, server: &Server, error: sqlx::Error) -> Result<(), Error> {
        self.0 += 1;
        match sql::code(&error) {
            Some("55P03" | "40P01") if self.0 < ATTEMPTS => {
                tokio::time::sleep(PAUSE).await;
                Ok(())
            }
            Some("55P03") => Err(Error::Refused(format!(
                "{}: the capability's tables are locked by others for longer than {ATTEMPTS} attempts of 200 ms; look who: SELECT pid, query FROM pg_stat_activity WHERE pid IN (SELECT pid FROM pg_locks WHERE relation IS NOT NULL) ORDER BY xact_start",
                server.label
            ))),
            _ => Err(server.failed(error)),
        }
    }
}
