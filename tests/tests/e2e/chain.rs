//! Gateway and server agree about the requests that there were: of ordinary callers, and whatever strangers send. Three count, and
//! none of them by another's word: whoever sends; the gateway, in its access log; and the application behind a real Python server, in
//! a file of its own. The hostile corpus is that of the gateway's own tests.

#[allow(unreachable_pub, reason = "shared with another test")]
#[path = "../../../proxy/tests/hostile/client.rs"]
mod client;
#[allow(unreachable_pub, reason = "shared with another test")]
#[path = "../../../proxy/tests/hostile/corpus.rs"]
mod corpus;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use ficus_tests::bare::Bare;
use ficus_tests::process::{Process, free_port};
use ficus_tests::school;
use futures::TryStreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Deserialize;
use tokio::net::TcpStream;

use super::Directory;

const RULES: &str = r#"
[capability]
name = "users"
legacy = "server"
modern = "modern"
[[route]]
path = "/api/v1/users/{*rest}"
pin = "legacy"
[[step]]
cutover = true
"#;
/// Rows whose fault comes so late that the head may have been sent on.
const BROKEN: usize = 3;
const QUIET: Duration = Duration::from_millis(60);
/// Ordinary callers by each version of HTTP, and requests of each.
const CALLERS: usize = 8;
const REQUESTS: usize = 40;
/// Rows of which something passes that gunicorn does not take: by its limits, which count what the gateway adds, and by its taste.
const OF_GUNICORN: [&str; 4] = ["method get", "100 headers", "a value of 60 KB", "a target of 8 KiB"];
const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/chain");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gunicorn_sees_what_the_gateway_sent_on() -> Result<()> {
    agree(&["-m", "gunicorn", "--chdir", APP, "--workers", "1", "counting:wsgi", "--bind"], &OF_GUNICORN).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gunicorn_sees_it_on_connections_that_are_kept() -> Result<()> {
    agree(
        &["-m", "gunicorn", "--chdir", APP, "--worker-class", "gthread", "--threads", "8", "--keep-alive", "30", "counting:wsgi", "--bind"],
        &OF_GUNICORN,
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uvicorn_sees_what_the_gateway_sent_on() -> Result<()> {
    agree(&["-m", "uvicorn", "--app-dir", APP, "--http", "h11", "counting:asgi", "--port"], &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uvicorn_sees_it_with_its_fast_parser() -> Result<()> {
    agree(&["-m", "uvicorn", "--app-dir", APP, "--http", "httptools", "counting:asgi", "--port"], &["method get"]).await
}

/// Servers that let go of idle connections after a second: the next request comes a little before, at that moment, or after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_on_connections_that_its_server_is_closing() -> Result<()> {
    let servers: [&[&str]; 2] = [
        &["-m", "gunicorn", "--chdir", APP, "--worker-class", "gthread", "--threads", "16", "--keep-alive", "1", "counting:wsgi", "--bind"],
        &["-m", "uvicorn", "--app-dir", APP, "--timeout-keep-alive", "1", "counting:asgi", "--port"],
    ];
    for server in servers {
        let directory = Directory::new();
        let chain = Chain::start(directory.path(), server).await?;
        let callers = (0..16).map(|caller| {
            let http = chain.bare.http();
            async move {
                for number in 0..12 {
                    let answer = http.get(&format!("/a/{caller}/{number}")).await?;
                    ensure!(answer.status == 200, "{server:?}: {}", answer.status);
                    tokio::time::sleep(Duration::from_millis(900 + (caller * 12 + number) * 37 % 200)).await;
                }
                Ok(())
            }
        });
        futures::future::try_join_all(callers).await?;
        let seen = chain.counted()?.len();
        ensure!(seen == 16 * 12, "{server:?} counted {seen}");
        directory.passed();
    }
    Ok(())
}

/// A request as the application wrote it down.
#[derive(Debug, Deserialize)]
struct Counted {
    id: Option<String>,
    from: Option<String>,
    method: String,
    path: String,
    bytes: u64,
    /// Its body came to its end.
    whole: bool,
}

/// A request as the gateway wrote it down.
#[derive(Debug, Deserialize)]
struct Logged {
    request_id: String,
    /// It was sent on.
    upstream: Option<String>,
    status: u16,
    received_bytes: u64,
}

/// A Python server behind a gateway, and the files of both.
struct Chain {
    bare: Bare,
    /// The port where HTTP/2 is taken.
    multiplexing: u16,
    counted: PathBuf,
    log: PathBuf,
    _server: Process,
}

impl Chain {
    async fn start(directory: &Path, server: &[&str]) -> Result<Chain> {
        let (port, multiplexing) = (free_port()?, free_port()?);
        let bind = if server.contains(&"--bind") { format!("127.0.0.1:{port}") } else { port.to_string() };
        let (counted, log) = (directory.join("counted"), directory.join("access.log"));
        let mut command = Command::new(school::python()?);
        command.args(server).arg(bind).env("COUNTED", &counted);
        let server = Process::start("server", &mut command, &directory.join("server.log"))?;
        let more = format!(
            "[gateway.access_log]\nto = \"access.log\"\n[[gateway.listener]]\naddress = \"127.0.0.1:{multiplexing}\"\nhttp2 = true\n"
        );
        let bare = Bare::start_with(directory, &[("server", port), ("modern", port)], &[("users.toml", RULES)], &more).await?;
        let mut tries = 0;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tries += 1;
            ensure!(tries < 2_400, "the server does not come up: {}", server.log());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(Chain { bare, multiplexing, counted, log, _server: server })
    }

    /// What the application counted so far. It does so before it answers.
    fn counted(&self) -> Result<Vec<Counted>> {
        lines(&self.counted)
    }

    /// What the gateway sent on, by its access log; once that has `last`.
    async fn sent_on(&self, last: &str) -> Result<Vec<Logged>> {
        for _ in 0..400 {
            // Its last line may be half written.
            let logged: Vec<Logged> = lines(&self.log).unwrap_or_default();
            if logged.iter().any(|line| line.request_id == last) {
                return Ok(logged.into_iter().filter(|line| line.upstream.is_some()).collect());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        anyhow::bail!("the access log has no line of {last}")
    }

    /// Sends the corpus: how many requests the server should have got, and the rows of which the application did not get all.
    async fn hostile(&self) -> Result<(usize, Vec<String>)> {
        let (mut wanted, mut refused, mut wrong) = (0, Vec::new(), Vec::new());
        for row in corpus::rows() {
            let before = self.counted()?.len();
            let answers = row.want.answers.len();
            let got = client::send(([127, 0, 0, 1], self.bare.port()).into(), &row.send, row.send.len(), answers, QUIET).await;
            let want: Vec<String> = row.want.seen.iter().map(|seen| asked(seen)).collect();
            let whole = self.counted()?.into_iter().skip(before).filter(|counted| counted.whole);
            let seen: Vec<String> = whole.map(|counted| format!("{} {}", counted.method, counted.path.trim_end_matches('?'))).collect();
            wanted += want.len();
            match (seen == want, want.starts_with(&seen)) {
                (true, _) if got.statuses() == row.want.answers => {}
                (false, true) => refused.push(row.name),
                _ => wrong.push(format!(
                    "{}: {:?}, and {seen:?} arrive; wanted {:?} and {want:?}",
                    row.name,
                    got.statuses(),
                    row.want.answers
                )),
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok((wanted, refused))
    }

    /// Sends what applications send, on kept connections: the id of each request, and how long its body was. By HTTP/1.1, and by
    /// HTTP/2, where all of a caller's requests are under way at once.
    async fn ordinary(&self) -> Result<BTreeMap<String, u64>> {
        let callers = (0..CALLERS).map(|caller| {
            let http = self.bare.http();
            async move {
                let mut sent = Vec::new();
                for number in 0..REQUESTS {
                    let (method, path, length) = usual(caller, number);
                    let answer = http.send(method, &path, &[], Bytes::from(vec![b'x'; length])).await?;
                    ensure!(answer.status == 200, "{path}: {}", answer.status);
                    sent.push((answer.header("x-request-id").context("an id")?.to_owned(), length as u64));
                }
                Ok(sent)
            }
        });
        let multiplexed = (CALLERS..2 * CALLERS).map(|caller| self.multiplexed(caller));
        let (one, two) =
            futures::future::try_join(futures::future::try_join_all(callers), futures::future::try_join_all(multiplexed)).await?;
        Ok(one.into_iter().chain(two).flatten().collect())
    }

    async fn multiplexed(&self, caller: usize) -> Result<Vec<(String, u64)>> {
        let stream = TokioIo::new(TcpStream::connect(("127.0.0.1", self.multiplexing)).await?);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
        tokio::spawn(connection);
        let requests = (0..REQUESTS).map(|number| {
            let mut sender = sender.clone();
            async move {
                let (method, path, length) = usual(caller, number);
                let request = Request::builder().method(method).uri(format!("http://127.0.0.1:{}{path}", self.multiplexing));
                // Every other body says no length.
                let body = Full::new(Bytes::from(vec![b'x'; length]));
                let body = if number % 8 < 4 { body.boxed() } else { StreamBody::new(body.into_data_stream().map_ok(Frame::data)).boxed() };
                sender.ready().await?;
                let (answer, body) = sender.send_request(request.body(body)?).await?.into_parts();
                body.collect().await?;
                ensure!(answer.status == 200, "{path}, by HTTP/2: {}", answer.status);
                Ok((answer.headers.get("x-request-id").context("an id")?.to_str()?.to_owned(), length as u64))
            }
        });
        futures::future::try_join_all(requests).await
    }
}

/// An ordinary request: its method, its target and the length of its body.
fn usual(caller: usize, number: usize) -> (Method, String, usize) {
    let (method, length) = match number % 4 {
        0 => (Method::POST, number * 1_000),
        1 => (Method::PUT, number),
        2 => (Method::HEAD, 0),
        _ => (Method::GET, 0),
    };
    (method, format!("/api/v1/{}/{caller}/{number}?page={number}", if number.is_multiple_of(3) { "users" } else { "courses" }), length)
}

/// `refuses`: rows of which the gateway lets something pass that the server's parser does not.
async fn agree(server: &[&str], refuses: &[&str]) -> Result<()> {
    let directory = Directory::new();
    let chain = Chain::start(directory.path(), server).await?;
    let (wanted, refused) = chain.hostile().await?;
    let of_strangers = chain.counted()?;
    let ordinary = chain.ordinary().await?;
    ensure!(ordinary.len() == 2 * CALLERS * REQUESTS, "two requests have one id");
    let last = chain.bare.http().get("/last").await?.header("x-request-id").context("an id")?.to_owned();
    let sent_on = by_id(chain.sent_on(&last).await?, |line| Some(line.request_id.clone()))?;
    let counted = by_id(chain.counted()?, |line| line.id.clone())?;

    for (id, counted) in &counted {
        ensure!(counted.from.as_deref() == Some("127.0.0.1"), "an address is not the gateway's word: {counted:?}");
        let sent = sent_on.get(id).with_context(|| format!("past the gateway: {counted:?}"))?;
        ensure!((sent.status == 200) == counted.whole, "{sent:?}, and {counted:?}");
        ensure!(!counted.whole || sent.received_bytes == counted.bytes, "{sent:?}, and {counted:?}");
    }
    for (id, length) in &ordinary {
        let counted = counted.get(id).context("an ordinary request is not counted")?;
        ensure!(counted.whole && counted.bytes == *length, "of {length} bytes: {counted:?}");
    }
    let whole = of_strangers.iter().filter(|counted| counted.whole).count();
    ensure!(counted.len() == of_strangers.len() + ordinary.len() + 1, "what ordinary callers send is seen once");
    let answered = sent_on.values().filter(|line| line.status == 200).count();
    ensure!(answered == whole + ordinary.len() + 1, "the gateway had {answered} answers, the application gave {whole} to strangers");
    // The rest, the server's parser refused, or their bodies broke off when the head had been sent on.
    let (by_parser, broken) = (wanted - whole, (sent_on.len() - answered).checked_sub(wanted - whole));
    let broken = broken.with_context(|| format!("{by_parser} of the corpus never arrived"))?;
    ensure!(broken <= BROKEN, "{broken} requests were sent on that nobody should have seen");
    ensure!(refused == refuses, "the server refuses of {refused:?}, wanted {refuses:?}");
    ensure!(whole > 100, "only {whole} requests of strangers arrived");
    directory.passed();
    Ok(())
}

/// The lines of a file of JSON lines; none, if it is not there.
fn lines<T: for<'a> Deserialize<'a>>(file: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

fn by_id<T: std::fmt::Debug>(lines: Vec<T>, id: impl Fn(&T) -> Option<String>) -> Result<BTreeMap<String, T>> {
    let mut found = BTreeMap::new();
    for line in lines {
        let id = id(&line).with_context(|| format!("without an id: {line:?}"))?;
        ensure!(!found.contains_key(&id), "a second time: {line:?}");
        found.insert(id, line);
    }
    Ok(found)
}

/// Method and target of a request's bytes.
fn asked(request: &[u8]) -> String {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line);
    // ASGI does not tell an empty query from none.
    text.rsplit_once(' ').map_or_else(String::new, |(asked, _)| asked.trim_end_matches('?').to_owned())
}
