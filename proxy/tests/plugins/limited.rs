//! Limits of one gateway.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::serve;
use super::support::{World, full, ramping, soaking};

const RULES: &str = "[[route]]\npath = \"/a/{*rest}\"\n[route.plugins.rate_limit]\nquotas = [\"3/h\"]\nby = [\"header:x-api-key\", \"address\"]\n\
                     [[route]]\npath = \"/b/{*rest}\"\n[route.plugins.rate_limit]\nquotas = [\"1/h\"]\nby = \"everybody\"\n[[route]]\npath = \"/free/{*rest}\"\n";

#[tokio::test]
async fn one_caller_too_often_is_told_when_to_come_back_and_others_are_served() {
    let world = World::start().await;
    serve(&world, RULES, "", ramping(0));
    let as_key = async |key: &str| world.send("GET", "/a/x", &[("x-api-key", key)], full("")).await;
    let mut left = Vec::new();
    for _ in 0..3 {
        let got = as_key("one").await;
        assert_eq!((got.status, got.header("ratelimit-limit"), got.header("ratelimit-policy")), (200, "3", "3;w=3600"));
        left.push(got.header("ratelimit-remaining").to_owned());
    }
    assert_eq!(left, ["2", "1", "0"]);
    let refused = as_key("one").await;
    let after: u32 = refused.header("retry-after").parse().unwrap();
    assert_eq!((refused.status, refused.header("ratelimit-remaining")), (429, "0"));
    assert!((1_100..=1_200).contains(&after), "{after}: a third of an hour");
    assert_eq!(as_key("two").await.status, 200);
    assert_eq!(world.get("/a/x").await.status, 200, "without a key: by address");
    assert_eq!(world.get("/free/x").await.header("ratelimit-limit"), "");
    assert_eq!((world.get("/b/x").await.status, world.get("/b/y").await.status), (200, 429));
    assert_eq!(world.legacy.seen("/a/").len(), 5);
}

#[tokio::test]
async fn a_new_set_of_rules_forgives_nobody() {
    let world = World::start().await;
    serve(&world, RULES, "", ramping(0));
    assert_eq!((world.get("/b/x").await.status, world.get("/b/x").await.status), (200, 429));
    serve(&world, &format!("# one line more\n{RULES}"), "", ramping(0));
    assert_eq!(world.get("/b/x").await.status, 429);
}

#[tokio::test]
async fn a_capability_counts_all_its_routes_together_and_a_route_for_itself() {
    let world = World::start().await;
    let rules = "[plugins.rate_limit]\nquotas = [\"2/h\"]\n[[route]]\npath = \"/a/\"\n[[route]]\npath = \"/b/\"\n[[route]]\npath = \"/c/\"\n[route.plugins.rate_limit]\nquotas = [\"1/h\"]\n\
                 [[route]]\npath = \"/d/\"\n[route.plugins]\nrate_limit = false\n";
    serve(&world, rules, "", ramping(0));
    let mut statuses = Vec::new();
    for path in ["/a/", "/b/", "/a/", "/c/", "/c/", "/d/", "/d/", "/d/"] {
        statuses.push(world.get(path).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 200, 429, 200, 200, 200]);
}

#[tokio::test]
async fn many_at_once_are_counted_exactly() {
    let world = World::start().await;
    serve(&world, "[[route]]\npath = \"/a/{*rest}\"\n[route.plugins.rate_limit]\nquotas = [\"50/d\"]\n", "", ramping(0));
    let all = futures::future::join_all((0..200).map(|_| world.get("/a/x"))).await;
    assert_eq!(all.iter().filter(|got| got.status == 200).count(), 50);
    assert_eq!(all.iter().filter(|got| got.status == 429).count(), 150);
}

/// What no route matches meets no plugins. A route for all the rest, which stays where it is, does.
#[tokio::test]
async fn the_rest_of_the_site_meets_plugins_by_a_route_for_all_of_it() {
    let world = World::start().await;
    let limit = "[plugins.rate_limit]\nquotas = [\"1/h\"]\n";
    serve(&world, &format!("{limit}[[route]]\npath = \"/a/\"\n"), "", ramping(100));
    assert_eq!((world.get("/").await.status, world.get("/").await.status), (200, 200));
    serve(&world, &format!("{limit}[[route]]\npath = \"/{{*rest}}\"\npin = \"legacy\"\n"), "", ramping(100));
    let first = world.post("/anywhere/else/").await;
    assert_eq!((first.status, first.side()), (200, "legacy"));
    assert_eq!(world.get("/").await.status, 429, "also the root");
    assert!(world.modern.seen("").is_empty());
}

/// What was read ahead, for the token that stands in a form, counts like the rest.
#[tokio::test]
async fn a_form_whose_token_was_looked_for_is_no_larger_than_others() {
    let world = World::start().await;
    serve(&world, "[[route]]\npath = \"/up/{*rest}\"\n[route.plugins.request_size]\nmax = \"100KiB\"\n", "", soaking());
    let secret = "abcdefghijklmnopqrstuvwxyz012345";
    let cookie = format!("csrftoken={secret}");
    let headers = [("cookie", cookie.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let form = |rest: usize| {
        let first = Bytes::from(format!("a={}&", "x".repeat(59_000)));
        let second = Bytes::from(format!("csrfmiddlewaretoken={secret}&b={}", "x".repeat(rest)));
        let pieces = futures::stream::iter([first, second]);
        let frames = futures::StreamExt::then(pieces, |piece| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(Frame::data(piece))
        });
        StreamBody::new(frames).boxed()
    };
    assert_eq!(world.send("POST", "/up/a", &headers, form(90_000)).await.status, 413);
    assert_eq!(world.send("POST", "/up/a", &headers, form(30_000)).await.status, 200);
}
