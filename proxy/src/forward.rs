//! The head as an upstream gets it: path, cookies, identity, and the forwarding headers, which are set here and not
//! believed from strangers. What speaks of one connection is taken out before (`hops`, or pingora).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use ficus_rules::claims::Claim;
use ficus_rules::route::Request as _;
use ficus_rules::{Side, Timestamp, marker};
use http::{HeaderName, HeaderValue, Uri, header};
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{GetSocketDigest, SocketDigest, Ssl};
use pingora::proxy::Session;

use crate::admission::ANONYMOUS_COOKIE;
use crate::asked::Asked;
use crate::carried::Carried;
use crate::client::Client;
use crate::gateway::Inner;
use crate::identity::User;
use crate::plugins::{self, Headers};
use crate::tls::ClientCertificate;
use crate::transport;

/// Names of headers that are said here, made once.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const MARKER: HeaderName = HeaderName::from_static(marker::HEADER);
const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-ficus-original-path");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACE_STATE: HeaderName = HeaderName::from_static("tracestate");

/// Those of a capability that names none.
static NO_CLAIMS: BTreeMap<String, Claim> = BTreeMap::new();

/// What the connection says about a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    /// Where it comes from; `None`: from this machine, through a Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// Whether its forwarding headers are believed.
    pub(crate) trusted: bool,
    /// What an upstream is told of it.
    said: Option<Arc<Said>>,
    /// It is encrypted.
    pub(crate) tls: bool,
    /// What the client's certificate says.
    certificate: Option<Arc<ClientCertificate>>,
}

/// What an upstream is told of a connection: the same with every request on it.
#[derive(Debug)]
struct Said {
    /// The address that it comes from.
    address: Option<HeaderValue>,
    /// The port that it arrived at.
    port: Option<HeaderValue>,
}

impl Peer {
    /// Whether its client has shown a certificate.
    pub(crate) fn is_certified(&self) -> bool {
        self.certificate.is_some()
    }

    /// Reads the connection of a session.
    pub(crate) fn of(gateway: &Inner, session: &Session) -> Peer {
        let digest = session.digest();
        Peer::known(
            gateway,
            digest.and_then(|digest| digest.socket_digest.as_deref()),
            digest.and_then(|digest| digest.ssl_digest.as_deref()),
        )
    }

    /// Reads a connection.
    pub(crate) fn at(gateway: &Inner, connection: &(impl GetSocketDigest + Ssl)) -> Peer {
        Peer::known(gateway, connection.get_socket_digest().as_deref(), connection.get_ssl_digest().as_deref())
    }

    fn known(gateway: &Inner, socket: Option<&SocketDigest>, tls: Option<&SslDigest>) -> Peer {
        let address = socket.and_then(|socket| Some(socket.peer_addr()?.as_inet()?.ip().to_canonical()));
        let port = socket.and_then(|socket| Some(socket.local_addr()?.as_inet()?.port()));
        let trusted = address.map_or(gateway.trusts_local, |address| gateway.trusts(address));
        let certificate = tls.and_then(|tls| tls.extension.get::<Arc<ClientCertificate>>().cloned());
        let text = address.and_then(|address| HeaderValue::try_from(address.to_string()).ok());
        let said = Some(Arc::new(Said { address: text, port: port.map(HeaderValue::from) }));
        Peer { address, trusted, said, tls: tls.is_some(), certificate }
    }

    /// The address that a request comes from: the connection's or, of those that trusted proxies name, the last one that is
    /// none of theirs. `None`: from this machine, as far as anybody says.
    pub(crate) fn client(&self, gateway: &Inner, asked: &Asked) -> Option<IpAddr> {
        let lines = asked.headers().get_all("x-forwarded-for").iter().rev().filter_map(|line| line.to_str().ok());
        let hops = lines.flat_map(|line| line.rsplit(',')).map(str::trim).filter(|hop| !hop.is_empty());
        // What cannot be read was said by the one before it, whom nobody has to believe.
        let mut hops = hops.map_while(address);
        let mut client = self.address;
        while client.map_or(gateway.trusts_local, |address| gateway.trusts(address))
            && let Some(before) = hops.next()
        {
            client = Some(before);
        }
        client
    }

    /// The address that it comes from, as it is told.
    fn told(&self) -> Option<&HeaderValue> {
        self.said.as_ref()?.address.as_ref()
    }

    /// The text of an address, which is mostly the connection's.
    pub(crate) fn text(&self, address: IpAddr) -> Cow<'_, str> {
        let own = self.told().filter(|_| self.address == Some(address)).and_then(|told| told.to_str().ok());
        own.map_or_else(|| address.to_string().into(), Cow::Borrowed)
    }

    /// The address that a request began at: the first that the upstream is told.
    pub(crate) fn origin(&self, asked: &Asked) -> Option<String> {
        let said = asked.header("x-forwarded-for").filter(|_| self.trusted);
        let first = said.and_then(|line| line.split(',').map(str::trim).find(|hop| !hop.is_empty()));
        first.map(ToOwned::to_owned).or_else(|| self.address.map(|address| address.to_string()))
    }
}

