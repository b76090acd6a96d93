//! A store that fails: what was written counts also when its answer was lost, and is published as soon as it can be read;
//! what was not is tried again; and nothing is decided on a view that may be old.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use ficus_rules::api::JournalEntry;
use ficus_rules::audit::Head;
use ficus_rules::migration::{Phase, State};
use ficus_rules::spec::Known;
use ficus_rules::wire::{DifferenceSample, Overrides, RuleFile};
use tokio::sync::Semaphore;
use tower_service::Service as _;

use crate::mandate::Mandate;
use crate::publish::View;
use crate::store::etcd::EtcdError;
use crate::store::sqlite::SqliteStore;
use crate::store::{Change, JournalQuery, Loaded, Note, Store, StoreError, Stored};
use crate::term::Term;
use crate::{Config, fleet};

const RULES: &str =
    "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n\n[[route]]\npath = \"/users/{*rest}\"\n";

const COURSES: &str =
    "[capability]\nname = \"courses\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n\n[[route]]\npath = \"/courses\"\n";

/// More writes of samples than any test has.
const SAMPLES: usize = 1_000;

/// A store, and what goes wrong with it.
struct Lossy {
    store: SqliteStore,
    faults: Arc<Faults>,
}

struct Faults {
    /// The next write is done, and its answer is lost.
    lose: AtomicBool,
    /// The next state is not written.
    refuse: AtomicBool,
    /// No state is written.
    refuse_all: AtomicBool,
    /// Of which capabilities somebody tried to write one meanwhile.
    tried: Mutex<BTreeSet<String>>,
    /// Before the next state is written another one is: a write that was given up, and arrives late.
    overtake: AtomicBool,
    /// Nothing can be read.
    blind: AtomicBool,
    /// No sample is written without a permit of these.
    may_keep: Semaphore,
    /// A permit for each gateway's name that it has begun to drop.
    dropping: Semaphore,
    /// None is dropped without a permit of these.
    may_drop: Semaphore,
}

impl Faults {
    /// One in whose way nothing is.
    fn none() -> Faults {
        let no = AtomicBool::default;
        Faults {
            lose: no(),
            refuse: no(),
            refuse_all: no(),
            tried: Mutex::default(),
            overtake: no(),
            blind: no(),
            may_keep: Semaphore::new(SAMPLES),
            dropping: Semaphore::new(0),
            may_drop: Semaphore::new(0),
        }
    }
}

fn away<T>() -> Result<T, StoreError> {
    Err(EtcdError::Away("no answer in time").into())
}

impl Lossy {
    fn answer<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if self.faults.lose.swap(false, Ordering::SeqCst) { away() } else { answer }
    }
}

#[async_trait]
impl Store for Lossy {
    async fn load(&self) -> Result<Loaded, StoreError> {
        if self.faults.blind.load(Ordering::SeqCst) { away() } else { self.store.load().await }
    }

    async fn compare_and_swap(&self, change: &Change<'_>) -> Result<Option<Stored>, StoreError> {
        if self.faults.refuse.swap(false, Ordering::SeqCst) {
            return away();
        }
        if self.faults.refuse_all.load(Ordering::SeqCst) {
            self.faults.tried.lock().expect("not poisoned").insert(change.state.capability.clone());
            return away();
        }
        if self.faults.overtake.swap(false, Ordering::SeqCst) {
            let stored = self.store.load().await?.states.remove(&change.state.capability).expect("it is written");
            let late = State { holds: ["late".to_owned()].into(), ..stored.state.clone() };
            let late = Change { from: stored.state.version, state: &late, serving: false, orders: false, journal: &[] };
            self.store.compare_and_swap(&late).await?;
        }
        self.answer(self.store.compare_and_swap(change).await)
    }

    async fn save_rules(&self, rules: &[RuleFile], note: &Note) -> Result<(u64, u64), StoreError> {
        self.answer(self.store.save_rules(rules, note).await)
    }

    async fn save_overrides(&self, overrides: &Overrides, note: &Note) -> Result<u64, StoreError> {
        self.answer(self.store.save_overrides(overrides, note).await)
    }

    async fn journal_head(&self) -> Result<Head, StoreError> {
        self.store.journal_head().await
    }

    async fn journal(&self, query: &JournalQuery) -> Result<Vec<JournalEntry>, StoreError> {
        self.store.journal(query).await
    }

    async fn keep_samples(&self, samples: &[DifferenceSample], most: u32) -> Result<(), StoreError> {
        self.faults.may_keep.acquire().await.expect("it is open").forget();
        self.store.keep_samples(samples, most).await
    }

