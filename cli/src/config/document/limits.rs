//! `[gateway.limits]`: what a client may send, and how slowly. What is left out keeps the gateway's own default; each is
//! explained at [`ficus_proxy::Limits`].

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::args;

/// The most header lines that the parser takes.
const HEADERS: usize = 256;
/// The largest head that the parser takes, in bytes.
const HEAD: u64 = 1_000_000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct Limits {
    head: Option<Spanned<String>>,
    target: Option<Spanned<String>>,
    headers: Option<Spanned<usize>>,
    body: Option<Spanned<String>>,
    head_within: Option<Spanned<String>>,
    body_patience: Option<Spanned<String>>,
    body_rate: Option<Spanned<String>>,
    idle: Option<Spanned<String>>,
    send_within: Option<Spanned<String>>,
    connections: Option<usize>,
    connections_per_address: Option<usize>,
    requests_per_connection: Option<u32>,
}

type Faults = Vec<(usize, String)>;

impl Limits {
    /// What the gateway is told.
    ///
    /// # Errors
    /// All faults, with their places.
    pub(in crate::config) fn resolve(&self) -> Result<ficus_proxy::Limits, Faults> {
        let (default, mut faults) = (ficus_proxy::Limits::default(), Faults::new());
        let limits = ficus_proxy::Limits {
            head: bytes(self.head.as_ref(), default.head, HEAD, &mut faults),
            target: bytes(self.target.as_ref(), default.target, HEAD, &mut faults),
            headers: self.headers(default.headers, &mut faults),
            body: size(self.body.as_ref(), &mut faults).unwrap_or(default.body),
            head_within: time(self.head_within.as_ref(), default.head_within, &mut faults),
            body_patience: time(self.body_patience.as_ref(), default.body_patience, &mut faults),
            body_rate: self.rate(default.body_rate, &mut faults),
            idle: time(self.idle.as_ref(), default.idle, &mut faults),
            send_within: time(self.send_within.as_ref(), default.send_within, &mut faults),
            connections: self.connections.unwrap_or(default.connections),
            connections_per_address: self.connections_per_address.unwrap_or(default.connections_per_address),
            requests_per_connection: self.requests_per_connection.unwrap_or(default.requests_per_connection),
        };
        if faults.is_empty() { Ok(limits) } else { Err(faults) }
    }

    fn headers(&self, default: usize, faults: &mut Faults) -> usize {
        let Some(headers) = &self.headers else { return default };
        if !(1..=HEADERS).contains(headers.get_ref()) {
            faults.push((headers.span().start, format!("between 1 and {HEADERS} headers can be taken, not {}", headers.get_ref())));
        }
        *headers.get_ref()
    }

    /// A rate is a size in a second: `500B/s`.
    fn rate(&self, default: u64, faults: &mut Faults) -> u64 {
        let Some(rate) = &self.body_rate else { return default };
        let bytes = rate.get_ref().strip_suffix("/s").and_then(|size| args::size(size).ok());
        bytes.unwrap_or_else(|| {
            faults.push((rate.span().start, format!("`{}` is not a rate: write it like 500B/s or 4KiB/s", rate.get_ref())));
            default
        })
    }
}

fn size(text: Option<&Spanned<String>>, faults: &mut Faults) -> Option<u64> {
    let text = text?;
    args::size(text.get_ref()).inspect_err(|why| faults.push((text.span().start, why.clone()))).ok()
}

fn bytes(text: Option<&Spanned<String>>, default: usize, most: u64, faults: &mut Faults) -> usize {
    let Some(size) = size(text, faults) else { return default };
    if !(1..=most).contains(&size) {
        let at = text.map_or(0, |text| text.span().start);
        faults.push((at, format!("between 1B and {most}B can be taken")));
    }
    usize::try_from(size).unwrap_or(default)
}

/// A time that is no time would refuse everybody.
fn time(text: Option<&Spanned<String>>, default: Duration, faults: &mut Faults) -> Duration {
    let Some(text) = text else { return default };
    match args::duration(text.get_ref()) {
        Ok(time) if !time.is_zero() => return time,
        Ok(_) => faults.push((text.span().start, "it must be longer than nothing".to_owned())),
        Err(why) => faults.push((text.span().start, why)),
    }
    default
}
