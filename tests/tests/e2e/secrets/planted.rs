//! Where secrets are planted: in the files and addresses of the operator, and wherever a request can have one.

use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;
use axum::body::Bytes;
use ficus_rules::Timestamp;
use ficus_rules::identity::django::{SESSION_SALT, Secrets};
use ficus_rules::identity::signing::dumps;
use ficus_tests::http::Http;
use hyper::Method;
use serde_json::json;

/// What is looked for: each secret begins like this and ends with where it was planted.
pub(super) const PLANTED: &str = "planted-";

/// And one that a rule file has, which is told as it is where rules are.
pub(super) const RULED: &str = "ruled-";

/// Files of secrets, and what stands in each.
const FILES: [(&str, &str); 14] = [
    ("admin", "planted-admin-token"),
    ("ci", "planted-ci-token"),
    ("board", "planted-board-token"),
    ("jwt", "planted-jwt-secret-that-is-as-long-as-one-should-be"),
    ("django", DJANGO),
    ("django-before", "planted-django-secret-key-of-before"),
    ("flask", "planted-flask-secret-key"),
    ("flask-csrf", "planted-flask-csrf-key"),
    ("flask-redis", "planted-flask-redis"),
    ("ask", "planted-key-for-the-monolith"),
    ("limits-redis", "planted-limits-redis"),
    ("hook-away", "http://127.0.0.1:1/planted-hook-away"),
    ("streams", "redis://ficus:planted-streams@127.0.0.1:1/0"),
    ("broker", "amqp://ficus:planted-broker@127.0.0.1:1/%2f"),
];
const DJANGO: &str = "planted-django-secret-key";
/// Writes the files. `receiver` is where notifications go.
pub(super) fn files(directory: &Path, receiver: u16) -> Result<()> {
    let secrets = directory.join("secrets");
    std::fs::create_dir_all(&secrets)?;
    for (name, secret) in FILES {
        std::fs::write(secrets.join(name), secret)?;
    }
    Ok(std::fs::write(secrets.join("hook"), format!("http://127.0.0.1:{receiver}/hooks/planted-hook"))?)
}

/// The configuration that names them, and databases by their passwords. `collector` is where spans go.
pub(super) fn configuration(directory: &Path, collector: u16) -> String {
    let database = |name: &str| directory.join(name).display().to_string();
    format!(
        r#"
[gateway.access_log]
to = "logs/access.log"

[gateway.tracing]
endpoint = "http://127.0.0.1:{collector}"
sample = "100%"

[gateway.redis]
url = "redis://127.0.0.1:1"
password_file = "secrets/limits-redis"

[orchestrator.token.ci]
role = "operator"
file = "secrets/ci"

[orchestrator.token.board]
role = "viewer"
file = "secrets/board"

[orchestrator.notify.chat]
url_file = "secrets/hook"
kinds = ["*"]

[orchestrator.notify.gone]
url_file = "secrets/hook-away"
kinds = ["*"]
give_up = "2s"

[events.streams]
url_file = "secrets/streams"

[events.broker]
url_file = "secrets/broker"

[identity.jwt.app]
issuer = "app"
algorithms = ["HS256"]
secret_file = "secrets/jwt"

[identity.django]
upstream = "sessions"
sessions = "signed_cookies"
secret_key_file = "secrets/django"
fallback_key_files = ["secrets/django-before"]
drf_tokens = true

[identity.flask]
secret_key_file = "secrets/flask"
csrf_key_file = "secrets/flask-csrf"
sessions = "redis"
redis = "redis://127.0.0.1:1/0"
redis_password_file = "secrets/flask-redis"

[identity.ask]
upstream = "monolith"
path = "/who/"
key_file = "secrets/ask"
cookies = ["sso"]

[upstream.sessions]
address = "127.0.0.1:1"
database = "sqlite://{}"

[upstream.old-people]
address = "127.0.0.1:1"
database = "sqlite://{}"

[upstream.new-people]
address = "127.0.0.1:1"
database = "sqlite://{}"

[upstream.archive]
address = "127.0.0.1:1"
database = "postgres://ficus:planted-database@127.0.0.1:1/archive"

[upstream.vault]
address = "127.0.0.1:1"
database = "mysql://ficus:planted-vault@127.0.0.1:1/vault"
"#,
        database("old.sqlite3"),
        database("old.sqlite3"),
        database("new.sqlite3"),
    )
}

