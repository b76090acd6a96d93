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
