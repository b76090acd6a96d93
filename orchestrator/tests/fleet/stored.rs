//! What an earlier release has stored is opened, served by, and gone on with. The files in `stored` are dumps of states that
//! real binaries have left: one of a capability in its soak with another one that is held, one of a process that died in the
//! midst of a cutover; and the rules that they had.

use std::path::Path;

use ficus_orchestrator::Config;
use ficus_rules::api::JournalEntry;
use ficus_rules::audit::Head;
use ficus_rules::migration::Phase;
use ficus_rules::{Side, Timestamp};
use serde_json::Value;

use crate::support::World;

const SOAKING: &str = include_str!("stored/soaking.sql");
const SWITCHING: &str = include_str!("stored/switching.sql");

/// What states have got since the first release that wrote any.
const LATER: &str = "UPDATE state SET state = json_remove(state, '$.aborted', '$.floor', '$.last_pause_ms', '$.returned', '$.compared')";

/// An orchestrator that begins with a state as it was stored, and `more` done to it.
async fn begun(stored: &'static str, more: &'static str) -> World {
    World::start(|config| restore(config, stored, more)).await
}

fn restore(config: &Config, stored: &'static str, more: &'static str) {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet/stored/rules");
    for name in ["flags.toml", "orders.toml", "users.toml"] {
        std::fs::copy(rules.join(name), config.rules_dir.join(name)).expect("a rule file");
    }
    let file = config.rules_dir.with_file_name("state.sqlite3");
    let fill = async {
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}?mode=rwc", file.display())).await.expect("it opens");
        let mut one = pool.acquire().await.expect("a connection");
        sqlx::raw_sql(stored).execute(&mut *one).await.expect("it is stored");
        sqlx::raw_sql(more).execute(&mut *one).await.expect("it is changed");
        drop(one);
        pool.close().await;
    };
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(fill));
}

/// The journal is one chain from its first entry on, whoever wrote them.
async fn is_one_chain(world: &World) -> Vec<JournalEntry> {
    let written: Head = world.http.get("/api/v1/journal/head").await;
    let entries: Vec<JournalEntry> = world.http.get("/api/v1/journal?after=0&limit=1000").await;
    let mut head = Head::default();
    for entry in &entries {
        head.follow(entry).expect("it fits");
    }
    assert!(head.id >= written.id, "{head:?} {written:?}");
    entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_that_an_earlier_release_left_in_its_soak_goes_back_and_forth() {
    for more in ["", LATER] {
        let world = begun(SOAKING, more).await;
        let users = world.until("the agent", |s| s.agent.is_some()).await;
        assert_eq!((users.phase, users.owner, users.epoch), (Phase::Soaking, Side::Modern, 1));
        let orders = world.status().await.capabilities.remove("orders").expect("it is there");
        assert_eq!(orders.phase, Phase::Ramping);
        assert_eq!(orders.holds.iter().collect::<Vec<_>>(), ["wait for the auditors"]);
        let generation = world.status().await.generation;
        assert!(generation >= 22, "gateways that knew {generation} would not listen");
        let status: Value = world.http.get("/api/v1/status").await;
        let overrides = &status["overrides"];
        assert_eq!((&overrides["pins"][0]["user"], &overrides["flags"]["banner"]["on"]), (&"42".into(), &true.into()));
        let before = is_one_chain(&world).await;
        assert!(before.len() >= 22 && before[0].at > Timestamp(0), "{}", before.len());

        world.must("revert").await;
        world.until("reverted", |s| s.phase == Phase::Reverted && s.owner == Side::Legacy && s.epoch == 2).await;
        world.must("cutover").await;
        world.until("soaking again", |s| s.phase == Phase::Soaking && s.epoch == 3).await;
        assert!(is_one_chain(&world).await.len() > before.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cutover_in_whose_midst_an_earlier_release_died_is_taken_back_and_made() {
    for more in ["", "UPDATE state SET state = json_remove(state, '$.compared', '$.returned', '$.last_pause_ms')"] {
        let world = begun(SWITCHING, more).await;
        // Its deadline was long ago.
        world.until("it is taken back", |s| s.switch.is_none() && s.phase == Phase::Ramping).await;
        let entries = is_one_chain(&world).await;
        let aborted = entries.iter().find(|entry| entry.line.kind == "aborted").expect("it is written down");
        assert!(aborted.line.text.starts_with("cutover aborted in stage catch_up: the deadline has passed"), "{aborted:?}");
        world.must("release").await;
        world.must("cutover").await;
        world.until("soaking", |s| s.phase == Phase::Soaking && s.owner == Side::Modern && s.epoch == 1).await;
        is_one_chain(&world).await;
    }
}
