//! A small JSON client for the admin API, over HTTP/1.1 on a kept connection, in TLS where the address says so. Of several
//! orchestrators it asks the one that leads, and finds it anew when that one says that it does not, or is silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use ficus_orchestrator::Trust;
use ficus_rules::api::Problem;
use ficus_rules::wire::release;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// For so long each orchestrator is asked whether it leads: the one that is asleep must not keep the next one waiting.
const WHO_LEADS: Duration = Duration::from_millis(300);
/// Pause after nobody said that it leads.
const AGAIN: Duration = Duration::from_millis(100);

/// A client. Clones ask the same orchestrator.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    bases: Arc<[String]>,
    /// Which of them is asked.
    asked: Arc<watch::Sender<usize>>,
    /// None of them led when they were asked last: they are asked again before anything is sent.
    lost: Arc<AtomicBool>,
    token: Option<String>,
}

/// What became of a request.
enum Sent {
    Answered(Answer),
    /// It was not carried out, or means the same when it is sent to another one.
    Undone(anyhow::Error),
    /// It was not carried out, and the one that leads is there.
    Elsewhere(String, anyhow::Error),
    /// Nobody knows whether it was.
    Lost(anyhow::Error),
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).context("the orchestrator's answer is not what this version understands")
    }

    /// What the server says is wrong, complaints about rule files included.
    pub(crate) fn detail(&self) -> String {
        let Ok(problem) = serde_json::from_slice::<Problem>(&self.body) else {
            return format!("the orchestrator answered {}", self.status);
        };
        let mut lines = vec![problem.detail];
        lines.extend(problem.complaints.iter().map(ToString::to_string));
        lines.join("\n")
    }
}

impl Http {
    /// A client of the orchestrators at these addresses, like `http://127.0.0.1:7070`.
    pub(crate) fn new(bases: &[String], token: Option<String>, trust: &Trust) -> Http {
        let client = Client::builder(TokioExecutor::new()).build(trust.connector());
        let bases = bases.iter().map(|base| base.trim_end_matches('/').to_owned()).collect();
        Http { client, bases, asked: Arc::new(watch::Sender::new(0)), lost: Arc::default(), token }
    }

    /// Sends a request without a body.
    pub(crate) async fn get(&self, path: &str, limit: Duration) -> Result<Answer> {
        self.send(Method::GET, path, Bytes::new(), limit).await
    }

    /// Sends a request with a JSON body.
    pub(crate) async fn send_json<B: Serialize>(&self, method: Method, path: &str, body: &B, limit: Duration) -> Result<Answer> {
        self.send(method, path, serde_json::to_vec(body)?.into(), limit).await
    }

    async fn send(&self, method: Method, path: &str, body: Bytes, limit: Duration) -> Result<Answer> {
        if self.lost.load(Ordering::Relaxed) && !self.find().await {
            bail!("no orchestrator leads, of {}", self.bases.join(", "));
        }
        let sent = self.send_once(&method, path, &body, limit).await;
        if self.bases.len() < 2 {
            // One address may stand for several, whose kept connection leads to the same one again.
            return match sent {
                Sent::Elsewhere(leader, _) => self.send_to(&leader, &method, path, &body, limit).await.into_result(),
                sent => sent.into_result(),
            };
        }
        match sent {
            Sent::Answered(answer) if answer.status != StatusCode::SERVICE_UNAVAILABLE => Ok(answer),
            Sent::Undone(_) | Sent::Elsewhere(..) if self.find().await => self.send_once(&method, path, &body, limit).await.into_result(),
            sent @ (Sent::Undone(_) | Sent::Elsewhere(..)) => sent.into_result(),
            // It is ending, its store is away, or it is silent: the next request goes to who leads then.
            sent => {
                self.find().await;
                sent.into_result()
            }
        }
    }

    async fn send_once(&self, method: &Method, path: &str, body: &Bytes, limit: Duration) -> Sent {
        let mut asked = self.asked.subscribe();
        let base = &self.bases[*asked.borrow_and_update()];
        tokio::select! {
            sent = self.send_to(base, method, path, body, limit) => sent,
            // Only long polls and reports are under way beside others, and they may be repeated.
            Ok(()) = asked.changed() => Sent::Undone(anyhow!("the orchestrator at {base} leads no longer")),
        }
    }

