//! Projects whose database is a server: what `ficus init` writes of it is where the agent finds it, with the password in a
//! file, and everything is served as before. The school on PostgreSQL, a Django project on MariaDB, Flask on both.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ficus_tests::process::Process;
use ficus_tests::school::{self, Database};

use super::{Application, FLASK, Project, Whole as _, every_page_of_the_school, served, succeeded, until_answered};
use crate::Directory;
use crate::{mariadb, postgres};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_school_on_postgresql_is_served_as_before() -> Result<()> {
    let directory = Directory::new();
    let server = postgres::Server::shared();
    let name = server.database().await;
    let database = Database::server(&server.url(&name), directory.path());
    let mut project = Project::new(directory.path())?;
    school::seed(&database, 30).await?;
    let manage = school::manage(&database)?;
    project.environment = manage.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let _monolith = school::start_monolith(&database, project.monolith, &directory.path().join("monolith.log"))?;
    project.init(&["--manage", &school::folder().join("monolith/manage.py").display().to_string()])?;
    let url = format!("postgres://{}@127.0.0.1:{}/{name}?password_file=", postgres::AGENT, server.port);
    named(&project, &url, postgres::PASSWORD)?;
    every_page_of_the_school(&project).await?;
    reached(&project, "leave", &url, &server.database().await, "PostgreSQL")?;
    directory.passed();
    Ok(())
}

/// An application with a table that another one refers to.
const MODELS: &str = r#"
from django.db import models


class Shelf(models.Model):
    name = models.CharField(max_length=40, unique=True)


class Item(models.Model):
    shelf = models.ForeignKey(Shelf, on_delete=models.CASCADE)
    name = models.CharField(max_length=40)
"#;
const URLS: &str = r#"
from django.contrib import admin
from django.urls import path
from stock import views

urlpatterns = [path("admin/", admin.site.urls), path("shelves/", views.shelves), path("shelves/<int:pk>/", views.shelf)]
"#;
const VIEWS: &str = r#"
from django.http import JsonResponse
from django.shortcuts import get_object_or_404

from .models import Shelf


def shelves(request):
    return JsonResponse({"shelves": list(Shelf.objects.order_by("id").values("id", "name"))})


