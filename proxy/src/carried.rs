//! What is kept of one request while it is carried: the `CTX` of pingora.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ficus_rules::decide::{Because, Decision, Snapshot};
use ficus_rules::marker::Marker;
use ficus_rules::plan::Route;
use ficus_rules::wire::Serving;
use ficus_rules::{Share, Side, Timestamp};
use http::StatusCode;
use pingora::upstreams::peer::HttpPeer;
use tokio::sync::mpsc;

use crate::answer::Refusal;
use crate::asked::Asked;
use crate::cache::Keeping;
use crate::fence::InFlight;
use crate::forward::{self, Peer};
use crate::gateway::Inner;
use crate::harden::Call;
use crate::hold::Held;
use crate::identity::Login;
use crate::metrics::UnderWay;
use crate::observe;
use crate::plugins::Met;
use crate::shadow::{Capture, Rehearsal};
use crate::spans::{self, Span, Trace};
use crate::traffic::CapabilityCounters;
use crate::tunnel::Tunnel;
use crate::upstream::{Clock, Lease, Place, STREAM_SILENCE};

/// What nothing was decided by yet.
static UNDECIDED: LazyLock<Arc<Snapshot>> = LazyLock::new(Arc::default);

/// One request on its way.
pub(crate) struct Carried {
    /// When its head had arrived.
    pub(crate) started: Instant,
    /// The same by the clock on the wall.
    pub(crate) arrived: SystemTime,
    /// Names it in logs, answers and upstreams.
    pub(crate) request_id: String,
    /// The trace that it belongs to.
    pub(crate) trace: Trace,
    /// What took how long.
    pub(crate) timings: Timings,
    /// The tries that are over, if it is recorded.
    pub(crate) spans: Vec<Span>,
    /// The scheme that the client used, as far as it is known.
    pub(crate) https: bool,
    /// Where it comes from.
    pub(crate) peer: Peer,
    /// The address of its client, past trusted proxies.
    pub(crate) client: Option<IpAddr>,
    /// Its head as rules see it.
    pub(crate) asked: Asked,
    /// What it was decided by. Taken once; a held request takes the one that released it.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The decision.
    pub(crate) decision: Option<Decision>,
    /// The counters of its capability.
    pub(crate) counters: Option<Arc<CapabilityCounters>>,
    /// Who calls, once that was looked up.
    pub(crate) login: Option<Login>,
    /// The id of its anonymous cookie.
    pub(crate) anonymous: Option<String>,
    /// That cookie was made for this request and belongs into the answer.
    pub(crate) anonymous_is_new: bool,
    /// Markers of the caller's last writes.
    pub(crate) markers: Vec<Marker>,
    /// The side that it is sent to; another than decided after a fallback.
    pub(crate) side: Side,
    /// It fell back to legacy.
    pub(crate) fell_back: bool,
    /// A WebSocket or event stream: its silence is no failure.
    pub(crate) streams: bool,
    /// It asks for a tunnel.
    pub(crate) upgrades: bool,
    /// What becomes of its connections if it is one.
    pub(crate) tunnel: Option<Arc<Tunnel>>,
    /// A write that is counted as in flight.
    pub(crate) inflight: Option<InFlight>,
    /// Its place among the released.
    pub(crate) held: Option<Held>,
    /// The beginning of a body that is too large for pingora's buffer, to be sent before the rest.
    pub(crate) peeked: Option<Bytes>,
    /// Its place at an instance of its upstream.
    pub(crate) lease: Option<Lease>,
    /// Where it goes next, if that was chosen before pingora asks.
    pub(crate) chosen: Option<Box<HttpPeer>>,
    /// Instances that it was sent to, or could not be, and will not be again.
    pub(crate) tried: Vec<Arc<str>>,
    /// The answer was not taken: another instance, or legacy, is asked next.
    pub(crate) redirected: bool,
    /// When it was first sent.
    pub(crate) began: Option<Instant>,
    /// How long nothing may move once its answer has begun.
    pub(crate) silence: Duration,
    /// The deadlines that its connection looks after, if they are its own.
    pub(crate) clock: Option<Arc<Clock>>,
    /// Its place among those that its upstream may have at once.
    pub(crate) place: Option<Place>,
    /// What its upstream was told instead of it.
    pub(crate) stopped: Option<Refusal>,
    /// Its answer, if it is perhaps kept.
    pub(crate) keeping: Option<Box<Keeping>>,
    /// The answer was kept.
    pub(crate) from_cache: bool,
    /// The attempt under way.
    pub(crate) attempt: Option<Attempt>,
    /// When the answer's head had arrived.
    pub(crate) answered: Option<Timestamp>,
    /// The status that the client got.
    pub(crate) status: Option<StatusCode>,
    /// Why the gateway answered itself.
    pub(crate) refused: Option<&'static str>,
    /// The plugins that it has met.
    pub(crate) met: Option<Met>,
    /// The capability at whose plugins it ended, before there was a decision.
    pub(crate) met_in: Option<String>,
    /// Why it is broken off although it is under way.
    pub(crate) broken_off: Option<Refusal>,
    /// A copy of the answer for comparison.
    pub(crate) capture: Option<Capture>,
    /// A copy of a write, for modern to rehearse.
    pub(crate) rehearsal: Rehearsal,
    /// Bytes of its body in this attempt.
    pub(crate) came: u64,
    /// It is one of gRPC's, and not answered.
    pub(crate) call: Option<Call>,
    /// Held for its end.
    _under_way: (UnderWay, Option<mpsc::Sender<()>>),
}

