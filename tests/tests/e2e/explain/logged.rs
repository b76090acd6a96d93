//! `ficus explain --diff` with the log that a gateway wrote, against a second gateway that has the new rules: what is told of every
//! request, however its path is spelled, is what becomes of it there.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::origin::Origin;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::Directory;

const PATIENCE: Duration = Duration::from_secs(60);

const CAPABILITY: &str = "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"service\"\n\n[[step]]\ncutover = true\n\n";
const OLD: &str = "[[route]]\npath = \"/users/{*rest}\"\ncsrf = false\n\n[[route]]\npath = \"/search\"\nquery = { version = \"2\" }\n\n\
    [[route]]\npath = \"/caf%C3%A9/{*rest}\"\npin = \"modern\"\n";
const NEW: &str = "[[route]]\npath = \"/users/{id}\"\npin = \"modern\"\ncsrf = false\n\n[[route]]\npath = \"/users/{id}/photo\"\n\n\
    [[route]]\npath = \"/search\"\nquery = { version = { present = true } }\npin = \"modern\"\n\n[[route]]\npath = \"/courses/{*rest}\"\n";

/// Requests as they go over the wire, by method and target.
const ASKED: [&str; 27] = [
    "GET /users/7",
    "POST /users/7",
    "GET /users/%37?name=J%C3%B6rg&page=2",
    "GET /us%65rs/7",
    "GET /users/a%20b",
    "GET /users/a%3Fb",
    "GET /users/100%25",
    "GET /users/100%2541",
    "GET //users/7",
    "GET /users/./7",
    "GET /users//7",
    "GET /users/7/photo",
    "GET /users/7/photo/../",
    "GET /users/../courses/1",
    "GET /courses/../users/7",
    "GET /courses/1",
    "GET /courses//1",
    "GET /caf%c3%a9/1",
    "GET /caf%C3%A9/1?q=a?b",
    "GET /elsewhere?next=/users/7",
    "GET http://a.test/users/7",
    "OPTIONS *",
    "GET /search?version=2",
    "GET /search?version=3&version=2",
    "GET /search?%76ersion=2",
    "GET /users/a%2Fb",
    "TRACE /users/7",
];
/// Of these, by the names of parameters alone: not what the version is, or that one is named.
const UNSURE: usize = 3;

/// What becomes of a request: who answers, or nobody behind the gateway.
type Became = Option<String>;

struct Gateway {
    bare: Bare,
    /// By request, in their order.
    became: Vec<Became>,
}

