//! Servers that speak to nobody without encryption and a password: queries, copies and both logs go over TLS, and a server
//! whose certificate another authority signed is not believed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use ficus_rules::Side;
use ficus_rules::wire::CapabilityReport;
use ficus_sync_agent::{Agent, Config, Resolved};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::app::{App, Engine};
use super::world::{streaming, until};
use super::{mariadb, postgres, schema, tables};

const SECRET: &str = "it's a secret";

/// An authority, a certificate of this address that it signed, and another authority; servers may read them, and a key is theirs.
fn certificates(dir: &Path) {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(params, key)
    };
    let (ours, _) = (authority("ca"), authority("other"));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &ours).unwrap();
    std::fs::write(dir.join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
    std::fs::write(dir.join("password"), format!("{SECRET}\n")).unwrap();
    std::fs::write(dir.join("hba"), "hostssl all all 127.0.0.1/32 scram-sha-256\nhostssl replication all 127.0.0.1/32 scram-sha-256\n")
        .unwrap();
    assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(dir).status().unwrap().success());
    // PostgreSQL wants its key for itself, and drops the rights of root.
    std::fs::copy(dir.join("server.key"), dir.join("own.key")).unwrap();
    assert!(Command::new("chmod").arg("600").arg(dir.join("own.key")).status().unwrap().success());
    let _ = Command::new("chown").arg("nobody").arg(dir.join("own.key")).stderr(Stdio::null()).status();
}

struct Servers {
    dir: tempfile::TempDir,
    postgres: postgres::Server,
    mariadb: mariadb::Server,
    names: [String; 2],
}

