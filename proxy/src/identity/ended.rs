//! Cookies that are worth nothing any more although they are genuine: their sessions live in them, so nobody can end them at
//! their source. All gateways know of them, by way of the orchestrator, and so does the next process on this machine, by a file.
//! Only digests are kept and told.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ficus_rules::Timestamp;
use ficus_rules::log_out::{Heard, LogOut, LogOuts};
use ficus_rules::wire::ReportAnswer;

use super::memory;

/// What is known, and who knows it.
#[derive(Default)]
pub(crate) struct Ended {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    known: LogOuts,
    /// How far the orchestrator's list is known here.
    heard: Heard,
    /// Through which of our numbers the orchestrator has heard, and will have when it answers the last report.
    told: u64,
    telling: u64,
    /// Through which of them the file has it.
    kept: u64,
}

impl Ended {
    /// A cookie is worth nothing from now on. `live`: how long it could be used otherwise.
    pub(super) fn end(&self, cookie: &str, live: Duration) {
        if !self.is_ended(cookie) {
            self.say(cookie, live, false);
        }
    }

    /// A cookie was given out once more: if it was ended, it is worth what it was.
    pub(super) fn given_out(&self, cookie: &str, live: Duration) {
        if self.is_ended(cookie) {
            self.say(cookie, live, true);
        }
    }

    /// Whether a cookie is worth nothing.
    pub(super) fn is_ended(&self, cookie: &str) -> bool {
        let inner = self.read();
        !inner.known.is_empty() && inner.known.is_ended(&digest(cookie), now())
    }

    /// What the orchestrator is told with the next report.
    pub(crate) fn tell(&self) -> (Vec<LogOut>, Heard) {
        let mut inner = self.write();
        let (words, through) = inner.known.after(inner.told);
        inner.telling = through;
        (words, inner.heard.clone())
    }

    /// The last report was answered.
    pub(crate) fn answered(&self, answer: &ReportAnswer) {
        let heard = &answer.log_outs_heard;
        {
            // Most answers tell nothing new.
            let inner = self.read();
            if *heard == inner.heard && answer.log_outs.is_empty() && inner.told == inner.telling {
                return;
            }
        }
        let mut inner = self.write();
        // Who keeps another list than before may know nothing of what was told.
        inner.told = if heard.list == inner.heard.list { inner.telling } else { 0 };
        inner.heard = heard.clone();
        let now = now();
        for word in &answer.log_outs {
            inner.known.take(word.clone(), now);
        }
    }

    /// All that is known, if the file does not have it yet.
    pub(crate) fn to_keep(&self) -> Option<Vec<LogOut>> {
        let mut inner = self.write();
        let last = inner.known.last();
        let all = (inner.kept != last).then(|| inner.known.all().cloned().collect());
        inner.kept = last;
        all
    }

    /// What the file had.
    pub(crate) fn remember(&self, words: Vec<LogOut>) {
        let (mut inner, now) = (self.write(), now());
        for word in words {
            inner.known.take(word, now);
        }
        inner.kept = inner.known.last();
    }

    fn say(&self, cookie: &str, live: Duration, undone: bool) {
        let (mut inner, now, digest) = (self.write(), now(), digest(cookie));
        // Later than what was said, by whatever clock.
        let at = inner.known.said(&digest).map_or(now, |said| now.max(said.plus(Duration::from_millis(1))));
        inner.known.take(LogOut { digest, at, until: now.plus(live), undone }, now);
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(cookie: &str) -> String {
    URL_SAFE_NO_PAD.encode(memory::key(&[cookie]))
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ficus_rules::log_out::{Heard, LogOut, LogOuts};
    use ficus_rules::wire::ReportAnswer;

    use super::{Ended, now};

    const DAY: Duration = Duration::from_secs(86_400);

    /// As the orchestrator does.
    fn report(gateway: &Ended, list: &str, known: &mut LogOuts) -> usize {
        let (words, heard) = gateway.tell();
        let told = words.len();
        for word in words {
            known.take(word, now());
        }
        let (log_outs, through) = known.after(if heard.list == list { heard.through } else { 0 });
        let log_outs_heard = Heard { list: list.to_owned(), through };
        gateway.answered(&ReportAnswer { log_outs, log_outs_heard, ..ReportAnswer::default() });
        told
    }

    #[test]
    fn what_one_gateway_ends_another_knows_and_is_told_once() {
        let (one, other, mut list) = (Ended::default(), Ended::default(), LogOuts::default());
        one.end("a", DAY);
        assert_eq!((report(&one, "x", &mut list), report(&one, "x", &mut list)), (1, 1), "the list was not known before");
        assert_eq!(report(&one, "x", &mut list), 0, "it was heard");
        assert!(!other.is_ended("a"));
        report(&other, "x", &mut list);
        assert_eq!([other.is_ended("a"), other.is_ended("b")], [true, false]);
        other.given_out("a", DAY);
        other.given_out("b", DAY);
        report(&other, "x", &mut list);
        report(&one, "x", &mut list);
        assert_eq!([one.is_ended("a"), other.is_ended("a")], [false, false]);
    }

    #[test]
    fn an_orchestrator_that_forgot_is_told_again_and_one_that_keeps_none_is_left_alone() {
        let (one, mut list) = (Ended::default(), LogOuts::default());
        one.end("a", DAY);
        (0..3).for_each(|_| assert!(report(&one, "x", &mut list) <= 1));
        let mut next = LogOuts::default();
        (0..3).for_each(|_| assert!(report(&one, "y", &mut next) <= 1));
        assert_eq!(next.all().count(), 1);
        one.tell();
        one.answered(&ReportAnswer::default());
        one.end("b", DAY);
        assert_eq!(one.tell().0.len(), 2, "whoever keeps none may be another one by now");
        one.answered(&ReportAnswer::default());
        assert_eq!(one.tell().0.len(), 0, "it is told no more");
        assert_eq!(report(&one, "y", &mut next), 0);
        report(&one, "y", &mut next);
        assert_eq!(next.all().count(), 2);
    }

    #[test]
    fn the_file_has_it_once() {
        let one = Ended::default();
        assert_eq!(one.to_keep(), None);
        one.end("a", DAY);
        let kept: Vec<LogOut> = one.to_keep().expect("something new");
        assert_eq!(one.to_keep(), None);
        let next = Ended::default();
        next.remember(kept);
        assert!(next.is_ended("a") && next.to_keep().is_none());
        assert_eq!(next.tell().0.len(), 1, "the orchestrator may have forgotten");
    }
}
