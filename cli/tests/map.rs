//! `ficus map init` as a command, on the tables of the student management example.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// As Django makes them.
const LEGACY: &str = r#"
CREATE TABLE "accounts_customuser" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "password" varchar(128) NOT NULL, "last_login" datetime NULL,
  "is_superuser" bool NOT NULL, "username" varchar(150) NOT NULL UNIQUE, "first_name" varchar(150) NOT NULL, "last_name" varchar(150) NOT NULL,
  "email" varchar(254) NOT NULL, "is_staff" bool NOT NULL, "is_active" bool NOT NULL, "date_joined" datetime NOT NULL, "user_type" smallint unsigned NOT NULL);
CREATE TABLE "accounts_customuser_groups" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "customuser_id" bigint NOT NULL REFERENCES "accounts_customuser" ("id"), "group_id" integer NOT NULL);
CREATE TABLE "accounts_adminhod" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "created_at" datetime NOT NULL, "updated_at" datetime NOT NULL,
  "user_id" bigint NOT NULL UNIQUE REFERENCES "accounts_customuser" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "accounts_staff" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "created_at" datetime NOT NULL, "updated_at" datetime NOT NULL,
  "address" text NOT NULL, "user_id" bigint NOT NULL UNIQUE REFERENCES "accounts_customuser" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "accounts_student" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "created_at" datetime NOT NULL, "updated_at" datetime NOT NULL, "gender" varchar(20) NOT NULL,
  "address" text NOT NULL, "course_id" bigint NULL, "session_year_id" bigint NULL, "user_id" bigint NOT NULL UNIQUE REFERENCES "accounts_customuser" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "accounts_usernote" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "text" text NOT NULL, "created_at" datetime NOT NULL,
  "user_id" bigint NOT NULL REFERENCES "accounts_customuser" ("id") DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE "accounts_photo" ("user_id" bigint NOT NULL PRIMARY KEY REFERENCES "accounts_customuser" ("id") DEFERRABLE INITIALLY DEFERRED,
  "content_type" varchar(100) NOT NULL, "sha256" varchar(64) NOT NULL, "data" BLOB NOT NULL, "uploaded_at" datetime NOT NULL);
CREATE TABLE "django_session" ("session_key" varchar(40) NOT NULL PRIMARY KEY, "session_data" text NOT NULL, "expire_date" datetime NOT NULL);
PRAGMA journal_mode = WAL;
"#;

/// As the service makes them.
const MODERN: &str = include_str!("../../tests/systems/student-management/users-service/src/schema.sql");

const CONFIGURATION: &str = "[gateway]
listen = ['127.0.0.1:0']
default = 'monolith'
[upstream.monolith]
address = '127.0.0.1:9'
database = 'sqlite://legacy.sqlite3'
[upstream.users-service]
address = '127.0.0.1:9'
database = 'sqlite://modern.sqlite3'
[upstream.bare]
address = '127.0.0.1:9'
";

async fn database(file: &Path, ddl: &str) {
    let mut connection = SqliteConnectOptions::new().filename(file).create_if_missing(true).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(ddl.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn bed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("rules")).unwrap();
    std::fs::write(dir.path().join("ficus.toml"), CONFIGURATION).unwrap();
    database(&dir.path().join("legacy.sqlite3"), LEGACY).await;
    database(&dir.path().join("modern.sqlite3"), MODERN).await;
    database(&dir.path().join("modern.sqlite3"), "PRAGMA journal_mode = WAL").await;
    dir
}

