//! What the operator typed, and what the program needs of it. Reads flags and environment; opens nothing.

use std::net::SocketAddr;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use hyper::Uri;

use crate::store::Address;

/// The iterations of Django 5.2's default hasher.
pub const DEFAULT_PASSWORD_ITERATIONS: u32 = 1_000_000;
/// The name under which the gateway knows this upstream.
pub const DEFAULT_AUDIENCE: &str = "users-service";

/// What to do, complete and checked.
#[derive(Debug)]
pub enum Command {
    /// Apply the schema and leave.
    Migrate {
        /// The database to apply it to.
        database: Address,
    },
    /// Apply the schema and answer requests.
    Serve(Serve),
}

/// The settings of a running service.
#[derive(Debug, Clone)]
pub struct Serve {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The database; its file is made if there is none.
    pub database: Address,
    /// Where the gateway's public keys stand.
    pub jwks_url: Uri,
    /// The `aud` that a token must have.
    pub audience: String,
    /// PBKDF2 rounds of a new password.
    pub password_iterations: u32,
}

#[derive(Parser)]
#[command(name = "users-service", about = "Users of the school: accounts, profiles, notes, photos", version)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "USERS_LISTEN", default_value = "127.0.0.1:8100")]
    listen: SocketAddr,
    /// Database, as sqlite:///path or postgres://user@host:port/name
    #[arg(long, env = "USERS_DATABASE", hide_env_values = true, global = true)]
    database: Option<Address>,
    /// JWKS of the gateway
    #[arg(long, env = "FICUS_JWKS_URL", value_parser = http_url)]
    jwks_url: Option<Uri>,
    /// Audience that tokens must have
    #[arg(long, env = "USERS_AUDIENCE", default_value = DEFAULT_AUDIENCE)]
    audience: String,
    /// PBKDF2 rounds of a new password
    #[arg(long, env = "USERS_PASSWORD_ITERATIONS", default_value_t = DEFAULT_PASSWORD_ITERATIONS,
          value_parser = clap::value_parser!(u32).range(1..))]
    password_iterations: u32,
    #[command(subcommand)]
    command: Option<Wanted>,
}

#[derive(Subcommand)]
enum Wanted {
    /// Apply the schema and exit
    Migrate,
}

/// Reads the arguments and the environment of the process.
pub fn read() -> Result<Command, clap::Error> {
    resolve(Arguments::try_parse()?)
}

fn resolve(typed: Arguments) -> Result<Command, clap::Error> {
    let mut missing = Vec::new();
    if typed.database.is_none() {
        missing.push("--database or USERS_DATABASE (sqlite:///path or postgres://user@host:port/name)");
    }
    if typed.jwks_url.is_none() && typed.command.is_none() {
        missing.push("--jwks-url or FICUS_JWKS_URL (http://gateway/path)");
    }
    match (typed.command, typed.database, typed.jwks_url) {
        (Some(Wanted::Migrate), Some(database), _) => Ok(Command::Migrate { database }),
        (None, Some(database), Some(jwks_url)) => Ok(Command::Serve(Serve {
            listen: typed.listen,
            database,
            jwks_url,
            audience: typed.audience,
            password_iterations: typed.password_iterations,
        })),
        _ => {
            let text = format!("not given: {}", missing.join("; "));
            Err(Arguments::command().error(ErrorKind::MissingRequiredArgument, text))
        }
    }
}

fn http_url(text: &str) -> Result<Uri, String> {
    let url = Uri::from_str(text).map_err(|error| error.to_string())?;
    if url.scheme_str() != Some("http") || url.host().is_none() {
        return Err("write it as http://host:port/path".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(arguments: &[&str]) -> Result<Command, clap::Error> {
        Arguments::try_parse_from([&["users-service"], arguments].concat()).and_then(resolve)
    }

    #[test]
    fn migrate_needs_only_the_database() {
        let command = typed(&["migrate", "--database", "sqlite:///tmp/x.db"]).expect("complete");
        assert!(matches!(command, Command::Migrate { .. }));
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let text = typed(&[]).expect_err("incomplete").to_string();
        assert!(text.contains("USERS_DATABASE") && text.contains("FICUS_JWKS_URL"), "{text}");
    }

    #[test]
    fn a_database_of_another_kind_is_refused() {
        assert!(typed(&["--database", "mysql://x/y", "--jwks-url", "http://g/"]).is_err());
    }
}
