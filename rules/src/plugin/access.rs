//! Who is let in: by address, by name and password, by the size of what is brought; and nobody, while a page says why.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;

use super::{Answer, Asking};
use crate::decide::is_safe;
use crate::network::Network;

/// `ip`: addresses that are let in, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ip {
    /// Only these; empty: everybody.
    pub allow: Vec<Network>,
    /// But not these.
    pub deny: Vec<Network>,
}

impl Ip {
    /// Whether an address is let in. One that nobody knows is where nobody is asked for.
    pub fn lets_in(&self, client: Option<IpAddr>) -> bool {
        let inside = |networks: &[Network]| client.is_some_and(|client| networks.iter().any(|network| network.contains(client)));
        !inside(&self.deny) && (self.allow.is_empty() || inside(&self.allow))
    }

    pub(super) fn answer(&self, asking: &Asking<'_>) -> Option<Answer> {
        (!self.lets_in(asking.client)).then(|| Answer::new(403, "ip", "this page is not served to the address that you come from"))
    }
}

/// `maintenance`: a page instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// What it says.
    pub message: String,
    /// HTML instead, for whoever reads HTML.
    pub page: Option<Arc<str>>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// Reads are served nevertheless.
    pub writes_only: bool,
    /// Who is served nevertheless.
    pub allow: Vec<Network>,
}

impl Maintenance {
    pub(super) fn answer(&self, asking: &Asking<'_>) -> Option<Answer> {
        let served = (self.writes_only && is_safe(asking.request.method()))
            || asking.client.is_some_and(|client| self.allow.iter().any(|network| network.contains(client)));
        if served {
            return None;
        }
        let answer = Answer { page: self.page.clone(), ..Answer::new(503, "maintenance", self.message.clone()) };
        Some(match self.retry_after {
            Some(after) => answer.with("retry-after", after.as_secs().max(1).to_string()),
            None => answer,
        })
    }
}

/// `request_size`: how large a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestSize {
    /// Bytes.
    pub max: u64,
}

impl RequestSize {
    /// A body of which so many bytes are announced, or have arrived.
    pub fn answer(self, bytes: u64) -> Option<Answer> {
        (bytes > self.max)
            .then(|| Answer::new(413, "request_size", format!("what you send is larger than the {} bytes that are taken", self.max)))
    }

    pub(super) fn announced(self, asking: &Asking<'_>) -> Option<Answer> {
        self.answer(asking.request.header("content-length")?.trim().parse().ok()?)
    }
}

/// `basic_auth`: a name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// What the browser shows.
    pub realm: String,
    /// The hash of each name's password.
    pub users: BTreeMap<String, PasswordHash>,
}

/// The hash of a password, in a form that was checked.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// `$2b$12$…`, as `htpasswd -nB` writes it.
    Bcrypt(String),
    /// `pbkdf2_sha256$1000000$salt$hash`, as Django writes it.
    Pbkdf2 {
        /// How often it is hashed.
        rounds: u32,
        /// The salt.
        salt: String,
        /// The hash itself.
        hash: [u8; 32],
    },
}

/// A hash is not printed either.
impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PasswordHash::Bcrypt(_) => "bcrypt",
            PasswordHash::Pbkdf2 { .. } => "pbkdf2_sha256",
        })
    }
}

/// More rounds take a processor for longer than a second.
const MOST_ROUNDS: u32 = 5_000_000;

impl PasswordHash {
    /// Reads one.
    ///
    /// # Errors
    /// What it should look like; never what it is.
    pub fn parse(text: &str) -> Result<PasswordHash, &'static str> {
        if let Some(rest) = text.strip_prefix("pbkdf2_sha256$") {
            let wrong = "a hash of Django is `pbkdf2_sha256$ROUNDS$SALT$HASH`";
            let [rounds, salt, hash] = rest.split('$').collect::<Vec<_>>()[..] else { return Err(wrong) };
            let rounds = rounds.parse().ok().filter(|rounds| (1..=MOST_ROUNDS).contains(rounds)).ok_or(wrong)?;
            let hash = base64::engine::general_purpose::STANDARD.decode(hash).ok().and_then(|hash| hash.try_into().ok()).ok_or(wrong)?;
            return Ok(PasswordHash::Pbkdf2 { rounds, salt: salt.to_owned(), hash });
        }
        let bcrypt = ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|prefix| text.starts_with(prefix));
        let cost = text.get(4..6).and_then(|cost| cost.parse::<u8>().ok()).filter(|cost| (4..=14).contains(cost));
        let rest = text.get(7..).unwrap_or_default();
        let in_alphabet = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/');
        match bcrypt && cost.is_some() && text.get(6..7) == Some("$") && rest.len() == 53 && in_alphabet {
            true => Ok(PasswordHash::Bcrypt(text.to_owned())),
            false => {
                Err("a hash begins with `$2b$` (bcrypt, with a cost of 4 to 14) or `pbkdf2_sha256$`; a password itself must not stand here")
            }
        }
    }
}

impl BasicAuth {
    /// The answer to whoever brings no name and password, or wrong ones.
    pub fn denied(&self) -> Answer {
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", self.realm);
        Answer::new(401, "basic_auth", "a name and a password are asked for here").with("www-authenticate", challenge)
    }
}

/// Name and password of an `Authorization` header (RFC 7617).
pub fn credentials(header: Option<&str>) -> Option<(String, String)> {
    let (scheme, coded) = header?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(coded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}