/// One try on one side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    side: Side,
    began: Instant,
    /// When the last of the request was sent.
    sent: Option<Instant>,
}

/// How long parts of a request took, as far as it got.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timings {
    /// The last try.
    pub(crate) last: Option<Try>,
    /// Until it had a connection.
    pub(crate) connect: Option<Duration>,
    /// Until the head of its answer had arrived.
    pub(crate) first_byte: Option<Duration>,
    /// How long the fence held the request.
    pub(crate) hold: Option<Duration>,
}

/// One try, as its span has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Try {
    /// Its span.
    pub(crate) span: u64,
    /// Where it went.
    pub(crate) side: Side,
    /// When it began.
    pub(crate) began: Instant,
}

impl Attempt {
    /// When it began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }
}

impl Timings {
    fn since_try(&self, now: Instant) -> Option<Duration> {
        self.last.map(|last| now.saturating_duration_since(last.began))
    }
}

impl Carried {
    pub(crate) fn new(under_way: Option<mpsc::Sender<()>>) -> Carried {
        Carried {
            started: Instant::now(),
            arrived: SystemTime::now(),
            request_id: String::new(),
            trace: Trace::default(),
            timings: Timings::default(),
            spans: Vec::new(),
            https: false,
            peer: Peer::default(),
            client: None,
            asked: Asked::default(),
            snapshot: UNDECIDED.clone(),
            decision: None,
            counters: None,
            login: None,
            anonymous: None,
            anonymous_is_new: false,
            markers: Vec::new(),
            side: Side::Legacy,
            fell_back: false,
            streams: false,
            upgrades: false,
            tunnel: None,
            inflight: None,
            held: None,
            peeked: None,
            lease: None,
            chosen: None,
            tried: Vec::new(),
            redirected: false,
            began: None,
            silence: STREAM_SILENCE,
            clock: None,
            place: None,
            stopped: None,
            keeping: None,
            from_cache: false,
            attempt: None,
            answered: None,
            status: None,
            refused: None,
            met: None,
            met_in: None,
            broken_off: None,
            capture: None,
            rehearsal: Rehearsal::default(),
            came: 0,
            call: None,
            _under_way: (UnderWay::begin(), under_way),
        }
    }

    /// Gives it its names: in logs, and in traces. Once it is known where it comes from.
    pub(crate) fn name(&mut self, gateway: &Inner, peer: Peer) {
        // Of the thread's own generator: the system's would be asked each time.
        let new = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        self.request_id = forward::request_id(&peer, &self.asked, new);
        self.client = peer.client(gateway, &self.asked);
        self.peer = peer;
        let share = gateway.spans.as_ref().map_or(Share::NONE, |spans| spans.share());
        self.trace = Trace::of(&self.asked, self.peer.trusted, new.as_u128(), share);
    }

