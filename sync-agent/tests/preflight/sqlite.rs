//! On SQLite.

use ficus_rules::Side::{self, Legacy, Modern};
use ficus_rules::finding::Severity::{Note, Refused, Warning};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::{Bed, Case, case, find, look_at, nothing_refused, report, rows_of, told, walk};

const LEGACY: &str = "
CREATE TABLE accounts_user (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, username varchar(150) NOT NULL, age integer);
CREATE TABLE accounts_note (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, user_id bigint NOT NULL REFERENCES accounts_user (id), text text NOT NULL);
PRAGMA journal_mode = WAL;";
const MODERN: &str = "
CREATE TABLE users (id text PRIMARY KEY NOT NULL, legacy_id integer UNIQUE, username text NOT NULL, age integer);
CREATE TABLE notes (id text PRIMARY KEY NOT NULL, legacy_id integer UNIQUE, user_id text NOT NULL REFERENCES users (id), text text NOT NULL);
PRAGMA journal_mode = WAL;";

struct Pair {
    dir: tempfile::TempDir,
}

impl Pair {
    fn options(&self, side: Side) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(self.dir.path().join(side.to_string())).create_if_missing(true).foreign_keys(false)
    }
}

impl Bed for Pair {
    async fn new() -> Pair {
        let pair = Pair { dir: tempfile::tempdir().unwrap() };
        pair.run(Legacy, LEGACY).await;
        pair.run(Modern, MODERN).await;
        pair
    }

    fn url(&self, side: Side) -> String {
        format!("sqlite://{}", self.dir.path().join(side.to_string()).display())
    }

    async fn run(&self, side: Side, statement: &str) {
        let mut connection = self.options(side).connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap_or_else(|e| panic!("{e}: {statement}"));
        connection.close().await.unwrap();
    }
}

const CASES: &[Case] = &[
    case(Legacy, "journal_mode", "", Refused, &["PRAGMA journal_mode = DELETE"]),
    case(
        Modern,
        "key_column",
        "users",
        Refused,
        &["DROP TABLE users", "CREATE TABLE users (id text PRIMARY KEY NOT NULL, username text NOT NULL, age integer)"],
    ),
    case(
        Modern,
        "key_unique",
        "users",
        Refused,
        &["DROP TABLE users", "CREATE TABLE users (id text PRIMARY KEY NOT NULL, legacy_id integer, username text NOT NULL, age integer)"],
    ),
    case(
        Legacy,
        "trigger_of_others",
        "accounts_user",
        Warning,
        &["CREATE TRIGGER shouting AFTER INSERT ON accounts_user BEGIN UPDATE accounts_user SET age = 1; END"],
    ),
    case(Legacy, "unique_expression", "accounts_user", Refused, &["CREATE UNIQUE INDEX by_lower ON accounts_user (lower(username))"]),
    told(Modern, "generated", "users", Note, &["ALTER TABLE users ADD COLUMN shout text AS (upper(username))"]),
    told(
        Legacy,
        "primary_key",
        "accounts_note",
        Warning,
        &["DROP TABLE accounts_note", "CREATE TABLE accounts_note (id integer UNIQUE, user_id bigint, text text)"],
    ),
    told(
        Legacy,
        "cascade_from_outside",
        "accounts_user",
        Warning,
        &[
            "DROP TABLE accounts_user",
            "CREATE TABLE accounts_user (id integer NOT NULL PRIMARY KEY, username text, age integer REFERENCES team (id) ON DELETE SET NULL)",
        ],
    ),
    told(Legacy, "reference_enters", "accounts_user", Note, &["CREATE TABLE exam (user_id integer REFERENCES accounts_user (id))"]),
];

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_and_mended() {
    walk::<Pair>(CASES).await;
    nothing_refused(&Pair::new().await).await;
}

#[tokio::test]
async fn that_nobody_sees_whom_a_fence_refuses_is_told() {
    let seen = report(&Pair::new().await).await;
    for side in [Legacy, Modern] {
        assert!(find(&seen, side, "strays_unseen", "").is_some_and(|found| found.severity == Note), "{:#?}", seen.findings);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused() {
    let bed = Pair::new().await;
    let seen = look_at(format!("{}?mode=ro", bed.url(Legacy)), bed.url(Modern)).await;
    assert!(find(&seen, Legacy, "read_only", "").is_some_and(|found| found.severity == Refused), "{:#?}", seen.findings);
    assert!(find(&seen, Modern, "read_only", "").is_none());
}

#[tokio::test]
async fn rows_that_would_not_survive_are_counted_with_samples() {
    // GIVEN rows that modern does not take, and references that lead nowhere
    let bed = Pair::new().await;
    bed.run(Legacy, "INSERT INTO accounts_user VALUES (1, 'ada', 30), (2, 'bob', NULL), (3, 'ada', 2)").await;
    bed.run(Legacy, "INSERT INTO accounts_note VALUES (1, 1, 'hello'), (2, 77, 'to nobody')").await;
    bed.run(Modern, "DROP TABLE users").await;
    let users =
        "CREATE TABLE users (id text PRIMARY KEY NOT NULL, legacy_id integer UNIQUE, username text NOT NULL UNIQUE, age integer NOT NULL)";
    bed.run(Modern, users).await;
    let seen = report(&bed).await;
    // THEN all of them are told before one moves
    assert_eq!(rows_of(&seen, Legacy, "rows_set_aside", "age"), (1, vec!["2".into()]));
    assert_eq!(rows_of(&seen, Legacy, "rows_twice", "username"), (1, vec!["3".into()]));
    assert!(find(&seen, Legacy, "orphans", "").is_some_and(|found| found.what.starts_with("1 rows")), "{:#?}", seen.findings);
}
