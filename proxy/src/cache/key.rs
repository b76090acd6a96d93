//! Which questions are the same: what an upstream sees of a request besides the headers that its `Vary` would name.

use ficus_rules::decide::ANONYMOUS_COOKIE;
use ficus_rules::route::Request as _;
use ficus_rules::{Side, marker};
use http::{HeaderMap, HeaderName, header, request};
use pingora::http::RequestHeader;
use sha2::{Digest as _, Sha256};

use crate::carried::Carried;
use crate::forward;
use crate::identity::Identity;
use crate::plugins::Met;

/// The name of a question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    capability: String,
    /// What was published when it was decided.
    generation: u64,
    /// How often the capability's answers had been forgotten.
    touched: u64,
    side: Side,
    /// Scheme, host and target, as the upstream would put an address together.
    url: String,
    /// Whose answer it is; `None`: a stranger's, like any other's.
    caller: Option<[u8; 32]>,
    /// It is one caller's alone, not that of all whom a limit counts together.
    private: bool,
}

impl Key {
    /// The question of a request, and what of it `Vary` may name. `None`: its answer is neither kept nor taken from there.
    /// `known_by`: headers that say who calls.
    pub(super) fn of(carried: &Carried, head: &RequestHeader, known_by: &[String], touched: u64) -> Option<(Key, request::Parts)> {
        let asked = &carried.asked;
        let headers = asked.headers();
        let body = headers.contains_key(header::TRANSFER_ENCODING) || asked.header("content-length").is_some_and(|length| length != "0");
        // Plugins make another question of it, by headers that no `Vary` of a server's names.
        let changed = carried.met.as_ref().is_some_and(Met::changes_requests);
        let special =
            changed || carried.peer.is_certified() || carried.upgrades || carried.streams || headers.contains_key(header::RANGE) || body;
        if asked.method != "GET"
            || special
            || super::refuses(carried)
            || carried.login.as_ref().is_some_and(|login| matches!(login.identity, Identity::Unknown))
        {
            return None;
        }
        // As it is spelled: two spellings of one path are two questions to a server.
        let target = head.uri.path_and_query()?.as_str();
        // What the headers say that are made here: they stand in no `Vary`.
        let mut url = target.to_owned();
        forward::forwarded(&carried.peer, asked, |name, value| {
            if let Some(value) = value.filter(|_| name != "x-forwarded-for") {
                url.push(' ');
                url.push_str(&String::from_utf8_lossy(value.as_bytes()));
            }
        });
        let (caller, private) = caller(carried, known_by);
        let (mut parts, ()) = http::Request::get(target).body(()).ok()?.into_parts();
        parts.headers = public(headers);
        let capability = carried.capability()?.to_owned();
        Some((
            Key { capability, generation: carried.snapshot.published.generation, touched, side: carried.side, url, caller, private },
            parts,
        ))
    }

    /// Whose answers it asks for.
    pub(super) fn capability(&self) -> &str {
        &self.capability
    }

    /// How often the capability's answers had been forgotten.
    pub(super) fn touched(&self) -> u64 {
        self.touched
    }

    /// Whether its answers are one caller's alone.
    pub(super) fn is_private(&self) -> bool {
        self.private
    }

    /// Bytes, about.
    pub(super) fn size(&self) -> usize {
        size_of::<Key>() + self.capability.len() + self.url.len()
    }
}

/// What tells a caller from all others: everything by which a server could tell it. Nothing: it is a stranger. And whether that is
/// more than whom a limit counts it as, which may be many.
fn caller(carried: &Carried, known_by: &[String]) -> (Option<[u8; 32]>, bool) {
    let ours = |name: &str| name == marker::COOKIE || name == ANONYMOUS_COOKIE;
    let mut digest = Sha256::new();
    let mut says = false;
    let mut add = |kind: u8, value: &[u8]| {
        says = true;
        digest.update([kind]);
        digest.update(value.len().to_le_bytes());
        digest.update(value);
    };
    for cookie in carried.asked.cookies.iter().filter(|cookie| !ours(&cookie.name)) {
        add(b'c', &cookie.pair);
    }
    for name in std::iter::once("authorization").chain(known_by.iter().map(String::as_str)) {
        for value in carried.asked.headers().get_all(name) {
            add(b'a', name.as_bytes());
            add(b'v', value.as_bytes());
        }
    }
    // Who a session belongs to may change, or end, while the cookie stays.
    if let Some(user) = carried.login.as_ref().and_then(|login| login.user()) {
        add(b'u', format!("{user:?}").as_bytes());
    }
    let private = says;
    for name in carried.met.as_ref().into_iter().flat_map(Met::known_by) {
        for value in carried.asked.headers().get_all(name) {
            says = true;
            digest.update([b'l']);
            for part in [name.as_bytes(), value.as_bytes()] {
                digest.update(part.len().to_le_bytes());
                digest.update(part);
            }
        }
    }
    (says.then(|| digest.finalize().into()), private)
}

/// The headers that `Vary` may name. Who calls stands in the key.
fn public(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in [header::COOKIE, header::AUTHORIZATION, HeaderName::from_static(marker::HEADER)] {
        kept.remove(name);
    }
    kept
}