    /// The name of its capability.
    pub(crate) fn capability(&self) -> Option<&str> {
        match &self.decision {
            Some(decision) => decision.capability.as_deref(),
            None => self.met_in.as_deref(),
        }
    }

    /// Its route.
    pub(crate) fn route(&self) -> Option<&Route> {
        let capability = self.snapshot.rules.capabilities.get(self.capability()?)?;
        capability.routes.get(self.decision.as_ref()?.route_index?)
    }

    /// How far its capability is.
    pub(crate) fn serving(&self) -> Serving {
        let serving = self.capability().and_then(|capability| self.snapshot.published.capabilities.get(capability));
        serving.cloned().unwrap_or_else(Serving::untouched)
    }

    /// Something about its decision; false before there is one.
    pub(crate) fn decided(&self, what: impl Fn(&Decision) -> bool) -> bool {
        self.decision.as_ref().is_some_and(what)
    }

    /// The name of the upstream that it goes to.
    pub(crate) fn upstream<'a>(&'a self, default: &'a str) -> &'a str {
        let capability = self.capability().and_then(|capability| self.snapshot.rules.capabilities.get(capability));
        capability.map_or(default, |capability| match self.side {
            Side::Legacy => &capability.legacy,
            Side::Modern => &capability.modern,
        })
    }

    /// A try begins.
    pub(crate) fn begin_attempt(&mut self) {
        if let Some(met) = &mut self.met {
            met.begin_attempt();
        }
        self.rehearsal.begin_attempt();
        // Of a try before this one nothing came.
        observe::end_try(self, true);
        let began = Instant::now();
        self.timings =
            Timings { last: Some(Try { span: spans::span_id(), side: self.side, began }), hold: self.timings.hold, ..Timings::default() };
        self.came = 0;
        self.attempt = Some(Attempt { side: self.side, began, sent: None });
    }

    /// Whether a deadline of its own has passed.
    pub(crate) fn ran_out_of_time(&self) -> bool {
        self.clock.as_ref().is_some_and(|clock| clock.has_run_out())
    }

    /// The try has a connection.
    pub(crate) fn connected(&mut self) {
        self.timings.connect = self.timings.since_try(Instant::now());
    }

    /// The last of the request is on its way. (Without a body it was when there was a connection: most are not worth a look at
    /// the clock.)
    pub(crate) fn sent(&mut self) {
        let connected = self.timings.last.zip(self.timings.connect).map(|(last, took)| last.began + took);
        let at = connected.filter(|_| self.came == 0).unwrap_or_else(Instant::now);
        if let Some(attempt) = &mut self.attempt {
            attempt.sent = Some(at);
        }
    }

    /// For how long the whole request has been without an answer; `None`: not all of it was sent, or its silence is no failure.
    pub(crate) fn unanswered(&self, now: Instant) -> Option<Duration> {
        let sent = self.attempt.filter(|_| self.answered.is_none() && !self.streams && self.call.is_none())?.sent?;
        Some(now.saturating_duration_since(sent))
    }

    /// The head of the try's answer has arrived, now.
    pub(crate) fn first_byte(&mut self, now: Instant) {
        if let Some(clock) = &self.clock {
            clock.answered();
        }
        self.timings.first_byte = self.timings.since_try(now);
    }

    /// The try is over; counted once, if the gates judge it.
    pub(crate) fn end_attempt(&mut self, failed: bool, now: Instant) {
        let Some(attempt) = self.attempt.take() else { return };
        let Some(counters) = &self.counters else { return };
        if self.decided(|decision| decision.because == Because::ModernDown) {
            counters.unserved();
        } else if self.decided(Decision::is_judged) {
            counters.attempted(attempt.side, self.decided(|decision| decision.write), failed, now.saturating_duration_since(attempt.began));
        }
    }

    /// The next try goes to legacy.
    pub(crate) fn fall_back(&mut self) {
        self.end_attempt(true, Instant::now());
        self.side = Side::Legacy;
        self.fell_back = true;
        self.tried.clear();
        self.place = None;
        self.keeping = None;
        self.capture = None;
    }
}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carried").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}
