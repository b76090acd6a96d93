//! A store whose answers are lost: what was written all the same counts, and is published as soon as it can be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use ficus_rules::api::JournalEntry;
use ficus_rules::audit::Head;
use ficus_rules::spec::Known;
use ficus_rules::wire::{DifferenceSample, Overrides, RuleFile};
use tower_service::Service as _;

use crate::Config;
use crate::mandate::Mandate;
use crate::store::etcd::EtcdError;
use crate::store::sqlite::SqliteStore;
use crate::store::{Change, JournalQuery, Loaded, Note, Store, StoreError, Stored};
use crate::term::Term;

const RULES: &str =
    "[capability]\nname = \"users\"\nlegacy = \"monolith\"\nmodern = \"users-service\"\n\n[[route]]\npath = \"/users/{*rest}\"\n";

/// Writes what it is given and, when told to, loses the answer once.
struct Lossy {
    store: SqliteStore,
    lose: Arc<AtomicBool>,
}

impl Lossy {
    fn answer<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        match self.lose.swap(false, Ordering::SeqCst) {
            true => Err(EtcdError::Away("no answer in time").into()),
            false => answer,
        }
    }
}

#[async_trait]
impl Store for Lossy {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.store.load().await
    }

    async fn compare_and_swap(&self, change: &Change<'_>) -> Result<Option<Stored>, StoreError> {
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
        self.store.keep_samples(samples, most).await
    }

    async fn samples(&self, capability: Option<&str>) -> Result<Vec<DifferenceSample>, StoreError> {
        self.store.samples(capability).await
    }

    async fn remember_gateway(&self, name: &str) -> Result<(), StoreError> {
        self.store.remember_gateway(name).await
    }

    async fn forget_gateway(&self, name: &str) -> Result<(), StoreError> {
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

async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_counts_also_when_its_answer_was_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let rules_dir = directory.path().join("rules");
    std::fs::create_dir(&rules_dir).expect("it is made");
    std::fs::write(rules_dir.join("users.toml"), RULES).expect("it writes");
    std::fs::write(rules_dir.join("flags.toml"), "[flag.new]\ndefault = false\n").expect("it writes");
    let known = Known { upstreams: vec!["monolith".into(), "users-service".into()], ..Known::default() };
    let (tick, rules_poll) = (Duration::from_millis(20), Duration::from_millis(50));
    let config = Config { rules_dir: rules_dir.clone(), known, tick, rules_poll, ..Config::default() };
    let lose = Arc::new(AtomicBool::new(false));
    let store = SqliteStore::open(&directory.path().join("state.sqlite3")).await.expect("it opens");
    let term = Term::begin(config, Arc::new(Lossy { store, lose: Arc::clone(&lose) }), Mandate::alone()).await.expect("it begins");

    // An override: whoever asked for it is told that nobody knows, and gateways learn of it.
    let view = || term.shared.publisher.view();
    let before = term.shared.publisher.generation();
    lose.store(true, Ordering::SeqCst);
    let asked = Request::put("/api/v1/flags/new").header("host", "127.0.0.1").header("content-type", "application/json");
    let asked = asked.body(Body::from(r#"{"on":true,"by":"ada"}"#)).expect("a request");
    let Ok(answer) = term.router().call(asked).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    until("the override", || view().overrides.flags.contains_key("new") && term.shared.publisher.generation() > before).await;

    // Rules: the same.
    let before = view().rulebook.generation;
    lose.store(true, Ordering::SeqCst);
    std::fs::write(rules_dir.join("users.toml"), RULES.replace("/users/", "/people/")).expect("it writes");
    until("the rules", || view().rulebook.generation == before + 1 && view().complaints.is_empty()).await;
    assert!(view().rulebook.files.iter().any(|file| file.text.contains("/people/")));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(view().rulebook.generation, before + 1, "they are not written once more");
    term.stop().await;
}
