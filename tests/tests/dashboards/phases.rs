//! Every query is executed while a capability goes its way, by a Prometheus that scrapes it: in five phases, each looked at
//! by itself. What may be empty, and when, stands in a table; everything else must show something.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::http::Http;
use ficus_tests::load::{Load, Shape};
use ficus_tests::prometheus::{Prometheus, Series, folder};
use ficus_tests::school;
use ficus_tests::slow::SlowWrite;
use ficus_tests::world::{Plan, World};
use serde_json::Value;

use crate::documentation::files_below;
use crate::grafana::{Expression, expressions};
use crate::shell::docs;
use crate::surroundings::Surroundings;

/// The phases that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Streaming,
    Shadowing,
    Ramping,
    Soaking,
    Reverted,
}
use Seen::{Ramping, Reverted, Shadowing, Soaking, Streaming};

const BEFORE_READS: &[Seen] = &[Streaming, Shadowing];
const BEFORE_CUTOVER: &[Seen] = &[Streaming, Shadowing, Ramping];
/// The queries of the dashboard that shows one direction ask for the cutover; the revert is the other one.
const NO_CUTOVER: &[Seen] = &[Streaming, Shadowing, Ramping, Reverted];
const NOT_MIRRORED: &[Seen] = &[Streaming, Soaking, Reverted];
const ANY: &[Seen] = &[Streaming, Shadowing, Ramping, Soaking, Reverted];

const BAD_FILES: &str = "mark: Bad rule files";

/// What may be empty: the dashboard, the panel, when, and why.
const MAY_BE_EMPTY: &[(&str, &str, &[Seen], &str)] = &[
    ("ficus-capability", "New service: requests", BEFORE_READS, "it answers nobody yet"),
    ("ficus-capability", "New service: latency", BEFORE_READS, "it answers nobody yet"),
    ("ficus-capability", "Different answers", NOT_MIRRORED, "nothing is compared"),
    ("ficus-capability", "mark: Owner", BEFORE_CUTOVER, "it has not changed"),
    ("ficus-cutover", "mark: Owner", BEFORE_CUTOVER, "it has not changed"),
    ("ficus-gateway", "mark: Owner", BEFORE_CUTOVER, "it has not changed"),
    ("ficus-overview", "mark: Owner", BEFORE_CUTOVER, "it has not changed"),
    ("ficus-sync", "mark: Owner", BEFORE_CUTOVER, "it has not changed"),
    ("ficus-capability", BAD_FILES, ANY, "they are good; what it shows otherwise is asked while they are bad"),
    ("ficus-cutover", BAD_FILES, ANY, "they are good; what it shows otherwise is asked while they are bad"),
    ("ficus-gateway", BAD_FILES, ANY, "they are good; what it shows otherwise is asked while they are bad"),
    ("ficus-overview", BAD_FILES, ANY, "they are good; what it shows otherwise is asked while they are bad"),
    ("ficus-sync", BAD_FILES, ANY, "they are good; what it shows otherwise is asked while they are bad"),
    ("ficus-cutover", "The last one, stage by stage", BEFORE_CUTOVER, "there was none"),
    ("ficus-cutover", "Pause of the writes", NO_CUTOVER, "there was none in the range"),
    ("ficus-cutover", "Longest pause, at most", NO_CUTOVER, "there was none in the range"),
    ("ficus-cutover", "How long writes were held", BEFORE_CUTOVER, "none was held"),
];

/// Where what may be empty need not be: the look at it begins while reads are still mirrored, or a moment later; and on a busy machine
/// a comparison waits its turn.
const EITHER: &[(&str, &str, Seen)] =
    &[("ficus-capability", "Different answers", Soaking), ("ficus-capability", "Different answers", Reverted)];

/// Metrics that no panel and no alert uses, and why they are there nevertheless.
const UNUSED: &[(&str, &str)] = &[
    ("ficus_access_lines_dropped_total", "of a log that is off unless asked for: for whoever runs its pipeline"),
    ("ficus_spans_exported_total", "of traces, which are off unless asked for"),
    ("ficus_spans_dropped_total", "of traces, which are off unless asked for"),
];

