//! A newer binary takes over under load: nobody's request fails, and who has a tunnel keeps it for a while.

mod ciphered;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ficus_tests::http::Http;
use ficus_tests::operator::Operator;
use ficus_tests::origin::Origin;
use ficus_tests::process::{Process, free_port};
use ficus_tests::school;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Directory;

const TIMES: usize = 20;
/// Starts a program as systemd does: with a listening socket as file descriptor 3.
const SYSTEMD: &str = "\
import os, socket, sys
listening = socket.create_server(('127.0.0.1', int(sys.argv[1])))
if listening.fileno() != 3: os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')
os.execv(sys.argv[2], sys.argv[2:])
";
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_processes_follow_one_another_and_no_request_fails() -> Result<()> {
    let directory = Directory::new();
    let (gateway, admin, orchestrator) = (free_port()?, free_port()?, free_port()?);
    let origin = Origin::start("origin").await?;
    configure(directory.path(), gateway, admin, orchestrator, origin.port)?;
    let _orchestrator = start(directory.path(), "orchestrator")?;
    school::until_up(&format!("http://127.0.0.1:{orchestrator}"), "/health").await?;
    let first = start(directory.path(), "gateway")?;
    school::until_up(&format!("http://127.0.0.1:{admin}"), "/health").await?;
    let base = format!("http://127.0.0.1:{gateway}");
    until(|| std::net::TcpStream::connect(("127.0.0.1", gateway)).is_ok(), "the gateway listens").await?;

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|number| {
            let (base, stop, answered) = (base.clone(), stop.clone(), answered.clone());
            tokio::spawn(async move {
                // Some keep their connections, some come anew each time.
                let mut http = Http::once(&base, PATIENCE);
                while !stop.load(Ordering::Relaxed) {
                    if number % 2 == 0 {
                        http = Http::once(&base, PATIENCE);
                    }
                    let answer = http.get("/").await.with_context(|| format!("caller {number}"))?;
                    ensure!(answer.status.is_success(), "caller {number}: {}", answer.status);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .collect();

    let mut pid = first.id();
    for time in 0..TIMES {
        let before = answered.load(Ordering::Relaxed);
        signal(pid, Signal::USR2);
        let began = Instant::now();
        let next = loop {
            let log = first.log();
            let told: Vec<u32> = log.lines().filter_map(told).collect();
            if told.len() > time {
                break told[time];
            }
            ensure!(began.elapsed() < PATIENCE, "the {time}th does not take over; log:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        ensure!(next != pid);
        until(|| answered.load(Ordering::Relaxed) > before + 20, "requests are answered meanwhile").await?;
        pid = next;
    }
    // Those before have ended.
    until(|| school_children(&first.log()).iter().filter(|pid| is_alive(**pid)).count() == 1, "one is left").await?;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await??;
    }
    ensure!(answered.load(Ordering::Relaxed) > 20 * TIMES);
    ensure!(Http::new(&format!("http://127.0.0.1:{admin}"), PATIENCE).get("/health").await?.status.is_success(), "its admin listener");

    // One that cannot start changes nothing.
    std::fs::write(directory.path().join("ficus.toml"), "[gateway]\n")?;
    signal(pid, Signal::USR2);
    until(|| first.log().contains("this process goes on"), "it is told").await?;
    ensure!(Http::new(&base, PATIENCE).get("/").await?.status.is_success());
    signal(pid, Signal::TERM);
    until(|| !is_alive(pid), "it ends").await?;
    drop(first);
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_lives_on_in_the_old_process_until_its_grace_is_over() -> Result<()> {
    let directory = Directory::new();
    let (gateway, admin) = (free_port()?, free_port()?);
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    std::fs::write(
        directory.path().join("ficus.toml"),
        format!(
            "[gateway]\nlisten = [\"127.0.0.1:{gateway}\"]\nadmin = \"127.0.0.1:{admin}\"\ndefault = \"echo\"\ngrace = \"5s\"\n\
             [orchestrator]\nlisten = \"127.0.0.1:9\"\n[upstream.echo]\naddress = \"{}\"\n",
            echo.local_addr()?
        ),
    )?;
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = echo.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    socket.read_buf(&mut head).await.ok().filter(|count| *count > 0)?;
                }
                let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                socket.write_all(switch).await.ok()?;
                let (mut reading, mut writing) = socket.split();
                tokio::io::copy(&mut reading, &mut writing).await.ok()
            });
        }
    });
    let first = start(directory.path(), "gateway")?;
    until(|| std::net::TcpStream::connect(("127.0.0.1", gateway)).is_ok(), "the gateway listens").await?;
    let mut tunnel = TcpStream::connect(("127.0.0.1", gateway)).await?;
    tunnel
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(tunnel.read_buf(&mut head).await? > 0, "{}", head.escape_ascii());
    }
    ensure!(head.starts_with(b"HTTP/1.1 101"), "{}", head.escape_ascii());
    let pid = first.id();
    signal(pid, Signal::USR2);
    until(|| first.log().lines().any(|line| told(line).is_some()), "another takes over").await?;
    for _ in 0..3 {
        tunnel.write_all(b"hello").await?;
        let mut echoed = [0; 5];
        tunnel.read_exact(&mut echoed).await?;
        ensure!(&echoed == b"hello");
    }
    ensure!(is_alive(pid), "the old one is there for the tunnel");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, tunnel.read_to_end(&mut rest)).await.context("the grace ends")?;
    drop(first);
    directory.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_comes_from_systemd_which_is_told_who_serves() -> Result<()> {
    let directory = Directory::new();
    let origin = Origin::start("origin").await?;
    let (gateway, admin, orchestrator) = (free_port()?, free_port()?, free_port()?);
    configure(directory.path(), gateway, admin, orchestrator, origin.port)?;
    let _orchestrator = start(directory.path(), "orchestrator")?;
    school::until_up(&format!("http://127.0.0.1:{orchestrator}"), "/health").await?;
    let notified = directory.path().join("notify.sock");
    let manager = tokio::net::UnixDatagram::bind(&notified)?;
    // Who binds the same address once more is refused.
    let mut command = Command::new(school::python()?);
    command.args(["-c", SYSTEMD]).arg(gateway.to_string()).arg(school::binary("ficus")?);
    command.arg("--config").arg(directory.path().join("ficus.toml")).arg("gateway");
    command.env("NOTIFY_SOCKET", &notified).env("NO_COLOR", "1");
    let process = Process::start("gateway", &mut command, &directory.path().join("gateway.log"))?;
    let mut word = [0; 64];
    let heard = tokio::time::timeout(PATIENCE, manager.recv(&mut word)).await.context("it says that it serves")??;
    ensure!(word[..heard] == *format!("READY=1\nMAINPID={}", process.id()).as_bytes(), "{}", word.escape_ascii());
    let answer = Http::new(&format!("http://127.0.0.1:{gateway}"), PATIENCE).get("/").await?;
    ensure!(answer.status.is_success(), "{}\n{}", answer.status, process.log());
    drop(process);
    directory.passed();
    Ok(())
}

