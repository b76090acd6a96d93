//! What the gateway tells anybody of itself, where it is asked to.

use std::time::Duration;

use ficus_proxy::{Public, Upstream};
use ficus_rules::Timestamp;

use super::support::{World, eventually, full, ramping, soaking};

fn named(config: &mut ficus_proxy::Config) {
    config.public = Public { health: Some("/health".into()), services: Some("/api/v1/services/status".into()) };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_answers_by_itself_only_where_its_configuration_says() {
    let (silent, world) = (World::start().await, World::with(named).await);
    assert_eq!(silent.get("/health").await.json()["origin"], "monolith", "the monolith may have such a page");
    let starting = world.get("/health").await;
    assert_eq!((starting.status, &*starting.body), (503, &b"{\"status\":\"starting\"}"[..]), "it would refuse writes");
    world.serve(ramping(100));
    let health = world.get("/health?deep=1").await;
    assert_eq!((health.status, &*health.body), (200, &b"{\"status\":\"ok\"}"[..]));
    assert_eq!((health.header("content-type"), health.header("cache-control")), ("application/json", "no-store"));
    let head = world.send("HEAD", "/health", &[], full("")).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let post = world.post("/health").await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"));
    assert_eq!(world.get("/health/").await.json()["origin"], "monolith", "another path");
    assert_eq!(world.legacy.seen("/health").len(), 1);
    assert_eq!(world.gateway.report().answers, ["/health", "/api/v1/services/status"], "for `explain`");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_up_or_down_and_nothing_else_is_told() {
    let world = World::with(|config| {
        named(config);
        config.upstreams.insert("users-service".into(), Upstream::at("127.0.0.1:9"));
    })
    .await;
    world.serve(ramping(100));
    let told = |body: &bytes::Bytes| String::from_utf8(body.to_vec()).unwrap();
    let path = "/api/v1/services/status";
    // Legacy owns and answers, whatever modern does.
    assert_eq!(told(&world.get(path).await.body), r#"{"services":{"users":"up"},"status":"ok"}"#);
    world.serve(soaking());
    world.fresh(2, Timestamp(0));
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let mut last = String::new();
    while !last.contains("down") && std::time::Instant::now() < deadline {
        world.get("/api/v1/users/1/").await;
        last = told(&world.get(path).await.body);
    }
    assert_eq!(last, r#"{"services":{"users":"down"},"status":"degraded"}"#);
    eventually("no request of a stranger's went anywhere", || world.modern.seen("").is_empty() && world.legacy.seen(path).is_empty()).await;
}
