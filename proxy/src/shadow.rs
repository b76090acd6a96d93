//! The copy of an answer that is compared with the other side's, and of a write that is to be rehearsed there. Taken while they
//! pass, bounded in size and in sum; what does not fit is counted as dropped. The comparison itself happens elsewhere: [`mirror`].

mod coding;
pub(crate) mod differences;
pub(crate) mod mirror;
mod rehearsal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use ficus_rules::parity::{Answer, COMPARED, read_cookie};
use ficus_rules::route::Request as _;
use ficus_rules::{Share, Timestamp};
use http::{HeaderMap, header};
use pingora::http::ResponseHeader;
use tokio::sync::mpsc;

use crate::carried::Carried;
use crate::metrics::metrics;
use crate::traffic::CapabilityCounters;

pub(crate) use rehearsal::Rehearsal;

/// The largest body that is compared.
pub(crate) const LARGEST: usize = 256 * 1024;
/// All bodies that are kept at once.
const ALL: usize = 32 * 1024 * 1024;
/// Copies that wait to be compared.
const QUEUED: usize = 256;

/// The way from requests to the mirror.
pub(crate) struct Shadow {
    kept: Arc<AtomicUsize>,
    /// Cookies that only legacy gives, or that are our own: they are not compared.
    own_cookies: Vec<String>,
    queue: mpsc::Sender<mirror::Task>,
    tasks: Mutex<Option<mpsc::Receiver<mirror::Task>>>,
    /// Capabilities whose modern side did not say that it took a write back.
    distrusted: Mutex<BTreeSet<String>>,
    /// What was found.
    pub(crate) differences: differences::Ring,
}

/// A copy of an answer.
pub(crate) struct Capture {
    /// All but the body.
    head: Answer,
    /// How the body is coded.
    coding: String,
    body: Copied,
}

/// A body that passes, as long as it fits.
pub(crate) struct Copied {
    bytes: BytesMut,
    budget: Budget,
    /// It is of no use.
    spoilt: Option<Dropped>,
}

/// Why a read that was chosen is not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// A body is larger than [`LARGEST`], as it came or unpacked.
    TooLarge,
    /// All bodies together are as many bytes as may be kept.
    NoRoom,
    /// Too many copies wait already.
    QueueFull,
    /// A body is coded in a way that is not understood, or badly.
    Coding,
    /// The request has a body, which the mirror does not keep.
    RequestBody,
    /// The answer changes faster than both sides can be asked, or a write had perhaps arrived before it was rehearsed.
    Unsettled,
    /// Legacy refused a write, perhaps for its CSRF token alone, which only it has looked at.
    LegacyRefused,
    /// Modern does not say that it took a write back.
    NotRehearsed,
}

/// A share of the sum; given back when dropped.
struct Budget {
    kept: Arc<AtomicUsize>,
    mine: usize,
}

impl Shadow {
    /// `own_cookies` are those by which the monolith knows sessions and forms.
    pub(crate) fn new(own_cookies: Vec<String>) -> Shadow {
        let (queue, tasks) = mpsc::channel(QUEUED);
        let tasks = Mutex::new(Some(tasks));
        Shadow { kept: Arc::default(), own_cookies, queue, tasks, distrusted: Mutex::default(), differences: differences::Ring::default() }
    }

