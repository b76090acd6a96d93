//! What an operator sees: alert rules that fire when they should, and a dashboard without an empty panel. Everything is
//! executed by a real Prometheus; the last test feeds it by a capability that goes to the new service, back, and there again.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::load::{Load, Shape};
use ficus_tests::prometheus::{Prometheus, Series, folder};
use ficus_tests::school;
use ficus_tests::world::{Plan, World};
use serde_json::Value;

/// The names that people build their own dashboards on. SQLite's log is counted in entries, not in bytes.
const NAMES: [&str; 18] = [
    "ficus_requests_total",
    "ficus_request_duration_seconds_bucket",
    "ficus_fallbacks_total",
    "ficus_shadow_comparisons_total",
    "ficus_shadow_dropped_total",
    "ficus_held_requests",
    "ficus_hold_seconds_bucket",
    "ficus_sync_rows_total",
    "ficus_sync_lag_seconds",
    "ficus_sync_lag_entries",
    "ficus_drift_rows",
    "ficus_quarantined_rows",
    "ficus_phase",
    "ficus_ramp_ratio",
    "ficus_rules_generation",
    "ficus_rules_reload_failures_total",
    "ficus_gate_verdict",
    "ficus_cutover_pause_seconds_bucket",
];

#[tokio::test]
async fn every_alert_fires_when_it_should_and_only_then() -> Result<()> {
    let prometheus = folder().join("prometheus");
    let promtool = async |arguments: [&str; 2], file: &str| {
        let mut command = Command::new("promtool");
        command.args(arguments).arg(file).current_dir(&prometheus);
        school::run(command).await.context("run `make packages-test` if it is missing")
    };
    promtool(["check", "config"], "prometheus.yml").await?;
    promtool(["check", "rules"], "alerts.yml").await?;
    promtool(["test", "rules"], "alerts_test.yml").await?;
    let (rules, tests) = (prometheus.join("alerts.yml"), prometheus.join("alerts_test.yml"));
    let tests = std::fs::read_to_string(tests)?;
    for line in std::fs::read_to_string(rules)?.lines() {
        let Some(alert) = line.trim().strip_prefix("- alert: ") else { continue };
        let judged = tests.match_indices(&format!("alertname: {alert}\n")).count();
        ensure!(judged >= 2, "{alert} is not shown firing and quiet in alerts_test.yml");
    }
    Ok(())
}

