//! Packed answers: a client reads what the server behind said.

use std::io::Read as _;

use super::serve;
use super::support::{World, full, ramping};

const RULES: &str = "[plugins.compression]\nmin = \"100B\"\n[[route]]\npath = \"/a/{*rest}\"\n";

fn unpacked(body: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(body).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn an_answer_is_packed_for_who_likes_it() {
    let world = World::start().await;
    serve(&world, RULES, "", ramping(0));
    let thing = format!("[{}0]", "\"the same again\", ".repeat(500));
    thing.clone_into(&mut world.legacy.state.thing.lock().unwrap());
    *world.legacy.state.headers.lock().unwrap() = vec![("etag", "\"v1\"")];
    let ask = async |accepted: &str| world.send("GET", "/a/thing", &[("accept-encoding", accepted)], full("")).await;
    let packed = ask("gzip").await;
    assert_eq!((packed.header("content-encoding"), packed.header("etag")), ("gzip", "W/\"v1\""));
    assert_eq!(packed.header("vary").to_ascii_lowercase(), "accept-encoding");
    assert!(packed.body.len() < thing.len() / 10, "{} of {}", packed.body.len(), thing.len());
    assert_eq!(unpacked(&packed.body), thing);
    assert_eq!(ask("gzip;q=0.2, br").await.header("content-encoding"), "br");
    for accepted in ["", "gzip;q=0", "identity"] {
        let plain = ask(accepted).await;
        assert_eq!(
            (plain.header("content-encoding"), plain.header("etag"), &plain.body[..]),
            ("", "\"v1\"", thing.as_bytes()),
            "{accepted}"
        );
        assert_eq!(plain.header("vary").to_ascii_lowercase(), "accept-encoding", "caches must know");
    }
    *world.legacy.state.headers.lock().unwrap() = vec![("cache-control", "no-transform")];
    assert_eq!(ask("gzip").await.header("content-encoding"), "");
}

#[tokio::test]
async fn a_stream_without_a_length_is_packed_to_its_end() {
    let world = World::start().await;
    serve(
        &world,
        "[plugins.compression]\ntypes = [\"application/octet-stream\", \"text/*\"]\n[[route]]\npath = \"/a/{*rest}\"\n[route.plugins.response_headers]\nset = { content-type = \"text/plain\" }\n",
        "",
        ramping(0),
    );
    let got = world.send("GET", "/a/download/3", &[("accept-encoding", "gzip")], full("")).await;
    assert_eq!(got.header("content-encoding"), "gzip");
    assert_eq!(unpacked(&got.body), "x".repeat(3 << 20));
}

/// The place where pingora offers its packing panics here.
#[tokio::test]
async fn an_answer_that_a_fallback_replaces_is_packed_all_the_same() {
    let world = World::start().await;
    serve(&world, "[plugins.compression]\nmin = \"1B\"\n[[route]]\npath = \"/a/{*rest}\"\n", "", ramping(100));
    let got = world.send("GET", "/a/status/503", &[("accept-encoding", "gzip"), ("cookie", "sessionid=x")], full("")).await;
    assert_eq!(got.status, 503, "both sides answer it, legacy at last");
    assert_eq!((world.modern.seen("/status/").len(), world.legacy.seen("/status/").len()), (1, 1));
}

/// What is kept is what the server said: each caller gets it for its own origin, and packed as it likes.
#[tokio::test]
async fn a_kept_answer_is_opened_and_packed_for_each_caller_anew() {
    let world = World::start().await;
    let cors = "[plugins.cors]\norigins = [\"https://a.test\", \"https://b.test\"]\n";
    let route = "[[route]]\npath = \"/a/{*rest}\"\ncache = { at_most = \"1h\" }\n";
    serve(&world, &format!("[plugins.compression]\nmin = \"100B\"\n{cors}{route}"), "", ramping(0));
    let thing = format!("[{}0]", "\"the same again\", ".repeat(500));
    thing.clone_into(&mut world.legacy.state.thing.lock().unwrap());
    *world.legacy.state.headers.lock().unwrap() = vec![("cache-control", "max-age=600"), ("etag", "\"v1\"")];
    let ask = async |coding: &str, origin: &str, had: &str| {
        let headers = [("accept-encoding", coding), ("origin", origin), ("if-none-match", had)];
        world.send("GET", "/a/thing", &headers, full("")).await
    };
    let (a, b, evil) = ("https://a.test", "https://b.test", "https://evil.test");
    for (nth, (coding, origin)) in [("gzip", a), ("br", b), ("", b), ("gzip", evil), ("gzip", b), ("", a)].into_iter().enumerate() {
        let got = ask(coding, origin, "\"v0\"").await;
        let opened = if origin == evil { "" } else { origin };
        assert_eq!((got.status, got.header("content-encoding"), got.header("access-control-allow-origin")), (200, coding, opened), "{nth}");
        assert_eq!(got.header("cache-status"), if nth == 0 { "" } else { "ficus; hit" }, "{nth}");
        let varies: Vec<_> = got.headers.get_all("vary").iter().map(|line| line.to_str().unwrap().to_ascii_lowercase()).collect();
        assert!(["origin", "accept-encoding"].iter().all(|name| varies.join(", ").contains(name)), "{nth}: {varies:?}");
        match coding {
            "gzip" => assert_eq!((unpacked(&got.body), got.header("etag")), (thing.clone(), "W/\"v1\""), "{nth}"),
            "" => assert_eq!((&got.body[..], got.header("etag")), (thing.as_bytes(), "\"v1\""), "{nth}"),
            _ => assert!(!got.body.is_empty() && got.body.len() < thing.len() / 10, "{nth}"),
        }
    }
    let same = ask("gzip", b, "W/\"v1\"").await;
    assert_eq!((same.status, same.header("access-control-allow-origin"), same.body.len()), (304, b, 0));
    assert_eq!(world.legacy.seen("/a/thing").len(), 1);
}
