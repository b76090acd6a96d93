//! The path of a request, phase by phase. Reads from top to bottom; each step lives in the module that it names. `phases` gives
//! them to pingora's proxy; of a plain read, `direct` goes through them itself.

mod phases;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use ficus_rules::decide::is_safe;
use ficus_rules::route::Request as _;
use ficus_rules::{Side, Timestamp, marker};
use http::{StatusCode, Uri, header};
use pingora::http::ResponseHeader;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use tokio::sync::mpsc;

use crate::admission::{self, ANONYMOUS_COOKIE, Stop};
use crate::again::{self, Why};
use crate::answer::{self, Refusal};
use crate::asked::Asked;
use crate::carried::Carried;
use crate::client::Client;
use crate::gateway::Inner;
use crate::harden::{Calls, Fault, Guard};
use crate::upstream::{Place, STREAM_SILENCE};
use crate::{cache, csrf, fallback, forward, harden, hops, observe, plugins, public, secure, validity, wrote};

/// By this header an answer of modern ends its caller's session. It goes no further.
const LOG_OUT: &str = "ficus-log-out";

/// The kinds of bodies of gRPC begin so.
const GRPC: &str = "application/grpc";

/// Carries requests.
pub(crate) struct Carrier(pub(crate) Arc<Inner>);

impl Carrier {
    /// From the head to the point where it may be forwarded.
    async fn receive(&self, session: &mut Client<'_>, carried: &mut Carried) -> Result<(), Stop> {
        let gateway = &*self.0;
        let (fault, opens) = session.guard().map_or((None, false), |guard| (guard.fault(), guard.opens()));
        if let Some(fault) = fault {
            carried.name(gateway, session.peer(gateway));
            return Err(fault.refusal().into());
        }
        session.set_deadlines(gateway.limits.send_within);
        let path = harden::harden(session.head_mut(), opens, &gateway.limits);
        carried.asked = Asked::read(session.head(), path.clone().unwrap_or_default());
        carried.name(gateway, session.peer(gateway));
        path?;
        if carried.asked.header("content-type").is_some_and(|kind| kind.starts_with(GRPC)) {
            carried.call = session.calls().map(Calls::begin);
        }
        carried.https = forward::is_https(&carried.peer, &carried.asked);
        if let Some(told) = public::answer(gateway, &carried.asked) {
            return Err(told.into());
        }
        if let Some(stop) = secure::lead(session, carried) {
            return Err(stop);
        }
        let accepts_events = carried.asked.header("accept").is_some_and(|accept| accept.contains("text/event-stream"));
        // A write that says so is still a write, and must not keep a fence waiting for an hour.
        carried.upgrades = session.is_upgrade();
        carried.streams = carried.upgrades || (accepts_events && is_safe(&carried.asked.method));
        if carried.upgrades {
            session.set_silence(STREAM_SILENCE);
            // What the client sends after it is a tunnel's or nobody's, but not another request.
            session.ends();
            carried.tunnel = session.guard().and_then(Guard::tunnel).cloned();
        }
        harden::agree(&gateway.current.load(), &carried.asked, session.head().uri.path())?;
        carried.markers = wrote::read(&carried.asked, &gateway.config.marker_key, Timestamp::from(carried.arrived));
        let anonymous = carried.asked.cookie(ANONYMOUS_COOKIE).filter(|id| id.len() <= 64 && !id.is_empty());
        carried.anonymous = anonymous.map(ToOwned::to_owned);
        admission::admit(gateway, session, carried).await?;
        if carried.decided(|decision| decision.csrf) {
            Box::pin(csrf::verify(gateway, session, carried)).await?;
        }
        self.touch(carried);
        if carried.inflight.is_some() {
            // A write that was sent is waited for, even when its client no longer does.
            session.outlives_client();
        }
        Ok(())
    }

    /// Modern says that its caller has logged out. An answer that says so while the monolith still knows the caller would be
    /// a lie: it becomes a failure, and the caller can try again.
    async fn log_out(&self, carried: &mut Carried, answer: &mut ResponseHeader) -> Result<()> {
        match self.0.callers.log_out(&carried.asked, &carried.peer).await {
            Ok(lines) => lines.into_iter().try_for_each(|line| answer.append_header(header::SET_COOKIE, line).map(drop)),
            Err(why) => {
                tracing::warn!(why, request_id = carried.request_id, "a session could not be ended at the monolith");
                carried.refused = Some("log_out");
                Err(Error::explain(ErrorType::HTTPStatus(503), "the log-out did not reach the monolith"))
            }
        }
    }

