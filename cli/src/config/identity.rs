//! Resolves how callers are known. Every database, file and word is looked at here, so that a mistake has its line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ficus_proxy::{
    DjangoIdentity, DjangoSessions, DrfTokens, FlaskIdentity, FlaskSessions, Identity, Instances, JwtIdentity, JwtKeys, MonolithIdentity,
    RoleColumn, SessionDatabase, UserTable, WtfCsrf, jwt_algorithms,
};
use ficus_rules::identity::flask::login::Protection;
use ficus_sync_agent::Address;
use toml::Spanned;

use super::{Resolving, Upstream, document};

impl Resolving<'_> {
    pub(super) fn identity(&mut self, identity: document::Identity, upstreams: &BTreeMap<String, Upstream>) -> Identity {
        let asks = identity.ask.is_some();
        let first = identity.django.as_ref().map(|django| django.upstream.span().start);
        if let Some(at) = first.or_else(|| identity.flask.as_ref().map(|flask| flask.secret_key_file.span().start)).filter(|_| !asks) {
            self.warn(
                at,
                "a log-out at a new service does not end the session at the monolith: nobody can tell it",
                "name the view that ends it in [identity.ask], or leave log-outs to the monolith",
            );
        }
        let django = identity.django.and_then(|django| self.django(django, asks, upstreams));
        let flask = identity.flask.and_then(|flask| self.flask(flask, asks, upstreams));
        let issuers: Vec<JwtIdentity> = identity.jwt.iter().filter_map(|(name, jwt)| self.issuer(name, jwt)).collect();
        let monolith = identity.ask.and_then(|ask| self.monolith(ask, django.as_ref(), flask.as_ref(), upstreams));
        Identity { django, flask, issuers, monolith }
    }

    fn django(&mut self, django: document::Django, asks: bool, upstreams: &BTreeMap<String, Upstream>) -> Option<DjangoIdentity> {
        let database = self.session_database(&django.upstream, upstreams);
        let secrets = self.secrets(&django.secret_key_file, &django.fallback_key_files);
        let sessions = self.django_sessions(&django, asks);
        let (session_age, cache_for) = (self.duration(&django.session_age), self.duration(&django.cache_for));
        let users = UserTable {
            database: database?,
            table: django.user_table,
            id_column: django.id_column,
            username_column: django.username_column,
            active_column: named(django.active_column),
            role: django.role_column.map(|column| RoleColumn { column, map: django.roles }),
            attributes: django.attributes,
        };
        if let Some(at) = [&django.token_table, &django.token_keyword].into_iter().flatten().find(|_| !django.drf_tokens) {
            self.fault(at.span().start, "tokens are not looked at: add drf_tokens = true, or take this line away".to_owned());
        }
        let usual = DrfTokens::default();
        let tokens = DrfTokens {
            table: django.token_table.map_or(usual.table, Spanned::into_inner),
            keyword: django.token_keyword.map_or(usual.keyword, Spanned::into_inner),
        };
        Some(DjangoIdentity {
            users,
            secrets,
            sessions: sessions?,
            session_cookie: django.session_cookie,
            session_age,
            session_salt: django.session_salt,
            auth_backends: django.auth_backends,
            csrf_cookie: named(django.csrf_cookie),
            csrf_header: document::header(&django.csrf_header, &mut self.faults).unwrap_or_default(),
            trusted_origins: django.trusted_origins,
            tokens: django.drf_tokens.then_some(tokens),
            cache_for,
        })
    }

    fn django_sessions(&mut self, django: &document::Django, asks: bool) -> Option<DjangoSessions> {
        let kind = &django.sessions;
        if let Some(files) = django.session_files.as_ref().filter(|_| kind.get_ref() != "file") {
            self.fault(files.span().start, "these files are not looked at: add sessions = \"file\", or take this line away".to_owned());
        }
        let fault = match kind.get_ref().as_str() {
            "db" | "cached_db" => return Some(DjangoSessions::Table(django.session_table.clone())),
            "signed_cookies" => return Some(DjangoSessions::Cookie),
            "file" => match &django.session_files {
                Some(files) => return Some(DjangoSessions::Files(self.directory.join(files.get_ref()))),
                None => "sessions in files need session_files, the directory that is SESSION_FILE_PATH".to_owned(),
            },
            "cache" if asks => return Some(DjangoSessions::Monolith),
            "cache" => "sessions that are in a cache only are pickles, which are never loaded: use the engine `cached_db`, or have \
                        the monolith asked, in [identity.ask]"
                .to_owned(),
            other => format!("`{other}` is no way to keep sessions (there are: db, cached_db, file, signed_cookies, cache)"),
        };
        self.fault(kind.span().start, fault);
        None
    }

    fn flask(&mut self, flask: document::Flask, asks: bool, upstreams: &BTreeMap<String, Upstream>) -> Option<FlaskIdentity> {
        let secrets = self.secrets(&flask.secret_key_file, &flask.fallback_key_files);
        let sessions = self.flask_sessions(&flask, asks);
        let protection = match flask.protection.get_ref().as_str() {
            "off" => Protection::Off,
            "basic" => Protection::Basic,
            "strong" => Protection::Strong,
            other => {
                self.fault(flask.protection.span().start, format!("`{other}` protects no session (there are: off, basic, strong)"));
                Protection::Basic
            }
        };
        let (session_age, cache_for, time_limit) =
            (self.duration(&flask.session_age), self.duration(&flask.cache_for), self.duration(&flask.csrf_age));
        let users = flask.users.map(|users| self.users(users, upstreams));
        let own = flask.csrf_key_file.as_ref().and_then(|file| self.secret(file));
        let csrf = WtfCsrf {
            secrets: own.map_or_else(|| secrets.clone(), |own| vec![own]),
            field: flask.csrf_field,
            headers: flask.csrf_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
            time_limit,
            ssl_strict: flask.csrf_ssl_strict,
        };
        Some(FlaskIdentity {
            secrets,
            sessions: sessions?,
            session_cookie: flask.session_cookie,
            session_age,
            protection,
            remember_cookie: named(flask.remember_cookie),
            users: match users {
                Some(users) => Some(users?),
                None => None,
            },
            role_key: flask.role_key,
            csrf: flask.csrf.then_some(csrf),
            cache_for,
        })
    }

    fn flask_sessions(&mut self, flask: &document::Flask, asks: bool) -> Option<FlaskSessions> {
        let kind = &flask.sessions;
        if let Some(redis) = flask.redis.as_ref().filter(|_| kind.get_ref() != "redis") {
            self.fault(redis.span().start, "this Redis is not looked at: add sessions = \"redis\", or take this line away".to_owned());
        }
        let password = flask.redis_password_file.as_ref().and_then(|file| self.secret(file));
        let fault = match (kind.get_ref().as_str(), &flask.redis) {
            ("cookie", _) => return Some(FlaskSessions::Cookie),
            ("redis", Some(redis)) => {
                let url = self.session_redis(redis, password.as_deref())?;
                return Some(FlaskSessions::Redis { url, prefix: flask.session_prefix.clone(), signed: flask.signed_ids });
            }
            ("redis", None) => "sessions in Redis need its address: redis = \"redis://127.0.0.1:6379/0\"".to_owned(),
            ("ask", _) if asks => return Some(FlaskSessions::Monolith),
            ("ask", _) => "there is nobody to ask: name the monolith's view in [identity.ask]".to_owned(),
            (other, _) => format!("`{other}` is no way to keep sessions (there are: cookie, redis, ask)"),
        };
        self.fault(kind.span().start, fault);
        None
    }

    /// The address of a Redis, with its password.
    fn session_redis(&mut self, address: &Spanned<String>, password: Option<&str>) -> Option<String> {
        let Some(rest) = address.get_ref().strip_prefix("redis://").filter(|rest| !rest.is_empty()) else {
            self.fault(address.span().start, "this is not the address of a Redis: write it like \"redis://127.0.0.1:6379/0\"".to_owned());
            return None;
        };
        let Some(password) = password else { return Some(address.get_ref().clone()) };
        if rest.contains('@') {
            self.fault(address.span().start, "the password stands in its file, and not here".to_owned());
        }
        let encoded = password.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        Some(format!("redis://:{encoded}@{rest}"))
    }

    fn users(&mut self, users: document::Users, upstreams: &BTreeMap<String, Upstream>) -> Option<UserTable> {
        Some(UserTable {
            database: self.session_database(&users.upstream, upstreams)?,
            table: users.table,
            id_column: users.id_column,
            username_column: users.username_column,
            active_column: named(users.active_column),
            role: users.role_column.map(|column| RoleColumn { column, map: users.roles }),
            attributes: users.attributes,
        })
    }

    fn issuer(&mut self, name: &Spanned<String>, jwt: &document::Jwt) -> Option<JwtIdentity> {
        let keys = match (&jwt.secret_file, &jwt.jwks, &jwt.jwks_file) {
            (Some(file), None, None) => self.secret(file).map(|secret| JwtKeys::Secret(secret.into_bytes())),
            (None, Some(url), None) => {
                let authority = jwt.jwks_ca_file.as_ref().map(|file| self.directory.join(file.get_ref()));
                Some(JwtKeys::Url { url: self.url(url), authority })
            }
            (None, None, Some(file)) => Some(JwtKeys::File(self.directory.join(file.get_ref()))),
            _ => {
                let what = format!("`{}` needs one of secret_file, jwks and jwks_file, and one only", name.get_ref());
                self.fault(name.span().start, what);
                None
            }
        };
        if let Some(file) = jwt.jwks_ca_file.as_ref().filter(|_| jwt.jwks.is_none()) {
            self.fault(file.span().start, "these certificates are for the server of a key set: name its address in jwks".to_owned());
        }
        let algorithms = jwt_algorithms(jwt.algorithms.get_ref(), jwt.secret_file.is_some()).unwrap_or_else(|why| {
            self.fault(jwt.algorithms.span().start, why);
            Vec::new()
        });
        let (leeway, cache_for) = (self.duration(&jwt.leeway), self.duration(&jwt.cache_for));
        Some(JwtIdentity {
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
            algorithms,
            keys: keys?,
            leeway,
            user_claim: jwt.user_claim.clone(),
            username_claim: jwt.username_claim.clone(),
            role_claim: jwt.role_claim.clone(),
            attributes: jwt.attributes.clone(),
            claims: jwt.claims.clone(),
            cache_for,
        })
    }

    /// The cookies that the monolith is asked about are those of the frameworks, unless others are named.
    fn monolith(
        &mut self,
        ask: document::Ask,
        django: Option<&DjangoIdentity>,
        flask: Option<&FlaskIdentity>,
        upstreams: &BTreeMap<String, Upstream>,
    ) -> Option<MonolithIdentity> {
        self.known(upstreams, &ask.upstream);
        let (path, key, cache_for) = (self.path(&ask.path), self.secret(&ask.key_file), self.duration(&ask.cache_for));
        let of_flask = flask.into_iter().flat_map(|flask| std::iter::once(&flask.session_cookie).chain(&flask.remember_cookie));
        let usual = django.map(|django| &django.session_cookie).into_iter().chain(of_flask).cloned();
        let cookies = if ask.cookies.is_empty() { usual.collect() } else { ask.cookies };
        if cookies.is_empty() {
            self.fault(ask.upstream.span().start, "nobody says about which cookies: name them, like cookies = [\"session\"]".to_owned());
        }
        if !(1..=1_000).contains(ask.at_once.get_ref()) {
            self.fault(ask.at_once.span().start, "at_once is a number from 1 to 1000".to_owned());
        }
        let server = &upstreams.get(ask.upstream.get_ref())?.server;
        let address = match &server.instances {
            Instances::Fixed(all) => all.first()?.address.clone(),
            Instances::Dns { name, port, .. } => format!("{name}:{port}"),
            Instances::Srv { .. } | Instances::File(_) => {
                let what = "its instances are not known by an address: give the view an upstream of its own, with `address` or `dns`";
                self.fault(ask.upstream.span().start, what.to_owned());
                return None;
            }
        };
        let (at_once, usual) = (ask.at_once.into_inner().max(1), MonolithIdentity::new(&address, &path, &key?, cookies));
        Some(MonolithIdentity { cache_for, at_once, transport: server.transport.clone(), ..usual })
    }

    /// The database of an upstream.
    fn session_database(&mut self, upstream: &Spanned<String>, upstreams: &BTreeMap<String, Upstream>) -> Option<SessionDatabase> {
        self.known(upstreams, upstream);
        let (name, at) = (upstream.get_ref(), upstream.span().start);
        let Some(database) = upstreams.get(name)?.database.as_ref() else {
            self.fault(at, format!("upstream `{name}` has no database to read sessions and users from: give it one"));
            return None;
        };
        match ficus_sync_agent::address(database, name) {
            Ok(Address::Sqlite(options)) => Some(SessionDatabase::Sqlite(Box::new(options))),
            Ok(Address::Postgres(options)) => Some(SessionDatabase::Postgres(Box::new(options))),
            Ok(Address::MariaDb(options)) => Some(SessionDatabase::MariaDb(options)),
            Err(error) => {
                self.fault(at, error.to_string());
                None
            }
        }
    }

    /// A secret and those that it replaced.
    fn secrets(&mut self, newest: &Spanned<PathBuf>, older: &[Spanned<PathBuf>]) -> Vec<String> {
        std::iter::once(newest).chain(older).filter_map(|file| self.secret(file)).collect()
    }
}

