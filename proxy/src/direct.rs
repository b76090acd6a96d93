//! The everyday request: a read without a body, by HTTP/1.1 from the client and to the upstream. It is carried here, through the
//! phases of [`Carrier`] in pingora's order: `plain` is the client's side of it, `server` the other. What pingora's proxy and its
//! sessions have for everything else (bodies that are streamed both ways, HTTP/2, tunnels, its own cache) costs more than all of
//! our own work. Whatever is not plain is handed to it untouched, and so are answers that are framed in another way than by their
//! length. A request whose upstream turns out to speak HTTP/2 is handed over as far as it has come.

#[cfg(test)]
mod fuzz;
mod kept;
mod plain;
mod replay;
mod server;
mod spelled;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, StatusCode, Version, header, request};
use pingora::apps::{HttpServerApp as _, ReusedHttpStream};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::v1::client::HttpSession as Upstream;
use pingora::protocols::http::{HttpTask, ServerSession};
use pingora::protocols::{ALPN, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::{HttpPeer, Peer as _};
use pingora::{Error, ErrorType, Result};
use tokio::sync::watch;

use crate::carried::Carried;
use crate::carry::Carrier;
use crate::client::Client;
use crate::forward::Peer;
use crate::gateway::Inner;
use crate::harden::{Guard, Next};
use crate::hops;
use crate::plugins;
use crate::upstream::IDLE;

use kept::Kept;
pub(crate) use plain::Plain;
use replay::Replay;
use server::{Alarm, Heard, Server};
use spelled::Spelled;

/// What pingora gives a connection to begin with, in seconds; how long clients may be idle is the guard's business.
const KEEP_ALIVE: u64 = 60;

/// Serves connections by HTTP/1.
pub(crate) struct Direct {
    carrier: Carrier,
    /// Who carries what is not plain.
    proxy: Arc<HttpProxy<Carrier>>,
    connector: TransportConnector,
    kept: Arc<Kept>,
    /// Tries of one request.
    tries: usize,
    /// Clients are told to send nothing more by their connections.
    stops: AtomicBool,
    closing: watch::Sender<bool>,
}

/// A request that has gone through its first phases, and has its peer: what pingora's proxy does next is to send it.
#[derive(Debug)]
pub(crate) struct Begun {
    /// As it is to be sent.
    pub(crate) head: RequestHeader,
    pub(crate) carried: Box<Carried>,
}

impl Direct {
    pub(crate) fn new(gateway: &Arc<Inner>, proxy: Arc<HttpProxy<Carrier>>, conf: &ServerConf) -> Direct {
        Direct {
            carrier: Carrier(gateway.clone()),
            proxy,
            connector: TransportConnector::new(Some(ConnectorOptions::from_server_conf(conf))),
            kept: Arc::new(Kept::new(conf.upstream_keepalive_pool_size)),
            tries: conf.max_retries,
            stops: AtomicBool::new(false),
            closing: watch::Sender::new(false),
        }
    }

    /// Tells clients with their answers that they are the last ones on their connections.
    pub(crate) fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
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
        let (mut peer, mut alarm) = (None, Alarm::default());
        // How many requests may come after this one.
        let mut more = self.proxy.server_options.as_ref().and_then(|options| options.keepalive_request_limit);
        loop {
            let next = tokio::select! {
                biased;
                next = guard.next() => next,
                _ = &mut closed => return,
            };
            let Some(next) = next else { return };
            let plain = match next == Next::Plain {
                true => Plain::read(guard, peer.take()),
                false => Err(guard),
            };
            let answered = match plain {
                Ok(mut plain) => {
                    if more == Some(0) {
                        plain.ends();
                    }
                    self.answer(plain, &mut alarm).await
                }
                Err(guard) => Err(guard),
            };
            let same = match answered {
                Ok(same) => same.map(|(guard, known)| {
                    peer = known;
                    guard
                }),
                Err(guard) => {
                    let mut session = ServerSession::new_http1(guard);
                    session.set_keepalive(Some(KEEP_ALIVE).filter(|_| !*shutdown.borrow()));
                    session.set_keepalive_reuses_remaining(more);
                    let reused = self.proxy.process_new_http(session, shutdown).await;
                    let stream = reused.map(|reused| ReusedHttpStream::consume(reused).0);
                    stream.and_then(|stream| stream.into_any().downcast::<Guard>().ok())
                }
            };
            let Some(same) = same else { return };
            guard = same;
            more = more.map(|more| more.saturating_sub(1));
        }
    }

    /// Answers one request. Its connection, if another one may come by it; as an error, if pingora is to answer it.
    async fn answer(&self, mut plain: Plain, alarm: &mut Alarm) -> Result<Option<(Box<Guard>, Option<Peer>)>, Box<Guard>> {
        let mut carried = self.carrier.request();
        let (carrier, client) = (&self.carrier, &mut plain);
        self.look(client);
        match carrier.begin(&mut Client::Plain(client), &mut carried).await {
            Ok(true) => {
                carrier.end(&Client::Plain(client), None, &mut carried);
                return Ok(plain.reuse().await);
            }
            Ok(false) => client.remember(&carried.peer),
            Err(error) => {
                carrier.fail(&mut Client::Plain(client), &error, &mut carried).await;
                carrier.end(&Client::Plain(client), Some(&error), &mut carried);
                return Ok(None);
            }
        }
        let (mut again, mut failed) = (false, None);
        for _ in 0..self.tries {
            (again, failed) = match carrier.choose(&mut Client::Plain(client), &mut carried).await {
                Ok(peer) if peer.get_alpn() == Some(&ALPN::H2) => {
                    carried.chosen = Some(peer);
                    return Err(plain.hand_over(carried));
                }
                Ok(peer) => self.attempt(client, &peer, &mut carried, alarm).await,
                Err(error) => (false, Some(error)),
            };
            if !failed.as_ref().is_some_and(|error| error.retry()) {
                break;
            }
        }
        if let Some(error) = &failed {
            carrier.fail(&mut Client::Plain(client), error, &mut carried).await;
        }
        carrier.end(&Client::Plain(client), failed.as_deref(), &mut carried);
        Ok(if again { plain.reuse().await } else { None })
    }

    /// Has its answer say that no other request should come, if that is so.
    fn look(&self, client: &mut Plain) {
        if self.stops.load(Ordering::Relaxed) {
            client.ends();
        }
    }

    /// Sends it to one upstream. Whether the client's connection can go on; and what failed.
    async fn attempt(
        &self,
        client: &mut Plain,
        peer: &HttpPeer,
        carried: &mut Box<Carried>,
        alarm: &mut Alarm,
    ) -> (bool, Option<Box<Error>>) {
        let key = peer.reuse_hash();
        let (stream, reused) = match self.kept.take(key) {
            Some(stream) => (stream, true),
            None => match self.connector.new_stream(peer).await {
                Ok(stream) => (stream, false),
                Err(mut error) => {
                    error.as_up();
                    return (false, Some(self.carrier.unreached(&mut Client::Plain(client), carried, error).into_up()));
                }
            },
        };
        let server = Server::new(stream, peer.options.read_timeout, alarm);
        match self.carry(client, server, peer, reused, carried).await {
            Ok((again, stream)) => {
                let keeps = peer.options.idle_timeout.is_some_and(|idle| idle >= IDLE);
                if let Some(stream) = stream.filter(|_| keeps) {
                    self.kept.put(key, stream);
                }
                (again, None)
            }
            Err(error) => (false, Some(self.carrier.broke(&mut Client::Plain(client), error, carried, reused))),
        }
    }

    /// Sends the head, and passes on the answer. Whether the client's connection can go on; and the server's, if it can.
    async fn carry(
        &self,
        client: &mut Plain,
        mut server: Server<'_>,
        peer: &HttpPeer,
        reused: bool,
        carried: &mut Box<Carried>,
    ) -> Result<(bool, Option<Stream>)> {
        let carrier = &self.carrier;
        carrier.connected(reused, carried);
        let mut head = client.take_head(&carried.asked);
        hops::strip(&mut head.headers).map_err(Error::into_down)?;
        if let Some(target) = carrier.send(&mut Client::Plain(client), &mut head.headers, carried)? {
            head.uri = target;
        }
        server.ask(&head).await.map_err(Error::into_up)?;
        carrier.pass(&mut None, true, carried)?;
        let (mut answer, spelled, ends) = match server.hear(&head.method, client).await? {
            Heard::Answer { head, spelled, ends, .. } => (head, spelled, ends),
            Heard::Other(before) => return Box::pin(self.by_pingora(client, server.replay(before), &head, peer, carried)).await,
        };
        self.reply(client, &mut answer, ends, carried).await?;
        client.write_head(&answer, &spelled).await?;
        let mut whole = ends;
        while !whole {
            let (piece, last) = server.piece(client).await?;
            whole = self.pass_on(client, Some(piece), last, carried).await?;
        }
        Ok((client.finish().await?, server.reuse().await))
    }

    /// Has pingora read an answer. (Of what was asked it needs to know only what says how long answers are.)
    async fn by_pingora(
        &self,
        client: &mut Plain,
        server: Replay,
        head: &request::Parts,
        peer: &HttpPeer,
        carried: &mut Box<Carried>,
    ) -> Result<(bool, Option<Stream>)> {
        let mut upstream = Upstream::new_with_options(Box::new(server), peer);
        upstream.read_timeout = peer.options.read_timeout;
        let mut asked = RequestHeader::build_no_case(head.method.clone(), b"/", Some(1))?;
        if let Some(connection) = head.headers.get(header::CONNECTION) {
            asked.insert_header(header::CONNECTION, connection)?;
        }
        upstream.write_request_header(Box::new(asked)).await.map_err(Error::into_up)?;
        loop {
            let task = tokio::select! {
                biased;
                task = upstream.read_response_task() => task.map_err(Error::into_up)?,
                left = client.left() => return Err(left),
            };
            let ends = match task {
                HttpTask::Header(mut answer, ends) => {
                    self.reply(client, &mut answer, ends, carried).await?;
                    client.write_head(&answer, &Spelled::default()).await?;
                    ends
                }
                HttpTask::Body(piece, last) => self.pass_on(client, piece, last, carried).await?,
                HttpTask::Failed(error) => return Err(error),
                HttpTask::UpgradedBody(..) | HttpTask::Trailer(_) | HttpTask::Done => true,
            };
            if ends {
                break;
            }
        }
        let again = client.finish().await?;
        upstream.respect_keepalive();
        let stream = upstream.reuse().await.and_then(|stream| stream.into_any().downcast::<Replay>().ok());
        Ok((again, stream.and_then(|stream| stream.into_inner())))
    }

    /// Has the head of an answer seen by all phases. `ends`: nothing comes after it.
    async fn reply(&self, client: &mut Plain, head: &mut ResponseHeader, ends: bool, carried: &mut Box<Carried>) -> Result<()> {
        let carrier = &self.carrier;
        carrier.answered(&mut Client::Plain(client), head, carried).await?;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "nobody asked for another protocol").into_up());
        }
        let bodiless = client.head().method == Method::HEAD || matches!(head.status.as_u16(), 100..=199 | 204 | 304);
        let framed = head.headers.contains_key(header::TRANSFER_ENCODING) || head.headers.contains_key(header::CONTENT_LENGTH);
        if !bodiless && !framed && !ends {
            // It ends with the upstream's connection; the client's goes on.
            head.set_version(Version::HTTP_11);
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        carrier.reply(&Client::Plain(client), head, carried)?;
        self.look(client);
        Ok(())
    }

    /// Passes on a piece of an answer's body, seen by all phases. Whether it was the last one.
    async fn pass_on(&self, client: &mut Plain, mut piece: Option<Bytes>, last: bool, carried: &mut Box<Carried>) -> Result<bool> {
        self.carrier.answering(piece.as_ref(), last, carried);
        plugins::packed(carried, &mut piece, last);
        if let Some(piece) = piece {
            client.write_piece(&piece).await?;
        }
        Ok(last || client.is_whole())
    }
}
