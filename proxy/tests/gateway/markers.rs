//! Read your writes.

use super::support::{World, full, now, ramping, soaking};
use ficus_rules::Timestamp;

#[tokio::test(flavor = "multi_thread")]
async fn who_wrote_reads_from_the_owner_until_the_copy_is_fresh() {
    let world = World::start().await;
    world.serve(ramping(100));
    let write = world.post("/api/v1/users/1/").await;
    let cookie = format!("ficus_wrote={}; a=1", write.cookie("ficus_wrote").expect("a marker"));
    let header = write.header("ficus-wrote").to_owned();
    let by_cookie = async || world.send("GET", "/api/v1/users/1/", &[("cookie", &cookie)], full("")).await.side().to_owned();
    let by_header = async || world.send("GET", "/api/v1/users/1/", &[("ficus-wrote", &header)], full("")).await.side().to_owned();
    assert_eq!((by_cookie().await, by_header().await), ("legacy".into(), "legacy".into()));
    assert_eq!(world.get("/api/v1/users/1/").await.side(), "modern", "another session");
    world.fresh(1, Timestamp(1));
    assert_eq!(by_cookie().await, "legacy");
    world.fresh(1, Timestamp(now().0 + 1_000));
    assert_eq!((by_cookie().await, by_header().await), ("modern".into(), "modern".into()));
    let seen = world.legacy.seen("/api/v1/users/1/");
    assert!(seen.iter().all(|seen| !seen.headers.contains_key("ficus-wrote")));
    assert!(seen.iter().filter_map(|seen| seen.headers.get("cookie")).all(|cookie| cookie == "a=1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_write_leaves_no_marker_and_a_pinned_one_does() {
    let world = World::start().await;
    world.serve(ramping(100));
    assert_eq!(world.post("/api/v1/users/status/500").await.cookie("ficus_wrote"), None);
    assert!(world.post("/api/v1/users/status/404").await.cookie("ficus_wrote").is_some());
    assert!(world.post("/admin/users/1/").await.cookie("ficus_wrote").is_some());
    assert_eq!(world.post("/other/").await.cookie("ficus_wrote"), None);
    world.serve(soaking());
    assert!(world.post("/api/v1/users/1/").await.cookie("ficus_wrote").is_some(), "the way back needs it too");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writes_at_once_are_both_remembered_whichever_cookie_stays() {
    let world = World::start().await;
    world.serve(ramping(100));
    let with = async |method: &str, cookie: &str| world.send(method, "/api/v1/users/1/", &[("cookie", cookie)], full("")).await;
    assert!(with("POST", "sessionid=one-session").await.cookie("ficus_wrote").is_some());
    assert_eq!(with("GET", "sessionid=one-session").await.side(), "legacy", "its cookie was overwritten by another answer");
    assert_eq!(with("GET", "sessionid=another").await.side(), "modern");
    with("POST", "ficus_anon=0123").await;
    assert_eq!(with("GET", "ficus_anon=0123").await.side(), "legacy");
    world.fresh(1, Timestamp(now().0 + 1_000));
    assert_eq!(with("GET", "sessionid=one-session").await.side(), "modern");
}