impl Servers {
    async fn start() -> Servers {
        let dir = tempfile::tempdir().unwrap();
        certificates(dir.path());
        let path = |name: &str| dir.path().join(name).display().to_string();
        let settings = [
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", path("server.pem")),
            format!("ssl_key_file={}", path("own.key")),
            format!("hba_file={}", path("hba")),
        ];
        let postgres = postgres::Server::start(&settings.each_ref().map(String::as_str));
        let arguments = [format!("--ssl-cert={}", path("server.pem")), format!("--ssl-key={}", path("server.key"))];
        let mariadb = mariadb::Server::start(&arguments.each_ref().map(String::as_str));
        let names = [postgres.database().await, mariadb.database().await];
        Servers { dir, postgres, mariadb, names }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The URLs of both, with the password in a file, and an authority each.
    fn urls(&self, account: &str, authorities: [&str; 2]) -> [String; 2] {
        let [one, other] = authorities.map(|name| self.path(name));
        let secret = self.path("password");
        [
            format!(
                "postgres://keeper@127.0.0.1:{}/{}?sslmode=verify-full&sslrootcert={one}&password_file={secret}",
                self.postgres.port, self.names[0]
            ),
            format!(
                "mariadb://{account}@127.0.0.1:{}/{}?tls=verify&tls_ca={other}&password_file={secret}",
                self.mariadb.port, self.names[1]
            ),
        ]
    }

    /// An agent on fresh databases with some rows.
    async fn agent(&mut self, account: &str, authorities: [&str; 2]) -> (Agent, [App; 2]) {
        self.names = [self.postgres.database().await, self.mariadb.database().await];
        let secret = SECRET.replace('\'', "''");
        let mut legacy = App::Postgres(self.postgres.root(&self.names[0]).await);
        let _ = legacy.attempt(&format!("CREATE ROLE keeper LOGIN REPLICATION SUPERUSER PASSWORD '{secret}'")).await;
        let mut modern = App::MariaDb(self.mariadb.root(&self.names[1]).await);
        for statement in [
            "INSTALL SONAME 'auth_ed25519'".to_owned(),
            format!("CREATE USER IF NOT EXISTS native@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('{secret}') REQUIRE SSL"),
            format!("CREATE USER IF NOT EXISTS modern@'%' IDENTIFIED VIA ed25519 USING PASSWORD('{secret}') REQUIRE SSL"),
        ] {
            // The plugin may be there already.
            let _ = modern.attempt(&statement).await;
        }
        modern.exec(&format!("GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {account}@'%'")).await;
        modern.exec(&format!("GRANT ALL ON {}.* TO {account}@'%'", self.names[1])).await;
        for (app, (engine, side)) in
            [&mut legacy, &mut modern].into_iter().zip([(Engine::Postgres, Side::Legacy), (Engine::MariaDb, Side::Modern)])
        {
            for statement in schema(engine, side) {
                app.exec(&statement).await;
            }
        }
        legacy.exec("INSERT INTO writer (id, name, level, price) VALUES (1, 'one', 1, 1)").await;
        let [legacy_url, modern_url] = self.urls(account, authorities);
        let (monolith, service) = ("monolith".to_owned(), "users-service".to_owned());
        let resolved = Resolved { legacy: monolith, legacy_url, modern: service, modern_url, tables: tables() };
        let agent =
            Agent::start_resolved(Config::new("test", BTreeMap::new()), BTreeMap::from([("users".to_owned(), resolved)])).await.unwrap();
        agent.order(super::world::orders());
        (agent, [legacy, modern])
    }
}

async fn arrives(app: &mut App, sql: &str) {
    let begun = std::time::Instant::now();
    while app.rows(sql).await.is_empty() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(120), "does not arrive: {sql}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn everything_goes_over_tls_with_a_password() {
    let mut servers = Servers::start().await;
    for account in ["native", "modern"] {
        // Without encryption nobody comes in.
        let (agent, [mut legacy, mut modern]) = servers.agent(account, ["ca.pem", "ca.pem"]).await;
        streaming(&agent).await;
        let plain = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(servers.mariadb.port).prefer_socket(false);
        let plain = plain.user(Some(account)).pass(Some(SECRET)).db_name(Some(&servers.names[1]));
        assert!(Conn::new(plain.clone()).await.is_err(), "{account} needs TLS");
        let blind = SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
        let mut conn = Conn::new(plain.ssl_opts(blind)).await.unwrap();
        assert_eq!(conn.query_first::<u8, _>("SELECT 1").await.unwrap(), Some(1));
        // Both logs are read.
        legacy.exec("INSERT INTO writer (id, name, level, price) VALUES (2, 'two', 1, 1)").await;
        arrives(&mut modern, "SELECT name FROM writers WHERE name = 'two'").await;
        modern.exec("INSERT INTO writers (id, legacy_id, name, level, price) VALUES (uuid(), 3, 'three', 1, 1)").await;
        modern.exec("UPDATE writers SET level = 7 WHERE legacy_id = 2").await;
        arrives(&mut legacy, "SELECT name FROM writer WHERE id = 2 AND level = 7").await;
        let logs = "SELECT ssl::text FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'keeper' GROUP BY ssl";
        assert_eq!(legacy.rows(logs).await, [[Some("true".to_owned())]], "queries and replication");
        let senders =
            legacy.rows("SELECT 'x' FROM pg_stat_replication JOIN pg_stat_ssl USING (pid) WHERE ssl AND usename = 'keeper'").await;
        assert!(!senders.is_empty(), "the log goes over TLS");
        agent.stop().await;
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_believed() {
    let mut servers = Servers::start().await;
    for (authorities, whose) in [(["other.pem", "ca.pem"], "monolith"), (["ca.pem", "other.pem"], "users-service")] {
        let (agent, _) = servers.agent("native", authorities).await;
        let told = |report: &CapabilityReport| report.trouble.as_ref().is_some_and(|trouble| trouble.contains("certificate"));
        let trouble = until(&agent, "it is refused", told).await.trouble.unwrap();
        assert!(trouble.starts_with(whose) && !trouble.contains("secret"), "{trouble}");
        let report = super::world::report(&agent);
        assert!(!report.backfill.complete && report.backfill.done == 0);
        agent.stop().await;
    }
}
