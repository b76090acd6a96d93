//! `[orchestrator.etcd]`: states of several orchestrators.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Etcd {
    pub(in crate::config) endpoints: Spanned<Vec<Spanned<String>>>,
    #[serde(default = "prefix")]
    pub(in crate::config) prefix: String,
    pub(in crate::config) user: Option<Spanned<String>>,
    pub(in crate::config) password_file: Option<Spanned<PathBuf>>,
    pub(in crate::config) ca_file: Option<Spanned<PathBuf>>,
    #[serde(default = "three_seconds")]
    pub(in crate::config) lease: Spanned<String>,
    pub(in crate::config) address: Option<Spanned<String>>,
}

fn prefix() -> String {
    "ficus/".into()
}

fn three_seconds() -> Spanned<String> {
    super::unplaced("3s")
}