/// A name, if it is not empty.
fn named(name: String) -> Option<String> {
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use ficus_proxy::DjangoSessions;

    use crate::config::tests::{GOOD, load};

    /// The configuration with a section of Django's and more lines in it, which begin at line 12.
    fn with(more: &str) -> String {
        format!("{GOOD}database = 'sqlite://db.sqlite3'\n\n[identity.django]\nupstream = 'monolith'\nsecret_key_file = 'token'\n{more}\n")
    }

    #[test]
    fn sessions_are_where_the_engine_keeps_them() {
        let sessions = |more: &str| load(&with(more)).unwrap().identity.django.unwrap().sessions;
        assert_eq!(sessions("sessions = 'cached_db'\nsession_table = 'mine'"), DjangoSessions::Table("mine".into()));
        assert_eq!(sessions("sessions = 'signed_cookies'"), DjangoSessions::Cookie);
        assert!(matches!(sessions("sessions = 'file'\nsession_files = 'kept'"), DjangoSessions::Files(path) if path.ends_with("kept")));
        let django = load(&with("fallback_key_files = ['other']\ncsrf_cookie = ''\ndrf_tokens = true")).unwrap().identity.django.unwrap();
        assert_eq!((django.secrets, django.csrf_cookie), (vec!["t".to_owned(), "o".to_owned()], None));
        assert_eq!(django.tokens.unwrap().keyword, "Token");
        let django = load(&with("csrf_header = 'X-XSRF-TOKEN'")).unwrap().identity.django.unwrap();
        assert_eq!(django.csrf_header, "x-xsrf-token");
    }

    #[test]
    fn where_nobody_ends_sessions_at_the_monolith_it_is_warned_of() {
        let warned = |text: &str| {
            let warnings = load(text).unwrap().warnings;
            warnings.into_iter().map(|warning| (warning.line, warning.warning, warning.message)).collect::<Vec<_>>()
        };
        let (asks, flask) = (
            "[identity.ask]\nupstream = 'monolith'\npath = '/who/'\nkey_file = 'other'\n",
            "\n[identity.flask]\nsecret_key_file = 'token'\n",
        );
        let told = warned(&with(""));
        assert!(matches!(&told[..], [(10, true, message)] if message.contains("log-out")), "{told:?}");
        assert_eq!(warned(&with(asks)), []);
        assert_eq!(warned(GOOD), [], "nobody is known");
        assert_eq!(warned(&format!("{GOOD}{flask}")).len(), 1);
        assert_eq!(warned(&format!("{GOOD}{flask}{asks}")), []);
    }

    #[test]
    fn a_mistake_has_its_line_and_all_are_told() {
        for (more, line, word) in [
            ("sessions = 'cache'", 12, "never loaded"),
            ("sessions = 'redis'", 12, "there are: db, cached_db"),
            ("sessions = 'file'", 12, "SESSION_FILE_PATH"),
            ("session_files = 'kept'", 12, "not looked at"),
            ("session_age = '2 weeks'", 12, "not a duration"),
            ("token_keyword = 'Bearer'", 12, "drf_tokens"),
            ("csrf_header = 'HTTP_X_XSRF_TOKEN'", 12, "as it is sent"),
            ("fallback_key_files = ['none']", 12, "cannot read the secret"),
        ] {
            let why = load(&with(more)).unwrap_err();
            assert!(why.starts_with(&format!("ficus.toml:{line}:")) && why.contains(word), "{more}: {why}");
        }
        let why = load(&with("sessions = 'cache'\nsession_age = 'x'\ntoken_table = 'y'")).unwrap_err();
        assert_eq!(why.lines().count(), 3, "{why}");
        let jwt = |more: &str| load(&format!("{GOOD}\n[identity.jwt.school]\n{more}\n")).unwrap_err();
        assert!(jwt("algorithms = ['HS256']\njwks_file = 'keys'").contains("ficus.toml:9:14: `HS256` is verified by a secret"));
        assert!(jwt("algorithms = ['none']\nsecret_file = 'token'").contains("ficus.toml:9:14: `none` is no algorithm"));
        assert!(jwt("algorithms = []\nsecret_file = 'token'").contains("name the algorithms"));
        assert!(
            jwt("algorithms = ['RS256']\njwks_file = 'keys'\njwks = 'https://a.test'").contains("ficus.toml:8:15: `school` needs one of")
        );
        let flask = |more: &str| load(&format!("{GOOD}\n[identity.flask]\nsecret_key_file = 'token'\n{more}\n")).unwrap_err();
        assert!(flask("sessions = 'ask'").contains("ficus.toml:10:12: there is nobody to ask"));
        assert!(flask("sessions = 'redis'").contains("need its address"));
        assert!(flask("sessions = 'redis'\nredis = 'http://x'").contains("ficus.toml:11:9: this is not the address"));
        assert!(flask("redis = 'redis://x'\nprotection = 'some'").lines().count() == 2);
        let why = load(&with("").replace("database = 'sqlite://db.sqlite3'\n", "")).unwrap_err();
        assert!(why.contains("has no database"), "{why}");
    }
}
