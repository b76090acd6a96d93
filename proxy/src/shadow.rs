//! The copy of a read's answer that is compared with the other side's. Taken while the answer passes, bounded in size
//! and in sum; what does not fit is counted as dropped. The comparison itself happens elsewhere: [`mirror`].

mod coding;
pub(crate) mod differences;
pub(crate) mod mirror;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    queue: mpsc::Sender<mirror::Job>,
    jobs: std::sync::Mutex<Option<mpsc::Receiver<mirror::Job>>>,
    /// What was found.
    pub(crate) differences: differences::Ring,
}

/// A copy of an answer.
pub(crate) struct Capture {
    /// All but the body.
    head: Answer,
    /// How the body is coded.
    coding: String,
    body: BytesMut,
    budget: Budget,
    /// It cannot be compared.
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
    /// The answer changes faster than both sides can be asked.
    Unsettled,
}

/// A share of the sum; given back when dropped.
struct Budget {
    kept: Arc<AtomicUsize>,
    mine: usize,
}

impl Shadow {
    /// `own_cookies` are those by which the monolith knows sessions and forms.
    pub(crate) fn new(own_cookies: Vec<String>) -> Shadow {
        let (queue, jobs) = mpsc::channel(QUEUED);
        let jobs = std::sync::Mutex::new(Some(jobs));
        Shadow { kept: Arc::default(), own_cookies, queue, jobs, differences: differences::Ring::default() }
    }

    /// The end of the queue, for the mirror; only the first caller gets it.
    pub(crate) fn jobs(&self) -> Option<mpsc::Receiver<mirror::Job>> {
        self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// Begins a copy of an answer, if this request is to be mirrored.
    pub(crate) fn begin(&self, carried: &Carried, answer: &ResponseHeader) -> Option<Capture> {
        let counters = carried.counters.as_deref().filter(|_| carried.decided(|decision| decision.shadow))?;
        let mirrored = !carried.fell_back && !carried.streams && answer.status.as_u16() != 101;
        if !mirrored || !is_chosen(counters, carried.serving().shadow) {
            return None;
        }
        Some(Capture {
            head: self.head(answer.status.as_u16(), &answer.headers),
            coding: joined(&answer.headers, header::CONTENT_ENCODING.as_str()).unwrap_or_default(),
            body: BytesMut::new(),
            budget: Budget { kept: self.kept.clone(), mine: 0 },
            spoilt: has_body(carried).then_some(Dropped::RequestBody),
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
        if let Some(why) = capture.spoilt {
            return dropped(&counters, why);
        }
        let job = mirror::Job::of(carried, counters.clone(), capture, answered);
        if self.queue.try_send(job).is_err() {
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
    pub(crate) const ALL: [Dropped; 6] =
        [Dropped::TooLarge, Dropped::NoRoom, Dropped::QueueFull, Dropped::Coding, Dropped::RequestBody, Dropped::Unsettled];

    /// The word for labels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Dropped::TooLarge => "too_large",
            Dropped::NoRoom => "no_room",
            Dropped::QueueFull => "queue_full",
            Dropped::Coding => "coding",
            Dropped::RequestBody => "request_body",
            Dropped::Unsettled => "unsettled",
        }
    }
}

impl Capture {
    /// Takes a piece of the body.
    pub(crate) fn take(&mut self, piece: &Bytes) {
        if self.spoilt.is_some() {
            return;
        }
        if self.body.len() + piece.len() > LARGEST {
            self.spoil(Dropped::TooLarge);
        } else if self.budget.more(piece.len()) {
            self.body.extend_from_slice(piece);
        } else {
            self.spoil(Dropped::NoRoom);
        }
    }

    /// The answer, its body unpacked.
    fn answer(&self) -> Result<Answer, Dropped> {
        Ok(Answer { body: coding::undo(&self.coding, &self.body)?, ..self.head.clone() })
    }

    fn spoil(&mut self, why: Dropped) {
        self.spoilt = Some(why);
        self.body = BytesMut::new();
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
    use bytes::{Bytes, BytesMut};
    use ficus_rules::Share;
    use ficus_rules::parity::Answer;

    use super::{ALL, Budget, Capture, Dropped, LARGEST, Shadow, is_chosen};
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
        let capture = || Capture {
            head: Answer::default(),
            coding: String::new(),
            body: BytesMut::new(),
            budget: Budget { kept: shadow.kept.clone(), mine: 0 },
            spoilt: None,
        };
        let kept = || shadow.kept.load(std::sync::atomic::Ordering::Relaxed);
        let whole = Bytes::from(vec![0; LARGEST]);
        let mut large = capture();
        large.take(&whole);
        assert_eq!((large.spoilt, kept()), (None, LARGEST));
        large.take(&Bytes::from_static(b"x"));
        assert_eq!((large.spoilt, kept()), (Some(Dropped::TooLarge), 0));
        let mut many: Vec<Capture> = (0..=ALL / LARGEST).map(|_| capture()).collect();
        many.iter_mut().for_each(|one| one.take(&whole));
        let spoilt: Vec<_> = many.iter().filter_map(|one| one.spoilt).collect();
        assert_eq!((spoilt.as_slice(), kept()), (&[Dropped::NoRoom][..], ALL));
        drop(many);
        assert_eq!(kept(), 0);
    }
}
