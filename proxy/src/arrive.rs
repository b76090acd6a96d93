//! A new connection: the place that it takes, the hands that it shakes, and which guard watches what it says.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pingora::apps::ServerApp as _;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{ALPN, Ssl as _, Stream};
use pingora::proxy::HttpProxy;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{mpsc, watch};

use crate::announced;
use crate::carry::Carrier;
use crate::direct::Direct;
use crate::gateway::Inner;
use crate::harden::{Guard, Multiplexed, PREFACE, Place, Places};
use crate::secure;
use crate::tunnel::Tunnel;

/// What the connections of one listener get.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) gateway: Arc<Inner>,
    pub(crate) direct: Arc<Direct>,
    pub(crate) proxy: Arc<HttpProxy<Carrier>>,
    pub(crate) places: Arc<Places>,
    /// The listener, by its place in the configuration.
    pub(crate) listener: usize,
    /// Each connection holds a sender: when all are gone, nothing is under way.
    pub(crate) under_way: mpsc::Sender<()>,
}

impl Door {
    /// Serves a connection in a task of its own, if there is a place for it.
    pub(crate) fn admit(&self, socket: Socket, peer: Option<SocketAddr>, shutdown: &watch::Receiver<bool>) {
        let address = peer.map(|peer| peer.ip().to_canonical());
        let announces = self.gateway.announcers[self.listener].include(address);
        // Many clients come from a load balancer's address, and each is counted once it is known.
        let Some(place) = Places::take(&self.places, address.filter(|_| !announces).and_then(|address| self.counted(address))) else {
            return;
        };
        let (door, shutdown) = (self.clone(), shutdown.clone());
        tokio::spawn(async move { door.serve(socket, place, announces, shutdown).await });
    }

    fn counted(&self, address: IpAddr) -> Option<IpAddr> {
        Some(address).filter(|address| !self.gateway.trusts(*address))
    }

    async fn serve(self, socket: Socket, mut place: Place, announces: bool, shutdown: watch::Receiver<bool>) {
        let within = self.gateway.limits.head_within;
        // In a box, which most connections do not need for long.
        let shaken = Box::pin(self.shake(socket, announces, &mut place));
        match tokio::time::timeout(within, shaken).await.ok().flatten() {
            Some((stream, Speaks::One)) => {
                let tunnel = Arc::new(Tunnel::default());
                let guard = Guard::new(stream, self.gateway.limits.clone(), tunnel.clone());
                self.direct.serve(guard, &shutdown).await;
                if let Some(open) = tunnel.take() {
                    tokio::spawn(open.carry(self.gateway, (place, self.under_way)));
                    return;
                }
            }
            Some((stream, Speaks::Two)) => Box::pin(self.multiplex(stream, shutdown)).await,
            None => {}
        }
        drop((place, self.under_way));
    }

    /// Serves HTTP/2, until the client or the gateway ends, or there were enough requests.
    async fn multiplex(&self, stream: Stream, mut shutdown: watch::Receiver<bool>) {
        let (enough, ending) = watch::channel(*shutdown.borrow());
        let guard = Multiplexed::new(stream, self.gateway.limits.clone(), enough.clone());
        let served = self.proxy.process_new(Box::new(guard), &ending);
        tokio::pin!(served);
        tokio::select! {
            _ = &mut served => return,
            _ = shutdown.wait_for(|stop| *stop) => {}
        }
        let _ = enough.send(true);
        served.await;
    }

    /// Hears for whom the peer connects, ends TLS, if the listener speaks it, and finds out what is spoken inside.
    async fn shake(&self, mut socket: Socket, announces: bool, place: &mut Place) -> Option<(Stream, Speaks)> {
        if announces {
            let announced = announced::read(&mut socket).await;
            let client = announced.inspect_err(|why| tracing::debug!(why, "no announcement")).ok()?;
            if let Some(client) = client.and_then(|client| self.counted(client)) {
                *place = Places::take(&self.places, Some(client))?;
            }
        }
        if let Some(acceptor) = self.gateway.tls.acceptor(self.listener) {
            let shaken = acceptor.tls_handshake(socket).await;
            let stream = shaken.inspect_err(|error| tracing::debug!(error = error.etype().as_str(), "no handshake")).ok()?;
            let speaks = if stream.selected_alpn_proto() == Some(ALPN::H2) { Speaks::Two } else { Speaks::One };
            return Some((Box::new(stream), speaks));
        }
        let listener = &self.gateway.config.listeners[self.listener];
        if let Some(port) = listener.to_https {
            secure::mark(&mut socket, port);
        }
        let speaks = if listener.http2 { prior_knowledge(&mut socket).await? } else { Speaks::One };
        Some((Box::new(socket), speaks))
    }
}

/// The version of HTTP on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    One,
    Two,
}

/// What a client begins with: the preface of HTTP/2 looks like no request of HTTP/1. `None`: with nothing, or not in time.
async fn prior_knowledge(socket: &mut Socket) -> Option<Speaks> {
    let (mut begins, mut have) = ([0; PREFACE.len()], 0);
    let speaks = loop {
        let count = socket.read(&mut begins[have..]).await.ok().filter(|count| *count > 0)?;
        have += count;
        if begins[..have] != PREFACE[..have] {
            break Speaks::One;
        }
        if have == PREFACE.len() {
            break Speaks::Two;
        }
    };
    socket.rewind(&begins[..have]);
    Some(speaks)
}
