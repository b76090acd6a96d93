//! What upstreams learn about the client, and what they don't.

use super::support::{World, full, ramping, soaking};

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_headers_are_set_and_strangers_are_not_believed() {
    let world = World::start().await;
    let forged =
        [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.test"), ("x_forwarded_for", "6.6.6.6")];
    let headers = [&forged[..], &[("host", "school.test:8443"), ("x-ficus-shadow", "1"), ("x-request-id", "client-id-1")]].concat();
    world.send("GET", "/page", &headers, full("")).await;
    let seen = world.legacy.seen("/page").remove(0).headers;
    assert_eq!(seen["host"], "school.test:8443");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], "school.test:8443");
    assert_eq!(seen["x-forwarded-port"], "8443");
    assert_eq!(seen["x-request-id"], "client-id-1");
    assert!(!seen.contains_key("x_forwarded_for") && !seen.contains_key("x-ficus-shadow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_and_added_to() {
    let world = World::with(|config| config.trusted_proxies = vec!["127.0.0.0/8".into()]).await;
    let headers = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "school.test"),
        ("x-forwarded-port", "443"),
    ];
    world.send("GET", "/page", &headers, full("")).await;
    let seen = world.legacy.seen("/page").remove(0).headers;
    assert_eq!(seen["x-forwarded-for"], "203.0.113.9, 127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "https");
    assert_eq!((&seen["x-forwarded-host"], &seen["x-forwarded-port"]), (&"school.test".parse().unwrap(), &"443".parse().unwrap()));
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
