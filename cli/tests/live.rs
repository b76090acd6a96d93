//! `ficus check --live` as a command, on SQLite files: what it prints, what it prints as JSON, and its exit codes.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

const CONFIGURATION: &str = "[gateway]
listen = ['127.0.0.1:0']
default = 'monolith'
[upstream.monolith]
address = '127.0.0.1:9'
database = 'sqlite://legacy.sqlite3'
[upstream.service]
address = '127.0.0.1:9'
database = 'sqlite://modern.sqlite3'
";

const RULES: &str = "[capability]
name = 'users'
legacy = 'monolith'
modern = 'service'
[[route]]
path = '/users/{*rest}'
[[step]]
cutover = true
[[table]]
legacy = 'accounts_user'
modern = 'users'
[table.columns]
id = { from = 'id', as = 'uuid5' }
";

struct Bed {
    dir: tempfile::TempDir,
}

impl Bed {
    async fn new() -> Bed {
        let bed = Bed { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(bed.dir.path().join("rules")).unwrap();
        std::fs::write(bed.dir.path().join("ficus.toml"), CONFIGURATION).unwrap();
        std::fs::write(bed.dir.path().join("rules/users.toml"), RULES).unwrap();
        bed.run(
            "legacy",
            "CREATE TABLE accounts_user (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, name text); PRAGMA journal_mode = WAL",
        )
        .await;
        bed.run("modern", "CREATE TABLE users (id text PRIMARY KEY NOT NULL, name text NOT NULL); PRAGMA journal_mode = WAL").await;
        bed.run("legacy", "INSERT INTO accounts_user VALUES (7, NULL), (8, 'ada'), (9, NULL)").await;
        bed
    }

    async fn run(&self, database: &str, statement: &str) {
        let file = self.dir.path().join(format!("{database}.sqlite3"));
        let mut connection = SqliteConnectOptions::new().filename(file).create_if_missing(true).connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    fn check(&self, arguments: &[&str]) -> (i32, String, String) {
        ficus(self.dir.path(), &[&["check", "--live"], arguments].concat())
    }
}

fn ficus(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ficus")).args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_statements_that_are_printed_mend_what_is_refused() {
    // GIVEN a table of the new service that keeps no legacy key, and takes less than the monolith has
    let bed = Bed::new().await;
    let (code, printed, error) = bed.check(&[]);
    assert_eq!(code, 64, "{printed}{error}");
    assert!(error.contains("1 finding keeps the agent from starting"), "{error}");
    for line in ["users\n", "  legacy: monolith (SQLite 3", "    refused  table users has no column legacy_id", "1 refused, "] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
    assert!(printed.contains("warning: nobody answers at 127.0.0.1:9, upstream monolith"), "{printed}");
    // WHEN its statements are run
    for statement in printed.lines().filter_map(|line| line.trim().strip_prefix("→ ")).filter(|line| line.ends_with(';')) {
        bed.run("modern", statement).await;
    }
    // THEN it is not refused any more, and the rows that would be set aside are counted
    let (code, printed, error) = bed.check(&["--samples", "1"]);
    assert_eq!(code, 0, "{printed}{error}");
    assert!(printed.contains("may not be NULL: 2 of all 3 rows of accounts_user"), "{printed}");
    assert!(printed.contains("keys: 7, …") && printed.contains("rows looked at: accounts_user 3, users 0"), "{printed}");
    // AND with no rows wished for, none are looked at
    let (_, printed, _) = bed.check(&["--rows", "0"]);
    assert!(!printed.contains("rows looked at") && !printed.contains("keys:"), "{printed}");
    let (_, printed, _) = bed.check(&["--rows", "1"]);
    assert!(printed.contains("1 of 1 rows of accounts_user") && printed.contains("accounts_user 1 and more"), "{printed}");
}

#[tokio::test]
async fn the_same_is_printed_as_data() {
    let bed = Bed::new().await;
    let (code, printed, _) = bed.check(&["--json"]);
    assert_eq!(code, 64);
    let told: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(told["databases"][1]["side"], "modern");
    assert_eq!(told["unreachable"]["service"], "127.0.0.1:9");
    let findings = told["findings"].as_array().unwrap();
    let refused: Vec<_> = findings.iter().filter(|finding| finding["severity"] == "refused").collect();
    assert_eq!(refused.len(), 1, "{printed}");
    assert_eq!((&refused[0]["code"], &refused[0]["upstream"]), (&"key_column".into(), &"service".into()));
    assert_eq!(refused[0]["statements"][0], "ALTER TABLE \"users\" ADD COLUMN \"legacy_id\" bigint;");
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_said() {
    let bed = Bed::new().await;
    let (code, _, error) = bed.check(&["--capability", "userz"]);
    assert!(code == 64 && error.contains("no capability is called userz (there are: users)"), "{error}");
    let (code, _, _) = ficus(bed.dir.path(), &["check", "--rows", "5"]);
    assert_eq!(code, 2, "--rows without --live");
    std::fs::remove_file(bed.dir.path().join("legacy.sqlite3")).unwrap();
    let (code, printed, _) = bed.check(&[]);
    assert!(code == 64 && printed.contains("legacy: monolith (not reached)") && printed.contains("cannot be opened"), "{printed}");
    assert!(!bed.dir.path().join("legacy.sqlite3").exists(), "it was made");
    std::fs::write(bed.dir.path().join("ficus.toml"), CONFIGURATION.replace("database = 'sqlite://modern.sqlite3'", "")).unwrap();
    let (code, _, error) = bed.check(&[]);
    assert!(code == 64 && error.contains("upstream service has no database, and users has tables"), "{error}");
}

#[tokio::test]
async fn a_user_table_with_other_columns_is_told_before_it_is_met() {
    // GIVEN users who log in by their address, and are never closed
    let bed = Bed::new().await;
    bed.run("legacy", "CREATE TABLE django_session (session_key text PRIMARY KEY, session_data text, expire_date text)").await;
    bed.run("legacy", "CREATE TABLE people (number integer PRIMARY KEY, password text NOT NULL, email text NOT NULL)").await;
    std::fs::write(bed.dir.path().join("secret"), "the-key-of-this-test").unwrap();
    let said = |more: &str| {
        let django = "[identity.django]\nupstream = 'monolith'\nsecret_key_file = 'secret'\nuser_table = 'people'\n";
        std::fs::write(bed.dir.path().join("ficus.toml"), format!("{CONFIGURATION}{django}{more}")).unwrap();
        let (code, printed, error) = bed.check(&["--json"]);
        let told: serde_json::Value = serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}{error}"));
        (code, told["identity"].as_str().unwrap_or_default().to_owned(), error)
    };
    // THEN each column that is missing is named, until all are
    let right = ["id_column = 'number'\n", "username_column = 'email'\n", "active_column = ''\n"];
    for (named, missing) in [(0, "id"), (1, "username"), (2, "is_active")] {
        let (code, why, error) = said(&right[..named].concat());
        assert!(code == 64 && why.starts_with("people: ") && why.contains(&format!("u.{missing}")), "{code} {why}");
        assert!(error.contains("identity.django") || error.contains("finding"), "{error}");
    }
    assert_eq!(said(&right.concat()).1, "");
}
