//! A caller: a person with a browser. Keeps cookies, sends CSRF tokens, fills forms in.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::http::{Answer, Http};

/// The password of every seeded user.
pub const PASSWORD: &str = "ficus-demo-1";

/// A person with a browser.
#[derive(Debug, Clone)]
pub struct Caller {
    http: Http,
    cookies: BTreeMap<String, String>,
    /// The user id, once logged in.
    pub id: i64,
}

impl Caller {
    /// Somebody who is not logged in.
    pub fn new(http: Http) -> Caller {
        Caller { http, cookies: BTreeMap::new(), id: 0 }
    }

    /// Logs in by the monolith's HTML form, as a browser does it.
    ///
    /// # Errors
    /// Any step answers otherwise than a working Django does.
    pub async fn log_in(http: Http, username: &str, password: &str) -> Result<Caller> {
        let mut caller = Caller::new(http);
        let page = caller.get("/accounts/login/").await?;
        ensure!(page.status == StatusCode::OK, "the log-in page answered {}: {}", page.status, page.text());
        let answer = caller.submit("/accounts/login/", &page, &[("username", username), ("password", password)]).await?;
        ensure!(answer.status == StatusCode::FOUND, "logging {username} in answered {}: {}", answer.status, answer.text());
        let me = caller.get("/api/v1/users/me/").await?;
        ensure!(me.status == StatusCode::OK, "/users/me/ answered {}: {}", me.status, me.text());
        caller.id = me.json()?["id"].as_i64().context("/users/me/ without an id")?;
        Ok(caller)
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    /// Sets or removes a cookie, as a browser's tools would.
    pub fn set_cookie(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.cookies.insert(name.to_owned(), value.to_owned()),
            None => self.cookies.remove(name),
        };
    }

    /// A GET.
    ///
    /// # Errors
    /// No whole answer came in time.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// A write with a JSON body and the CSRF header.
    ///
    /// # Errors
    /// No whole answer came in time.
    pub async fn send_json(&mut self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        let token = self.cookie("csrftoken").unwrap_or_default().to_owned();
        let headers = [("content-type", "application/json"), ("x-csrftoken", token.as_str())];
        self.send(method, path, &headers, body.to_string().into()).await
    }

    /// Fills the form of a page in and submits it, with the page's hidden CSRF token.
    ///
    /// # Errors
    /// The page has no token, or no whole answer came in time.
    pub async fn submit(&mut self, path: &str, page: &Answer, fields: &[(&str, &str)]) -> Result<Answer> {
        let html = page.text();
        let token = hidden_token(&html).with_context(|| format!("the form at {path} has no CSRF token"))?;
        let mut body = format!("csrfmiddlewaretoken={token}");
        for (name, value) in fields {
            body.push_str(&format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        }
        self.send(Method::POST, path, &[("content-type", "application/x-www-form-urlencoded")], body.into()).await
    }

    /// Uploads a file as a browser's form does, the CSRF token first.
    ///
    /// # Errors
    /// No whole answer came in time.
    pub async fn upload(&mut self, path: &str, field: &str, content_type: &str, bytes: &[u8]) -> Result<Answer> {
        const BOUNDARY: &str = "----ficus-7d1f0c";
        let token = self.cookie("csrftoken").unwrap_or_default().to_owned();
        let mut body = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"csrfmiddlewaretoken\"\r\n\r\n{token}\r\n\
             --{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"file\"\r\nContent-Type: {content_type}\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(bytes);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.send(Method::POST, path, &[("content-type", kind.as_str())], body.into()).await
    }

    /// One exchange, with cookies both ways.
    ///
    /// # Errors
    /// No whole answer came in time.
    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer> {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut all = headers.to_vec();
        if !cookies.is_empty() {
            all.push(("cookie", cookies.as_str()));
        }
        let answer = self.http.send(method, path, &all, body).await?;
        for cookie in answer.headers.get_all("set-cookie") {
            self.take_cookie(cookie.to_str().unwrap_or_default());
        }
        Ok(answer)
    }

    fn take_cookie(&mut self, cookie: &str) {
        let mut parts = cookie.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.trim().split_once('=')) else { return };
        let gone = parts.any(|part| part.trim().eq_ignore_ascii_case("max-age=0")) || value.is_empty() || value == "\"\"";
        self.set_cookie(name, (!gone).then_some(value));
    }
}

/// The value of the hidden field `csrfmiddlewaretoken` in a page.
pub fn hidden_token(page: &str) -> Option<&str> {
    let (_, after) = page.split_once("name=\"csrfmiddlewaretoken\"")?;
    let (_, value) = after.split_once("value=\"")?;
    value.split('"').next()
}
