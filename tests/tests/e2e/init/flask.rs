//! A Flask application in modules, as larger ones are: each blueprint beside its models, and foreign keys both ways between them.
//! Once with Flask-SQLAlchemy, once with SQLAlchemy alone.

use std::path::Path;

use super::*;

const FACTORY: &str = r#"
from flask import Flask, redirect


def create_app():
    from . import catalogue, lending, people
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///library.sqlite3"
    INIT
    app.register_blueprint(catalogue.books)
    app.register_blueprint(lending.loans)
    app.get("/")(lambda: redirect("/books/"))
    return app
"#;

const EXTENSION: &str = "from flask_sqlalchemy import SQLAlchemy\n\ndb = SQLAlchemy()\nModel = db.Model\n";

const ALONE: &str = r#"
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase

engine = create_engine("sqlite:///library.sqlite3")


class Model(DeclarativeBase):
    pass
"#;

const CATALOGUE: &str = r#"
from flask import Blueprint, jsonify
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from .base import Model

books = Blueprint("books", __name__, url_prefix="/books")


class Book(Model):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    last_loan_id: Mapped[int] = mapped_column(ForeignKey("loan.number", use_alter=True))


@books.get("/")
def all_books():
    return jsonify(["one", "two"])


@books.route("/<int:pk>", methods=["GET", "DELETE"])
def book(pk):
    return jsonify(pk=pk)
"#;

const LENDING: &str = r#"
from flask import Blueprint
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from .base import Model

loans = Blueprint("loans", __name__, url_prefix="/loans")


class Loan(Model):
    __tablename__ = "loan"
    number: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))
    reader_id: Mapped[int] = mapped_column(ForeignKey("reader.id"))


@loans.post("/")
def lend():
    return "", 201


@loans.get("/of/<path:who>")
def of(who):
    return who
"#;

const PEOPLE: &str = r#"
from sqlalchemy.orm import Mapped, mapped_column

from .base import Model


class Reader(Model):
    __tablename__ = "reader"
    id: Mapped[int] = mapped_column(primary_key=True)
"#;

/// What each rule file says of tables, and of keys that cross.
const EXPECTED: [(&str, &str); 8] = [
    ("books", "legacy = \"book\"\nmodern = \"book\"\n"),
    ("books", "#   book.last_loan_id -> loan of loans\n"),
    ("books", "#   loan.book_id -> book of books   of loans\n"),
    ("loans", "legacy = \"loan\"\nmodern = \"loan\"\nkey = \"number\"\n"),
    ("loans", "#   loan.book_id -> book of books\n"),
    ("loans", "#   book.last_loan_id -> loan of loans   of books\n"),
    ("loans", "#   loan.reader_id -> reader of app\n"),
    // Of models beside two blueprints nobody can tell whose they are.
    ("app", "legacy = \"reader\"\nmodern = \"reader\"\n"),
];

fn write(folder: &Path, base: &str, init: &str) -> Result<()> {
    let library = folder.join("library");
    std::fs::create_dir_all(&library)?;
    let factory = FACTORY.replace("INIT", init);
    for (name, text) in [("__init__", factory.as_str()), ("base", base), ("catalogue", CATALOGUE), ("lending", LENDING), ("people", PEOPLE)]
    {
        std::fs::write(library.join(format!("{name}.py")), text)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_between_blueprints_are_proposed_and_every_route_is_served() -> Result<()> {
    proposed("from .base import db; db.init_app(app)", EXTENSION).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_between_blueprints_are_proposed_without_the_extension_too() -> Result<()> {
    proposed("pass", ALONE).await
}

async fn proposed(init: &str, base: &str) -> Result<()> {
    let directory = Directory::new();
    let project = Project::new(directory.path())?;
    write(directory.path(), base, init)?;
    let printed = project.init(&["--flask", "library:create_app"])?;
    ensure!(printed.contains("3 tables, 3 capabilities proposed"), "{printed}");
    let rules = |name: &str| std::fs::read_to_string(directory.path().join(format!("rules/{name}.toml"))).context(name.to_owned());
    for (name, line) in EXPECTED {
        ensure!(rules(name)?.contains(line), "{line} is not in\n{}", rules(name)?);
    }
    // THEN one waits for the other, and not both for each other
    let waits = [rules("books")?.contains("depends_on = [\"loans\"]"), rules("loans")?.contains("\"books\"")];
    ensure!(waits == [true, false], "who waits for whom: {waits:?}");
    let configured = std::fs::read_to_string(directory.path().join("ficus.toml"))?;
    ensure!(configured.contains("library.sqlite3"), "{configured}");

    let bind = format!("127.0.0.1:{}", project.monolith);
    let mut command = Command::new(school::python()?.canonicalize_parent()?);
    command.args(["-m", "gunicorn", "--bind", &bind, "library:create_app()"]).current_dir(directory.path());
    let _monolith = Process::start("gunicorn", &mut command, &directory.path().join("gunicorn.log"))?;
    until_answered(&project.at(project.monolith)).await?;
    let _running = project.run().await?;
    let paths = project.paths()?;
    ensure!(paths.contains("/books/1") && paths.contains("/loans/of/1"), "{paths:?}");
    served(&project, &paths, &Application { framework: "flask", named: "library:create_app", folder: directory.path() }).await?;
    directory.passed();
    Ok(())
}
