//! Named tokens and their roles. A secret is kept as its hash only: what is printed or logged of a token holds none.

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Reads: status, journal, differences, metrics.
    Viewer,
    /// Moves capabilities to and fro, pins, switches flags, reads the rules again; all that can be taken back.
    Operator,
    /// Everything, also what can't be taken back.
    Admin,
    /// Asks for feature flags, and nothing else: a monolith, a service.
    Flags,
    /// A gateway or an agent: takes published states and orders, reports, and nothing else.
    Fleet,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 5] = [Role::Viewer, Role::Operator, Role::Admin, Role::Fleet, Role::Flags];

    /// The word in `ficus.toml` and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
            Role::Fleet => "fleet",
            Role::Flags => "flags",
        }
    }

    /// The role of that name.
    pub fn parse(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether whoever has this role may do what asks for `needed`.
    pub fn covers(self, needed: Role) -> bool {
        match needed {
            Role::Viewer => matches!(self, Role::Viewer | Role::Operator | Role::Admin),
            Role::Flags => matches!(self, Role::Flags | Role::Viewer | Role::Operator | Role::Admin),
            Role::Operator | Role::Admin | Role::Fleet => self == Role::Admin || self == needed,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token, without its secret.
#[derive(Clone)]
pub struct Token {
    /// What the journal calls whoever uses it.
    pub name: String,
    /// What it is for.
    pub role: Role,
    digest: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.role)
    }
}

/// The tokens of a listener; none: anybody who reaches it may do everything. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    known: Arc<Vec<Token>>,
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// No token, or none that is known.
    Unknown,
    /// A known token whose role does not cover the call.
    Weaker {
        /// Its name.
        name: String,
        /// Its role.
        role: Role,
    },
}

impl Tokens {
    /// One token of each name, role and secret.
    pub fn new<'a>(tokens: impl IntoIterator<Item = (&'a str, Role, &'a str)>) -> Tokens {
        let token = |(name, role, secret): (&str, Role, &str)| Token { name: name.to_owned(), role, digest: digest(secret) };
        Tokens { known: Arc::new(tokens.into_iter().map(token).collect()) }
    }

    /// Nobody needs one.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The names of two tokens with the same secret, if there are such: nobody could tell who called.
    pub fn twins(&self) -> Option<(&str, &str)> {
        let pairs = self.known.iter().enumerate().flat_map(|(at, one)| self.known[at + 1..].iter().map(move |other| (one, other)));
        pairs.into_iter().find(|(one, other)| one.digest == other.digest).map(|(one, other)| (one.name.as_str(), other.name.as_str()))
    }

    /// The token that a request carries as `Authorization: Bearer …`, if it covers `needed`; `None` where nobody needs one.
    ///
    /// # Errors
    /// It carries none that is known, or one of a weaker role.
    pub fn admit(&self, headers: &HeaderMap, needed: Role) -> Result<Option<&Token>, Denied> {
        if self.is_empty() {
            return Ok(None);
        }
        let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).and_then(|value| value.strip_prefix(b"Bearer "));
        let given = digest(given.unwrap_or_default());
        // Hashes of one length, and all of them compared: time tells neither a prefix nor which token it was.
        let found = self.known.iter().fold(None, |found, token| if bool::from(token.digest.ct_eq(&given)) { Some(token) } else { found });
        match found {
            None => Err(Denied::Unknown),
            Some(token) if token.role.covers(needed) => Ok(Some(token)),
            Some(token) => Err(Denied::Weaker { name: token.name.clone(), role: token.role }),
        }
    }
}

fn digest(secret: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn carrying(value: Option<&'static str>) -> HeaderMap {
        value.map(|value| (header::AUTHORIZATION, HeaderValue::from_static(value))).into_iter().collect()
    }

    #[test]
    fn a_token_is_let_in_by_its_whole_secret_and_its_role() {
        let tokens = Tokens::new([("grafana", Role::Viewer, "look"), ("ada", Role::Operator, "move"), ("gw", Role::Fleet, "carry")]);
        let weaker = |name: &str, role| Err(Denied::Weaker { name: name.to_owned(), role });
        for (given, needed, expected) in [
            (Some("Bearer look"), Role::Viewer, Ok("grafana")),
            (Some("Bearer look"), Role::Operator, weaker("grafana", Role::Viewer)),
            (Some("Bearer look"), Role::Fleet, weaker("grafana", Role::Viewer)),
            (Some("Bearer move"), Role::Viewer, Ok("ada")),
            (Some("Bearer move"), Role::Admin, weaker("ada", Role::Operator)),
            (Some("Bearer move"), Role::Fleet, weaker("ada", Role::Operator)),
            (Some("Bearer carry"), Role::Fleet, Ok("gw")),
            (Some("Bearer carry"), Role::Viewer, weaker("gw", Role::Fleet)),
            (Some("Bearer loo"), Role::Viewer, Err(Denied::Unknown)),
            (Some("Bearer look "), Role::Viewer, Err(Denied::Unknown)),
            (Some("Bearer "), Role::Viewer, Err(Denied::Unknown)),
            (Some("look"), Role::Viewer, Err(Denied::Unknown)),
            (Some("Basic look"), Role::Viewer, Err(Denied::Unknown)),
            (None, Role::Viewer, Err(Denied::Unknown)),
        ] {
            let answer = tokens.admit(&carrying(given), needed).map(|token| token.expect("there are tokens").name.as_str());
            assert_eq!(answer, expected, "{given:?} for {needed}");
        }
        assert!(Tokens::default().admit(&carrying(None), Role::Admin).is_ok_and(|token| token.is_none()));
    }

    #[test]
    fn what_is_printed_of_tokens_holds_no_secret() {
        let tokens = Tokens::new([("ada", Role::Admin, "sesame"), ("eve", Role::Viewer, "sesame")]);
        assert_eq!(format!("{tokens:?}"), "Tokens { known: [ada (admin), eve (viewer)] }");
        assert_eq!(tokens.twins(), Some(("ada", "eve")));
        assert_eq!(Tokens::new([("ada", Role::Admin, "a"), ("eve", Role::Viewer, "b")]).twins(), None);
    }
}
