//! What is left of requests: lines of the access log, trace context, spans at a collector.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ficus_proxy::{AccessLog, AccessLogTarget, Config, QueryTold, Tracing};
use ficus_rules::Share;
use ficus_rules::access::AccessLine;
use ficus_rules::migration::Phase;
use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::pki::Authority;
use super::support::{Origin, World, eventually, full, now, ramping};
use super::upgrade::{echo, open};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn logging(path: &Path, query: QueryTold) -> impl FnOnce(&mut Config) {
    let path = path.to_owned();
    move |config| config.access_log = Some(AccessLog { to: AccessLogTarget::File(path), query })
}

/// The lines of a log, once there are so many.
async fn lines(path: &Path, count: usize) -> Vec<AccessLine<'static>> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    eventually(&format!("{count} lines"), || read().lines().count() >= count).await;
    read().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_says_what_became_of_each_request() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let world = World::with(logging(&path, QueryTold::Names)).await;
    world.serve(ramping(100));
    world.fresh(1, now());
    let answer = world.send("GET", "/api/v1/users/7?page=2&token=s3cret", &[("cookie", "sessionid=abc")], full("")).await;
    // One after the other: a line is written when its answer has long arrived.
    lines(&path, 1).await;
    world.send("POST", "/api/v1/users/7", &[], full("a body")).await;
    lines(&path, 2).await;
    world.get("/page").await;
    lines(&path, 3).await;
    world.send("TRACE", "/page", &[], full("")).await;
    lines(&path, 4).await;
    world.get("/api/v1/users/status/503").await;
    let all = lines(&path, 5).await;
    let one = &all[0];
    assert_eq!((&*one.method, &*one.path, &*one.query, one.status), ("GET", "/api/v1/users/7", "page=*&token=*", 200));
    assert_eq!((&*one.side, one.upstream.as_deref(), &*one.because), ("modern", Some("users-service"), "in_cohort"));
    assert_eq!((one.capability.as_deref(), one.phase), (Some("users"), Some(Phase::Ramping)));
    assert!(one.route.as_deref().is_some_and(|route| route.starts_with("users.toml:")));
    assert_eq!(one.cohort.as_ref().map(|cohort| &*cohort.by), Some("cookie"));
    assert_eq!((&*one.request_id, one.client.as_deref()), (answer.header("x-request-id"), Some("127.0.0.1")));
    assert_eq!((one.sent_bytes, one.received_bytes), (answer.body.len() as u64, 0));
    assert!(one.total_ms >= one.first_byte_ms.unwrap() && one.first_byte_ms >= one.connect_ms && one.connect_ms.is_some());
    assert_eq!((&*all[1].side, &*all[1].because, all[1].received_bytes), ("legacy", "owner_writes", 6));
    assert_eq!((all[2].capability.as_deref(), &*all[2].because, all[2].upstream.as_deref()), (None, "no_route", Some("monolith")));
    assert_eq!((&*all[3].side, all[3].status, all[3].refused.is_some(), all[3].connect_ms), ("gateway", 405, true, None));
    assert_eq!((all[4].fallback, &*all[4].side, all[4].status), (true, "legacy", 503));
    let ids: std::collections::BTreeSet<_> = all.iter().map(|line| &*line.request_id).collect();
    assert_eq!(ids.len(), 5);
}

