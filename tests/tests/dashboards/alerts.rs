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

/// The labels that alerts of a name carry where `alerts_*test.yml` shows them firing, one line each.
fn labels(alert: &str) -> Result<Vec<String>> {
    let read = |name: &str| std::fs::read_to_string(folder().join("prometheus").join(name));
    let tests = read("alerts_test.yml")? + &read("alerts_hours_test.yml")?;
    let cases = tests.split("- alertname: ").filter(|case| case.starts_with(&format!("{alert}\n")));
    let fired =
        cases.flat_map(|case| case.split("- exp_labels:").skip(1).map(|fired| fired.split("exp_annotations:").next().unwrap_or("")));
    Ok(fired.map(str::to_owned).collect())
}

/// Two alerts without a label are equal in it: an alert of one machine would then keep those of all others quiet.
#[test]
fn an_alert_keeps_only_those_quiet_that_speak_of_the_same() -> Result<()> {
    let text = std::fs::read_to_string(folder().join("prometheus/alertmanager.yml"))?;
    let (_, rules) = text.split_once("inhibit_rules:").context("nothing is inhibited")?;
    let rules: Vec<&str> = rules.split("- source_matchers:").skip(1).collect();
    ensure!(rules.len() >= 5, "only {} rules were found: the test reads the file wrongly", rules.len());
    for rule in rules {
        let (_, equal) = rule.split_once("equal: [").with_context(|| format!("it keeps others quiet everywhere:{rule}"))?;
        let equal: Vec<&str> = equal.split(']').next().unwrap_or("").split(", ").collect();
        for name in names()?.iter().filter(|name| speaks_of(rule, name)) {
            for carried in labels(name)? {
                let missing = equal.iter().find(|label| !carried.contains(&format!(" {label}: ")));
                ensure!(missing.is_none(), "{name} carries no {missing:?}:{carried}");
            }
        }
    }
    Ok(())
}

/// Whether a rule's matchers name an alert, alone or among others.
fn speaks_of(rule: &str, alert: &str) -> bool {
    let short = alert.trim_start_matches("Ficus");
    let listed = rule.lines().filter_map(|line| line.split_once("\"Ficus")).map(|(_, rest)| rest.trim_start_matches('('));
    listed.flat_map(|rest| rest.split('"').next().unwrap_or("").split(['|', ')'])).any(|name| name == short)
}
