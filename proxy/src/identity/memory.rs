//! What was looked up of late: believed for a moment, never looked up twice at once. Bounded. Keys are digests: neither cookies nor tokens are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use super::User;
use super::store::{Failure, LIMIT};

/// Sessions that are remembered.
const MOST: u64 = 100_000;

/// The digest of what a caller showed.
type Key = [u8; 32];

/// What a look-up found.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// A session: of a user, or of nobody.
    Session {
        /// Whose it is.
        user: Option<Arc<User>>,
        /// Its CSRF secret, if it holds one.
        csrf: Option<Arc<str>>,
    },
    /// A genuine session that only the monolith can read.
    Unreadable,
    /// Nobody can say at the moment.
    Unknown,
}

impl Found {
    /// Nothing that is worth anything.
    pub(super) const NOBODY: Found = Found::Session { user: None, csrf: None };

    /// A user, and nothing else.
    pub(super) fn user(user: Arc<User>) -> Found {
        Found::Session { user: Some(user), csrf: None }
    }
}

/// The memory of one way to know callers.
pub(super) struct Memory {
    recent: moka::sync::Cache<Key, Arc<OnceCell<Found>>>,
    unread: AtomicBool,
}

impl Memory {
    /// `believed`: how long what was found holds.
    pub(super) fn new(believed: Duration) -> Memory {
        let recent = moka::sync::Cache::builder().max_capacity(MOST).time_to_live(believed).build();
        Memory { recent, unread: AtomicBool::new(false) }
    }

    /// What is remembered, or what the look-up finds. Of several callers with one key, one looks up.
    pub(super) async fn recall<F>(&self, shown: &[&str], look_up: impl FnOnce() -> F) -> Found
    where
        F: Future<Output = Result<Found, Failure>>,
    {
        let cell = self.recent.get_with(key(shown), Arc::default);
        if let Some(found) = cell.get() {
            return found.clone();
        }
        // In a box: what is remembered needs no room for how it was found.
        let looked_up = Box::pin(tokio::time::timeout(LIMIT, cell.get_or_try_init(look_up))).await;
        self.unread.store(!matches!(looked_up, Ok(Ok(_))), Ordering::Relaxed);
        match looked_up {
            Ok(Ok(found)) => found.clone(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "who calls cannot be looked up");
                Found::Unknown
            }
            Err(_) => {
                tracing::warn!("who calls cannot be looked up in time");
                Found::Unknown
            }
        }
    }

    /// Looks it up anew next time.
    pub(super) fn forget(&self, shown: &[&str]) {
        self.recent.invalidate(&key(shown));
    }

    /// Whether the last look-up failed.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }
}

/// The parts with their lengths: no two lists make one key.
pub(super) fn key(shown: &[&str]) -> Key {
    let mut digest = Sha256::new();
    for part in shown {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{Found, Memory};

    #[tokio::test]
    async fn of_many_callers_with_one_key_one_looks_up() {
        let (memory, asked) = (Memory::new(Duration::from_secs(60)), AtomicUsize::new(0));
        let look_up = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(Found::Unreadable)
        };
        let all = futures::future::join_all((0..50).map(|_| memory.recall(&["a"], look_up))).await;
        assert!(all.iter().all(|found| matches!(found, Found::Unreadable)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        memory.recall(&["a", ""], look_up).await;
        assert_eq!(asked.load(Ordering::Relaxed), 2, "another key");
        memory.forget(&["a"]);
        memory.recall(&["a"], look_up).await;
        assert_eq!(asked.load(Ordering::Relaxed), 3, "it was forgotten");
    }

    #[tokio::test]
    async fn a_failure_is_not_remembered() {
        let memory = Memory::new(Duration::from_secs(60));
        assert!(matches!(memory.recall(&["a"], || async { Err("away".into()) }).await, Found::Unknown));
        assert!(memory.is_unread());
        assert!(matches!(memory.recall(&["a"], || async { Ok(Found::Unreadable) }).await, Found::Unreadable));
        assert!(!memory.is_unread());
    }

    /// Nor do those who come second wait for longer, or find it done.
    #[tokio::test]
    async fn a_look_up_that_hangs_is_left() {
        let memory = Memory::new(Duration::from_secs(60));
        let two = futures::future::join_all((0..2).map(|_| memory.recall(&["a"], std::future::pending)));
        let all = tokio::time::timeout(Duration::from_secs(120), two).await.expect("nobody waits for ever");
        assert!(all.iter().all(|found| matches!(found, Found::Unknown)) && memory.is_unread());
        assert!(matches!(memory.recall(&["a"], || async { Ok(Found::Unreadable) }).await, Found::Unreadable));
    }
}
