//! `ficus explain`: the decision about a request, from the function that the gateway calls.

mod diff;
mod requests;

use anyhow::{Context as _, Result, anyhow, bail};
use ficus_rules::api::{ExplainRequest, KnownToGateways, NotServed};
use ficus_rules::decide::{self, Admission, Caller, Decision, Snapshot, anonymous_id};
use ficus_rules::migration::Phase;
use ficus_rules::plugin::{self, Told};
use ficus_rules::require::Access;
use ficus_rules::route::{PlainRequest, Request as _, Router};
use ficus_rules::spec::Known;
use ficus_rules::wire::Published;
use ficus_rules::{Timestamp, marker};
use serde::Serialize;

use super::check;
use crate::admin::Admin;
use crate::args::{Args, Explain};
use crate::config::Config;
use crate::{keys, run};

/// Prints the decision.
pub(crate) async fn execute(args: &Args, asked: &Explain) -> Result<()> {
    let (snapshot, known) = served(args, asked).await?;
    if let (Some(rules), Some(log)) = (&asked.diff, &asked.requests) {
        return diff::execute(args, asked, &snapshot, &known, rules, log);
    }
    let question = question(asked)?;
    let raw = asked.target.split(['?', '#']).next().unwrap_or_default();
    if decide::is_ambiguous(&snapshot, &question, raw) {
        bail!(NotServed::Ambiguous);
    }
    let now = Timestamp::from(std::time::SystemTime::now());
    let caller = caller(args, asked, &question, now);
    if asked.user.is_none() && question.cookie(&session_cookie(args)).is_some() {
        eprintln!("its session is not looked up, the caller is taken for a stranger: say who it is with --user");
    }
    let (decision, caller) = known.decide(&snapshot, &question, caller, now)?;
    let plugins = plugin::tell(&snapshot, &question, &caller, decision.side, now);
    if args.json {
        return super::print_json(&Whole { decision: &decision, plugins: &plugins });
    }
    print(&snapshot, &decision);
    print_plugins(&plugins);
    let needs = |name: &str| decide::needs_anonymous(&snapshot, name, &question, &caller);
    if caller.anonymous.is_none() && decision.capability.as_deref().is_some_and(needs) {
        println!("caller      new here: the gateway makes an id for it, which may fall on the other side of the share");
    }
    Ok(())
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    decision: &'a Decision,
    plugins: &'a [Told],
}

/// What gateways serve by, and what they know beside it.
async fn served(args: &Args, asked: &Explain) -> Result<(Snapshot, KnownToGateways)> {
    if asked.offline {
        return offline(args);
    }
    let admin = Admin::new(args)?;
    let snapshot = published(admin.get("/api/v1/published?after=0&wait_ms=0").await?)?;
    Ok((snapshot, KnownToGateways::of(admin.get("/api/v1/status").await?)))
}

fn offline(args: &Args) -> Result<(Snapshot, KnownToGateways)> {
    let config = Config::load(&args.config)?;
    let rules = check::read(&config.rules)?;
    let known = KnownToGateways::configured(config.gateway.public.paths());
    Ok((snapshot(Published { rules, ..Published::default() }, &run::known(&config))?, known))
}

/// The rules and the state that gateways serve by.
pub(super) fn published(published: Published) -> Result<Snapshot> {
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
        let phase = snapshot.published.capabilities.get(name).map_or(Phase::Draft, |serving| serving.phase).as_str();
        println!("capability  {name} ({phase})");
    }
    if let Some(route) = &decision.route {
        println!("route       {route}");
    }
    if let Some(path) = &decision.upstream_path {
        println!("rewritten   {path}");
    }
    if let Some(deadlines) = deadlines(snapshot, decision) {
        println!("deadlines   {deadlines}");
    }
    let admission = match decision.admission {
        Admission::Forward => "forwarded",
        Admission::Hold => "held until the fence opens",
        Admission::Refuse => "refused: the pinned side does not own the tables",
    };
    println!("admission   {admission}");
    if decision.access != Access::Open {
        let status = decision.access.status().map_or(String::new(), |status| format!(": the gateway answers {status}"));
        println!("access      {}{status}", decision.access.as_str());
    }
    if let Some(log_in) = &decision.log_in {
        println!("log-in      {log_in}, for who asks for a page");
    }
    for (word, is) in [("shadow", decision.shadow), ("fallback", decision.fallback), ("csrf", decision.csrf)] {
        if is {
            println!("{word:<11} yes");
        }
    }
    println!("generation  {}", snapshot.published.generation);
}