/// The address of a hop. Some proxies say its port as well.
fn address(hop: &str) -> Option<IpAddr> {
    let alone = || hop.trim_matches(['[', ']']).parse().ok();
    let address = alone().or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

/// Prepares the head for the upstream that was chosen. The target that it gets, if it is another.
pub(crate) fn prepare(
    gateway: &Inner,
    session: &Client<'_>,
    carried: &Carried,
    headers: &mut impl Headers,
) -> pingora::Result<Option<Uri>> {
    let upstream = carried.upstream(&gateway.config.default_upstream);
    if carried.side == Side::Modern {
        headers.insert(ORIGINAL_PATH, valid(session.head().uri.path())?);
    }
    let other = carried.decision.as_ref().and_then(|decision| decision.upstream_path.as_deref()).filter(|_| carried.side == Side::Modern);
    let target = plugins::target(carried, carried.side, other, session.head().uri.path()).map(|target| parsed(&target)).transpose()?;
    let user = carried.login.as_ref().and_then(|login| login.user());
    plugins::on_the_way_there(carried, headers);
    for name in hearsay(&carried.peer, &carried.asked) {
        headers.take(name);
    }
    let mut set = |name: HeaderName, value: Option<HeaderValue>| match value {
        Some(value) => headers.insert(name, value),
        None => headers.take(&name),
    };
    let claims = carried.capability().and_then(|name| carried.snapshot.rules.capabilities.get(name)).map(|capability| &capability.claims);
    let user = user.map(|user| (user, claims.unwrap_or(&NO_CLAIMS)));
    identify(gateway, &carried.asked, user, carried.side, upstream, &mut set);
    forwarded(&carried.peer, &carried.asked, &mut set);
    headers.insert(REQUEST_ID, valid(&carried.request_id)?);
    let span = carried.timings.last.map_or(carried.trace.span, |last| last.span);
    headers.insert(TRACE_PARENT, valid(&carried.trace.header(span))?);
    if carried.trace.parent.is_none() {
        // It belongs to a trace that is not continued.
        headers.take(&TRACE_STATE);
    }
    if headers.map().get(header::HOST).is_none_or(HeaderValue::is_empty) {
        // HTTP/1.0 does without; what goes there does not (RFC 9112, 3.2).
        headers.insert(header::HOST, valid(server(carried))?);
    }
    if carried.decided(|decision| decision.write) && !gateway.transports.multiplexes(upstream) {
        // See `upstream`: no write travels on a connection that the upstream may be closing at this moment.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(target)
}

/// The host of a request that names none: the server that gets it.
fn server(carried: &Carried) -> &str {
    let authority = carried.lease.as_ref().map(|lease| &**lease.instance().authority());
    authority.filter(|authority| transport::unix(authority).is_none()).unwrap_or("localhost")
}

fn valid(value: &str) -> pingora::Result<HeaderValue> {
    let failed = |error| pingora::Error::because(pingora::ErrorType::InvalidHTTPHeader, "a header of our own", error);
    HeaderValue::from_str(value).map_err(failed)
}

fn parsed(target: &str) -> pingora::Result<http::Uri> {
    let failed = |error| pingora::Error::because(pingora::ErrorType::InternalError, "rewriting the path", error);
    target.parse::<http::Uri>().map_err(failed)
}

/// Says who calls, in the way that a side understands: legacy reads its own session cookie, modern gets a token and
/// never sees that cookie. Changes are handed to `set`; `None` takes a header out.
pub(crate) fn identify(
    gateway: &Inner,
    asked: &Asked,
    user: Option<(&Arc<User>, &BTreeMap<String, Claim>)>,
    side: Side,
    upstream: &str,
    mut set: impl FnMut(HeaderName, Option<HeaderValue>),
) {
    let of_session = |name: &str| side == Side::Modern && gateway.callers.hides(name);
    let hidden = |name: &str| name == marker::COOKIE || name == ANONYMOUS_COOKIE || of_session(name);
    set(MARKER, None);
    // What modern gets is always put together anew. So are several lines, which servers join in different ways.
    let several = asked.headers().get_all(header::COOKIE).iter().count() > 1;
    if side == Side::Modern || several || asked.cookies.iter().any(|cookie| hidden(&cookie.name)) {
        let kept = asked.cookies.iter().filter(|cookie| !hidden(&cookie.name)).map(|cookie| cookie.pair.as_slice());
        let kept = kept.collect::<Vec<_>>().join(&b"; "[..]);
        set(header::COOKIE, HeaderValue::from_bytes(&kept).ok().filter(|_| !kept.is_empty()));
    }
    if side == Side::Modern {
        let token = user.map(|(user, claims)| gateway.tokens.of(user, upstream, claims, Timestamp::from(SystemTime::now())));
        let bearer = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let bearer = bearer.map(|mut bearer| {
            bearer.set_sensitive(true);
            bearer
        });
        set(header::AUTHORIZATION, bearer);
    }
}

/// What must not pass of what was said before us of where a request comes from: nothing of strangers, and of trusted proxies what
/// is told in our way.
pub(crate) fn hearsay<'a>(peer: &Peer, asked: &'a Asked) -> impl Iterator<Item = &'a header::HeaderName> + use<'a> {
    let trusted = peer.trusted;
    asked.headers().keys().filter(move |name| says_whence(name.as_str(), trusted))
}

/// Says where a request comes from, instead of [`hearsay`]. What a trusted proxy said is kept and added to. What is said is handed
/// to `set`; `None` takes a header out.
pub(crate) fn forwarded(peer: &Peer, asked: &Asked, mut set: impl FnMut(HeaderName, Option<HeaderValue>)) {
    let brought = asked.headers();
    let kept = |name: HeaderName| brought.get(name).filter(|_| peer.trusted).cloned();
    let hops = match peer.told().filter(|_| !peer.trusted) {
        Some(told) => Some(told.clone()),
        None => hops(peer, asked),
    };
    let proto = kept(FORWARDED_PROTO).unwrap_or(HeaderValue::from_static(if peer.tls { "https" } else { "http" }));
    let host = kept(FORWARDED_HOST).or_else(|| brought.get(header::HOST).cloned());
    let port = kept(FORWARDED_PORT).or_else(|| asked.port.map(HeaderValue::from)).or_else(|| peer.said.as_ref()?.port.clone());
    let said = [(FORWARDED_FOR, hops), (FORWARDED_PROTO, Some(proto)), (FORWARDED_HOST, host), (FORWARDED_PORT, port)];
    for (name, value) in said {
        set(name, value);
    }
    if let Some(certificate) = &peer.certificate {
        shown(certificate, set);
    }
}

/// The addresses that a request came by: those that a trusted proxy names, and its own.
fn hops(peer: &Peer, asked: &Asked) -> Option<HeaderValue> {
    let mut hops = String::new();
    if peer.trusted {
        let lines = asked.headers().get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
        for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
            hops.push_str(line);
            hops.push_str(", ");
        }
    }
    match peer.address {
        Some(address) => _ = write!(hops, "{address}"),
        None => hops.truncate(hops.trim_end_matches(", ").len()),
    }
    Some(hops).filter(|hops| !hops.is_empty()).and_then(|hops| HeaderValue::try_from(hops).ok())
}

