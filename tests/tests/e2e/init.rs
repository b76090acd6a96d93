//! `ficus init` on real projects: what it writes passes `ficus check`, and a real `ficus run` serves every route as the
//! monolith does: reads, and writes and deletions as a stranger. Which routes there are, the frameworks say themselves. The
//! school, a fresh `django-admin startproject`, and small Flask applications with two blueprints.

mod flask;
mod servers;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use ficus_rules::route::Pattern;
use ficus_tests::caller::{Caller, PASSWORD};
use ficus_tests::http::{Answer, Http};
use ficus_tests::process::{Process, free_port};
use ficus_tests::school::{self, Database};
use hyper::Method;

use super::Directory;

/// A monolith with what `ficus init` wrote for it.
struct Project {
    folder: PathBuf,
    environment: Vec<(OsString, OsString)>,
    monolith: u16,
    gateway: u16,
}

impl Project {
    fn new(folder: &Path) -> Result<Project> {
        Ok(Project { folder: folder.to_owned(), environment: Vec::new(), monolith: free_port()?, gateway: free_port()? })
    }

    fn ficus(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(school::binary("ficus")?);
        command.args(["--config", "ficus.toml"]).args(arguments).current_dir(&self.folder).env_remove("VIRTUAL_ENV");
        command.envs(self.environment.iter().cloned());
        Ok(command)
    }

    /// `ficus init` with what names the project; `Err` says what it printed.
    fn init(&self, what: &[&str]) -> Result<String> {
        let python = school::python()?.canonicalize_parent()?;
        let (address, listen) = (format!("127.0.0.1:{}", self.monolith), format!("127.0.0.1:{}", self.gateway));
        let mut command = self.ficus(&["init", "--python", &python, "--address", &address, "--listen", &listen])?;
        succeeded(command.args(what).output()?)
    }

    /// Serves by what was written, on other ports than the default ones.
    async fn run(&self) -> Result<Process> {
        let printed = succeeded(self.ficus(&["check"])?.output()?)?;
        ensure!(!printed.contains("error"), "{printed}");
        let file = self.folder.join("ficus.toml");
        let text = std::fs::read_to_string(&file)?;
        ensure!(text.contains("listen = \"127.0.0.1:7070\"") && text.contains("[gateway]\n"), "{text}");
        let text = text.replace("127.0.0.1:7070", &format!("127.0.0.1:{}", free_port()?));
        std::fs::write(&file, text.replace("[gateway]\n", "[gateway]\nexpose_side = true\n"))?;
        let running = Process::start("ficus run", &mut self.ficus(&["run"])?, &self.folder.join("ficus.log"))?;
        until_answered(&self.at(self.gateway)).await?;
        Ok(running)
    }

    fn at(&self, port: u16) -> Http {
        Http::new(&format!("http://127.0.0.1:{port}"), Duration::from_secs(20))
    }

    /// Every path that the written files speak of, as they do.
    fn spoken(&self) -> Result<Vec<String>> {
        let mut texts = vec![std::fs::read_to_string(self.folder.join("ficus.toml"))?];
        for entry in std::fs::read_dir(self.folder.join("rules"))? {
            texts.push(std::fs::read_to_string(entry?.path())?);
        }
        let lines = texts.iter().flat_map(|text| text.lines());
        let named = lines.filter_map(|line| line.strip_prefix("path = \"").or(line.strip_prefix("#   /").map(|_| &line[4..])));
        Ok(named.map(|path| path.trim_end_matches('"').to_owned()).collect())
    }

    /// The same, with something in the place of their variables.
    fn paths(&self) -> Result<BTreeSet<String>> {
        Ok(self.spoken()?.iter().map(|path| filled(path)).collect())
    }

    /// Every path that the framework says that it answers; the written files must speak of each.
    fn routes(&self, application: &Application<'_>) -> Result<BTreeSet<String>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/init/routes.py");
        let mut command = Command::new(school::python()?.canonicalize_parent()?);
        command.arg("-B").arg(script).args([application.framework, application.named]).current_dir(application.folder);
        let printed = succeeded(command.envs(self.environment.iter().cloned()).output()?)?;
        let routes: BTreeSet<String> = printed.lines().filter_map(|line| line.strip_prefix("route ")).map(str::to_owned).collect();
        let spoken: Vec<Pattern> = self.spoken()?.iter().filter_map(|path| Pattern::parse(&as_ours(path)).ok()).collect();
        for route in &routes {
            let own = Pattern::parse(route).map_err(|why| anyhow::anyhow!("{route}: {why}"))?;
            ensure!(spoken.iter().any(|pattern| pattern.precedes(&own).is_some()), "nothing is said of {route}, which the project answers");
        }
        Ok(routes)
    }
}

