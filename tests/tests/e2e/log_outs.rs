//! A session that lives in its cookie is ended at one gateway, and is nobody's at another one: in real processes, which come and go.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use axum::Router;
use axum::routing::get;
use ficus_rules::Timestamp;
use ficus_rules::identity::django::Secrets;
use ficus_rules::identity::flask::SESSION;
use ficus_rules::identity::itsdangerous::dumps;
use ficus_tests::http::Http;
use ficus_tests::process::{Process, free_port};
use ficus_tests::school;
use hyper::Method;
use rustix::process::Signal;

use super::Directory;
use super::handover::{signal, told, until};

const SECRET: &str = "flasks-secret-key";
const PATIENCE: Duration = Duration::from_secs(120);
const RULES: &str = "[capability]\nname = 'users'\nlegacy = 'origin'\nmodern = 'service'\n
[[route]]\npath = '/me'\npin = 'legacy'\nrequire = { user = true }\n";

/// A gateway with a directory of its own.
struct Gateway {
    directory: PathBuf,
    port: u16,
    admin: u16,
    process: Process,
}

impl Gateway {
    async fn start(directory: &Path, name: &str, orchestrator: u16, origin: u16) -> Result<Gateway> {
        let (directory, port, admin) = (directory.join(name), free_port()?, free_port()?);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("secret"), SECRET)?;
        let text = format!(
            "[gateway]\nname = '{name}'\nlisten = ['127.0.0.1:{port}']\nadmin = '127.0.0.1:{admin}'\ndefault = 'origin'\ngrace = '1s'\n\
             [orchestrator]\nlisten = '127.0.0.1:{orchestrator}'\n[upstream.origin]\naddress = '127.0.0.1:{origin}'\n[upstream.service]\naddress = '127.0.0.1:{origin}'\n\
             [identity.flask]\nsecret_key_file = 'secret'\n"
        );
        std::fs::write(directory.join("ficus.toml"), text)?;
        let gateway = Gateway { process: start(&directory, "gateway")?, directory, port, admin };
        gateway.is_up().await?;
        Ok(gateway)
    }

    async fn is_up(&self) -> Result<()> {
        school::until_up(&format!("http://127.0.0.1:{}", self.admin), "/ready").await?;
        until(|| std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok(), "it listens").await
    }

    async fn restart(&mut self) -> Result<()> {
        self.process.end(PATIENCE)?;
        self.process = start(&self.directory, "gateway")?;
        self.is_up().await
    }

    async fn says(&self, path: &str, session: &str) -> Result<u16> {
        let http = Http::new(&format!("http://127.0.0.1:{}", self.port), PATIENCE);
        let cookie = format!("session={session}");
        Ok(http.send(Method::GET, path, &[("cookie", &cookie)], bytes::Bytes::new()).await?.status.as_u16())
    }

    async fn comes_to_say(&self, session: &str, status: u16) -> Result<Duration> {
        let began = Instant::now();
        while self.says("/me", session).await? != status {
            ensure!(began.elapsed() < PATIENCE, "never {status}; log:\n{}", self.process.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(began.elapsed())
    }
}

fn start(directory: &Path, part: &str) -> Result<Process> {
    let mut command = Command::new(school::binary("ficus")?);
    command.arg("--config").arg(directory.join("ficus.toml")).arg(part).env("NO_COLOR", "1");
    Process::start(part, &mut command, &directory.join(format!("{part}.log")))
}

fn session(of: &str) -> String {
    let secrets = Secrets { keys: vec![SECRET.into()] };
    dumps(format!(r#"{{"_user_id":"{of}"}}"#).as_bytes(), SESSION, &secrets, Timestamp::from(SystemTime::now()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_in_a_cookie_that_was_ended_at_one_gateway_is_nobodys_at_another() -> Result<()> {
    let directory = Directory::new();
    let origin = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = origin.local_addr()?.port();
    let ends = || async { ([("set-cookie", "session=; Max-Age=0; Path=/")], "bye") };
    let pages = Router::new().route("/log-out", get(ends)).route("/me", get(|| async { "you" }));
    tokio::spawn(async move { axum::serve(origin, pages).await });

    let api = free_port()?;
    let home = directory.path().join("orchestrator");
    std::fs::create_dir_all(home.join("rules"))?;
    std::fs::write(home.join("rules/users.toml"), RULES)?;
    let text = format!(
        "[gateway]\ndefault = 'origin'\n[orchestrator]\nlisten = '127.0.0.1:{api}'\n[upstream.origin]\naddress = '127.0.0.1:{port}'\n[upstream.service]\naddress = '127.0.0.1:{port}'\n"
    );
    std::fs::write(home.join("ficus.toml"), text)?;
    let mut orchestrator = start(&home, "orchestrator")?;
    school::until_up(&format!("http://127.0.0.1:{api}"), "/health").await?;
    let one = Gateway::start(directory.path(), "one", api, port).await?;
    let mut other = Gateway::start(directory.path(), "other", api, port).await?;
    let (mine, anothers) = (session("42"), session("43"));
    for gateway in [&one, &other] {
        gateway.comes_to_say(&mine, 200).await?;
    }

    // WHEN it is ended at one of them
    ensure!(one.says("/log-out", &mine).await? == 200 && one.says("/me", &mine).await? == 401, "there, at once");
    let took = other.comes_to_say(&mine, 401).await?;
    println!("the other gateway knew it after {took:?}");

    // THEN it stays so over a restart, and over a newer binary, while nobody tells
    orchestrator.kill()?;
    other.restart().await?;
    ensure!([other.says("/me", &mine).await?, other.says("/me", &anothers).await?] == [401, 200], "after a restart");
    signal(other.process.id(), Signal::USR2);
    until(|| other.process.log().lines().any(|line| told(line).is_some()), "another process takes over").await?;
    let next = other.process.log().lines().find_map(told);
    ensure!([other.says("/me", &mine).await?, other.says("/me", &anothers).await?] == [401, 200], "in the process that follows");

    // AND whoever comes later is told, by an orchestrator that knew nothing itself
    let _orchestrator = start(&home, "orchestrator")?;
    school::until_up(&format!("http://127.0.0.1:{api}"), "/health").await?;
    let third = Gateway::start(directory.path(), "third", api, port).await?;
    third.comes_to_say(&mine, 401).await?;
    ensure!(third.says("/me", &anothers).await? == 200, "another user");
    next.into_iter().for_each(|pid| signal(pid, Signal::TERM));
    directory.passed();
    Ok(())
}
