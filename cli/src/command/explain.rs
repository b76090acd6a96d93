//! `ficus explain`: the decision about a request, from the function that the gateway calls.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow};
use ficus_rules::Timestamp;
use ficus_rules::decide::{self, Admission, Caller, Circumstances, Decision, Snapshot};
use ficus_rules::path;
use ficus_rules::route::{Request, Router};
use ficus_rules::spec::Known;
use ficus_rules::wire::Published;

use super::check;
use crate::admin::Admin;
use crate::args::{Args, Explain};
use crate::config::Config;
use crate::run;

/// Prints the decision.
pub(crate) async fn execute(args: &Args, asked: &Explain) -> Result<()> {
    let snapshot = match asked.offline {
        true => offline(args)?,
        false => published(Admin::new(args)?.get("/api/v1/published?after=0&wait_ms=0").await?)?,
    };
    let question = Question::new(asked)?;
    let caller = Caller { user: asked.user.clone(), ..Caller::default() };
    let now = Timestamp::from(std::time::SystemTime::now());
    let decision = decide::decide(&snapshot, &question, &caller, &Circumstances::default(), now);
    if args.json {
        return super::print_json(&decision);
    }
    print(&snapshot, &decision);
    Ok(())
}

fn offline(args: &Args) -> Result<Snapshot> {
    let config = Config::load(&args.config)?;
    let rules = check::read(&config.rules)?;
    snapshot(Published { rules, ..Published::default() }, &run::known(&config))
}

fn published(published: Published) -> Result<Snapshot> {
    snapshot(published, &Known::default())
}

fn snapshot(published: Published, known: &Known) -> Result<Snapshot> {
    let rules = check::load(&published.rules, known)?;
    let router = Router::build(&rules).map_err(|why| anyhow!(why))?;
    Ok(Snapshot { published, rules, router })
}

fn print(snapshot: &Snapshot, decision: &Decision) {
    println!("side        {}", decision.side);
    println!("because     {}", decision.because.as_str());
    if let Some(name) = &decision.capability {
        let phase = snapshot.published.capabilities.get(name).map_or("draft".into(), |serving| {
            serde_json::to_value(serving.phase).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
        });
        println!("capability  {name} ({phase})");
    }
    if let Some(route) = &decision.route {
        println!("route       {route}");
    }
    if let Some(path) = &decision.upstream_path {
        println!("rewritten   {path}");
    }
    let admission = match decision.admission {
        Admission::Forward => "forwarded",
        Admission::Hold => "held until the fence opens",
        Admission::Refuse => "refused: the pinned side does not own the tables",
    };
    println!("admission   {admission}");
    for (word, is) in [("shadow", decision.shadow), ("fallback", decision.fallback), ("csrf", decision.csrf)] {
        if is {
            println!("{word:<11} yes");
        }
    }
    println!("generation  {}", snapshot.published.generation);
}

/// A request as it was asked about.
struct Question<'a> {
    method: String,
    host: String,
    path: String,
    query: &'a str,
    headers: BTreeMap<String, &'a str>,
    cookies: BTreeMap<&'a str, &'a str>,
}

impl<'a> Question<'a> {
    fn new(asked: &'a Explain) -> Result<Question<'a>> {
        let (raw, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let path = path::normalise(raw).map_err(|why| anyhow!("the gateway answers 400: {why}"))?;
        let mut headers = BTreeMap::new();
        for header in &asked.headers {
            let (name, value) =
                header.split_once(':').with_context(|| format!("`{header}` is not a header: write it like 'x-tenant: north'"))?;
            headers.insert(name.trim().to_ascii_lowercase(), value.trim());
        }
        let cookies =
            headers.get("cookie").copied().unwrap_or_default().split(';').filter_map(|pair| pair.trim().split_once('=')).collect();
        Ok(Question { method: asked.method.to_ascii_uppercase(), host: asked.host.to_ascii_lowercase(), path, query, headers, cookies })
    }
}

impl Request for Question<'_> {
    fn method(&self) -> &str {
        &self.method
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        self.query
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).copied()
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).copied()
    }
}
