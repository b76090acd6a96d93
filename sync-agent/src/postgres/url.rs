//! A database's URL to the options of both kinds of connection: queries and replication. Knows no database.
//!
//! `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=/ca.pem`. The password may stand in a file
//! instead: `password_file=/run/secrets/db`. `sslcert` and `sslkey` name a client certificate; `host=/var/run/postgresql`
//! a directory with the server's socket. Anything else is refused: it would be ignored in silence.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use pgwire_replication::{Lsn, ReplicationConfig, SslMode, TlsConfig};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::error::Error;

/// How the agent's sessions are known in the server's lists.
pub(super) const APPLICATION: &str = "ficus";

/// What text forms depend on, what roles and databases may have set otherwise and the agent's promises rest on (that a
/// commit is durable, that nothing but a lock is waited for in vain, that a later statement sees more), and the mark by
/// which the fence lets the agent pass; when the server takes us for gone, and gives up what we hold; the same on every connection.
pub(super) const SETTINGS: [(&str, &str); 21] = [
    ("DateStyle", "ISO,MDY"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("standard_conforming_strings", "on"),
    ("client_encoding", "UTF8"),
    ("lock_timeout", "10s"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("default_transaction_deferrable", "off"),
    ("client_min_messages", "warning"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "4"),
    ("tcp_user_timeout", "30000"),
    ("ficus.agent", "on"),
];

/// A URL, taken apart.
#[derive(Clone)]
pub(super) struct Address {
    host: String,
    port: u16,
    user: String,
    password: Option<String>,
    database: String,
    mode: PgSslMode,
    root: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

impl Address {
    /// Takes a URL apart. Errors repeat nothing of it but names of parameters.
    pub(super) fn parse(url: &str, label: &str) -> Result<Address, Error> {
        let refused = |why: &str| {
            Error::Refused(format!("{label}: {why}; write postgres://user:password@host:5432/database?sslmode=verify-full in ficus.toml"))
        };
        let rest = url.split_once("://").map(|(_, rest)| rest).ok_or_else(|| refused("the database's URL has no ://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (place, None),
        };
        let port = port.map_or(Ok(5432), str::parse).map_err(|_| refused("the port is no number"))?;
        let decode = |text: &str| percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
        let decoded = |text: &str| decode(text).map_err(|_| refused("a part of the URL is not UTF-8"));
        let mut address = Address {
            host: decoded(host.trim_matches(['[', ']']))?,
            port,
            user: decoded(user)?,
            password: password.map(decoded).transpose()?,
            database: decoded(database)?,
            mode: PgSslMode::Prefer,
            root: None,
            certificate: None,
        };
        let (mut certificate, mut key) = (None, None);
        for (parameter, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = decoded(value)?;
            match parameter {
                "sslmode" => address.mode = value.parse().map_err(|_| refused("sslmode is none that there is"))?,
                "sslrootcert" => address.root = Some(value.into()),
                "sslcert" => certificate = Some(value.into()),
                "sslkey" => key = Some(value.into()),
                "host" => address.host = value,
                "password_file" => {
                    let read = std::fs::read_to_string(&value).map_err(|e| refused(&format!("password_file cannot be read ({e})")))?;
                    address.password = Some(read.trim_end_matches(['\r', '\n']).to_owned());
                }
                other => return Err(refused(&format!("the URL's parameter {other} is not known"))),
            }
        }
        address.certificate = certificate.zip(key);
        if address.host.is_empty() || address.user.is_empty() || address.database.is_empty() {
            return Err(refused("the URL names no host, user or database"));
        }
        Ok(address)
    }

    /// For queries of the agent.
    pub(super) fn queries(&self) -> PgConnectOptions {
        self.plain().options(SETTINGS)
    }

    /// For whoever only reads, and is no agent.
    pub(super) fn reads(&self) -> PgConnectOptions {
        self.plain().options([("default_transaction_read_only", "on"), ("client_encoding", "UTF8")])
    }

    /// Of a server that is reached by TCP.
    pub(super) fn port(&self) -> Option<u16> {
        (!self.host.starts_with('/')).then_some(self.port)
    }

    fn plain(&self) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass().port(self.port).username(&self.user).database(&self.database);
        let mut options = if self.host.starts_with('/') { options.socket(&self.host) } else { options.host(&self.host) };
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        if let Some(root) = &self.root {
            options = options.ssl_root_cert(root);
        }
        if let Some((certificate, key)) = &self.certificate {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        options.ssl_mode(self.mode).application_name(APPLICATION).disable_statement_logging()
    }

    /// For replication, from a position on.
    pub(super) fn replication(&self, slot: &str, publication: &str, start: u64, confirmed: u64) -> ReplicationConfig {
        let password = self.password.clone().unwrap_or_default();
        let mode = match self.mode {
            _ if self.host.starts_with('/') => SslMode::Disable,
            PgSslMode::Disable => SslMode::Disable,
            PgSslMode::Allow | PgSslMode::Prefer => SslMode::Prefer,
            PgSslMode::Require => SslMode::Require,
            PgSslMode::VerifyCa => SslMode::VerifyCa,
            PgSslMode::VerifyFull => SslMode::VerifyFull,
        };
        let mut tls = TlsConfig { mode, ca_pem_path: self.root.clone(), ..TlsConfig::default() };
        // A certificate may name an address, too; asked for by that alone, the crate holds it for a mistake.
        if self.host.parse::<std::net::IpAddr>().is_ok() {
            tls = tls.with_sni_hostname(&self.host);
        }
        if let Some((certificate, key)) = &self.certificate {
            tls = tls.with_client_cert(certificate, key);
        }
        let settings: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("-c {name}={}", value.replace(' ', "\\ "))).collect();
        ReplicationConfig::new(&self.host, &self.user, password, &self.database, slot, publication)
            .with_port(self.port)
            .with_tls(tls)
            .with_options(settings.join(" "))
            .with_application_name(APPLICATION)
            .with_start_lsn(Lsn::from_u64(start))
            .with_ack_lsn(Lsn::from_u64(confirmed))
            .with_status_interval(super::FEEDBACK)
            .with_wakeup_interval(super::FEEDBACK)
            .with_buffer_size(super::feed::EVENTS)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let address = Address::parse("postgresql://ada:p%40ss:word@[::1]:6000/my%20db?sslmode=require", "x").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.user.as_str()), ("::1", 6000, "ada"));
        assert_eq!((address.password.as_deref(), address.database.as_str()), (Some("p@ss:word"), "my db"));
        assert!(matches!(address.mode, PgSslMode::Require));
        let socket = Address::parse("postgres://ada@/db?host=/run/pg", "x").unwrap();
        assert_eq!((socket.host.as_str(), socket.port), ("/run/pg", 5432));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for url in ["postgres://u:secret@h/db?sslmod=off", "postgres://u:secret@h:port/db", "postgres://u:secret@h", "postgres:u:secret"] {
            let Err(error) = Address::parse(url, "db") else { panic!("{url}") };
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_password_may_stand_in_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from the file\n").unwrap();
        let address = Address::parse(&format!("postgres://u@h/db?password_file={}", file.path().display()), "x").unwrap();
        assert_eq!(address.password.as_deref(), Some("from the file"));
    }
}
