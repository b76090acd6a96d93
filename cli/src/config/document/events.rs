//! Where change events go.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

/// `[events.NAME]`: its address from one of three places, because a password may be in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Events {
    pub(in crate::config) url: Option<Spanned<String>>,
    pub(in crate::config) url_file: Option<Spanned<PathBuf>>,
    pub(in crate::config) url_env: Option<Spanned<String>>,
    pub(in crate::config) stream: Option<Spanned<String>>,
    pub(in crate::config) keep: Option<Spanned<u64>>,
    pub(in crate::config) exchange: Option<Spanned<String>>,
}