def shelf(request, pk):
    return JsonResponse({"name": get_object_or_404(Shelf, pk=pk).name})
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_django_project_on_mariadb_is_served_as_before() -> Result<()> {
    let directory = Directory::new();
    let server = mariadb::Server::shared();
    let name = server.database().await;
    let project = Project::new(directory.path())?;
    let python = school::python()?.canonicalize_parent()?;
    let typed = |arguments: &[&str]| succeeded(Command::new(&python).args(arguments).current_dir(directory.path()).output()?);
    typed(&["-m", "django", "startproject", "shop", "."])?;
    typed(&["manage.py", "startapp", "stock"])?;
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text);
    let settings = std::fs::read_to_string(directory.path().join("shop/settings.py"))?;
    let database = format!(
        "\nimport pymysql\npymysql.install_as_MySQLdb()\nINSTALLED_APPS += ['stock']\nDATABASES = {{'default': {{'ENGINE': 'django.db.backends.mysql', \
         'NAME': '{name}', 'HOST': '127.0.0.1', 'PORT': {}, 'USER': '{}', 'PASSWORD': {:?}}}}}\n",
        server.port,
        mariadb::AGENT,
        mariadb::PASSWORD
    );
    write("shop/settings.py", &(settings + &database))?;
    write("stock/models.py", MODELS)?;
    write("stock/views.py", VIEWS)?;
    write("shop/urls.py", URLS)?;
    typed(&["manage.py", "makemigrations", "stock", "--verbosity", "0"])?;
    typed(&["manage.py", "migrate", "--verbosity", "0"])?;
    typed(&["manage.py", "shell", "-c", "from stock.models import Shelf; Shelf.objects.create(name='top')"])?;
    let printed = project.init(&[])?;
    ensure!(printed.contains("2 tables, 1 capability proposed"), "{printed}");
    let url = format!("mysql://{}@127.0.0.1:{}/{name}?password_file=", mariadb::AGENT, server.port);
    named(&project, &url, mariadb::PASSWORD)?;
    let rules = std::fs::read_to_string(directory.path().join("rules/stock.toml"))?;
    let parents_first = rules.find("legacy = \"stock_shelf\"").zip(rules.find("legacy = \"stock_item\""));
    ensure!(parents_first.is_some_and(|(parent, child)| parent < child), "{rules}");
    let bind = format!("127.0.0.1:{}", project.monolith);
    let mut command = Command::new(&python);
    command.args(["-m", "gunicorn", "--bind", &bind, "shop.wsgi"]).current_dir(directory.path());
    let _monolith = Process::start("gunicorn", &mut command, &directory.path().join("gunicorn.log"))?;
    until_answered(&project.at(project.monolith)).await?;
    let _running = project.run().await?;
    let paths = project.paths()?;
    ensure!(["/shelves/", "/shelves/1/", "/admin/"].iter().all(|path| paths.contains(*path)), "{paths:?}");
    served(&project, &paths, &Application { framework: "django", named: "shop.settings", folder: directory.path() }).await?;
    let shelf = project.at(project.gateway).get("/shelves/1/").await?.text();
    ensure!(shelf.contains("top"), "it is not of the database: {shelf}");
    reached(&project, "stock", &url, &server.database().await, "MariaDB")?;
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flask_application_on_postgresql_is_served_as_before() -> Result<()> {
    let server = postgres::Server::shared();
    let name = server.database().await;
    let address = format!("127.0.0.1:{}/{name}", server.port);
    let found = Found { address, role: postgres::AGENT, password: postgres::PASSWORD, driver: "postgresql+psycopg", scheme: "postgres" };
    flask(&found, &server.database().await, "PostgreSQL").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flask_application_on_mariadb_is_served_as_before() -> Result<()> {
    let server = mariadb::Server::shared();
    let name = server.database().await;
    let address = format!("127.0.0.1:{}/{name}", server.port);
    let found = Found { address, role: mariadb::AGENT, password: mariadb::PASSWORD, driver: "mysql+pymysql", scheme: "mysql" };
    flask(&found, &server.database().await, "MariaDB").await
}

/// Where SQLAlchemy finds the database, and Ficus.
struct Found {
    address: String,
    role: &'static str,
    password: &'static str,
    driver: &'static str,
    scheme: &'static str,
}

async fn flask(found: &Found, other: &str, engine: &str) -> Result<()> {
    let Found { address, role, password, driver, scheme } = found;
    let directory = Directory::new();
    let project = Project::new(directory.path())?;
    let password_in_url = password.replace('\'', "%27").replace(' ', "%20");
    let text = FLASK
        .replace("sqlite:///library.sqlite3", &format!("{driver}://{role}:{password_in_url}@{address}"))
        .replace("return jsonify([\"one\", \"two\"])", "return jsonify([book.id for book in db.session.query(Book)])")
        .replace("    app.get(\"/\")", "    with app.app_context():\n        db.create_all()\n        if not db.session.get(Book, 4711):\n            db.session.add(Book(id=4711))\n            db.session.commit()\n    app.get(\"/\")");
    std::fs::write(directory.path().join("library.py"), text)?;
    let printed = project.init(&["--flask", "library:create_app"])?;
    ensure!(printed.contains("2 tables, 3 capabilities proposed"), "{printed}");
    let url = format!("{scheme}://{role}@{address}?password_file=");
    named(&project, &url, password)?;
    let bind = format!("127.0.0.1:{}", project.monolith);
    let mut command = Command::new(school::python()?.canonicalize_parent()?);
    command.args(["-m", "gunicorn", "--bind", &bind, "library:create_app()"]).current_dir(directory.path());
    let _monolith = Process::start("gunicorn", &mut command, &directory.path().join("gunicorn.log"))?;
    until_answered(&project.at(project.monolith)).await?;
    let _running = project.run().await?;
    let application = Application { framework: "flask", named: "library:create_app", folder: directory.path() };
    served(&project, &project.paths()?, &application).await?;
    let books = project.at(project.gateway).get("/books/").await?.text();
    ensure!(books.contains("4711"), "they are not of the database: {books}");
    reached(&project, "app", &url, other, engine)?;
    directory.passed();
    Ok(())
}

/// The configuration names the database without its password, for the time when the agent may reach it.
fn named(project: &Project, url: &str, password: &str) -> Result<()> {
    let text = std::fs::read_to_string(project.folder.join("ficus.toml"))?;
    ensure!(text.contains(&format!("# database = \"{url}")), "{url} is not in\n{text}");
    ensure!(!text.contains(password) && !text.contains("secret%20"), "the password is in\n{text}");
    std::fs::write(project.folder.join("password"), password)?;
    Ok(())
}

/// As somebody goes on who takes the marks away: the database is reached as it is named, with the password in a file.
fn reached(project: &Project, capability: &str, url: &str, other: &str, engine: &str) -> Result<()> {
    let file = project.folder.join("ficus.toml");
    let text = std::fs::read_to_string(&file)?;
    let line = |start: &str| {
        text.lines().find(|line| line.starts_with(start)).map(str::to_owned).with_context(|| format!("{start} is not in\n{text}"))
    };
    let (own, assumed) = (line(&format!("# database = \"{url}"))?, format!("# database = \"postgres://ficus@127.0.0.1/{capability}?"));
    let (before, _) = url.rsplit_once('/').context("a URL has a database")?;
    let elsewhere = format!("database = \"{before}/{other}?password_file=password\"");
    let text = text.replace(&own, &format!("database = \"{url}password\"")).replace(&line(&assumed)?, &elsewhere);
    std::fs::write(&file, text)?;
    let output = project.ficus(&["check", "--live", "--capability", capability])?.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // The new service has no tables yet: that is all.
    ensure!(
        said.contains(&format!("legacy: monolith ({engine}")) && said.contains(&format!("modern: {capability}-service ({engine}")),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(!said.contains("unreachable") && !said.contains("cannot be reached"), "{said}");
    Ok(())
}