/// The capability whose writes go on while one process follows another.
const ORDERS: &str = "[capability]\nname = \"orders\"\nlegacy = \"origin\"\nmodern = \"service\"\n\
                      [[route]]\npath = \"/orders/{*rest}\"\ncsrf = false\n[[route]]\npath = \"/upload\"\ncsrf = false\n\
                      [[step]]\nreads = \"50%\"\n[[step]]\ncutover = true\napprove = true\n";

/// A gateway that can be followed, and a capability without tables that can be cut over.
struct Moving {
    operator: Operator,
    admin: Http,
    gateway: u16,
    process: Process,
    _orchestrator: Process,
    _origins: [Origin; 2],
}

impl Moving {
    async fn start(directory: &Path) -> Result<Moving> {
        let (gateway, admin, orchestrator) = (free_port()?, free_port()?, free_port()?);
        let origins = [Origin::start("origin").await?, Origin::start("service").await?];
        std::fs::create_dir_all(directory.join("rules"))?;
        std::fs::write(directory.join("rules/orders.toml"), ORDERS)?;
        let text = format!(
            "[gateway]\nlisten = [\"127.0.0.1:{gateway}\"]\nadmin = \"127.0.0.1:{admin}\"\ndefault = \"origin\"\ngrace = \"300s\"\n\
             hold_wait = \"200s\"\n[orchestrator]\nlisten = \"127.0.0.1:{orchestrator}\"\nswitch_deadline = \"180s\"\n\
             [upstream.origin]\naddress = \"127.0.0.1:{}\"\n[upstream.service]\naddress = \"127.0.0.1:{}\"\n",
            origins[0].port, origins[1].port
        );
        std::fs::write(directory.join("ficus.toml"), text)?;
        let api = format!("http://127.0.0.1:{orchestrator}");
        let orchestrating = start(directory, "orchestrator")?;
        school::until_up(&api, "/health").await?;
        let process = start(directory, "gateway")?;
        school::until_up(&format!("http://127.0.0.1:{admin}"), "/ready").await?;
        until(|| std::net::TcpStream::connect(("127.0.0.1", gateway)).is_ok(), "the gateway listens").await?;
        let operator = Operator::new(&directory.join("ficus.toml"), &api)?;
        let began = Instant::now();
        while operator.phase("orders").await? != "ramping" {
            ensure!(began.elapsed() < PATIENCE, "it does not get so far: {:#}", operator.status("orders").await?);
            let _ = operator.try_type(&["advance", "orders"]).await?;
        }
        let admin = Http::new(&api, PATIENCE);
        Ok(Moving { operator, admin, gateway, process, _orchestrator: orchestrating, _origins: origins })
    }