    /// Whether an answer tells of a write that its caller must be able to read back.
    fn is_write_to_remember(carried: &Carried, status: StatusCode) -> bool {
        let moves = || carried.decided(|decision| decision.tracked) && validity::is_migrating(carried.serving().phase);
        let kept = || carried.capability().is_some_and(|capability| cache::ends_with(capability, &carried.snapshot.rules));
        carried.decided(|decision| decision.write) && status.as_u16() < 500 && (moves() || kept())
    }

    /// A write is on its way to a capability, or was: what is kept of its answers is of no use any more.
    fn touch(&self, carried: &Carried) {
        if let Some(capability) = carried.capability().filter(|_| carried.decided(|decision| decision.write)) {
            self.0.answers.touch(capability, &carried.snapshot.rules);
        }
    }

    /// What every answer says of the gateway.
    fn sign(&self, carried: &Carried, head: &mut ResponseHeader) -> Result<()> {
        let config = &self.0.config;
        let secure = if carried.https { "; Secure" } else { "" };
        if let Some(id) = carried.anonymous.as_ref().filter(|_| carried.anonymous_is_new) {
            let cookie = format!("{ANONYMOUS_COOKIE}={id}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax{secure}");
            head.append_header(header::SET_COOKIE, cookie)?;
        }
        secure::tell(head, carried, config.strict_transport)?;
        if config.expose_side {
            head.insert_header("x-ficus-side", carried.side.as_str())?;
        }
        if !head.headers.contains_key("x-request-id") {
            head.insert_header("x-request-id", carried.request_id.as_str())?;
        }
        Ok(())
    }

    /// Answers with what was kept.
    async fn answer(&self, session: &mut Client<'_>, carried: &mut Carried, kept: cache::Answer) -> Result<()> {
        carried.from_cache = true;
        carried.status = Some(kept.status);
        let mut head = ResponseHeader::build(kept.status, Some(kept.headers.len() + 4))?;
        for (name, value) in &kept.headers {
            head.append_header(name, value)?;
        }
        if kept.status != StatusCode::NOT_MODIFIED {
            head.insert_header(header::CONTENT_LENGTH, kept.body.len())?;
        }
        head.insert_header("cache-status", "ficus; hit")?;
        self.sign(carried, &mut head)?;
        plugins::on_the_way_back(carried, &mut head);
        plugins::pack(carried, session.head(), &mut head);
        let mut body = Some(kept.body);
        if kept.status != StatusCode::NOT_MODIFIED {
            // All of it is here: it is packed at once, and its length is known.
            plugins::packed(carried, &mut body, true);
            head.remove_header(&header::TRANSFER_ENCODING);
            head.insert_header(header::CONTENT_LENGTH, body.as_ref().map_or(0, Bytes::len))?;
        }
        let body = body.unwrap_or_default();
        session.write_head(Box::new(head), body.is_empty()).await?;
        if !body.is_empty() {
            session.write_body(body).await?;
        }
        Ok(())
    }
}

/// The phases. A request that is over has gone through `begin` and `end`.
impl Carrier {
    /// The state of a new request.
    pub(crate) fn request(&self) -> Box<Carried> {
        // A write by HTTP/2 goes on when its connection is gone.
        Box::new(Carried::new(self.0.under_way.get().and_then(mpsc::WeakSender::upgrade)))
    }

    /// Decides what becomes of it. True: it is answered.
    pub(crate) async fn begin(&self, session: &mut Client<'_>, carried: &mut Box<Carried>) -> Result<bool> {
        match self.receive(session, carried).await {
            Ok(()) => match self.0.answers.find(carried, session.head()) {
                Some(kept) => Box::pin(self.answer(session, carried, kept)).await.map(|()| true),
                None => Ok(false),
            },
            Err(Stop::Refused(refusal)) => {
                carried.refused = Some(refusal.reason);
                carried.status = Some(refusal.status);
                Box::pin(answer::write(session, &refusal, carried)).await?;
                Ok(true)
            }
            Err(Stop::Left) => {
                carried.refused = Some("client_left");
                session.ends();
                Ok(true)
            }
        }
    }

