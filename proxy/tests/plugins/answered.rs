//! Plugins that answer a request themselves: none of these must reach a server behind.

use ficus_proxy::Listener;
use ficus_rules::wire::FlagOverride;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::support::{World, full, ramping, streamed};
use super::{serve, serve_with};

#[tokio::test]
async fn an_address_is_let_in_or_not_and_strangers_cannot_choose_theirs() {
    let world = World::start().await;
    let rules =
        "[[route]]\npath = \"/open/{*rest}\"\n[[route]]\npath = \"/inside/{*rest}\"\n[route.plugins.ip]\nallow = [\"10.0.0.0/8\"]\n";
    serve(&world, rules, "", ramping(0));
    assert_eq!(world.get("/open/a").await.status, 200);
    let refused = world.send("GET", "/inside/a", &[("x-forwarded-for", "10.0.0.1")], full("")).await;
    assert_eq!((refused.status, world.legacy.seen("/inside/").len()), (403, 0));
    serve(&world, "[[route]]\npath = \"/inside/{*rest}\"\n[route.plugins.ip]\ndeny = [\"127.0.0.0/8\"]\n", "", ramping(0));
    assert_eq!(world.get("/inside/a").await.status, 403);
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_client_is_whom_the_last_of_them_names() {
    let world = World::with(|config| config.trusted_proxies = vec!["127.0.0.1".into(), "10.9.0.0/16".into()]).await;
    let rule = "[[route]]\npath = \"/inside/{*rest}\"\n[route.plugins.ip]\nallow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n";
    serve(&world, rule, "", ramping(0));
    for (hops, status) in [
        ("192.0.2.7", 200),
        ("192.0.2.7, 10.9.0.1", 200),
        ("192.0.2.7, 203.0.113.1", 403),
        ("203.0.113.1", 403),
        ("192.0.2.7, x", 403),
        // As application gateways say it.
        ("192.0.2.7:4711", 200),
        ("192.0.2.7:4711, 10.9.0.1:80", 200),
        ("203.0.113.1:4711", 403),
        ("192.0.2.7, 203.0.113.1:4711", 403),
        ("[2001:db8::1]:4711", 200),
        ("[2001:db8::1], 10.9.0.1", 200),
        ("2001:db8::1", 200),
        ("[::ffff:192.0.2.7]:4711", 200),
        ("[2001:db9::1]:4711", 403),
        ("192.0.2.7:x", 403),
        ("192.0.2.7:70000", 403),
    ] {
        let got = world.send("GET", "/inside/a", &[("x-forwarded-for", hops)], full("")).await;
        assert_eq!(got.status, status, "{hops}");
    }
}

#[tokio::test]
async fn a_flag_puts_a_page_in_place_of_answers_and_takes_it_away() {
    let world = World::start().await;
    let rules = "[plugins.maintenance]\nflag = \"closed\"\nmessage = \"we move house\"\npage = \"<h1>Back soon</h1>\"\nretry_after = \"10m\"\n\
                 [[route]]\npath = \"/a/{*rest}\"\n[[route]]\npath = \"/b/{*rest}\"\n[route.plugins]\nmaintenance = false\n";
    let flags = "[flag.closed]\n";
    serve(&world, rules, flags, ramping(0));
    assert_eq!(world.get("/a/x").await.status, 200, "the flag is off");
    let over = FlagOverride { on: true, ..FlagOverride::default() };
    serve_with(&world, rules, flags, ramping(0), [("closed".to_owned(), over)].into());
    let page = world.send("GET", "/a/x", &[("accept", "text/html")], full("")).await;
    assert_eq!((page.status, page.header("retry-after"), &page.body[..]), (503, "600", &b"<h1>Back soon</h1>"[..]));
    assert_eq!(world.get("/a/x").await.json()["detail"], "we move house");
    assert_eq!(world.get("/b/x").await.status, 200, "this route does not want it");
    serve(&world, rules, flags, ramping(0));
    assert_eq!(world.get("/a/x").await.status, 200);
    assert_eq!(world.legacy.seen("/a/").len(), 2);
}

#[tokio::test]
async fn what_no_route_matches_meets_no_plugin() {
    let world = World::start().await;
    let closed = "[plugins.maintenance]\n[plugins.ip]\ndeny = [\"127.0.0.0/8\"]\n[plugins.response_headers]\nset = { x-met = \"1\" }\n";
    serve(&world, &format!("{closed}[[route]]\npath = \"/a/{{*rest}}\"\nmethods = [\"GET\"]\n"), "", ramping(0));
    assert_eq!(world.get("/a/x").await.status, 403);
    for got in [world.get("/b/x").await, world.post("/a/x").await, world.get("/").await] {
        assert_eq!((got.status, got.header("x-met")), (200, ""), "it passes as it is");
    }
    // Whoever wants them for the rest says so.
    serve(
        &world,
        &format!("{closed}[[route]]\npath = \"/a/{{*rest}}\"\n[[route]]\npath = \"/{{*rest}}\"\npin = \"legacy\"\n"),
        "",
        ramping(0),
    );
    assert_eq!((world.get("/b/x").await.status, world.post("/").await.status), (403, 403));
}

#[tokio::test]
async fn writes_alone_may_be_kept_out() {
    let world = World::start().await;
    serve(&world, "[plugins.maintenance]\nwrites_only = true\n[[route]]\npath = \"/a/{*rest}\"\n", "", ramping(0));
    assert_eq!((world.get("/a/x").await.status, world.post("/a/x").await.status), (200, 503));
}

#[tokio::test]
async fn an_old_page_leads_to_the_new_one() {
    let world = World::start().await;
    serve(&world, "[[route]]\npath = \"/old/{id}/\"\n[route.plugins.redirect]\nto = \"/new/{id}\"\nstatus = 301\n", "", ramping(0));
    let got = world.get("/old/42/?a=1").await;
    assert_eq!((got.status, got.header("location")), (301, "/new/42?a=1"));
    assert!(world.legacy.seen("/old/").is_empty());
}

#[tokio::test]
async fn a_preflight_is_answered_for_the_route_that_it_asks_about() {
    let world = World::start().await;
    let rules = "[[route]]\npath = \"/api/{*rest}\"\nmethods = [\"PUT\", \"GET\"]\ncsrf = false\n[route.plugins.cors]\norigins = [\"https://app.example.test\"]\n\
                 methods = [\"GET\", \"PUT\"]\nheaders = [\"Authorization\", \"Content-Type\"]\nexpose = [\"x-total\"]\ncredentials = true\nmax_age = \"1h\"\n";
    serve(&world, rules, "", ramping(0));
    let ask = async |origin: &str, method: &str| {
        world.send("OPTIONS", "/api/a", &[("origin", origin), ("access-control-request-method", method)], full("")).await
    };
    let told = ask("https://app.example.test", "PUT").await;
    assert_eq!(told.status, 204);
    assert_eq!(told.header("access-control-allow-origin"), "https://app.example.test");
    assert_eq!(told.header("access-control-allow-methods"), "GET, PUT");
    assert_eq!(told.header("access-control-allow-headers"), "authorization, content-type");
    assert_eq!((told.header("access-control-allow-credentials"), told.header("access-control-max-age")), ("true", "3600"));
    assert_eq!(told.header("vary"), "origin");
    let stranger = ask("https://evil.test", "PUT").await;
    assert_eq!((stranger.status, stranger.header("access-control-allow-origin")), (403, ""));
    assert_eq!(ask("https://app.example.test", "DELETE").await.status, 200, "no route of these rules: legacy answers it");
    assert_eq!(world.legacy.seen("/api/").len(), 1);

    *world.legacy.state.headers.lock().unwrap() = vec![("access-control-allow-origin", "*"), ("access-control-allow-credentials", "true")];
    let own = world.send("GET", "/api/thing", &[("origin", "https://app.example.test")], full("")).await;
    assert_eq!(
        (own.header("access-control-allow-origin"), own.header("access-control-expose-headers")),
        ("https://app.example.test", "x-total")
    );
    let other = world.send("GET", "/api/thing", &[("origin", "https://evil.test")], full("")).await;
    assert!(!other.headers.contains_key("access-control-allow-origin") && !other.headers.contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn an_internal_page_asks_for_a_password_and_keeps_it() {
    let world = World::start().await;
    // `make_password("öffne dich", "salt")` with 1,000 rounds.
    let rules = "[[route]]\npath = \"/internal/{*rest}\"\n[route.plugins.basic_auth]\nrealm = \"ops\"\n\
                 users = { ana = \"pbkdf2_sha256$1000$salt$8I5koMVb6HjgW29RDSq2a7moSKBiP1LkxXT7m4qmKis=\" }\n";
    serve(&world, rules, "", ramping(0));
    let denied = world.get("/internal/a").await;
    assert_eq!((denied.status, denied.header("www-authenticate")), (401, "Basic realm=\"ops\", charset=\"UTF-8\""));
    let with = |pair: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    for (pair, status) in [("ana:sesame", 401), ("eve:öffne dich", 401), ("ana:öffne dich", 200), ("ana:öffne dich", 200)] {
        assert_eq!(world.send("GET", "/internal/a", &[("authorization", &with(pair))], full("")).await.status, status, "{pair}");
    }
    let seen = world.legacy.seen("/internal/");
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| !seen.headers.contains_key("authorization")), "the password is not for the server behind");
}

#[tokio::test]
async fn a_body_may_be_so_large_whether_it_says_its_length_or_not() {
    let world = World::start().await;
    serve(&world, "[[route]]\npath = \"/up/{*rest}\"\ncsrf = false\n[route.plugins.request_size]\nmax = \"64KiB\"\n", "", ramping(0));
    let send = |size: usize| world.send("POST", "/up/a", &[], full(vec![b'x'; size]));
    assert_eq!((send(64 * 1024).await.status, send(64 * 1024 + 1).await.status), (200, 413));
    assert_eq!(world.legacy.seen("/up/").len(), 1, "one that says its length is not forwarded at all");
    let stream = |pieces: usize| world.send("POST", "/up/b", &[], streamed(pieces, 16 * 1024, std::time::Duration::ZERO));
    let (fits, large) = (stream(4).await, stream(40).await);
    assert_eq!((fits.status, large.status), (200, 413));
    assert_eq!(large.json()["detail"], "what you send is larger than the 65536 bytes that are taken");
}

/// A proxy on the same machine that talks through a Unix socket: who called it has an address all the same.
#[tokio::test]
async fn behind_a_unix_socket_the_client_is_whom_a_trusted_proxy_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let address = format!("unix:{}", path.display());
    let world = World::with(|config| {
        config.listeners.push(Listener::plain(&address));
        config.trusted_proxies = vec!["unix".to_owned(), "10.9.0.0/16".into()];
    })
    .await;
    let rules = "[[route]]\npath = \"/not/{*rest}\"\n[route.plugins.ip]\ndeny = [\"192.0.2.0/24\"]\n\
                 [[route]]\npath = \"/only/{*rest}\"\n[route.plugins.ip]\nallow = [\"192.0.2.0/24\"]\n";
    serve(&world, rules, "", ramping(0));
    let ask = async |path_asked: &str, hops: &str| {
        let mut socket = UnixStream::connect(&path).await.unwrap();
        let request = format!("GET {path_asked} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: {hops}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    for (hops, not, only) in [("192.0.2.7", "403", "200"), ("192.0.2.7, 10.9.0.1", "403", "200"), ("192.0.2.7, 203.0.113.1", "200", "403")]
    {
        assert_eq!((ask("/not/a", hops).await, ask("/only/a", hops).await), (not.to_owned(), only.to_owned()), "{hops}");
    }
}
