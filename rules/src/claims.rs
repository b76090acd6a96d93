//! What else the token for the new service says of a user: claims by rule. Resolves them; signs nothing.

use std::collections::BTreeMap;

/// Names that every token has, or that would mean something to its reader (RFC 7519, 4.1).
pub const RESERVED: [&str; 10] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "username", "role", "roles"];

/// A claim of a capability's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Always this text.
    Value(String),
    /// What is known of the user under a name.
    From {
        /// `id`, `username`, `role`, or an attribute.
        name: String,
        /// What its values stand for; one that is missing stands for itself.
        map: BTreeMap<String, String>,
    },
}

/// What is known of a user.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The id.
    pub id: &'a str,
    /// The log-in name.
    pub username: &'a str,
    /// The roles.
    pub roles: &'a [String],
    /// What else was looked up.
    pub attributes: &'a BTreeMap<String, String>,
}

/// The claims of one user. What is not known of it is left out.
pub fn resolve(claims: &BTreeMap<String, Claim>, subject: Subject<'_>) -> BTreeMap<String, String> {
    let known = |name: &str| match name {
        "id" => Some(subject.id),
        "username" => Some(subject.username),
        "role" => subject.roles.first().map(String::as_str),
        attribute => subject.attributes.get(attribute).map(String::as_str),
    };
    let value = |claim: &Claim| match claim {
        Claim::Value(text) => Some(text.clone()),
        Claim::From { name, map } => known(name).map(|value| map.get(value).cloned().unwrap_or_else(|| value.to_owned())),
    };
    claims.iter().filter_map(|(name, claim)| Some((name.clone(), value(claim)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Claim, Subject, resolve};

    #[test]
    fn claims_are_made_of_what_is_known() {
        let from = |name: &str, map: &[(&str, &str)]| Claim::From {
            name: name.into(),
            map: map.iter().map(|(value, word)| ((*value).to_owned(), (*word).to_owned())).collect(),
        };
        let claims: BTreeMap<String, Claim> = [
            ("scope".to_owned(), Claim::Value("users".into())),
            ("tenant".to_owned(), from("school", &[])),
            ("level".to_owned(), from("role", &[("teacher", "2")])),
            ("of_role".to_owned(), from("role", &[("student", "1")])),
            ("missing".to_owned(), from("nothing", &[])),
        ]
        .into();
        let attributes = [("school".to_owned(), "north".to_owned())].into();
        let subject = Subject { id: "42", username: "ada", roles: &["teacher".to_owned()], attributes: &attributes };
        let wanted = [("scope", "users"), ("tenant", "north"), ("level", "2"), ("of_role", "teacher")];
        assert_eq!(resolve(&claims, subject), wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
