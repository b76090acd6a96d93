//! Rules are edited while requests run: nothing breaks, and a bad file changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::http::Http;
use ficus_tests::origin::{Chat, Origin};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::Directory;
use super::streaming::CHAT;

/// Rule set `letter`: reads of `/mix/` go to upstream `letter` and are rewritten to `/letter/`.
fn mix(letter: &str) -> String {
    format!(
        r#"
[capability]
name = "mix"
legacy = "origin"
modern = "{letter}"
[[route]]
path = "/mix/{{*rest}}"
modern_path = "/{letter}/{{rest}}"
csrf = false
[[step]]
cutover = true
"#
    )
}

/// Each sends fifty requests a second where the machine lets it: a good deal more than is asked for.
const CALLERS: u32 = 8;
/// WebSockets that are open, and talking, all the time.
const TALKERS: u32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_under_load_fail_nobody() -> Result<()> {
    reload_under_load(1_000).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: `make soak`"]
async fn ten_thousand_reloads_under_load_fail_nobody() -> Result<()> {
    reload_under_load(10_000).await
}

async fn reload_under_load(reloads: u32) -> Result<()> {
    let directory = Directory::new();
    let (origin, a, b, chat) = (Origin::start("origin").await?, Origin::start("a").await?, Origin::start("b").await?, Chat::start().await?);
    let upstreams = [("origin", origin.port), ("a", a.port), ("b", b.port), ("chat", chat.port)];
    let bare = Bare::start(directory.path(), &upstreams, &[("mix.toml", &mix("a")), ("chat.toml", CHAT)]).await?;
    bare.operator()?.type_in(&["pin", "mix", "modern"]).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let seen = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| tokio::spawn(call(Http::once(&bare.url(), Duration::from_secs(60)), Arc::clone(&stop), seen.clone())))
        .collect();
    let talkers: Vec<_> = (0..TALKERS).map(|_| tokio::spawn(talk(bare.port(), Arc::clone(&stop)))).collect();
    let admin = Http::new(&bare.admin_url(), Duration::from_secs(10));
    let started = Instant::now();
    for reload in 0..reloads {
        let letter = if reload % 2 == 0 { "b" } else { "a" };
        let file = bare.directory.join("rules/mix.toml");
        std::fs::write(file.with_extension("new"), mix(letter))?;
        std::fs::rename(file.with_extension("new"), &file)?;
        let answer = admin.send(hyper::Method::POST, "/api/v1/reload", &[("content-type", "application/json")], "{}".into()).await?;
        ensure!(answer.status.is_success(), "reload {reload}: {} {}", answer.status, answer.text());
    }
    let took = started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let (mut requests, mut echoes) = (0, Vec::new());
    for caller in callers {
        requests += caller.await??;
    }
    for talker in talkers {
        echoes.push(talker.await?.context("a WebSocket")?);
    }
    let [by_a, by_b] = seen.map(|count| count.load(Ordering::Relaxed));
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let rate = requests as f64 / took;
    println!("{requests} requests ({rate:.0}/s) during {reloads} reloads in {took:.1} s, {by_a} by a, {by_b} by b, 0 failed");
    println!("echoes of each WebSocket: {echoes:?}, 0 closed");
    // How fast it is says something of the machine; that there was a load, of the test.
    assert!(requests >= 200, "{requests} requests");
    assert!(echoes.iter().all(|count| *count >= 5), "WebSockets that hardly spoke during the reloads: {echoes:?}");
    assert!(by_a > 10 && by_b > 10, "both rule sets served: {by_a} by a, {by_b} by b");
    directory.passed();
    Ok(())
}

/// Fifty requests a second: each must be answered by the upstream of one rule set under the path of the same.
async fn call(http: Http, stop: Arc<AtomicBool>, seen: [Arc<AtomicU64>; 2]) -> Result<u64> {
    let mut requests = 0;
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    while !stop.load(Ordering::Relaxed) {
        beat.tick().await;
        let answer = http.get(&format!("/mix/{requests}")).await?;
        ensure!(answer.status.is_success(), "{} {}", answer.status, answer.text());
        let echo = answer.json()?;
        let origin = echo["origin"].as_str().unwrap_or_default();
        // The pin takes effect a moment after the start.
        if origin != "origin" {
            ensure!(echo["path"] == format!("/{origin}/{requests}"), "half of two rule sets: {echo}");
            seen[usize::from(origin == "b")].fetch_add(1, Ordering::Relaxed);
        }
        requests += 1;
    }
    Ok(requests)
}

