//! The mirror: asks the side that does not own what the owner was asked, by the same method, and compares. Own client, own
//! runtime, a few at a time. Of writes, which are asked once: [`rehearse`].
//!
//! An answer that differs is no verdict yet, because a row may have changed between the two questions, or have not
//! arrived on the other side. Then both are asked again, the owner before and after the other: only when the owner agrees with
//! itself and the other with neither, and the same once more a moment later, the difference counts. Where legacy does not agree
//! with itself, twice at the same place, that place is noise and left out; a route that is known for it costs one more
//! question to legacy from then on. What will not stand still otherwise is dropped.

mod rehearse;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ficus_rules::access::{HIDDEN, without_secrets};
use ficus_rules::claims::Claim;
use ficus_rules::parity::{Answer, Difference, Leniency, Noise, compare};
use ficus_rules::wire::DifferenceSample;
use ficus_rules::{Side, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{Capture, Copied, Dropped, LARGEST, coding, dropped, is_fresh, joined};
use crate::asked::Asked;
use crate::carried::Carried;
use crate::forward::{self, Peer};
use crate::gateway::Inner;
use crate::hops;
use crate::identity::User;
use crate::metrics::metrics;
use crate::plugins;
use crate::spans::{self, Trace};
use crate::traffic::CapabilityCounters;
use crate::transport::Asker;

/// Comparisons at once.
const AT_ONCE: usize = 8;
/// How long modern's copy may take to become as fresh as the answer.
const FRESH_WITHIN: Duration = Duration::from_secs(1);
/// How long a side may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often both sides are asked again, and how long after one another.
const TIMES: usize = 5;
const APART: Duration = Duration::from_millis(100);
/// Routes whose noise is remembered.
const NOISY_ROUTES: usize = 1024;

/// What there is to do.
pub(crate) enum Task {
    /// Legacy has answered a read, at a time.
    Compare(Job, Capture, Timestamp),
    /// Legacy is asked to carry a write out, with a body; its answer will come.
    Rehearse(Job, Copied, oneshot::Receiver<(Capture, Timestamp)>),
}

/// A request that legacy was sent.
pub(crate) struct Job {
    asked: Asked,
    peer: Peer,
    request_id: String,
    user: Option<Arc<User>>,
    trace: Trace,
    claims: BTreeMap<String, Claim>,
    counters: Arc<CapabilityCounters>,
    epoch: u64,
    legacy: String,
    modern: String,
    /// What the client sent, as plugins changed it.
    headers: HeaderMap,
    route: String,
    leniency: Leniency,
    /// The capability keeps rows, which come to modern a moment after legacy has them.
    has_copy: bool,
    target: String,
    modern_target: String,
    /// Whose answer the client got.
    owner: Side,
    /// It is a write, for modern to take back.
    rehearses: bool,
    /// Legacy looks at its CSRF token.
    csrf: bool,
    at: Timestamp,
}

/// What became of it.
enum Verdict {
    Same,
    /// The two statuses, and where the answers differ.
    Different(u16, u16, Vec<Difference>),
}

/// Why there is no verdict.
enum Failure {
    /// A side gave no answer.
    NoAnswer,
    /// The answers cannot be compared.
    Dropped(Dropped),
}

impl From<Dropped> for Failure {
    fn from(why: Dropped) -> Self {
        Failure::Dropped(why)
    }
}

impl Job {
    /// What the mirror needs of a request.
    pub(crate) fn of(carried: &Carried, counters: Arc<CapabilityCounters>) -> Job {
        let rules = &carried.snapshot.rules.capabilities[&counters.name];
        let path = &carried.asked.path;
        let mirrored = carried.decision.as_ref().and_then(|decision| match carried.side {
            Side::Legacy => decision.mirror_path.as_deref(),
            Side::Modern => decision.upstream_path.as_deref(),
        });
        let target = |side, other| {
            let same = || match carried.asked.query.as_str() {
                "" => path.clone(),
                query => format!("{path}?{query}"),
            };
            plugins::target(carried, side, other, path).unwrap_or_else(same)
        };
        let mut headers = end_to_end(carried.asked.headers());
        plugins::on_the_way_there(carried, &mut headers);
        Job {
            claims: rules.claims.clone(),
            user: carried.login.as_ref().and_then(|login| login.user()).cloned(),
            epoch: carried.serving().epoch,
            legacy: rules.legacy.clone(),
            modern: rules.modern.clone(),
            target: target(Side::Legacy, None),
            modern_target: target(Side::Modern, mirrored),
            owner: carried.side,
            headers,
            route: carried.decision.as_ref().and_then(|decision| decision.route.clone()).unwrap_or_default(),
            leniency: rules.leniency.clone(),
            has_copy: !rules.tables.is_empty(),
            asked: carried.asked.clone(),
            peer: carried.peer.clone(),
            request_id: carried.request_id.clone(),
            trace: carried.trace,
            rehearses: carried.decided(|decision| decision.write),
            csrf: carried.route().is_some_and(|route| route.csrf),
            at: Timestamp::from(SystemTime::now()),
            counters,
        }
    }
}

impl Job {
    /// Where two answers to it differ.
    fn compare(&self, legacy: &Answer, modern: &Answer, noise: &Noise) -> Vec<Difference> {
        compare(&self.asked.method, legacy, modern, &self.leniency, noise)
    }

    /// Where the answers of the owner and of the other side do.
    fn differ(&self, owners: &Answer, other: &Answer, noise: &Noise) -> Vec<Difference> {
        let (legacy, modern) = self.as_legacy_and_modern(owners, other);
        self.compare(legacy, modern, noise)
    }

    fn as_legacy_and_modern<'a>(&self, owners: &'a Answer, other: &'a Answer) -> (&'a Answer, &'a Answer) {
        match self.owner {
            Side::Legacy => (owners, other),
            Side::Modern => (other, owners),
        }
    }
}

