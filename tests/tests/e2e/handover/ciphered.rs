//! The same by TLS and HTTP/2, where one connection carries many requests: whoever is on one is told to come again before it ends.
//! A download and a WebSocket that were begun at the first process live through all that follow.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use ficus_tests::origin::{Chat, Origin};
use ficus_tests::process::free_port;
use ficus_tests::school;
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

use super::super::Directory;
use super::{PATIENCE, is_alive, school_children, signal, start, told, until};

const TIMES: usize = 5;
const CALLERS: usize = 6;
/// Requests of a caller at once.
const AT_ONCE: usize = 4;
/// Bytes of the download: far more than is on its way at a time.
const DOWNLOAD: u64 = 256 << 20;

const RULES: &str = "[capability]\nname = \"chat\"\nlegacy = \"chat\"\nmodern = \"origin\"\n[[route]]\npath = \"/ws\"\n\
                     [[step]]\ncutover = true\n";

/// How to get to the gateway.
#[derive(Clone)]
struct Way {
    port: u16,
    roots: Arc<RootCertStore>,
}

impl Way {
    async fn connect(&self, protocol: &[u8]) -> Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(Arc::clone(&self.roots)).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        socket.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("a.test")?, socket).await?;
        ensure!(stream.get_ref().1.alpn_protocol() == Some(protocol), "another protocol is spoken");
        Ok(stream)
    }

    async fn multiplexed(&self) -> Result<SendRequest<Full<Bytes>>> {
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(self.connect(b"h2").await?)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// What callers did together.
#[derive(Default)]
struct Done {
    stop: AtomicBool,
    answered: AtomicU64,
    /// Connections after the first.
    again: AtomicU64,
}

/// Asks, several at a time, on one connection as long as it lasts.
async fn call(way: Way, done: Arc<Done>) -> Result<()> {
    let mut connection = way.multiplexed().await?;
    while !done.stop.load(Ordering::Relaxed) {
        let mut asked = (0..AT_ONCE).map(request).collect::<Vec<_>>();
        while !asked.is_empty() {
            if connection.ready().await.is_err() {
                connection = way.multiplexed().await?;
                done.again.fetch_add(1, Ordering::Relaxed);
            }
            let sent = asked.drain(..).map(|request| ask(connection.clone(), request));
            for unsent in futures::future::try_join_all(sent).await? {
                match unsent {
                    Some(request) => asked.push(request),
                    None => drop(done.answered.fetch_add(1, Ordering::Relaxed)),
                }
            }
        }
    }
    Ok(())
}

fn request(number: usize) -> Request<Full<Bytes>> {
    let (method, body) = if number.is_multiple_of(2) { (Method::GET, Bytes::new()) } else { (Method::POST, Bytes::from_static(b"a body")) };
    let uri = format!("https://a.test/{number}");
    Request::builder().method(method).uri(uri).body(Full::new(body)).expect("a request")
}

/// Sends a request, unless its connection takes none any more, or ended before it was read: then it is given back. Everything else
/// has to be answered.
async fn ask(mut connection: SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<Option<Request<Full<Bytes>>>> {
    let same = request.clone();
    let exchange = async {
        match connection.try_send_request(request).await {
            Ok(answer) => {
                ensure!(answer.status().is_success(), "{}", answer.status());
                answer.into_body().collect().await.context("an answer broke off")?;
                Ok(None)
            }
            Err(mut failed) => match failed.take_message() {
                Some(request) => Ok(Some(request)),
                None if is_unread(failed.error()) => Ok(Some(same)),
                None => Err(failed.into_error()).context("a request that was sent failed"),
            },
        }
    };
    tokio::time::timeout(PATIENCE, exchange).await.context("no answer")?
}

/// It came after the last one that the gateway reads on its connection, and says so: whoever sent it may send it again (RFC 9113,
/// 6.8).
fn is_unread(error: &hyper::Error) -> bool {
    let said = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    said.is_some_and(|said| said.is_go_away() && said.is_remote() && said.reason() == Some(h2::Reason::NO_ERROR))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_by_tls_and_http2_notice_nothing_and_what_is_open_stays_open() -> Result<()> {
    let directory = Directory::new();
    let (origin, chat) = (Origin::start("origin").await?, Chat::start().await?);
    let (way, admin, orchestrator) = configure(directory.path(), origin.port, chat.port)?;
    let _orchestrator = start(directory.path(), "orchestrator")?;
    school::until_up(&format!("http://127.0.0.1:{orchestrator}"), "/health").await?;
    let first = start(directory.path(), "gateway")?;
    school::until_up(&format!("http://127.0.0.1:{admin}"), "/ready").await?;
    until(|| std::net::TcpStream::connect(("127.0.0.1", way.port)).is_ok(), "the gateway listens").await?;

    let asked = Request::builder().uri(format!("https://a.test/download/{DOWNLOAD}")).body(Full::new(Bytes::new()))?;
    let mut download = way.multiplexed().await?.send_request(asked).await?;
    ensure!(download.status().is_success(), "{}", download.status());
    let (mut socket, _) = tokio_tungstenite::client_async("ws://a.test/ws", way.connect(b"http/1.1").await?).await?;

    let done = Arc::new(Done::default());
    let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(call(way.clone(), Arc::clone(&done)))).collect();
    let (mut pid, mut came) = (first.id(), 0);
    for time in 0..TIMES {
        let before = done.answered.load(Ordering::Relaxed);
        until(|| done.answered.load(Ordering::Relaxed) > before + 50, "requests are answered").await?;
        signal(pid, Signal::USR2);
        let began = Instant::now();
        pid = loop {
            match first.log().lines().filter_map(told).nth(time) {
                Some(next) => break next,
                None => ensure!(began.elapsed() < PATIENCE, "the {time}th does not take over: {}", first.log()),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        let said = format!("still there {time}");
        socket.send(Message::text(said.as_str())).await?;
        let heard = tokio::time::timeout(PATIENCE, socket.next()).await.context("silence")?.context("the WebSocket ended")??;
        ensure!(heard.to_text()? == said, "{heard:?}");
        came += piece(&mut download).await?;
        ensure!(is_alive(first.id()), "the first one is there for what was begun at it");
    }
    while came < DOWNLOAD {
        came += piece(&mut download).await?;
    }
    ensure!(came == DOWNLOAD, "{came} bytes");
    socket.close(None).await?;
    done.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await??;
    }
    let (answered, again) = (done.answered.load(Ordering::Relaxed), done.again.load(Ordering::Relaxed));
    ensure!(origin.requests.load(Ordering::Relaxed) == answered + 1, "{answered} were answered, and the download");
    ensure!(again >= (CALLERS * TIMES) as u64, "each caller is told to come again each time: {again} times");
    until(|| !is_alive(first.id()), "the first one ends with what it had").await?;
    until(|| school_children(&first.log()).iter().filter(|pid| is_alive(**pid)).count() == 1, "one is left").await?;
    signal(pid, Signal::TERM);
    until(|| !is_alive(pid), "it ends").await?;
    drop(first);
    directory.passed();
    Ok(())
}

/// Some more of a download.
async fn piece(download: &mut hyper::Response<hyper::body::Incoming>) -> Result<u64> {
    let frame = tokio::time::timeout(PATIENCE, download.frame()).await.context("silence")?.context("the download ended early")?;
    match frame?.into_data() {
        Ok(data) => Ok(data.len() as u64),
        Err(frame) => bail!("no data: {frame:?}"),
    }
}

/// Writes the configuration: the way to the gateway, and the ports of its admin listener and of the orchestrator.
fn configure(directory: &Path, origin: u16, chat: u16) -> Result<(Way, u16, u16)> {
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()])?;
    std::fs::write(directory.join("chain.pem"), made.cert.pem())?;
    std::fs::write(directory.join("key.pem"), made.signing_key.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(made.cert.pem().as_bytes())?)?;
    let (port, admin, orchestrator) = (free_port()?, free_port()?, free_port()?);
    std::fs::create_dir_all(directory.join("rules"))?;
    std::fs::write(directory.join("rules/chat.toml"), RULES)?;
    let text = format!(
        "[gateway]\nadmin = \"127.0.0.1:{admin}\"\ndefault = \"origin\"\ngrace = \"300s\"\n\
         [[gateway.listener]]\naddress = \"127.0.0.1:{port}\"\ntls = true\n\
         [[gateway.certificate]]\ncertificate_file = \"chain.pem\"\nkey_file = \"key.pem\"\n\
         [orchestrator]\nlisten = \"127.0.0.1:{orchestrator}\"\n\
         [upstream.origin]\naddress = \"127.0.0.1:{origin}\"\n[upstream.chat]\naddress = \"127.0.0.1:{chat}\"\n"
    );
    std::fs::write(directory.join("ficus.toml"), text)?;
    Ok((Way { port, roots: Arc::new(roots) }, admin, orchestrator))
}
