//! `[gateway.access_log]` and `[gateway.tracing]`: what the gateway tells of its requests, and where.

use std::path::{Path, PathBuf};

use ficus_proxy::{AccessLog, AccessLogTarget, QueryTold, Tracing};
use ficus_rules::Share;
use serde::Deserialize;
use toml::Spanned;

/// Where collectors take OTLP over HTTP.
const TRACES: &str = "/v1/traces";

/// `[gateway.access_log]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AccessLogDocument {
    to: Spanned<String>,
    query: Option<Spanned<String>>,
}

/// `[gateway.tracing]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TracingDocument {
    endpoint: Spanned<String>,
    ca_file: Option<PathBuf>,
    sample: Option<Spanned<String>>,
    service: Option<String>,
}

type Faults = Vec<(usize, String)>;

impl AccessLogDocument {
    /// What the gateway is told; files are relative to `directory`.
    ///
    /// # Errors
    /// All faults, with their places.
    pub(in crate::config) fn resolve(&self, directory: &Path) -> Result<AccessLog, Faults> {
        let mut faults = Faults::new();
        let to = match self.to.get_ref().as_str() {
            "stdout" => AccessLogTarget::Stdout,
            "" => {
                faults.push((self.to.span().start, "`to` is empty: write \"stdout\" or a file, like \"logs/access.log\"".to_owned()));
                AccessLogTarget::Stdout
            }
            file => AccessLogTarget::File(directory.join(file)),
        };
        let query = match self.query.as_ref().map(|query| (query.get_ref().as_str(), query.span().start)) {
            None | Some(("names", _)) => QueryTold::Names,
            Some(("nothing", _)) => QueryTold::Nothing,
            Some(("values", _)) => QueryTold::Values,
            Some((other, at)) => {
                faults.push((at, format!("`query` is \"{other}\": write \"names\", \"nothing\" or \"values\"")));
                QueryTold::Names
            }
        };
        if faults.is_empty() { Ok(AccessLog { to, query }) } else { Err(faults) }
    }
}

impl TracingDocument {
    /// What the gateway is told; files are relative to `directory`.
    ///
    /// # Errors
    /// All faults, with their places.
    pub(in crate::config) fn resolve(&self, directory: &Path) -> Result<Tracing, Faults> {
        let mut faults = Faults::new();
        let endpoint = self.endpoint.get_ref();
        let https = endpoint.starts_with("https://");
        let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
        let (address, path) = rest.map_or((endpoint.as_str(), ""), |rest| rest.split_at(rest.find('/').unwrap_or(rest.len())));
        let port = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        let plain = address.bytes().chain(path.bytes()).all(|byte| byte.is_ascii_graphic() && byte != b'@');
        if rest.is_none() || !port || !plain {
            // Never the whole: it may hold a password.
            let what = "`endpoint` is a collector's address with its port: write it like \"http://127.0.0.1:4318\"";
            faults.push((self.endpoint.span().start, what.to_owned()));
        }
        let sample = self.sample.as_ref().map_or(Ok(Share::from_millionths(10_000)), |sample| {
            let why = |why| (sample.span().start, format!("`sample`: {why}: write it like \"1%\""));
            Share::parse(sample.get_ref()).map_err(why)
        });
        let sample = sample.unwrap_or_else(|fault| {
            faults.push(fault);
            Share::NONE
        });
        let path = if path.trim_matches('/').is_empty() { TRACES } else { path };
        let service = self.service.clone().unwrap_or_else(|| "ficus-gateway".to_owned());
        let authority = self.ca_file.as_ref().map(|file| directory.join(file));
        match faults.is_empty() {
            true => Ok(Tracing { address: address.to_owned(), https, authority, path: path.to_owned(), sample, service }),
            false => Err(faults),
        }
    }
}