/// Works the queue off until it is closed.
pub(crate) async fn run(gateway: Arc<Inner>, mut tasks: mpsc::Receiver<Task>) {
    let mirror = Arc::new(Mirror { client: Asker::new(gateway.transports.clone(), true), gateway, noise: Mutex::default() });
    let room = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(task) = tasks.recv().await {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let mirror = mirror.clone();
        tokio::spawn(async move {
            mirror.judge(task).await;
            drop(permit);
        });
    }
}

struct Mirror {
    gateway: Arc<Inner>,
    client: Asker,
    /// The noise of each route that has some.
    noise: Mutex<HashMap<String, Noise>>,
}

impl Mirror {
    async fn judge(&self, task: Task) {
        let (job, verdict) = match task {
            Task::Compare(job, answer, answered) => {
                let verdict = self.verdict(&job, answer, answered).await;
                (job, verdict)
            }
            Task::Rehearse(job, body, legacy) => {
                let verdict = self.rehearse(&job, body, legacy).await;
                (job, verdict)
            }
        };
        let count = |counter: &AtomicU64, verdict: &str| {
            counter.fetch_add(1, Ordering::Relaxed);
            metrics().shadow.with_label_values(&[&*job.counters.name, verdict]).inc();
        };
        match verdict {
            Ok(Verdict::Same) => count(&job.counters.shadow.same, "same"),
            Ok(Verdict::Different(legacy, modern, differences)) => {
                // First the sample: whoever sees the count finds it.
                self.keep(&job, legacy, modern, differences);
                count(&job.counters.shadow.different, "different");
            }
            Err(Failure::Dropped(why)) => dropped(&job.counters, why),
            Err(Failure::NoAnswer) => count(&job.counters.shadow.failed, "failed"),
        }
    }