fn ficus(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ficus")).args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_proposal_of_the_school_passes_check_and_with_its_questions_answered_check_live() {
    // GIVEN the tables of the monolith and of the new service
    let dir = bed().await;
    // WHEN a rule file is proposed
    let (code, text, error) =
        ficus(dir.path(), &["map", "init", "--legacy", "monolith", "--modern", "users-service", "--capability", "users"]);
    assert_eq!(code, 0, "{error}");
    // THEN it finds what a person wrote for the example
    assert!(text.starts_with("#:schema ../schema/rules.schema.json\n"), "editors are not told its schema:\n{text}");
    for line in [
        "legacy = \"accounts_customuser\"",
        "legacy = \"accounts_adminhod\"",
        "legacy = \"accounts_staff\"",
        "legacy = \"accounts_student\"",
        "legacy = \"accounts_usernote\"",
        "legacy = \"accounts_photo\"",
        "sequence = \"seq_users\"",
        "sequence = \"seq_profiles_staff\"",
        "sequence = \"seq_profiles_student\"",
        "sequence = \"seq_notes\"",
        "keep_legacy = [\"last_login\"]",
        "given_name = \"first_name\"",
        "family_name = \"last_name\"",
        "joined_at = \"date_joined\"",
        "kind = { constant = \"student\" }",
        "user_id = { from = \"user_id\", as = \"uuid5\", of = \"accounts_customuser\" }",
    ] {
        assert!(text.lines().any(|written| written.starts_with(line)), "{line} is not in\n{text}");
    }
    // AND it loads as it is
    let file = dir.path().join("rules/users.toml");
    std::fs::write(&file, &text).unwrap();
    let (code, printed, error) = ficus(dir.path(), &["check"]);
    assert_eq!(code, 0, "{printed}{error}\n{text}");
    // AND what is left to do by hand is what it asked
    let (code, printed, _) = ficus(dir.path(), &["check", "--live"]);
    assert_eq!(code, 64, "the role has to be mapped by somebody:\n{printed}");
    let (question, answer) = (
        "# ?   role = { from = \"user_type\", map = { 1 = \"…\", 2 = \"…\" } }\n",
        "role = { from = \"user_type\", map = { 1 = \"admin\", 2 = \"staff\", 3 = \"student\" } }\n",
    );
    assert!(text.contains(question), "{text}");
    let answered = text.replace(question, "").replace("given_name = \"first_name\"", &format!("{answer}given_name = \"first_name\""));
    let answered = answered.replace("{ constant = \"adminhod\" }", "{ constant = \"admin\" }");
    std::fs::write(&file, answered).unwrap();
    let (code, printed, error) = ficus(dir.path(), &["check", "--live"]);
    assert_eq!(code, 0, "{printed}{error}");
}

#[tokio::test]
async fn databases_may_be_named_by_urls_and_tables_by_how_they_begin() {
    let dir = bed().await;
    std::fs::remove_file(dir.path().join("ficus.toml")).unwrap();
    let url = |name: &str| format!("sqlite://{}", dir.path().join(name).display());
    let (legacy, modern) = (url("legacy.sqlite3"), url("modern.sqlite3"));
    let asked = ["map", "init", "--legacy", &legacy, "--modern", &modern, "--tables", "accounts_user", "--json"];
    let (code, printed, error) = ficus(dir.path(), &asked);
    assert_eq!(code, 0, "{error}");
    let told: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(told["pairs"], 1);
    assert!(told["rule_file"].as_str().unwrap().contains("modern = \"notes\""));
}

#[tokio::test]
async fn what_cannot_be_read_is_said() {
    let dir = bed().await;
    for (legacy, modern, why) in [
        ("monolit", "users-service", "no upstream is called monolit (there are: bare, monolith, users-service)"),
        ("monolith", "bare", "upstream bare has no database"),
        ("sqlite:///nowhere/at/all", "users-service", "cannot be opened"),
    ] {
        let (code, printed, error) = ficus(dir.path(), &["map", "init", "--legacy", legacy, "--modern", modern]);
        assert!(code != 0 && error.contains(why) && printed.is_empty(), "{code} {error}");
    }
    let (code, _, error) =
        ficus(dir.path(), &["map", "init", "--legacy", "monolith", "--modern", "users-service", "--capability", "Users!"]);
    assert!(code == 64 && error.contains("cannot name a capability"), "{error}");
}
