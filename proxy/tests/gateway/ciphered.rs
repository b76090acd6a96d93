//! What works in the clear works over TLS as well: keys of issuers, announcements, deadlines, gRPC.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use ficus_proxy::{JwtIdentity, JwtKeys, Listener, Transport, Upstream, UpstreamTls};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::pki::{Authority, shake};
use super::support::{Origin, World, full, now, ramping, soaking, told};

/// An RSA key that signs nothing but tokens of these tests (PKCS #1), and its modulus.
const RSA: &str = include_str!("rsa.base64");
const MODULUS: &str = "1-4b5ZRh6E3AroqrW8xtXzBRaP3NkKe7yo0pcX8U-P1qOzNA1k91lCMOJj-cePQDY4jn7-yDWAaiMYLnqddsfAT_Q_3S0GdaQ3CE7bwPXgLKJjWi1U6fEAbHnHO6PGCvS4YX0ycCExXthE11wkXROn75pnY_hHbitAiLec-HwPrph_t-A8I1UqMXxxQdXui_eJY3nxyhZCRZdLEXnBCONuAhPM0fbm9k-QJ8iRw1eTvOJ0RFSzYUW80PTW_j_r9wXzPSIZ2_q0pPr40jz4rtLUmSG77q_tJ2_zH2gknB1mLZhpAPxNy48HrxHgVj93NH75273-vavYSaFCllEfCD_Q";

/// A key of an issuer, and its public half as it stands in a set.
struct Key {
    kid: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
    public: Value,
}

impl Key {
    fn rsa(kid: &'static str) -> Key {
        let private = EncodingKey::from_rsa_der(&STANDARD.decode(RSA.trim()).unwrap());
        let public = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": MODULUS, "e": "AQAB"});
        Key { kid, algorithm: Algorithm::RS256, private, public }
    }

    /// On the curve P-256.
    fn elliptic(kid: &'static str) -> Key {
        let pair = KeyPair::generate().unwrap();
        // 4, then both coordinates.
        let point = pair.public_key_raw().to_vec();
        let coordinate = |at: usize| URL_SAFE_NO_PAD.encode(&point[at..at + 32]);
        let public =
            json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid, "x": coordinate(1), "y": coordinate(33)});
        Key { kid, algorithm: Algorithm::ES256, private: EncodingKey::from_ec_der(&pair.serialize_der()), public }
    }

    fn edwards(kid: &'static str, seed: u8) -> Key {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let der = ed25519_dalek::pkcs8::EncodePrivateKey::to_pkcs8_der(&key).unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        let public = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x});
        Key { kid, algorithm: Algorithm::EdDSA, private: EncodingKey::from_ed_der(der.as_bytes()), public }
    }

    fn token(&self, user: &str) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(self.algorithm) };
        let claims = json!({"sub": user, "exp": now().seconds() + 600});
        format!("Bearer {}", encode(&header, &claims, &self.private).unwrap())
    }
}