    async fn verdict(&self, job: &Job, answer: Capture, answered: Timestamp) -> Result<Verdict, Failure> {
        let differ = |owners: &Answer, other: &Answer, noise: &Noise| job.differ(owners, other, noise);
        let none = Noise::default();
        let first = answer.answer()?;
        drop(answer);
        self.wait_until_fresh(job, answered).await;
        let other = self.ask_side(job, job.owner.other()).await?;
        if differ(&first, &other, &none).is_empty() {
            return Ok(Verdict::Same);
        }
        let known = self.known_noise(job);
        if !known.is_empty() && differ(&first, &other, &known).is_empty() {
            // Legacy is asked once more, to tell whether it is noise this time, too.
            let again = self.ask_side(job, Side::Legacy).await?;
            let of_legacy = if job.owner == Side::Legacy { &first } else { &other };
            let here = Noise::between(&job.compare(of_legacy, &again, &none));
            if differ(&first, &other, &here).is_empty() {
                return Ok(Verdict::Same);
            }
        }
        let mut shown: Option<(Answer, Answer, Noise)> = None;
        for _ in 0..TIMES {
            let before = self.ask_side(job, job.owner).await?;
            let fresh = self.wait_until_fresh(job, Timestamp::from(SystemTime::now())).await;
            let other = self.ask_side(job, job.owner.other()).await?;
            if differ(&before, &other, &none).is_empty() {
                return Ok(Verdict::Same);
            }
            let other_again = match job.owner {
                Side::Legacy => None,
                Side::Modern => Some(self.ask_side(job, Side::Legacy).await?),
            };
            let after = self.ask_side(job, job.owner).await?;
            let mut noise = Noise::between(&job.compare(&before, &after, &none));
            if let Some(again) = &other_again {
                noise.add(&Noise::between(&job.compare(&other, again, &none)));
            }
            let stands = |noise: &Noise| {
                let other_stands = other_again.as_ref().is_none_or(|again| job.compare(&other, again, noise).is_empty());
                job.compare(&before, &after, noise).is_empty() && other_stands
            };
            let stood = fresh && stands(&noise);
            if let Some((owners, others, last)) = shown.filter(|_| stood) {
                // What changed in one of the two rounds alone was written meanwhile; in both, it is the path's own noise.
                let steady = last.and(&noise);
                // What is written and taken back meanwhile passes once, and not in the same way twice.
                let again = job.compare(&owners, &before, &steady).is_empty() && job.compare(&others, &other, &steady).is_empty();
                if stands(&steady) && again {
                    self.learn(job, &steady);
                    let differences = differ(&before, &other, &steady);
                    let (legacy, modern) = job.as_legacy_and_modern(&before, &other);
                    return Ok(match differences.is_empty() {
                        true => Verdict::Same,
                        false => Verdict::Different(legacy.status, modern.status, differences),
                    });
                }
            }
            shown = stood.then_some((before, other, noise));
            tokio::time::sleep(APART).await;
        }
        Err(Dropped::Unsettled.into())
    }

    /// An answer of a side. Without one of legacy's there is nothing that modern's could differ from; one that fails while modern
    /// owns says nothing either: legacy's tables are fenced, and a read of it may write.
    async fn ask_side(&self, job: &Job, side: Side) -> Result<Answer, Failure> {
        match (self.ask(job, side).await, side) {
            (Err(Failure::NoAnswer), Side::Legacy) => Err(Dropped::Unsettled.into()),
            (Ok(answer), Side::Legacy) if job.owner == Side::Modern && answer.status >= 500 => Err(Dropped::LegacyRefused.into()),
            (answered, _) => answered,
        }
    }

    fn known_noise(&self, job: &Job) -> Noise {
        self.noise.lock().unwrap_or_else(PoisonError::into_inner).get(&job.route).cloned().unwrap_or_default()
    }

    /// Remembers the noise of a route. When there is no room, all is learnt anew.
    fn learn(&self, job: &Job, noise: &Noise) {
        let mut known = self.noise.lock().unwrap_or_else(PoisonError::into_inner);
        if noise.is_empty() {
            return;
        }
        if known.len() >= NOISY_ROUTES && !known.contains_key(&job.route) {
            known.clear();
        }
        known.entry(job.route.clone()).or_default().add(noise);
    }

