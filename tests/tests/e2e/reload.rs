//! Rules are edited while requests run: nothing breaks, and a bad file changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use ficus_tests::bare::Bare;
use ficus_tests::http::Http;
use ficus_tests::origin::{Chat, Origin};
use futures::{SinkExt as _, StreamExt as _};
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

const RELOADS: u32 = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_under_load_fail_nobody() -> Result<()> {
    let directory = Directory::new();
    let (origin, a, b, chat) = (Origin::start("origin").await?, Origin::start("a").await?, Origin::start("b").await?, Chat::start().await?);
    let upstreams = [("origin", origin.port), ("a", a.port), ("b", b.port), ("chat", chat.port)];
    let bare = Bare::start(directory.path(), &upstreams, &[("mix.toml", &mix("a")), ("chat.toml", CHAT)]).await?;
    bare.operator()?.type_in(&["pin", "mix", "modern"]).await?;
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{}/ws", bare.port())).await?;

    let stop = Arc::new(AtomicBool::new(false));
    let seen = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
    let callers: Vec<_> = (0..4).map(|_| tokio::spawn(call(bare.http(), Arc::clone(&stop), seen.clone()))).collect();
    let admin = Http::new(&bare.admin_url(), Duration::from_secs(10));
    for reload in 0..RELOADS {
        let letter = if reload % 2 == 0 { "b" } else { "a" };
        let file = bare.directory.join("rules/mix.toml");
        std::fs::write(file.with_extension("new"), mix(letter))?;
        std::fs::rename(file.with_extension("new"), &file)?;
        let answer = admin.send(hyper::Method::POST, "/api/v1/reload", &[("content-type", "application/json")], "{}".into()).await?;
        ensure!(answer.status.is_success(), "reload {reload}: {} {}", answer.status, answer.text());
    }
    stop.store(true, Ordering::Relaxed);
    let mut requests = 0;
    for caller in callers {
        requests += caller.await??;
    }
    socket.send(Message::text("still there")).await?;
    assert_eq!(socket.next().await.expect("an answer")?.into_text()?.as_str(), "still there");
    let [by_a, by_b] = seen.map(|count| count.load(Ordering::Relaxed));
    println!("{requests} requests during {RELOADS} reloads, {by_a} by a, {by_b} by b, 0 failed");
    assert!(by_a > 50 && by_b > 50, "both rule sets served: {by_a} by a, {by_b} by b");
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
        let named =
            printed.err.lines().any(|line| line.contains("mix.toml:") && line.split(':').any(|part| part.trim().parse::<u32>().is_ok()));
        assert!(named, "{what}: no file and line in\n{}", printed.err);
        let checked = operator.try_type(&["check"]).await?;
        assert_eq!(checked.code, 64, "{what}: `ficus check` accepts it");
        let echo = http.get("/mix/1").await?.json()?;
        assert_eq!((&echo["origin"], &echo["path"]), (&"a".into(), &"/a/1".into()), "{what}: the last good rules serve");
    }
    std::fs::write(&file, mix("a"))?;
    operator.type_in(&["reload"]).await?;
    directory.passed();
    Ok(())
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
