//! Resolves how callers are known. Every database, file and word is looked at here, so that a mistake has its line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ficus_proxy::{DjangoIdentity, DjangoSessions, DrfTokens, Identity, RoleColumn, SessionDatabase, UserTable};
use ficus_sync_agent::Address;
use toml::Spanned;

use super::{Resolving, Upstream, document};

impl Resolving<'_> {
    pub(super) fn identity(&mut self, identity: document::Identity, upstreams: &BTreeMap<String, Upstream>) -> Identity {
        Identity { django: identity.django.and_then(|django| self.django(django, upstreams)) }
    }

    fn django(&mut self, django: document::Django, upstreams: &BTreeMap<String, Upstream>) -> Option<DjangoIdentity> {
        let database = self.session_database(&django.upstream, upstreams);
        let secrets = self.secrets(&django.secret_key_file, &django.fallback_key_files);
        let sessions = self.django_sessions(&django);
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
            trusted_origins: django.trusted_origins,
            tokens: django.drf_tokens.then_some(tokens),
            cache_for,
        })
    }

    fn django_sessions(&mut self, django: &document::Django) -> Option<DjangoSessions> {
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
            "cache" => "sessions that are in a cache only are pickles, which are never loaded: use the engine `cached_db`".to_owned(),
            other => format!("`{other}` is no way to keep sessions (there are: db, cached_db, file, signed_cookies)"),
        };
        self.fault(kind.span().start, fault);
        None
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
            ("fallback_key_files = ['none']", 12, "cannot read the secret"),
        ] {
            let why = load(&with(more)).unwrap_err();
            assert!(why.starts_with(&format!("ficus.toml:{line}:")) && why.contains(word), "{more}: {why}");
        }
        let why = load(&with("sessions = 'cache'\nsession_age = 'x'\ntoken_table = 'y'")).unwrap_err();
        assert_eq!(why.lines().count(), 3, "{why}");
        let why = load(&with("").replace("database = 'sqlite://db.sqlite3'\n", "")).unwrap_err();
        assert!(why.contains("has no database"), "{why}");
    }
}