    /// Whether modern's copy has all that legacy had at a time. Of a capability that keeps no rows there is none; otherwise a
    /// copy that nobody speaks of, as while the agent is away after an epoch began, may be any age.
    async fn wait_until_fresh(&self, job: &Job, answered: Timestamp) -> bool {
        let deadline = tokio::time::Instant::now() + FRESH_WITHIN;
        loop {
            let around = self.gateway.around.circumstances(std::time::Instant::now());
            let known = around.freshness.get(&job.counters.name).filter(|freshness| freshness.epoch == job.epoch);
            if (known.is_none() && !job.has_copy) || is_fresh(known.map(|freshness| freshness.through), answered) {
                return true;
            }
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks a side; once more when there is no answer, for a connection that was kept may just have ended.
    async fn ask(&self, job: &Job, side: Side) -> Result<Answer, Failure> {
        match self.ask_once(job, side).await {
            Err(Failure::NoAnswer) => {
                tokio::time::sleep(APART).await;
                self.ask_once(job, side).await
            }
            answered => answered,
        }
    }

    async fn ask_once(&self, job: &Job, side: Side) -> Result<Answer, Failure> {
        self.asked(job, side, Bytes::new()).await.map(|(_, answer)| answer)
    }

    /// Asks a side once: the headers of its answer, and what of it is compared.
    async fn asked(&self, job: &Job, side: Side, body: Bytes) -> Result<(HeaderMap, Answer), Failure> {
        let upstream = if side == Side::Legacy { &job.legacy } else { &job.modern };
        let lease = self.gateway.upstreams.lease(upstream).ok_or(Failure::NoAnswer)?;
        let request = self.request(job, side, body).ok_or(Failure::NoAnswer)?;
        let asked = async {
            let (answered, body) =
                self.client.ask(upstream, lease.instance().authority(), request).await.map_err(|_| Failure::NoAnswer)?.into_parts();
            let body = Limited::new(body, LARGEST).collect().await.map_err(|error| match error.is::<LengthLimitError>() {
                true => Failure::Dropped(Dropped::TooLarge),
                false => Failure::NoAnswer,
            });
            // Nobody was asked to pack it, but some do anyway.
            let coding = joined(&answered.headers, header::CONTENT_ENCODING.as_str()).unwrap_or_default();
            let body = coding::undo(&coding, &body?.to_bytes())?;
            let answer = Answer { body, ..self.gateway.shadow.head(answered.status.as_u16(), &answered.headers) };
            Ok((answered.headers, answer))
        };
        tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or(Err(Failure::NoAnswer))
    }

    fn request(&self, job: &Job, side: Side, body: Bytes) -> Option<Request<Full<Bytes>>> {
        let (upstream, target) = match side {
            Side::Legacy => (&job.legacy, &job.target),
            Side::Modern => (&job.modern, &job.modern_target),
        };
        let request = Request::builder().method(job.asked.method.as_str()).uri(target);
        let mut request = request.body(Full::new(body)).ok()?;
        *request.headers_mut() = self.headers(job, side, upstream);
        Some(request)
    }

    fn headers(&self, job: &Job, side: Side, upstream: &str) -> HeaderMap {
        let mut headers = job.headers.clone();
        // The mirror wants the whole answer as it is, whatever the client had of it already; what a write is made under stays.
        let had = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE].into_iter().filter(|_| !job.rehearses);
        for name in had.chain([header::RANGE, header::IF_RANGE, header::ACCEPT_ENCODING]) {
            headers.remove(name);
        }
        if job.rehearses {
            headers.insert(rehearse::DRY_RUN, HeaderValue::from_static("1"));
        }
        if let Ok(id) = HeaderValue::from_str(&job.request_id) {
            headers.insert("x-request-id", id);
        }
        if let Ok(parent) = HeaderValue::from_str(&job.trace.header(spans::span_id())) {
            headers.insert("traceparent", parent);
        }
        headers.insert("x-ficus-shadow", HeaderValue::from_static("1"));
        if let Some(path) = HeaderValue::from_str(&job.asked.path).ok().filter(|_| side == Side::Modern) {
            headers.insert("x-ficus-original-path", path);
        }
        for name in forward::hearsay(&job.peer, &job.asked) {
            headers.remove(name);
        }
        let mut set = |name: HeaderName, value| match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        };
        forward::identify(&self.gateway, &job.asked, job.user.as_ref().map(|user| (user, &job.claims)), side, upstream, &mut set);
        forward::forwarded(&job.peer, &job.asked, &mut set);
        headers
    }

    fn keep(&self, job: &Job, legacy_status: u16, modern_status: u16, mut differences: Vec<Difference>) {
        let path = without_secrets(&job.asked.path, &self.gateway.config.hide_paths_after).into_owned();
        if path != job.asked.path {
            // Answers to such a path name it: in links, forms and redirects.
            for difference in &mut differences {
                (difference.legacy, difference.modern) = (HIDDEN.to_owned(), HIDDEN.to_owned());
            }
        }
        tracing::debug!(capability = job.counters.name, path, count = differences.len(), "answers differ");
        self.gateway.shadow.differences.add(DifferenceSample {
            capability: job.counters.name.clone(),
            at: job.at,
            method: job.asked.method.clone(),
            path,
            legacy_status,
            modern_status,
            differences,
        });
    }
}

/// The headers without those that speak of one connection (RFC 9110, 7.6.1), or of a body's length, which a copy has anew.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    for name in hops::of_one_hop(headers).chain([header::CONTENT_LENGTH, header::EXPECT]) {
        kept.remove(name);
    }
    kept
}
