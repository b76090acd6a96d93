//! The school: its Django monolith under gunicorn, and the new users service. Real programs on free ports.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::http::Http;
use crate::process::Process;

/// Django's SECRET_KEY in the tests.
pub const SECRET_KEY: &str = "the-school-of-the-tests-signs-with-this-key-and-nobody-else-does";

/// Where the monolith's rows are.
#[derive(Debug, Clone)]
pub struct Database {
    /// What the settings take: the path of a file, or a server's URL.
    name: String,
    media: PathBuf,
}

impl Database {
    /// `school.sqlite3` in a directory.
    pub fn file(directory: &Path) -> Database {
        Database { name: directory.join("school.sqlite3").display().to_string(), media: directory.join("media") }
    }

    /// An empty database on a PostgreSQL server.
    pub fn server(url: &str, directory: &Path) -> Database {
        Database { name: url.to_owned(), media: directory.join("media") }
    }

    /// As `ficus.toml` names it.
    pub fn url(&self) -> String {
        if self.is_file() { format!("sqlite://{}", self.name) } else { self.name.clone() }
    }

    fn is_file(&self) -> bool {
        !self.name.contains("://")
    }
}

/// The folder of the example system.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systems/student-management")
}

/// A binary of this workspace, built beside the running one.
///
/// # Errors
/// It was not built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.ancestors().find(|path| path.ends_with("debug") || path.ends_with("release")).context("not below target/")?;
    let path = folder.join(name);
    ensure!(path.exists(), "{} is not built: run `cargo build --workspace` first", path.display());
    Ok(path)
}

/// The Python of the environment that `make python` installs.
///
/// # Errors
/// There is none.
pub fn python() -> Result<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    let python = std::env::var_os("FICUS_PYTHON").map_or(venv, PathBuf::from);
    ensure!(python.exists(), "{} is missing: run `make python` first", python.display());
    Ok(python)
}

/// `manage.py` with the settings of a school.
///
/// # Errors
/// There is no Python environment.
pub fn manage(database: &Database) -> Result<Command> {
    let mut command = Command::new(python()?);
    command.arg("manage.py").current_dir(folder().join("monolith"));
    settings(&mut command, database);
    Ok(command)
}

fn settings(command: &mut Command, database: &Database) {
    command.env("SCHOOL_DB", &database.name).env("SCHOOL_SECRET_KEY", SECRET_KEY).env("SCHOOL_FAST_PASSWORDS", "1");
    command.env("SCHOOL_MEDIA", &database.media).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
}

/// Puts a migrated database with `users` users (and all that belongs to them) at `database`. The first call for a file of
/// a size makes it, later ones copy. Dropping the future ends what it started and leaves nothing half-made.
///
/// # Errors
/// Django says why not.
pub async fn seed(database: &Database, users: u32) -> Result<()> {
    if !database.is_file() {
        return make(database, users).await;
    }
    let folder_of_templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/schools");
    std::fs::create_dir_all(&folder_of_templates)?;
    let template = folder_of_templates.join(format!("school-{users}-{:016x}.sqlite3", fingerprint(&folder().join("monolith"))?));
    if !template.exists() {
        let making = tempfile::tempdir_in(&folder_of_templates)?;
        make(&Database::file(making.path()), users).await?;
        let fresh = making.path().join("school.sqlite3");
        // Everything into the one file, so that a copy of it is whole.
        checkpoint(&fresh).await?;
        std::fs::rename(&fresh, &template)?;
    }
    std::fs::copy(&template, &database.name)?;
    Ok(())
}

/// Tables and rows, by Django itself.
async fn make(database: &Database, users: u32) -> Result<()> {
    run(manage_with(database, &["migrate", "--verbosity", "0"])?).await?;
    run(manage_with(database, &["seed", "--users", &users.to_string(), "--seed", "7"])?).await
}

fn manage_with(database: &Database, arguments: &[&str]) -> Result<Command> {
    let mut command = manage(database)?;
    command.args(arguments);
    Ok(command)
}