    /// The end of the queue, for the mirror; only the first caller gets it.
    pub(crate) fn tasks(&self) -> Option<mpsc::Receiver<mirror::Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The modern side of a capability gets no writes any more, as long as this process runs.
    fn distrust(&self, capability: &str) {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).insert(capability.to_owned());
    }

    fn distrusts(&self, capability: &str) -> bool {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).contains(capability)
    }

    /// Begins a copy of an answer, if this request is to be mirrored.
    pub(crate) fn begin(&self, carried: &Carried, answer: &ResponseHeader) -> Option<Capture> {
        let counters = carried.counters.as_deref().filter(|_| carried.decided(|decision| decision.shadow))?;
        let mirrored = !carried.fell_back && !carried.streams && answer.status.as_u16() != 101;
        let write = carried.decided(|decision| decision.write);
        let chosen = || match write {
            true => carried.rehearsal.waits(),
            false => is_chosen(counters, carried.serving().shadow),
        };
        if !mirrored || !chosen() {
            return None;
        }
        Some(Capture {
            head: self.head(answer.status.as_u16(), &answer.headers),
            coding: joined(&answer.headers, header::CONTENT_ENCODING.as_str()).unwrap_or_default(),
            body: Copied { spoilt: (!write && has_body(carried)).then_some(Dropped::RequestBody), ..Copied::new(&self.kept) },
        })
    }

    /// An answer without its body: status, the headers that are compared, and what cookies it sets.
    fn head(&self, status: u16, headers: &HeaderMap) -> Answer {
        let lines = headers.get_all(header::SET_COOKIE).iter().filter_map(|line| line.to_str().ok()).filter_map(read_cookie);
        let ours = |name: &str| name.starts_with("ficus") || self.own_cookies.iter().any(|own| own == name);
        Answer { cookies: lines.filter(|(name, _)| !ours(name)).collect(), ..head(status, headers) }
    }

    /// Hands a finished copy to the mirror. Never waits.
    pub(crate) fn hand_over(&self, carried: &mut Carried) {
        let (Some(capture), Some(counters), Some(answered)) = (carried.capture.take(), carried.counters.clone(), carried.answered) else {
            return;
        };
        if let Some(waits) = carried.rehearsal.end() {
            // One that has gone has said why.
            let _ = waits.send((capture, answered));
            return;
        }
        if let Some(why) = capture.body.spoilt {
            return dropped(&counters, why);
        }
        let job = mirror::Job::of(carried, counters.clone());
        if self.queue.try_send(mirror::Task::Compare(job, capture, answered)).is_err() {
            dropped(&counters, Dropped::QueueFull);
        }
    }
}

/// Status, and the headers that are compared.
fn head(status: u16, headers: &HeaderMap) -> Answer {
    let content_type = joined(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let compared = COMPARED.into_iter().filter_map(|name| Some((name.to_owned(), joined(headers, name)?)));
    let mut compared: BTreeMap<String, String> = compared.collect();
    if headers.contains_key(header::CONTENT_ENCODING) {
        // It counts the bytes of the packed body.
        compared.remove(header::CONTENT_LENGTH.as_str());
    }
    Answer { status, content_type, headers: compared, ..Answer::default() }
}

/// The lines of a header as one value; those that are no text are left out.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// Whether a request has a body. Few reads do.
fn has_body(carried: &Carried) -> bool {
    let length = carried.asked.header("content-length").is_some_and(|length| length.trim() != "0");
    length || carried.asked.header("transfer-encoding").is_some()
}

/// Chooses a share of the reads, evenly spread: of every ten, three at 30 %.
fn is_chosen(counters: &CapabilityCounters, share: Share) -> bool {
    let nth = counters.shadow.candidates.fetch_add(1, Ordering::Relaxed);
    let before = |n: u64| u128::from(n) * u128::from(share.millionths()) / 1_000_000;
    before(nth) != before(nth + 1)
}

/// Counts a read that was not compared.
pub(crate) fn dropped(counters: &CapabilityCounters, why: Dropped) {
    counters.shadow.dropped.fetch_add(1, Ordering::Relaxed);
    metrics().shadow_dropped.with_label_values(&[&*counters.name, why.as_str()]).inc();
}

impl Dropped {
    /// All reasons.
    pub(crate) const ALL: [Dropped; 8] = [
        Dropped::TooLarge,
        Dropped::NoRoom,
        Dropped::QueueFull,
        Dropped::Coding,
        Dropped::RequestBody,
        Dropped::Unsettled,
        Dropped::LegacyRefused,
        Dropped::NotRehearsed,
    ];

    /// The word for labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Dropped::TooLarge => "too_large",
            Dropped::NoRoom => "no_room",
            Dropped::QueueFull => "queue_full",
            Dropped::Coding => "coding",
            Dropped::RequestBody => "request_body",
            Dropped::Unsettled => "unsettled",
            Dropped::LegacyRefused => "legacy_refused",
            Dropped::NotRehearsed => "not_rehearsed",
        }
    }
}

