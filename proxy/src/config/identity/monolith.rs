//! The monolith, asked who calls.

use std::time::Duration;

use crate::config::Transport;

/// The view of the monolith that answers.
#[derive(Clone)]
pub struct MonolithIdentity {
    /// `host:port`, or `unix:` and a path.
    pub address: String,
    /// How it is spoken to.
    pub transport: Transport,
    /// The path of the view.
    pub path: String,
    /// What the view knows us by.
    pub key: String,
    /// The cookies that it is asked about.
    pub cookies: Vec<String>,
    /// For how long an answer is believed.
    pub cache_for: Duration,
    /// Questions under way at once.
    pub at_once: usize,
}

impl MonolithIdentity {
    /// A view that is asked about these cookies.
    pub fn new(address: &str, path: &str, key: &str, cookies: Vec<String>) -> MonolithIdentity {
        let (address, path, key) = (address.to_owned(), path.to_owned(), key.to_owned());
        MonolithIdentity { address, transport: Transport::default(), path, key, cookies, cache_for: Duration::from_secs(3), at_once: 16 }
    }
}
