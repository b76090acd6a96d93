//! Logs go to standard error: text for a terminal, JSON lines with `FICUS_LOG_FORMAT=json`. `FICUS_LOG` filters, like
//! `info,ficus_proxy=debug`.

use tracing_subscriber::EnvFilter;

/// Sets the process's subscriber up.
pub(crate) fn start() {
    let filter =
        EnvFilter::try_from_env("FICUS_LOG").unwrap_or_else(|_| EnvFilter::new("info,pingora_core=warn,pingora_proxy=error,sqlx=warn"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = std::env::var("FICUS_LOG_FORMAT").is_ok_and(|format| format == "json");
    // A second subscriber can only come from a test harness; the first one then stays.
    let _ = if json { subscriber.json().try_init() } else { subscriber.with_target(false).try_init() };
}
