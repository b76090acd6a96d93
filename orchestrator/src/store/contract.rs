//! What every store must do. A new backend adds one test that calls [`holds`] with a way to open it again.

use ficus_rules::Timestamp;
use ficus_rules::audit::{Head, Misfit};
use ficus_rules::migration::advance::JournalLine;
use ficus_rules::migration::{Phase, State};
use ficus_rules::wire::{DifferenceSample, Overrides, PinOverride, RuleFile};

use super::sqlite::SqliteStore;
use super::{Change, JournalQuery, Note, Store};

mod etcd;
mod moving;

#[tokio::test]
async fn sqlite() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("state.sqlite3");
    holds(async || Box::new(SqliteStore::open(&file).await.expect("it opens")) as Box<dyn Store>).await;
}

fn note(capability: Option<&str>, kind: &str) -> Note {
    let line = JournalLine { kind: kind.into(), text: format!("a {kind}"), detail: serde_json::json!({ "n": 1 }) };
    Note { at: Timestamp(7), capability: capability.map(Into::into), by: Some("ada".into()), line }
}

fn sample(capability: &str, at: u64) -> DifferenceSample {
    DifferenceSample {
        capability: capability.into(),
        at: Timestamp(at),
        method: "GET".into(),
        path: "/users/7".into(),
        legacy_status: 200,
        modern_status: 500,
        differences: Vec::new(),
    }
}

async fn holds(open: impl AsyncFn() -> Box<dyn Store>) {
    let store = open().await;
    assert_eq!(store.load().await.expect("it loads"), super::Loaded::default());

    // A state appears once: of two who write version 1, one wins, and only its lines are in the journal.
    let draft = State::draft("users", Timestamp(1));
    let (first, second) = ([note(Some("users"), "first")], [note(Some("users"), "second")]);
    let change = |from, state, serving, orders, journal| Change { from, state, serving, orders, journal };
    let won = store.compare_and_swap(&change(0, &draft, true, true, &first)).await.expect("it writes").expect("nobody was there");
    assert_eq!((won.state.version, won.serving_generation, won.orders_generation), (1, 1, 1));
    assert_eq!(store.compare_and_swap(&change(0, &draft, true, true, &second)).await.expect("it reads"), None);

    // Only what changed takes a new generation.
    let moved = State { phase: Phase::Backfilling, ..won.state.clone() };
    let orders = store.compare_and_swap(&change(1, &moved, false, true, &[])).await.expect("it writes").expect("version 1");
    assert_eq!((orders.state.version, orders.serving_generation, orders.orders_generation), (2, 1, 2));
    let quiet = store.compare_and_swap(&change(2, &orders.state, false, false, &[])).await.expect("it writes").expect("version 2");
    assert_eq!((quiet.serving_generation, quiet.orders_generation), (1, 2));
    assert_eq!(store.compare_and_swap(&change(2, &moved, true, true, &second)).await.expect("it reads"), None, "older");

    // Rules and overrides draw from the same counter.
    let rules = vec![RuleFile { name: "users.toml".into(), text: "[capability]".into() }];
    assert_eq!(store.save_rules(&rules, &note(None, "rules")).await.expect("it writes"), (1, 3));
    let pin = PinOverride { capability: "users".into(), user: None, side: ficus_rules::Side::Modern, expires: None, note: "x".into() };
    let overrides = Overrides { pins: vec![pin], ..Overrides::default() };
    assert_eq!(store.save_overrides(&overrides, &note(None, "pin")).await.expect("it writes"), 4);
    store.remember_gateway("gw-1").await.expect("it writes");
    store.remember_gateway("gw-1").await.expect("twice is once");
    store.remember_gateway("gw-2").await.expect("it writes");
    store.forget_gateway("gw-2").await.expect("it writes");
    assert_eq!(store.notified("pager").await.expect("it reads"), None);
    store.keep_notified("pager", 3).await.expect("it writes");
    store.keep_notified("pager", 4).await.expect("it writes");
    store.close().await;

    // All of it is there after the next start, and generations go on where they were.
    let store = open().await;
    let loaded = store.load().await.expect("it loads");
    assert_eq!((store.notified("pager").await.expect("it reads"), store.notified("chat").await.expect("it reads")), (Some(4), None));
    assert_eq!(loaded.states["users"].state, quiet.state);
    assert_eq!((loaded.states["users"].serving_generation, loaded.states["users"].orders_generation), (3, 3), "rules publish anew");
    assert_eq!((loaded.rules.as_deref(), loaded.rules_generation, loaded.rules_published), (Some(&rules[..]), 1, 3));
    assert_eq!((loaded.overrides, loaded.overrides_generation), (overrides, 4));
    assert_eq!(loaded.gateways, ["gw-1"]);
    assert_eq!(store.save_rules(&rules, &note(None, "rules")).await.expect("it writes"), (2, 5));

    let kinds = async |query: JournalQuery| {
        let entries = store.journal(&query).await.expect("it reads");
        entries.iter().map(|e| (e.id, e.line.kind.clone())).collect::<Vec<_>>()
    };
    let all = kinds(JournalQuery { limit: 10, ..JournalQuery::default() }).await;
    assert_eq!(all.iter().map(|(_, kind)| kind.as_str()).collect::<Vec<_>>(), ["first", "rules", "pin", "rules"]);
    assert_eq!(kinds(JournalQuery { limit: 1, ..JournalQuery::default() }).await, all[3..], "the newest");
    assert_eq!(kinds(JournalQuery { limit: 2, after: Some(all[0].0), ..JournalQuery::default() }).await, all[1..3]);
    let of_users = JournalQuery { limit: 10, capability: Some("users".into()), ..JournalQuery::default() };
    assert_eq!(kinds(of_users).await, all[..1]);

    // Every line is linked to the one before, whichever call wrote it, also over a restart.
    let mut head = Head::default();
    for entry in store.journal(&JournalQuery { limit: 10, after: Some(0), capability: None }).await.expect("it reads") {
        head.follow(&entry).expect("it fits");
    }
    assert_eq!((head.id, store.journal_head().await.expect("it reads")), (4, head.clone()));

    // Of each capability the newest samples, and only those of who is asked about.
    store.keep_samples(&[sample("users", 1), sample("notes", 2)], 3).await.expect("it writes");
    store.keep_samples(&[sample("users", 3), sample("users", 4), sample("users", 5)], 3).await.expect("it writes");
    store.close().await;
    let store = open().await;
    let at = async |of| store.samples(of).await.expect("it reads").iter().map(|s| (s.capability.clone(), s.at.0)).collect::<Vec<_>>();
    let newest = [3, 4, 5].map(|at| ("users".to_owned(), at));
    assert_eq!(at(Some("users")).await, newest);
    assert_eq!(at(None).await, [&[("notes".to_owned(), 2)], &newest[..]].concat());
    assert_eq!(store.samples(Some("users")).await.expect("it reads")[0], sample("users", 3));

    // Many at once: exactly one of them wins each version.
    let state = store.load().await.expect("it loads").states["users"].state.clone();
    let tries = (0..8).map(|_| async {
        let change = Change { from: state.version, state: &state, serving: true, orders: false, journal: &[] };
        store.compare_and_swap(&change).await.expect("it answers").is_some()
    });
    let wins = futures::future::join_all(tries).await.into_iter().filter(|won| *won).count();
    assert_eq!(wins, 1);
}

