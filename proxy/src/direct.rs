//! The everyday request: a read without a body, by HTTP/1.1 from the client and to the upstream. It is carried here, through the
//! phases of [`Carrier`] in pingora's order and by pingora's sessions, without what pingora's proxy has for everything else
//! (bodies that are streamed both ways, HTTP/2, tunnels, its own cache): that machinery costs more than all of our own work.
//! Whatever is not plain is handed to it untouched.

mod hops;
mod kept;

use std::sync::Arc;

use http::{Method, Version, header};
use pingora::apps::{HttpPersistentSettings, HttpServerApp as _, ReusedHttpStream};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::RequestHeader;
use pingora::modules::http::HttpModules;
use pingora::protocols::http::v1::client::HttpSession as Upstream;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::proxy::{HttpProxy, Session};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use pingora::{Error, ErrorType, Result};
use tokio::sync::watch;

use crate::carried::Carried;
use crate::carry::Carrier;
use crate::gateway::Inner;
use crate::harden::{Guard, Next};
use crate::plugins;
use crate::upstream::IDLE;

use kept::Kept;

/// What pingora gives a connection to begin with, in seconds; how long clients may be idle is the guard's business.
const KEEP_ALIVE: u64 = 60;

/// Serves connections by HTTP/1.
pub(crate) struct Direct {
    carrier: Carrier,
    /// Who carries what is not plain.
    proxy: Arc<HttpProxy<Carrier>>,
    connector: TransportConnector,
    kept: Arc<Kept>,
    modules: HttpModules,
    /// Tries of one request.
    tries: usize,
    /// Some upstream speaks HTTP/2: then nothing is carried here.
    multiplexes: bool,
    closing: watch::Sender<bool>,
}

impl Direct {
    pub(crate) fn new(gateway: &Arc<Inner>, proxy: Arc<HttpProxy<Carrier>>, conf: &ServerConf) -> Direct {
        Direct {
            carrier: Carrier(gateway.clone()),
            proxy,
            connector: TransportConnector::new(Some(ConnectorOptions::from_server_conf(conf))),
            kept: Arc::new(Kept::new(conf.upstream_keepalive_pool_size)),
            modules: HttpModules::new(),
            tries: conf.max_retries,
            multiplexes: gateway.transports.multiplex(),
            closing: watch::Sender::new(false),
        }
    }

    /// Closes the connections on which no request has begun.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Looks after the connections to upstreams, for ever.
    pub(crate) fn sweep(&self) -> impl Future<Output = ()> + use<> {
        self.kept.clone().sweep()
    }

    /// Serves a connection until its end, or until it has become something else.
    pub(crate) async fn serve(&self, guard: Guard, shutdown: &watch::Receiver<bool>) {
        let mut closing = self.closing.subscribe();
        let closed = closing.wait_for(|closing| *closing);
        tokio::pin!(closed);
        let mut guard = Box::new(guard);
        let mut settings = None;
        loop {
            let next = tokio::select! {
                biased;
                next = guard.next() => next,
                _ = &mut closed => return,
            };
            let reused = match next {
                None => return,
                Some(Next::Plain) if !self.multiplexes => {
                    let head = guard.take_head();
                    let mut session = Session::new_h1_with_modules(guard, &self.modules);
                    self.settle(&mut session, settings, shutdown);
                    session.set_pipelined_prefix(head);
                    self.answer(session).await
                }
                Some(_) => {
                    let mut session = ServerSession::new_http1(guard);
                    self.settle(&mut session, settings, shutdown);
                    self.proxy.process_new_http(session, shutdown).await
                }
            };
            let Some((stream, after)) = reused.map(ReusedHttpStream::consume) else { return };
            let Ok(same) = stream.into_any().downcast::<Guard>() else { return };
            (guard, settings) = (same, after);
        }
    }

    /// What one request on a connection leaves to the next.
    fn settle(&self, session: &mut ServerSession, settings: Option<HttpPersistentSettings>, shutdown: &watch::Receiver<bool>) {
        match settings {
            Some(settings) => settings.apply_to_session(session),
            None => {
                session.set_keepalive(Some(KEEP_ALIVE));
                session
                    .set_keepalive_reuses_remaining(self.proxy.server_options.as_ref().and_then(|options| options.keepalive_request_limit));
            }
        }
        if *shutdown.borrow() {
            session.set_keepalive(None);
        }
    }

