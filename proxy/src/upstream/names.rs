//! What the name in an instance's address means. The last address that was found goes on being used while a name server is away or
//! slow: it is asked again aside, once for each name at a time. Only for a name that nobody has found yet a request waits.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

/// For how long the address of a name is believed.
const BELIEVED: Duration = Duration::from_secs(5);

/// Asks for the address of `host:port`.
type LookUp = Arc<dyn Fn(Arc<str>) -> BoxFuture<'static, io::Result<Option<SocketAddr>>> + Send + Sync>;

/// The addresses of names.
pub(super) struct Names {
    look_up: LookUp,
    believed: Duration,
    known: Mutex<HashMap<Arc<str>, Arc<Name>>>,
}

/// One name.
#[derive(Default)]
struct Name {
    found: Mutex<Option<(SocketAddr, Instant)>>,
    /// Held while it is looked up.
    looking: Arc<tokio::sync::Mutex<()>>,
}

impl Names {
    /// As the system resolves them.
    pub(super) fn by_system() -> Names {
        let look_up = |authority: Arc<str>| -> BoxFuture<'static, io::Result<Option<SocketAddr>>> {
            Box::pin(async move { Ok(tokio::net::lookup_host(&*authority).await?.next()) })
        };
        Names { look_up: Arc::new(look_up), believed: BELIEVED, known: Mutex::default() }
    }

    /// The address of `host:port`, if it is known, or found in time.
    pub(super) async fn address(&self, authority: &Arc<str>, patience: Duration) -> Option<SocketAddr> {
        let name = lock(&self.known).entry(authority.clone()).or_default().clone();
        let found = name.found();
        if found.is_none_or(|(_, at)| at.elapsed() >= self.believed) {
            self.look_aside(authority, &name);
        }
        if let Some((address, _)) = found {
            return Some(address);
        }
        // Whoever looks it up holds this until it has an answer.
        let looked = tokio::time::timeout(patience, name.looking.lock()).await;
        drop(looked);
        name.found().map(|(address, _)| address)
    }

    /// Looks a name up, unless somebody does already. Not in the request that wants to know: that may end before.
    fn look_aside(&self, authority: &Arc<str>, name: &Arc<Name>) {
        let Ok(turn) = name.looking.clone().try_lock_owned() else { return };
        let (look_up, authority, name) = (self.look_up.clone(), authority.clone(), name.clone());
        tokio::spawn(async move {
            match look_up(authority.clone()).await {
                Ok(Some(address)) => *lock(&name.found) = Some((address, Instant::now())),
                Ok(None) => tracing::debug!(%authority, "a name of an upstream has no address"),
                Err(error) => tracing::debug!(%authority, %error, "a name of an upstream cannot be looked up"),
            }
            drop(turn);
        });
    }
}

impl Name {
    fn found(&self) -> Option<(SocketAddr, Instant)> {
        *lock(&self.found)
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};
    use std::io;
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    use super::Names;

    /// What the name server says to one question after the other; afterwards it hangs.
    fn names(answers: Vec<io::Result<Option<SocketAddr>>>) -> (Names, Arc<Mutex<usize>>) {
        let (asked, answers) = (Arc::new(Mutex::new(0)), Mutex::new(VecDeque::from(answers)));
        let counted = asked.clone();
        let look_up = move |_: Arc<str>| -> BoxFuture<'static, io::Result<Option<SocketAddr>>> {
            *counted.lock().expect("it is whole") += 1;
            match answers.lock().expect("it is whole").pop_front() {
                Some(answer) => Box::pin(std::future::ready(answer)),
                None => Box::pin(std::future::pending()),
            }
        };
        (Names { look_up: Arc::new(look_up), believed: Duration::ZERO, known: Mutex::new(HashMap::new()) }, asked)
    }

    #[tokio::test]
    async fn the_last_address_is_good_while_the_name_server_hangs_or_fails() {
        let (name, address): (Arc<str>, SocketAddr) = ("users.test:80".into(), "192.0.2.1:80".parse().expect("an address"));
        let (names, asked) = names(vec![Ok(Some(address)), Err(io::Error::other("away")), Ok(None)]);
        assert_eq!(names.address(&name, Duration::from_secs(120)).await, Some(address), "waited for");
        for _ in 0..20 {
            assert_eq!(names.address(&name, Duration::ZERO).now_or_never(), Some(Some(address)), "at once");
            tokio::task::yield_now().await;
        }
        assert_eq!(*asked.lock().expect("it is whole"), 4, "and asked one after the other; the last one hangs");
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_found_is_waited_for_so_long_and_asked_for_once() {
        let (names, asked) = names(vec![]);
        let name: Arc<str> = "users.test:80".into();
        let many = (0..10).map(|_| names.address(&name, Duration::from_millis(20)));
        let all =
            tokio::time::timeout(Duration::from_secs(120), futures::future::join_all(many)).await.expect("for so long, and no longer");
        assert!(all.iter().all(Option::is_none));
        assert_eq!(*asked.lock().expect("it is whole"), 1);
    }
}
