//! The contract on a real etcd; and what only a store of several orchestrators must do.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ficus_rules::migration::{Phase, Stage, State, Switch};
use ficus_rules::wire::{DifferenceSample, Overrides, RuleFile};
use ficus_rules::{Side, Timestamp};
use serde_json::json;

use crate::mandate::Mandate;
use crate::outgoing::Trust;
use crate::store::etcd::compaction::Compaction;
use crate::store::etcd::election::{Lead, Leader, Vote};
use crate::store::etcd::{Client, Etcd, EtcdError, EtcdStore};
use crate::store::{Change, JournalQuery, Store, StoreError};

#[path = "../../../tests/support/etcd.rs"]
pub(super) mod server;

use server::EtcdServer;

const LEASE: Duration = Duration::from_secs(3);

pub(super) fn settings(url: &str) -> Etcd {
    let address = "http://127.0.0.1:7070".to_owned();
    Etcd { endpoints: vec![url.to_owned()], prefix: "ficus/".into(), user: None, trust: Trust::public(), lease: LEASE, address }
}

pub(super) fn at(port: u16) -> Leader {
    Leader { address: format!("http://127.0.0.1:{port}") }
}

pub(super) async fn won(client: &Arc<Client>, leader: &Leader) -> Lead {
    match client.candidate(leader, LEASE).await.expect("etcd answers") {
        Vote::Won(lead) => lead,
        Vote::Lost(other) => panic!("{other:?} leads"),
    }
}

#[tokio::test]
async fn etcd() {
    let server = EtcdServer::start();
    let client = Arc::new(Client::new(&settings(&server.url())));
    super::holds(async || {
        // Whoever led before has resigned when its store was closed.
        let lead = won(&client, &at(1)).await;
        Box::new(EtcdStore::open(Arc::clone(&client), lead, Mandate::alone()).await.expect("it opens")) as Box<dyn Store>
    })
    .await;
}

/// A transition, whatever it moves.
fn change(state: &State, from: u64) -> Change<'_> {
    Change { from, state, serving: true, orders: true, journal: &[] }
}

