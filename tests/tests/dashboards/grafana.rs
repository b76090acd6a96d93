//! The dashboards as files: made by their source, valid by Grafana's schema, laid out so that nothing overlaps. And the
//! expressions in them, for whoever executes them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::prometheus::folder;
use ficus_tests::school;
use serde_json::Value;

/// One expression of a dashboard.
pub(crate) struct Expression {
    /// The dashboard's `uid`.
    pub(crate) dashboard: String,
    /// The panel's title, or what else asks.
    pub(crate) panel: String,
    /// What is asked, with Grafana's variables.
    pub(crate) text: String,
    /// It shows the value now; otherwise the curve.
    pub(crate) instant: bool,
}

/// All dashboards.
pub(crate) fn dashboards() -> Result<Vec<Value>> {
    files()?.iter().map(|path| Ok(serde_json::from_slice(&std::fs::read(path)?)?)).collect()
}

/// Everything that the dashboards ask a Prometheus: panels, marks, variables.
pub(crate) fn expressions() -> Result<Vec<Expression>> {
    let mut all = Vec::new();
    for dashboard in dashboards()? {
        let uid = dashboard["uid"].as_str().context("a dashboard without uid")?;
        let mut ask = |panel: &str, text: &str, instant: bool| {
            all.push(Expression { dashboard: uid.to_owned(), panel: panel.to_owned(), text: text.to_owned(), instant });
        };
        for panel in list(&dashboard["panels"]) {
            for target in list(&panel["targets"]) {
                ask(title(panel), target["expr"].as_str().context("a target without an expression")?, target["instant"] == true);
            }
        }
        for mark in list(&dashboard["annotations"]["list"]) {
            let name = mark["name"].as_str().context("a mark without a name")?;
            ask(&format!("mark: {name}"), mark["expr"].as_str().context("a mark without an expression")?, false);
        }
        for variable in list(&dashboard["templating"]["list"]).iter().filter(|variable| variable["type"] == "query") {
            let name = variable["name"].as_str().context("a variable without a name")?;
            let asked = variable["query"]["query"].as_str().context("a variable that asks nothing")?;
            let inner = asked.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(")"));
            let (metric, label) = inner.and_then(|inner| inner.split_once(", ")).context("a variable is no label_values(metric, label)")?;
            ask(&format!("variable: {name}"), &format!("count by ({label}) ({metric})"), true);
        }
    }
    Ok(all)
}

#[tokio::test]
async fn the_dashboards_are_what_their_source_makes() -> Result<()> {
    let mut check = Command::new("python3");
    // No byte code beside the sources.
    check.args(["-B", "source", "--check"]).current_dir(folder().join("grafana"));
    school::run(check).await
}

#[tokio::test]
async fn the_dashboards_are_valid_by_grafanas_schema() -> Result<()> {
    schema(&files()?).await.context("run `make python-test` if the schema is missing")
}

