//! What one person does: mostly reads, and writes whose effect the next read must show.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::caller::Caller;
use crate::http::Answer;
use crate::ledger::{Ledger, Outcome, Timing, Write};
use crate::load::noticed;

/// One person, at one browser, doing one thing after the other.
#[derive(Debug)]
pub(super) struct Person {
    caller: Caller,
    ledger: Ledger,
    dice: StdRng,
    admin: bool,
    /// The address that the person set last and the side that took it.
    address: Option<(String, String)>,
    /// Addresses of which it is not known what became: each may still take effect, at any time. A killed gateway leaves
    /// requests in the monolith's backlog.
    open: Vec<String>,
    /// The last note's text.
    note: Option<String>,
    /// Users that this admin made and may remove.
    made: Vec<(i64, String)>,
}

impl Person {
    pub(super) fn new(caller: Caller, ledger: Ledger, seed: u64, admin: bool) -> Person {
        Person { caller, ledger, dice: StdRng::seed_from_u64(seed), admin, address: None, open: Vec::new(), note: None, made: Vec::new() }
    }

    /// Does one thing.
    pub(super) async fn act(&mut self) {
        let choice = self.dice.random_range(0..100);
        match choice {
            0..15 if self.admin => self.make_user().await,
            15..22 if self.admin => self.remove_user().await,
            0..18 if !self.admin => self.move_house().await,
            18..24 if !self.admin => self.fill_form().await,
            24..40 => self.write_note().await,
            40..62 => self.read_self().await,
            62..74 => self.read_notes().await,
            74..84 => self.read("/api/v1/users/?page_size=20").await,
            84..90 => self.read("/accounts/profile/").await,
            90..94 => self.read("/api/v1/courses/").await,
            94..97 => self.read("/").await,
            _ => self.read("/api/v1/users/health/").await,
        }
    }

    async fn move_house(&mut self) {
        let address = self.ledger.token("address");
        let path = format!("/api/v1/users/{}/", self.caller.id);
        let answer = self.write(Method::PATCH, &path, &json!({ "address": address })).await;
        self.settled_address(address, &answer, StatusCode::OK);
        self.read_self().await;
    }

    /// The HTML form, as a browser posts it: page, hidden token, redirect.
    async fn fill_form(&mut self) {
        let Some(page) = self.fetch("/accounts/profile/").await.filter(|page| page.status == StatusCode::OK) else { return };
        let address = self.ledger.token("address");
        let email = format!("{}@example.test", self.caller.id);
        let fields = [("first_name", "Ada"), ("last_name", "Ray"), ("email", email.as_str()), ("address", address.as_str())];
        let sent = Instant::now();
        let answer = self.caller.submit("/accounts/profile/", &page, &fields).await;
        let answer = self.answered("POST /accounts/profile/", Timing::since(sent, true), false, answer);
        // A redirect to the log-in is no acknowledgement.
        let answer = answer.filter(|answer| answer.status != StatusCode::FOUND || answer.header("location") == Some("/accounts/profile/"));
        self.settled_address(address, &answer, StatusCode::FOUND);
        self.read_self().await;
    }

    fn settled_address(&mut self, address: String, answer: &Option<Answer>, done: StatusCode) {
        let outcome = outcome(answer, done);
        self.ledger.wrote(Write::Address { user: self.caller.id }, &address, outcome);
        match outcome {
            Outcome::Acknowledged => {
                let side = answer.as_ref().and_then(|answer| answer.header("x-ficus-side")).unwrap_or("?");
                self.address = Some((address, side.to_owned()));
            }
            Outcome::Refused => {}
            Outcome::Unknown => self.open.push(address),
        }
    }

    async fn write_note(&mut self) {
        let text = self.ledger.token("note");
        let path = format!("/api/v1/users/{}/notes/", self.caller.id);
        let answer = self.write(Method::POST, &path, &json!({ "text": text })).await;
        let outcome = outcome(&answer, StatusCode::CREATED);
        self.ledger.wrote(Write::Note, &text, outcome);
        if outcome == Outcome::Acknowledged {
            self.note = Some(text);
        }
        self.read_notes().await;
    }

    async fn make_user(&mut self) {
        let username = self.ledger.token("made");
        let body =
            json!({ "username": username, "password": "not-used-1", "role": "student", "email": "made@example.test", "address": "new" });
        let answer = self.write(Method::POST, "/api/v1/users/", &body).await;
        let outcome = outcome(&answer, StatusCode::CREATED);
        self.ledger.wrote(Write::Create, &username, outcome);
        let id = answer.and_then(|answer| answer.json().ok()).and_then(|user| user["id"].as_i64());
        if let (Outcome::Acknowledged, Some(id)) = (outcome, id) {
            let seen = self.fetch(&format!("/api/v1/users/{id}/")).await;
            if seen.is_some_and(|answer| answer.status == StatusCode::NOT_FOUND) {
                self.ledger.stale(format!("user {username} ({id}) was made and not found"));
            }
            self.made.push((id, username));
        }
    }

