//! What a gateway tells of its requests beside counters: the access log, and traces.

use std::path::PathBuf;

use ficus_rules::Share;

/// The access log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessLog {
    /// Where it is written.
    pub to: AccessLogTarget,
    /// What it tells of queries.
    pub query: QueryTold,
}

/// Where an access log is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    #[default]
    Stdout,
    /// A file, which is appended to.
    File(PathBuf),
}

/// What is told of queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum QueryTold {
    /// Nothing.
    Nothing,
    /// The names of parameters.
    #[default]
    Names,
    /// Everything, secrets included.
    Values,
}

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// The collector, `host:port`.
    pub address: String,
    /// It is spoken to by TLS.
    pub https: bool,
    /// Who may have signed its certificate; public authorities, unless set.
    pub authority: Option<PathBuf>,
    /// The path there: `/v1/traces`.
    pub path: String,
    /// The share of the traces of strangers, and of those that begin here, which is recorded. Trusted proxies say it of theirs.
    pub sample: Share,
    /// The name of this gateway's service there.
    pub service: String,
}
