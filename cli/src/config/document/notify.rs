//! Who is told of transitions.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

/// `[orchestrator.notify.NAME]`: where to post to, from one of three places, because such addresses are often secrets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Notify {
    pub(in crate::config) url: Option<Spanned<String>>,
    pub(in crate::config) url_file: Option<Spanned<PathBuf>>,
    pub(in crate::config) url_env: Option<Spanned<String>>,
    #[serde(default = "json")]
    pub(in crate::config) format: Spanned<String>,
    pub(in crate::config) kinds: Option<Vec<Spanned<String>>>,
    #[serde(default = "one_hour")]
    pub(in crate::config) give_up: Spanned<String>,
}

fn json() -> Spanned<String> {
    Spanned::new(0..0, "json".to_owned())
}

fn one_hour() -> Spanned<String> {
    Spanned::new(0..0, "1h".to_owned())
}