/// What is asked for its routes.
struct Application<'a> {
    /// `django` or `flask`
    framework: &'static str,
    /// Its settings, or its factory.
    named: &'static str,
    folder: &'a Path,
}

/// A program is found from every folder by its whole path; a link in an environment must not be followed.
trait Whole {
    fn canonicalize_parent(&self) -> Result<String>;
}

impl Whole for PathBuf {
    fn canonicalize_parent(&self) -> Result<String> {
        let folder = self.parent().context("a program is in a folder")?.canonicalize()?;
        Ok(folder.join(self.file_name().context("a program has a name")?).display().to_string())
    }
}

/// A path in the words of a framework, in ours.
fn as_ours(path: &str) -> String {
    let segment = |(at, segment): (usize, &str)| match segment {
        varies if varies.contains("<path:") => "{*rest}".to_owned(),
        varies if varies.contains('<') => format!("{{part_{at}}}"),
        plain => plain.to_owned(),
    };
    let ours: Vec<String> = path.split('/').enumerate().map(segment).collect();
    // Nothing follows what takes all that follows.
    let end = ours.iter().position(|segment| segment.starts_with("{*")).map_or(ours.len(), |at| at + 1);
    ours[..end].join("/")
}

/// `1` where a variable stands.
fn filled(path: &str) -> String {
    let mut filled = String::new();
    let mut inside = false;
    for letter in path.chars() {
        match letter {
            '{' | '<' => {
                inside = true;
                filled.push('1');
            }
            '}' | '>' => inside = false,
            _ if !inside => filled.push(letter),
            _ => {}
        }
    }
    filled
}

fn succeeded(output: Output) -> Result<String> {
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{printed}");
    Ok(printed)
}

async fn until_answered(http: &Http) -> Result<()> {
    for _ in 0..400 {
        if http.get("/").await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("{} does not answer within 20 s", http.base())
}

/// Both answered alike: status, type, where to, and, with tokens of one length, a body of one length.
fn alike(path: &str, gateway: &Answer, monolith: &Answer) -> Result<()> {
    // Each has said the address that it was asked at.
    let own = |answer: &Answer, name: &str| {
        answer.header(name).map(|value| value.split_once("://").map_or(value, |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]).to_owned())
    };
    for name in ["content-type", "location", "allow"] {
        let (one, other) = (own(gateway, name), own(monolith, name));
        ensure!(one == other, "{path}: {name} {one:?}, not {other:?}");
    }
    ensure!(gateway.status == monolith.status, "{path}: {}, not {}", gateway.status, monolith.status);
    ensure!(gateway.body.len() == monolith.body.len(), "{path}: {}\nnot\n{}", gateway.text(), monolith.text());
    ensure!(gateway.header("x-ficus-side") == Some("legacy"), "{path} is not served by legacy: {:?}", gateway.headers);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_school_is_served_as_before_by_what_init_writes() -> Result<()> {
    let directory = Directory::new();
    let mut project = Project::new(directory.path())?;
    let database = Database::file(directory.path());
    school::seed(&database, 30).await?;
    let manage = school::manage(&database)?;
    project.environment = manage.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let _monolith = school::start_monolith(&database, project.monolith, &directory.path().join("monolith.log"))?;
    let manage = school::folder().join("monolith/manage.py").display().to_string();

    let shown = project.init(&["--manage", &manage, "--dry-run"])?;
    ensure!(shown.contains("[gateway]") && !directory.path().join("ficus.toml").exists(), "a dry run writes: {shown}");
    project.init(&["--manage", &manage])?;
    let refused = project.init(&["--manage", &manage]).err().context("a second time it overwrites")?.to_string();
    ensure!(refused.contains("--force") && refused.contains("ficus.toml"), "{refused}");
    project.init(&["--manage", &manage, "--force"])?;

    let rules = |name: &str| std::fs::read_to_string(directory.path().join(format!("rules/{name}.toml"))).context(name.to_owned());
    let leave = rules("leave")?;
    for line in [
        "path = \"/manage/leave/{kind}/\"",
        "depends_on = [\"accounts\"]",
        "#   leave_leavereportstudent.student_id -> accounts_student of accounts",
        "legacy = \"leave_leavereportstaff\"",
        "path = \"/admin/leave/{*rest}\"\npin = \"legacy\"\nwrites_tables = true",
    ] {
        ensure!(leave.contains(line), "{line} is not in\n{leave}");
    }
    ensure!(
        rules("accounts")?.contains("#   leave_leavereportstudent.student_id -> accounts_student of accounts   of leave"),
        "keys inwards"
    );
    let configured = std::fs::read_to_string(directory.path().join("ficus.toml"))?;
    ensure!(configured.contains(&format!("database = \"{}\"", database.url())) && !configured.contains(school::SECRET_KEY), "{configured}");
    ensure!(configured.contains("# user_table = \"accounts_customuser\""), "{configured}");

    every_page_of_the_school(&project).await?;
    editors_find_the_schemas(directory.path())?;
    directory.passed();
    Ok(())
}

/// The first line of each file leads to a schema that is there, without a network, and which takes the file.
fn editors_find_the_schemas(folder: &Path) -> Result<()> {
    let mut files = vec![folder.join("ficus.toml")];
    for entry in std::fs::read_dir(folder.join("rules"))? {
        files.push(entry?.path());
    }
    ensure!(files.len() > 5, "{files:?}");
    let validator = school::folder().join("../../../docs/schema/validate.py");
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).with_context(|| format!("{text} has no schema"))?;
        let schema = file.parent().context("a file in no folder")?.join(named);
        let kind = if file.ends_with("ficus.toml") { "ficus.schema.json" } else { "rules.schema.json" };
        ensure!(schema.ends_with(kind), "{} has the schema of others: {named}", file.display());
        let printed = succeeded(Command::new(school::python()?).arg("-B").arg(&validator).arg(&schema).arg(&file).output()?)?;
        ensure!(printed.trim().is_empty(), "{printed}");
    }
    Ok(())
}

