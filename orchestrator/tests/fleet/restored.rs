//! A backup of the state that is put back as the operations page says, over what a killed orchestrator left.

use std::path::Path;
use std::process::Command;

use crate::support::World;

const PAGE: &str = include_str!("../../../docs/operations.md");

/// What the page has typed to put the copy back.
fn documented() -> &'static str {
    let mut blocks = PAGE.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.contains("cp copy.sqlite3")).expect("the page says how a copy is put back")
}

fn typed(line: &str, folder: &Path) {
    let ended = Command::new("sh").args(["-ec", line]).current_dir(folder).status().expect("there is a shell");
    assert!(ended.success(), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_what_it_was_also_over_the_log_of_a_newer_state() {
    // GIVEN a backup, and what was decided after it.
    let mut world = World::start(|_| {}).await;
    let folder = tempfile::tempdir().expect("a directory");
    let at = folder.path();
    world.must("hold").await;
    let state = world.directory.path().join("state.sqlite3");
    typed(&format!("sqlite3 {} \".backup copy.sqlite3\"", state.display()), at);
    let kept = world.journal().await;
    world.must("release").await;
    // WHEN the orchestrator is killed (its files are as they are while it runs), and the copy is put back.
    std::fs::create_dir(at.join("state")).expect("a directory");
    for end in ["", "-wal", "-shm"] {
        let from = format!("{}{end}", state.display());
        std::fs::copy(from, at.join(format!("state/orchestrator.sqlite3{end}"))).expect("it stands there while it is in use");
    }
    typed(documented(), at);
    world.down().await;
    world.config.state = ficus_orchestrator::Backend::Sqlite(at.join("state/orchestrator.sqlite3"));
    world.up().await;
    // THEN it is what was backed up.
    assert!(!world.users().await.holds.is_empty(), "the hold was released after the backup");
    let written = world.journal().await;
    assert!(kept.iter().all(|entry| written.contains(entry)), "{written:?}");
}
