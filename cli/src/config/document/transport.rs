//! How the servers behind the gateway are spoken to: what their addresses begin with, `http2`, and `[upstream.NAME.tls]`.

use std::path::{Path, PathBuf};

use ficus_proxy::{Certificate, Transport};
use serde::Deserialize;
use toml::Spanned;

use super::upstream::Faults;

/// `[upstream.NAME.tls]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UpstreamTls {
    pub(in crate::config) name: Option<String>,
    pub(in crate::config) ca_file: Option<PathBuf>,
    pub(in crate::config) certificate_file: Option<PathBuf>,
    pub(in crate::config) key_file: Option<PathBuf>,
}

/// An address without what it begins with. `https://` means TLS, `h2c://` HTTP/2 without.
pub(super) fn scheme(text: &str) -> (&str, &str) {
    text.trim_end_matches('/').split_once("://").unwrap_or(("http", text))
}

impl UpstreamTls {
    /// `said`: what all addresses begin with.
    pub(super) fn resolve(
        tls: Option<&Spanned<Self>>,
        said: (usize, &str),
        http2: bool,
        directory: &Path,
        faults: &mut Faults,
    ) -> Transport {
        let (at, scheme) = said;
        match (scheme, tls) {
            ("http" | "https" | "h2c", None) | ("http" | "https", Some(_)) => {}
            ("h2c", Some(_)) => faults.push((at, "h2c:// is HTTP/2 without tls: say https:// and http2 = true".into())),
            _ => faults.push((at, format!("`{scheme}://` is not spoken here (there are: http, https, h2c, and unix:/path)"))),
        }
        let default = UpstreamTls::default();
        let (at, wanted) = tls.map_or((at, &default), |tls| (tls.span().start, tls.get_ref()));
        let tls = (tls.is_some() || scheme == "https").then(|| wanted.files(at, directory, faults));
        if let Some(Err(why)) = tls.as_ref().map(ficus_proxy::UpstreamTls::check) {
            faults.push((at, why));
        }
        Transport { tls, http2: http2 || scheme == "h2c" }
    }

    fn files(&self, at: usize, directory: &Path, faults: &mut Faults) -> ficus_proxy::UpstreamTls {
        if self.certificate_file.is_some() != self.key_file.is_some() {
            faults.push((at, "a certificate_file and a key_file belong together: name both".into()));
        }
        let pair = self.certificate_file.as_ref().zip(self.key_file.as_ref());
        ficus_proxy::UpstreamTls {
            name: self.name.clone(),
            authorities: self.ca_file.as_ref().map(|file| directory.join(file)),
            certificate: pair.map(|(chain, key)| Certificate { chain: directory.join(chain), key: directory.join(key) }),
        }
    }
}