/// The names that dashboards of users are built on: a metric may be added, none of these renamed.
const NAMES: &[&str] = &[
    "ficus_requests_total",
    "ficus_request_duration_seconds",
    "ficus_fallbacks_total",
    "ficus_shadow_comparisons_total",
    "ficus_shadow_dropped_total",
    "ficus_held_requests",
    "ficus_hold_seconds",
    "ficus_sync_rows_total",
    "ficus_sync_lag_seconds",
    "ficus_sync_lag_bytes",
    "ficus_drift_rows",
    "ficus_quarantined_rows",
    "ficus_phase",
    "ficus_ramp_ratio",
    "ficus_rules_generation",
    "ficus_rules_reload_failures_total",
    "ficus_gate_verdict",
    "ficus_cutover_pause_seconds",
];

/// Writes are held here until one is seen, which takes as long as the machine is slow.
const PAUSED_ON_PURPOSE: &str = "FicusLongPause";

/// How long each phase is looked at: some scrapes more than the windows of rates.
const LOOK: Duration = Duration::from_secs(7);
/// Long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_is_empty_in_any_phase() -> Result<()> {
    // GIVEN a world with load and everything round it, a Prometheus that scrapes it, and rules by which every step waits to be let in
    let directory = tempfile::tempdir()?;
    let around = Surroundings::start(&directory.path().join("around")).await?;
    let rules = directory.path().join("rules");
    patient_rules(&rules)?;
    let Surroundings { sections, service_database, scrape, .. } = &around;
    let plan =
        Plan { rules, patient: true, sections: sections.clone(), service_database: Some(service_database.clone()), ..Plan::default() };
    let world = World::start(&directory.path().join("world"), plan).await?;
    let admin = world.admin_url();
    let prometheus = Prometheus::start(&directory.path().join("prometheus"), admin.trim_start_matches("http://"), scrape).await?;
    let load = Load::start(&world.http(), Shape::default()).await?;
    refusals_are_counted_from_zero(&Http::new(&admin, Duration::from_secs(5))).await?;
    let mut watch = Watch { prometheus, wrong: Vec::new(), empty: BTreeSet::new() };
    // WHEN the capability goes to the new service and back, and everything is asked in each phase
    let walked = walk(&world, &mut watch).await;
    if let Err(error) = walked {
        anyhow::bail!("{error:#}\nthe world of this test is in {}", directory.keep().display());
    }
    load.stop().await;
    around.keeps_log_in_a_slot().await?;
    spoil_and_repair(&world, &watch.prometheus).await?;
    // THEN nothing was empty that may not be, and everything was told that happened
    watch.untold().await?;
    watch.unused().await?;
    let wrong = watch.wrong;
    ensure!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// What appears with its first refusal has not increased in Prometheus' eyes: an alert about it would miss the first burst.
async fn refusals_are_counted_from_zero(admin: &Http) -> Result<()> {
    let alerts = std::fs::read_to_string(folder().join("prometheus/alerts.yml"))?;
    let asked: BTreeSet<&str> = alerts
        .split("ficus_refusals_total{reason")
        .skip(1)
        .filter_map(|rest| rest.trim_start_matches(['=', '~', '"']).split('"').next())
        .flat_map(|reasons| reasons.split('|'))
        .collect();
    ensure!(asked.len() >= 4, "only {asked:?}: the test reads the alerts wrongly");
    let counted = admin.get("/metrics").await?.text();
    for reason in asked {
        let line = format!("ficus_refusals_total{{reason=\"{reason}\"}} ");
        ensure!(counted.contains(&line), "an idle gateway does not count refusals of the kind {reason}, which an alert watches");
    }
    Ok(())
}

