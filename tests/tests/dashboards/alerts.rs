//! Alert and recording rules as files: valid, and each alert shown firing and quiet in `alerts_test.yml`.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::prometheus::folder;
use ficus_tests::school;

/// The alerts that come with Ficus, by name.
pub(crate) fn names() -> Result<Vec<String>> {
    let rules = std::fs::read_to_string(folder().join("prometheus/alerts.yml"))?;
    Ok(rules.lines().filter_map(|line| Some(line.trim().strip_prefix("- alert: ")?.to_owned())).collect())
}

#[tokio::test]
async fn every_alert_fires_when_it_should_and_only_then() -> Result<()> {
    let prometheus = folder().join("prometheus");
    let promtool = async |arguments: &[&str]| {
        let mut command = Command::new("promtool");
        command.args(arguments).current_dir(&prometheus);
        school::run(command).await.context("run `make packages-test` if it is missing")
    };
    promtool(&["check", "config", "prometheus.yml"]).await?;
    promtool(&["check", "rules", "recording.yml", "alerts.yml"]).await?;
    promtool(&["test", "rules", "alerts_test.yml", "alerts_hours_test.yml"]).await?;
    let read = |name: &str| std::fs::read_to_string(prometheus.join(name));
    let tests = read("alerts_test.yml")? + &read("alerts_hours_test.yml")?;
    for alert in names()? {
        let cases: Vec<&str> = tests.split("- alertname: ").skip(1).filter(|case| case.starts_with(&format!("{alert}\n"))).collect();
        let quiet = cases.iter().filter(|case| case.contains("exp_alerts: []")).count();
        ensure!(quiet >= 1, "{alert} is not shown quiet in alerts_*test.yml");
        ensure!(cases.len() > quiet, "{alert} is not shown firing in alerts_*test.yml");
    }
    Ok(())
}

#[tokio::test]
async fn the_example_for_the_alertmanager_is_one_and_sends_alerts_where_it_says() -> Result<()> {
    let amtool = async |arguments: &[&str]| {
        let output = Command::new("amtool").args(arguments).current_dir(folder().join("prometheus")).output();
        let output = output.context("amtool is missing: run `make packages-test`")?;
        ensure!(output.status.success(), "amtool {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    amtool(&["check-config", "alertmanager.yml"]).await?;
    for (severity, receiver) in [("critical", "pager"), ("warning", "morning")] {
        let label = format!("severity={severity}");
        let routed = amtool(&["config", "routes", "test", "--config.file=alertmanager.yml", "alertname=FicusDrift", &label]).await?;
        ensure!(routed.trim() == receiver, "{severity} goes to {routed}");
    }
    Ok(())
}

#[test]
fn the_example_for_the_alertmanager_speaks_of_alerts_that_exist() -> Result<()> {
    let text = std::fs::read_to_string(folder().join("prometheus/alertmanager.yml"))?;
    let names = names()?;
    let mut told = 0;
    for line in text.lines().filter(|line| line.contains("alertname=")) {
        let (_, rest) = line.split_once("Ficus").context("a matcher for other alerts")?;
        let listed = rest.trim_start_matches('(').split(')').next().unwrap_or("");
        for name in listed.split('|').map(|name| name.trim_end_matches(['"', '\'', ']'])) {
            ensure!(names.iter().any(|known| *known == format!("Ficus{name}")), "there is no alert Ficus{name}");
            told += 1;
        }
    }
    ensure!(told >= 10, "only {told} names were found: the test reads the file wrongly");
    Ok(())
}
