//! `ficus map init`: reads the tables of two databases and prints a rule file that somebody goes on with. What to propose
//! is decided by [`ficus_rules::proposal`].

use anyhow::{Result, bail};
use ficus_rules::proposal::{Names, propose};
use ficus_sync_agent::preflight::catalog;

use super::init::SCHEMA_OF_RULES;
use crate::args::{Args, MapInit};
use crate::config::Config;
use crate::exit::BadConfiguration;

/// A database, and what rule files call its upstream.
struct Place {
    upstream: String,
    url: String,
}

/// Prints the proposal.
pub(crate) async fn init(args: &Args, asked: &MapInit) -> Result<()> {
    let fine = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !fine(&asked.capability) {
        bail!(BadConfiguration(format!("`{}` cannot name a capability: small letters, digits and `-`", asked.capability)));
    }
    // With two URLs there need not be a configuration.
    let named = !asked.legacy.contains("://") || !asked.modern.contains("://");
    let config = if named { Some(Config::load(&args.config)?) } else { None };
    let legacy = place(&asked.legacy, config.as_ref(), "monolith")?;
    let modern = place(&asked.modern, config.as_ref(), &format!("{}-service", asked.capability))?;
    let (old, new) = (catalog(&legacy.url, &legacy.upstream).await?, catalog(&modern.url, &modern.upstream).await?);
    let proposal = propose(&old, &new, &asked.tables);
    let names = Names { capability: asked.capability.clone(), legacy: legacy.upstream, modern: modern.upstream };
    let text = format!("#:schema {SCHEMA_OF_RULES}\n{}", proposal.rule_file(&names));
    if args.json { super::print_json(&serde_json::json!({ "pairs": proposal.pairs.len(), "rule_file": text })) } else { print_out(&text) }
}

fn print_out(text: &str) -> Result<()> {
    print!("{text}");
    Ok(())
}

/// The upstream of that name, or a URL with a name for it.
fn place(asked: &str, config: Option<&Config>, name: &str) -> Result<Place> {
    if asked.contains("://") {
        return Ok(Place { upstream: name.to_owned(), url: asked.to_owned() });
    }
    let upstreams = config.map(|config| &config.upstreams);
    let Some(upstream) = upstreams.and_then(|upstreams| upstreams.get(asked)) else {
        let names: Vec<&str> = upstreams.into_iter().flat_map(|upstreams| upstreams.keys().map(String::as_str)).collect();
        bail!(BadConfiguration(format!(
            "no upstream is called {asked} (there are: {}); or give a URL like sqlite:///path/to/file",
            names.join(", ")
        )));
    };
    match &upstream.database {
        Some(url) => Ok(Place { upstream: asked.to_owned(), url: url.clone() }),
        None => bail!(BadConfiguration(format!("upstream {asked} has no database: name one in ficus.toml, under [upstream.{asked}]"))),
    }
}