/// Tells whose certificate the client showed. No client can send headers of these names: they begin like ours.
fn shown(certificate: &ClientCertificate, mut set: impl FnMut(HeaderName, Option<HeaderValue>)) {
    let names = certificate.names.join(", ");
    let said = [
        (HeaderName::from_static("x-ficus-client-subject"), certificate.subject.as_str()),
        (HeaderName::from_static("x-ficus-client-names"), &names),
        (HeaderName::from_static("x-ficus-client-sha256"), &certificate.fingerprint),
    ];
    for (name, value) in said {
        set(name, HeaderValue::from_str(value).ok().filter(|value| !value.is_empty()));
    }
}

/// Families of headers by which proxies tell of a connection, and of the certificate that was shown on it.
const OF_PROXIES: [&str; 4] = ["x-forwarded-", "ssl-client-", "x-ssl-client-", "x-client-cert"];

/// What proxies tell servers about a client, besides `X-Forwarded-*`: where it comes from, how, and which path it meant.
const STRANGERS_DO_NOT_SAY: [&str; 14] = [
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "front-end-https",
    "x-scheme",
    "x-url-scheme",
    "x-host",
    "x-original-url",
    "x-rewrite-url",
];

/// Whether a header that tells of hops before us must go. We say the scheme in one way; a trusted proxy's other ways of
/// saying it could only contradict (gunicorn answers 400 then).
fn says_whence(name: &str, trusted: bool) -> bool {
    match trusted {
        true => matches!(name, "forwarded" | "x-forwarded-ssl" | "x-forwarded-protocol"),
        false => OF_PROXIES.iter().any(|start| name.starts_with(start)) || STRANGERS_DO_NOT_SAY.contains(&name),
    }
}

/// The request's id: that of a trusted peer when it is sane; of all others `new`.
pub(crate) fn request_id(peer: &Peer, asked: &Asked, new: uuid::Uuid) -> String {
    let sane = |id: &&str| (8..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    asked
        .header("x-request-id")
        .filter(|_| peer.trusted)
        .filter(sane)
        .map_or_else(|| new.hyphenated().encode_lower(&mut [0; uuid::fmt::Hyphenated::LENGTH]).to_owned(), ToOwned::to_owned)
}

/// Whether the client used https: as a trusted proxy says, or as the connection is.
pub(crate) fn is_https(peer: &Peer, asked: &Asked) -> bool {
    let said = asked.header("x-forwarded-proto").filter(|_| peer.trusted);
    said.map_or(peer.tls, |proto| proto.split(',').next().unwrap_or_default().trim().eq_ignore_ascii_case("https"))
}
