//! Resolves where the states of several orchestrators are, and where whoever leads is asked for.

use std::time::Duration;

use ficus_orchestrator::{Etcd, Trust};
use toml::Spanned;

use super::{Resolving, document};

/// etcd grants no shorter lease with the settings that it comes with.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);

impl Resolving<'_> {
    /// `own`: what this orchestrator is reached by, unless it is said.
    pub(super) fn etcd(&mut self, etcd: &document::Etcd, own: &str, validity: Duration) -> Etcd {
        if etcd.endpoints.get_ref().is_empty() {
            self.fault(etcd.endpoints.span().start, "etcd is nowhere: write it like endpoints = [\"http://127.0.0.1:2379\"]".into());
        }
        let lease = self.duration(&etcd.lease);
        let at = etcd.lease.span().start.max(etcd.endpoints.span().start);
        if lease < SHORTEST_LEASE || lease.subsec_nanos() != 0 {
            self.fault(at, format!("etcd grants leases of whole seconds, 2s or more, not of {}", etcd.lease.get_ref()));
        }
        if lease >= validity {
            let what = format!(
                "the lease ({}) must be shorter than validity: gateways would refuse writes before the next orchestrator leads",
                etcd.lease.get_ref()
            );
            self.fault(at, what);
        }
        let password = etcd.password_file.as_ref().and_then(|file| self.secret(file));
        let user = match (&etcd.user, &etcd.password_file) {
            (Some(user), Some(_)) => password.map(|password| (user.get_ref().clone(), password)),
            (None, None) => None,
            (Some(one), None) => {
                self.fault(one.span().start, "a user and a password_file belong together: name both".into());
                None
            }
            (None, Some(one)) => {
                self.fault(one.span().start, "a user and a password_file belong together: name both".into());
                None
            }
        };
        let trust = etcd.ca_file.as_ref().and_then(|file| {
            let trust = Trust::only(&self.directory.join(file.get_ref()));
            trust.map_err(|why| self.fault(file.span().start, why)).ok()
        });
        Etcd {
            endpoints: etcd.endpoints.get_ref().iter().map(|one| self.url(one)).collect(),
            prefix: etcd.prefix.clone(),
            user,
            trust: trust.unwrap_or_else(Trust::public),
            lease,
            address: etcd.address.as_ref().map_or_else(|| own.to_owned(), |address| self.reached_by(address)),
        }
    }

    fn reached_by(&mut self, address: &Spanned<String>) -> String {
        reached_by(address.get_ref()).unwrap_or_else(|why| {
            self.fault(address.span().start, why);
            String::new()
        })
    }
}

/// What others may reach an orchestrator by, without a slash at its end.
///
/// # Errors
/// A sentence with a remedy.
pub(crate) fn reached_by(text: &str) -> Result<String, String> {
    let address = text.trim_end_matches('/');
    let uri = address.parse::<http::Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    let Some(uri) = uri else { return Err(format!("`{text}` is not an address: write it like \"http://10.0.0.1:7070\"")) };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    if host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_unspecified()) {
        return Err(format!(
            "nobody reaches an orchestrator by {address}: say by what others do, `address` in [orchestrator.etcd], or \
             FICUS_ORCHESTRATOR_ADDRESS=http://10.0.0.1:7070 of each"
        ));
    }
    Ok(address.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::tests::{GOOD, load};

    #[test]
    fn etcd_is_somewhere_and_its_lease_ends_before_a_validity() {
        let with = |more: &str| load(&GOOD.replace("\n\n", &format!("\n\n[orchestrator.etcd]\n{more}\n\n")));
        let etcd = with("endpoints = ['http://127.0.0.1:2379']\nuser = 'ficus'\npassword_file = 'token'").unwrap().etcd.unwrap();
        assert_eq!((etcd.prefix.as_str(), etcd.lease.as_secs(), etcd.address.as_str()), ("ficus/", 3, "http://127.0.0.1:7070"));
        assert_eq!(etcd.user, Some(("ficus".to_owned(), "t".to_owned())));
        for (more, line, word) in [
            ("endpoints = []", 6, "nowhere"),
            ("endpoints = ['10.0.0.1:2379']", 6, "not an address"),
            ("endpoints = ['http://a:1']\nlease = '1s'", 7, "2s or more"),
            ("endpoints = ['http://a:1']\nlease = '2500ms'", 7, "whole seconds"),
            ("endpoints = ['http://a:1']\nlease = '5s'", 7, "shorter than validity"),
            ("endpoints = ['http://a:1']\nuser = 'ficus'", 7, "belong together"),
            ("endpoints = ['http://a:1']\npassword_file = 'token'", 7, "belong together"),
            ("endpoints = ['http://a:1']\nca_file = 'token'", 7, "no certificate"),
            ("endpoints = ['http://a:1']\naddress = 'orc-1'", 7, "not an address"),
            ("endpoints = ['http://a:1']\naddress = 'http://0.0.0.0:7070'", 7, "FICUS_ORCHESTRATOR_ADDRESS"),
        ] {
            let why = with(more).unwrap_err();
            assert!(why.starts_with(&format!("ficus.toml:{line}:")) && why.contains(word), "{more}: {why}");
        }
    }

    #[test]
    fn nobody_is_reached_by_every_address_at_once() {
        for address in ["http://0.0.0.0:7070", "https://[::]:7070/", "orc-2:7070", "ftp://orc-2", ""] {
            assert!(super::reached_by(address).is_err(), "{address}");
        }
        for address in ["http://10.0.0.1:7070", "http://orc-2.orc:7070", "https://[fd00::1]:7070"] {
            assert_eq!(super::reached_by(&format!("{address}/")), Ok(address.to_owned()));
        }
    }

    #[test]
    fn the_orchestrators_that_there_are_have_addresses() {
        let with = |more: &str| load(&GOOD.replace("\n\n", &format!("\n\n[orchestrator]\n{more}\n\n")));
        let several = with("addresses = ['http://10.0.0.1:7070', 'https://orc-2:7070']").unwrap();
        assert_eq!(several.orchestrators, ["http://10.0.0.1:7070", "https://orc-2:7070"]);
        assert!(with("addresses = ['orc-2:7070']").unwrap_err().starts_with("ficus.toml:6:"));
    }
}