/// Django's link to set a password anew is one: whoever has it has the account.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_with_a_secret_is_told_without_it() {
    let directory = tempfile::tempdir().unwrap();
    let (path, collector) = (directory.path().join("access.log"), Collector::start().await);
    let (logs, tells) = (logging(&path, QueryTold::Names), collector.told(1_000_000));
    let world = World::with(|config| {
        logs(config);
        tells(config);
        config.hide_paths_after.push("invited".into());
    })
    .await;
    world.serve(ramping(0));
    for asked in
        ["/accounts/reset%2fMg%2Fs3cret", "/accounts/reset/Mg/c4v2-s3cret/", "/accounts//Re%73et/Mg/s3cret", "/invited/s3cret", "/resets/7"]
    {
        world.get(asked).await;
    }
    let mut told: Vec<_> = lines(&path, 5).await.into_iter().map(|line| (line.path.into_owned(), line.raw_path)).collect();
    told.sort();
    let plain = |path: &str| (path.to_owned(), None);
    assert_eq!(
        told,
        [
            (String::new(), Some("/accounts/*".into())),
            ("/accounts/Reset/*/*".to_owned(), Some("/accounts//Re%73et/*/*".into())),
            plain("/accounts/reset/*/*/"),
            plain("/invited/*"),
            plain("/resets/7")
        ]
    );
    eventually("the spans", || collector.spans().len() >= 8).await;
    assert!(collector.bodies.lock().unwrap().iter().all(|body| !String::from_utf8_lossy(body).contains("s3cret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_write_is_told_as_such() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let world = World::with(logging(&path, QueryTold::Nothing)).await;
    world.serve(ficus_rules::wire::Serving { fenced: true, ..ramping(0) });
    let client = (world.client.clone(), world.address);
    let held = tokio::spawn(async move { super::support::send(&client.0, client.1, "POST", "/api/v1/users/1?a=b", &[], full("x")).await });
    eventually("it is held", || world.users().held == 1).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    world.serve(ramping(0));
    assert_eq!(held.await.unwrap().status, 200);
    let line = lines(&path, 1).await.remove(0);
    assert!(line.hold_ms.is_some_and(|held| held >= 25.0) && line.total_ms >= line.hold_ms.unwrap(), "{line:?}");
    assert_eq!(&*line.query, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_told_of_when_it_is_over_with_all_that_went_through_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let world = World::with(logging(&path, QueryTold::Nothing)).await;
    world.serve(ramping(0));
    let mut socket = open(&world, "/live/ws").await;
    for text in [&b"hello"[..], b"again!", &[b'x'; 100_000]] {
        echo(&mut socket, text).await;
    }
    world.get("/page").await;
    assert_eq!(lines(&path, 1).await[0].path, "/page");
    drop(socket);
    let line = lines(&path, 2).await.remove(1);
    assert_eq!((&*line.path, line.status, line.upgrade, &*line.side, line.client_left), ("/live/ws", 101, true, "legacy", false));
    assert_eq!((line.received_bytes, line.sent_bytes, line.upstream.as_deref()), (100_011, 100_011, Some("monolith")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_through_the_gateway() {
    let world = World::with(|config| config.trusted_proxies = vec!["127.0.0.1".into()]).await;
    world.serve(ramping(0));
    let sent = |headers: Vec<(&'static str, &'static str)>| {
        let world = &world;
        async move {
            world.send("GET", "/traced", &headers, full("")).await;
            world.legacy.seen("/traced").pop().unwrap().headers
        }
    };
    let text = |headers: &hyper::HeaderMap, name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let seen = sent(vec![("traceparent", PARENT), ("tracestate", "vendor=1")]).await;
    let header = text(&seen, "traceparent").unwrap();
    assert!(header.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && header.ends_with("-01") && header != PARENT, "{header}");
    assert_eq!(text(&seen, "tracestate").as_deref(), Some("vendor=1"));
    for (odd, state) in [("00-zzz", "vendor=1"), ("00-00000000000000000000000000000000-b7ad6b7169203331-01", "vendor=1")] {
        let seen = sent(vec![("traceparent", odd), ("tracestate", state)]).await;
        let header = text(&seen, "traceparent").unwrap();
        assert!(ficus_rules::trace::Parent::parse(&header).is_some_and(|parent| !parent.sampled), "{header}");
        assert_eq!(text(&seen, "tracestate"), None, "it belongs to no trace any more");
    }
    let (one, other) = (text(&sent(vec![]).await, "traceparent"), text(&sent(vec![]).await, "traceparent"));
    assert!(one.is_some() && one != other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_trace_goes_on_and_is_not_recorded_because_it_says_so() {
    let collector = Collector::start().await;
    let world = World::with(collector.told(0)).await;
    world.serve(ramping(0));
    for _ in 0..20 {
        world.send("GET", "/traced", &[("traceparent", PARENT)], full("")).await;
    }
    let seen = world.legacy.seen("/traced").pop().unwrap().headers;
    let header = seen["traceparent"].to_str().unwrap();
    assert!(header.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && header.ends_with("-00"), "{header}");
    // Spans are sent a second after the first.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(collector.spans().is_empty());
}

/// A collector that takes what comes, and answers what it is told.
struct Collector {
    port: u16,
    bodies: Arc<Mutex<Vec<Bytes>>>,
    status: Arc<Mutex<u16>>,
}

impl Collector {
    async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (bodies, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(200)));
        let (theirs, answers) = (bodies.clone(), status.clone());
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (bodies, status) = (theirs.clone(), answers.clone());
                let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (bodies, status) = (bodies.clone(), status.clone());
                    async move {
                        assert_eq!(
                            (request.uri().path(), &request.headers()["content-type"]),
                            ("/v1/traces", &"application/x-protobuf".parse().unwrap())
                        );
                        let body = request.into_body().collect().await?.to_bytes();
                        bodies.lock().unwrap().push(body);
                        let status = *status.lock().unwrap();
                        Ok::<_, hyper::Error>(Response::builder().status(status).body(full("")).unwrap())
                    }
                });
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(connection), service));
            }
        });
        Collector { port, bodies, status }
    }

    fn told(&self, sample: u32) -> impl FnOnce(&mut Config) + use<> {
        let tracing = Tracing {
            address: format!("127.0.0.1:{}", self.port),
            https: false,
            authority: None,
            path: "/v1/traces".into(),
            sample: Share::from_millionths(sample),
            service: "gateway-of-a-test".into(),
        };
        move |config| config.tracing = Some(tracing)
    }

    fn spans(&self) -> Vec<Span> {
        self.bodies.lock().unwrap().iter().flat_map(|body| spans(body)).collect()
    }
}