    /// Chooses who gets it next.
    pub(crate) async fn choose(&self, session: &mut Client<'_>, carried: &mut Box<Carried>) -> Result<Box<HttpPeer>> {
        carried.begin_attempt();
        let mut peer = self.0.upstreams.peer(carried, &self.0.config, &self.0.transports).await;
        if peer.is_err() && fallback::go(carried, session) {
            carried.begin_attempt();
            peer = self.0.upstreams.peer(carried, &self.0.config, &self.0.transports).await;
        }
        if peer.is_ok() && carried.place.as_ref().is_some_and(Place::waited) && !admission::is_connected(session) {
            // Nobody waits for it any more, and nothing was sent.
            carried.refused = Some("client_left");
            return Err(Error::explain(ErrorType::ConnectionClosed, "the client left").into_down());
        }
        peer.map_err(|refusal| {
            carried.refused = Some(refusal.reason);
            let error = Error::explain(ErrorType::HTTPStatus(refusal.status.as_u16()), refusal.detail.clone());
            carried.stopped = Some(refusal).filter(|refusal| refusal.retry_after.is_some());
            error
        })
    }

    /// That one cannot be reached: what is done about it.
    pub(crate) fn unreached(&self, session: &mut Client<'_>, carried: &mut Box<Carried>, mut e: Box<Error>) -> Box<Error> {
        e.set_retry(again::elsewhere(carried, Why::Connect));
        if e.retry() {
            return e;
        }
        if let Some(capability) = carried.capability().filter(|_| carried.side == Side::Modern) {
            self.0.around.failed(capability, Instant::now());
        }
        fallback::instead(carried, session, &mut e);
        e
    }

    /// That one is reached.
    pub(crate) fn connected(&self, reused: bool, carried: &mut Box<Carried>) {
        carried.connected();
        if let Some(capability) = carried.capability().filter(|_| carried.side == Side::Modern && !reused) {
            self.0.around.reached(capability);
        }
    }

    /// The head goes there. The target that it gets, if it is another.
    pub(crate) fn send(
        &self,
        session: &mut Client<'_>,
        headers: &mut impl plugins::Headers,
        carried: &mut Box<Carried>,
    ) -> Result<Option<Uri>> {
        if let Err(refusal) = admission::sends(&self.0, carried) {
            carried.refused = Some(refusal.reason);
            let error = Error::explain(ErrorType::HTTPStatus(refusal.status.as_u16()), refusal.detail.clone());
            carried.stopped = Some(refusal);
            return Err(error);
        }
        forward::prepare(&self.0, session, carried, headers)
    }

