//! A state that moves from its file into etcd: whole, once, and never while somebody works on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ficus_rules::Timestamp;
use ficus_rules::migration::State;
use ficus_rules::wire::{Overrides, RuleFile};

use super::etcd::server::EtcdServer;
use super::etcd::{at, settings, won};
use crate::mandate::Mandate;
use crate::moving::{NotMoved, move_state};
use crate::store::etcd::election::Leader;
use crate::store::etcd::{Client, EtcdStore};
use crate::store::everything::Everything;
use crate::store::sqlite::SqliteStore;
use crate::store::{Change, Store, StoreError};
use crate::{Backend, Config, Orchestrator};

/// A file with something of every kind; what it holds.
async fn filled(file: &Path) -> Everything {
    let store = SqliteStore::open(file).await.expect("it opens");
    let rules = vec![RuleFile { name: "users.toml".into(), text: "[capability]".into() }];
    store.save_rules(&rules, &super::note(None, "rules")).await.expect("it writes");
    for name in ["users", "notes"] {
        let draft = State::draft(name, Timestamp(1));
        let journal: Vec<_> = (0..150).map(|_| super::note(Some(name), "step")).collect();
        let change = Change { from: 0, state: &draft, serving: true, orders: true, journal: &journal };
        store.compare_and_swap(&change).await.expect("it writes").expect("nobody was there");
    }
    store.save_overrides(&Overrides::default(), &super::note(None, "pin")).await.expect("it writes");
    store.keep_samples(&[super::sample("users", 2), super::sample("notes", 1), super::sample("users", 1)], 9).await.expect("it writes");
    store.remember_gateway("gw/1").await.expect("it writes");
    store.keep_notified("pager", 7).await.expect("it writes");
    let all = store.everything().await.expect("it reads");
    store.close().await;
    all
}

/// What etcd holds, as whoever leads next finds it.
async fn found(client: &Arc<Client>) -> Result<Everything, StoreError> {
    let lead = won(client, &at(1)).await;
    let store = EtcdStore::open(Arc::clone(client), lead, Mandate::alone()).await;
    match store {
        Ok(store) => {
            let all = store.everything().await;
            store.close().await;
            all
        }
        Err(failed) => {
            client.resign(lead).await;
            Err(failed)
        }
    }
}

#[tokio::test]
async fn a_state_moves_once_and_whole() {
    let (server, directory) = (EtcdServer::start(), tempfile::tempdir().expect("a directory"));
    let (etcd, file) = (settings(&server.url()), directory.path().join("state.sqlite3"));
    assert!(matches!(move_state(&file, &etcd, false).await, Err(NotMoved::Missing(_))));
    assert!(!file.exists(), "asking makes none");
    let all = filled(&file).await;
    let client = Arc::new(Client::new(&etcd));

    // Not while somebody works on either.
    let working = SqliteStore::open(&file).await.expect("it opens");
    assert!(matches!(move_state(&file, &etcd, false).await, Err(NotMoved::Store(StoreError::Taken(_)))));
    working.close().await;
    let lead = won(&client, &at(2)).await;
    assert!(matches!(move_state(&file, &etcd, false).await, Err(NotMoved::InUse(who)) if who == at(2).address));
    client.resign(lead).await;
    let lead = won(&client, &Leader::nowhere()).await;
    let under_way = move_state(&file, &etcd, false).await.expect_err("somebody moves it").to_string();
    assert!(under_way.contains("try again in 3 s"), "{under_way}");
    client.resign(lead).await;

    // A rehearsal changes nothing.
    let rehearsed = move_state(&file, &etcd, true).await.expect("it could be moved");
    assert_eq!((rehearsed.capabilities, rehearsed.journal, rehearsed.samples, rehearsed.generation), (2, 302, 3, all.generation));
    assert!(client.found().await.expect("it reads") == crate::store::etcd::import::Found::Nothing);

    assert_eq!(move_state(&file, &etcd, false).await.expect("it moves"), rehearsed);
    let there = found(&client).await.expect("it is whole");
    assert_eq!(there, all);
    there.chained().expect("the chain is whole");
    let moved = SqliteStore::open(&file).await;
    assert!(matches!(moved.err(), Some(StoreError::Moved(to)) if to.contains("ficus/")), "nobody begins with the file");
    assert_eq!(move_state(&file, &etcd, false).await.expect("the last answer may have been lost: it has moved"), rehearsed);
    let other = directory.path().join("other.sqlite3");
    filled(&other).await;
    assert!(matches!(move_state(&other, &etcd, false).await, Err(NotMoved::Occupied(_))), "that one has not");
    let elsewhere = crate::Etcd { prefix: "other/".into(), ..etcd };
    assert!(matches!(move_state(&file, &elsewhere, false).await, Err(NotMoved::Store(StoreError::Moved(_)))), "it has moved already");
}

