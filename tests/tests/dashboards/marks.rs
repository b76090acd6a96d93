//! Marks of transitions: shown by `promtool` where a capability went on, at any of Grafana's steps, and nowhere else.

use std::process::Command;

use anyhow::{Context as _, Result};
use ficus_tests::prometheus::folder;
use ficus_tests::school;
use serde_json::{Value, json};

/// What marks phases on the overview, as Grafana asks with a step.
fn phases(step: &str) -> Result<String> {
    let text = std::fs::read_to_string(folder().join("grafana/dashboards/ficus-overview.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let mut marks = dashboard["annotations"]["list"].as_array().into_iter().flatten();
    let mark = marks.find(|mark| mark["name"] == "Phases").context("phases are not marked")?;
    Ok(mark["expr"].as_str().context("a mark without an expression")?.replace("$__interval", step))
}

/// Whether phases are marked at these times, at a step.
fn at(step: &str, times: &[(&str, Option<&str>)]) -> Result<Vec<Value>> {
    let expression = phases(step)?;
    let case = |(time, phase): &(&str, Option<&str>)| {
        let samples = phase.map(|phase| json!({"labels": format!("{{capability=\"users\", phase=\"{phase}\"}}"), "value": 1}));
        json!({"expr": expression, "eval_time": time, "exp_samples": samples.into_iter().collect::<Vec<_>>()})
    };
    Ok(times.iter().map(case).collect())
}

#[tokio::test]
async fn a_phase_is_marked_when_it_is_entered_and_not_after_a_gap() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // It ramps, soaks from 10m on, and for ten minutes from 1h on nobody says so.
    let series = [("ramping", "1x39 0x199 stale _x40 0x1200"), ("soaking", "0x39 1x199 stale _x40 1x1200")];
    let series = series
        .map(|(phase, values)| json!({"series": format!("ficus_phase{{capability=\"users\", phase=\"{phase}\"}}"), "values": values}));
    let near = at("15s", &[("5m", None), ("10m", Some("soaking")), ("10m15s", None), ("70m15s", None), ("70m30s", None), ("2h", None)])?;
    // A month on a screen: what happened since the step before is marked at this one.
    let far = at("30m", &[("30m", Some("soaking")), ("1h30m", None), ("2h", None)])?;
    let cases = [near, far].concat();
    let tests = json!([{"interval": "15s", "input_series": series, "promql_expr_test": cases}]);
    // JSON is YAML.
    std::fs::write(directory.path().join("marks.yml"), json!({"evaluation_interval": "15s", "tests": tests}).to_string())?;
    let mut promtool = Command::new("promtool");
    promtool.args(["test", "rules", "marks.yml"]).current_dir(&directory);
    school::run(promtool).await.context("run `make packages-test` if it is missing")?;
    Ok(())
}
