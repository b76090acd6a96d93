//! Who may use the admin listener, and by which certificate it is known.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

/// `[orchestrator.token.NAME]`: the secret stands in a file or in the environment, never here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Token {
    pub(in crate::config) role: Spanned<String>,
    pub(in crate::config) file: Option<Spanned<PathBuf>>,
    pub(in crate::config) env: Option<Spanned<String>>,
}

/// `[orchestrator.tls]`: the certificate of the listener, and whom its callers trust.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tls {
    pub(in crate::config) certificate_file: Option<Spanned<PathBuf>>,
    pub(in crate::config) key_file: Option<Spanned<PathBuf>>,
    pub(in crate::config) ca_file: Option<Spanned<PathBuf>>,
    pub(in crate::config) name: Option<Spanned<String>>,
}