    /// A piece of the body goes there. Called at least once, whatever the body, when the head was written.
    pub(crate) fn pass(&self, body: &mut Option<Bytes>, end: bool, carried: &mut Box<Carried>) -> Result<()> {
        if let Some(held) = &mut carried.held {
            held.sent();
        }
        if let Some(peeked) = carried.peeked.take() {
            let rest = body.take().unwrap_or_default();
            let mut whole = BytesMut::from(peeked);
            whole.extend_from_slice(&rest);
            *body = Some(whole.freeze());
        }
        if let Err(refusal) = plugins::received(carried, body.as_ref().map_or(0, Bytes::len)) {
            let status = refusal.status.as_u16();
            carried.broken_off = Some(refusal);
            return Err(Error::explain(ErrorType::HTTPStatus(status), "the body is larger than a plugin takes"));
        }
        carried.came = carried.came.saturating_add(body.as_ref().map_or(0, Bytes::len) as u64);
        if carried.came > self.0.limits.body {
            // Said without a length, by HTTP/2; the guard of HTTP/1 has counted already.
            return Err(Error::explain(ErrorType::HTTPStatus(413), "the body is larger than this gateway takes").into_down());
        }
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            // By HTTP/2 a body may end with an empty frame. Pingora would write it as the last chunk, and then the last chunk:
            // the second one would be taken for the beginning of the next request on that connection.
            *body = None;
        }
        self.0.shadow.copy(carried, body.as_ref(), end);
        if end {
            carried.sent();
        }
        Ok(())
    }

    /// The head of its answer has come.
    pub(crate) async fn answered(&self, session: &mut Client<'_>, head: &mut ResponseHeader, carried: &mut Box<Carried>) -> Result<()> {
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            hops::strip_answer(head);
        }
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        let now = Instant::now();
        carried.first_byte(now);
        let failed = again::of_answer(carried, session, head.status);
        if let Some(failed) = failed.or_else(|| fallback::of_answer(carried, session, head.status)) {
            return Err(failed);
        }
        if let Some(lease) = &mut carried.lease {
            match head.status.as_u16() {
                502..=504 => lease.failed(now),
                _ => lease.succeeded(now),
            }
        }
        // Of a write, others reckon with the moment.
        let wall = if carried.decided(|decision| decision.write) { SystemTime::now() } else { carried.arrived + (now - carried.started) };
        carried.answered = Some(Timestamp::from(wall));
        carried.status = Some(head.status);
        // Before its caller knows: what it reads next must not be from before.
        self.touch(carried);
        carried.capture = self.0.shadow.begin(carried, head);
        if head.remove_header(LOG_OUT).is_some() && carried.side == Side::Modern {
            Box::pin(self.log_out(carried, head)).await?;
        }
        self.0.callers.answered(&carried.asked, &carried.peer, &head.headers);
        if carried.keeping.as_mut().is_some_and(|keeping| !keeping.begin(head)) {
            carried.keeping = None;
        }
        if let Some(tunnel) = carried.tunnel.as_ref().filter(|_| head.status == StatusCode::SWITCHING_PROTOCOLS) {
            tunnel.open();
        }
        Ok(())
    }

    /// A piece of the answer's body has come.
    pub(crate) fn answering(&self, body: Option<&Bytes>, end: bool, carried: &mut Box<Carried>) {
        if let (Some(capture), Some(piece)) = (&mut carried.capture, body) {
            capture.take(piece);
        }
        let largest = self.0.answers.largest();
        if carried.keeping.as_mut().is_some_and(|keeping| !keeping.take(body, end, largest)) {
            carried.keeping = None;
        }
        if let Some(inflight) = carried.inflight.as_ref().filter(|_| end) {
            inflight.leave();
        }
    }

    /// The head of the answer goes to the client.
    pub(crate) fn reply(&self, session: &Client<'_>, head: &mut ResponseHeader, carried: &mut Box<Carried>) -> Result<()> {
        if head.status.is_informational() {
            return Ok(());
        }
        carried.call = None;
        let config = &self.0.config;
        let secure = if carried.https { "; Secure" } else { "" };
        if let Some(at) = carried.answered.filter(|_| Self::is_write_to_remember(carried, head.status)) {
            let capability = carried.capability().unwrap_or_default().to_owned();
            let wrote = marker::Marker { capability, epoch: carried.serving().epoch, at };
            let names = self.0.names(carried);
            self.0.recent.remember(&names, &wrote);
            self.0.recent.recall(&names, &mut carried.markers);
            marker::add(&mut carried.markers, wrote);
            wrote::write(head, &carried.markers, &config.marker_key, secure)?;
        }
        self.sign(carried, head)?;
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            plugins::on_the_way_back(carried, head);
            plugins::pack(carried, session.head(), head);
        }
        Ok(())
    }

    /// It broke off: what is done about it.
    pub(crate) fn broke(&self, session: &mut Client<'_>, mut e: Box<Error>, carried: &mut Box<Carried>, reused: bool) -> Box<Error> {
        if carried.broken_off.is_some() {
            e.set_retry(false);
            return e;
        }
        if std::mem::take(&mut carried.redirected) {
            // Raised by the answer's filter, which has chosen who is asked next.
            return e;
        }
        if *e.esource() != ErrorSource::Upstream {
            e.set_retry(false);
            return e;
        }
        let may_repeat = again::may_repeat(carried, session);
        match may_repeat {
            // A pooled connection that its upstream was closing says nothing about the instance, whether that is seen when it is
            // written to or when it is read.
            true if *e.etype() == ErrorType::WriteError => e.set_retry(reused),
            true => e.retry.decide_reuse(reused),
            false => e.set_retry(false),
        }
        if e.retry() {
            return e;
        }
        if let Some(lease) = &mut carried.lease {
            lease.failed(Instant::now());
        }
        // What one instance did not do in time, another would not do in the rest of it.
        let slow = matches!(e.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout) || carried.ran_out_of_time();
        e.set_retry(may_repeat && !slow && again::elsewhere(carried, Why::Broken));
        if !e.retry() {
            fallback::instead(carried, session, &mut e);
        }
        e
    }

    /// Nobody answers it: the client is told. The status, or 0 if the client is gone.
    pub(crate) async fn fail(&self, session: &mut Client<'_>, e: &Error, carried: &mut Box<Carried>) -> u16 {
        let fault = session.guard().and_then(Guard::fault);
        let broken_off = carried.broken_off.take();
        let by_client = fault.is_some() || broken_off.is_some() || *e.esource() == ErrorSource::Downstream;
        let late = carried.ran_out_of_time().then(timeout);
        let told = fault.map(Fault::refusal).or(broken_off).or(late).or_else(|| carried.stopped.take());
        let Some(refusal) = told.or_else(|| failure(e)) else {
            return 0;
        };
        tracing::warn!(
            error = e.etype().as_str(),
            source = e.esource().as_str(),
            side = carried.side.as_str(),
            request_id = carried.request_id,
            "a request failed"
        );
        carried.status = Some(refusal.status);
        if by_client {
            // What the client did wrong says nothing about a side.
            carried.refused = carried.refused.or(Some(refusal.reason));
        }
        // Pingora closes the connection after a failure; the client must know, or it sends its next request there.
        session.ends();
        let written = Box::pin(answer::write(session, &refusal, carried)).await;
        if written.is_err() {
            tracing::debug!(request_id = carried.request_id, "the client was gone before it could be told");
        }
        refusal.status.as_u16()
    }

    /// It is over.
    pub(crate) fn end(&self, session: &Client<'_>, e: Option<&Error>, carried: &mut Box<Carried>) {
        let client_left = e.is_some_and(|e| *e.esource() == ErrorSource::Downstream) || carried.refused == Some("client_left");
        if let Some(tunnel) = carried.tunnel.take() {
            if e.is_none() && tunnel.is_open() {
                // It goes on without pingora, and is over when its tunnel is.
                tunnel.leave_carried(std::mem::replace(carried, self.request()), session.sizes());
                return;
            }
            tunnel.close();
        }
        observe::finish(&self.0, session.sizes(), carried, client_left);
        if carried.began.is_some() {
            self.touch(carried);
        }
        if e.is_none() {
            self.0.answers.keep(carried);
            self.0.shadow.hand_over(carried);
        }
        carried.inflight = None;
        carried.held = None;
        carried.lease = None;
        carried.place = None;
    }
}

