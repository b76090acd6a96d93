//! A PostgreSQL server of this process's own: in a temporary directory, on a free port of the loopback interface, gone
//! with the process however that ends. One for all tests of a binary; a database for each test.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};

use crate::own::{free_port, is_root, next};

/// The role that agents log in with: what the documentation asks for, and no more. It owns the databases.
pub const AGENT: &str = "agent";
pub const PASSWORD: &str = "agent's secret";

pub struct Server {
    pub port: u16,
    dir: PathBuf,
    keeper: Mutex<Option<std::process::Child>>,
    arguments: Vec<String>,
}

/// Ends the server, and removes its directory, once nobody holds the other end of its standard input.
const KEEP: &str = r#"trap '' INT TERM HUP
dir=$1; shift
"$@" </dev/null >>"$dir/log" 2>&1 &
server=$!
echo $server > "$dir/pid"
read wish
kill -QUIT $server 2>/dev/null
wait $server 2>/dev/null
[ "$wish" = again ] || rm -rf "$dir"
"#;

impl Server {
    /// The server of this process.
    pub fn shared() -> &'static Server {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| Server::start(&["fsync=off"]))
    }

    /// One of its own, with these settings.
    pub fn start(more: &[&str]) -> Server {
        let fixed = ["wal_level=logical", "max_replication_slots=300", "max_wal_senders=300"];
        Server::start_plain(&[&fixed, more].concat())
    }

    /// One of its own as it comes: `ALTER SYSTEM` takes effect for what is not among these settings.
    pub fn start_plain(more: &[&str]) -> Server {
        let dir = std::env::temp_dir().join(format!("ficus-postgres-{}-{}", std::process::id(), next()));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("password"), PASSWORD).unwrap();
        if is_root() {
            run(Command::new("chown").args(["-R", "nobody"]).arg(&dir));
        }
        let data = dir.join("data");
        let mut arguments = unprivileged();
        arguments.extend([program("initdb"), "-D".into(), data.display().to_string()]);
        arguments
            .extend(["-U", "postgres", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "--pwfile"].map(String::from));
        arguments.push(dir.join("password").display().to_string());
        run(Command::new(&arguments[0]).args(&arguments[1..]).current_dir(&dir).stdout(Stdio::null()));
        let port = free_port();
        let mut arguments = unprivileged();
        arguments.extend([program("postgres"), "-D".into(), data.display().to_string(), "-p".into(), port.to_string()]);
        let fixed = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=300",
            "shared_buffers=32MB",
            "log_min_messages=fatal",
        ];
        arguments.extend(fixed.iter().chain(more).flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]));
        let server = Server { port, dir, keeper: Mutex::new(None), arguments };
        server.launch();
        server
    }

    fn launch(&self) {
        let child = Command::new("sh")
            .args(["-c", KEEP, "sh"])
            .arg(&self.dir)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .current_dir(&self.dir)
            .spawn();
        *self.keeper.lock().unwrap() = Some(child.unwrap());
        let deadline = Instant::now() + Duration::from_secs(120);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                panic!("postgres does not answer within 120 s:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it, and starts it again on the same files.
    pub fn crash_and_restart(&self) {
        use std::io::Write;
        let mut keeper = self.keeper.lock().unwrap().take().unwrap();
        keeper.stdin.take().unwrap().write_all(b"again\n").unwrap();
        keeper.wait().unwrap();
        self.launch();
    }

    /// Makes a database that nobody else has. Its name.
    pub async fn database(&self) -> String {
        let name = format!("db{}", next());
        let mut root = self.root("postgres").await;
        // Two tests at once may both find that there is no such role.
        let role = format!(
            "DO $$ BEGIN CREATE ROLE {AGENT} LOGIN REPLICATION PASSWORD '{}'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
            PASSWORD.replace('\'', "''")
        );
        exec(&mut root, &role).await;
        exec(&mut root, &format!("CREATE DATABASE {name} OWNER {AGENT}")).await;
        root.close().await.unwrap();
        name
    }

    /// The URL that an agent is given.
    pub fn url(&self, database: &str) -> String {
        self.url_of(AGENT, database)
    }

    /// The same, for a superuser.
    pub fn root_url(&self, database: &str) -> String {
        self.url_of("postgres", database)
    }

    fn url_of(&self, user: &str, database: &str) -> String {
        let password = PASSWORD.replace('\'', "%27").replace(' ', "%20");
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// An application's connection, with settings of its own.
    pub async fn app(&self, database: &str) -> PgConnection {
        self.connect(AGENT, database).await
    }

    pub async fn root(&self, database: &str) -> PgConnection {
        self.connect("postgres", database).await
    }

    pub async fn connect(&self, user: &str, database: &str) -> PgConnection {
        let options =
            PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port).username(user).password(PASSWORD).database(database);
        let options = options.options([("TimeZone", "Asia/Kathmandu"), ("DateStyle", "German"), ("IntervalStyle", "sql_standard")]);
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            // A server that has just been started answers before it takes anybody in.
            match options.connect().await {
                Ok(connection) => return connection,
                Err(error) if Instant::now() > deadline => panic!("{error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.lock().unwrap().take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

pub async fn exec(connection: &mut PgConnection, sql: &str) {
    attempt(connection, sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Runs statements in one message: without BEGIN, in one transaction.
pub async fn attempt(connection: &mut PgConnection, sql: &str) -> Result<u64, String> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await;
    done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
}

pub async fn number(connection: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query(AssertSqlSafe(format!("SELECT ({sql})::int8"))).fetch_one(connection).await.unwrap().get(0)
}

pub async fn text(connection: &mut PgConnection, sql: &str) -> Option<String> {
    sqlx::query(AssertSqlSafe(format!("SELECT ({sql})::text"))).fetch_one(connection).await.unwrap().get(0)
}

/// Where Debian keeps the server's programs, or wherever they are found.
fn program(name: &str) -> String {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin").join(name)).collect();
    found.retain(|path| path.exists());
    found.sort();
    if let Some(newest) = found.pop() {
        return newest.display().to_string();
    }
    let there = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(there.is_ok(), "{name} is missing, and these tests need it: apt-get install postgresql");
    name.to_owned()
}

/// Both programs refuse to run as root.
fn unprivileged() -> Vec<String> {
    if is_root() {
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"].map(String::from).to_vec()
    } else {
        vec!["env".into()]
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
