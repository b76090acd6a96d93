//! Django's CSRF protection on writes that modern answers.

use std::time::Duration;

use bytes::Bytes;
use ficus_rules::wire::ReportAnswer;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use super::support::{Body, Got, World, full, ramping, soaking};

const SECRET: &str = "abcdefghijklmnopqrstuvwxyz012345";

async fn submit(world: &World, headers: &[(&str, &str)], body: Body) -> Got {
    let cookie = format!("csrftoken={SECRET}");
    world.send("POST", "/forms/x", &[&[("cookie", cookie.as_str())], headers].concat(), body).await
}

fn part(size: usize) -> Vec<u8> {
    let head = format!(
        "--b\r\nContent-Disposition: form-data; name=\"csrfmiddlewaretoken\"\r\n\r\n{SECRET}\r\n\
         --b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"p\"\r\n\r\n"
    );
    [head.as_bytes(), &vec![b'x'; size], b"\r\n--b--\r\n"].concat()
}

/// The body in pieces, each after a pause.
fn in_pieces(body: &[u8], size: usize, pause: Duration) -> Body {
    let pieces: Vec<Bytes> = body.chunks(size).map(Bytes::copy_from_slice).collect();
    let frames = futures::stream::unfold(pieces.into_iter(), move |mut pieces| async move {
        tokio::time::sleep(pause).await;
        pieces.next().map(|piece| (Ok(Frame::data(piece)), pieces))
    });
    StreamBody::new(frames).boxed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_needs_its_token_by_header_or_form() {
    let world = World::start().await;
    world.serve(ramping(100));
    assert_eq!(submit(&world, &[], full("x")).await.status, 200, "legacy checks its own");
    world.serve(soaking());
    let refused = submit(&world, &[], full("x")).await;
    assert_eq!((refused.status, refused.header("content-type")), (403, "application/json"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("CSRF"));
    assert_eq!(submit(&world, &[("x-csrftoken", SECRET)], full("x")).await.status, 200);
    assert_eq!(submit(&world, &[("x-csrftoken", "abcdefghijklmnopqrstuvwxyz012346")], full("x")).await.status, 403);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let sent = submit(&world, &form, full(format!("a=1&csrfmiddlewaretoken={SECRET}&b=2"))).await;
    assert_eq!((sent.status, sent.json()["size"].as_u64()), (200, Some("a=1&csrfmiddlewaretoken=&b=2".len() as u64 + 32)));
    assert_eq!(submit(&world, &form, full("a=1&b=2")).await.status, 403);
    let foreign = [("content-type", "application/x-www-form-urlencoded"), ("origin", "https://evil.test")];
    assert_eq!(submit(&world, &foreign, full(format!("csrfmiddlewaretoken={SECRET}"))).await.status, 403);
    assert_eq!(world.modern.seen("/forms/").len(), 2, "what was refused was not sent");
}

/// While a form's token is waited for, a gateway may lose touch: by then somebody else may own.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_token_came_too_late_for_the_gateways_validity_is_not_sent() {
    let world = World::start().await;
    world.publish(soaking());
    world.gateway.report();
    let answer = ReportAnswer { generation: world.gateway.generation(), valid_for_ms: 400, ..ReportAnswer::default() };
    world.gateway.answered(&answer);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let slowly = in_pieces(format!("a=1&csrfmiddlewaretoken={SECRET}").as_bytes(), 16, Duration::from_millis(200));
    let refused = submit(&world, &form, slowly).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("orchestrator"));
    assert!(world.modern.seen("/forms/").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_streams_on_after_its_token_was_read() {
    let world = World::start().await;
    world.serve(soaking());
    let multipart = ("content-type", "multipart/form-data; boundary=b");
    for size in [10, 30_000, 65_000, 66_000, 100_000, 5 << 20] {
        let body = part(size);
        let length = body.len();
        let whole = submit(&world, &[multipart], full(body.clone())).await;
        assert_eq!((whole.status, whole.json()["size"].as_u64()), (200, Some(length as u64)), "{size} with a length");
        let chunked = submit(&world, &[multipart], in_pieces(&body, 200_000, Duration::ZERO)).await;
        assert_eq!((chunked.status, chunked.json()["size"].as_u64()), (200, Some(length as u64)), "{size} in chunks");
    }
    let body = part(1_000);
    let slow = submit(&world, &[multipart], in_pieces(&body, 40, Duration::from_millis(1))).await;
    assert_eq!((slow.status, slow.json()["size"].as_u64()), (200, Some(body.len() as u64)), "a token in pieces");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_stands_too_late_is_not_looked_for() {
    let world = World::start().await;
    world.serve(soaking());
    let multipart = ("content-type", "multipart/form-data; boundary=b");
    for ahead in [70_000, 100_000, 200_000, 1_000_000] {
        let first = format!("--b\r\nContent-Disposition: form-data; name=\"photo\"\r\n\r\n{}\r\n", "x".repeat(ahead));
        let body = [first.as_bytes(), &part(10)].concat();
        assert_eq!(submit(&world, &[multipart], full(body)).await.status, 403, "{ahead}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_what_a_trusted_proxy_says_and_nobody_else() {
    let rewritten = |origin: &'static str| {
        [
            ("host", "10.0.0.7:8000"),
            ("x-forwarded-host", "school.test"),
            ("x-forwarded-proto", "https"),
            ("x-csrftoken", SECRET),
            ("origin", origin),
        ]
    };
    for (trusted, origin, status) in [
        (true, "https://school.test", 200),
        (true, "https://evil.test", 403),
        (true, "https://10.0.0.7:8000", 403),
        (false, "https://school.test", 403),
        (false, "http://school.test", 403),
        (false, "http://10.0.0.7:8000", 200),
    ] {
        let world = World::with(|config| config.trusted_proxies.extend(trusted.then(|| "127.0.0.1".to_owned()))).await;
        world.serve(soaking());
        assert_eq!(submit(&world, &rewritten(origin), full("x")).await.status, status, "{trusted} {origin}");
        let by_referer = [("x-forwarded-host", "school.test, 10.0.0.7"), ("x-forwarded-proto", "https"), ("x-csrftoken", SECRET)];
        let referer = format!("{origin}/page");
        let by_referer = [&by_referer[..], &[("referer", &referer)]].concat();
        let expected = if trusted && origin != "https://school.test" { 403 } else { 200 };
        assert_eq!(submit(&world, &by_referer, full("x")).await.status, expected, "{trusted} {referer}");
    }
}
