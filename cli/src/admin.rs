//! What operator commands ask of the orchestrator.

use std::time::Duration;

use anyhow::{Result, bail};
use ficus_orchestrator::Trust;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::exit::{BadConfiguration, Refused};
use crate::http::{Answer, Http};

const LIMIT: Duration = Duration::from_secs(10);

/// The admin API.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    http: Http,
}

impl Admin {
    /// At the address that was asked for, else at the configured one.
    pub(crate) fn new(args: &crate::args::Args) -> Result<Admin> {
        let token = std::env::var("FICUS_TOKEN").ok();
        let ca = args.ca.as_ref().map(|file| Trust::only(file).map_err(BadConfiguration)).transpose()?;
        if let (Some(base), Some(token)) = (&args.admin, &token)
            && (ca.is_some() || !base.contains("https:"))
        {
            return Ok(Admin { http: Http::new(&listed(base), Some(token.clone()), &ca.unwrap_or_else(Trust::public)) });
        }
        let config = match (Config::load(&args.config), &args.admin) {
            (Ok(config), _) => config,
            // Whoever names the API needs no configuration beside it.
            (Err(_), Some(base)) => return Ok(Admin { http: Http::new(&listed(base), token, &ca.unwrap_or_else(Trust::public)) }),
            (Err(error), None) => return Err(error),
        };
        let trust = ca.as_ref().unwrap_or(&config.admin_trust);
        Ok(Admin { http: Http::new(&bases(args, &config), token.or(config.admin_token.clone()), trust) })
    }

    /// Reads.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        accept(self.http.get(path, LIMIT).await?)?.json()
    }

    /// Writes.
    pub(crate) async fn send<B: Serialize, T: DeserializeOwned>(&self, method: Method, path: &str, body: &B) -> Result<T> {
        accept(self.http.send_json(method, path, body, LIMIT).await?)?.json()
    }
}

/// Where the admin API is; of several orchestrators, where each of them has its own.
pub(crate) fn bases(args: &crate::args::Args, config: &Config) -> Vec<String> {
    let scheme = if config.admin_tls.is_some() { "https" } else { "http" };
    match &args.admin {
        Some(asked) => listed(asked),
        None if config.orchestrators.is_empty() => vec![format!("{scheme}://{}", config.admin_listen)],
        None => config.orchestrators.clone(),
    }
}

/// Addresses that were typed in one word, with commas between them.
fn listed(typed: &str) -> Vec<String> {
    typed.split(',').map(|one| one.trim().to_owned()).collect()
}

fn accept(answer: Answer) -> Result<Answer> {
    match answer.status {
        status if status.is_success() => Ok(answer),
        StatusCode::CONFLICT => bail!(Refused(answer.detail())),
        StatusCode::UNPROCESSABLE_ENTITY => bail!(BadConfiguration(answer.detail())),
        StatusCode::UNAUTHORIZED => bail!("the admin API wants a token: set FICUS_TOKEN, or token_file in the configuration"),
        _ => bail!(answer.detail()),
    }
}
