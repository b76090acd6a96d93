//! What upstreams learn about the client, and what they don't.

use super::support::{World, full, ramping, soaking};

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_headers_are_set_and_strangers_are_not_believed() {
    let world = World::start().await;
    let forged = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.test"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded-ssl", "on"),
        ("x-forwarded-scheme", "https"),
        ("x-real-ip", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
    ];
    let headers = [&forged[..], &[("host", "school.test:8443"), ("x-ficus-shadow", "1"), ("x-request-id", "client-id-1")]].concat();
    world.send("GET", "/page", &headers, full("")).await;
    let seen = world.legacy.seen("/page").remove(0).headers;
    assert_eq!(seen["host"], "school.test:8443");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], "school.test:8443");
    assert_eq!(seen["x-forwarded-port"], "8443");
    assert_ne!(seen["x-request-id"], "client-id-1", "a stranger names no request");
    assert!(!seen.contains_key("x_forwarded_for") && !seen.contains_key("x-ficus-shadow"));
    assert!(["x-forwarded-ssl", "x-forwarded-scheme", "x-real-ip", "forwarded"].iter().all(|name| !seen.contains_key(*name)), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_and_added_to() {
    let world = World::with(|config| config.trusted_proxies = vec!["127.0.0.0/8".into()]).await;
    let headers = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "198.51.100.7, 198.51.100.8"),
        ("x-real-ip", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "school.test"),
        ("x-forwarded-port", "443"),
        ("x-request-id", "client-id-1"),
    ];
    let answer = world.send("GET", "/page", &headers, full("")).await;
    assert_eq!(answer.header("x-request-id"), "client-id-1");
    let seen = world.legacy.seen("/page").remove(0).headers;
    assert_eq!(seen["x-request-id"], "client-id-1");
    assert_eq!(seen["x-forwarded-for"], "203.0.113.9, 198.51.100.7, 198.51.100.8, 127.0.0.1");
    assert_eq!((seen.get_all("x-forwarded-for").iter().count(), &seen["x-real-ip"]), (1, &"203.0.113.9".parse().unwrap()));
    assert_eq!(seen["x-forwarded-proto"], "https");
    assert_eq!((&seen["x-forwarded-host"], &seen["x-forwarded-port"]), (&"school.test".parse().unwrap(), &"443".parse().unwrap()));
}

/// Of the two ways to say whence a request comes, servers are told one; `Via` says nothing that anybody decides by.
#[tokio::test(flavor = "multi_thread")]
async fn nobodys_forwarded_is_passed_on_and_everybodys_via_is() {
    for trusted in [false, true] {
        let world = World::with(|config| config.trusted_proxies.extend(trusted.then(|| "127.0.0.1".to_owned()))).await;
        world.serve(soaking());
        let said = [("forwarded", "for=6.6.6.6;proto=https;host=evil.test"), ("forwarded", "for=7.7.7.7"), ("via", "1.1 proxy.test")];
        for (method, path) in [("GET", "/page"), ("POST", "/page"), ("GET", "/api/v1/users/1"), ("POST", "/api/v1/users/1")] {
            let got = world.send(method, path, &[&said[..], &[("host", "a.test")]].concat(), full("")).await;
            assert!(!got.headers.contains_key("via") && !got.headers.contains_key("forwarded"));
            let side = if got.side() == "modern" { &world.modern } else { &world.legacy };
            let seen = side.seen("").pop().unwrap().headers;
            assert_eq!(
                (seen.get("forwarded"), seen["via"].to_str().unwrap()),
                (None, "1.1 proxy.test"),
                "{method} {path}, trusted: {trusted}"
            );
            let told = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| seen[name].to_str().unwrap());
            assert_eq!(told, ["127.0.0.1", "http", "a.test"], "{method} {path}, trusted: {trusted}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_clients_own_authorization_reaches_legacy_and_never_modern() {
    let world = World::start().await;
    world.serve(ramping(0));
    let headers = [("authorization", "Token abc"), ("cookie", "ficus_wrote=x; a=1; ficus_anon=y"), ("ficus-wrote", "x")];
    world.send("GET", "/api/v1/users/", &headers, full("")).await;
    let seen = world.legacy.seen("/api/v1/users/").remove(0).headers;
    assert_eq!((&seen["authorization"], &seen["cookie"]), (&"Token abc".parse().unwrap(), &"a=1".parse().unwrap()));
    assert!(!seen.contains_key("ficus-wrote"));
    world.serve(soaking());
    world.send("GET", "/api/v1/users/", &headers, full("")).await;
    assert!(!world.modern.seen("/users/").remove(0).headers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_of_the_gateway_are_secure_when_the_client_came_by_https() {
    let world = World::with(|config| config.trusted_proxies = vec!["127.0.0.1".into()]).await;
    world.serve(ramping(50));
    for (proto, secure) in [("https", true), ("http", false)] {
        let got = world.send("POST", "/api/v1/users/1/", &[("x-forwarded-proto", proto)], full("")).await;
        let lines: Vec<_> = got.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(lines.len(), 2, "the marker and the anonymous id");
        assert!(lines.iter().all(|line| line.contains("; Secure") == secure), "{lines:?}");
    }
}

/// Whoever has the cookie of a session is its user at the monolith, whether this gateway knows how to read it or not.
#[tokio::test(flavor = "multi_thread")]
async fn the_new_service_gets_no_session_although_no_framework_is_configured() {
    let world = World::start().await;
    world.serve(soaking());
    let cookies = [("cookie", "a=1; sessionid=s3cret; session=s3cret; b=2")];
    world.send("GET", "/api/v1/users/", &cookies, full("")).await;
    assert_eq!(world.modern.seen("/users/").remove(0).headers["cookie"], "a=1; b=2");
    world.send("GET", "/page", &cookies, full("")).await;
    assert_eq!(world.legacy.seen("/page").remove(0).headers["cookie"], "a=1; sessionid=s3cret; session=s3cret; b=2");
}
