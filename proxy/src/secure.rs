//! https alone: where a listener says so, clients are led there, and answers over TLS tell browsers to stay there
//! (`Strict-Transport-Security`). Does not end TLS.

use std::time::Duration;

use http::{Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::GetProxyDigest as _;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::raw_connect::ProxyDigest;

use crate::admission::Stop;
use crate::answer::Refusal;
use crate::carried::Carried;
use crate::client::Client;

/// The port of https that needs no name.
const HTTPS: u16 = 443;

/// What a connection leads to: https, at a port.
struct ToHttps(u16);

/// Leads whatever is asked on a connection to https.
pub(crate) fn mark(socket: &mut Stream, port: u16) {
    if let Ok(head) = ResponseHeader::build(StatusCode::OK, None) {
        // Meant for what a proxy on the way said; the one place for what a connection has to say to its requests.
        socket.set_proxy_digest(ProxyDigest::new(Box::new(head), Some(Box::new(ToHttps(port)))));
    }
}

/// The answer to a request that should have come by https. Not for one that has, as a trusted proxy says.
pub(crate) fn lead(session: &Client<'_>, carried: &Carried) -> Option<Stop> {
    let said = session.mark()?;
    let ToHttps(port) = said.user_data.as_ref()?.downcast_ref()?;
    if carried.https {
        return None;
    }
    let (host, target) = (&carried.asked.host, session.head().uri.path_and_query()?);
    let port = if *port == HTTPS { String::new() } else { format!(":{port}") };
    // Only these may be turned into a GET by who follows.
    let read = carried.asked.method == Method::GET.as_str() || carried.asked.method == Method::HEAD.as_str();
    let status = if read { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
    Some(Stop::Refused(Refusal::elsewhere(status, "to_https", format!("https://{host}{port}{target}"))))
}

/// Tells browsers for how long to use https alone; what the server behind says about it stays.
pub(crate) fn tell(head: &mut ResponseHeader, carried: &Carried, within: Option<Duration>) -> pingora::Result<()> {
    match within {
        Some(within) if carried.https && !head.headers.contains_key(header::STRICT_TRANSPORT_SECURITY) => {
            head.insert_header(header::STRICT_TRANSPORT_SECURITY, format!("max-age={}", within.as_secs()))
        }
        _ => Ok(()),
    }
}
