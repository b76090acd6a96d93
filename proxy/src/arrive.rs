//! A new connection: the place that it takes, the hands that it shakes, and which guard watches what it says.

use std::net::SocketAddr;
use std::sync::Arc;

use pingora::apps::ServerApp as _;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{ALPN, Stream};
use pingora::proxy::HttpProxy;
use tokio::sync::{mpsc, watch};

use crate::carry::Carrier;
use crate::config::Listener;
use crate::gateway::Inner;
use crate::harden::{Guard, Place, Places};
use crate::secure;

/// What the connections of one listener get.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) gateway: Arc<Inner>,
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
        let counted = address.filter(|address| !self.gateway.trusts(*address));
        let Some(place) = Places::take(&self.places, counted) else { return };
        let (door, shutdown) = (self.clone(), shutdown.clone());
        tokio::spawn(async move { door.serve(socket, place, shutdown).await });
    }

    async fn serve(self, socket: Socket, place: Place, shutdown: watch::Receiver<bool>) {
        if let Some(stream) = self.shake(socket).await {
            self.proxy.process_new(self.guarded(stream), &shutdown).await;
        }
        drop((place, self.under_way));
    }

    /// Ends TLS, if the listener speaks it. Whoever says nothing is left when a head would have had to be complete.
    async fn shake(&self, mut socket: Socket) -> Option<Stream> {
        let Some(acceptor) = self.gateway.tls.acceptor(self.listener) else {
            if let Some(port) = self.listener().to_https {
                secure::mark(&mut socket, port);
            }
            return Some(Box::new(socket));
        };
        let shaken = tokio::time::timeout(self.gateway.config.limits.head_within, acceptor.tls_handshake(socket)).await;
        match shaken {
            Ok(Ok(stream)) => Some(Box::new(stream)),
            Ok(Err(error)) => {
                tracing::debug!(error = error.etype().as_str(), "no handshake");
                None
            }
            Err(_) => None,
        }
    }

    fn guarded(&self, stream: Stream) -> Stream {
        match stream.selected_alpn_proto() {
            Some(ALPN::H2) => stream,
            _ => Box::new(Guard::new(stream, self.gateway.limits.clone())),
        }
    }

    fn listener(&self) -> &Listener {
        &self.gateway.config.listeners[self.listener]
    }
}
