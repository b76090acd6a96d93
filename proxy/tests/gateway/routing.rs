//! Which side answers, and what it sees of the path.

use super::support::{World, full, ramping, soaking};

#[tokio::test(flavor = "multi_thread")]
async fn every_path_is_answered_by_the_side_that_the_state_says() {
    let world = World::start().await;
    assert_eq!(world.get("/anything?x=1").await.json()["origin"], "monolith", "without any rules");
    world.serve(ramping(0));
    assert_eq!(world.get("/api/v1/users/42/").await.side(), "legacy");
    world.serve(ramping(100));
    let read = world.get("/api/v1/users/42/?page=2").await;
    assert_eq!((read.side(), read.json()["target"].as_str()), ("modern", Some("/users/42/?page=2")));
    assert_eq!(world.modern.seen("/users/42/")[0].headers["x-ficus-original-path"], "/api/v1/users/42/");
    assert_eq!(world.post("/api/v1/users/42/").await.side(), "legacy", "legacy owns the writes");
    assert_eq!(world.get("/admin/users/1/").await.side(), "legacy", "pinned");
    assert_eq!(world.get("/other/").await.json()["origin"], "monolith");
    world.serve(soaking());
    assert_eq!(world.post("/api/v1/users/42/").await.side(), "modern");
    let pinned = world.post("/admin/users/1/").await;
    assert_eq!(pinned.status, 409, "legacy no longer owns what this page writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_keep_their_side_by_a_cookie_of_ours() {
    let world = World::start().await;
    world.serve(ramping(50));
    let mut sides = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let first = world.get("/api/v1/users/").await;
        let id = first.cookie("ficus_anon").expect("a stranger gets a cookie");
        let again = world.send("GET", "/api/v1/users/", &[("cookie", &format!("ficus_anon={id}"))], full("")).await;
        assert_eq!(first.side(), again.side());
        assert_eq!(again.cookie("ficus_anon"), None, "once is enough");
        sides.insert(first.side().to_owned());
    }
    assert_eq!(sides.len(), 2, "20 strangers are not all on one side of 50 %");
    let known = world.send("GET", "/api/v1/users/", &[("cookie", "sessionid=abcdefgh")], full("")).await;
    assert_eq!(known.cookie("ficus_anon"), None, "an earlier unit was there");
    assert!(world.modern.seen("/users/").iter().all(|seen| !seen.headers.contains_key("cookie")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_matched_in_its_normal_form_and_refused_when_it_hides_something() {
    let world = World::start().await;
    world.serve(ramping(100));
    assert_eq!(world.get("/api/v1/users//./1/").await.side(), "modern");
    assert_eq!(world.get("/api/v1/%75sers/1/").await.side(), "modern");
    for two_ways in ["//api/v1/users/1/", "/api/./v1/users/1/", "/forms/../api/v1/users/1/", "/admin/users/%2e%2e/"] {
        assert_eq!(world.get(two_ways).await.status, 400, "{two_ways}");
    }
    assert_eq!(world.get("//elsewhere/.").await.side(), "legacy", "no route says anything about either reading");
    assert_eq!(world.get("/api/v1/users/%2e%2e/%2e%2e/%2e%2e/%2e%2e/x").await.status, 400);
}