/// The answer to a failure; `None`: the client is gone.
fn timeout() -> Refusal {
    Refusal::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the server behind this gateway did not answer in time")
}

fn failure(e: &Error) -> Option<Refusal> {
    use ErrorType::{ConnectTimedout, ConnectionClosed, HTTPStatus, ReadError, ReadTimedout, WriteError, WriteTimedout};
    let refusal = |status, reason, detail: &str| Some(Refusal::new(status, reason, detail));
    match (e.esource(), e.etype()) {
        (_, HTTPStatus(code)) => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::BAD_GATEWAY);
            refusal(status, "status", "the server behind this gateway could not answer")
        }
        (ErrorSource::Upstream, ConnectTimedout | ReadTimedout | WriteTimedout) => Some(timeout()),
        (ErrorSource::Upstream, _) => {
            refusal(StatusCode::BAD_GATEWAY, "upstream", "the server behind this gateway could not be reached, or broke off")
        }
        (ErrorSource::Downstream, ReadTimedout) => {
            refusal(StatusCode::REQUEST_TIMEOUT, "slow_client", "the request took too long to arrive")
        }
        (ErrorSource::Downstream, WriteError | ReadError | ConnectionClosed | WriteTimedout) => None,
        (ErrorSource::Downstream, _) => refusal(StatusCode::BAD_REQUEST, "bad_request", "the request is not understood"),
        _ => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the gateway failed"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pingora::protocols::l4::stream::Stream;
    use pingora::proxy::Session;
    use tokio::net::{TcpListener, TcpStream};

    use super::{Carrier, Client};
    use crate::config::{Config, Upstream};
    use crate::gateway::Gateway;

    /// What every request is moved about with: what few of them need stands in boxes of its own.
    #[tokio::test]
    async fn the_state_of_a_request_is_small() {
        let upstreams = BTreeMap::from([("monolith".to_owned(), Upstream::at("127.0.0.1:9"))]);
        let gateway = Gateway::new(Config::new("g1", upstreams, "monolith")).expect("a gateway");
        let carrier = Carrier(gateway.inner);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let socket = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
        let mut session = Session::new_h1(Box::new(Stream::from(socket)));
        let mut session = Client::Any(&mut session);
        let mut carried = carrier.request();
        let decides = size_of_val(&carrier.begin(&mut session, &mut carried));
        let chooses = size_of_val(&carrier.choose(&mut session, &mut carried));
        assert!(decides.max(chooses) <= 3 * 1024, "{decides} and {chooses} bytes");
    }
}