async fn user(world: &World, token: &str) -> Option<String> {
    told(world, &[("authorization", token)]).await.map(|claims| claims["sub"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_kind_come_over_tls_and_are_replaced() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let shown = authority.sign("issuer", &["127.0.0.1"]);
    let issuer = Origin::speaking("issuer", Some(authority.server(&shown, b"http/1.1", false)), false).await;
    let publish = |keys: &[&Key]| {
        let keys: Vec<&Value> = keys.iter().map(|key| &key.public).collect();
        *issuer.state.thing.lock().unwrap() = json!({"keys": keys}).to_string();
    };
    let old = [Key::rsa("rsa"), Key::elliptic("ec"), Key::edwards("ed", 1)];
    publish(&old.iter().collect::<Vec<_>>());
    let trusting = async |authority: &Authority| {
        let url = format!("https://{}/thing", issuer.address);
        let keys = JwtKeys::Url { url, authority: Some(authority.file("ca.pem")) };
        let algorithms = vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];
        let world = World::with(|config| config.identity.issuers = vec![JwtIdentity::new(algorithms, keys)]).await;
        world.serve(soaking());
        world
    };
    let world = trusting(&authority).await;
    for key in &old {
        assert_eq!(user(&world, &key.token("42")).await.as_deref(), Some("42"), "{:?}", key.algorithm);
    }
    // A key of the same name that is another's.
    for other in [Key::elliptic("ec"), Key::edwards("ed", 2)] {
        assert_eq!(user(&world, &other.token("43")).await, None, "{:?}", other.algorithm);
    }
    assert_eq!(user(&world, &Key::edwards("rsa", 1).token("44")).await, None, "a key of one kind is none of another");

    let new = [Key::elliptic("next"), Key::rsa("rsa-next")];
    publish(&new.iter().collect::<Vec<_>>());
    let begun = std::time::Instant::now();
    let mut n = 100;
    while user(&world, &new[0].token(&n.to_string())).await.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the new keys are never read");
        n += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(user(&world, &new[1].token("45")).await.as_deref(), Some("45"));
    for key in &old {
        assert_eq!(user(&world, &key.token("46")).await, None, "{:?} was taken back", key.algorithm);
    }

    let world = trusting(&stranger).await;
    let got = world.send("POST", "/api/v1/users/me/", &[("authorization", &new[0].token("42"))], full("")).await;
    assert_eq!(got.status, 503, "keys of somebody else are none");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_announced_before_the_handshake_counts_inside_it() {
    let authority = Authority::new();
    let certificate = authority.sign("a", &["a.test"]);
    let world = World::with(|config| {
        config.listeners = vec![Listener { tls: true, announced_by: vec!["127.0.0.0/8".into()], ..Listener::plain("127.0.0.1:0") }];
        config.certificates = vec![certificate];
    })
    .await;
    world.serve(ramping(0));
    let client = authority.client(&[], None);
    let name = || ServerName::try_from("a.test").unwrap();
    let mut two = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    two.extend([192, 0, 2, 2, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb]);
    for (path, said, client_seen) in
        [("/one", b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n".to_vec(), "192.0.2.1"), ("/two", two, "192.0.2.2")]
    {
        let mut socket = TcpStream::connect(world.address).await.unwrap();
        socket.write_all(&said).await.unwrap();
        let mut stream = client.connect(name(), socket).await.unwrap();
        let asked = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
        let seen = world.legacy.seen(path).remove(0).headers;
        assert_eq!((&seen["x-forwarded-for"], &seen["x-forwarded-proto"]), (&client_seen.parse().unwrap(), &"https".parse().unwrap()));
    }
    let silent = TcpStream::connect(world.address).await.unwrap();
    assert!(client.connect(name(), silent).await.is_err(), "who is named must announce");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_hold_over_tls_and_by_http_2() {
    let authority = Authority::new();
    let shown = authority.sign("server", &["users.internal"]);
    let tls = || UpstreamTls { name: Some("users.internal".into()), authorities: Some(authority.file("ca.pem")), certificate: None };
    for (http2, ciphered) in [(false, true), (true, true), (true, false)] {
        let protocol: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
        let acceptor = ciphered.then(|| authority.server(&shown, protocol, false));
        let origin = Origin::speaking("users-service", acceptor, http2).await;
        let transport = Transport { tls: ciphered.then(tls), http2 };
        let at = Upstream { transport, ..Upstream::at(origin.address.to_string()) };
        let world = World::with(|config| drop(config.upstreams.insert("users-service".into(), at))).await;
        world.serve(soaking());
        assert_eq!(world.get("/brief/slow/1").await.status, 200, "HTTP/2: {http2}, TLS: {ciphered}");
        let begun = std::time::Instant::now();
        assert_eq!(world.get("/brief/slow/20000").await.status, 504, "HTTP/2: {http2}, TLS: {ciphered}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        assert_eq!(world.post("/brief/slow/20001").await.status, 504);
        assert_eq!(origin.seen("/slow/20001").len(), 1, "a write that is late is not sent again");
        assert_eq!(world.get("/brief/slow/2").await.status, 200, "and the next one is served");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_passes_ciphered_on_both_sides_with_its_trailers() {
    let authority = Authority::new();
    let (server, gateway) = (authority.sign("server", &["users.internal"]), authority.sign("gateway", &["a.test"]));
    let origin = Origin::speaking("monolith", Some(authority.server(&server, b"h2", false)), true).await;
    let tls = UpstreamTls { name: Some("users.internal".into()), authorities: Some(authority.file("ca.pem")), certificate: None };
    let transport = Transport { tls: Some(tls), http2: true };
    let world = World::with(|config| {
        config.upstreams.insert("monolith".into(), Upstream { transport, ..Upstream::at(origin.address.to_string()) });
        config.listeners = vec![Listener { tls: true, http2: true, ..Listener::plain("127.0.0.1:0") }];
        config.certificates = vec![gateway];
    })
    .await;
    world.serve(ramping(0));
    let stream = shake(&authority.client(&[b"h2"], None), world.address, "a.test").await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for call in 0..3 {
        let body = Full::new(Bytes::from_static(b"\0\0\0\0\x02hi"));
        let asked = Request::post(format!("https://a.test/school.Users{call}/Method")).header("te", "trailers");
        let asked = asked.header("content-type", "application/grpc").body(body).unwrap();
        let answer = sender.send_request(asked).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &"application/grpc".parse().unwrap()));
        let answer = answer.into_body().collect().await.unwrap();
        assert_eq!(answer.trailers().and_then(|trailers| trailers.get("grpc-status")).map(|status| status.as_bytes()), Some(&b"0"[..]));
        assert_eq!(&answer.to_bytes()[5..], b"hi");
    }
    assert_eq!(origin.seen("/Method")[0].headers["x-forwarded-proto"], "https");
}
