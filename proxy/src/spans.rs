//! Spans: what a sampled request leaves for a tracing system. One of the gateway's own for each request, one below it for
//! each try on an upstream. Decides which traces are recorded; [`export`] carries them off, [`otlp`] knows the format.

pub(crate) mod export;
mod otlp;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ficus_rules::Share;
use ficus_rules::trace::Parent;
use http::HeaderMap;

use crate::asked::Asked;

/// The trace that a request belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trace {
    /// Its id.
    pub(crate) id: u128,
    /// The caller's span.
    pub(crate) parent: Option<u64>,
    /// The gateway's own span for this request.
    pub(crate) span: u64,
    /// It is recorded.
    pub(crate) sampled: bool,
}

/// A span that is over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: u128,
    pub(crate) id: u64,
    pub(crate) parent: Option<u64>,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) began: SystemTime,
    pub(crate) took: Duration,
    pub(crate) failed: bool,
    pub(crate) attributes: Vec<(&'static str, Value)>,
}

/// On which end of a call a span stands; the numbers are OTLP's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Server = 2,
    Client = 3,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Is(bool),
}

impl Trace {
    /// Continues the caller's trace, or begins the one of the id `new`. The word of a caller that is `trusted` about recording
    /// is kept; of all others `share` are recorded: what they cost is not for strangers to say.
    pub(crate) fn of(asked: &Asked, trusted: bool, new: u128, share: Share) -> Trace {
        let (span, parent) = (span_id(), parent(asked.headers()));
        let sampled = match parent.filter(|_| trusted) {
            Some(parent) => parent.sampled,
            // By our own number: a caller chooses its trace's.
            None => new % 1_000_000 < u128::from(share.millionths()),
        };
        Trace { id: parent.map_or(new, |parent| parent.trace), parent: parent.map(|parent| parent.span), span, sampled }
    }

    /// Its id as it is written.
    pub(crate) fn text(&self) -> String {
        let digit = |shift: u32| char::from_digit((self.id >> shift & 15) as u32, 16).unwrap_or('0');
        (0..32).rev().map(|place| digit(4 * place)).collect()
    }

    /// The header `traceparent` of whoever is called below a span.
    pub(crate) fn header(&self, span: u64) -> String {
        Parent::header(self.id, span, self.sampled)
    }
}

/// The parent that a request names. More than one header names none.
pub(crate) fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut lines = headers.get_all("traceparent").iter();
    let header = lines.next()?.to_str().ok()?;
    lines.next().is_none().then(|| Parent::parse(header)).flatten()
}

/// An id that no other span has, as far as chance goes; never 0.
pub(crate) fn span_id() -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    KEYS.hash_one(NEXT.fetch_add(1, Ordering::Relaxed)).max(1)
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use ficus_rules::Share;
    use pingora::http::RequestHeader;

    use super::{Trace, parent, span_id};
    use crate::asked::Asked;

    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn asked(headers: &[&str]) -> Asked {
        let mut head = RequestHeader::build("GET", b"/", None).expect("a head");
        for header in headers {
            head.append_header("traceparent", *header).expect("a header");
        }
        Asked::read(&head, "/".to_owned())
    }

    #[test]
    fn a_trace_goes_on_and_a_malformed_one_is_replaced() {
        let trace = Trace::of(&asked(&[HEADER]), true, 7, Share::ALL);
        assert_eq!((trace.parent, trace.sampled), (Some(0xb7ad_6b71_6920_3331), true));
        assert!(trace.header(trace.span).starts_with("00-0af7651916cd43dd8448eb211c80319c-") && !trace.header(trace.span).contains("b7ad"));
        for odd in [&[][..], &["00-what"], &[HEADER, HEADER]] {
            let trace = Trace::of(&asked(odd), true, 7, Share::ALL);
            assert_eq!((trace.id, trace.parent, trace.sampled), (7, None, true), "{odd:?}");
        }
        assert!(parent(asked(&[HEADER]).headers()).is_some());
        assert_eq!(Trace::of(&asked(&[HEADER]), false, 7, Share::ALL).text(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(Trace::of(&asked(&[]), false, 7, Share::ALL).text(), format!("{:032x}", 7));
    }

    #[test]
    fn a_trusted_caller_says_whether_it_is_recorded_and_a_stranger_does_not() {
        for (flag, trusted, share, sampled) in [
            ("-01", true, Share::NONE, true),
            ("-00", true, Share::ALL, false),
            ("-01", false, Share::NONE, false),
            ("-00", false, Share::ALL, true),
        ] {
            let trace = Trace::of(&asked(&[&HEADER.replace("-01", flag)]), trusted, 7, share);
            assert_eq!((trace.parent, trace.sampled), (Some(0xb7ad_6b71_6920_3331), sampled), "{flag} {trusted}");
            assert_eq!(trace.text(), "0af7651916cd43dd8448eb211c80319c", "it goes on");
        }
    }

    #[test]
    fn a_share_of_new_traces_is_recorded() {
        let asked = asked(&[]);
        let of = |share: u32| (0..1000).filter(|n| Trace::of(&asked, false, n * 1_000, Share::from_millionths(share)).sampled).count();
        assert_eq!((of(0), of(100_000), of(1_000_000)), (0, 100, 1_000));
    }

    #[test]
    fn spans_have_ids_of_their_own() {
        let ids: std::collections::HashSet<u64> = (0..10_000).map(|_| span_id()).collect();
        assert!(ids.len() == 10_000 && !ids.contains(&0));
    }
}
