//! The frame of every page, and the escaping of everything that is put into one.

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

use crate::error::Error;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
    color:#222}nav a{margin-right:1rem}table{border-collapse:collapse;width:100%}th,td{text-align:left;\
    padding:.3rem .6rem;border-bottom:1px solid #ccc}label{display:block;margin-top:.8rem}input,select,textarea{\
    font:inherit;width:100%;max-width:30rem;padding:.3rem;box-sizing:border-box}button{font:inherit;margin-top:1rem}\
    .error{color:#a00}";

/// An error where a person looks at a page: with a page of its own where one is of use, JSON otherwise.
pub struct PageError(pub Error);

impl From<Error> for PageError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let Error::Forbidden(why) = self.0 else { return self.0.into_response() };
        let status = self.0.status();
        (status, page("403 Forbidden", &format!("<p>{}</p>", escape(why)))).into_response()
    }
}

/// A whole page. `title` is escaped here; `body` is HTML already.
pub fn page(title: &str, body: &str) -> Response {
    let title = escape(title);
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en-gb\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <nav aria-label=\"Main\"><a href=\"/accounts/profile/\">Profile</a><a href=\"/manage/users/\">Users</a></nav>\n\
         <main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    );
    let mut response = Html(html).into_response();
    response.headers_mut().insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Cookie"));
    response
}

/// Text as it may stand in an element or in a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#x27;"),
            other => safe.push(other),
        }
    }
    safe
}