    async fn send_to(&self, base: &str, method: &Method, path: &str, body: &Bytes, limit: Duration) -> Sent {
        let exchange = async {
            let answer = match self.client.request(self.request(base, method, path, body)?).await {
                Err(error) if error.is_connect() => return Ok(Err(error)),
                answer => answer?,
            };
            let (head, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Ok((head.headers, Answer { status: head.status, body })))
        };
        let unreached = || format!("the orchestrator at {base} cannot be reached");
        match tokio::time::timeout(limit, exchange).await {
            Ok(Ok(Ok((headers, answer)))) => judged(base, &headers, answer),
            Ok(Ok(Err(error))) => Sent::Undone(anyhow!(error).context(unreached())),
            Ok(Err(error)) => Sent::Lost(error.context(unreached())),
            Err(_) => Sent::Lost(anyhow!("the orchestrator at {base} did not answer within {limit:?}")),
        }
    }

    fn request(&self, base: &str, method: &Method, path: &str, body: &Bytes) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(format!("{base}{path}")).header("content-type", "application/json");
        request = request.header(release::HEADER, release::RELEASE);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        Ok(request.body(Full::new(body.clone()))?)
    }

    /// Asks all of them at once who leads; whether one does.
    async fn find(&self) -> bool {
        let mut asking = JoinSet::new();
        for at in 0..self.bases.len() {
            let http = self.clone();
            asking.spawn(async move { http.leads(at).await.then_some(at) });
        }
        while let Some(answer) = asking.join_next().await {
            if let Ok(Some(leads)) = answer {
                self.lost.store(false, Ordering::Relaxed);
                self.asked.send_if_modified(|asked| std::mem::replace(asked, leads) != leads);
                return true;
            }
        }
        self.lost.store(true, Ordering::Relaxed);
        tokio::time::sleep(AGAIN).await;
        false
    }

    async fn leads(&self, at: usize) -> bool {
        let Ok(request) = self.request(&self.bases[at], &Method::GET, "/leader", &Bytes::new()) else { return false };
        let answer = tokio::time::timeout(WHO_LEADS, self.client.request(request)).await;
        matches!(answer, Ok(Ok(answer)) if answer.status() == StatusCode::OK)
    }
}

/// Whether the answer is one of a leader, and of a release that is understood.
fn judged(base: &str, headers: &HeaderMap, answer: Answer) -> Sent {
    let said = headers.get(release::HEADER).map(|said| said.to_str().unwrap_or_default());
    if let Err(apart) = release::neighbour(said) {
        return Sent::Lost(anyhow!(apart).context(format!("the orchestrator at {base} is of another time")));
    }
    // One that stands by says where to go, or when to ask again.
    let nobody = answer.status == StatusCode::SERVICE_UNAVAILABLE && headers.contains_key(header::RETRY_AFTER);
    match answer.status {
        StatusCode::TEMPORARY_REDIRECT => match leader(base, headers) {
            Some(leader) => Sent::Elsewhere(leader, anyhow!(answer.detail())),
            None => Sent::Undone(anyhow!(answer.detail())),
        },
        _ if nobody => Sent::Undone(anyhow!(answer.detail())),
        _ => Sent::Answered(answer),
    }
}

/// Where it leads to, unless a token would go there less safely than here.
fn leader(base: &str, headers: &HeaderMap) -> Option<String> {
    let there: Uri = headers.get(header::LOCATION)?.to_str().ok()?.parse().ok()?;
    let (scheme, authority) = (there.scheme_str()?, there.authority()?);
    (scheme == "https" || !base.starts_with("https:")).then(|| format!("{scheme}://{authority}"))
}

