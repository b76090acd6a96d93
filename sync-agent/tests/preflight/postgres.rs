//! On PostgreSQL.

use ficus_rules::Side::{self, Legacy, Modern};
use ficus_rules::finding::Severity::{Note, Refused, Warning};

use super::pg::{AGENT, PASSWORD, Server, exec, number};
use super::{Bed, Case, Options, Subject, case, find, look, look_at, nothing_refused, report, rows_of, subject, told, walk};

const LEGACY: &str = "
CREATE TABLE accounts_user (id int PRIMARY KEY, username varchar(150) NOT NULL, age int);
CREATE TABLE accounts_note (id int PRIMARY KEY, user_id int NOT NULL REFERENCES accounts_user, text text NOT NULL);";
const MODERN: &str = "
CREATE TABLE users (id uuid PRIMARY KEY, legacy_id int UNIQUE, username varchar(150) NOT NULL, age int);
CREATE TABLE notes (id uuid PRIMARY KEY, legacy_id int UNIQUE, user_id uuid NOT NULL REFERENCES users, text text NOT NULL);";

struct Pair {
    names: [String; 2],
}

impl Pair {
    fn name(&self, side: Side) -> &str {
        &self.names[usize::from(side == Modern)]
    }
}

impl Bed for Pair {
    async fn new() -> Pair {
        let server = Server::shared();
        let names = [server.database().await, server.database().await];
        for (name, ddl) in names.iter().zip([LEGACY, MODERN]) {
            exec(&mut server.app(name).await, ddl).await;
        }
        Pair { names }
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
    case(Modern, "key_unique", "users", Refused, &["ALTER TABLE users DROP CONSTRAINT users_legacy_id_key"]),
    case(
        Legacy,
        "primary_key",
        "accounts_note",
        Warning,
        &["ALTER TABLE accounts_note DROP CONSTRAINT accounts_note_pkey", "CREATE UNIQUE INDEX note_id ON accounts_note (id)"],
    ),
    case(Modern, "revert_narrower", "users", Note, &["ALTER TABLE users ALTER COLUMN username TYPE text"]),
    case(Modern, "revert_narrower", "notes", Note, &["ALTER TABLE notes ALTER COLUMN text DROP NOT NULL"]),
    case(
        Legacy,
        "cascade_from_outside",
        "accounts_user",
        Warning,
        &["CREATE TABLE team (id int PRIMARY KEY)", "ALTER TABLE accounts_user ADD FOREIGN KEY (age) REFERENCES team ON DELETE SET NULL"],
    ),
    case(
        Modern,
        "reference_leaves",
        "users",
        Warning,
        &["CREATE TABLE team (id int PRIMARY KEY)", "ALTER TABLE users ADD FOREIGN KEY (age) REFERENCES team"],
    ),
    told(Legacy, "reference_enters", "accounts_user", Note, &["CREATE TABLE exam (user_id int REFERENCES accounts_user)"]),
    told(Modern, "cascade_outwards", "users", Warning, &["CREATE TABLE badge (user_id uuid REFERENCES users ON DELETE CASCADE)"]),
    told(Modern, "generated", "users", Note, &["ALTER TABLE users ADD COLUMN shout text GENERATED ALWAYS AS (upper(username)) STORED"]),
    told(
        Modern,
        "generated_mapped",
        "users",
        Refused,
        &["ALTER TABLE users DROP COLUMN id CASCADE", "ALTER TABLE users ADD COLUMN id text GENERATED ALWAYS AS (upper(username)) STORED"],
    ),
    told(Modern, "only_on_modern", "users", Note, &["ALTER TABLE users ADD COLUMN nickname text"]),
    told(
        Modern,
        "key_sequence",
        "users",
        Warning,
        &[
            "CREATE FUNCTION public.number() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "ALTER TABLE users ALTER legacy_id SET DEFAULT number()",
        ],
    ),
    case(
        Modern,
        "sequence_rights",
        "users",
        Warning,
        &[
            "CREATE SCHEMA numbers",
            "CREATE SEQUENCE numbers.\"of users\"",
            "ALTER TABLE users ALTER legacy_id SET DEFAULT nextval('numbers.\"of users\"')",
        ],
    ),
    case(Legacy, "replica_identity", "accounts_user", Note, &["ALTER TABLE accounts_user REPLICA IDENTITY NOTHING"]),
    case(Legacy, "table_kind", "accounts_note", Refused, &["ALTER TABLE accounts_note SET UNLOGGED"]),
    case(
        Legacy,
        "row_security",
        "accounts_note",
        Refused,
        &["ALTER TABLE accounts_note ENABLE ROW LEVEL SECURITY", "ALTER TABLE accounts_note FORCE ROW LEVEL SECURITY"],
    ),
    case(
        Legacy,
        "table_owner",
        "accounts_note",
        Refused,
        &[
            "DO $$ BEGIN CREATE ROLE stranger; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            "REVOKE stranger FROM agent",
            "ALTER TABLE accounts_note OWNER TO stranger",
            "GRANT ALL ON accounts_note TO agent",
        ],
    ),
];

#[tokio::test]
async fn what_is_wrong_with_tables_is_told_and_mended() {
    walk::<Pair>(CASES).await;
    nothing_refused(&Pair::new().await).await;
}

/// Makes a statement's server wrong, and looks, with one that nothing else uses.
struct Own {
    server: Server,
    names: [String; 2],
}

impl Own {
    async fn see(&self, code: &str) -> Option<ficus_rules::finding::Finding> {
        let report = look_at(self.server.url(&self.names[0]), self.server.url(&self.names[1])).await;
        find(&report, Legacy, code, "").cloned()
    }

