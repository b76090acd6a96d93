//! Logs go to standard error: text for a terminal, JSON lines with `FICUS_LOG_FORMAT=json`. `FICUS_LOG` filters, like
//! `info,ficus_proxy=debug`. Whatever it says, nothing is told of what libraries say below `info`: there stand heads with their
//! cookies, and statements with their values.

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Sets the process's subscriber up.
pub(crate) fn start() {
    let filter =
        EnvFilter::try_from_env("FICUS_LOG").unwrap_or_else(|_| EnvFilter::new("info,pingora_core=warn,pingora_proxy=error,sqlx=warn"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = std::env::var("FICUS_LOG_FORMAT").is_ok_and(|format| format == "json");
    // A second subscriber can only come from a test harness; the first one then stays.
    let _ = match json {
        true => subscriber.json().finish().with(filter_fn(is_told)).try_init(),
        false => subscriber.with_target(false).finish().with(filter_fn(is_told)).try_init(),
    };
}

fn is_told(of: &Metadata<'_>) -> bool {
    *of.level() <= Level::INFO || of.target().starts_with("ficus")
}