/// What an administrator gets of the school is what the monolith gives.
async fn every_page_of_the_school(project: &Project) -> Result<()> {
    let _running = project.run().await?;
    school::until_up(project.at(project.monolith).base(), "/health/").await?;
    let monolith = school::folder().join("monolith");
    let routes = project.routes(&Application { framework: "django", named: "school.settings", folder: &monolith })?;
    ensure!(routes.len() > 150, "only {} routes: {routes:?}", routes.len());
    as_a_stranger(project, &routes).await?;
    let paths = project.paths()?;
    ensure!(paths.len() > 100, "only {} routes: {paths:?}", paths.len());
    let mut by_gateway = Caller::log_in(project.at(project.gateway), "admin1", PASSWORD).await?;
    let mut directly = Caller::log_in(project.at(project.monolith), "admin1", PASSWORD).await?;
    for path in paths.union(&routes) {
        alike(path, &by_gateway.get(path).await?, &directly.get(path).await?)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_django_project_is_served_as_before() -> Result<()> {
    let directory = Directory::new();
    let project = Project::new(directory.path())?;
    let python = school::python()?.canonicalize_parent()?;
    let typed = |arguments: &[&str]| succeeded(Command::new(&python).args(arguments).current_dir(directory.path()).output()?);
    typed(&["-m", "django", "startproject", "shop", "."])?;
    typed(&["manage.py", "migrate", "--verbosity", "0"])?;
    let printed = project.init(&[])?;
    ensure!(printed.contains("0 capabilities proposed"), "{printed}");
    let bind = format!("127.0.0.1:{}", project.monolith);
    let mut command = Command::new(&python);
    command.args(["-m", "gunicorn", "--bind", &bind, "shop.wsgi"]).current_dir(directory.path());
    let _monolith = Process::start("gunicorn", &mut command, &directory.path().join("gunicorn.log"))?;
    until_answered(&project.at(project.monolith)).await?;
    let _running = project.run().await?;
    let mut paths = project.paths()?;
    ensure!(paths.contains("/admin/") && paths.len() > 10, "{paths:?}");
    // The page that greets whoever has made a project is no route.
    paths.insert("/".to_owned());
    served(&project, &paths, &Application { framework: "django", named: "shop.settings", folder: directory.path() }).await?;
    directory.passed();
    Ok(())
}

const FLASK: &str = r#"
from flask import Blueprint, Flask, jsonify, redirect
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

db = SQLAlchemy()
books = Blueprint("books", __name__)
loans = Blueprint("loans", __name__, url_prefix="/loans")


class Book(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)


class Loan(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))


@books.get("/books/")
def all_books():
    return jsonify(["one", "two"])


@books.route("/books/<int:pk>", methods=["GET", "DELETE"])
def book(pk):
    return jsonify(pk=pk)


@loans.post("/")
def lend():
    return "", 201


@loans.get("/of/<path:who>")
def of(who):
    return who


def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///library.sqlite3"
    db.init_app(app)
    app.register_blueprint(books)
    app.register_blueprint(loans)
    app.get("/")(lambda: redirect("/books/"))
    print("what an application prints is no answer")
    return app
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flask_application_is_served_as_before() -> Result<()> {
    let directory = Directory::new();
    let project = Project::new(directory.path())?;
    std::fs::write(directory.path().join("library.py"), FLASK)?;
    let printed = project.init(&["--flask", "library:create_app"])?;
    ensure!(printed.contains("3 capabilities proposed"), "{printed}");
    for (name, line) in [
        ("books", "path = \"/books/{pk}\""),
        ("loans", "path = \"/loans/of/{*rest}\""),
        // Of two blueprints in one module neither can claim the models.
        ("app", "legacy = \"book\"\nmodern = \"book\"\n\n[[table]]\nlegacy = \"loan\""),
        ("app", "by = [\"cookie:session\", \"anonymous\"]"),
    ] {
        let rules = std::fs::read_to_string(directory.path().join(format!("rules/{name}.toml")))?;
        ensure!(rules.contains(line), "{line} is not in\n{rules}");
    }
    let bind = format!("127.0.0.1:{}", project.monolith);
    let mut command = Command::new(school::python()?.canonicalize_parent()?);
    command.args(["-m", "gunicorn", "--bind", &bind, "library:create_app()"]).current_dir(directory.path());
    let _monolith = Process::start("gunicorn", &mut command, &directory.path().join("gunicorn.log"))?;
    until_answered(&project.at(project.monolith)).await?;
    let _running = project.run().await?;
    let paths = project.paths()?;
    let expected = ["/", "/books/", "/books/1", "/loans/", "/loans/of/1", "/static/1"];
    ensure!(expected.iter().all(|path| paths.contains(*path)) && paths.len() == expected.len(), "{paths:?}");
    served(&project, &paths, &Application { framework: "flask", named: "library:create_app", folder: directory.path() }).await?;
    directory.passed();
    Ok(())
}

/// What the files speak of, and what the framework does, is answered as by the monolith.
async fn served(project: &Project, paths: &BTreeSet<String>, application: &Application<'_>) -> Result<()> {
    let routes = project.routes(application)?;
    ensure!(!routes.is_empty(), "the framework knows no route");
    as_a_stranger(project, &paths.union(&routes).cloned().collect()).await
}

/// Reads, writes and deletes without having logged in: Django refuses most of it for want of a token, and so it must here.
async fn as_a_stranger(project: &Project, paths: &BTreeSet<String>) -> Result<()> {
    let (gateway, monolith) = (project.at(project.gateway), project.at(project.monolith));
    for path in paths {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let asked = format!("{method} {path}");
            let by_gateway = gateway.send(method.clone(), path, &[], Bytes::new()).await.with_context(|| asked.clone())?;
            let directly = monolith.send(method, path, &[], Bytes::new()).await.with_context(|| asked.clone())?;
            alike(&asked, &by_gateway, &directly)?;
        }
    }
    Ok(())
}

