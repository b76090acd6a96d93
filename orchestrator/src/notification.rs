//! Tells other systems what the journal says: each notifier follows it by itself, in order, and remembers how far it is, so
//! that every entry is sent at least once, also over a restart. Decides nothing, and holds nothing up.
//!
//! A receiver that cannot be reached or answers 5xx, 408 or 429 is asked again, ever more slowly; one that refuses whoever sends
//! (a proxy in the midst of a deployment answers 404 for a moment, a secret is renewed) for a minute; one that refuses the message
//! itself is not. What nobody has taken an hour after it was written is given up, counted and logged, so that a receiver that is
//! back hears news.

mod message;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ficus_rules::api::JournalEntry;
use hyper::{Method, StatusCode};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::outgoing::{Caller, Trust};
use crate::store::{JournalQuery, StoreError};
use crate::{Shared, fleet, metrics};

pub use message::Format;

/// How often to look whether there is something new.
const LOOK: Duration = Duration::from_millis(500);
/// Entries that are read at once.
const AT_ONCE: u32 = 100;
/// A receiver that takes longer has not answered.
const DEADLINE: Duration = Duration::from_secs(10);
/// The pause after a failure, doubled with every further one.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Whoever is refused may be let in soon; for longer than this it holds up no other entry.
const REFUSED: Duration = Duration::from_secs(60);

/// What people want to hear of when they do not say: a capability moved, or waits for somebody.
const TRANSITIONS: [&str; 12] =
    ["phase", "step", "flipped", "switched", "aborted", "stepped_back", "retried", "hold", "page", "release", "approve", "strays"];

/// Somebody who is told.
#[derive(Debug, Clone)]
pub struct Notifier {
    /// Its name in metrics and logs, and in the store.
    pub name: String,
    /// Where to post to. May hold a secret: it is never logged.
    pub url: String,
    /// What is posted.
    pub format: Format,
    /// Kinds of journal entries that are sent; `None`: transitions.
    pub kinds: Option<BTreeSet<String>>,
    /// An entry that could not be delivered so long after it was written is given up (default 1 h).
    pub give_up: Duration,
}

impl Notifier {
    fn wants(&self, entry: &JournalEntry) -> bool {
        let kind = entry.line.kind.as_str();
        self.kinds.as_ref().map_or_else(|| TRANSITIONS.contains(&kind), |kinds| kinds.contains(kind) || kinds.contains("*"))
    }
}

/// What became of an entry.
enum End {
    Delivered,
    GivenUp(String),
    Stopped,
}

/// Tells everybody until the orchestrator stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let caller = Caller::new(&Trust::public());
    let mut following = JoinSet::new();
    for notifier in shared.config.notifiers.clone() {
        metrics::notifier(&notifier.name);
        following.spawn(follow(Arc::clone(&shared), caller.clone(), notifier));
    }
    while following.join_next().await.is_some() {}
}

async fn follow(shared: Arc<Shared>, caller: Caller, notifier: Notifier) {
    let mut stopping = shared.stopping.subscribe();
    let mut upto = None;
    loop {
        if let Err(failed) = catch_up(&shared, &caller, &notifier, &mut upto).await {
            warn!(notifier = notifier.name, error = %failed, "the journal cannot be read, it is tried again");
        }
        tokio::select! {
            biased;
            () = crate::stopped(&mut stopping) => return,
            () = sleep(LOOK) => {}
        }
    }
}

/// Sends what is new. Whoever is told for the first time hears nothing of the past.
async fn catch_up(shared: &Shared, caller: &Caller, notifier: &Notifier, upto: &mut Option<u64>) -> Result<(), StoreError> {
    if upto.is_none() {
        *upto = shared.store.notified(&notifier.name).await?;
    }
    let Some(mut last) = *upto else {
        let head = shared.store.journal_head().await?.id;
        shared.store.keep_notified(&notifier.name, head).await?;
        *upto = Some(head);
        return Ok(());
    };
    loop {
        let query = JournalQuery { capability: None, after: Some(last), limit: AT_ONCE };
        let entries = shared.store.journal(&query).await?;
        if entries.is_empty() {
            return Ok(());
        }
        for entry in entries {
            if notifier.wants(&entry) {
                match deliver(shared, caller, notifier, &entry).await {
                    End::Delivered => metrics::notified(&notifier.name, "delivered"),
                    End::Stopped => return Ok(()),
                    End::GivenUp(why) => {
                        metrics::notified(&notifier.name, "given_up");
                        warn!(notifier = notifier.name, entry = entry.id, why, "a notification is given up");
                    }
                }
            }
            last = entry.id;
            shared.store.keep_notified(&notifier.name, last).await?;
            *upto = Some(last);
        }
    }
}

async fn deliver(shared: &Shared, caller: &Caller, notifier: &Notifier, entry: &JournalEntry) -> End {
    let mut stopping = shared.stopping.subscribe();
    let (mut pause, mut refused) = (PAUSE, None::<Instant>);
    let (body, key) = (notifier.format.body(entry), format!("{}-{}", notifier.name, entry.id));
    loop {
        let headers = [("idempotency-key", key.as_str())];
        let sent = caller.send(Method::POST, &notifier.url, &headers, body.clone());
        // Whoever leads next must not wait for a receiver that hangs; it sends this again.
        let sent = tokio::select! {
            biased;
            () = crate::stopped(&mut stopping) => return End::Stopped,
            sent = timeout(DEADLINE, sent) => sent,
        };
        let why = match sent {
            Ok(Ok((status, _))) if status.is_success() => return End::Delivered,
            Ok(Ok((status, _))) => {
                let (patience, why) = (patience(status), format!("answered {status}"));
                // What lets everybody wait is no refusal, and the next one is the first.
                refused = patience.and(refused.or_else(|| Some(Instant::now())));
                if patience.zip(refused).is_some_and(|(patience, since)| since.elapsed() >= patience) {
                    return End::GivenUp(why);
                }
                why
            }
            Ok(Err(why)) => {
                refused = None;
                why.to_owned()
            }
            Err(_) => {
                refused = None;
                "did not answer in time".to_owned()
            }
        };
        // Counted from when it was written: after a long outage everything that is old is tried once, and is in the way of no news.
        if fleet::now().since(entry.at) + pause > notifier.give_up {
            return End::GivenUp(why);
        }
        metrics::notified(&notifier.name, "failed");
        info!(notifier = notifier.name, entry = entry.id, why, "a notification is sent again");
        tokio::select! {
            biased;
            () = crate::stopped(&mut stopping) => return End::Stopped,
            () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

/// For how long somebody who refuses is asked again; `None`: it is no refusal.
fn patience(status: StatusCode) -> Option<Duration> {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => None,
        _ if status.is_server_error() => None,
        // It is about the message, which stays as it is.
        StatusCode::BAD_REQUEST
        | StatusCode::GONE
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Some(Duration::ZERO),
        _ => Some(REFUSED),
    }
}
