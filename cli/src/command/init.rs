//! `ficus init`: asks a Django or Flask project what it consists of, and writes a first configuration that serves all of it
//! from the monolith. The project is looked at by its own Python ([`look.py`](init/look.py)), and not changed.

mod found;
mod propose;
mod text;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;
use ficus_rules::count::{self, counted};
use ficus_rules::spec::Known;
use ficus_rules::wire::RuleFile;
use tokio::process::Command;

use self::found::Project;
use super::{check, schema};
use crate::args::{Args, Init, SchemaOf};

const LOOK: &str = include_str!("init/look.py");

/// Where rule files find theirs.
pub(super) const SCHEMA_OF_RULES: &str = "../schema/rules.schema.json";

/// An application that is not loaded by then waits for something.
const PATIENCE: Duration = Duration::from_secs(60);

/// One file that is to be written.
struct Written {
    path: PathBuf,
    text: String,
}

/// Looks, proposes, and writes or prints.
pub(crate) async fn execute(args: &Args, asked: &Init) -> Result<()> {
    let project = look(asked).await?;
    let proposal = propose::propose(&project);
    let folder = args.config.parent().unwrap_or(Path::new("")).to_path_buf();
    let rules: Vec<RuleFile> = proposal
        .capabilities
        .iter()
        .map(|capability| RuleFile { name: format!("{}.toml", capability.name), text: text::rules(capability, &project) })
        .collect();
    let upstreams = proposal.capabilities.iter().map(|capability| format!("{}-service", capability.name));
    let known = Known { upstreams: upstreams.chain(["monolith".to_owned()]).collect(), ..Known::default() };
    check::load(&rules, &known).context("what is proposed would not pass `ficus check`; please report it")?;
    let mut files = vec![Written { path: args.config.clone(), text: text::configuration(&project, &proposal, asked) }];
    files.extend(rules.into_iter().map(|file| Written { path: folder.join("rules").join(file.name), text: file.text }));
    if asked.dry_run {
        files.iter().for_each(|file| println!("# ---- {}\n{}", file.path.display(), file.text));
        return Ok(());
    }
    // What editors complete and check the files by: of this version, and without a network.
    files.extend(
        SchemaOf::value_variants()
            .iter()
            .map(|of| Written { path: folder.join("schema").join(schema::file(*of)), text: schema::text(*of) }),
    );
    write(&files, &[folder.join("rules"), folder.join("schema")], asked.force)?;
    for file in &files {
        println!("{}", file.path.display());
    }
    println!(
        "{} {}: {}, {}, {} proposed; next: `ficus check`, then `ficus run`",
        project.framework,
        project.version,
        count::of(project.routes.len() as u64, "route"),
        count::of(project.tables.len() as u64, "table"),
        counted(proposal.capabilities.len() as u64, "capability", "capabilities")
    );
    Ok(())
}

/// Writes all of them, or none where one would be overwritten.
fn write(files: &[Written], folders: &[PathBuf], force: bool) -> Result<()> {
    let present: Vec<String> = files.iter().filter(|file| file.path.exists()).map(|file| file.path.display().to_string()).collect();
    if !present.is_empty() && !force {
        bail!("already there: {}; name another place with --config, look with --dry-run, or overwrite with --force", present.join(", "));
    }
    for folder in folders {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for file in files {
        std::fs::write(&file.path, &file.text).with_context(|| format!("cannot write {}", file.path.display()))?;
    }
    Ok(())
}

/// Asks the project's own Python.
async fn look(asked: &Init) -> Result<Project> {
    let (kind, what, folder) = match &asked.flask {
        Some(app) => ("flask", app.clone(), PathBuf::from(".")),
        None => {
            let manage = asked.manage.clone().unwrap_or_else(|| PathBuf::from("manage.py"));
            if !manage.is_file() {
                bail!("there is no {}: name Django's with --manage, or a Flask application with --flask module:app", manage.display());
            }
            let folder = manage.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf();
            let name = manage.file_name().context("a file has a name")?.to_string_lossy().into_owned();
            ("django", name, folder)
        }
    };
    let folder = asked.project.clone().unwrap_or(folder);
    let folder = folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))?;
    let python = python(asked.python.as_deref(), &folder)?;
    let mut command = Command::new(&python);
    command.args(["-c", LOOK, kind, &what]).current_dir(&folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::null()).kill_on_drop(true);
    let missing = || format!("cannot start {}: name the project's own Python with --python, like .venv/bin/python", python.display());
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = ended.with_context(|| format!("the project was not loaded within {PATIENCE:?}"))?.with_context(missing)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
        // All of it only where it is not a sentence of ours.
        let trace = if said.contains("Traceback") { format!("\n{}", said.trim_end()) } else { String::new() };
        bail!("{} cannot load the project in {}: {last}{trace}", python.display(), folder.display());
    }
    serde_json::from_slice(&output.stdout).context("the project's Python did not answer as expected")
}

/// The one that is named, that of the project's environment, or the machine's.
fn python(named: Option<&Path>, folder: &Path) -> Result<PathBuf> {
    if let Some(named) = named {
        // A path is one from here, not from the project's folder.
        let path = if named.components().count() > 1 { std::path::absolute(named)? } else { named.to_path_buf() };
        return Ok(path);
    }
    let active = std::env::var_os("VIRTUAL_ENV").map(|environment| PathBuf::from(environment).join("bin/python"));
    let own = [".venv", "venv", "env"].map(|environment| folder.join(environment).join("bin/python"));
    let found = active.into_iter().chain(own).find(|path| path.is_file());
    Ok(found.unwrap_or_else(|| PathBuf::from("python3")))
}
