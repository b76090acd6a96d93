//! On MariaDB.

use ficus_rules::Side::{self, Legacy, Modern};
use ficus_rules::finding::Severity::{Note, Refused, Warning};

use super::maria::{AGENT, Server, exec, number};
use super::{Bed, Case, case, find, look_at, nothing_refused, report, rows_of, told, walk};

const LEGACY: &str = "
CREATE TABLE accounts_user (id int PRIMARY KEY AUTO_INCREMENT, username varchar(150) NOT NULL, age int, born date);
CREATE TABLE accounts_note (id int PRIMARY KEY AUTO_INCREMENT, user_id int NOT NULL, text text NOT NULL, CONSTRAINT note_user FOREIGN KEY (user_id) REFERENCES accounts_user (id))";
const MODERN: &str = "
CREATE TABLE users (id uuid PRIMARY KEY, legacy_id int UNIQUE, username varchar(150) NOT NULL, age int, born date);
CREATE TABLE notes (id uuid PRIMARY KEY, legacy_id int UNIQUE, user_id uuid NOT NULL, text text NOT NULL, FOREIGN KEY (user_id) REFERENCES users (id))";

struct Pair {
    names: [String; 2],
}

impl Pair {
    fn name(&self, side: Side) -> &str {
        &self.names[usize::from(side == Modern)]
    }

    async fn on(server: &Server) -> Pair {
        let names = [server.database().await, server.database().await];
        for (name, ddl) in names.iter().zip([LEGACY, MODERN]) {
            let mut root = server.root(name).await;
            for statement in ddl.split(';') {
                exec(&mut root, statement).await;
            }
        }
        Pair { names }
    }
}

impl Bed for Pair {
    async fn new() -> Pair {
        Pair::on(Server::shared()).await
    }

    fn url(&self, side: Side) -> String {
        Server::shared().url(self.name(side))
    }

    async fn run(&self, side: Side, statement: &str) {
        exec(&mut Server::shared().root(self.name(side)).await, statement).await;
    }
}

const CASES: &[Case] = &[
    case(Modern, "key_column", "users", Refused, &["ALTER TABLE users DROP COLUMN legacy_id"]),
    case(Modern, "key_unique", "users", Refused, &["ALTER TABLE users DROP INDEX legacy_id"]),
    case(
        Legacy,
        "primary_key",
        "accounts_note",
        Warning,
        &["ALTER TABLE accounts_note MODIFY id int NOT NULL, DROP PRIMARY KEY, ADD UNIQUE (id)"],
    ),
    case(Modern, "revert_narrower", "users", Note, &["ALTER TABLE users MODIFY username text NOT NULL"]),
    case(Modern, "revert_narrower", "notes", Note, &["ALTER TABLE notes MODIFY text text NULL"]),
    case(
        Legacy,
        "reference_acts",
        "accounts_note",
        Refused,
        &[
            "ALTER TABLE accounts_note DROP FOREIGN KEY note_user",
            "ALTER TABLE accounts_note ADD CONSTRAINT note_user FOREIGN KEY (user_id) REFERENCES accounts_user (id) ON DELETE CASCADE",
        ],
    ),
    case(
        Modern,
        "reference_leaves",
        "users",
        Warning,
        &["CREATE TABLE team (id int PRIMARY KEY)", "ALTER TABLE users ADD CONSTRAINT in_team FOREIGN KEY (age) REFERENCES team (id)"],
    ),
    told(
        Modern,
        "cascade_outwards",
        "users",
        Warning,
        &["CREATE TABLE badge (user_id uuid, FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE)"],
    ),
    told(Modern, "generated", "users", Note, &["ALTER TABLE users ADD COLUMN shout varchar(150) AS (upper(username)) STORED"]),
    case(
        Legacy,
        "table_engine",
        "accounts_user",
        Refused,
        &["ALTER TABLE accounts_note DROP FOREIGN KEY note_user", "ALTER TABLE accounts_user ENGINE=Aria"],
    ),
    case(
        Legacy,
        "trigger_of_others",
        "accounts_user",
        Warning,
        &["CREATE TRIGGER shouting BEFORE INSERT ON accounts_user FOR EACH ROW SET NEW.username = upper(NEW.username)"],
    ),
    case(
        Legacy,
        "column_charset",
        "accounts_user",
        Refused,
        &["ALTER TABLE accounts_user MODIFY username varchar(150) CHARACTER SET koi8r NOT NULL"],
    ),
    told(Legacy, "column_type", "accounts_user", Refused, &["ALTER TABLE accounts_user MODIFY born point"]),
];