async fn checkpoint(database: &Path) -> Result<()> {
    let script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA wal_checkpoint(TRUNCATE)'); c.close()";
    let mut command = Command::new(python()?);
    command.args(["-c", script]).arg(database);
    run(command).await
}

/// Runs a command to its end, in a group of its own: a Ctrl-C is for whoever started it, who drops the future then.
///
/// # Errors
/// It fails; the error has what it printed.
pub async fn run(mut command: Command) -> Result<()> {
    command.stdin(Stdio::null()).process_group(0);
    let mut running = tokio::process::Command::from(command);
    let output = running.kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("cannot start {:?}", running.as_std().get_program()))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{:?} failed:\n{}", running.as_std(), String::from_utf8_lossy(&said));
    }
    Ok(())
}

/// A number that changes with the monolith's Python files.
fn fingerprint(folder: &Path) -> Result<u64> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "py") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        std::fs::read(file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// Starts gunicorn on a port.
///
/// # Errors
/// It cannot be started.
pub fn start_monolith(database: &Database, port: u16, log: &Path) -> Result<Process> {
    let mut command = Command::new(python()?);
    command.args(["-m", "gunicorn", "-c", "gunicorn.conf.py"]).current_dir(folder().join("monolith"));
    settings(&mut command, database);
    command.env("SCHOOL_BIND", format!("127.0.0.1:{port}"));
    Process::start("monolith", &mut command, log)
}

/// Makes the users service's tables in the database behind a URL.
///
/// # Errors
/// It says why not.
pub async fn migrate_service(database: &str) -> Result<()> {
    let mut command = Command::new(binary("users-service")?);
    command.arg("migrate").env("USERS_DATABASE", database);
    run(command).await
}

/// Starts the users service on a port.
///
/// # Errors
/// It cannot be started.
pub fn start_service(database: &str, port: u16, jwks: &str, log: &Path) -> Result<Process> {
    let mut command = Command::new(binary("users-service")?);
    command.env("USERS_DATABASE", database);
    command.env("USERS_LISTEN", format!("127.0.0.1:{port}")).env("FICUS_JWKS_URL", jwks).env("USERS_PASSWORD_ITERATIONS", "2000");
    Process::start("users-service", &mut command, log)
}

/// Waits until a URL answers with success.
///
/// # Errors
/// It does not within [`PATIENCE`]; the error has what it answered last.
pub async fn until_up(base: &str, path: &str) -> Result<()> {
    until_up_while(base, path, || Ok(())).await
}

/// How long a process may take to answer: a machine that is busy with other tests takes its time to start one.
const PATIENCE: Duration = Duration::from_secs(120);

/// The same, for as long as `alive` has no objection.
///
/// # Errors
/// The objection, or as [`until_up`].
pub async fn until_up_while(base: &str, path: &str, mut alive: impl FnMut() -> Result<()>) -> Result<()> {
    let http = Http::new(base, Duration::from_secs(2));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let last = match http.get(path).await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            Ok(answer) => format!("it answered {}", answer.status),
            Err(error) => format!("{error:#}"),
        };
        alive()?;
        if tokio::time::Instant::now() > deadline {
            bail!("{base}{path} did not come up within {PATIENCE:?}: {last}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use ficus_rules::spec::{self, Known};
    use ficus_rules::wire::RuleFile;

    #[test]
    fn the_rules_of_the_demo_are_sound() {
        let text = std::fs::read_to_string(super::folder().join("rules/users.toml")).expect("the file is there");
        let files = [RuleFile { name: "users.toml".into(), text }];
        let known = Known { upstreams: vec!["monolith".into(), "users-service".into()], ..Known::default() };
        match spec::load(&files, &known) {
            Ok(checked) => assert_eq!(checked.rules.capabilities["users"].tables.len(), 6),
            Err(complaints) => panic!("{}", complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        }
    }
}
