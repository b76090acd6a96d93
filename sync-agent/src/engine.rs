//! Which engines there are, and which one a database's URL asks for. The one place that knows all of them.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::error::Error;
use crate::mariadb;
use crate::port::Engine;
use crate::postgres;
use crate::sqlite;

/// How the URL of a database begins, and an example for people.
pub const KNOWN: &[(&str, &str)] = &[
    ("sqlite", "sqlite:///path/to/file"),
    ("mariadb", "mariadb://user:password@host:3306/database"),
    ("mysql", "mysql://user:password@host:3306/database"),
    ("postgres", "postgres://user:password@host:5432/database"),
    ("postgresql", "postgresql://user:password@host:5432/database"),
];

/// Whether there is an engine for a URL.
pub fn speaks(url: &str) -> bool {
    let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
    KNOWN.iter().any(|(name, _)| *name == scheme)
}

/// How a database is reached by somebody who only reads.
pub enum Address {
    /// A file.
    Sqlite(SqliteConnectOptions),
    /// A PostgreSQL server.
    Postgres(PgConnectOptions),
    /// A MariaDB or MySQL server.
    MariaDb(mysql_async::Opts),
}

/// Takes the URL of a database apart. `label` says whose it is.
///
/// # Errors
/// No engine knows it, or it makes no sense. The URL is not repeated: it may hold a password.
pub fn address(url: &str, label: &str) -> Result<Address, Error> {
    known(url, label)?;
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "mariadb" | "mysql" => mariadb::address(url, label).map(Address::MariaDb),
        "postgres" | "postgresql" => postgres::address(url, label).map(Address::Postgres),
        _ => SqliteConnectOptions::from_str(url).map(Address::Sqlite).map_err(|error| Error::Refused(format!("{label}: {error}"))),
    }
}

/// Refuses a URL that no engine knows. `label` says whose it is.
pub(crate) fn known(url: &str, label: &str) -> Result<(), Error> {
    if speaks(url) {
        return Ok(());
    }
    let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
    let examples: Vec<&str> = KNOWN.iter().map(|(_, example)| *example).collect();
    // Only the scheme is repeated: the rest may hold a password.
    Err(Error::Refused(format!("{label}: no engine for {scheme}; use {}", examples.join(" or "))))
}

/// Opens the database behind a URL.
pub(crate) async fn open(url: &str, label: &str) -> Result<Box<dyn Engine>, Error> {
    known(url, label)?;
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "mariadb" | "mysql" => Ok(Box::new(mariadb::Server::open(url, label).await?)),
        "postgres" | "postgresql" => Ok(Box::new(postgres::Server::open(url, label).await?)),
        _ => Ok(Box::new(sqlite::File::open(url, label).await?)),
    }
}
