//! What pingora's proxy asks of us, in its words.

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};

use super::Carrier;
use crate::carried::Carried;
use crate::client::Client;
use crate::harden::Guard;
use crate::plugins;

/// Nothing waits here before a piece of a body goes on.
type Delay = Option<std::time::Duration>;

#[async_trait]
impl ProxyHttp for Carrier {
    // In a box, because pingora moves it about.
    type CTX = Box<Carried>;

    fn new_ctx(&self) -> Box<Carried> {
        self.request()
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, carried: &mut Self::CTX) -> Result<bool> {
        if let Some(begun) = Guard::of(session).and_then(Guard::begun) {
            *session.req_header_mut() = begun.head;
            *carried = begun.carried;
            Client::Any(session).set_deadlines(self.0.limits.send_within);
            return Ok(false);
        }
        self.begin(&mut Client::Any(session), carried).await
    }

    async fn upstream_peer(&self, session: &mut Session, carried: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        match carried.chosen.take() {
            Some(chosen) => Ok(chosen),
            None => self.choose(&mut Client::Any(session), carried).await,
        }
    }

    fn fail_to_connect(&self, session: &mut Session, _peer: &HttpPeer, carried: &mut Self::CTX, e: Box<Error>) -> Box<Error> {
        self.unreached(&mut Client::Any(session), carried, e)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        carried: &mut Self::CTX,
    ) -> Result<()> {
        self.connected(reused, carried);
        Ok(())
    }

    async fn upstream_request_filter(&self, session: &mut Session, head: &mut RequestHeader, carried: &mut Self::CTX) -> Result<()> {
        if let Some(target) = self.send(&mut Client::Any(session), head, carried)? {
            head.set_uri(target);
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        carried: &mut Self::CTX,
    ) -> Result<()> {
        self.pass(body, end, carried)
    }

    async fn upstream_response_filter(&self, session: &mut Session, head: &mut ResponseHeader, carried: &mut Self::CTX) -> Result<()> {
        self.answered(&mut Client::Any(session), head, carried).await
    }

    fn upstream_response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        carried: &mut Self::CTX,
    ) -> Result<Delay> {
        self.answering(body.as_ref(), end, carried);
        Ok(None)
    }

    async fn response_filter(&self, session: &mut Session, head: &mut ResponseHeader, carried: &mut Self::CTX) -> Result<()> {
        self.reply(&Client::Any(session), head, carried)
    }

    fn response_body_filter(&self, _session: &mut Session, body: &mut Option<Bytes>, end: bool, carried: &mut Self::CTX) -> Result<Delay> {
        plugins::packed(carried, body, end);
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut HeaderMap,
        carried: &mut Self::CTX,
    ) -> Result<Option<Bytes>> {
        Ok(plugins::packed_rest(carried))
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        e: Box<Error>,
        carried: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        self.broke(&mut Client::Any(session), e, carried, reused)
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, carried: &mut Self::CTX) -> FailToProxy {
        FailToProxy { error_code: self.fail(&mut Client::Any(session), e, carried).await, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, e: Option<&Error>, carried: &mut Self::CTX) {
        self.end(&Client::Any(session), e, carried);
    }

    fn suppress_error_log(&self, _session: &Session, _carried: &Self::CTX, _e: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _session: &Session, _carried: &Self::CTX, _e: &Error, _context: ProxyWarnLogContext) -> bool {
        true
    }

    fn request_summary(&self, _session: &Session, carried: &Self::CTX) -> String {
        format!("{} {}, request {}", carried.asked.method, carried.asked.path, carried.request_id)
    }
}
