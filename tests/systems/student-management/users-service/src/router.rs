//! All addresses, and what holds for each of them: limits, redirects, panics, one span.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::FutureExt;
use tracing::Instrument;

use crate::api::{health, notes, photos, users};
use crate::app::App;
use crate::error::Error;
use crate::identity::Caller;
use crate::pages::{manage, profile};
use crate::paths;
use crate::store::rehearsal::rehearsed;

/// Whoever sends this wants no write to last; the answer says that none has. The gateway lets nobody else send it.
const DRY_RUN: HeaderName = HeaderName::from_static("x-ficus-dry-run");
/// Of a JSON body or a form.
const MAX_BODY: usize = 1024 * 1024;

/// The service as one router.
pub fn router(app: App) -> Router {
    api().merge(pages()).fallback(not_found).layer(DefaultBodyLimit::max(MAX_BODY)).layer(from_fn(edge)).with_state(app)
}

fn api() -> Router<App> {
    // A layer on a route is inside the one on the router: the last one wins.
    let photo = get(photos::show).post(photos::upload).layer(DefaultBodyLimit::max(photos::MAX_UPLOAD));
    Router::new()
        .route("/users/", get(users::list).post(users::create))
        .route("/users/me/", get(users::me))
        .route("/users/{id}/", get(users::show).patch(users::change).delete(users::delete))
        .route("/users/{id}/notes/", get(notes::list).post(notes::add))
        .route("/users/{id}/photo/", photo)
        // Who is not logged in learns nothing of methods: the monolith asks for the log-in first.
        .method_not_allowed_fallback(async |_: Caller, method: Method| Error::MethodNotAllowed(method))
}

fn pages() -> Router<App> {
    Router::new()
        .route("/users/health/", get(health::show))
        .route("/accounts/profile/", get(profile::show).post(profile::save))
        .route("/manage/users/", get(manage::list))
        .route("/manage/users/add/", get(manage::add).post(manage::save))
        .method_not_allowed_fallback(async |method: Method| Error::MethodNotAllowed(method))
}

async fn not_found(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let readable = method == Method::GET || method == Method::HEAD;
    match paths::with_slash(&uri, &headers).filter(|_| readable) {
        Some(location) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response(),
        None => Error::NotFound("Not found.").into_response(),
    }
}

/// Round every request: a span, a line when it is done, a 500 instead of a panic, and no write that lasts if it is a rehearsal.
async fn edge(request: Request, next: Next) -> Response {
    let span = tracing::info_span!("request", method = %request.method(), path = request.uri().path());
    async move {
        let began = Instant::now();
        let rehearses = request.headers().contains_key(DRY_RUN);
        let mut response = match AssertUnwindSafe(rehearsed(rehearses, next.run(request))).catch_unwind().await {
            Ok(response) => response,
            Err(_) => Error::internal("serving a request", "a handler panicked").into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if rehearses {
            headers.insert(DRY_RUN, HeaderValue::from_static("1"));
        }
        let elapsed_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(status = response.status().as_u16(), elapsed_us, "answered");
        response
    }
    .instrument(span)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_500() {
        async fn broken() -> &'static str {
            panic!("on purpose")
        }
        let router: Router = Router::new().route("/", get(broken)).layer(from_fn(edge));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
            .build_http::<http_body_util::Empty<hyper::body::Bytes>>();
        let answer = client.get(format!("http://{address}/").parse().expect("a URL")).await.expect("answers");
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/json");
        server.abort();
    }
}