    async fn remove_user(&mut self) {
        if self.made.len() < 5 {
            return self.make_user().await;
        }
        let (id, username) = self.made.remove(0);
        let path = format!("/api/v1/users/{id}/");
        let answer = self.write(Method::DELETE, &path, &Value::Null).await;
        let outcome = outcome(&answer, StatusCode::NO_CONTENT);
        self.ledger.wrote(Write::Delete, &username, outcome);
        if outcome == Outcome::Acknowledged {
            let seen = self.fetch_removed(&path).await;
            if seen.is_some_and(|answer| answer.status == StatusCode::OK) {
                self.ledger.stale(format!("user {username} ({id}) was removed and found"));
            }
        }
    }

    async fn read_self(&mut self) {
        let Some(answer) = self.fetch(&format!("/api/v1/users/{}/", self.caller.id)).await else { return };
        let (Some((expected, written)), Ok(user)) = (&self.address, answer.json()) else { return };
        let found = &user["profile"]["address"];
        let late = self.open.iter().any(|open| *found == json!(open));
        if answer.status == StatusCode::OK && *found != json!(expected) && !late {
            let read = answer.header("x-ficus-side").unwrap_or("?");
            self.ledger.stale(format!("user {} wrote {expected} to {written} and read {found} from {read}", self.caller.id));
        }
    }

    async fn read_notes(&mut self) {
        let Some(answer) = self.fetch(&format!("/api/v1/users/{}/notes/", self.caller.id)).await else { return };
        let (Some(expected), Ok(notes)) = (&self.note, answer.json()) else { return };
        let found = notes["results"].as_array().is_some_and(|notes| notes.iter().any(|note| note["text"] == json!(expected)));
        if answer.status == StatusCode::OK && !found {
            self.ledger.stale(format!("user {} wrote {expected} and did not find it", self.caller.id));
        }
    }

    async fn read(&mut self, path: &str) {
        self.fetch(path).await;
    }

    async fn fetch(&mut self, path: &str) -> Option<Answer> {
        let sent = Instant::now();
        let answer = self.caller.get(path).await;
        self.answered(&format!("GET {path}"), Timing::since(sent, false), false, answer)
    }

    /// Asks for what was just removed.
    async fn fetch_removed(&mut self, path: &str) -> Option<Answer> {
        let sent = Instant::now();
        let answer = self.caller.get(path).await;
        self.answered(&format!("GET {path}, removed"), Timing::since(sent, false), true, answer)
    }

    async fn write(&mut self, method: Method, path: &str, body: &Value) -> Option<Answer> {
        let what = format!("{method} {path}");
        let sent = Instant::now();
        let answer = match body {
            Value::Null => {
                let token = self.caller.cookie("csrftoken").unwrap_or_default().to_owned();
                self.caller.send(method, path, &[("x-csrftoken", token.as_str())], Bytes::new()).await
            }
            body => self.caller.send_json(method, path, body).await,
        };
        self.answered(&what, Timing::since(sent, true), false, answer)
    }

    /// Notes the time, and everything that a user would call a failure.
    fn answered(&self, what: &str, timing: Timing, gone: bool, answer: Result<Answer>) -> Option<Answer> {
        let side = answer.as_ref().ok().and_then(|answer| answer.header("x-ficus-side"));
        self.ledger.answered(timing, side);
        match &answer {
            Ok(answer) => {
                if let Some(kind) = noticed::failure(answer, gone) {
                    let text: String = answer.text().chars().take(160).collect();
                    self.ledger.failed(&kind, side, format!("{what}: {} from {side:?}: {text}", answer.status));
                }
            }
            Err(error) => {
                let kind = if error.to_string().starts_with("timed out") { "timeout" } else { "broken" };
                self.ledger.failed(kind, side, format!("{what}: {error:#}"));
            }
        }
        answer.ok()
    }
}

/// What a write's answer says of the write. A 5xx leaves it open, but for 503: the gateway and the services give it
/// before anything is done.
fn outcome(answer: &Option<Answer>, done: StatusCode) -> Outcome {
    match answer {
        Some(answer) if answer.status == done => Outcome::Acknowledged,
        Some(answer) if answer.status.is_client_error() || answer.status == StatusCode::SERVICE_UNAVAILABLE => Outcome::Refused,
        _ => Outcome::Unknown,
    }
}
