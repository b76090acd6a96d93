//! `ficus check`: configuration and rules, without anything running; with `--live` the databases, too.

mod live;

use std::path::Path;

use anyhow::{Result, bail};
use ficus_rules::count::{self, counted};
use ficus_rules::spec::{self, Complaint};
use ficus_rules::wire::RuleFile;

use crate::args::{Args, Check};
use crate::config::Config;
use crate::exit::BadConfiguration;
use crate::run;

/// Prints every complaint; fails with exit code 64 if one of them is no warning.
pub(crate) async fn execute(args: &Args, asked: &Check) -> Result<()> {
    let config = Config::load(&args.config)?;
    let directory = asked.rules.as_deref().unwrap_or(&config.rules);
    let files = read(directory)?;
    let (of_rules, checked) = match spec::load(&files, &run::known(&config)) {
        Ok(checked) => {
            let routes: usize = checked.rules.capabilities.values().map(|c| c.routes.len()).sum();
            let tests: usize = checked.rules.capabilities.values().map(|c| c.tests.len()).sum();
            let summary = {
                let capabilities = counted(checked.rules.capabilities.len() as u64, "capability", "capabilities");
                format!("{capabilities}, {}, {} passed", count::of(routes as u64, "route"), count::of(tests as u64, "test"))
            };
            (checked.warnings, Some((checked.rules, summary)))
        }
        Err(complaints) => (complaints, None),
    };
    let complaints: Vec<Complaint> = config.warnings.iter().cloned().chain(of_rules).collect();
    let goes_on = asked.live && checked.is_some();
    if args.json && !goes_on {
        super::print_json(&complaints)?;
    } else if !args.json {
        for complaint in &complaints {
            println!("{complaint}");
        }
    }
    let Some((rules, summary)) = checked else {
        let errors = complaints.iter().filter(|c| !c.warning).count();
        bail!(BadConfiguration(format!("{} in {}: the rules would not be served", count::of(errors as u64, "error"), directory.display())));
    };
    if !args.json {
        println!("{}: {summary}", directory.display());
    }
    if asked.live { live::execute(args, asked, &config, &rules, complaints).await } else { Ok(()) }
}

/// The rule files of a directory, as the orchestrator reads them.
pub(crate) fn read(directory: &Path) -> Result<Vec<RuleFile>> {
    let failed = |error| BadConfiguration(format!("cannot read the rules in {}: {error}", directory.display()));
    Ok(ficus_orchestrator::read_rules(directory).map_err(failed)?)
}

/// The rules of local files, or all complaints as one error.
pub(crate) fn load(files: &[RuleFile], known: &spec::Known) -> Result<ficus_rules::plan::RuleSet> {
    match spec::load(files, known) {
        Ok(checked) => Ok(checked.rules),
        Err(complaints) => bail!(BadConfiguration(complaints.iter().map(Complaint::to_string).collect::<Vec<_>>().join("\n"))),
    }
}