#[test]
fn what_is_missing_is_named_with_its_remedy() -> Result<()> {
    let directory = Directory::new();
    let project = Project::new(directory.path())?;
    let says = |arguments: &[&str], words: &[&str]| -> Result<()> {
        let output = project.ficus(&[&["init"], arguments].concat())?.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{arguments:?} ends with {}: {said}", output.status);
        ensure!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {words:?} are not in\n{said}");
        Ok(())
    };
    says(&[], &["there is no manage.py", "--manage", "--flask"])?;
    std::fs::write(directory.path().join("manage.py"), "import django\n")?;
    says(&["--python", "./no-such-python"], &["no-such-python", "--python"])?;
    // A Python that knows none of the project's packages.
    let bare = directory.path().join("bare");
    std::fs::write(&bare, format!("#!/bin/sh\nexec {} -S -E \"$@\"\n", school::python()?.canonicalize_parent()?))?;
    let mut rights = std::fs::metadata(&bare)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o755);
    std::fs::set_permissions(&bare, rights)?;
    says(&["--python", "./bare"], &["no module 'django'", "--python"])?;
    says(&["--python", "./bare", "--flask", "shop:app"], &["no module 'flask'", "--python"])?;
    let python = school::python()?.canonicalize_parent()?;
    says(&["--python", &python, "--flask", "nowhere:app"], &["no module 'nowhere'", "--flask package.module:app"])?;
    ensure!(!directory.path().join("ficus.toml").exists(), "something was written");
    directory.passed();
    Ok(())
}
