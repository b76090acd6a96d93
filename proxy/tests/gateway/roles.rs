//! Who may use a route, and what the new service is told of a caller.

use std::collections::BTreeMap;

use ficus_proxy::{JwtIdentity, JwtKeys};
use ficus_rules::wire::{Published, RuleFile, Serving};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use super::support::{Got, World, claims, full, now, ramping, soaking};

const RULES: &str = r#"
[capability]
name = "users"
legacy = "monolith"
modern = "users-service"

[[route]]
path = "/api/v1/users/{*rest}"
modern_path = "/users/{rest}"
csrf = false

[[route]]
path = "/api/v1/users/marks/{*rest}"
require = { role = ["teacher", "admin"], log_in = "/accounts/login/" }
csrf = false

[[route]]
path = "/api/v1/users/mine/"
require = { user = true }
csrf = false

[claims]
tenant = { from = "school" }
level = { from = "role", map = { teacher = "2" } }
scope = { value = "users" }

[[test]]
request = "GET /api/v1/users/marks/7"
at = "cutover"
expect = "401"

[[test]]
request = "GET /api/v1/users/marks/7"
user = 42
role = "student"
at = "cutover"
expect = "403"

[[test]]
request = "GET /api/v1/users/marks/7"
user = 42
role = ["student", "teacher"]
at = "cutover"
expect = "modern"
"#;

async fn world(serving: Serving) -> World {
    let world = World::with(|config| {
        config.identity.issuers = vec![JwtIdentity {
            role_claim: Some("roles".into()),
            attributes: vec!["school".into()],
            ..JwtIdentity::new(vec![Algorithm::HS256], JwtKeys::Secret(b"secret".to_vec()))
        }];
    })
    .await;
    world
        .gateway
        .publish(Published {
            generation: 1,
            rules_generation: 1,
            rules: vec![RuleFile { name: "users.toml".into(), text: RULES.into() }],
            capabilities: BTreeMap::from([("users".to_owned(), serving)]),
            ..Published::default()
        })
        .unwrap();
    world.confirm();
    world
}

fn token(roles: &[&str]) -> String {
    let claims = json!({"sub": "42", "roles": roles, "school": "north", "exp": now().seconds() + 60});
    format!("Bearer {}", encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(b"secret")).unwrap())
}

async fn ask(world: &World, path: &str, token: &str, accept: &str) -> Got {
    let headers = [("authorization", token), ("accept", accept)];
    world.send("GET", path, if token.is_empty() { &headers[1..] } else { &headers }, full("")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_for_its_roles_whichever_side_serves_it() {
    for serving in [ramping(0), ramping(100), soaking()] {
        let world = world(serving).await;
        let status = async |path: &str, token: &str| ask(&world, path, token, "application/json").await.status;
        let marks = "/api/v1/users/marks/7";
        assert_eq!(status(marks, &token(&["student", "teacher"])).await, 200);
        assert_eq!(status(marks, &token(&["student"])).await, 403);
        assert_eq!(status(marks, &token(&[])).await, 403);
        assert_eq!(status(marks, "").await, 401);
        assert_eq!(status(marks, "Bearer forged").await, 401);
        assert_eq!((status("/api/v1/users/mine/", &token(&[])).await, status("/api/v1/users/mine/", "").await), (200, 401));
        assert_eq!(status("/api/v1/users/7", "").await, 200);
        assert_eq!(world.legacy.seen("marks").len() + world.modern.seen("marks").len(), 1, "what was refused was not sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_json_a_page_or_the_way_to_the_log_in() {
    let world = world(soaking()).await;
    let refused = ask(&world, "/api/v1/users/marks/7", "", "application/json").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("log-in"));
    let page = ask(&world, "/api/v1/users/marks/7?a=b&c=d", "", "text/html,*/*").await;
    assert_eq!((page.status, page.header("location")), (302, "/accounts/login/?next=%2Fapi%2Fv1%2Fusers%2Fmarks%2F7%3Fa%3Db%26c%3Dd"));
    let no_way = ask(&world, "/api/v1/users/mine/", "", "text/html").await;
    assert_eq!((no_way.status, no_way.header("content-type")), (401, "text/html; charset=utf-8"));
    let forbidden = ask(&world, "/api/v1/users/marks/7", &token(&["student"]), "text/html").await;
    assert_eq!((forbidden.status, forbidden.header("location")), (403, ""), "a log-in would not help");
    let write = world.send("POST", "/api/v1/users/marks/7", &[("accept", "text/html")], full("")).await;
    assert_eq!(write.status, 401, "a form that is sent again by itself would be lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_made_by_rule() {
    let world = world(soaking()).await;
    ask(&world, "/api/v1/users/7", &token(&["teacher", "chess"]), "*/*").await;
    let told = claims(&world).expect("a token");
    let claim = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (claim("tenant"), claim("level"), claim("scope"), claim("role")),
        ("north".into(), "2".into(), "users".into(), "teacher".into())
    );
    assert_eq!(told["roles"], json!(["teacher", "chess"]));
}
