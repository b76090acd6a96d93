//! The copy of a read's answer that is compared with the other side's. Taken while the answer passes, bounded in size
//! and in sum; what does not fit is counted as dropped. The comparison itself happens elsewhere: [`mirror`].

pub(crate) mod differences;
pub(crate) mod mirror;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use ficus_rules::{Share, Timestamp};
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
    queue: mpsc::Sender<mirror::Job>,
    jobs: std::sync::Mutex<Option<mpsc::Receiver<mirror::Job>>>,
    /// What was found.
    pub(crate) differences: differences::Ring,
}

/// A copy of an answer.
pub(crate) struct Capture {
    status: u16,
    content_type: String,
    body: BytesMut,
    budget: Budget,
    /// Too large, or of a kind that cannot be compared.
    spoilt: bool,
}

/// A share of the sum; given back when dropped.
struct Budget {
    kept: Arc<AtomicUsize>,
    mine: usize,
}

impl Shadow {
    pub(crate) fn new() -> Shadow {
        let (queue, jobs) = mpsc::channel(QUEUED);
        let jobs = std::sync::Mutex::new(Some(jobs));
        Shadow { kept: Arc::default(), queue, jobs, differences: differences::Ring::default() }
    }

    /// The end of the queue, for the mirror; only the first caller gets it.
    pub(crate) fn jobs(&self) -> Option<mpsc::Receiver<mirror::Job>> {
        self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// Begins a copy of an answer, if this request is to be mirrored.
    pub(crate) fn begin(&self, carried: &Carried, answer: &ResponseHeader) -> Option<Capture> {
        let counters = carried.counters.as_deref().filter(|_| carried.decided(|decision| decision.shadow))?;
        let mirrored = carried.asked.method == "GET" && !carried.fell_back && !carried.streams && answer.status.as_u16() != 101;
        if !mirrored || !is_chosen(counters, carried.serving().shadow) {
            return None;
        }
        let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Some(Capture {
            status: answer.status.as_u16(),
            content_type: text("content-type").to_owned(),
            body: BytesMut::new(),
            budget: Budget { kept: self.kept.clone(), mine: 0 },
            spoilt: !text("content-encoding").is_empty(),
        })
    }

    /// Hands a finished copy to the mirror. Never waits.
    pub(crate) fn hand_over(&self, carried: &mut Carried) {
        let (Some(capture), Some(counters), Some(answered)) = (carried.capture.take(), carried.counters.clone(), carried.answered) else {
            return;
        };
        let spoilt = capture.spoilt;
        let job = mirror::Job::of(carried, counters.clone(), capture, answered);
        if spoilt || self.queue.try_send(job).is_err() {
            dropped(&counters);
        }
    }
}

/// Chooses a share of the reads, evenly spread: of every ten, three at 30 %.
fn is_chosen(counters: &CapabilityCounters, share: Share) -> bool {
    let nth = counters.shadow.candidates.fetch_add(1, Ordering::Relaxed);
    let before = |n: u64| u128::from(n) * u128::from(share.millionths()) / 1_000_000;
    before(nth) != before(nth + 1)
}

/// Counts a read that was not compared.
pub(crate) fn dropped(counters: &CapabilityCounters) {
    counters.shadow.dropped.fetch_add(1, Ordering::Relaxed);
    metrics().shadow_dropped.with_label_values(&[&*counters.name]).inc();
}

impl Capture {
    /// Takes a piece of the body.
    pub(crate) fn take(&mut self, piece: &Bytes) {
        if !self.spoilt && self.body.len() + piece.len() <= LARGEST && self.budget.more(piece.len()) {
            self.body.extend_from_slice(piece);
        } else {
            self.spoilt = true;
            self.body = BytesMut::new();
            self.budget.give_back();
        }
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

    use super::{Budget, Capture, LARGEST, Shadow, is_chosen};
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
        let shadow = Shadow::new();
        let budget = Budget { kept: shadow.kept.clone(), mine: 0 };
        let mut capture = Capture { status: 200, content_type: String::new(), body: BytesMut::new(), budget, spoilt: false };
        let kept = || shadow.kept.load(std::sync::atomic::Ordering::Relaxed);
        capture.take(&Bytes::from(vec![0; LARGEST]));
        assert_eq!((capture.spoilt, kept()), (false, LARGEST));
        capture.take(&Bytes::from_static(b"x"));
        assert_eq!((capture.spoilt, kept()), (true, 0));
    }
}