/// One WebSocket, from before the first reload until after the last one.
async fn talk(port: u16, stop: Arc<AtomicBool>) -> Result<u64> {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/ws")).await?;
    let mut echoes = 0;
    while !stop.load(Ordering::Relaxed) {
        let text = format!("message {echoes}");
        socket.send(Message::text(text.clone())).await?;
        let back = tokio::time::timeout(Duration::from_secs(120), socket.next()).await.context("no echo within 120 s")?;
        let back = back.context("closed")??;
        ensure!(back.to_text()? == text, "{back:?} came back for {text}");
        echoes += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(echoes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_broken_files_change_nothing_and_say_where() -> Result<()> {
    let directory = Directory::new();
    let (origin, a) = (Origin::start("origin").await?, Origin::start("a").await?);
    let bare = Bare::start(directory.path(), &[("origin", origin.port), ("a", a.port)], &[("mix.toml", &mix("a"))]).await?;
    let operator = bare.operator()?;
    operator.type_in(&["pin", "mix", "modern"]).await?;
    let http = bare.http();
    let file = bare.directory.join("rules/mix.toml");
    let broken = broken(&mix("a"));
    assert!(broken.len() >= 50, "{} ways", broken.len());
    for (what, text) in broken {
        std::fs::write(&file, &text)?;
        let printed = operator.try_type(&["reload"]).await?;
        assert_eq!(printed.code, 64, "{what}: accepted\n{text}\n{}{}", printed.out, printed.err);
        let told = every_complaint(&printed.err, &text).with_context(|| format!("{what}: `ficus reload` says\n{}", printed.err))?;
        let checked = operator.try_type(&["check", "--json"]).await?;
        assert_eq!(checked.code, 64, "{what}: `ficus check` accepts it");
        let complaints: Vec<Value> = serde_json::from_str(&checked.out)?;
        assert_eq!(complaints.len(), told, "{what}: `ficus check` and `ficus reload` complain alike: {complaints:#?}\n{}", printed.err);
        for complaint in &complaints {
            let line = complaint["line"].as_u64().unwrap_or(0);
            assert!(complaint["file"] == "mix.toml" && exists(line, &text), "{what}: {complaint:#}");
        }
        let echo = http.get("/mix/1").await?.json()?;
        assert_eq!((&echo["origin"], &echo["path"]), (&"a".into(), &"/a/1".into()), "{what}: the last good rules serve");
    }
    std::fs::write(&file, mix("a"))?;
    operator.type_in(&["reload"]).await?;
    directory.passed();
    Ok(())
}

/// How many complaints there are; each names the file and a line that it has.
fn every_complaint(printed: &str, text: &str) -> Result<usize> {
    let (summary, complaints) = printed.trim_end().split_once('\n').context("no complaint")?;
    for complaint in complaints.lines() {
        let place = complaint.strip_prefix("mix.toml:").with_context(|| format!("no file in `{complaint}`"))?;
        let line = place.split(':').next().and_then(|line| line.parse().ok()).with_context(|| format!("no line in `{complaint}`"))?;
        ensure!(exists(line, text), "there is no line {line} in the file: `{complaint}`");
    }
    let errors = complaints.lines().filter(|complaint| complaint.contains(": error: ")).count();
    ensure!(summary.starts_with(&format!("ficus: the rules have {errors} error")), "not {errors} errors: `{summary}`");
    Ok(complaints.lines().count())
}

/// Whether a text has such a line; the end of the text counts as one.
fn exists(line: u64, text: &str) -> bool {
    (1..=text.lines().count() as u64 + 1).contains(&line)
}

/// The file with one thing wrong, many ways.
fn broken(good: &str) -> Vec<(String, String)> {
    let swap = |from: &str, to: &str| (format!("{from} -> {to}"), good.replacen(from, to, 1));
    let add = |text: &str| (format!("added {text}"), format!("{good}\n{text}\n"));
    let mut all = vec![
        swap("[capability]", "[capabilty]"),
        swap("[capability]", "[capability"),
        swap("name = \"mix\"", ""),
        swap("name = \"mix\"", "name = 7"),
        swap("name = \"mix\"", "name = \"\""),
        swap("name = \"mix\"", "name = \"mix"),
        swap("name = \"mix\"", "name = \"mix\"\nname = \"mix\""),
        swap("legacy = \"origin\"", ""),
        swap("legacy = \"origin\"", "legacy = \"nowhere\""),
        swap("legacy = \"origin\"", "legacy = \"a\""),
        swap("modern = \"a\"", "modern = \"nowhere\""),
        swap("modern = \"a\"", "modern = [\"a\"]"),
        swap("modern = \"a\"", ""),
        swap("[[route]]", "[route]"),
        swap("[[route]]", "[[routes]]"),
        swap("path = \"/mix/{*rest}\"", ""),
        swap("path = \"/mix/{*rest}\"", "path = \"mix/{*rest}\""),
        swap("path = \"/mix/{*rest}\"", "path = \"/mix/{*rest}/more\""),
        swap("path = \"/mix/{*rest}\"", "path = \"/mix/{rest\""),
        swap("path = \"/mix/{*rest}\"", "path = \"/mix/{}\""),
        swap("path = \"/mix/{*rest}\"", "path = \"/{rest}/{rest}\""),
        swap("path = \"/mix/{*rest}\"", "paht = \"/mix/{*rest}\""),
        swap("modern_path = \"/a/{rest}\"", "modern_path = \"a/{rest}\""),
        swap("modern_path = \"/a/{rest}\"", "modern_path = \"/a/{other}\""),
        swap("csrf = false", "csrf = \"no\""),
        swap("csrf = false", "timeout = \"soon\""),
        swap("csrf = false", "timeout = 5"),
        swap("csrf = false", "methods = [\"FETCH ME\"]"),
        swap("csrf = false", "methods = \"\""),
        swap("csrf = false", "pin = \"old\""),
        swap("csrf = false", "flag = \"unknown\""),
        swap("csrf = false", "headers = { \"bad name\" = \"x\" }"),
        swap("csrf = false", "query = { a = { like = \"x\" } }"),
        swap("csrf = false", "host = 5"),
        swap("cutover = true", ""),
        swap("cutover = true", "cutover = \"yes\""),
        swap("cutover = true", "cutover = true\nreads = \"5%\""),
        swap("cutover = true", "reads = \"5\""),
        swap("cutover = true", "reads = \"101%\""),
        swap("cutover = true", "soak = \"1d\""),
        swap("cutover = true", "jump = true"),
    ];
    all.extend([
        add("[[step]]\ncutover = true"),
        add("[[step]]\nreads = \"50%\""),
        add("[cohort]\nby = [\"shoe-size\"]"),
        add("[cohort]\nby = []"),
        add("[gate.errors]\nmax_increase = 5"),
        add("[gate.mood]\nmax = 1"),
        add("[gate.lag]\nmax = \"2 parsecs\""),
        add("[[table]]\nlegacy = \"t\""),
        add("[[table]]\nlegacy = \"t\"\nmodern = \"u\"\n[table.columns]\nx = { as = \"uuid5\" }"),
        add("[[table]]\nlegacy = \"t\"\nmodern = \"u\"\n[table.columns]\nx = { from = \"y\", map = { 1 = \"a\", 2 = \"a\" } }"),
        add("[[test]]\nrequest = \"GET\"\nat = \"start\"\nexpect = \"legacy\""),
        add("[[test]]\nrequest = \"GET /mix/1\"\nat = \"noon\"\nexpect = \"legacy\""),
        add("[[test]]\nrequest = \"GET /mix/1\"\nat = \"start\"\nexpect = \"modern\""),
        add("[[route]]\npath = \"/mix/{*other}\""),
        add("\u{0}"),
        add("= 3"),
    ]);
    all
}
