//! What only the monolith can read, it is asked: who is this, and, when modern logs somebody out, to end it. A small view of the
//! monolith answers (`docs/identity.md` shows it). At most so many questions are under way at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use ficus_rules::route::Request as _;
use http::header::{COOKIE, HOST, HeaderName, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::login::User;
use super::memory::{Found, Memory};
use super::outgoing::whole;
use super::store::{Failure, LIMIT};
use crate::Error;
use crate::asked::Asked;
use crate::config::MonolithIdentity;
use crate::transport::{Asker, Transports};

/// What it is called where its connections are made.
const NAME: &str = "monolith";

/// By which the monolith knows that it is us who ask.
const KEY: HeaderName = HeaderName::from_static("x-ficus-key");

/// The monolith, asked.
pub(super) struct Monolith {
    settings: MonolithIdentity,
    transports: Arc<Transports>,
    asker: Asker,
    places: Semaphore,
    memory: Memory,
}

/// What it answers.
#[derive(Deserialize)]
struct Answer {
    user: Option<Told>,
    csrf: Option<String>,
}

#[derive(Deserialize)]
struct Told {
    id: Id,
    username: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(i64),
}

impl Monolith {
    pub(super) fn new(settings: MonolithIdentity) -> Result<Monolith, Error> {
        let transports = Arc::new(Transports::to(NAME, &settings.transport).map_err(Error::Certificate)?);
        let asker = Asker::new(transports.clone(), true);
        let memory = Memory::new(settings.cache_for);
        Ok(Monolith { places: Semaphore::new(settings.at_once), settings, transports, asker, memory })
    }

    /// The cookies that it is asked about.
    pub(super) fn cookies(&self) -> impl Iterator<Item = &str> {
        self.settings.cookies.iter().map(String::as_str)
    }

    /// Whether a request brings one of them.
    pub(super) fn concerns(&self, asked: &Asked) -> bool {
        self.cookies().any(|name| asked.cookie(name).is_some())
    }

    /// Whether it answers, and knows our key.
    pub(super) async fn check(&self) -> Result<(), String> {
        let asked = self.exchange(Method::GET, "ficus-check=1", &Asked::default(), None).await;
        let told = |why: String| format!("{}: {why}", self.settings.path);
        let (_, body) = asked.map_err(|failed| told(failed.to_string()))?;
        serde_json::from_slice::<Answer>(&body).map(drop).map_err(|error| told(format!("the answer is not what it should be: {error}")))
    }

    /// Who sent a request.
    pub(super) async fn find(&self, asked: &Asked, address: Option<&str>) -> Found {
        let cookies = self.shown(asked);
        self.memory.recall(&key(&cookies, asked, address), || self.ask(&cookies, asked, address)).await
    }

    /// Asks anew next time.
    pub(super) fn forget(&self, asked: &Asked, address: Option<&str>) {
        self.memory.forget(&key(&self.shown(asked), asked, address));
    }

    /// Looks for changed files of certificates.
    pub(super) fn look(&self) {
        self.transports.look();
    }

    /// Whether the last question had no answer.
    pub(super) fn is_unread(&self) -> bool {
        self.memory.is_unread()
    }

    /// Ends a session. What the monolith says of cookies belongs into the answer to the client.
    pub(super) async fn log_out(&self, asked: &Asked, address: Option<&str>) -> Result<HeaderMap, Failure> {
        let cookies = self.shown(asked);
        let ended = self.exchange(Method::DELETE, &cookies, asked, address).await.map(|(headers, _)| headers);
        self.forget(asked, address);
        ended
    }

    async fn ask(&self, cookies: &str, asked: &Asked, address: Option<&str>) -> Result<Found, Failure> {
        let (_, body) = self.exchange(Method::GET, cookies, asked, address).await?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| "the monolith's answer is not what it should be")?;
        let user = answer.user.map(|told| {
            let id = match told.id {
                Id::Text(id) => id,
                Id::Number(id) => id.to_string(),
            };
            let username = told.username.unwrap_or_else(|| id.clone());
            Arc::new(User { id, username, roles: told.roles, attributes: told.attributes })
        });
        Ok(Found::Session { user, csrf: answer.csrf.map(Into::into) })
    }

    async fn exchange(
        &self,
        method: Method,
        cookies: &str,
        asked: &Asked,
        address: Option<&str>,
    ) -> Result<(HeaderMap, bytes::Bytes), Failure> {
        let _place = self.places.acquire().await?;
        let host = asked.header("host").unwrap_or(&self.settings.address);
        let mut question = Request::builder()
            .method(method)
            .uri(&self.settings.path)
            .header(HOST, host)
            .header(COOKIE, cookies)
            .header(KEY, &self.settings.key);
        for (name, value) in [(USER_AGENT.as_str(), asked.header("user-agent")), ("x-forwarded-for", address)] {
            if let Some(value) = value {
                question = question.header(name, value);
            }
        }
        let question = question.body(Full::default())?;
        match whole(self.asker.ask(NAME, &self.settings.address, question), LIMIT).await? {
            (StatusCode::OK, headers, body) => Ok((headers, body)),
            (status, ..) => Err(format!("the monolith answers {status} when it is asked who calls").into()),
        }
    }

    /// The cookies of a request that it is asked about, as one header. Of several of one name it says itself which counts.
    fn shown(&self, asked: &Asked) -> String {
        let pairs = self.cookies().flat_map(|name| asked.cookies_of(name).map(move |value| format!("{name}={value}")));
        pairs.collect::<Vec<_>>().join("; ")
    }
}

/// All that makes another answer.
fn key<'a>(cookies: &'a str, asked: &'a Asked, address: Option<&'a str>) -> [&'a str; 3] {
    [cookies, asked.header("user-agent").unwrap_or_default(), address.unwrap_or_default()]
}
