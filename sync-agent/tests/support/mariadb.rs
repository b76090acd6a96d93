//! A MariaDB server of this process's own: in a temporary directory, on a free port of the loopback interface, gone with the
//! process however that ends. One for all tests of a binary; a database for each test.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::own::{free_port, is_root, next};

/// The account that agents log in with: what the documentation asks for, and no more.
pub const AGENT: &str = "agent";
pub const PASSWORD: &str = "agent's secret";

pub struct Server {
    pub port: u16,
    pub dir: PathBuf,
    /// Its process, to be killed by tests that want to see it die.
    keeper: Mutex<Option<Keeper>>,
    arguments: Vec<String>,
}

/// A shell that ends the server, and removes its directory, once nobody holds the other end of its standard input.
struct Keeper {
    child: std::process::Child,
}

const KEEP: &str = r#"trap '' INT TERM HUP
dir=$1; shift
"$@" </dev/null >>"$dir/log" 2>&1 &
server=$!
echo $server > "$dir/pid"
read wish
kill -9 $server 2>/dev/null; wait $server 2>/dev/null
[ "$wish" = again ] || rm -rf "$dir"
"#;

impl Server {
    /// The server of this process.
    pub fn shared() -> &'static Server {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| Server::start(&[]))
    }

    /// One of its own. Later arguments win.
    pub fn start(more: &[&str]) -> Server {
        let dir = std::env::temp_dir().join(format!("ficus-mariadb-{}-{}", std::process::id(), next()));
        std::fs::create_dir_all(&dir).unwrap();
        // As root both programs give up their rights; the directory has to be theirs then.
        let root = is_root();
        let user: &[&str] = if root { &["--user=nobody"] } else { &[] };
        if root {
            run(Command::new("chown").arg("nobody").arg(&dir));
        }
        let data = dir.join("data");
        let install = program("mariadb-install-db");
        run(Command::new(install)
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
            .arg(format!("--datadir={}", data.display()))
            // Two that begin at once would take the same name for a table in a directory that they share.
            .arg(format!("--tmpdir={}", dir.display()))
            .args(user)
            .stdout(Stdio::null()));
        let port = free_port();
        let mut arguments: Vec<String> = vec![
            program("mariadbd"),
            "--no-defaults".into(),
            format!("--datadir={}", data.display()),
            format!("--tmpdir={}", dir.display()),
            format!("--socket={}", dir.join("socket").display()),
            format!("--pid-file={}", dir.join("server.pid").display()),
            format!("--port={port}"),
        ];
        let fixed = [
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--log-bin=binlog",
            "--server-id=1",
            "--binlog-format=ROW",
            "--binlog-row-metadata=FULL",
            "--log-bin-trust-function-creators=1",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=2",
            "--sync-binlog=0",
            "--performance-schema=OFF",
            "--max-connections=300",
        ];
        arguments.extend(fixed.iter().chain(user).chain(more).map(|argument| (*argument).to_owned()));
        let server = Server { port, dir, keeper: Mutex::new(None), arguments };
        server.launch();
        server
    }

    fn launch(&self) {
        let child = Command::new("sh").args(["-c", KEEP, "sh"]).arg(&self.dir).args(&self.arguments).stdin(Stdio::piped()).spawn().unwrap();
        *self.keeper.lock().unwrap() = Some(Keeper { child });
        let deadline = Instant::now() + Duration::from_secs(120);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                panic!("mariadbd does not answer within 120 s:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it, and starts it again on the same files.
    pub fn crash_and_restart(&self) {
        use std::io::Write;
        let mut keeper = self.keeper.lock().unwrap().take().unwrap();
        keeper.child.stdin.take().unwrap().write_all(b"again\n").unwrap();
        keeper.child.wait().unwrap();
        self.launch();
    }

    /// Makes a database that nobody else has. Its name.
    pub async fn database(&self) -> String {
        let name = format!("db{}", next());
        let mut root = self.root("mysql").await;
        for statement in [
            format!("CREATE DATABASE {name}"),
            format!("CREATE USER IF NOT EXISTS '{AGENT}'@'%' IDENTIFIED BY '{}'", PASSWORD.replace('\'', "''")),
            format!("GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO '{AGENT}'@'%'"),
            format!("GRANT ALL ON {name}.* TO '{AGENT}'@'%'"),
        ] {
            exec(&mut root, &statement).await;
        }
        root.disconnect().await.unwrap();
        name
    }

    /// The URL that an agent is given.
    pub fn url(&self, database: &str) -> String {
        format!("mariadb://{AGENT}:{}@127.0.0.1:{}/{database}", PASSWORD.replace('\'', "%27").replace(' ', "%20"), self.port)
    }

    /// An application's connection, with the server's own settings.
    pub async fn root(&self, database: &str) -> Conn {
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(self.port).user(Some("root")).db_name(Some(database));
        Conn::new(options.prefer_socket(false)).await.unwrap()
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the server's last words:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        let keeper = self.keeper.lock().map(|mut keeper| keeper.take());
        if let Ok(Some(mut keeper)) = keeper {
            drop(keeper.child.stdin.take());
            let _ = keeper.child.wait();
        }
    }
}

pub async fn exec(conn: &mut Conn, sql: &str) {
    attempt(conn, sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Runs statements; all results are read.
pub async fn attempt(conn: &mut Conn, sql: &str) -> Result<(), String> {
    conn.query_drop(sql).await.map_err(|error| error.to_string())
}

pub async fn number(conn: &mut Conn, sql: &str) -> i64 {
    conn.query_first::<i64, _>(sql).await.unwrap().unwrap()
}

pub async fn text(conn: &mut Conn, sql: &str) -> Option<String> {
    conn.query_first::<Option<String>, _>(sql).await.unwrap().flatten()
}

/// Where a program of the server is. `sbin` is not in everybody's path.
fn program(name: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = places.map(|place| place.join(name)).find(|program| program.is_file());
    let found = found.unwrap_or_else(|| panic!("{name} is missing, and these tests need it: apt-get install mariadb-server"));
    found.display().to_string()
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