    async fn samples(&self, capability: Option<&str>) -> Result<Vec<DifferenceSample>, StoreError> {
        self.store.samples(capability).await
    }

    async fn remember_gateway(&self, name: &str) -> Result<(), StoreError> {
        self.answer(self.store.remember_gateway(name).await)
    }

    async fn forget_gateway(&self, name: &str) -> Result<(), StoreError> {
        self.faults.dropping.add_permits(1);
        self.faults.may_drop.acquire().await.expect("it is open").forget();
        self.store.forget_gateway(name).await
    }

    async fn notified(&self, notifier: &str) -> Result<Option<u64>, StoreError> {
        self.store.notified(notifier).await
    }

    async fn keep_notified(&self, notifier: &str, entry: u64) -> Result<(), StoreError> {
        self.store.keep_notified(notifier, entry).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

/// An orchestrator on such a store.
struct Shaky {
    term: Term,
    faults: Arc<Faults>,
    rules_dir: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

impl Shaky {
    async fn begin() -> Shaky {
        let directory = tempfile::tempdir().expect("a directory");
        let rules_dir = directory.path().join("rules");
        std::fs::create_dir(&rules_dir).expect("it is made");
        std::fs::write(rules_dir.join("users.toml"), RULES).expect("it writes");
        std::fs::write(rules_dir.join("flags.toml"), "[flag.new]\ndefault = false\n[flag.other]\ndefault = false\n").expect("it writes");
        let known = Known { upstreams: vec!["monolith".into(), "users-service".into()], ..Known::default() };
        let (tick, rules_poll) = (Duration::from_millis(20), Duration::from_millis(50));
        let config = Config { rules_dir: rules_dir.clone(), known, tick, rules_poll, ..Config::default() };
        let faults = Arc::new(Faults::none());
        let store = SqliteStore::open(&directory.path().join("state.sqlite3")).await.expect("it opens");
        let store = Lossy { store, faults: Arc::clone(&faults) };
        let term = Term::begin(config, Arc::new(store), Mandate::alone()).await.expect("it begins");
        Shaky { term, faults, rules_dir, _directory: directory }
    }

    /// One with a second capability.
    async fn with_two_drafts() -> Shaky {
        let shaky = Shaky::begin().await;
        std::fs::write(shaky.rules_dir.join("courses.toml"), COURSES).expect("it writes");
        until("two drafts", || ["users", "courses"].iter().all(|name| shaky.view().capability(name).is_some())).await;
        shaky
    }

    /// Writes that a capability begins to move; nobody here knows it.
    async fn begin_unseen(&self, name: &str) -> Stored {
        let known = self.view().states[name].state.clone();
        let state = State { phase: Phase::Backfilling, ..known.clone() };
        let change = Change { from: known.version, state: &state, serving: true, orders: false, journal: &[] };
        self.term.shared.store.compare_and_swap(&change).await.expect("it writes").expect("nothing was written since")
    }

    fn view(&self) -> Arc<View> {
        self.term.shared.publisher.view()
    }

    /// The answer to a call.
    async fn call(&self, method: Method, path: &str, body: &str) -> StatusCode {
        let asked = Request::builder().method(method).uri(path).header("host", "127.0.0.1").header("content-type", "application/json");
        let Ok(answer) = self.term.router().call(asked.body(Body::from(body.to_owned())).expect("a request")).await;
        answer.status()
    }

    async fn flag(&self, name: &str, by: &str) -> StatusCode {
        self.call(Method::PUT, &format!("/api/v1/flags/{name}"), &format!(r#"{{"on":true,"by":"{by}"}}"#)).await
    }
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(120), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_counts_also_when_its_answer_was_lost() {
    let shaky = Shaky::begin().await;
    let view = || shaky.view();

    // An override: whoever asked for it is told that nobody knows, and gateways learn of it.
    let generation = || shaky.term.shared.publisher.generation();
    let before = generation();
    shaky.faults.lose.store(true, Ordering::SeqCst);
    assert_eq!(shaky.flag("new", "ada").await, StatusCode::SERVICE_UNAVAILABLE);
    until("the override", || view().overrides.flags.contains_key("new") && generation() > before).await;

    // Rules: the same.
    let before = view().rulebook.generation;
    shaky.faults.lose.store(true, Ordering::SeqCst);
    std::fs::write(shaky.rules_dir.join("users.toml"), RULES.replace("/users/", "/people/")).expect("it writes");
    until("the rules", || view().rulebook.generation == before + 1 && view().complaints.is_empty()).await;
    assert!(view().rulebook.files.iter().any(|file| file.text.contains("/people/")));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(view().rulebook.generation, before + 1, "they are not written once more");
    shaky.term.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_capability_begins_also_when_the_store_failed_under_it() {
    // The rules are written and their answer is lost; or it is not, and the first state is not written.
    for (what, fault) in [("the rules", 0), ("no state", 1)] {
        let shaky = Shaky::begin().await;
        let fault = [&shaky.faults.lose, &shaky.faults.refuse][fault];
        fault.store(true, Ordering::SeqCst);
        std::fs::write(shaky.rules_dir.join("courses.toml"), COURSES).expect("it writes");
        until(what, || !fault.load(Ordering::SeqCst)).await;
        until("a draft", || shaky.view().capability("courses").is_some()).await;
        let published = shaky.term.shared.publisher.published().borrow().clone();
        assert!(published.capabilities.contains_key("courses"), "{what}: gateways hear of it");
        shaky.term.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_after_it_was_given_up_is_published() {
    let shaky = Shaky::begin().await;
    until("a draft", || shaky.view().capability("users").is_some()).await;
    shaky.faults.refuse.store(true, Ordering::SeqCst);
    let hold = r#"{"reason":"wait","by":"ada"}"#;
    assert_eq!(shaky.call(Method::POST, "/api/v1/capabilities/users/hold", hold).await, StatusCode::SERVICE_UNAVAILABLE);
    // What is written is read; and only then it arrives.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let known = shaky.view().states["users"].state.clone();
    assert!(known.holds.is_empty(), "{known:?}");
    let state = State { holds: ["wait".to_owned()].into(), ..known.clone() };
    let change = Change { from: known.version, state: &state, serving: false, orders: false, journal: &[] };
    assert!(shaky.term.shared.store.compare_and_swap(&change).await.expect("it writes").is_some());
    until("what arrived late", || shaky.view().states["users"].state.holds.contains("wait")).await;
    shaky.term.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_in_between_is_published_with_what_was_written_after_it() {
    let shaky = Shaky::with_two_drafts().await;
    // A write that was given up long ago arrives, and nobody here knows it.
    let late = shaky.begin_unseen("users").await;
    assert_eq!(shaky.flag("new", "ada").await, StatusCode::OK);
    let published = shaky.term.shared.publisher.published().borrow().clone();
    assert!(published.generation > late.serving_generation);
    assert_ne!(published.capabilities["users"].phase, Phase::Draft, "who has this generation never asks for the older one");
    shaky.term.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_decided_on_a_view_that_may_be_old() {
    let shaky = Shaky::begin().await;
    // Ada's switch is written, and nobody here knows it.
    shaky.faults.blind.store(true, Ordering::SeqCst);
    shaky.faults.lose.store(true, Ordering::SeqCst);
    assert_eq!(shaky.flag("new", "ada").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(shaky.flag("other", "bob").await, StatusCode::SERVICE_UNAVAILABLE, "it would undo hers");
    shaky.faults.blind.store(false, Ordering::SeqCst);
    until("hers", || shaky.view().overrides.flags.contains_key("new")).await;
    assert_eq!(shaky.flag("other", "bob").await, StatusCode::OK);
    let names: Vec<String> = shaky.view().overrides.flags.keys().cloned().collect();
    assert_eq!(names, ["new", "other"]);
    shaky.term.stop().await;
}

/// Exactly one write came between: the version is the one that the wish would have led to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_that_was_overtaken_is_judged_again_and_written() {
    let shaky = Shaky::begin().await;
    until("a draft", || shaky.view().capability("users").is_some()).await;
    shaky.faults.overtake.store(true, Ordering::SeqCst);
    let hold = r#"{"reason":"wait","by":"ada"}"#;
    assert_eq!(shaky.call(Method::POST, "/api/v1/capabilities/users/hold", hold).await, StatusCode::OK);
    let loaded = shaky.term.shared.store.load().await.expect("it reads");
    let holds: Vec<_> = loaded.states["users"].state.holds.iter().map(String::as_str).collect();
    assert_eq!(holds, ["late", "wait"], "it was answered as done");
    let query = JournalQuery { capability: Some("users".into()), after: None, limit: 10 };
    let lines = shaky.term.shared.store.journal(&query).await.expect("it reads");
    assert!(lines.iter().any(|entry| entry.line.text == "held: wait" && entry.by.as_deref() == Some("ada")), "{lines:?}");
    shaky.term.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_write_that_failed_nothing_is_decided_of_the_others_before_what_is_written_is_read() {
    let shaky = Shaky::with_two_drafts().await;
    // Both are about to move, and nobody here knows it before nothing can be written.
    for name in ["courses", "users"] {
        shaky.begin_unseen(name).await;
    }
    shaky.faults.refuse_all.store(true, Ordering::SeqCst);
    assert_eq!(shaky.flag("new", "ada").await, StatusCode::OK);
    let tried = || shaky.faults.tried.lock().expect("not poisoned").clone();
    until("one of them", || !tried().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(tried(), ["courses".to_owned()].into());
    shaky.faults.refuse_all.store(false, Ordering::SeqCst);
    until("both", || ["users", "courses"].iter().all(|name| shaky.view().states[*name].state.phase == Phase::Streaming)).await;
    shaky.term.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_gateway_that_comes_back_is_kept() {
    let shaky = Arc::new(Shaky::begin().await);
    let report = |serial: u64| {
        let body = format!(
            r#"{{"gateway":"gw-1","incarnation":"a","generation":1,"trouble":null,"capabilities":{{}},"differences":[],"started":1,"serial":{serial}}}"#
        );
        let shaky = Arc::clone(&shaky);
        async move { shaky.call(Method::POST, "/api/v1/gateways/report", &body).await }
    };
    let names = || async { shaky.term.shared.store.load().await.expect("it reads").gateways };
    assert_eq!(report(1).await, StatusCode::OK);
    assert_eq!(names().await, ["gw-1"]);
    // Long after, it is forgotten; and while its name is being dropped, it is there again.
    let later = fleet::steady().plus(Duration::from_secs(3_600));
    let shared = Arc::clone(&shaky.term.shared);
    let forgetting = tokio::spawn(async move { fleet::names::forget(&shared, later).await });
    shaky.faults.dropping.acquire().await.expect("it is open").forget();
    let back = tokio::spawn(report(2));
    tokio::time::sleep(Duration::from_millis(200)).await;
    shaky.faults.may_drop.add_permits(1);
    forgetting.await.expect("it is forgotten");
    assert_eq!(back.await.expect("it is answered"), StatusCode::OK);
    assert_eq!(names().await, ["gw-1"], "it holds a validity: a restart must reckon with it");
    shaky.term.stop().await;
}

/// Whoever wrote it had a clock that is not as late: a deadline of his must not last longer here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_no_earlier_than_it_was_for_whoever_wrote() {
    let shaky = Shaky::begin().await;
    until("a draft", || shaky.view().capability("users").is_some()).await;
    let known = shaky.view().states["users"].state.clone();
    let state = State { since: fleet::now().plus(Duration::from_secs(3)), ..known.clone() };
    let change = Change { from: known.version, state: &state, serving: false, orders: false, journal: &[] };
    assert!(shaky.term.shared.store.compare_and_swap(&change).await.expect("it writes").is_some());
    assert_eq!(shaky.call(Method::POST, "/api/v1/capabilities/users/hold", r#"{"reason":"wait","by":"ada"}"#).await, StatusCode::OK);
    assert!(fleet::now() >= state.since);
    shaky.term.stop().await;
}

/// Whoever leads next reckons with the names that are stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_name_could_not_be_stored_gets_no_validity() {
    let shaky = Shaky::begin().await;
    until("a draft", || shaky.view().capability("users").is_some()).await;
    let report = |serial: u64| {
        format!(
            r#"{{"gateway":"gw-1","incarnation":"a","generation":1,"trouble":null,"capabilities":{{}},"differences":[],"started":1,"serial":{serial}}}"#
        )
    };
    shaky.faults.lose.store(true, Ordering::SeqCst);
    assert_eq!(shaky.call(Method::POST, "/api/v1/gateways/report", &report(1)).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(shaky.call(Method::POST, "/api/v1/gateways/report", &report(2)).await, StatusCode::OK);
    shaky.term.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validity_waits_for_no_sample() {
    let shaky = Shaky::begin().await;
    shaky.faults.may_keep.forget_permits(SAMPLES);
    let sample =
        r#"{"capability":"users","at":7,"method":"GET","path":"/users/7","legacy_status":200,"modern_status":500,"differences":[]}"#;
    for serial in 1..=3 {
        let body = format!(
            r#"{{"gateway":"gw-1","incarnation":"a","generation":1,"trouble":null,"capabilities":{{}},"differences":[{sample}],"started":1,"serial":{serial}}}"#
        );
        let answer = shaky.call(Method::POST, "/api/v1/gateways/report", &body);
        let answer = tokio::time::timeout(Duration::from_secs(60), answer).await.expect("nothing is written yet, and it is answered");
        assert_eq!(answer, StatusCode::OK);
    }
    shaky.faults.may_keep.add_permits(SAMPLES);
    let store = Arc::clone(&shaky.term.shared.store);
    let begun = Instant::now();
    while store.samples(Some("users")).await.expect("it reads").len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(120), "they are not written");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shaky.term.stop().await;
}
