//! Resolves who may use the admin listener, by which certificate it is known, and whom its callers trust.

use std::collections::BTreeMap;

use ficus_orchestrator::{Role, Tls, Tokens, Trust};
use toml::Spanned;

use super::{Resolving, document};

/// What the journal calls whoever has the `token_file`.
const OWN: &str = "admin";

impl Resolving<'_> {
    /// The tokens that are let in: the process's own, and those that are named.
    pub(super) fn tokens(&mut self, own: Option<&str>, named: &BTreeMap<Spanned<String>, document::Token>) -> Tokens {
        if let (Some((first, _)), None) = (named.first_key_value(), own) {
            let what = "tokens are named, and there is no token_file: gateway, agent and commands of this configuration need one too";
            self.fault(first.span().start, what.to_owned());
        }
        let mut known: Vec<(String, Role, String)> =
            own.map(|secret| (OWN.to_owned(), Role::Admin, secret.to_owned())).into_iter().collect();
        for (name, token) in named {
            if name.get_ref() == OWN {
                self.fault(name.span().start, format!("`{OWN}` is what the token_file is called: give this one another name"));
            }
            let role = Role::parse(token.role.get_ref());
            if role.is_none() {
                let roles = Role::ALL.map(Role::as_str).join(", ");
                self.fault(token.role.span().start, format!("`{}` is no role (there are: {roles})", token.role.get_ref()));
            }
            let secret = self.secret_of(name, token);
            known.extend(role.zip(secret).map(|(role, secret)| (name.get_ref().clone(), role, secret)));
        }
        let tokens = Tokens::new(known.iter().map(|(name, role, secret)| (name.as_str(), *role, secret.as_str())));
        if let Some((one, other)) = tokens.twins() {
            let at = named.keys().find(|name| name.get_ref() == other).map_or(0, |name| name.span().start);
            self.fault(at, format!("the tokens `{one}` and `{other}` have the same secret: nobody could tell who called"));
        }
        tokens
    }

    fn secret_of(&mut self, name: &Spanned<String>, token: &document::Token) -> Option<String> {
        match (&token.file, &token.env) {
            (Some(file), None) => self.secret(file),
            (None, Some(variable)) => self.variable(variable),
            _ => {
                self.fault(name.span().start, format!("token `{}` needs its secret: a `file` or an `env`, one of them", name.get_ref()));
                None
            }
        }
    }

    /// A secret out of the environment.
    pub(super) fn variable(&mut self, variable: &Spanned<String>) -> Option<String> {
        let found = std::env::var(variable.get_ref()).ok().map(|secret| secret.trim().to_owned());
        let found = found.filter(|secret| !secret.is_empty());
        if found.is_none() {
            let what = format!("the environment has no `{}`: the secret belongs into it", variable.get_ref());
            self.fault(variable.span().start, what);
        }
        found
    }

    /// The certificate of our own listener, if it has one, and whom our own calls of an admin listener trust.
    pub(super) fn tls(&mut self, tls: Option<&document::Tls>) -> (Option<Tls>, Trust) {
        let Some(tls) = tls else { return (None, Trust::public()) };
        let path = |file: &Spanned<std::path::PathBuf>| self.directory.join(file.get_ref());
        let served = match (&tls.certificate_file, &tls.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.span().start, Tls::load(&path(certificate), &path(key)))),
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => {
                Some((one.span().start, Err("a certificate_file and a key_file belong together: name both".to_owned())))
            }
        };
        let trusted = tls.ca_file.as_ref().or(tls.certificate_file.as_ref()).map(|file| (file.span().start, Trust::only(&path(file))));
        let served = served.and_then(|(at, loaded)| loaded.map_err(|why| self.fault(at, why)).ok());
        let mut trust = trusted.and_then(|(at, trust)| trust.map_err(|why| self.fault(at, why)).ok()).unwrap_or_else(Trust::public);
        if let Some(name) = &tls.name {
            match trust.clone().named(name.get_ref()) {
                Ok(named) => trust = named,
                Err(why) => self.fault(name.span().start, why),
            }
        }
        (served, trust)
    }
}