/// How long the route gives its requests, where it says so.
fn deadlines(snapshot: &Snapshot, decision: &Decision) -> Option<String> {
    let capability = snapshot.rules.capabilities.get(decision.capability.as_ref()?)?;
    let route = capability.routes.get(decision.route_index?)?;
    let all = [
        ("answer", route.timeout),
        ("connect", route.deadlines.connect),
        ("first byte", route.deadlines.first_byte),
        ("idle", route.deadlines.idle),
        ("total", route.deadlines.total),
    ];
    let told: Vec<String> = all.into_iter().filter_map(|(name, time)| Some(format!("{name} {:?}", time?))).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

fn print_plugins(plugins: &[Told]) {
    for told in plugins {
        let flag = told.flag.as_ref().map_or(String::new(), |flag| format!(", flag {flag}"));
        println!("plugin      {}: {} ({}{flag})", told.plugin, told.says, told.source);
    }
}

/// The cookie of sessions: as configured, if that is on this machine, or as Django has it.
fn session_cookie(args: &Args) -> String {
    let django = Config::load(&args.config).ok().and_then(|config| config.identity.django);
    django.map_or_else(|| "sessionid".to_owned(), |django| django.session_cookie)
}

/// Who asks: what the command line says, and what the request's own headers do. A session's user is not looked up.
fn caller(args: &Args, asked: &Explain, question: &PlainRequest, now: Timestamp) -> Caller {
    let anonymous = asked.anonymous.clone().or_else(|| anonymous_id(question).map(ToOwned::to_owned));
    let mut markers = Vec::new();
    if question.cookie(marker::COOKIE).is_some() || question.header(marker::HEADER).is_some() {
        match Config::load(&args.config).ok().and_then(|config| keys::at_hand(&config.state, "marker.key")) {
            Some(key) => markers = marker::brought(question, &key, now),
            None => eprintln!("the marker of a write is left out: the gateways' key for it is not on this machine"),
        }
    }
    Caller { user: asked.user.clone(), roles: asked.roles.clone(), anonymous, markers, bucket: None }
}

/// The request as it was asked about, in the form that `[[test]]`s have.
fn question(asked: &Explain) -> Result<PlainRequest> {
    let headers = asked.headers.iter().map(|header| {
        let (name, value) =
            header.split_once(':').with_context(|| format!("`{header}` is not a header: write it like 'x-tenant: north'"))?;
        anyhow::Ok((name.to_owned(), value.to_owned()))
    });
    let (method, target, host) = (asked.method.clone(), asked.target.clone(), asked.host.clone());
    Ok(ExplainRequest { method, target, host, headers: headers.collect::<Result<_>>()?, ..ExplainRequest::default() }.question()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use clap::Parser as _;
    use ficus_rules::Timestamp;
    use ficus_rules::route::Request as _;

    use crate::args::{Args, Command};

    #[test]
    fn a_request_is_read_as_the_gateway_reads_it() {
        let line = ["ficus", "explain", "get", "//a/./b?c=d", "--host", "School.test:8080", "-H", "Cookie: s=1; s=2", "--anonymous", "x"];
        let Command::Explain(asked) = Args::parse_from(line).command else { panic!("another command") };
        let request = super::question(&asked).unwrap();
        assert_eq!((request.method(), request.host(), request.path(), request.query()), ("GET", "school.test", "/a/b", "c=d"));
        assert_eq!((request.cookie("s"), asked.anonymous.as_deref()), (Some("2"), Some("x")));
    }

    #[test]
    fn a_caller_is_known_by_its_cookie_and_what_is_not_served_is_told() {
        let asked = |line: &[&str]| {
            let args = Args::parse_from(line);
            let Command::Explain(asked) = &args.command else { panic!("another command") };
            let question = super::question(asked)?;
            anyhow::Ok(super::caller(&args, asked, &question, Timestamp(0)).anonymous)
        };
        let of = |more: &[&str]| asked(&[&["ficus", "explain", "GET", "/"], more].concat()).unwrap();
        assert_eq!(of(&["-H", "Cookie: ficus_anon=x"]).as_deref(), Some("x"));
        assert_eq!(of(&["-H", "Cookie: ficus_anon=x", "--anonymous", "y"]).as_deref(), Some("y"));
        assert_eq!(of(&["-H", &format!("Cookie: ficus_anon={}", "x".repeat(65))]), None);
        assert!(asked(&["ficus", "explain", "trace", "/"]).unwrap_err().to_string().contains("405"));
        assert!(asked(&["ficus", "explain", "GET", "/a%2fb"]).unwrap_err().to_string().contains("400"));
    }
}