    async fn connect(&self) -> Result<TcpStream> {
        Ok(TcpStream::connect(("127.0.0.1", self.gateway)).await?)
    }

    /// Another process takes over from the first; its process id.
    async fn follow(&self) -> Result<u32> {
        signal(self.process.id(), Signal::USR2);
        until(|| self.process.log().lines().any(|line| told(line).is_some()), "another takes over").await?;
        self.process.log().lines().find_map(told).context("a process id")
    }

    /// Waits until this many writes are held, by all gateways together.
    async fn until_held(&self, wanted: u64) -> Result<()> {
        let began = Instant::now();
        loop {
            let status = self.admin.get("/api/v1/status").await?.json()?;
            let held = status["gateways"].as_array().into_iter().flatten().filter_map(|gateway| gateway["held"].as_u64()).sum::<u64>();
            if held == wanted {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "{held} are held: {status:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all gateways but the one that serves have said that they have ended.
    async fn until_one_is_left(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let status = self.admin.get("/api/v1/status").await?.json()?;
            let names: Vec<&str> =
                status["gateways"].as_array().into_iter().flatten().filter_map(|gateway| gateway["name"].as_str()).collect();
            if names.len() == 1 && !names[0].contains('~') {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "they are not forgotten: {names:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn say(socket: &mut TcpStream, text: &str) -> Result<()> {
    Ok(socket.write_all(text.as_bytes()).await?)
}

/// The next answer: its status, and which origin gave it.
async fn answer(socket: &mut TcpStream) -> Result<(u16, String)> {
    let mut all = Vec::new();
    loop {
        let read = tokio::time::timeout(PATIENCE, socket.read_buf(&mut all)).await.context("no answer")??;
        let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if length.is_some_and(|length| body.len() >= length) {
                let origin = head.split("\r\n").find_map(|line| line.strip_prefix("x-origin: ")).unwrap_or_default();
                return Ok((head.split(' ').nth(1).context("a status")?.parse()?, origin.to_owned()));
            }
        }
        ensure!(read > 0, "the connection ended: {text}");
    }
}

const WRITE: &str = "POST /orders/1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody";

/// The old process still has connections, and with them writes: a switch reckons with it like with the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_come_to_the_old_process_go_where_a_switch_sends_them() -> Result<()> {
    let directory = Directory::new();
    let world = Moving::start(directory.path()).await?;
    let mut kept = Vec::new();
    for _ in 0..40 {
        let mut socket = world.connect().await?;
        say(&mut socket, WRITE).await?;
        ensure!(answer(&mut socket).await? == (200, "origin".to_owned()));
        kept.push(socket);
    }
    let next = world.follow().await?;
    let operator = world.operator.clone();
    let switching = tokio::spawn(async move { operator.type_in(&["cutover", "orders", "--wait", "120s"]).await });
    // Each of these connections is good for one more answer.
    let mut answers = Vec::new();
    while !switching.is_finished() && kept.len() > 10 {
        let mut socket = kept.pop().context("one is left")?;
        say(&mut socket, WRITE).await?;
        answers.push(answer(&mut socket).await?);
    }
    switching.await??;
    ensure!(answers.iter().all(|(status, _)| *status == 200), "none is refused: {answers:?}");
    for mut socket in kept {
        say(&mut socket, WRITE).await?;
        let answered = answer(&mut socket).await?;
        ensure!(answered == (200, "service".to_owned()), "after the switch: {answered:?}");
    }
    ensure!(is_alive(world.process.id()) || world.process.log().contains("this one makes way"));
    world.until_one_is_left().await?;
    signal(next, Signal::TERM);
    until(|| !is_alive(next), "it ends").await?;
    drop(world);
    directory.passed();
    Ok(())
}

/// A switch is under way: one write is sent and has no answer, another one is held, and a newer process takes over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_write_is_answered_although_another_process_takes_over() -> Result<()> {
    let directory = Directory::new();
    let world = Moving::start(directory.path()).await?;
    let mut slow = world.connect().await?;
    say(&mut slow, "POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello").await?;
    let under_way = |status: &serde_json::Value| status["inflight_writes"].as_u64();
    let began = Instant::now();
    loop {
        let status = world.admin.get("/api/v1/status").await?.json()?;
        if status["gateways"].as_array().into_iter().flatten().filter_map(under_way).sum::<u64>() == 1 {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "it is under way: {status:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let operator = world.operator.clone();
    let switching = tokio::spawn(async move { operator.type_in(&["cutover", "orders", "--wait", "200s"]).await });
    let drains = |status: &serde_json::Value| status["stage"] == "drain";
    world.operator.until("orders", "it drains", PATIENCE, drains).await?;
    let mut held = world.connect().await?;
    say(&mut held, WRITE).await?;
    world.until_held(1).await?;
    let next = world.follow().await?;
    let mut fresh = world.connect().await?;
    say(&mut fresh, WRITE).await?;
    world.until_held(2).await?;
    ensure!(!switching.is_finished(), "a write that was sent has no answer yet");
    say(&mut slow, "world").await?;
    ensure!(answer(&mut slow).await?.0 == 200);
    switching.await??;
    for socket in [&mut held, &mut fresh] {
        let answered = answer(socket).await?;
        ensure!(answered == (200, "service".to_owned()), "{answered:?}");
    }
    drop((slow, held, fresh));
    world.until_one_is_left().await?;
    signal(next, Signal::TERM);
    until(|| !is_alive(next), "it ends").await?;
    drop(world);
    directory.passed();
    Ok(())
}

fn configure(directory: &Path, gateway: u16, admin: u16, orchestrator: u16, origin: u16) -> Result<()> {
    std::fs::create_dir_all(directory.join("rules"))?;
    let text = format!(
        "[gateway]\nlisten = [\"127.0.0.1:{gateway}\"]\nadmin = \"127.0.0.1:{admin}\"\ndefault = \"origin\"\ngrace = \"3s\"\n\
         [orchestrator]\nlisten = \"127.0.0.1:{orchestrator}\"\n[upstream.origin]\naddress = \"127.0.0.1:{origin}\"\n"
    );
    Ok(std::fs::write(directory.join("ficus.toml"), text)?)
}

fn start(directory: &Path, part: &str) -> Result<Process> {
    let mut command = Command::new(school::binary("ficus")?);
    command.arg("--config").arg(directory.join("ficus.toml")).arg(part).env("NO_COLOR", "1");
    Process::start(part, &mut command, &directory.join(format!("{part}.log")))
}

/// The process id in the line that says who took over.
pub(super) fn told(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("this one makes way")?;
    // The last number: those before it may be of colours.
    rest.rsplit(|sign: char| !sign.is_ascii_digit()).find(|part| !part.is_empty())?.parse().ok()
}

fn school_children(log: &str) -> Vec<u32> {
    log.lines().filter_map(told).collect()
}

pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process is there, and not only waits for somebody to ask how it ended.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

pub(super) async fn until(mut so: impl FnMut() -> bool, what: &str) -> Result<()> {
    let began = Instant::now();
    while !so() {
        ensure!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
