//! What every handler may use: the database, the identity check, the cost of a password.

use std::sync::Arc;

use crate::config::Serve;
use crate::identity::Identity;
use crate::store::Database;

/// Shared by all requests; a clone is cheap.
#[derive(Clone)]
pub struct App {
    /// The tables.
    pub database: Database,
    /// Turns tokens into callers.
    pub identity: Arc<Identity>,
    /// PBKDF2 rounds of a new password.
    pub password_iterations: u32,
}

impl App {
    /// An app on an open database with its schema applied.
    pub fn new(database: Database, settings: &Serve) -> Self {
        Self {
            database,
            identity: Arc::new(Identity::new(settings.jwks_url.clone(), &settings.audience)),
            password_iterations: settings.password_iterations,
        }
    }
}
