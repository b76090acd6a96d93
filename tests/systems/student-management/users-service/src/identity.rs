//! Who calls: the gateway's bearer token becomes a [`Caller`]. Decides whether the token and its user are good,
//! not what the caller may do.

mod extract;
mod keys;

use axum::http::{HeaderMap, header};
use hyper::Uri;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;

use crate::error::Error;
use crate::role::Role;
use crate::store::{Database, users};
use keys::Keys;

pub use extract::{Admin, PageAdmin, PageCaller};

/// Who signs the tokens.
const ISSUER: &str = "ficus";
/// How far the clocks of gateway and service may differ.
const LEEWAY_SECONDS: u64 = 5;

/// A user with a valid token who is active here.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The public integer id.
    pub id: i64,
    /// As the token says.
    pub role: Role,
}

impl Caller {
    /// Whether the caller is an admin.
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// Lets admins and the user itself pass.
    pub fn must_be_admin_or(&self, id: i64) -> Result<(), Error> {
        match self.is_admin() || self.id == id {
            true => Ok(()),
            false => Err(Error::Forbidden("Only an admin or the user may do this.")),
        }
    }
}

/// Checks tokens against the gateway's keys.
pub struct Identity {
    keys: Keys,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    role: Role,
}

impl Identity {
    /// Fetches nothing yet: the first token does.
    pub fn new(jwks_url: Uri, audience: &str) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        Self { keys: Keys::new(jwks_url), validation }
    }

    /// The caller of a request with these headers.
    ///
    /// 401 without a valid token or for a user who is not there (any more), 403 for one who is switched off.
    pub async fn caller(&self, headers: &HeaderMap, database: &Database) -> Result<Caller, Error> {
        let caller = self.verify(bearer(headers).ok_or(Error::Unauthenticated)?).await?;
        match users::is_active(database, caller.id).await? {
            Some(true) => Ok(caller),
            Some(false) => Err(Error::Forbidden("This user is not active.")),
            None => Err(Error::Unauthenticated),
        }
    }

    async fn verify(&self, token: &str) -> Result<Caller, Error> {
        let kid = decode_header(token).ok().and_then(|header| header.kid).ok_or(Error::Unauthenticated)?;
        let key = self.keys.find(&kid).await?.ok_or(Error::Unauthenticated)?;
        let claims = decode::<Claims>(token, &key, &self.validation)
            .map_err(|error| {
                tracing::debug!(%error, "token refused");
                Error::Unauthenticated
            })?
            .claims;
        let id = claims.sub.parse().map_err(|_| Error::Unauthenticated)?;
        Ok(Caller { id, role: claims.role })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