#[tokio::test]
async fn one_leads_until_it_resigns_or_its_lease_ends() {
    let server = EtcdServer::start();
    let client = Arc::new(Client::new(&settings(&server.url())));
    let first = won(&client, &at(1)).await;
    assert_eq!(client.candidate(&at(2), LEASE).await.expect("it answers"), Vote::Lost(at(1)));
    assert!(client.renew(first, LEASE).await.expect("it answers"));
    client.resign(first).await;
    assert!(!client.renew(first, LEASE).await.expect("it answers"), "what was given back is gone");
    won(&client, &at(2)).await;
    let begun = std::time::Instant::now();
    while client.leader().await.expect("it answers") == Some(at(2)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "a lease that nobody renews has no end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    won(&client, &at(3)).await;
}

/// Something in the term that ends takes long. Its lease would last for much longer than this test has patience.
#[tokio::test]
async fn whoever_leads_next_does_not_wait_for_what_is_under_way() {
    let (server, directory) = (EtcdServer::start(), tempfile::tempdir().expect("a directory"));
    let etcd = Etcd { lease: Duration::from_secs(600), ..settings(&server.url()) };
    std::fs::write(directory.path().join("flags.toml"), "[flag.new]\ndefault = false\n").expect("it writes");
    let state = crate::Backend::Etcd { etcd: etcd.clone(), file: directory.path().join("none.sqlite3") };
    let config = crate::Config { rules_dir: directory.path().to_owned(), state, ..crate::Config::default() };
    let orchestrator = crate::Orchestrator::start(config).await.expect("it starts");
    let patience = tokio::time::Instant::now() + Duration::from_secs(120);
    let term = loop {
        match orchestrator.seat.term() {
            Some(term) => break term,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(tokio::time::Instant::now() < patience, "it leads");
    };
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    term.also(tokio::spawn(async { drop(released.await) }));
    let stopping = tokio::spawn(orchestrator.stop());
    let client = Arc::new(Client::new(&etcd));
    while !matches!(client.candidate(&at(2), LEASE).await.expect("etcd answers"), Vote::Won(_)) {
        assert!(tokio::time::Instant::now() < patience, "the lease was not given back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!stopping.is_finished(), "it waits for what is under way");
    release.send(()).expect("it is waited for");
    stopping.await.expect("it ends");
}

/// What a release after this one may write: more members of everything that has names for them.
async fn with_more_members(client: &Client) -> usize {
    let call = async |path: &str, body: serde_json::Value| client.call::<serde_json::Value>(path, &body, LEASE, false).await.expect(path);
    let range = json!({ "key": STANDARD.encode("ficus/"), "range_end": STANDARD.encode("ficus0") });
    let found = call("/v3/kv/range", range).await;
    let mut written = 0;
    for pair in found["kvs"].as_array().expect("keys") {
        let decoded = |what: &str| STANDARD.decode(pair[what].as_str().unwrap_or_default()).expect("base64");
        let (key, mut value) = (decoded("key"), serde_json::from_slice::<serde_json::Value>(&decoded("value")).expect("JSON"));
        if !value.is_object() || key == b"ficus/leader" {
            continue;
        }
        let member = json!({ "word": ["of", "another"], "release": 3 });
        for inner in ["", "/state", "/state/switch", "/overrides", "/journal", "/files/0"] {
            if let Some(inner) = value.pointer_mut(inner).filter(|inner| inner.is_object()) {
                inner["foretold"] = member.clone();
            }
        }
        call("/v3/kv/put", json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value.to_string()) })).await;
        written += 1;
    }
    written
}

const WITHOUT_TABLES: &str = r#"[capability]
name = "users"
legacy = "monolith"
modern = "users-service"

[[route]]
path = "/users/{*rest}"

[[step]]
cutover = true

[[step]]
soak = "1d"
"#;

/// In the midst of a switch, with members and a kind of line in the journal that it does not know.
#[tokio::test]
async fn whoever_stood_by_finishes_a_switch_that_a_newer_release_began() {
    let (server, directory) = (EtcdServer::start(), tempfile::tempdir().expect("a directory"));
    std::fs::write(directory.path().join("users.toml"), WITHOUT_TABLES).expect("it writes");
    let etcd = settings(&server.url());
    let client = Arc::new(Client::new(&etcd));
    let lead = won(&client, &at(1)).await;
    let newer = EtcdStore::open(Arc::clone(&client), lead, Mandate::alone()).await.expect("it opens");
    let now = crate::fleet::now();
    let switch = Switch {
        to: Side::Modern,
        stage: Stage::Fence,
        since: now,
        started: now,
        deadline: now.plus(Duration::from_secs(60)),
        from_phase: Phase::Streaming,
        leaves_aside: false,
    };
    let fencing = State { phase: Phase::Fencing, switch: Some(switch), ..State::draft("users", now) };
    let journal = [super::note(Some("users"), "foretold")];
    let rules = [RuleFile { name: "users.toml".into(), text: WITHOUT_TABLES.into() }];
    newer.save_rules(&rules, &super::note(None, "rules")).await.expect("it writes");
    newer.save_overrides(&Overrides::default(), &super::note(None, "pin")).await.expect("it writes");
    let written = newer.compare_and_swap(&Change { journal: &journal, ..change(&fencing, 0) }).await.expect("it writes").expect("in turn");
    let known = newer.load().await.expect("it reads");
    // Books, rules, overrides, the state, three lines.
    assert_eq!(with_more_members(&client).await, 7);
    client.resign(lead).await;

    let state = crate::Backend::Etcd { etcd, file: directory.path().join("none.sqlite3") };
    let config = crate::Config { rules_dir: directory.path().to_owned(), state, ..crate::Config::default() };
    let lead = won(&client, &at(2)).await;
    let older = EtcdStore::open(Arc::clone(&client), lead, Mandate::alone()).await.expect("it opens");
    assert_eq!(older.load().await.expect("it reads"), known);
    client.resign(lead).await;
    let orchestrator = crate::Orchestrator::start(config).await.expect("it starts");
    let begun = std::time::Instant::now();
    let soaking = loop {
        let loaded = older.load().await.expect("it reads");
        let stored = &loaded.states["users"];
        if stored.state.phase == Phase::Soaking && stored.state.switch.is_none() {
            break stored.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not go on: {:?}", stored.state);
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    orchestrator.stop().await;
    assert_eq!((soaking.state.owner, soaking.state.epoch), (Side::Modern, 1));
    assert!(soaking.serving_generation > written.serving_generation && soaking.state.version > written.state.version, "{soaking:?}");
    let all = JournalQuery { limit: 100, after: Some(0), capability: None };
    let kinds: Vec<_> = older.journal(&all).await.expect("it reads").into_iter().map(|entry| entry.line.kind).collect();
    assert!(kinds[..3] == ["rules", "pin", "foretold"] && kinds.ends_with(&["switched".to_owned()]), "{kinds:?}");
    super::first_misfit(&older).await.expect("the chain is whole");
}

#[tokio::test]
async fn a_deposed_leader_writes_nothing() {
    let server = EtcdServer::start();
    let client = Arc::new(Client::new(&settings(&server.url())));
    let lead = won(&client, &at(1)).await;
    let deposed = EtcdStore::open(Arc::clone(&client), lead, Mandate::alone()).await.expect("it opens");
    let draft = State::draft("users", Timestamp(1));
    let kept = deposed.compare_and_swap(&change(&draft, 0)).await.expect("it writes").expect("nobody was there");
    client.resign(lead).await;
    // Also while nobody leads.
    for leads in [None, Some(at(2)), Some(at(1))] {
        let next = match &leads {
            Some(leader) => Some(won(&client, leader).await),
            None => None,
        };
        let before = deposed.load().await.expect("anybody may read");
        let note = super::note(None, "rules");
        let refused = [
            deposed.compare_and_swap(&change(&kept.state, 1)).await.map(drop),
            deposed.save_rules(&[], &note).await.map(drop),
            deposed.save_overrides(&Overrides::default(), &note).await.map(drop),
            deposed.remember_gateway("gw-9").await,
            deposed.forget_gateway("gw-1").await,
            deposed.keep_notified("pager", 9).await,
            deposed.keep_samples(&[super::sample("users", 1)], 3).await,
        ];
        for (at, refused) in refused.iter().enumerate() {
            assert!(matches!(refused, Err(StoreError::Deposed)), "{at} under {leads:?}: {refused:?}");
        }
        assert_eq!(deposed.load().await.expect("it reads"), before);
        assert!(deposed.samples(None).await.expect("it reads").is_empty());
        let all = JournalQuery { limit: 10, ..JournalQuery::default() };
        assert!(deposed.journal(&all).await.expect("it reads").is_empty());
        if let Some(lead) = next {
            client.resign(lead).await;
        }
    }
}

#[tokio::test]
async fn what_arrives_late_changes_nothing_that_was_written_since() {
    let server = EtcdServer::start();
    let client = Arc::new(Client::new(&settings(&server.url())));
    let lead = won(&client, &at(1)).await;
    let open = async || EtcdStore::open(Arc::clone(&client), lead, Mandate::alone()).await.expect("it opens");
    let (one, late) = (open().await, open().await);
    // Read, and held up on its way.
    let (mut books, read_at) = late.books().await.expect("it reads");
    one.save_overrides(&Overrides::default(), &super::note(None, "pin")).await.expect("it writes");
    let entered = late.enter(&mut books, read_at, Vec::new(), &[super::note(None, "flag")]).await.expect("it answers");
    assert!(!entered, "the books were written since");
    assert_eq!(one.journal_head().await.expect("it reads").id, 1);
    // A gateway is to be dropped, and reports before it is.
    one.remember_gateway("gw-1").await.expect("it writes");
    let stored = late.gateway_stored("gw-1").await.expect("it reads");
    one.remember_gateway("gw-1").await.expect("it writes");
    assert!(!late.drop_gateway("gw-1", stored).await.expect("it answers"), "it was stored since");
    assert_eq!(one.load().await.expect("it reads").gateways, ["gw-1"]);
    one.forget_gateway("gw-1").await.expect("it writes");
    assert!(one.load().await.expect("it reads").gateways.is_empty());
    super::first_misfit(&one).await.expect("the chain is whole");
}

#[tokio::test]
async fn a_long_journal_is_read_in_pages() {
    let server = EtcdServer::start();
    let client = Arc::new(Client::new(&settings(&server.url())));
    let lead = won(&client, &at(1)).await;
    let store = EtcdStore::open(client, lead, Mandate::alone()).await.expect("it opens");
    let draft = State::draft("users", Timestamp(1));
    let notes: Vec<_> = (0..100).map(|_| super::note(Some("users"), "step")).collect();
    for from in 0..11 {
        let state = State { version: from, ..draft.clone() };
        store.compare_and_swap(&Change { journal: &notes, ..change(&state, from) }).await.expect("it writes").expect("in turn");
    }
    store.save_overrides(&Overrides::default(), &super::note(None, "pin")).await.expect("it writes");
    let ids = async |after, capability: Option<&str>, limit| {
        let query = JournalQuery { capability: capability.map(Into::into), after, limit };
        store.journal(&query).await.expect("it reads").iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(Some(0), None, 1_000).await, (1..=1_000).collect::<Vec<_>>());
    assert_eq!(ids(Some(1_000), None, 1_000).await, (1_001..=1_101).collect::<Vec<_>>());
    assert_eq!(ids(None, None, 600).await, (502..=1_101).collect::<Vec<_>>());
    assert_eq!(ids(None, Some("users"), 1).await, [1_100]);
    assert_eq!(ids(None, Some("notes"), 5).await, Vec::<u64>::new());
    store.everything().await.expect("it reads").chained().expect("the chain is whole");
}

/// One that asks for a password, over TLS by a certificate of its own authority.
#[tokio::test]
async fn etcd_with_users_and_tls() {
    let folder = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).expect("a certificate");
    let (chain, key) = (folder.path().join("etcd.pem"), folder.path().join("etcd.key"));
    std::fs::write(&chain, made.cert.pem()).expect("it writes");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("it writes");
    let files = [chain.display().to_string(), key.display().to_string()];
    let server = EtcdServer::start_with("https", &["--cert-file", &files[0], "--key-file", &files[1]]);
    let trusting = Etcd { trust: Trust::only(&chain).expect("it is read"), ..settings(&server.url()) };

    let stranger = Client::new(&settings(&server.url()));
    assert!(matches!(stranger.leader().await, Err(StoreError::Etcd(EtcdError::Away(_)))), "nobody vouches for it");

    let plain = Client::new(&trusting);
    for (path, body) in [
        ("/v3/auth/user/add", json!({ "name": "root", "password": "sesame" })),
        ("/v3/auth/role/add", json!({ "name": "root" })),
        ("/v3/auth/user/grant", json!({ "user": "root", "role": "root" })),
        ("/v3/auth/enable", json!({})),
    ] {
        plain.call::<serde_json::Value>(path, &body, LEASE, false).await.expect(path);
    }
    assert!(matches!(plain.leader().await, Err(StoreError::Etcd(EtcdError::Refused { .. }))), "it asks who that is");
    let user = |password: &str| Some(("root".to_owned(), password.to_owned()));
    let wrong = Client::new(&Etcd { user: user("sesam"), ..trusting.clone() });
    let refused = wrong.leader().await.expect_err("a wrong password").to_string();
    assert!(!refused.contains("sesam"), "{refused}");

    let client = Arc::new(Client::new(&Etcd { user: user("sesame"), ..trusting }));
    let lead = won(&client, &at(1)).await;
    let store = EtcdStore::open(Arc::clone(&client), lead, Mandate::alone()).await.expect("it opens");
    store.remember_gateway("gw-1").await.expect("it writes");
    assert!(client.renew(lead, LEASE).await.expect("it answers"));
    client.forget_token();
    assert_eq!(store.load().await.expect("it logs in anew").gateways, ["gw-1"]);
}

#[tokio::test]
async fn a_member_that_is_gone_is_passed_over() {
    let server = EtcdServer::start();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let endpoints = vec![format!("http://{gone}"), server.url()];
    let client = Arc::new(Client::new(&Etcd { endpoints, ..settings("") }));
    won(&client, &at(1)).await;
    assert_eq!(client.leader().await.expect("it reads"), Some(at(1)));
}

/// A server with so little room that every version of every sample would not fit.
#[tokio::test]
async fn old_versions_are_dropped_before_they_fill_it() {
    let server = EtcdServer::start_with("http", &["--quota-backend-bytes", "16777216"]);
    let client = Arc::new(Client::new(&settings(&server.url())));
    let lead = won(&client, &at(1)).await;
    let store = EtcdStore::open(Arc::clone(&client), lead, Mandate::alone()).await.expect("it opens");
    let sample = |at| DifferenceSample { path: "/".repeat(30 << 10), ..super::sample("users", at) };
    let mut compaction = Compaction::default();
    for at in 0..700 {
        if at % 50 == 0 {
            compaction.turn(&client).await.expect("it answers");
        }
        if at % 10 == 0 {
            // On a slow disk it takes longer than a lease lasts.
            assert!(client.renew(lead, LEASE).await.expect("it answers"), "after {at} writes");
        }
        store.keep_samples(&[sample(at)], 3).await.unwrap_or_else(|failed| panic!("after {at} writes: {failed}"));
    }
    assert_eq!(store.samples(None).await.expect("it reads").len(), 3);
    store.close().await;
    won(&client, &at(2)).await;
}

#[tokio::test]
async fn what_is_written_together_is_written_in_portions_and_what_is_too_large_is_named() {
    let server = EtcdServer::start();
    let client = Arc::new(Client::new(&settings(&server.url())));
    let lead = won(&client, &at(1)).await;
    let store = EtcdStore::open(client, lead, Mandate::alone()).await.expect("it opens");
    let sample = |size: usize| DifferenceSample { path: "/".repeat(size), ..super::sample("users", 1) };
    store.keep_samples(&vec![sample(60 << 10); 50], 100).await.expect("three megabytes in all");
    assert_eq!(store.samples(None).await.expect("it reads").len(), 50);
    for size in [1_600 << 10, 2 << 20] {
        let failed = store.keep_samples(&[sample(size)], 100).await.expect_err("more than it takes").to_string();
        assert!(failed.contains("--max-request-bytes"), "{size}: {failed}");
    }
}
