//! The URL of a database: `mariadb://user:password@host:3306/database`, `mysql://` is the same. Everything in it may be
//! percent-encoded. After a question mark:
//!
//! - `password_file=/run/secrets/db`: the password is the content of that file, without the line's end;
//! - `tls=off` (default), `tls=require` (encrypted, whoever answers), `tls=verify` (the certificate has to fit);
//! - `tls_ca=/etc/ssl/db.pem`: the authority that signed it, instead of those that browsers trust;
//! - `socket=/run/mysqld/mysqld.sock`: this instead of host and port.
//!
//! Nothing of a URL is ever repeated in an error.

use mysql_async::{Opts, OptsBuilder, SslOpts};

use crate::error::Error;

/// Reads a URL. `label` says whose it is.
pub(super) fn read(url: &str, label: &str) -> Result<OptsBuilder, Error> {
    let refused = |why: &str| Error::Refused(format!("{label}: {why}; a URL is like mariadb://user:password@host:3306/database"));
    let (_, rest) = url.split_once("://").ok_or_else(|| refused("its URL has no ://"))?;
    let (place, asked) = rest.split_once('?').unwrap_or((rest, ""));
    let opts = Opts::from_url(&format!("mysql://{place}")).map_err(|_| refused("its URL cannot be read"))?;
    if opts.db_name().is_none() {
        return Err(refused("its URL names no database"));
    }
    let mut builder = OptsBuilder::from_opts(opts).prefer_socket(false);
    let (mut tls, mut authority) = ("off".to_owned(), None);
    for (name, value) in asked.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
        match name {
            "password_file" => {
                let secret = std::fs::read_to_string(value).map_err(|_| refused("its password_file cannot be read"))?;
                builder = builder.pass(Some(secret.trim_end_matches(['\r', '\n'])));
            }
            "socket" => builder = builder.socket(Some(value)),
            "tls" => tls = value.to_owned(),
            "tls_ca" => authority = Some(std::path::PathBuf::from(value)),
            _ => return Err(refused("its URL asks for something else than password_file, socket, tls and tls_ca")),
        }
    }
    let secure = || {
        let own = authority.clone().map(|path| vec![path.into()]);
        let alone = own.is_some();
        SslOpts::default().with_root_certs(own.unwrap_or_default()).with_disable_built_in_roots(alone)
    };
    match tls.as_str() {
        "off" => Ok(builder),
        "require" => Ok(builder.ssl_opts(Some(secure().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true)))),
        "verify" => Ok(builder.ssl_opts(Some(secure()))),
        _ => Err(refused("tls is off, require or verify")),
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use mysql_async::Opts;

    #[test]
    fn parts_of_a_url() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("secret");
        std::fs::write(&file, "p@ss\n").expect("writes");
        let url = format!("mariadb://us%40er@db.test:3307/school?password_file={}&tls=verify", file.display());
        let opts = Opts::from(read(&url, "monolith").expect("reads"));
        assert_eq!((opts.user(), opts.pass(), opts.db_name()), (Some("us@er"), Some("p@ss"), Some("school")));
        assert_eq!((opts.ip_or_hostname(), opts.tcp_port()), ("db.test", 3307));
        assert!(opts.ssl_opts().is_some());
    }

    #[test]
    fn a_refusal_says_nothing_of_the_url() {
        for url in [
            "mariadb://root:hunter2@host/db?tls=maybe",
            "mysql://root:hunter2@host",
            "mysql://root:hunter2@host/db?x=hunter2",
            "mysql://root:hunter2@ho st/db",
        ] {
            let error = read(url, "monolith").expect_err("refused").to_string();
            assert!(error.starts_with("monolith: ") && !error.contains("hunter2"), "{error}");
        }
    }
}