    async fn mend(&self, finding: &ficus_rules::finding::Finding) {
        let mut root = self.server.root(&self.names[0]).await;
        for statement in &finding.statements {
            exec(&mut root, statement).await;
        }
        if finding.then.contains("restart the server") {
            self.server.crash_and_restart();
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_told_and_mended() {
    let server = Server::start_plain(&["fsync=off", "max_prepared_transactions=5"]);
    let names = [server.database().await, server.database().await];
    for (name, ddl) in names.iter().zip([LEGACY, MODERN]) {
        exec(&mut server.app(name).await, ddl).await;
    }
    let own = Own { server, names };
    let wrong: &[(&str, &[&str])] = &[
        ("wal_level", &[]),
        ("slot_wal_unbounded", &[]),
        ("wal_senders", &["ALTER SYSTEM SET max_wal_senders = 0"]),
        ("replication_slots", &["ALTER SYSTEM SET max_replication_slots = 1", "SELECT pg_create_physical_replication_slot('hog')"]),
        ("role_replication", &["ALTER ROLE agent NOREPLICATION"]),
        ("role_create", &["ALTER DATABASE {} OWNER TO postgres", "REVOKE CREATE ON DATABASE {} FROM agent"]),
        ("role_blind", &[]),
        ("prepared_transaction", &["BEGIN", "CREATE TABLE half (id int)", "PREPARE TRANSACTION 'it''s half'"]),
    ];
    for (code, statements) in wrong {
        let mut root = own.server.root(&own.names[0]).await;
        let mut restart = false;
        for statement in *statements {
            exec(&mut root, &statement.replace("{}", &own.names[0])).await;
            restart |= statement.starts_with("ALTER SYSTEM");
        }
        if restart {
            own.server.crash_and_restart();
        }
        let found = own.see(code).await.unwrap_or_else(|| panic!("no {code}"));
        own.mend(&found).await;
        assert_eq!(own.see(code).await, None, "{found:?}");
    }

    // GIVEN a role that could not end whom a revert waits for, THEN that is told of modern alone
    let both = async || {
        let report = look_at(own.server.url(&own.names[0]), own.server.url(&own.names[1])).await;
        [Legacy, Modern].map(|side| find(&report, side, "role_ends_nobody", "").cloned())
    };
    let [None, Some(found)] = both().await else { panic!("it is a note of modern's") };
    own.mend(&found).await;
    assert_eq!(both().await, [None, None]);

    // GIVEN a transaction that has written, and goes on for longer than ten seconds
    let mut writer = own.server.root(&own.names[1]).await;
    exec(&mut writer, "BEGIN; INSERT INTO users VALUES (gen_random_uuid(), 1, 'ada', 1)").await;
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    // WHEN the statement that is printed ends it
    let found = own.see("open_transaction").await.unwrap();
    own.mend(&found).await;
    // THEN it is gone
    assert_eq!(own.see("open_transaction").await, None);

    // GIVEN a trigger that fires for the agent, whose role may not silence it
    let mut root = own.server.root(&own.names[0]).await;
    exec(&mut root, "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'").await;
    exec(&mut root, "CREATE TRIGGER shouting BEFORE INSERT ON accounts_user FOR EACH ROW EXECUTE FUNCTION shout()").await;
    let look = || look_at(own.server.url(&own.names[0]), own.server.url(&own.names[1]));
    let seen = look().await;
    let found = find(&seen, Legacy, "trigger_of_others", "accounts_user").unwrap();
    assert!(own.see("role_enforces").await.is_some());
    // WHEN it may
    own.mend(found).await;
    let seen = look().await;
    assert!(find(&seen, Legacy, "trigger_of_others", "accounts_user").is_none() && own.see("role_enforces").await.is_none());
    // THEN only one that fires always is told, and mended
    exec(&mut root, "ALTER TABLE accounts_user ENABLE ALWAYS TRIGGER shouting").await;
    let seen = look().await;
    own.mend(find(&seen, Legacy, "trigger_of_others", "accounts_user").unwrap()).await;
    assert!(find(&look().await, Legacy, "trigger_of_others", "accounts_user").is_none());
}

/// What the agent of one capability removes would take rows of the other along.
#[tokio::test]
async fn a_cascade_between_two_capabilities_is_refused_where_the_agent_sets_it_off() {
    let bed = Pair::new().await;
    let key = "ALTER TABLE notes DROP CONSTRAINT notes_user_id_fkey, ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE";
    bed.run(Modern, key).await;
    // The superuser may silence the key.
    for (modern, severity) in [(bed.url(Modern), Refused), (Server::shared().root_url(bed.name(Modern)), Warning)] {
        let mut subjects = ["users", "notes"].map(|name| Subject { name: name.into(), ..subject(bed.url(Legacy), modern.clone()) });
        for Subject { name, resolved, .. } in &mut subjects {
            resolved.tables.retain(|map| map.modern == *name);
        }
        let seen = look(&subjects, Options { rows: 0, samples: 0 }).await;
        let found = find(&seen, Modern, "cascade_from_outside", "notes").unwrap_or_else(|| panic!("{:#?}", seen.findings));
        assert_eq!(found.severity, severity, "{found:?}");
    }
}

#[tokio::test]
async fn a_database_of_another_encoding_and_one_that_is_not_there() {
    let bed = Pair::new().await;
    let server = Server::shared();
    let mut root = server.root("postgres").await;
    let name = format!("latin_{}", bed.names[0]);
    exec(&mut root, &format!("CREATE DATABASE {name} OWNER {AGENT} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")).await;
    exec(&mut server.app(&name).await, LEGACY).await;
    let seen = look_at(server.url(&name), bed.url(Modern)).await;
    assert!(find(&seen, Legacy, "encoding", "").is_some_and(|found| found.severity == Refused), "{:#?}", seen.findings);

    let seen = look_at(server.url("nowhere"), bed.url(Modern)).await;
    let found = find(&seen, Legacy, "unreachable", "").unwrap();
    assert!(!found.what.contains(PASSWORD) && seen.refuses());
    // What can be asked is asked: modern has findings of its own.
    assert!(find(&seen, Modern, "slot_wal_unbounded", "").is_some());
}

#[tokio::test]
async fn rows_that_would_not_survive_are_counted_with_samples() {
    // GIVEN a new service that takes less than the monolith has, and a monolith that takes less than the new service has
    let bed = Pair::new().await;
    bed.run(Legacy, "INSERT INTO accounts_user SELECT n, repeat('x', n), n * 10000 FROM generate_series(1, 20) AS n").await;
    bed.run(Legacy, "INSERT INTO accounts_user VALUES (21, 'xxx', NULL)").await;
    bed.run(Modern, "ALTER TABLE users ALTER COLUMN username TYPE varchar(15), ALTER COLUMN age TYPE smallint, ADD UNIQUE (username)")
        .await;
    bed.run(Modern, "ALTER TABLE notes ALTER COLUMN text DROP NOT NULL").await;
    bed.run(Modern, "INSERT INTO users VALUES (gen_random_uuid(), NULL, 'nobody', 1), (gen_random_uuid(), 99, 'forged', 1)").await;
    let seen = report(&bed).await;
    // THEN each way to fail is told by column, with the number of rows and keys of some
    assert_eq!(rows_of(&seen, Legacy, "rows_set_aside", "username"), (5, vec!["16".into(), "17".into(), "18".into()]));
    assert_eq!(rows_of(&seen, Legacy, "rows_set_aside", "age").0, 17);
    assert_eq!(rows_of(&seen, Legacy, "rows_twice", "username"), (1, vec!["21".into()]));
    assert_eq!(rows_of(&seen, Modern, "rows_without_key", "legacy_id").0, 1);
    assert_eq!(rows_of(&seen, Modern, "revert_set_aside", "id"), (1, vec!["99".into()]));
    assert!(seen.walked.iter().any(|walked| walked.table == "accounts_user" && walked.rows == 21 && walked.all));
    // AND nothing of Ficus stands in either database
    for name in &bed.names {
        let mut root = Server::shared().root(name).await;
        assert_eq!(number(&mut root, "SELECT count(*) FROM pg_namespace WHERE nspname = '_ficus'").await, 0);
        assert_eq!(number(&mut root, "SELECT count(*) FROM pg_trigger WHERE starts_with(tgname, '_ficus')").await, 0);
    }
}
