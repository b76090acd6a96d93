//! TLS at the listener: which certificate is shown, what is told of the connection, files that change.

use std::net::SocketAddr;
use std::time::Duration;

use ficus_proxy::{Certificate, Clients, Config, Listener};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::pki::{Authority, shake};
use super::support::{World, ramping};

fn tls(config: &mut Config, certificates: Vec<Certificate>) {
    config.listeners = vec![Listener { tls: true, ..Listener::plain("127.0.0.1:0") }];
    config.certificates = certificates;
}

/// What comes back for bytes, until the end.
async fn say<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(mut stream: S, bytes: &str) -> String {
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).to_lowercase()
}

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: a.test:444\r\nConnection: close\r\nX-Forwarded-Proto: http\r\nX-Ficus-Client-Subject: CN=root\r\n\
                   X-SSL-Client-Verify: SUCCESS\r\nClient-Cert: :AAAA:\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_came_by_tls_is_told_as_https_whatever_the_client_says() {
    let authority = Authority::new();
    let certificate = authority.sign("a", &["a.test"]);
    let world = World::with(|config| {
        tls(config, vec![certificate]);
        config.strict_transport = Some(Duration::from_secs(86_400));
    })
    .await;
    world.serve(ramping(0));
    let client = authority.client(&[], None);
    let answer = say(shake(&client, world.address, "a.test").await.unwrap(), GET).await;
    assert!(answer.starts_with("http/1.1 200"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=86400\r\n"), "{answer}");
    let seen = world.legacy.seen("/a").remove(0);
    let header = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("x-forwarded-proto").as_deref(), Some("https"));
    assert_eq!(header("x-forwarded-port").as_deref(), Some("444"));
    assert_eq!(header("x-forwarded-host").as_deref(), Some("a.test:444"));
    for forged in ["x-ficus-client-subject", "x-ssl-client-verify", "client-cert"] {
        assert_eq!(header(forged), None, "{forged}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_the_one_for_the_name_that_was_asked_for() {
    let authority = Authority::new();
    let certificates =
        vec![authority.sign("a", &["a.test"]), authority.sign("b", &["b.test", "*.b.test"]), authority.sign("c", &["c.b.test"])];
    let world = World::with(|config| tls(config, certificates)).await;
    let client = authority.client(&[], None);
    let shown = async |name: &str| {
        let stream = shake(&client, world.address, name).await?;
        let (_, session) = stream.get_ref();
        Ok::<_, std::io::Error>(session.peer_certificates().unwrap()[0].to_vec())
    };
    let of = |file: &str| {
        use rustls::pki_types::pem::PemObject as _;
        rustls::pki_types::CertificateDer::from_pem_file(authority.file(file)).unwrap().to_vec()
    };
    for (name, file) in [("a.test", "a.pem"), ("b.test", "b.pem"), ("x.b.test", "b.pem"), ("c.b.test", "c.pem"), ("X.B.TEST", "b.pem")] {
        assert!(shown(name).await.unwrap() == of(file), "{name}");
    }
    // The first one is shown, and is not for these names.
    for name in ["other.test", "x.y.b.test"] {
        let error = shown(name).await.unwrap_err().to_string();
        assert!(error.contains("not valid for name"), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_are_read_anew_and_bad_ones_change_nothing() {
    let authority = Authority::new();
    let certificate = authority.sign("a", &["a.test"]);
    let world = World::with(|config| tls(config, vec![certificate.clone()])).await;
    let client = authority.client(&[], None);
    let serves = async |name: &str| shake(&client, world.address, name).await.is_ok();
    let until = async |name: &str| {
        for _ in 0..200 {
            if serves(name).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} is never served");
    };
    assert!(serves("a.test").await);
    let label = certificate.chain.display().to_string();
    let unread = || gauge("ficus_certificate_unread", &label);
    assert_eq!(unread(), Some(0.0));
    assert!(gauge("ficus_certificate_expires_timestamp_seconds", &label).unwrap() > 2e9);

    authority.sign("a", &["later.test"]);
    until("later.test").await;
    assert!(!serves("a.test").await);

    let other = authority.sign("other", &["other.test"]);
    std::fs::copy(&other.key, &certificate.key).unwrap();
    super::support::eventually("a key that does not belong is told", || unread() == Some(1.0)).await;
    assert!(serves("later.test").await);
    std::fs::copy(&other.chain, &certificate.chain).unwrap();
    until("other.test").await;
    assert_eq!(unread(), Some(0.0));
}

fn gauge(name: &str, file: &str) -> Option<f64> {
    let families = prometheus::gather();
    let family = families.iter().find(|family| family.name() == name)?;
    let metric = family.get_metric().iter().find(|metric| metric.get_label().iter().any(|label| label.value() == file))?;
    Some(metric.get_gauge().get_value())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_known_by_its_certificate_and_by_nothing_else() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (server, client) = (authority.sign("a", &["a.test"]), authority.sign("client", &["billing.internal"]));
    let forged = stranger.sign("client", &["billing.internal"]);
    let listener = |required| {
        let clients = Some(Clients { authorities: authority.file("ca.pem"), required });
        Listener { tls: true, clients, ..Listener::plain("127.0.0.1:0") }
    };
    let world = World::with(|config| {
        tls(config, vec![server]);
        config.listeners = vec![listener(true), listener(false)];
    })
    .await;
    world.serve(ramping(0));
    let (must, may) = (world.gateway.bound()[0], world.gateway.bound()[1]);
    let ask = async |address: SocketAddr, shows: Option<&Certificate>, path: &str| {
        let stream = shake(&authority.client(&[], shows), address, "a.test").await;
        match stream {
            Ok(stream) => say(stream, &GET.replace("/a?b=c", path)).await,
            Err(_) => String::new(),
        }
    };
    for (address, name) in [(must, "/must"), (may, "/may")] {
        assert!(ask(address, Some(&client), name).await.starts_with("http/1.1 200"));
        let seen = world.legacy.seen(name).remove(0);
        assert_eq!(seen.headers.get("x-ficus-client-subject").unwrap(), "CN=billing.internal");
        assert_eq!(seen.headers.get("x-ficus-client-names").unwrap(), "dns:billing.internal");
        assert_eq!(seen.headers.get("x-ficus-client-sha256").unwrap().len(), 64);
        assert_eq!(ask(address, Some(&forged), "/forged").await, "", "{name}: signed by a stranger");
    }
    assert_eq!(ask(must, None, "/none").await, "");
    assert!(ask(may, None, "/none").await.starts_with("http/1.1 200"));
    assert!(world.legacy.seen("/none").iter().all(|seen| !seen.headers.contains_key("x-ficus-client-subject")));
    assert!(world.legacy.seen("/forged").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_leads_to_https_lets_nothing_through() {
    let world = World::with(|config| config.listeners[0].to_https = Some(8443)).await;
    world.serve(ramping(0));
    let ask = async |method: &str, headers: &str| {
        let request = format!("{method} /a?b=c HTTP/1.1\r\nHost: a.test:80\r\nConnection: close\r\n{headers}\r\n");
        say(TcpStream::connect(world.address).await.unwrap(), &request).await
    };
    for (method, status) in [("GET", "301"), ("HEAD", "301"), ("POST", "308"), ("DELETE", "308")] {
        let answer = ask(method, "X-Forwarded-Proto: https\r\n").await;
        assert!(
            answer.starts_with(&format!("http/1.1 {status} ")) && answer.contains("location: https://a.test:8443/a?b=c\r\n"),
            "{answer}"
        );
    }
    assert!(world.legacy.seen("").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_shakes_hands_is_left() {
    let authority = Authority::new();
    let certificate = authority.sign("a", &["a.test"]);
    let world = World::with(|config| {
        tls(config, vec![certificate]);
        config.limits.head_within = Duration::from_millis(300);
    })
    .await;
    for bytes in ["", "\u{16}\u{3}\u{1}", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"] {
        let answer = tokio::time::timeout(Duration::from_secs(10), say(TcpStream::connect(world.address).await.unwrap(), bytes)).await;
        assert!(!answer.expect("it is closed").contains("http/1.1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_serves_and_outlives_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let address = format!("unix:{}", path.display());
    let said = "GET /a HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n";
    for (trusted, hops, proto) in [(vec![], None, "http"), (vec!["unix".to_owned()], Some("192.0.2.1"), "https")] {
        let world = World::with(|config| {
            config.listeners.push(Listener::plain(&address));
            config.trusted_proxies = trusted;
        })
        .await;
        world.serve(ramping(0));
        assert!(say(UnixStream::connect(&path).await.unwrap(), said).await.starts_with("http/1.1 200"));
        let seen = world.legacy.seen("/a").remove(0);
        assert_eq!(seen.headers.get("x-forwarded-for").map(|value| value.to_str().unwrap()), hops);
        assert_eq!(seen.headers.get("x-forwarded-proto").unwrap(), proto);
        drop(world);
        assert!(path.exists(), "what is left over is taken over");
    }
}