impl Gateway {
    /// Starts one, and asks it everything.
    async fn asked(directory: &Path, upstreams: &[(&str, u16)], rules: &str, query: &str) -> Result<Gateway> {
        let more = format!("[gateway.access_log]\nto = \"access.log\"\nquery = \"{query}\"\n");
        let bare = Bare::start_with(directory, upstreams, &[("users.toml", &format!("{CAPABILITY}{rules}"))], &more).await?;
        let mut became = Vec::new();
        for asked in ASKED {
            became.push(became_of(&bare, asked).await.with_context(|| asked.to_owned())?);
        }
        // No request of anybody's: what is no head, and one without a host.
        for bytes in ["GET /users/7\r\n\r\n", "GET /users/7 HTTP/1.1\r\nConnection: close\r\n\r\n"] {
            let (status, _) = sent(&bare, bytes).await?;
            ensure!(status == 400, "{status} for {bytes:?}");
        }
        let lines = ASKED.len() + 2;
        for _ in 0..400 {
            let log = std::fs::read_to_string(directory.join("access.log")).unwrap_or_default();
            if log.lines().count() >= lines && log.ends_with('\n') {
                return Ok(Gateway { bare, became });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        anyhow::bail!("the access log is not complete")
    }

    /// What is told of its log by other rules.
    async fn diff(&self, rules: &Path) -> Result<Value> {
        let (rules, log) = (rules.display().to_string(), self.bare.directory.join("access.log").display().to_string());
        let printed = self.bare.operator()?.try_type(&["explain", "--diff", &rules, "--requests", &log, "--json"]).await?;
        serde_json::from_str(&printed.out).with_context(|| printed.err)
    }
}

async fn became_of(bare: &Bare, asked: &str) -> Result<Became> {
    let (_, origin) = sent(bare, &format!("{asked} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await?;
    Ok(origin)
}

/// The status of the answer, and who gave it.
async fn sent(bare: &Bare, bytes: &str) -> Result<(u16, Option<String>)> {
    let mut socket = TcpStream::connect(("127.0.0.1", bare.port())).await?;
    socket.write_all(bytes.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer)).await.context("no answer")??;
    let status = answer.split(' ').nth(1).context("no status")?.parse()?;
    let origin = answer.lines().find_map(|line| line.strip_prefix("x-origin: ")).map(ToOwned::to_owned);
    Ok((status, origin))
}

/// Requests that change their place, by the places.
type Moves = BTreeMap<(String, String), u64>;

fn told(diff: &Value) -> Moves {
    let place = |place: &Value| match place["goes"].as_str() {
        Some("to") => place["upstream"].as_str().unwrap_or("front").to_owned(),
        _ => "nobody".to_owned(),
    };
    let mut moves = Moves::new();
    for change in diff["changes"].as_array().into_iter().flatten() {
        // Between two routes of one server, nobody outside sees a difference.
        let places = (place(&change["before"]), place(&change["after"]));
        if places.0 != places.1 {
            *moves.entry(places).or_default() += change["requests"].as_u64().unwrap_or(0);
        }
    }
    moves
}

fn seen<'a>(before: impl Iterator<Item = (&'a Became, &'a Became)>) -> Moves {
    let mut moves = Moves::new();
    for (before, after) in before.filter(|(before, after)| before != after) {
        let name = |became: &Became| became.clone().unwrap_or_else(|| "nobody".to_owned());
        *moves.entry((name(before), name(after))).or_default() += 1;
    }
    moves
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_a_gateways_log_is_what_becomes_of_its_requests_by_the_new_rules() -> Result<()> {
    let (old, new) = (Directory::new(), Directory::new());
    let origins = [Origin::start("front").await?, Origin::start("monolith").await?, Origin::start("service").await?];
    let upstreams = [("front", origins[0].port), ("monolith", origins[1].port), ("service", origins[2].port)];
    let before = Gateway::asked(old.path(), &upstreams, OLD, "names").await?;
    let after = Gateway::asked(new.path(), &upstreams, NEW, "values").await?;

    // The way back, by a log that has everything.
    let diff = after.diff(&before.bare.directory.join("rules")).await?;
    let moved = seen(after.became.iter().zip(&before.became));
    ensure!(told(&diff) == moved, "{:?} is told, {moved:?} is so: {diff:#}", told(&diff));
    ensure!((&diff["unsure"], &diff["unreadable_lines"]) == (&0.into(), &0.into()), "{diff:#}");
    ensure!(moved.keys().any(|(before, _)| before == "nobody"), "{moved:?}");

    // And there, by one that hides values: what it cannot know, it says.
    let diff = before.diff(&after.bare.directory.join("rules")).await?;
    let known = ASKED.iter().zip(before.became.iter().zip(&after.became)).filter(|(asked, _)| !asked.contains("/search"));
    let moved = seen(known.map(|(_, became)| became));
    let told = told(&diff);
    ensure!(diff["unsure"] == UNSURE && diff["unreadable_lines"] == 0, "{diff:#}");
    let more = told.iter().map(|(places, requests)| requests - moved.get(places).unwrap_or(&0)).sum::<u64>();
    ensure!(moved.keys().all(|places| told.contains_key(places)) && more <= UNSURE as u64, "{told:?} is told, {moved:?} is so: {diff:#}");
    drop((before, after));
    old.passed();
    new.passed();
    Ok(())
}