#[tokio::test]
async fn what_is_wrong_with_tables_is_told_and_mended() {
    walk::<Pair>(&CASES[..CASES.len() - 1]).await;
    nothing_refused(&Pair::new().await).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_server_or_an_account_is_told_and_mended() {
    let server = Server::start(&["--log-bin-trust-function-creators=0"]);
    let bed = Pair::on(&server).await;
    let look = || look_at(server.url(&bed.names[0]), server.url(&bed.names[1]));
    let revoke = format!("REVOKE BINLOG MONITOR, REPLICATION SLAVE ON *.* FROM '{AGENT}'@'%'");
    let revoked = format!("REVOKE TRIGGER, DROP ON {}.* FROM '{AGENT}'@'%'", bed.names[0]);
    let wrong: &[(&str, &str)] = &[
        ("trigger_creators", "DO 0"),
        ("sync_binlog", "DO 0"),
        ("innodb_flush_log_at_trx_commit", "DO 0"),
        ("binlog_expire_logs_seconds", "SET GLOBAL binlog_expire_logs_seconds = 3600"),
        ("binlog_format", "SET GLOBAL binlog_format = 'MIXED'"),
        ("binlog_row_metadata", "SET GLOBAL binlog_row_metadata = 'NO_LOG'"),
        ("binlog_row_image", "SET GLOBAL binlog_row_image = 'MINIMAL'"),
        ("account_replication", &revoke),
        ("account_database", &revoked),
        ("account_blind", "DO 0"),
    ];
    let mut root = server.root(&bed.names[0]).await;
    for (code, statement) in wrong {
        exec(&mut root, statement).await;
        let seen = look().await;
        let found = find(&seen, Legacy, code, "").unwrap_or_else(|| panic!("no {code}: {:#?}", seen.findings)).clone();
        assert!(!found.statements.is_empty(), "{found:?}");
        for statement in &found.statements {
            exec(&mut root, statement).await;
        }
        let after = look().await;
        assert!(find(&after, Legacy, code, "").is_none(), "{:#?}", after.findings);
    }
    // A clock that is off: no statement of SQL sets one right.
    exec(&mut root, "SET GLOBAL init_connect = 'SET timestamp = 1000000000'").await;
    let seen = look().await;
    assert!(find(&seen, Legacy, "clock", "").is_some_and(|found| found.then.contains("time server")), "{:#?}", seen.findings);
    exec(&mut root, "SET GLOBAL init_connect = ''").await;
    assert!(find(&look().await, Legacy, "clock", "").is_none());
    // Of modern alone: legacy's sessions are nobody's to end.
    let seen = look().await;
    let found = find(&seen, Modern, "account_ends_nobody", "").unwrap();
    assert!(find(&seen, Legacy, "account_ends_nobody", "").is_none());
    exec(&mut root, &found.statements[0]).await;
    assert!(find(&look().await, Modern, "account_ends_nobody", "").is_none());
}

#[tokio::test]
async fn a_server_without_a_binary_log_is_told() {
    let server = Server::start(&["--skip-log-bin"]);
    let bed = Pair::on(&server).await;
    let seen = look_at(server.url(&bed.names[0]), server.url(&bed.names[1])).await;
    let found = find(&seen, Legacy, "log_bin", "").unwrap();
    assert!(found.severity == Refused && found.then.contains("log_bin=binlog"));
}

#[tokio::test]
async fn rows_that_would_not_survive_are_counted_with_samples() {
    let bed = Pair::new().await;
    bed.run(Legacy, "INSERT INTO accounts_user VALUES (1, 'ada', 1, '2000-01-01'), (2, 'bob', 200, '0000-00-00'), (3, 'eve', 3, NULL)")
        .await;
    bed.run(Modern, "ALTER TABLE users MODIFY age tinyint").await;
    let seen = report(&bed).await;
    assert_eq!(rows_of(&seen, Legacy, "rows_set_aside", "born"), (1, vec!["2".into()]));
    assert_eq!(rows_of(&seen, Legacy, "rows_set_aside", "age"), (1, vec!["2".into()]));
    for name in &bed.names {
        let mut root = Server::shared().root(name).await;
        let ours = "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND left(TABLE_NAME, 7) = '_ficus_'";
        assert_eq!(number(&mut root, ours).await, 0);
    }
}