/// What an entry's row is made of, by whoever has the file.
async fn tamper(file: &std::path::Path, statement: &'static str) {
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", file.display())).await.expect("it opens");
    let done = sqlx::raw_sql(statement).execute(&pool).await.expect("it is SQL");
    assert!(done.rows_affected() > 0, "{statement}");
    pool.close().await;
}

async fn first_misfit(store: &dyn Store) -> Result<(), Misfit> {
    let mut head = Head::default();
    let entries = store.journal(&JournalQuery { limit: 100, after: Some(0), capability: None }).await.expect("it reads");
    entries.iter().try_for_each(|entry| head.follow(entry))?;
    head.ends(&store.journal_head().await.expect("it reads"))
}

#[tokio::test]
async fn whoever_tampers_with_the_file_is_found_out() {
    for (statement, found) in [
        ("UPDATE journal SET line = replace(line, 'a second', 'a record') WHERE id = 2", Misfit::Changed { id: 2 }),
        ("UPDATE journal SET actor = 'eve' WHERE id = 3", Misfit::Changed { id: 3 }),
        ("DELETE FROM journal WHERE id = 1", Misfit::Gap { after: 0, found: 2 }),
        ("DELETE FROM journal WHERE id = 3", Misfit::Gap { after: 2, found: 4 }),
        ("DELETE FROM journal WHERE id = 4", Misfit::Cut { last: 3, head: 4 }),
        (
            "UPDATE journal SET id = CASE id WHEN 2 THEN -3 ELSE -2 END WHERE id IN (2, 3); UPDATE journal SET id = -id WHERE id < 0",
            Misfit::Changed { id: 2 },
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("state.sqlite3");
        let store = SqliteStore::open(&file).await.expect("it opens");
        for kind in ["first", "second", "third", "fourth"] {
            store.save_overrides(&Overrides::default(), &note(None, kind)).await.expect("it writes");
        }
        assert_eq!(first_misfit(&store).await, Ok(()));
        tamper(&file, statement).await;
        assert_eq!(first_misfit(&store).await, Err(found), "{statement}");
    }
}

#[tokio::test]
async fn a_journal_without_hashes_is_linked_when_it_is_opened() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("state.sqlite3");
    let store = SqliteStore::open(&file).await.expect("it opens");
    for kind in ["first", "second", "third"] {
        store.save_overrides(&Overrides::default(), &note(None, kind)).await.expect("it writes");
    }
    store.close().await;
    let older = "DELETE FROM journal WHERE id = 2; ALTER TABLE journal DROP COLUMN hash; DELETE FROM meta WHERE key = 'journal_head'; \
                 UPDATE meta SET number = 1 WHERE key = 'format'";
    tamper(&file, older).await;
    for _ in 0..2 {
        let store = SqliteStore::open(&file).await.expect("it opens");
        assert_eq!(first_misfit(&store).await, Ok(()));
        store.close().await;
    }
    let store = SqliteStore::open(&file).await.expect("it opens");
    store.save_overrides(&Overrides::default(), &note(None, "fourth")).await.expect("it writes");
    assert_eq!((first_misfit(&store).await, store.journal_head().await.expect("it reads").id), (Ok(()), 3));
}
