//! Runbooks: each alert has its page, says what it means, how to look and what to type, and the commands exist.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::prometheus::Prometheus;

use crate::alerts;
use crate::shell::{blocks, commands, docs, pages, parse, run};

/// What every page must have, in this order.
const HEADINGS: [&str; 3] = ["## What it means", "## How to look", "## What to type"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alert_links_to_its_page_and_says_what_to_type() -> Result<()> {
    let directory = tempfile::tempdir()?;
    // It scrapes itself: only the rules matter here.
    let prometheus = Prometheus::start_alone(directory.path()).await?;
    let alerts = prometheus.alerts().await?;
    ensure!(!alerts.is_empty(), "there are no alerts");
    for alert in alerts {
        let name = alert["name"].as_str().context("an alert without a name")?;
        for annotation in ["summary", "description", "runbook"] {
            ensure!(alert["annotations"][annotation].is_string(), "{name} has no {annotation}");
        }
        let severity = alert["labels"]["severity"].as_str().unwrap_or("");
        ensure!(["critical", "warning"].contains(&severity), "{name} has the severity `{severity}`");
        let link = alert["annotations"]["runbook_url"].as_str().unwrap_or("");
        ensure!(link == format!("{{{{ $externalLabels.runbooks }}}}/{name}.md"), "{name} links to `{link}`");
        let typed = commands(&alert["annotations"]["runbook"].as_str().unwrap_or("").replace("{{ $labels.capability }}", "NAME"));
        ensure!(!typed.is_empty(), "the runbook of {name} does not say what to type");
        typed
            .iter()
            .try_for_each(|command| parse(command).and_then(|()| run(command)))
            .with_context(|| format!("the annotation of {name}"))?;
    }
    Ok(())
}

#[test]
fn every_alert_has_a_page_whose_commands_exist() -> Result<()> {
    let folder = docs().join("runbooks");
    let alerts: BTreeSet<String> = alerts::names()?.into_iter().collect();
    let index = std::fs::read_to_string(folder.join("README.md"))?;
    let mut written = BTreeSet::new();
    for page in pages(&folder)? {
        let name = page.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if name == "README" {
            continue;
        }
        let text = std::fs::read_to_string(&page)?;
        ensure!(text.starts_with(&format!("# {name}\n")), "{name}.md has another title");
        ensure!(index.contains(&format!("[{name}]({name}.md)")), "the index does not lead to {name}.md");
        let places: Vec<Option<usize>> = HEADINGS.iter().map(|heading| text.find(heading)).collect();
        ensure!(places.iter().all(Option::is_some) && places.is_sorted(), "{name}.md does not have {HEADINGS:?} in this order");
        let typed = commands(&text);
        ensure!(!typed.is_empty(), "{name}.md does not say what to type");
        typed.iter().try_for_each(|command| parse(command)).with_context(|| format!("{name}.md"))?;
        blocks(&text).iter().try_for_each(|command| run(command)).with_context(|| format!("{name}.md"))?;
        written.insert(name);
    }
    ensure!(alerts == written, "alerts without a page, or pages without an alert: {:?}", &alerts ^ &written);
    Ok(())
}