/// Requests with secrets wherever a request can have one: all kinds of sessions, tokens, passwords and keys.
pub(super) async fn send(http: &Http, round: usize) -> Result<()> {
    let secret = |place: &str| format!("{PLANTED}{place}-{round}");
    let signed = {
        let claims = json!({ "_auth_user_id": "7", "note": secret("in-a-session") }).to_string();
        let secrets = Secrets { keys: vec![DJANGO.into()] };
        dumps(claims.as_bytes(), SESSION_SALT, &secrets, Timestamp::from(SystemTime::now()))
    };
    // Each is a caller of its own: of some nobody can say who they are, as what would know is away.
    let cookies = [
        format!("sessionid={signed}; csrftoken={}; theme={}", secret("csrf"), secret("cookie")),
        format!("sessionid={}", secret("session")),
        format!("session={}", secret("flask-session")),
        format!("remember_token={}", secret("remember")),
        format!("sso={}", secret("sso")),
        format!("ficus_anon={}; ficus_wrote={}", secret("anonymous"), secret("marker")),
    ];
    let authorizations = [
        format!("Bearer {}", secret("bearer")),
        format!("Bearer eyJhbGciOiJIUzI1NiJ9.{}.{}", secret("claims"), secret("signature")),
        format!("Basic {}", secret("basic")),
        format!("Token {}", secret("drf")),
        format!("ApiKey {}", secret("key")),
    ];
    let query = format!(
        "token={}&{}&to%6ben={}&next=https://user:{}@else.test/",
        secret("query"),
        secret("lone-word"),
        secret("odd-name"),
        secret("link")
    );
    let form = format!("password={}&csrfmiddlewaretoken={}&csrf_token={}", secret("body"), secret("csrf-field"), secret("wtf-field"));
    let document = json!({ "password": secret("json"), "api_key": secret("json-key"), "deep": [{ "token": secret("deep") }] }).to_string();
    let bodies = [("application/x-www-form-urlencoded", form), ("application/json", document)];
    for number in 0..cookies.len() {
        let (cookie, authorization) = (&cookies[number], &authorizations[number % authorizations.len()]);
        let (content, body) = &bodies[number % bodies.len()];
        let (key, token) = (secret("api-key"), secret("csrf-header"));
        let mut headers = vec![
            ("cookie", cookie.as_str()),
            ("x-api-key", &key),
            ("x-csrftoken", &token),
            ("proxy-authorization", authorization),
            ("content-type", content),
        ];
        // Whoever brings one is known by it alone.
        if number % 2 == 0 {
            headers.push(("authorization", authorization));
        }
        for (method, path) in [
            (Method::GET, format!("/users/{round}/{number}?{query}")),
            (Method::POST, format!("/users/{round}/{number}?{query}")),
            (Method::POST, format!("/checked/{round}/{number}?{query}")),
            (Method::GET, format!("/elsewhere?{query}")),
            // As Django spells the link by which a password is set.
            (Method::GET, format!("/users/{round}/{number}/reset/{}/{}/", secret("uid"), secret("link-token"))),
            (Method::GET, format!("/elsewhere/re%73et/{}/", secret("escaped"))),
            // Refused by the gateway itself.
            (Method::GET, format!("/users//..%2f?{query}")),
        ] {
            let body = if method == Method::POST { Bytes::from(body.clone()) } else { Bytes::new() };
            http.send(method, &path, &headers, body).await?;
        }
    }
    Ok(())
}