impl Sent {
    fn into_result(self) -> Result<Answer> {
        match self {
            Sent::Answered(answer) => Ok(answer),
            Sent::Undone(error) | Sent::Elsewhere(_, error) | Sent::Lost(error) => Err(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::atomic::AtomicU32;

    use axum::Router;
    use axum::extract::{Request as Asked, State};
    use axum::response::{IntoResponse as _, Response};

    use super::*;

    /// What stands in for an orchestrator: it leads or not, is of a release, and counts the wishes that it was sent.
    #[derive(Clone, Default)]
    struct Fake {
        leads: Arc<AtomicBool>,
        release: Arc<AtomicU32>,
        wishes: Arc<AtomicU32>,
        /// Where it says that the leader is.
        leader: Arc<std::sync::OnceLock<String>>,
    }

    async fn serve(State(fake): State<Fake>, asked: Asked) -> Response {
        let leads = fake.leads.load(Ordering::SeqCst);
        let status = match (leads, asked.uri().path()) {
            (true, "/wish") => {
                fake.wishes.fetch_add(1, Ordering::SeqCst);
                StatusCode::OK
            }
            (true, _) => StatusCode::OK,
            (false, "/leader") => StatusCode::SERVICE_UNAVAILABLE,
            (false, _) => StatusCode::TEMPORARY_REDIRECT,
        };
        let mut answer = ([(release::HEADER, fake.release.load(Ordering::SeqCst).to_string())], (status, "{}")).into_response();
        if let Some(leader) = fake.leader.get().filter(|_| status == StatusCode::TEMPORARY_REDIRECT) {
            let location = format!("{leader}{}", asked.uri().path()).parse().unwrap();
            answer.headers_mut().insert(header::LOCATION, location);
        }
        answer
    }

    async fn start(leads: bool) -> (Fake, String) {
        let fake = Fake::default();
        fake.leads.store(leads, Ordering::SeqCst);
        fake.release.store(release::RELEASE, Ordering::SeqCst);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(serve).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (fake, base)
    }

    async fn wish(http: &Http) -> Result<StatusCode> {
        http.send_json(Method::POST, "/wish", &(), Duration::from_secs(10)).await.map(|answer| answer.status)
    }

    #[tokio::test]
    async fn whoever_leads_is_asked_once_and_found_again_when_another_one_does() {
        let ((one, first), (other, second)) = (start(false).await, start(true).await);
        let gone = "http://127.0.0.1:1".to_owned();
        let http = Http::new(&[gone, first, second], None, &Trust::public());
        assert_eq!(wish(&http).await.unwrap(), StatusCode::OK);
        assert_eq!((one.wishes.load(Ordering::SeqCst), other.wishes.load(Ordering::SeqCst)), (0, 1));
        other.leads.store(false, Ordering::SeqCst);
        let nobody = wish(&http).await.unwrap_err();
        assert!(wish(&http).await.unwrap_err().to_string().contains("no orchestrator leads"), "{nobody:#}");
        one.leads.store(true, Ordering::SeqCst);
        assert_eq!(wish(&http).await.unwrap(), StatusCode::OK);
        assert_eq!((one.wishes.load(Ordering::SeqCst), other.wishes.load(Ordering::SeqCst)), (1, 1));
    }

    /// The address of a Service in front of several: its connections lead to any of them.
    #[tokio::test]
    async fn one_address_that_stands_for_several_is_led_on_by_them() {
        let ((one, first), (other, second)) = (start(false).await, start(true).await);
        one.leader.set(second).unwrap();
        let http = Http::new(&[first], None, &Trust::public());
        for nth in 1..=2 {
            assert_eq!(wish(&http).await.unwrap(), StatusCode::OK);
            assert_eq!((one.wishes.load(Ordering::SeqCst), other.wishes.load(Ordering::SeqCst)), (0, nth));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, "http://orc-2:7070/wish".parse().unwrap());
        assert_eq!(leader("http://orc-1:7070", &headers).as_deref(), Some("http://orc-2:7070"));
        assert_eq!(leader("https://orc-1:7070", &headers), None, "a token that was given to TLS goes nowhere else");
    }

    #[tokio::test]
    async fn an_answer_of_two_releases_ahead_is_not_believed() {
        let (fake, base) = start(true).await;
        let http = Http::new(&[base], None, &Trust::public());
        for (release, understood) in [(1, true), (2, true), (3, true), (4, false), (0, false)] {
            fake.release.store(release, Ordering::SeqCst);
            let answered = wish(&http).await;
            assert_eq!(answered.is_ok(), understood, "{release}: {answered:?}");
        }
    }
}