/// Every file of a directory but locks, by name.
fn contents(directory: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let entries = std::fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.path().extension().is_none_or(|extension| extension != "lock"));
    files.map(|entry| (entry.file_name(), std::fs::read(entry.path()).expect("it reads"))).collect()
}

/// Also of the format before: the release that it belongs to may have to go on with it.
#[tokio::test]
async fn a_rehearsal_leaves_the_file_as_it_is() {
    let (server, directory) = (EtcdServer::start(), tempfile::tempdir().expect("a directory"));
    let (etcd, file) = (settings(&server.url()), directory.path().join("state.sqlite3"));
    filled(&file).await;
    super::tamper(&file, "ALTER TABLE journal DROP COLUMN hash; UPDATE meta SET number = 1 WHERE key = 'format'").await;
    let before = contents(directory.path());
    let rehearsed = move_state(&file, &etcd, true).await.expect("it could be moved");
    assert_eq!((rehearsed.capabilities, rehearsed.journal), (2, 302));
    assert!(contents(directory.path()) == before, "nothing is written: {:?}", contents(directory.path()).keys());
    let working = SqliteStore::open(&file).await.expect("it opens");
    assert!(matches!(move_state(&file, &etcd, true).await, Err(NotMoved::Store(StoreError::Taken(_)))));
    working.close().await;
}

/// It would begin all anew, beside gateways that serve by what the file says.
#[tokio::test]
async fn nobody_begins_with_etcd_beside_a_file_that_was_not_moved() {
    let (server, directory) = (EtcdServer::start(), tempfile::tempdir().expect("a directory"));
    let (etcd, file) = (settings(&server.url()), directory.path().join("state.sqlite3"));
    filled(&file).await;
    let rules_dir = directory.path().join("rules");
    std::fs::create_dir(&rules_dir).expect("it is made");
    std::fs::write(rules_dir.join("flags.toml"), "[flag.new]\ndefault = false\n").expect("it writes");
    let begin = || {
        let state = Backend::Etcd { etcd: etcd.clone(), file: file.clone() };
        Orchestrator::start(Config { rules_dir: rules_dir.clone(), state, ..Config::default() })
    };
    let refused = begin().await.err().expect("it is refused").to_string();
    assert!(refused.contains("`ficus state move`") && refused.contains(&file.display().to_string()), "{refused}");
    let client = Client::new(&etcd);
    assert!(client.found().await.expect("it reads") == crate::store::etcd::import::Found::Nothing, "nothing is begun");
    move_state(&file, &etcd, false).await.expect("it moves");
    begin().await.expect("it begins with what was moved").stop().await;
}

/// Cut short before and after the file was marked.
#[tokio::test]
async fn a_move_that_was_cut_short_begins_anew() {
    let (server, directory) = (EtcdServer::start(), tempfile::tempdir().expect("a directory"));
    let (etcd, file) = (settings(&server.url()), directory.path().join("state.sqlite3"));
    let all = filled(&file).await;
    let client = Arc::new(Client::new(&etcd));
    for marked in [false, true] {
        let lead = won(&client, &at(1)).await;
        let half = EtcdStore::empty(Arc::clone(&client), lead, Mandate::alone());
        let other = Everything { journal: all.journal[..9].to_vec(), ..all.clone() };
        half.take_in(&other).await.expect("it writes");
        half.close().await;
        assert!(matches!(found(&client).await, Err(StoreError::HalfMoved)), "nobody begins with half a state");
        if marked {
            let source = SqliteStore::open_to_move(&file, false).await.expect("it opens");
            source.has_moved("etcd").await.expect("it writes");
            source.close().await;
        }
    }
    move_state(&file, &etcd, false).await.expect("it moves");
    assert_eq!(found(&client).await.expect("it is whole"), all);
}

#[tokio::test]
async fn a_journal_that_was_tampered_with_is_not_moved() {
    let (server, directory) = (EtcdServer::start(), tempfile::tempdir().expect("a directory"));
    let (etcd, file) = (settings(&server.url()), directory.path().join("state.sqlite3"));
    filled(&file).await;
    super::tamper(&file, "UPDATE journal SET actor = 'eve' WHERE id = 3").await;
    assert!(matches!(move_state(&file, &etcd, false).await, Err(NotMoved::Journal(_))));
    SqliteStore::open(&file).await.expect("it is the state, as before").close().await;
}
