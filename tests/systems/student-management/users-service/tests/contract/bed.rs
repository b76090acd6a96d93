//! The test bed: gateway's keys, service, client.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::net::TcpListener;
use users_service::app::App;
use users_service::config::Serve;
use users_service::store::Database;
use users_service::{schema, server};

pub(crate) const ADMIN: i64 = 1;
pub(crate) const STAFF: i64 = 2;
pub(crate) const STUDENT: i64 = 42;

/// A running service with an admin, a member of staff and a student, as the sync agent would have written them.
pub(crate) struct Bed {
    pub(crate) pool: SqlitePool,
    pub(crate) fetches: Arc<AtomicUsize>,
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
    _folder: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the answer is JSON")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("the answer is text")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a text"))
    }

    /// The status, and that the body is the shape of every error.
    pub(crate) fn refused(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        let json = self.json();
        assert!(json["detail"].is_string(), "{json}");
        json
    }

    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()
    }
}

impl Bed {
    pub(crate) async fn start() -> Self {
        let fetches = Arc::new(AtomicUsize::new(0));
        let jwks = serve_jwks(fetches.clone()).await;
        let folder = tempfile::tempdir().expect("a folder");
        let database = format!("sqlite://{}/users.sqlite3", folder.path().display());
        let settings = Serve {
            listen: "127.0.0.1:0".parse().expect("an address"),
            database: database.parse().expect("a URL"),
            jwks_url: jwks.parse().expect("a URL"),
            audience: "users-service".to_owned(),
            password_iterations: 1000,
        };
        let database = Database::open(&settings.database).await.expect("opens");
        schema::apply(&database).await.expect("applies");
        let listener = TcpListener::bind(settings.listen).await.expect("binds");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(server::serve(listener, App::new(database, &settings), std::future::pending()));
        let pool = SqlitePool::connect_with(SqliteConnectOptions::from_str(settings.database.as_str()).expect("a URL").foreign_keys(true))
            .await
            .expect("opens");
        let client = Client::builder(TokioExecutor::new()).build_http();
        let bed = Self { pool, fetches, address, client, _folder: folder };
        bed.run(include_str!("people.sql")).await;
        bed
    }

    /// Runs statements as another process would.
    pub(crate) async fn run(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.expect("runs");
    }

    /// The first column of the first row.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("a number")
    }

    /// The first column of the first row.
    pub(crate) async fn string(&self, sql: &'static str) -> String {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.expect("a text")
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let (parts, body) = self.client.request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, as_user: i64, path: &str) -> Answer {
        self.send("GET", path, &[("authorization", &bearer(as_user))], "").await
    }

    pub(crate) async fn write(&self, as_user: i64, method: &str, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[("authorization", &bearer(as_user))], body.to_string()).await
    }

    /// Sends an HTML form, with the cookie of a page that was seen before.
    pub(crate) async fn form(&self, as_user: i64, path: &str, fields: &[(&str, &str)]) -> Answer {
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let headers = [
            ("authorization", bearer(as_user)),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("cookie", format!("other=1; csrftoken={}", "a1".repeat(16))),
        ];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send("POST", path, &headers, pairs.join("&")).await
    }

    pub(crate) fn fetched(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

/// The authorization of one of the three users.
pub(crate) fn bearer(id: i64) -> String {
    token(claims(id), "first", 7)
}

pub(crate) fn claims(id: i64) -> Value {
    let role = HashMap::from([(ADMIN, "admin"), (STAFF, "staff")]).get(&id).copied().unwrap_or("student");
    json!({"sub": id.to_string(), "username": format!("user{id}"), "role": role, "iss": "ficus", "aud": "users-service",
           "exp": seconds_from_now(60)})
}

/// A signed token; the published key is made of sevens and called `first`.
pub(crate) fn token(claims: Value, kid: &str, seed: u8) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid.to_owned());
    let key = SigningKey::from_bytes(&[seed; 32]).to_pkcs8_der().expect("a key");
    format!("Bearer {}", encode(&header, &claims, &EncodingKey::from_ed_der(key.as_bytes())).expect("a token"))
}

pub(crate) fn seconds_from_now(seconds: i64) -> i64 {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO).as_secs();
    i64::try_from(now).expect("a date") + seconds
}

async fn serve_jwks(fetches: Arc<AtomicUsize>) -> String {
    let x = URL_SAFE_NO_PAD.encode(SigningKey::from_bytes(&[7; 32]).verifying_key().as_bytes());
    let jwks = json!({"keys": [
        {"kty": "RSA", "kid": "other", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "first", "x": x, "alg": "EdDSA", "use": "sig"},
    ]});
    let router = Router::new().route(
        "/jwks.json",
        get(async move || {
            fetches.fetch_add(1, Ordering::SeqCst);
            axum::Json(jwks)
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/jwks.json")
}
