//! Which certificate a client gets: the one for the name that it asks for (SNI), an exact name before a wildcard; for
//! other names, and for none, the first that was configured.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Loaded;
use super::files::Watched;
use crate::config::Certificate;

/// The certificates, in the order in which they were configured.
pub(super) struct Names {
    pairs: Vec<Watched<Loaded>>,
}

impl Names {
    pub(super) fn load(certificates: &[Certificate]) -> Result<Names, String> {
        let pair = |certificate: &Certificate| {
            let (chain, key) = (certificate.chain.clone(), certificate.key.clone());
            Watched::load(vec![chain.clone(), key.clone()], move |files| Loaded::read(&chain, &files[0], &key, &files[1]))
        };
        Ok(Names { pairs: certificates.iter().map(pair).collect::<Result<_, _>>()? })
    }

    pub(super) fn look(&self) {
        self.pairs.iter().for_each(Watched::look);
    }

    fn find(&self, asked: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let loaded: Vec<Arc<Loaded>> = self.pairs.iter().map(Watched::current).collect();
        let named = asked.map(str::to_ascii_lowercase).and_then(|asked| {
            let of = |name: &str| loaded.iter().find(|loaded| loaded.names.iter().any(|known| known == name));
            of(&asked).or_else(|| of(&format!("*.{}", asked.split_once('.')?.1)))
        });
        Some(named.or(loaded.first())?.key.clone())
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(hello.server_name())
    }
}
