//! The console's own files, embedded: they hold no data, so they need no token. What they show they ask of the API, as
//! whoever types the token. The policy lets a page load nothing from elsewhere, run nothing inline and be framed by nobody.

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::answer::problem;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        ($name, $kind, include_str!(concat!("../../../dashboards/console/", $name)))
    };
}

/// Name, content type, text.
const ASSETS: [(&str, &str, &str); 18] = [
    asset!("index.html", "text/html; charset=utf-8"),
    asset!("style.css", "text/css; charset=utf-8"),
    asset!("parts.css", "text/css; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
    asset!("main.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("words.js", SCRIPT),
    asset!("board.js", SCRIPT),
    asset!("capability.js", SCRIPT),
    asset!("ahead.js", SCRIPT),
    asset!("curves.js", SCRIPT),
    asset!("data.js", SCRIPT),
    asset!("actions.js", SCRIPT),
    asset!("dialog.js", SCRIPT),
    asset!("flags.js", SCRIPT),
    asset!("request.js", SCRIPT),
    asset!("rules.js", SCRIPT),
];

/// `/`, and what the page loads.
pub(super) fn router() -> Router {
    Router::new()
        .route("/", get(|| async { file("index.html") }))
        .route("/console/{file}", get(|Path(name): Path<String>| async move { file(&name) }))
}

fn file(wanted: &str) -> Response {
    let Some((_, kind, text)) = ASSETS.iter().find(|(name, ..)| *name == wanted) else {
        return problem(StatusCode::NOT_FOUND, format!("the console has no file `{wanted}`"));
    };
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Asked for again each time: a page of an older version must not meet scripts of a newer one.
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, *text).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ASSETS;

    /// Names between quotes after a word, in all assets.
    fn named(after: &str) -> BTreeSet<String> {
        let found = ASSETS.iter().flat_map(|(_, _, text)| text.split(after).skip(1));
        found.filter_map(|rest| rest.split(['"', '\'']).next().map(str::to_owned)).collect()
    }

    #[test]
    fn every_file_that_the_page_loads_is_there_and_every_file_is_loaded() {
        let mut loaded: BTreeSet<String> = named("\"/console/").into_iter().chain(named("from \"./")).collect();
        loaded.insert("index.html".to_owned());
        assert_eq!(loaded, ASSETS.iter().map(|(name, ..)| (*name).to_owned()).collect());
    }

    #[test]
    fn data_never_becomes_markup_and_nothing_is_asked_of_others() {
        for (name, _, text) in ASSETS {
            let elsewhere = text.replace("http://www.w3.org/", "");
            for never in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage", "http://", "https://"]
            {
                assert!(!elsewhere.contains(never), "{name}: {never}");
            }
        }
    }
}