impl Capture {
    /// Takes a piece of the body.
    pub(crate) fn take(&mut self, piece: &Bytes) {
        self.body.take(piece);
    }

    /// The answer, its body unpacked.
    fn answer(&self) -> Result<Answer, Dropped> {
        match self.body.spoilt {
            Some(why) => Err(why),
            None => Ok(Answer { body: coding::undo(&self.coding, &self.body.bytes)?, ..self.head.clone() }),
        }
    }
}

impl Copied {
    fn new(kept: &Arc<AtomicUsize>) -> Copied {
        Copied { bytes: BytesMut::new(), budget: Budget { kept: kept.clone(), mine: 0 }, spoilt: None }
    }

    fn take(&mut self, piece: &Bytes) {
        if self.spoilt.is_some() {
            return;
        }
        if self.bytes.len() + piece.len() > LARGEST {
            self.spoil(Dropped::TooLarge);
        } else if self.budget.more(piece.len()) {
            self.bytes.extend_from_slice(piece);
        } else {
            self.spoil(Dropped::NoRoom);
        }
    }

    fn spoil(&mut self, why: Dropped) {
        self.spoilt = Some(why);
        self.bytes = BytesMut::new();
        self.budget.give_back();
    }
}

impl Budget {
    fn more(&mut self, bytes: usize) -> bool {
        let fits = self.kept.fetch_add(bytes, Ordering::Relaxed) + bytes <= ALL;
        self.mine += bytes;
        fits
    }

    fn give_back(&mut self) {
        self.kept.fetch_sub(std::mem::take(&mut self.mine), Ordering::Relaxed);
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// When a copy of the other side is certain to hold what was answered at a time.
pub(crate) fn is_fresh(through: Option<Timestamp>, answered: Timestamp) -> bool {
    through.is_some_and(|through| through > answered)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ficus_rules::Share;

    use super::{ALL, Copied, Dropped, LARGEST, Shadow, is_chosen};
    use crate::traffic::Counters;

    #[test]
    fn a_share_is_chosen_evenly() {
        let counters = Counters::default().of("users");
        let chosen: Vec<bool> = (0..10).map(|_| is_chosen(&counters, Share::from_millionths(300_000))).collect();
        assert_eq!(chosen.iter().filter(|chosen| **chosen).count(), 3);
        assert!(!chosen.windows(3).any(|three| three.iter().filter(|chosen| **chosen).count() > 1), "{chosen:?}");
        assert!((0..10).all(|_| is_chosen(&counters, Share::ALL)));
        assert!(!(0..10).any(|_| is_chosen(&counters, Share::NONE)));
    }

    #[test]
    fn what_is_too_large_is_let_go_of() {
        let shadow = Shadow::new(Vec::new());
        let copied = || Copied::new(&shadow.kept);
        let kept = || shadow.kept.load(std::sync::atomic::Ordering::Relaxed);
        let whole = Bytes::from(vec![0; LARGEST]);
        let mut large = copied();
        large.take(&whole);
        assert_eq!((large.spoilt, kept()), (None, LARGEST));
        large.take(&Bytes::from_static(b"x"));
        assert_eq!((large.spoilt, kept()), (Some(Dropped::TooLarge), 0));
        let mut many: Vec<Copied> = (0..=ALL / LARGEST).map(|_| copied()).collect();
        many.iter_mut().for_each(|one| one.take(&whole));
        let spoilt: Vec<_> = many.iter().filter_map(|one| one.spoilt).collect();
        assert_eq!((spoilt.as_slice(), kept()), (&[Dropped::NoRoom][..], ALL));
        drop(many);
        assert_eq!(kept(), 0);
    }
}
