//! Who may do what: every call of the API without, with a wrong, with a weaker token; whose name is in the journal; TLS.

use std::sync::Arc;
use std::time::Duration;

use ficus_orchestrator::{Listener, Role, Tls, Tokens};
use ficus_rules::api::JournalEntry;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Http, World, tokens};

fn carry(http: &Http, secret: Option<&str>) {
    *http.token.lock().expect("not poisoned") = secret.map(Into::into);
}

/// Every call that the description names, with parameters filled in.
async fn calls(world: &World) -> Vec<(Method, String, Option<Role>)> {
    let described: Value = world.http.get("/api/v1/openapi.json").await;
    let paths = described["paths"].as_object().expect("paths").iter();
    let calls =
        paths.flat_map(|(path, methods)| methods.as_object().expect("methods").iter().map(move |(method, call)| (path, method, call)));
    calls
        .map(|(path, method, call)| {
            let path = path.replace("{name}", "users").replace("{wish}", "hold");
            let role = call["x-role"].as_str().map(|word| Role::parse(word).expect("a role"));
            (method.to_uppercase().parse().expect("a method"), path, role)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_refused_without_with_a_wrong_and_with_a_weaker_token() {
    let world = World::start(|config| config.tokens = tokens()).await;
    let calls = calls(&world).await;
    assert!(calls.len() > 15, "{calls:?}");
    let before = world.users().await;
    for (method, path, role) in calls {
        let bad = [None, Some("wrong".to_owned()), Some("admin-secre".to_owned()), Some("admin-secret2".to_owned())];
        let weaker = Role::ALL.into_iter().filter(|given| role.is_some_and(|needed| !given.covers(needed)));
        let tries = bad.into_iter().map(|secret| (secret, StatusCode::UNAUTHORIZED));
        let tries = tries.chain(weaker.map(|role| (Some(format!("{role}-secret")), StatusCode::FORBIDDEN)));
        for (secret, refused) in tries {
            carry(&world.http, secret.as_deref());
            // A body that no call takes: a call that is let in does nothing either.
            let body = (method != Method::GET).then(|| "[]".to_owned());
            let (status, answer) = world.http.try_send(method.clone(), &path, body).await.expect("an answer");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let Some(needed) = role else {
                assert_eq!(status, StatusCode::OK, "{method} {path} is for everybody");
                continue;
            };
            assert_eq!(status, refused, "{method} {path} with {secret:?}: {answer}");
            assert!(!answer.contains("secret") && !answer.contains("users"), "{method} {path} tells {answer}");
            assert!(refused == StatusCode::UNAUTHORIZED || answer.contains(needed.as_str()), "{answer}");
        }
        let strongest = if role == Some(Role::Fleet) { "fleet-secret" } else { "admin-secret" };
        carry(&world.http, Some(strongest));
        if method == Method::GET {
            let (status, _) = world.http.send(method, &path, None).await;
            assert_eq!(status, StatusCode::OK, "{path}");
        }
    }
    carry(&world.http, Some("viewer-secret"));
    let after = world.users().await;
    assert_eq!((after.phase, after.holds), (before.phase, before.holds), "nothing was done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_may_do_what_it_is_for() {
    let world = World::start(|config| config.tokens = tokens()).await;
    let hold = "/api/v1/capabilities/users/hold";
    for (role, method, path, expected) in [
        ("viewer", Method::GET, "/api/v1/status", StatusCode::OK),
        ("operator", Method::GET, "/api/v1/status", StatusCode::OK),
        ("fleet", Method::GET, "/api/v1/published", StatusCode::OK),
        ("fleet", Method::GET, "/api/v1/orders", StatusCode::OK),
        ("operator", Method::POST, hold, StatusCode::OK),
        ("operator", Method::POST, "/api/v1/reload", StatusCode::OK),
        ("admin", Method::POST, "/api/v1/capabilities/users/retire", StatusCode::CONFLICT),
        ("operator", Method::POST, "/api/v1/capabilities/users/retire", StatusCode::FORBIDDEN),
        // Spelled so that another call takes it.
        ("operator", Method::POST, "/api/v1/capabilities/users/%72etire", StatusCode::NOT_FOUND),
    ] {
        carry(&world.http, Some(&format!("{role}-secret")));
        let body = (method == Method::POST).then(|| "{}".to_owned());
        assert_eq!(world.http.send(method, path, body).await.0, expected, "{role} {path}");
    }
    // A name that leads here is no obstacle to who has a token.
    let (status, _) = world.http.send_with(Method::GET, "/api/v1/status", &[("host", "ficus.internal")], None).await.expect("an answer");
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_can_do_nothing_without_the_header() {
    let world = World::start(|config| config.tokens = tokens()).await;
    carry(&world.http, None);
    let cookie = ("cookie", "token=admin-secret; Authorization=Bearer%20admin-secret");
    for path in ["/api/v1/status", "/api/v1/status?token=admin-secret&access_token=admin-secret"] {
        let (status, _) = world.http.send_with(Method::GET, path, &[cookie], None).await.expect("an answer");
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
    }
    carry(&world.http, Some("admin-secret"));
    let foreign = [("origin", "https://evil.example"), ("content-type", "application/json")];
    let (status, _) = world.http.send_with(Method::POST, "/api/v1/reload", &foreign, None).await.expect("an answer");
    assert_eq!(status, StatusCode::FORBIDDEN, "not even with it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_names_token_and_address_of_every_change() {
    let world = World::start(|config| {
        std::fs::write(config.rules_dir.join("flags.toml"), "[flag.new-profile]\ndefault = false\n").expect("it writes");
        config.tokens = Tokens::new([("night-shift", Role::Operator, "night"), ("ada", Role::Admin, "admin-secret")]);
    })
    .await;
    carry(&world.http, Some("night"));
    let body = json!({ "by": "grace", "reason": "holidays" }).to_string();
    let pin = json!({ "capability": "users", "side": "legacy", "by": "grace" }).to_string();
    let flag = json!({ "on": true, "by": "grace" }).to_string();
    for (method, path, body) in [
        (Method::POST, "/api/v1/capabilities/users/hold", body.clone()),
        (Method::POST, "/api/v1/pins", pin.clone()),
        (Method::DELETE, "/api/v1/pins", pin),
        (Method::PUT, "/api/v1/flags/new-profile", flag),
        (Method::DELETE, "/api/v1/flags/new-profile", body),
    ] {
        let (status, answer) = world.http.send(method, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        let journal: Vec<JournalEntry> = world.http.get("/api/v1/journal?limit=1").await;
        let last = journal.last().expect("an entry");
        assert_eq!(last.by.as_deref(), Some("grace (night-shift)"), "{path}");
        assert_eq!(last.line.detail["origin"], json!({ "token": "night-shift", "address": "127.0.0.1" }), "{path}");
    }
    std::fs::write(world.rules_file(), crate::support::RULES.replace("50%", "60%")).expect("it writes");
    carry(&world.http, Some("admin-secret"));
    let why = json!({ "reason": "more of them" }).to_string();
    assert_eq!(world.http.send(Method::POST, "/api/v1/reload", Some(why)).await.0, StatusCode::OK);
    let journal: Vec<JournalEntry> = world.http.get("/api/v1/journal?limit=50").await;
    // Whoever was faster, the watcher or the command: who gives a reason is named with it.
    let told = journal.iter().rev().find(|entry| entry.line.kind == "rules").expect("rules were read");
    assert_eq!((told.by.as_deref(), &told.line.detail["reason"]), (Some("ada"), &json!("more of them")), "{told:?}");
    let whole = serde_json::to_string(&journal).expect("JSON") + &serde_json::to_string(&world.status().await).expect("JSON");
    assert!(!whole.contains("secret") && !whole.contains("\"night\""), "no secret is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_speaks_tls_and_nothing_else() {
    let world = World::start(|_| {}).await;
    let folder = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(["ficus.internal".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("it writes");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("it writes");
    let one_line = folder.path().join("one-line.pem");
    std::fs::write(&one_line, made.signing_key.serialize_pem().replace('\n', "")).expect("it writes");
    let why = Tls::load(&certificate, &one_line).expect_err("it lost its ends of lines");
    assert!(why.len() < 200 && why.contains("one-line.pem is no PEM"), "{why}");
    let why = Tls::load(&key, &certificate).expect_err("they are the wrong way round");
    assert!(why.contains("key.pem") && !why.contains(&made.signing_key.serialize_pem()), "{why}");

    let mut until = rcgen::CertificateParams::new(["ficus.internal".to_owned()]).expect("a name");
    until.not_after = rcgen::date_time_ymd(2030, 6, 1);
    let short = folder.path().join("short.pem");
    std::fs::write(&short, until.self_signed(&made.signing_key).expect("a certificate").pem()).expect("it writes");
    let tls = Tls::load(&short, &key).expect("they belong together");
    assert_eq!((tls.expires(), tls.file()), (1_906_502_400, short.to_str().expect("a path")));

    let tls = Tls::load(&certificate, &key).expect("they belong together");
    let listener = Listener::bind("127.0.0.1:0", Some(&tls)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = world.orchestrator().router();
    let serving = tokio::spawn(listener.serve(router));

    // Who connects and says nothing keeps nobody waiting, not even in a crowd.
    let mut mute = Vec::new();
    for _ in 0..200 {
        mute.push(tokio::net::TcpStream::connect(address).await.expect("it listens"));
    }
    let begun = std::time::Instant::now();
    let request = b"GET /health HTTP/1.1\r\nhost: ficus.internal\r\nconnection: close\r\n\r\n";
    let mut plain = tokio::net::TcpStream::connect(address).await.expect("it listens");
    plain.write_all(request).await.expect("it takes bytes");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{:?}", String::from_utf8_lossy(&answer));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()));
    let tcp = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let name = rustls::pki_types::ServerName::try_from("ficus.internal").expect("a name");
    let mut stream = connector.connect(name, tcp).await.expect("a handshake");
    stream.write_all(request).await.expect("it takes bytes");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(4), "it was kept waiting for {:?}", begun.elapsed());
    serving.abort();
}
