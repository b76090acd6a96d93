//! `/metrics`: everything that the parts registered, in Prometheus's text format. For viewers, if there are tokens.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ficus_orchestrator::{Denied, Role, Tls, Tokens};
use prometheus::{Encoder as _, IntGaugeVec, Opts, TextEncoder};

/// When the certificate of an admin listener of this process ends: it is read at the start.
static CERTIFICATE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let opts = Opts::new("ficus_admin_certificate_expires_timestamp_seconds", "When the certificate of an admin listener ends to be good");
    let gauge = IntGaugeVec::new(opts, &["file"]).expect("the name and the label are valid");
    // It fails when it is registered already, and is the same one then.
    let _ = prometheus::register(Box::new(gauge.clone()));
    gauge
});

/// Shows when the certificate of an admin listener ends.
pub(crate) fn certificate(tls: &Tls) {
    CERTIFICATE.with_label_values(&[tls.file()]).set(tls.expires());
}

/// The route, to be merged into an admin router.
pub(crate) fn router(tokens: &Tokens) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(tokens.clone())
}

async fn metrics(State(tokens): State<Tokens>, headers: HeaderMap) -> Response {
    if let Err(denied) = tokens.admit(&headers, Role::Viewer) {
        let status = if denied == Denied::Unknown { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
        let why = "metrics need the token of a viewer: `authorization` with `credentials_file` in prometheus.yml\n";
        return (status, [(WWW_AUTHENTICATE, "Bearer")], why).into_response();
    }
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&prometheus::gather(), &mut text) {
        Ok(()) => ([(CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::AUTHORIZATION;

    use super::*;

    #[tokio::test]
    async fn the_end_of_an_admin_listeners_certificate_is_shown() {
        let folder = tempfile::tempdir().expect("a directory");
        let made = rcgen::generate_simple_self_signed(["ficus.internal".to_owned()]).expect("a certificate");
        let (chain, key) = (folder.path().join("admin.pem"), folder.path().join("key.pem"));
        std::fs::write(&chain, made.cert.pem()).expect("it writes");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("it writes");
        let tls = Tls::load(&chain, &key).expect("they belong together");
        // Twice: a gateway and an agent of one process have the same one.
        certificate(&tls);
        certificate(&tls);
        let shown = metrics(State(Tokens::default()), HeaderMap::new()).await.into_body();
        let shown = axum::body::to_bytes(shown, 1 << 20).await.expect("a body");
        let line = format!("ficus_admin_certificate_expires_timestamp_seconds{{file=\"{}\"}} {}\n", chain.display(), tls.expires());
        assert!(String::from_utf8_lossy(&shown).contains(&line), "{line} is not shown");
    }

    #[tokio::test]
    async fn metrics_are_for_who_has_the_token() {
        let tokens = Tokens::new([("prometheus", Role::Viewer, "look"), ("gateway", Role::Fleet, "carry")]);
        let asked = async |tokens: &Tokens, given: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.extend(given.map(|given| (AUTHORIZATION, axum::http::HeaderValue::from_static(given))));
            metrics(State(tokens.clone()), headers).await.status()
        };
        assert_eq!(asked(&Tokens::default(), None).await, StatusCode::OK);
        assert_eq!(asked(&tokens, Some("Bearer look")).await, StatusCode::OK);
        assert_eq!(asked(&tokens, Some("Bearer carry")).await, StatusCode::FORBIDDEN);
        for given in [None, Some("Bearer loo"), Some("Bearer "), Some("look"), Some("Basic look")] {
            assert_eq!(asked(&tokens, given).await, StatusCode::UNAUTHORIZED, "{given:?}");
        }
    }
}