    /// Answers one request.
    async fn answer(&self, mut session: Session) -> Option<ReusedHttpStream> {
        match session.read_request().await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                tracing::debug!(error = error.etype().as_str(), "a head that was clear is not understood");
                let _ = session.respond_error(400).await;
                session.shutdown().await;
                return None;
            }
        }
        let mut carried = self.carrier.request();
        let carrier = &self.carrier;
        match carrier.begin(&mut session, &mut carried).await {
            Ok(true) => {
                carrier.end(&session, None, &mut carried);
                return reuse(session).await;
            }
            Ok(false) => {}
            Err(error) => {
                carrier.fail(&mut session, &error, &mut carried).await;
                carrier.end(&session, Some(&error), &mut carried);
                return None;
            }
        }
        let (mut again, mut failed) = (false, None);
        for _ in 0..self.tries {
            (again, failed) = self.attempt(&mut session, &mut carried).await;
            if !failed.as_ref().is_some_and(|error| error.retry()) {
                break;
            }
        }
        if let Some(error) = &failed {
            carrier.fail(&mut session, error, &mut carried).await;
        }
        carrier.end(&session, failed.as_deref(), &mut carried);
        if again { reuse(session).await } else { None }
    }

    /// Sends it to one upstream. Whether the client's connection can go on; and what failed.
    async fn attempt(&self, session: &mut Session, carried: &mut Box<Carried>) -> (bool, Option<Box<Error>>) {
        let peer = match self.carrier.choose(session, carried).await {
            Ok(peer) => peer,
            Err(error) => return (false, Some(error)),
        };
        let key = peer.reuse_hash();
        let (stream, reused) = match self.kept.take(key) {
            Some(stream) => (stream, true),
            None => match self.connector.new_stream(&*peer).await {
                Ok(stream) => (stream, false),
                Err(mut error) => {
                    error.as_up();
                    return (false, Some(self.carrier.unreached(session, carried, error).into_up()));
                }
            },
        };
        let mut upstream = Upstream::new_with_options(stream, &*peer);
        match self.carry(session, &mut upstream, &peer, reused, carried).await {
            Ok(again) => {
                upstream.respect_keepalive();
                let keeps = peer.options.idle_timeout.is_some_and(|idle| idle >= IDLE);
                if let Some(stream) = upstream.reuse().await.filter(|_| keeps) {
                    self.kept.put(key, stream);
                }
                (again, None)
            }
            Err(error) => (false, Some(self.carrier.broke(session, error, carried, reused))),
        }
    }

    /// Sends the head, and passes on the answer. Whether the client's connection can go on.
    async fn carry(
        &self,
        session: &mut Session,
        upstream: &mut Upstream,
        peer: &HttpPeer,
        reused: bool,
        carried: &mut Box<Carried>,
    ) -> Result<bool> {
        let carrier = &self.carrier;
        carrier.connected(reused, carried);
        upstream.read_timeout = peer.options.read_timeout;
        upstream.write_timeout = peer.options.write_timeout;
        let mut head = copied(session.req_header());
        hops::strip(&mut head).map_err(Error::into_down)?;
        carrier.send(session, &mut head, carried)?;
        upstream.write_request_header(Box::new(head)).await.map_err(Error::into_up)?;
        carrier.pass(&mut None, true, carried)?;
        upstream.finish_body().await.map_err(Error::into_up)?;
        loop {
            let task = tokio::select! {
                biased;
                task = upstream.read_response_task() => task.map_err(Error::into_up)?,
                left = session.downstream_session.read_body_or_idle(true) => {
                    left.map_err(Error::into_down)?;
                    continue;
                }
            };
            let task = self.filter(session, task, carried).await?;
            if session.response_duplex_vec(vec![task]).await? {
                break;
            }
        }
        Ok(session.finish_body().await.is_ok())
    }

    /// Has a piece of the answer seen by all phases.
    async fn filter(&self, session: &mut Session, task: HttpTask, carried: &mut Box<Carried>) -> Result<HttpTask> {
        let carrier = &self.carrier;
        match task {
            HttpTask::Header(mut head, end) => {
                carrier.answered(session, &mut head, carried).await?;
                if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
                    return Err(Error::explain(ErrorType::InvalidHTTPHeader, "nobody asked for another protocol").into_up());
                }
                let bodiless = session.req_header().method == Method::HEAD || matches!(head.status.as_u16(), 100..=199 | 204 | 304);
                let framed = head.headers.contains_key(header::TRANSFER_ENCODING) || head.headers.contains_key(header::CONTENT_LENGTH);
                if !bodiless && !framed && !end {
                    // It ends with the upstream's connection; the client's goes on.
                    head.set_version(Version::HTTP_11);
                    head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
                }
                carrier.reply(session, &mut head, carried)?;
                Ok(HttpTask::Header(head, end))
            }
            HttpTask::Body(mut piece, end) => {
                carrier.answering(piece.as_ref(), end, carried);
                plugins::packed(carried, &mut piece, end);
                Ok(HttpTask::Body(piece, end))
            }
            task => Ok(task),
        }
    }
}

/// The client's connection, for its next request.
async fn reuse(session: Session) -> Option<ReusedHttpStream> {
    let settings = HttpPersistentSettings::for_session(&session);
    let reusable = session.downstream_session.finish().await.ok().flatten()?;
    Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
}

/// The head for the upstream: without the spelling of its names, which means nothing and would be kept a second time.
fn copied(head: &RequestHeader) -> RequestHeader {
    let target = head.uri.path_and_query().map_or(&b""[..], |target| target.as_str().as_bytes());
    match head.raw_path() == target {
        true => RequestHeader::from(head.as_owned_parts()),
        // One that is no URI goes as it came.
        false => head.clone(),
    }
}
