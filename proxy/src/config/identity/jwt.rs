//! An issuer of JSON Web Tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jsonwebtoken::{Algorithm, AlgorithmFamily};

/// An issuer, and what its tokens say.
#[derive(Clone)]
pub struct JwtIdentity {
    /// `iss`; `None`: tokens that no other issuer claims.
    pub issuer: Option<String>,
    /// `aud` must name one of them; none: it is not looked at.
    pub audience: Vec<String>,
    /// The algorithms that are accepted, whatever a token says.
    pub algorithms: Vec<Algorithm>,
    /// By what signatures are verified.
    pub keys: JwtKeys,
    /// How far the issuer's clock may be from ours.
    pub leeway: Duration,
    /// The claim that is the user's id.
    pub user_claim: String,
    /// The claim that is the log-in name.
    pub username_claim: String,
    /// The claim that holds a role, or a list of them.
    pub role_claim: Option<String>,
    /// Further claims that are kept as attributes.
    pub attributes: Vec<String>,
    /// Claims that must have this value, like `token_type = "access"`.
    pub claims: BTreeMap<String, String>,
    /// For how long a verified token is believed without verifying it again.
    pub cache_for: Duration,
}

impl JwtIdentity {
    /// Tokens of any issuer that these keys verify.
    pub fn new(algorithms: Vec<Algorithm>, keys: JwtKeys) -> JwtIdentity {
        JwtIdentity {
            issuer: None,
            audience: Vec::new(),
            algorithms,
            keys,
            leeway: Duration::from_secs(30),
            user_claim: "sub".to_owned(),
            username_claim: "username".to_owned(),
            role_claim: None,
            attributes: Vec::new(),
            claims: BTreeMap::new(),
            cache_for: Duration::from_secs(5),
        }
    }
}

/// By what signatures are verified.
#[derive(Clone)]
pub enum JwtKeys {
    /// A secret that issuer and verifier share (HS256, HS384, HS512).
    Secret(Vec<u8>),
    /// A key set in a file.
    File(PathBuf),
    /// A key set at an address.
    Url {
        /// `https://…`
        url: String,
        /// Certificates of those who may vouch for that server; `None`: the public authorities.
        authority: Option<PathBuf>,
    },
}

/// Reads algorithms, and says which do not go with the kind of keys.
///
/// # Errors
/// A sentence for each that cannot be.
pub fn jwt_algorithms(names: &[String], secret: bool) -> Result<Vec<Algorithm>, String> {
    let read = |name: &String| match Algorithm::from_str(name) {
        Ok(algorithm) if AlgorithmFamily::Hmac.algorithms().contains(&algorithm) == secret => Ok(algorithm),
        Ok(_) if secret => Err(format!("`{name}` is verified by a key set, not by a secret: name jwks or jwks_file")),
        Ok(_) => Err(format!("`{name}` is verified by a secret, which has no place in a key set: name secret_file")),
        Err(_) => Err(format!(
            "`{name}` is no algorithm (there are: HS256 HS384 HS512, RS256 RS384 RS512, PS256 PS384 PS512, ES256 ES384, EdDSA)"
        )),
    };
    if names.is_empty() {
        return Err("name the algorithms that are accepted, like [\"RS256\"]".to_owned());
    }
    names.iter().map(read).collect()
}