/// A span as it arrives.
#[derive(Debug, Default)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    attributes: Vec<String>,
}

/// The fields of a protobuf message: number, and bytes or a number.
fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>, u64)> {
    fn varint(from: &mut &[u8]) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = from[0];
            *from = &from[1..];
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let (bytes, number) = match tag & 7 {
            0 => (Vec::new(), varint(&mut message)),
            1 => {
                let number = u64::from_le_bytes(message[..8].try_into().unwrap());
                message = &message[8..];
                (Vec::new(), number)
            }
            2 => {
                let length = varint(&mut message) as usize;
                let bytes = message[..length].to_vec();
                message = &message[length..];
                (bytes, 0)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((tag >> 3, bytes, number));
    }
    fields
}

fn spans(body: &[u8]) -> Vec<Span> {
    let below = |message: &[u8], number: u64| fields(message).into_iter().filter(move |field| field.0 == number).map(|field| field.1);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let mut spans = Vec::new();
    for of_resource in below(body, 1) {
        assert!(String::from_utf8_lossy(&of_resource).contains("gateway-of-a-test"));
        for of_scope in below(&of_resource, 2) {
            for span in below(&of_scope, 2) {
                let mut read = Span::default();
                for (number, bytes, _) in fields(&span) {
                    match number {
                        1 => read.trace = hex(&bytes),
                        2 => read.id = hex(&bytes),
                        4 => read.parent = hex(&bytes),
                        5 => read.name = text(bytes),
                        9 => read.attributes.push(text(below(&bytes, 1).next().unwrap())),
                        _ => {}
                    }
                }
                spans.push(read);
            }
        }
    }
    spans
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_leave_spans_at_the_collector() {
    let collector = Collector::start().await;
    let told = collector.told(0);
    let world = World::with(|config| {
        config.trusted_proxies = vec!["127.0.0.1".into()];
        told(config);
    })
    .await;
    world.serve(ramping(100));
    world.fresh(1, now());
    world.send("GET", "/api/v1/users/status/503", &[("traceparent", PARENT), ("cookie", "sessionid=s3cret")], full("")).await;
    world.send("GET", "/api/v1/users/8?token=s3cret", &[], full("")).await;
    eventually("the spans", || collector.spans().len() >= 3).await;
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "one of the gateway, one of each try; none of what the caller does not record: {spans:?}");
    assert!(spans.iter().all(|span| span.trace == "0af7651916cd43dd8448eb211c80319c"));
    let of_gateway = spans.iter().find(|span| span.parent == "b7ad6b7169203331").expect("the caller's child");
    assert_eq!(of_gateway.name, "GET /api/v1/users/{*rest}");
    for attribute in ["http.response.status_code", "ficus.side", "ficus.because", "ficus.route", "client.address"] {
        assert!(of_gateway.attributes.iter().any(|name| name == attribute), "{attribute}");
    }
    let tries: Vec<&Span> = spans.iter().filter(|span| span.parent == of_gateway.id).collect();
    assert_eq!(tries.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["GET modern", "GET legacy"]);
    let seen = world.legacy.seen("status/503").remove(0).headers["traceparent"].to_str().unwrap().to_owned();
    assert_eq!(seen.split('-').nth(2), Some(&*tries[1].id), "what an upstream has for its parent");
    assert!(collector.bodies.lock().unwrap().iter().all(|body| !String::from_utf8_lossy(body).contains("s3cret")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_fails_costs_spans_and_no_request() {
    let collector = Collector::start().await;
    let world = World::with(collector.told(1_000_000)).await;
    world.serve(ramping(0));
    let refused = || {
        let families = prometheus::gather();
        let dropped = families.iter().filter(|family| family.name() == "ficus_spans_dropped_total").flat_map(|family| family.get_metric());
        let refused = dropped.filter(|metric| metric.get_label().iter().any(|label| label.value() == "refused"));
        refused.map(|metric| metric.get_counter().get_value()).sum::<f64>()
    };
    let before = refused();
    *collector.status.lock().unwrap() = 503;
    assert_eq!(world.get("/page").await.status, 200);
    // Another test of this process may have been refused as well: the count alone does not tell.
    eventually("it was tried twice and dropped", || refused() > before && collector.bodies.lock().unwrap().len() == 2).await;
    *collector.status.lock().unwrap() = 200;
    let so_far = collector.spans().len();
    assert_eq!(world.get("/page").await.status, 200);
    eventually("the next ones are taken", || collector.spans().len() > so_far).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_spoken_to_by_tls_and_must_be_who_it_should_be() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let shown = authority.sign("collector", &["127.0.0.1"]);
    let collector = Origin::speaking("collector", Some(authority.server(&shown, b"http/1.1", false)), false).await;
    for (trusted, arrives) in [(&stranger, false), (&authority, true)] {
        let world = World::with(|config| {
            config.tracing = Some(Tracing {
                address: collector.address.to_string(),
                https: true,
                authority: Some(trusted.file("ca.pem")),
                path: "/v1/traces".into(),
                sample: Share::ALL,
                service: "gateway-of-a-test".into(),
            });
        })
        .await;
        world.serve(ramping(100));
        world.get("/api/v1/users/7").await;
        if arrives {
            eventually("spans arrive", || collector.seen("/v1/traces").iter().any(|seen| seen.size > 100)).await;
        } else {
            // It is tried twice, a second apart, and a second after the first span.
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert!(collector.seen("").is_empty(), "spans went to somebody whom nobody vouches for");
        }
    }
}
