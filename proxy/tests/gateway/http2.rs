//! HTTP/2 with clients: the same answers as by HTTP/1, streams beside each other, events, trailers.

use std::time::Duration;

use bytes::Bytes;
use ficus_proxy::Listener;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::pki::{Authority, shake};
use super::support::{Body, World, ramping, soaking};

const PATIENCE: Duration = Duration::from_secs(120);

type Sender = SendRequest<Full<Bytes>>;

async fn client<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>(stream: S) -> Sender {
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str, path: &str, body: &'static str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(format!("https://a.test{path}")).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}

async fn ask(sender: &mut Sender, request: Request<Full<Bytes>>) -> Response<Incoming> {
    sender.ready().await.unwrap();
    sender.send_request(request).await.unwrap()
}

/// A client whose bodies may be of any kind.
pub async fn streaming(world: &World) -> SendRequest<Body> {
    let stream = TokioIo::new(TcpStream::connect(world.address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn world() -> (World, Authority) {
    let authority = Authority::new();
    let certificate = authority.sign("a", &["a.test"]);
    let world = World::with(|config| {
        config.listeners.push(Listener { tls: true, http2: true, ..Listener::plain("127.0.0.1:0") });
        config.listeners.push(Listener { tls: true, ..Listener::plain("127.0.0.1:0") });
        config.listeners[0].http2 = true;
        config.certificates = vec![certificate];
    })
    .await;
    (world, authority)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_is_agreed_on_by_alpn_and_by_prior_knowledge() {
    let (world, authority) = world().await;
    world.serve(ramping(0));
    let (both, one) = (world.gateway.bound()[1], world.gateway.bound()[2]);
    let agreed = async |address, offers: &[&[u8]]| {
        let stream = shake(&authority.client(offers, None), address, "a.test").await?;
        Ok::<_, std::io::Error>(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(agreed(both, &[b"http/1.1", b"h2"]).await.unwrap().as_deref(), Some(&b"h2"[..]));
    assert_eq!(agreed(both, &[b"http/1.1"]).await.unwrap().as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(agreed(both, &[]).await.unwrap(), None);
    assert_eq!(agreed(one, &[b"h2", b"http/1.1"]).await.unwrap().as_deref(), Some(&b"http/1.1"[..]));
    assert!(agreed(one, &[b"h2"]).await.is_err(), "it is not spoken there");

    let mut secure = client(shake(&authority.client(&[b"h2"], None), both, "a.test").await.unwrap()).await;
    let mut plain = client(TcpStream::connect(world.address).await.unwrap()).await;
    for (sender, path, proto) in [(&mut secure, "/secure", "https"), (&mut plain, "/plain", "http")] {
        let answer = ask(sender, request("GET", path, "")).await;
        assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
        let seen = world.legacy.seen(path).remove(0);
        assert_eq!(seen.headers.get("x-forwarded-proto").unwrap(), proto);
        assert_eq!(seen.headers.get("x-forwarded-host").unwrap(), "a.test");
        assert_eq!(seen.headers.get("host").unwrap(), "a.test");
        assert_eq!(seen.headers.get("x-forwarded-for").unwrap(), "127.0.0.1");
    }
    // The same plain address still speaks HTTP/1.
    assert_eq!(world.get("/one").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_where_they_would_by_http_1_and_beside_each_other() {
    let (world, authority) = world().await;
    world.serve(soaking());
    let stream = shake(&authority.client(&[b"h2"], None), world.gateway.bound()[1], "a.test").await.unwrap();
    let mut sender = client(stream).await;
    let slow = |n: usize| {
        let mut sender = sender.clone();
        tokio::spawn(async move { ask(&mut sender, request("GET", &format!("/slow/300?n={n}"), "")).await.status().as_u16() })
    };
    let slow: Vec<_> = (0..50).map(slow).collect();
    let answer = ask(&mut sender, request("POST", "/api/v1/users/1", "body")).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["x-ficus-side"].as_bytes()), (200, &b"modern"[..]));
    assert!(answer.headers().contains_key("set-cookie"), "a marker");
    let seen = world.modern.seen("/users/1").remove(0);
    assert_eq!((seen.size, seen.method.as_str()), (4, "POST"));
    assert_eq!(seen.headers.get("x-ficus-original-path").unwrap(), "/api/v1/users/1");
    for one in slow {
        assert_eq!(one.await.unwrap(), 200);
    }
    let large = ask(&mut sender, request("GET", "/download/8", "")).await.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(large.len(), 8 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one() {
    let (world, _authority) = world().await;
    world.serve(ramping(0));
    let mut sender = client(TcpStream::connect(world.address).await.unwrap()).await;
    let mut asked = request("GET", "/events/", "");
    asked.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    let mut body = ask(&mut sender, asked).await.into_body();
    let (mut pieces, start) = (Vec::new(), std::time::Instant::now());
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.unwrap().into_data()
            && !data.is_empty()
        {
            pieces.push((data.len(), start.elapsed()));
        }
    }
    assert_eq!(pieces.iter().map(|(size, _)| *size).collect::<Vec<_>>(), [8, 8, 8]);
    assert!(pieces[2].1 - pieces[0].1 >= Duration::from_millis(250), "{pieces:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_length_ends_at_the_limit() {
    let world = World::with(|config| {
        config.listeners[0].http2 = true;
        config.limits.body = 100_000;
    })
    .await;
    world.serve(ramping(0));
    let mut sender = streaming(&world).await;
    let body = super::support::streamed(200, 1_000, Duration::ZERO);
    let asked = Request::post("http://a.test/upload").body(body).unwrap();
    sender.ready().await.unwrap();
    assert_eq!(sender.send_request(asked).await.unwrap().status().as_u16(), 413);
    assert!(world.legacy.seen("/upload").iter().all(|seen| seen.size <= 100_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_answers_to_head_has_no_body() {
    let world = World::with(|config| {
        config.listeners[0].http2 = true;
        config.public.health = Some("/health".into());
    })
    .await;
    world.serve(ramping(0));
    let mut sender = client(TcpStream::connect(world.address).await.unwrap()).await;
    for (path, status) in [("/health", 200), ("/api/v1/users/%2e%2e/%2e%2e/x", 400)] {
        let length = ask(&mut sender, request("GET", path, "")).await.into_body().collect().await.unwrap().to_bytes().len();
        let answer = ask(&mut sender, request("HEAD", path, "")).await;
        let told = answer.headers()["content-length"].to_str().unwrap().parse::<usize>().unwrap();
        assert_eq!((answer.status().as_u16(), told.abs_diff(length) <= 8, length > 0), (status, true, true), "{path}: {told}, {length}");
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty(), "{path}");
    }
}

/// Trailers of a request are not sent on. They must not keep anybody busy either.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_with_trailers_ends_where_its_body_does() {
    let world = World::with(|config| {
        config.listeners[0].http2 = true;
        config.threads = 1;
    })
    .await;
    world.serve(soaking());
    let secret = "abcdefghijklmnopqrstuvwxyz012345";
    for (form, status) in [("a=1".to_owned(), 403), (format!("a=1&csrfmiddlewaretoken={secret}"), 200)] {
        let size = form.len();
        let trailers = hyper::HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
        let frames = [Ok(Frame::data(Bytes::from(form))), Ok(Frame::trailers(trailers))];
        let asked = Request::post("http://a.test/forms/x")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", format!("csrftoken={secret}"))
            .body(StreamBody::new(futures::stream::iter(frames)).boxed())
            .unwrap();
        let mut sender = streaming(&world).await;
        sender.ready().await.unwrap();
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(asked)).await.expect("it is answered").unwrap();
        assert_eq!(answer.status().as_u16(), status);
        let other = tokio::time::timeout(PATIENCE, world.get("/one")).await.expect("the only thread is free");
        assert_eq!(other.status, 200);
        let seen = world.modern.seen("/forms/x");
        assert_eq!(seen.iter().map(|seen| seen.size).collect::<Vec<_>>(), if status == 200 { vec![size] } else { vec![] });
    }
}
