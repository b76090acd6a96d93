//! OFREP: feature flags for the monolith and the services, by any OpenFeature SDK, on the admin listeners of gateways and of
//! the orchestrator. What is answered is `ficus_rules::flag::ofrep`'s; here is who may ask, and the tag of what did not change.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use ficus_orchestrator::{Denied, Role, Tokens, is_loopback};
use ficus_rules::Timestamp;
use ficus_rules::flag::ofrep::{self, Said};
use ficus_rules::flag::{FlagOverrides, Flags};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Where the flags that serve are.
pub(crate) trait Source: Send + Sync {
    /// Hands them to `ask`.
    fn with_flags(&self, ask: &mut dyn FnMut(&Flags, &FlagOverrides));
}

impl Source for ficus_proxy::Gateway {
    fn with_flags(&self, ask: &mut dyn FnMut(&Flags, &FlagOverrides)) {
        self.with_flags(ask);
    }
}

impl Source for ficus_orchestrator::Orchestrator {
    fn with_flags(&self, ask: &mut dyn FnMut(&Flags, &FlagOverrides)) {
        self.with_flags(ask);
    }
}

#[derive(Clone)]
struct Door {
    tokens: Tokens,
    source: Arc<dyn Source>,
}

/// The routes, to be merged into an admin router.
pub(crate) fn router(tokens: &Tokens, source: impl Source + 'static) -> Router {
    let door = Door { tokens: tokens.clone(), source: Arc::new(source) };
    Router::new().route("/ofrep/v1/evaluate/flags", post(bulk)).route("/ofrep/v1/evaluate/flags/{key}", post(single)).with_state(door)
}

async fn single(State(door): State<Door>, Path(key): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    let said = match door.admit(&headers).and_then(|()| Said::read(&body)) {
        Ok(said) => said,
        Err(refused) => return answer(refused),
    };
    answer(door.ask(|flags, overrides| ofrep::single(flags, overrides, &key, &said, now())))
}

async fn bulk(State(door): State<Door>, headers: HeaderMap, body: Bytes) -> Response {
    let said = match door.admit(&headers).and_then(|()| Said::read(&body)) {
        Ok(said) => said,
        Err(refused) => return answer(refused),
    };
    let (_, all) = door.ask(|flags, overrides| (200, ofrep::bulk(flags, overrides, &said, now())));
    let text = all.to_string();
    let hash: String = Sha256::digest(&text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{hash}\"");
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let unchanged = known.flat_map(|value| value.split(',')).any(|one| one.trim().trim_start_matches("W/") == tag);
    let tag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
    match unchanged {
        true => (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response(),
        false => ([(header::ETAG, tag), (header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response(),
    }
}

impl Door {
    /// Who has a token for it or, where there are no tokens, who asks for this machine by its own name.
    fn admit(&self, headers: &HeaderMap) -> Result<(), ofrep::Answer> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if self.tokens.is_empty() && !is_loopback(host) {
            return Err((403, json!({ "errorDetails": "without tokens, only this machine is answered, by its own name" })));
        }
        // OpenFeature's providers send either.
        let key = headers.get("x-api-key").map(|key| [b"Bearer ", key.as_bytes()].concat());
        let key = key.and_then(|value| HeaderValue::from_bytes(&value).ok());
        let given: HeaderMap = key.map(|key| (header::AUTHORIZATION, key)).into_iter().collect();
        let given = if headers.contains_key(header::AUTHORIZATION) { headers } else { &given };
        self.tokens.admit(given, Role::Flags).map(drop).map_err(|denied| match denied {
            Denied::Unknown => (401, json!({ "errorDetails": "flags need a token: `Authorization: Bearer …` or `X-API-Key`" })),
            Denied::Weaker { .. } => (403, json!({ "errorDetails": "this token is not for flags" })),
        })
    }

    fn ask(&self, mut ask: impl FnMut(&Flags, &FlagOverrides) -> ofrep::Answer) -> ofrep::Answer {
        let mut said = (503, json!({ "errorDetails": "no flags yet" }));
        self.source.with_flags(&mut |flags, overrides| said = ask(flags, overrides));
        said
    }
}

fn answer((status, body): (u16, Value)) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), axum::Json(body)).into_response()
}

fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;

    use ficus_rules::spec::{Known, load};
    use ficus_rules::wire::{FlagOverride, RuleFile};

    use super::*;

    const FLAGS: &str = "[flag.new-profile]\nusers_on = [7]\npercentage = \"30%\"\n\
        [flag.size]\nvariants = { small = 20, large = 100 }\ndefault = \"small\"\n[[flag.size.rule]]\nattributes = { plan = [\"pro\"] }\nserve = \"large\"\n\
        [flag.look]\nvariants = { old = { color = \"grey\" }, new = { color = \"blue\" } }\ndefault = \"old\"\nsplit = { new = \"50%\" }\n\
        [flag.hello]\nvariants = { short = \"Hi\", long = \"Good morning\" }\ndefault = \"short\"\n";

    struct Fixed(Flags, FlagOverrides);

    impl Source for Fixed {
        fn with_flags(&self, ask: &mut dyn FnMut(&Flags, &FlagOverrides)) {
            ask(&self.0, &self.1);
        }
    }

    fn flags() -> (Flags, FlagOverrides) {
        let file = RuleFile { name: "flags.toml".into(), text: FLAGS.into() };
        let over = FlagOverride { variant: Some("long".into()), ..FlagOverride::default() };
        (load(&[file], &Known::default()).unwrap().rules.flags, [("hello".to_owned(), over)].into())
    }

    async fn served(tokens: &Tokens) -> std::net::SocketAddr {
        let (flags, overrides) = flags();
        let router = router(tokens, Fixed(flags, overrides));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn door(tokens: Tokens) -> Door {
        let (flags, overrides) = flags();
        Door { tokens, source: Arc::new(Fixed(flags, overrides)) }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[tokio::test]
    async fn flags_are_for_who_has_a_token_for_them() {
        let tokens = Tokens::new([("monolith", Role::Flags, "ask"), ("gateway", Role::Fleet, "carry"), ("grafana", Role::Viewer, "look")]);
        let asked = async |tokens: &Tokens, pairs: &[(&'static str, &str)]| {
            single(State(door(tokens.clone())), Path("size".to_owned()), headers(pairs), Bytes::new()).await.status().as_u16()
        };
        for (pairs, status) in [
            (vec![("authorization", "Bearer ask")], 200),
            (vec![("x-api-key", "ask")], 200),
            (vec![("authorization", "Bearer look")], 200),
            (vec![("authorization", "Bearer carry")], 403),
            (vec![("authorization", "Bearer as")], 401),
            (vec![("x-api-key", "as")], 401),
            (vec![("authorization", "Basic x"), ("x-api-key", "ask")], 401),
            (vec![], 401),
        ] {
            assert_eq!(asked(&tokens, &pairs).await, status, "{pairs:?}");
        }
        let open = Tokens::default();
        assert_eq!(asked(&open, &[("host", "127.0.0.1:7070")]).await, 200);
        assert_eq!(asked(&open, &[("host", "evil.example")]).await, 403);
    }

    #[tokio::test]
    async fn what_did_not_change_is_not_sent_again() {
        let ask = async |tag: &str, body: &'static str| {
            let pairs = [("host", "localhost"), ("if-none-match", tag)];
            bulk(State(door(Tokens::default())), headers(&pairs), Bytes::from_static(body.as_bytes())).await
        };
        let first = ask("\"\"", "{\"context\": {\"targetingKey\": \"7\"}}").await;
        let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(first.status(), 200);
        assert_eq!(ask(&tag, "{\"context\": {\"targetingKey\": \"7\"}}").await.status(), 304);
        assert_eq!(ask(&tag, "{\"context\": {\"targetingKey\": \"7\", \"plan\": \"pro\"}}").await.status(), 200);
        assert_eq!(ask(&tag, "{").await.status(), 400);
    }

    /// The SDK asks as a monolith would; the rules evaluate as the gateway does.
    #[tokio::test(flavor = "multi_thread")]
    async fn openfeatures_own_sdk_gets_what_the_gateway_decides() {
        let address = served(&Tokens::new([("monolith", Role::Flags, "ask")])).await;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openfeature_sdk.py");
        let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/python");
        let asked = tokio::task::spawn_blocking(move || Command::new(python).args(["-B", script, &format!("http://{address}")]).output());
        let output = asked.await.unwrap().expect("run `make python-test`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told.len(), 60 * 4);
        let (flags, overrides) = flags();
        let mut on = 0;
        for one in told {
            let (key, user) = (one["flag"].as_str().unwrap(), one["user"].as_str().unwrap());
            let request = ficus_rules::route::PlainRequest::new("GET", "/").unwrap();
            let caller = ficus_rules::decide::Caller { user: Some(user.to_owned()), ..ficus_rules::decide::Caller::default() };
            let context = ficus_rules::flag::OfRequest { request: &request, caller: &caller };
            let expected = ficus_rules::flag::evaluate(&flags, &overrides, key, &context, now()).unwrap();
            assert_eq!((&one["value"], &one["variant"]), (expected.value, &json!(expected.variant)), "{key} of {user}");
            on += usize::from(one["value"] == json!(true));
        }
        assert!((8..=30).contains(&on), "{on} of 60 in a share of 30 %");
    }
}