#[tokio::test]
async fn the_check_of_the_schema_finds_what_is_wrong() -> Result<()> {
    let text = std::fs::read_to_string(folder().join("grafana/dashboards/ficus-cutover.json"))?;
    let faults = [
        (r#""unit": "s""#, r#""unitt": "s""#, "unitt is not in the schema"),
        (r#""drawStyle": "line""#, r#""drawStyle": "lines""#, "not one of ['line', 'bars', 'points']"),
        (r#""legendFormat""#, r#""legend_format""#, "legend_format is not in the schema"),
        (r#""schemaVersion": 38"#, r#""schemaVersion": "38""#, "not of int"),
        (r#""keepTime": true"#, r#""keepTime": 1"#, "not of bool"),
        (r#""type": "custom""#, r#""type": "costum""#, "not one of ['query', "),
    ];
    let directory = tempfile::tempdir()?;
    for (right, wrong, expected) in faults {
        let file = directory.path().join("wrong.json");
        ensure!(text.contains(right), "{right} is not in the dashboard");
        std::fs::write(&file, text.replace(right, wrong))?;
        let Err(found) = schema(&[file]).await else { anyhow::bail!("{wrong} is not found") };
        ensure!(format!("{found:#}").contains(expected), "for {wrong}: {found:#}");
    }
    Ok(())
}

#[test]
fn every_panel_has_a_place_a_unit_and_a_description() -> Result<()> {
    let names: BTreeSet<String> = dashboards()?.iter().filter_map(|dashboard| Some(dashboard["uid"].as_str()?.to_owned())).collect();
    let expected = ["ficus-capability", "ficus-cutover", "ficus-gateway", "ficus-overview", "ficus-sync"];
    ensure!(names.iter().map(String::as_str).eq(expected), "the dashboards are {names:?}");
    for dashboard in dashboards()? {
        ensure!(dashboard["tags"] == serde_json::json!(["ficus"]), "{} is not among those that link to each other", dashboard["title"]);
        let links = list(&dashboard["links"]);
        ensure!(links.iter().any(|link| link["tags"] == dashboard["tags"]), "{} does not link to the others", dashboard["title"]);
        let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&dashboard["panels"]) {
            let title = title(panel);
            ensure!(ids.insert(panel["id"].as_u64()), "the id of `{title}` is not its own");
            let cell = |name: &str| panel["gridPos"][name].as_u64().with_context(|| format!("`{title}` has no {name}"));
            let (x, y, w, h) = (cell("x")?, cell("y")?, cell("w")?, cell("h")?);
            ensure!(x + w <= 24, "`{title}` is wider than the grid");
            let overlaps = (y..y + h).flat_map(|y| (x..x + w).map(move |x| (x, y))).any(|cell| !taken.insert(cell));
            ensure!(!overlaps, "`{title}` lies over another panel");
            if panel["type"] != "row" {
                is_told(panel, &names).with_context(|| format!("`{title}` of {}", dashboard["title"]))?;
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_provisioned_is_where_the_dashboards_are() -> Result<()> {
    let provisioning = folder().join("grafana/provisioning");
    let sources = yaml(&provisioning.join("datasources/ficus.yaml"))?;
    let scrapes = yaml(&folder().join("prometheus/prometheus.yml"))?;
    let [source] = list(&sources["datasources"]) else { anyhow::bail!("there is one data source: {sources}") };
    ensure!(sources["apiVersion"] == 1 && source["type"] == "prometheus" && source["access"] == "proxy", "{source}");
    ensure!(source["url"] == "http://127.0.0.1:9090", "Prometheus listens at 9090 unless it is told otherwise: {source}");
    ensure!(source["isDefault"] == true, "the dashboards' variable `datasource` begins with the default one: {source}");
    ensure!(source["jsonData"]["timeInterval"] == scrapes["global"]["scrape_interval"], "the intervals differ: {source}");
    let providers = yaml(&provisioning.join("dashboards/ficus.yaml"))?;
    let [provider] = list(&providers["providers"]) else { anyhow::bail!("there is one folder of dashboards: {providers}") };
    ensure!(providers["apiVersion"] == 1 && provider["type"] == "file" && provider["name"].is_string(), "{provider}");
    let mounted = provider["options"]["path"].as_str().context("no path")?;
    let readme = std::fs::read_to_string(folder().join("README.md"))?;
    for mount in
        [format!("dashboards/grafana/dashboards:{mounted}:ro"), "dashboards/grafana/provisioning:/etc/grafana/provisioning:ro".into()]
    {
        ensure!(readme.contains(&mount), "the README does not mount {mount}");
    }
    Ok(())
}

/// The panels that must be there, by dashboard: title and kind.
const PANELS: &[(&str, &[(&str, &str)])] = &[
    (
        "ficus-overview",
        &[
            ("Requests answered by new services", "stat"),
            ("Capabilities that have moved", "stat"),
            ("Where every capability stands", "table"),
            ("Phases", "state-timeline"),
            ("What waits for what", "table"),
        ],
    ),
    (
        "ficus-capability",
        &[
            ("Monolith: requests", "timeseries"),
            ("New service: requests", "timeseries"),
            ("Monolith: latency", "heatmap"),
            ("New service: latency", "heatmap"),
            ("Errors", "timeseries"),
            ("Readers on the new service", "timeseries"),
            ("Comparisons", "timeseries"),
            ("Different answers", "timeseries"),
            ("Verdicts", "state-timeline"),
        ],
    ),
    (
        "ficus-sync",
        &[
            ("Lag", "timeseries"),
            ("Backlog, in bytes", "timeseries"),
            ("Rows applied", "timeseries"),
            ("Rows that differ", "stat"),
            ("Drift, by table", "timeseries"),
            ("Rows set aside", "stat"),
            ("Log kept for the agent", "timeseries"),
        ],
    ),
    (
        "ficus-cutover",
        &[
            ("Phases", "state-timeline"),
            ("Writes", "timeseries"),
            ("Fence", "timeseries"),
            ("Lag", "timeseries"),
            ("The last one, stage by stage", "bargauge"),
            ("Pause of the writes", "stat"),
        ],
    ),
    (
        "ficus-gateway",
        &[
            ("Connections", "timeseries"),
            ("Connections refused", "timeseries"),
            ("Servers that do not answer", "timeseries"),
            ("Instances", "timeseries"),
            ("Sent to another instance", "timeseries"),
            ("Kept answers", "timeseries"),
            ("Latency", "heatmap"),
        ],
    ),
];

#[test]
fn what_must_be_seen_has_its_panel() -> Result<()> {
    for dashboard in dashboards()? {
        let uid = dashboard["uid"].as_str().unwrap_or_default();
        let (_, panels) = PANELS.iter().find(|(of, _)| *of == uid).with_context(|| format!("nobody says what {uid} must show"))?;
        for (wanted, kind) in *panels {
            let there = list(&dashboard["panels"]).iter().any(|panel| title(panel) == *wanted && panel["type"] == *kind);
            ensure!(there, "{uid} has no `{wanted}` ({kind})");
        }
    }
    Ok(())
}

/// A file of YAML, read by Python, which the checks of manifests need anyway.
fn yaml(file: &Path) -> Result<Value> {
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let output = Command::new(school::python()?).args(["-c", script]).arg(file).output()?;
    ensure!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// It says what it shows, in which unit, and what there is when there is nothing.
fn is_told(panel: &Value, dashboards: &BTreeSet<String>) -> Result<()> {
    let defaults = &panel["fieldConfig"]["defaults"];
    ensure!(!list(&panel["targets"]).is_empty(), "it shows nothing");
    ensure!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "it does not say what it shows");
    ensure!(defaults["unit"].as_str().is_some_and(|unit| !unit.is_empty()), "it has no unit");
    ensure!(defaults["noValue"].is_string(), "it would say `No data` where there is nothing yet");
    for target in list(&panel["targets"]) {
        ensure!(target["datasource"]["uid"] == "${datasource}", "it is bound to one data source");
    }
    for link in panel.to_string().split("/d/").skip(1) {
        let uid: String = link.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        ensure!(dashboards.contains(&uid), "it links to {uid}, which does not exist");
    }
    Ok(())
}

async fn schema(files: &[PathBuf]) -> Result<()> {
    let mut check = Command::new(school::python()?);
    check.args(["-B", "schema.py"]).args(files).current_dir(folder().join("grafana"));
    school::run(check).await
}

fn files() -> Result<Vec<PathBuf>> {
    let folder: &Path = &folder().canonicalize()?.join("grafana/dashboards");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn title(panel: &Value) -> &str {
    panel["title"].as_str().unwrap_or("")
}