async fn walk(world: &World, watch: &mut Watch) -> Result<()> {
    let operator = world.operator()?;
    let waits = |status: &Value| status["waiting_for"].to_string().contains("waits for approval");
    // What has been so for longer than a mark looks back is no news.
    let deadline = Instant::now() + PATIENCE;
    while !watch.prometheus.query("ficus_owner offset 15s").await?.iter().any(Series::is_drawn) {
        ensure!(Instant::now() < deadline, "who owns is not scraped");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    operator.type_in(&["advance", "users"]).await?;
    let since = SystemTime::now();
    operator.until_phase("users", "streaming", PATIENCE).await?;
    watch.look(Streaming, since).await?;
    for (phase, name) in [(Shadowing, "shadowing"), (Ramping, "ramping")] {
        operator.until("users", "the step to wait for approval", PATIENCE, waits).await?;
        operator.type_in(&["approve", "users"]).await?;
        let since = SystemTime::now();
        operator.until_phase("users", name, PATIENCE).await?;
        watch.look(phase, since).await?;
    }
    let mut writer = Caller::log_in(world.http(), "student40", PASSWORD).await?;
    for (phase, wish, name) in [(Soaking, "cutover", "soaking"), (Reverted, "revert", "reverted")] {
        let since = SystemTime::now();
        // It keeps the switch in its drain until others are held for certain.
        let slow = SlowWrite::begin(world, &mut writer).await?;
        operator.type_in(&[wish, "users", "--reason", "a look"]).await?;
        operator.until("users", "the drain", PATIENCE, |status| status["stage"] == "drain").await?;
        until_held(world).await?;
        // The fence stays as long as the slow write: the scrapes that fall into it see a switch at work.
        watch.scraped("ficus_held_requests{capability=\"users\"} > 0").await?;
        watch.scraped("ficus_inflight_writes{capability=\"users\"} > 0").await?;
        watch.scraped("ficus_fenced{capability=\"users\"} == 1").await?;
        slow.finish().await?;
        operator.until_phase("users", name, PATIENCE).await?;
        watch.look(phase, since).await?;
    }
    Ok(())
}

/// The gateway holds a write of the load.
async fn until_held(world: &World) -> Result<()> {
    let (admin, deadline) = (Http::new(&world.admin_url(), Duration::from_secs(5)), Instant::now() + PATIENCE);
    let holds = |line: &str| line.starts_with("ficus_held_requests{") && !line.ends_with(" 0");
    while !admin.get("/metrics").await?.text().lines().any(holds) {
        ensure!(Instant::now() < deadline, "no write came in the drain");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// A rule file becomes bad, is seen to be, and becomes good again.
async fn spoil_and_repair(world: &World, prometheus: &Prometheus) -> Result<()> {
    let (file, deadline) = (world.directory.join("rules/users.toml"), Instant::now() + PATIENCE);
    let good = std::fs::read_to_string(&file)?;
    for (text, bad) in [(good.replace("[capability]", "[capabilty]"), true), (good, false)] {
        std::fs::write(&file, text)?;
        let asked = if bad { "ficus_rules_complaints > 0" } else { "ficus_rules_complaints == 0" };
        while !prometheus.query(asked).await?.iter().any(Series::is_drawn) {
            ensure!(Instant::now() < deadline, "waited in vain for {asked}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let marks = expressions()?.into_iter().filter(|one| bad && one.panel == BAD_FILES);
        for mark in marks {
            let drawn = prometheus.query(&filled_in(&mark.text, 5)).await?.iter().any(Series::is_drawn);
            ensure!(drawn, "{}: `{BAD_FILES}` is empty while the files are bad: {}", mark.dashboard, mark.text);
        }
    }
    Ok(())
}

/// The rules of the demo, with half of the readers in the first ramp step, and an approval before every step.
fn patient_rules(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let text = std::fs::read_to_string(school::folder().join("rules/users.toml"))?;
    let text = text.replace("approve = true\n", "").replace("[[step]]\n", "[[step]]\napprove = true\n");
    let changed = text.replace("reads = \"5%\"", "reads = \"40%\"");
    ensure!(changed != text, "the demo's rules do not begin with 5 %");
    let telling = Surroundings::telling(&changed);
    ensure!(telling != changed, "the demo's rules have no tests");
    Ok(std::fs::write(directory.join("users.toml"), telling)?)
}

/// A Prometheus, and what was seen through it.
struct Watch {
    prometheus: Prometheus,
    wrong: Vec<String>,
    /// What was empty, as far as it may be.
    empty: BTreeSet<(String, String, Seen)>,
}

impl Watch {
    /// Lets a phase last for a while, then asks everything of this while.
    async fn look(&mut self, phase: Seen, since: SystemTime) -> Result<()> {
        tokio::time::sleep(LOOK).await;
        // Growth is seen from the scrape before it: a second, and as much again for one that is late.
        let seconds = since.elapsed()?.as_secs() + 3;
        for Expression { dashboard, panel, text, instant } in expressions()? {
            let asked = filled_in(&text, seconds);
            let answer = match instant {
                true => self.prometheus.query(&asked).await,
                false => self.prometheus.query_since(&asked, since).await,
            };
            self.judge(phase, &dashboard, &panel, &asked, answer);
        }
        for rule in self.prometheus.recorded().await? {
            let (name, query) = (rule["name"].as_str().unwrap_or_default(), rule["query"].as_str().unwrap_or_default());
            let answer = self.prometheus.query(query).await;
            self.judge(phase, "recording", name, query, answer);
            self.judge_health(phase, &rule);
        }
        for alert in self.prometheus.alerts().await? {
            let (name, query) = (alert["name"].as_str().unwrap_or_default(), alert["query"].as_str().unwrap_or_default());
            if let Err(error) = self.prometheus.query(query).await {
                self.wrong.push(format!("{phase:?}: alert {name}: {error}"));
            }
            if alert["state"] == "firing" && name != PAUSED_ON_PURPOSE {
                self.wrong.push(format!("{phase:?}: alert {name} fires in a good run: {}", alert["alerts"]));
            }
            self.judge_health(phase, &alert);
        }
        Ok(())
    }

    /// Waits until a scrape has seen it.
    async fn scraped(&self, expression: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.prometheus.query(expression).await?.iter().any(Series::is_drawn) {
            ensure!(Instant::now() < deadline, "no scrape sees {expression}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn judge(&mut self, phase: Seen, group: &str, name: &str, asked: &str, answer: Result<Vec<Series>>) {
        match answer {
            Ok(series) if series.iter().any(Series::is_drawn) => {}
            Ok(_) if MAY_BE_EMPTY.iter().any(|(g, n, phases, _)| *g == group && *n == name && phases.contains(&phase)) => {
                self.empty.insert((group.to_owned(), name.to_owned(), phase));
            }
            Ok(_) => self.wrong.push(format!("{phase:?}: {group}: `{name}` is empty: {asked}")),
            Err(error) => self.wrong.push(format!("{phase:?}: {group}: `{name}`: {error}: {asked}")),
        }
    }

    fn judge_health(&mut self, phase: Seen, rule: &Value) {
        if rule["health"] != "ok" {
            self.wrong.push(format!("{phase:?}: rule {} is {}: {}", rule["name"], rule["health"], rule["lastError"]));
        }
    }

    /// What happened in the run must be what is shown, and the table must not excuse what was never empty.
    async fn untold(&mut self) -> Result<()> {
        let stages = &["fence", "drain", "fence_database", "catch_up", "verify", "sequences", "open", "release"];
        let expected = [
            ("ficus_phase{capability=\"users\"} == 1", "phase", &["streaming", "shadowing", "ramping", "soaking", "reverted"][..]),
            ("ficus_owner{capability=\"users\"} == 1", "side", &["legacy", "modern"]),
            ("rate(ficus_requests_total{capability=\"users\"}[5s]) > 0", "side", &["legacy", "modern"]),
            ("rate(ficus_sync_rows_total{capability=\"users\"}[5s]) > 0", "direction", &["forward", "reverse"]),
            ("ficus_shadow_comparisons_total{capability=\"users\"} > 0", "verdict", &["same"]),
            ("ficus_cutover_pause_seconds_count{capability=\"users\"} > 0", "direction", &["cutover", "revert"]),
            ("ficus_switch_stage_seconds{direction=\"cutover\"}", "stage", stages),
            ("ficus_switch_stage_seconds{direction=\"revert\"}", "stage", stages),
            ("ficus_waiting{capability=\"users\"} > 0", "kind", &["wish"]),
            (
                "ficus_waiting_for{capability=\"users\"} > 0",
                "on",
                &["advance", "approval of step 1", "approval of step 2", "approval of step 3"],
            ),
            ("ficus_events_sent_total{capability=\"users\"} > 0", "bus", &["bus"]),
            ("ficus_notifications_total{outcome=\"delivered\"} > 0", "notifier", &["chat"]),
            ("ficus_source_log_kept_bytes{capability=\"users\"} > 0", "direction", &["forward", "reverse"]),
            ("ficus_decisions_total > 0", "because", &["owner_writes", "owner_reads", "in_cohort", "outside_cohort", "pinned", "no_route"]),
            ("ficus_rules_complaints > 0", "job", &["ficus"]),
            ("ficus_gate_verdict{capability=\"users\"}", "gate", &["errors", "shadow", "lag", "parity"]),
        ];
        for (expression, label, values) in expected {
            let seen = self.prometheus.query_range(expression).await?;
            for value in values.iter().filter(|value| !seen.iter().any(|series| series.label(label) == **value)) {
                self.wrong.push(format!("nobody could see {label} {value} in {expression}"));
            }
        }
        for (group, name, phases, _) in MAY_BE_EMPTY {
            let told = |phase: &&Seen| !EITHER.contains(&(*group, *name, **phase));
            for phase in
                phases.iter().filter(told).filter(|phase| !self.empty.contains(&((*group).to_owned(), (*name).to_owned(), **phase)))
            {
                self.wrong.push(format!("the table excuses {group} `{name}` in {phase:?}, where it is not empty"));
            }
        }
        Ok(())
    }

    /// Every metric is used by a panel or an alert, or stands in a list with a reason; and nothing else is asked for.
    async fn unused(&mut self) -> Result<()> {
        let exported: BTreeSet<String> = self.prometheus.exported().await?.into_iter().filter(|name| name.starts_with("ficus_")).collect();
        ensure!(exported.len() > 30, "only {} metrics are exported: the test reads them wrongly", exported.len());
        let (alerts, recorded) = (self.prometheus.alerts().await?, self.prometheus.recorded().await?);
        let names: BTreeSet<String> = recorded.iter().filter_map(|rule| Some(rule["name"].as_str()?.to_owned())).collect();
        let queries = alerts.iter().chain(&recorded).filter_map(|rule| Some(rule["query"].as_str()?.to_owned()));
        let asked: BTreeSet<String> =
            queries.chain(expressions()?.into_iter().map(|one| one.text)).flat_map(|text| metrics_in(&text)).collect();
        let base = |name: &String| ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned();
        let used: BTreeSet<String> = asked.iter().flat_map(|name| [name.clone(), base(name)]).collect();
        for name in NAMES.iter().filter(|name| !exported.contains(**name)) {
            self.wrong.push(format!("{name} is promised and not exported"));
        }
        for name in exported.iter().filter(|name| !used.contains(*name) && !UNUSED.iter().any(|(unused, _)| unused == name)) {
            self.wrong.push(format!("{name} is exported and not used: use it, or say in UNUSED why not"));
        }
        for (name, _) in UNUSED.iter().filter(|(name, _)| used.contains(*name) || !exported.contains(*name)) {
            self.wrong.push(format!("{name} stands in UNUSED, but it is used, or not exported"));
        }
        let there = |name: &String| exported.contains(&base(name)) || exported.contains(name) || names.contains(name);
        for name in asked.iter().filter(|name| !there(name)) {
            self.wrong.push(format!("{name} is asked for and nobody exports it"));
        }
        let named = named_in_sources()?;
        ensure!(named.len() > 50, "only {} metrics are named: the test reads the sources wrongly", named.len());
        for name in named.iter().filter(|name| !used.contains(*name) && !UNUSED.iter().any(|(unused, _)| unused == name)) {
            self.wrong.push(format!("{name} stands in the sources and is not used: use it, or say in UNUSED why not"));
        }
        for name in exported.iter().filter(|name| !named.contains(*name)) {
            self.wrong.push(format!("{name} is exported, and the test does not find it in the sources"));
        }
        let told = std::fs::read_to_string(docs().join("operations.md"))?;
        for name in exported.iter().filter(|name| !told.contains(&format!("`{name}`"))) {
            self.wrong.push(format!("docs/operations.md does not say what {name} is"));
        }
        Ok(())
    }
}

/// Names in the sources that are none of metrics: cookies.
const COOKIES: [&str; 2] = ["ficus_anon", "ficus_wrote"];

/// Every metric that any part could export, whatever it takes: its name stands as a text in the sources.
fn named_in_sources() -> Result<BTreeSet<String>> {
    let mut named = BTreeSet::new();
    for part in ["proxy", "sync-agent", "orchestrator", "cli"] {
        for file in files_below(&docs().join("..").join(part).join("src"), "rs")? {
            let text = std::fs::read_to_string(&file)?;
            let texts = text.split('"').filter(|text| text.starts_with("ficus_"));
            let name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            named.extend(texts.filter(|text| text.chars().all(name) && !COOKIES.contains(text)).map(str::to_owned));
        }
    }
    Ok(named)
}

/// What Grafana does to an expression before it asks.
fn filled_in(expression: &str, seconds: u64) -> String {
    let filled = expression.replace("$capability", "users").replace("$direction", "cutover").replace("$instance", ".+");
    let filled = filled.replace("$__rate_interval", "5s").replace("$__interval", "1s").replace("$__range", &format!("{seconds}s"));
    assert!(!filled.contains('$'), "an unknown variable in {filled}");
    filled
}

/// The metrics of Ficus in an expression, recorded ones too.
fn metrics_in(expression: &str) -> Vec<String> {
    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':';
    let ours = |word: &&str| word.starts_with("ficus_") || word.contains(":ficus_");
    expression.split(word).filter(ours).map(str::to_owned).collect()
}