#[test]
fn the_dashboard_can_be_provisioned() -> Result<()> {
    let dashboard = dashboard()?;
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard)? {
        let title = title(panel);
        ensure!(ids.insert(panel["id"].as_u64()), "the id of `{title}` is not its own");
        let cell = |name: &str| panel["gridPos"][name].as_u64().with_context(|| format!("`{title}` has no {name}"));
        let (x, y, w, h) = (cell("x")?, cell("y")?, cell("w")?, cell("h")?);
        ensure!(x + w <= 24, "`{title}` is wider than the grid");
        let overlaps = (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))).any(|cell| !taken.insert(cell));
        ensure!(!overlaps, "`{title}` lies over another panel");
        if panel["type"] != "row" {
            ensure!(!targets(panel).is_empty(), "`{title}` shows nothing");
            ensure!(!panel["description"].as_str().unwrap_or("").is_empty(), "`{title}` does not say what it shows");
            let none = &panel["fieldConfig"]["defaults"]["noValue"];
            ensure!(none.is_string(), "`{title}` would say `No data` where there is nothing yet");
        }
        for target in targets(panel) {
            ensure!(target["datasource"]["uid"] == "${datasource}", "`{title}` is bound to one data source");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_runbook_names_a_command_that_exists() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // It scrapes itself: only the rules matter here.
    let prometheus = Prometheus::start_alone(directory.path()).await?;
    let help = Command::new(school::binary("ficus")?).arg("--help").output()?;
    let help = String::from_utf8(help.stdout)?;
    let commands: BTreeSet<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    let alerts = prometheus.alerts().await?;
    ensure!(!alerts.is_empty(), "there are no alerts");
    for alert in alerts {
        let name = alert["name"].as_str().context("an alert without a name")?;
        for annotation in ["summary", "description", "runbook"] {
            ensure!(alert["annotations"][annotation].is_string(), "{name} has no {annotation}");
        }
        let severity = alert["labels"]["severity"].as_str().unwrap_or("");
        ensure!(["critical", "warning"].contains(&severity), "{name} has the severity `{severity}`");
        let runbook = alert["annotations"]["runbook"].as_str().unwrap_or("");
        let typed: Vec<&str> = runbook.split("`ficus ").skip(1).filter_map(|rest| rest.split([' ', '`']).next()).collect();
        ensure!(!typed.is_empty(), "the runbook of {name} does not say what to type");
        for command in typed {
            ensure!(commands.contains(command), "the runbook of {name} says `ficus {command}`, which does not exist");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_panel_is_empty_and_no_alert_is_broken_after_a_cutover_and_a_revert() -> Result<()> {
    // GIVEN a world with load and a Prometheus that scrapes it
    let directory = tempfile::tempdir()?;
    let world = World::start(&directory.path().join("world"), Plan::default()).await?;
    let admin = world.admin_url();
    let prometheus = Prometheus::start(&directory.path().join("prometheus"), admin.trim_start_matches("http://")).await?;
    let load = Load::start(&world.http(), Shape::default()).await?;
    // WHEN the capability goes to the new service, back, and there again
    let walked = ficus_tests::demo::walk(&world, &load.ledger).await;
    if let Err(error) = walked {
        anyhow::bail!("{error:#}\nthe world of this test is in {}", directory.keep().display());
    }
    // THEN everything that people look at has something in it
    let mut wrong = Vec::new();
    for name in NAMES {
        if !prometheus.names().await?.iter().any(|seen| seen == name) {
            wrong.push(format!("{name} is not exported"));
        }
    }
    wrong.extend(empty_panels(&prometheus).await?);
    wrong.extend(broken_alerts(&prometheus).await?);
    wrong.extend(untold(&prometheus).await?);
    load.stop().await;
    ensure!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// Executes every expression of the dashboard over the run; those that show one value also as of now.
async fn empty_panels(prometheus: &Prometheus) -> Result<Vec<String>> {
    let dashboard = dashboard()?;
    let mut wrong = Vec::new();
    for panel in panels(&dashboard)? {
        for target in targets(panel) {
            let expression = filled_in(target["expr"].as_str().context("a target without an expression")?, prometheus.seconds());
            let mut answers = vec![("over the run", prometheus.query_range(&expression).await)];
            if target["instant"] == true {
                answers.push(("now", prometheus.query(&expression).await));
            }
            for (when, answer) in answers {
                match answer {
                    Ok(series) if series.iter().any(Series::is_drawn) => {}
                    Ok(_) => wrong.push(format!("panel `{}` is empty {when}: {expression}", title(panel))),
                    Err(error) => wrong.push(format!("panel `{}`: {error}: {expression}", title(panel))),
                }
            }
        }
    }
    Ok(wrong)
}

/// Executes every alert's expression. None may fire: nothing bad happened.
async fn broken_alerts(prometheus: &Prometheus) -> Result<Vec<String>> {
    let (alerts, names) = (prometheus.alerts().await?, prometheus.names().await?);
    let mut wrong = Vec::new();
    for alert in alerts {
        let (name, query) = (alert["name"].as_str().unwrap_or_default(), alert["query"].as_str().unwrap_or_default());
        if let Err(error) = prometheus.query(query).await {
            wrong.push(format!("alert {name}: {error}"));
        }
        if alert["health"] != "ok" {
            wrong.push(format!("alert {name} is {}: {}", alert["health"], alert["lastError"]));
        }
        if alert["state"] == "firing" {
            wrong.push(format!("alert {name} fires in a good run: {}", alert["alerts"]));
        }
        for metric in metrics_in(query).filter(|metric| !names.iter().any(|name| name == metric)) {
            wrong.push(format!("alert {name} watches {metric}, which is not exported"));
        }
    }
    Ok(wrong)
}

/// What happened in the run must be what is shown.
async fn untold(prometheus: &Prometheus) -> Result<Vec<String>> {
    let expected = [
        ("ficus_phase{capability=\"users\"} == 1", "phase", &["shadowing", "ramping", "soaking", "reverted"][..]),
        ("rate(ficus_requests_total{capability=\"users\"}[5s]) > 0", "side", &["legacy", "modern"]),
        ("rate(ficus_sync_rows_total{capability=\"users\"}[5s]) > 0", "direction", &["forward", "reverse"]),
        ("ficus_shadow_comparisons_total{capability=\"users\"} > 0", "verdict", &["same"]),
        ("ficus_cutover_pause_seconds_count{capability=\"users\"} > 0", "direction", &["cutover", "revert"]),
        ("ficus_gate_verdict{capability=\"users\"}", "gate", &["errors", "shadow", "lag", "parity"]),
    ];
    let mut wrong = Vec::new();
    for (expression, label, values) in expected {
        let seen = prometheus.query_range(expression).await?;
        for value in values {
            if !seen.iter().any(|series| series.label(label) == *value) {
                wrong.push(format!("nobody could see {label} {value} in {expression}"));
            }
        }
    }
    Ok(wrong)
}

/// What Grafana does to an expression before it asks.
fn filled_in(expression: &str, seconds: u64) -> String {
    let filled = expression.replace("$capability", "users").replace("$__rate_interval", "5s");
    let filled = filled.replace("$__range", &format!("{seconds}s"));
    assert!(!filled.contains('$'), "an unknown variable in {filled}");
    filled
}

fn metrics_in(expression: &str) -> impl Iterator<Item = &str> {
    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    expression.split(word).filter(|word| word.starts_with("ficus_"))
}

fn dashboard() -> Result<Value> {
    Ok(serde_json::from_slice(&std::fs::read(folder().join("grafana/ficus.json"))?)?)
}

fn panels(dashboard: &Value) -> Result<&Vec<Value>> {
    dashboard["panels"].as_array().context("a dashboard without panels")
}

fn targets(panel: &Value) -> &[Value] {
    panel["targets"].as_array().map_or(&[], Vec::as_slice)
}

fn title(panel: &Value) -> &str {
    panel["title"].as_str().unwrap_or("")
}
