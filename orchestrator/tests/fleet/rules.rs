//! Rules that change, and rules that are bad.

use std::time::{Duration, Instant};

use ficus_orchestrator::{Error, Orchestrator};
use ficus_rules::api::JournalEntry;
use ficus_rules::migration::Stage;
use ficus_rules::wire::Published;
use hyper::{Method, StatusCode};

use crate::support::{RULES, World};

async fn until(world: &World, what: &str, done: impl Fn(&ficus_rules::api::Status) -> bool) -> ficus_rules::api::Status {
    let begun = Instant::now();
    loop {
        let status = world.status().await;
        if done(&status) {
            return status;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "never: {what}; {:?}", status.rules);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_leaves_the_last_good_ones() {
    let mut world = World::start(|_| {}).await;
    let first = world.status().await;
    std::fs::write(world.rules_file(), "[capability]\nname = \"users\"\nlegacy = 3\n").expect("it writes");
    let third = |s: &ficus_rules::api::Status| s.rules.complaints.iter().any(|c| c.file == "users.toml" && c.line == 3);
    let bad = until(&world, "a complaint about the third line", third).await;
    assert_eq!((bad.rules.generation, bad.generation), (first.rules.generation, first.generation));
    let (status, body) = world.http.send(Method::POST, "/api/v1/reload", None).await;
    assert_eq!((status, body["complaints"][0]["file"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("users.toml")));
    let served: Published = world.http.get("/api/v1/published").await;
    assert_eq!(served.rules[0].text, RULES);

    // A restart with bad files serves by the last good ones.
    world.down().await;
    world.up().await;
    let status = world.status().await;
    assert_eq!((status.rules.generation, status.rules.complaints.is_empty()), (first.rules.generation, false));
    assert!(status.capabilities.contains_key("users"));

    // A good file is found by itself, whether written in place or swapped in.
    let other = world.directory.path().join("users.toml.new");
    std::fs::write(&other, RULES.replace("50%", "60%")).expect("it writes");
    std::fs::rename(&other, world.rules_file()).expect("it renames");
    let good = until(&world, "new rules", |s| s.rules.complaints.is_empty()).await;
    assert_eq!(good.rules.generation, first.rules.generation + 1);
    assert!(good.generation > first.generation);
    assert_eq!(world.orchestrator().reload().await, Ok(Some(good.rules.generation)), "nothing new");
    let journal: Vec<JournalEntry> = world.http.get("/api/v1/journal?limit=50").await;
    let taken: Vec<_> = journal.iter().filter(|entry| entry.line.kind == "rules").collect();
    let directory = world.config.rules_dir.display().to_string();
    assert!(taken.len() == 2 && taken.iter().all(|entry| entry.by.as_deref() == Some("the rules directory")), "{taken:?}");
    assert!(taken.iter().all(|entry| entry.line.detail["origin"]["directory"] == directory), "{taken:?}");
}

/// Every orchestrator of this process shows its own number, again and again: this one's is the only one that is not none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flag_past_its_last_day_is_warned_of_and_counted() {
    let world = World::start(|_| {}).await;
    let flags = "[flag.old]\nexpires = \"2020-01-01\"\n[flag.older]\nexpires = \"2019-01-01\"\n[flag.kept]\nexpires = \"2999-01-01\"\n";
    std::fs::write(world.config.rules_dir.join("flags.toml"), flags).expect("it writes");
    let warned = |status: &ficus_rules::api::Status| {
        let warnings = status.rules.warnings.iter().filter(|c| c.file == "flags.toml").map(|c| (c.line, &*c.message));
        warnings.collect::<Vec<_>>() == [(2, "the last day of `old` has come"), (4, "the last day of `older` has come")]
    };
    until(&world, "two warnings", warned).await;
    let shown = || {
        let families = prometheus::gather();
        let family = families.iter().find(|family| family.name() == "ficus_flags_expired").expect("it is there");
        family.get_metric()[0].get_gauge().get_value()
    };
    let begun = Instant::now();
    while shown() != 2.0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "they are never counted: {}", shown());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_link_is_noticed_as_kubernetes_does_it() {
    let mut world = World::start(|config| config.rules_poll = Duration::from_secs(60)).await;
    world.down().await;
    let rules = world.config.rules_dir.clone();
    let version = |name: &str, text: &str| {
        std::fs::create_dir(rules.join(name)).expect("a directory");
        std::fs::write(rules.join(name).join("users.toml"), text).expect("it writes");
    };
    version("..v1", RULES);
    version("..v2", &RULES.replace("50%", "60%"));
    std::fs::remove_file(world.rules_file()).expect("it goes");
    std::os::unix::fs::symlink("..v1", rules.join("..data")).expect("a link");
    std::os::unix::fs::symlink("..data/users.toml", world.rules_file()).expect("a link");
    world.up().await;
    std::os::unix::fs::symlink("..v2", rules.join("..data_tmp")).expect("a link");
    std::fs::rename(rules.join("..data_tmp"), rules.join("..data")).expect("a swap");
    let begun = Instant::now();
    while !world.http.get::<Published>("/api/v1/published").await.rules.iter().any(|file| file.text.contains("60%")) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the new version is never served");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_keeps_its_rules() {
    let world = World::start(|_| {}).await;
    world.must("advance").await;
    let courses = RULES.replace("users", "courses").replace("courses-service", "users-service").replace("accounts_customuser", "courses");
    std::fs::write(world.config.rules_dir.join("courses.toml"), courses).expect("it writes");
    until(&world, "a second capability", |s| s.capabilities.contains_key("courses")).await;
    std::fs::remove_file(world.rules_file()).expect("it goes");
    let status = until(&world, "a complaint", |s| !s.rules.complaints.is_empty()).await;
    assert!(status.rules.complaints.iter().any(|c| c.message.contains("has no rules any more")), "{:?}", status.rules.complaints);
    assert!(status.capabilities.contains_key("users"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_what_has_begun_is_refused_and_nothing_moves() {
    let mut world = World::start(|_| {}).await;
    world.must("advance").await;
    world.until("the cutover step", |s| s.step_action.as_deref() == Some("cutover")).await;
    let before = world.status().await;
    let reads = |s: &ficus_rules::api::Status| s.capabilities["users"].serving.clone();
    let shadow = "[[step]]\nshadow = \"100%\"\nhold = \"30ms\"\n\n";
    for (edit, line, says) in [
        (
            RULES.replace("users-service", "monolith").replace("legacy = \"monolith\"", "legacy = \"users-service\""),
            2,
            "`legacy` was `monolith`",
        ),
        (RULES.replace(shadow, ""), 13, "step 1 was `shadow = \"100%\"`"),
        (RULES.replace("50%", "60%"), 17, "step 2 was `reads = \"50%\"` and is `reads = \"60%\"`"),
    ] {
        assert_ne!(edit, RULES);
        std::fs::write(world.rules_file(), &edit).expect("it writes");
        let said = until(&world, says, |s| s.rules.complaints.iter().any(|c| c.line == line && c.message.contains(says))).await;
        assert_eq!((said.rules.generation, reads(&said)), (before.rules.generation, reads(&before)));
        // The same edit, found at the start.
        world.down().await;
        world.up().await;
        let again = until(&world, says, |s| s.rules.complaints.iter().any(|c| c.message.contains(says))).await;
        assert_eq!(again.rules.generation, before.rules.generation);
        std::fs::write(world.rules_file(), RULES).expect("it writes");
        until(&world, "no complaint", |s| s.rules.complaints.is_empty()).await;
    }
    // A configuration that no longer knows the service that served.
    world.down().await;
    std::fs::write(world.rules_file(), RULES.replace("users-service", "another")).expect("it writes");
    let mut config = world.config.clone();
    config.known.upstreams = vec!["monolith".into(), "another".into()];
    match Orchestrator::start(config).await {
        Err(Error::Rules(complaints)) => assert!(complaints[0].message.contains("`modern` was `users-service`"), "{complaints:?}"),
        other => panic!("another service after a restart: {:?}", other.err()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_is_gone_is_a_complaint() {
    let world = World::start(|_| {}).await;
    let (directory, away) = (world.config.rules_dir.clone(), world.directory.path().join("away"));
    std::fs::rename(&directory, &away).expect("it goes");
    let status = until(&world, "a complaint", |s| !s.rules.complaints.is_empty()).await;
    let complaint = &status.rules.complaints[0];
    assert_eq!(complaint.file, directory.display().to_string());
    assert!(complaint.message.starts_with("the rules cannot be read"), "{complaint}");
    assert!(status.capabilities.contains_key("users"), "the last good rules serve");
    std::fs::rename(&away, &directory).expect("it comes back");
    until(&world, "no complaint", |s| s.rules.complaints.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_change_during_a_cutover_are_taken_when_it_has_ended() {
    let world = World::start(|config| config.switch_deadline = Duration::from_secs(30)).await;
    world.must("advance").await;
    world.until("the cutover step", |s| s.step_action.as_deref() == Some("cutover")).await;
    world.agent.refuses.lock().expect("not poisoned").push("end");
    world.must("cutover").await;
    world.until("a stage that lasts", |s| s.stage == Some(Stage::CatchUp)).await;
    let before = world.status().await.rules.generation;
    std::fs::write(world.rules_file(), format!("{RULES}\n[[table]]\nlegacy = \"notes\"\nmodern = \"notes\"\n")).expect("it writes");
    let refused = |s: &ficus_rules::api::Status| s.rules.complaints.iter().any(|c| c.message.contains("a cutover or revert"));
    let status = until(&world, "a complaint about the cutover", refused).await;
    assert_eq!(status.rules.generation, before);
    // Once modern owned they could not join either.
    world.must("abort").await;
    world.agent.refuses.lock().expect("not poisoned").clear();
    until(&world, "the new tables", |s| s.rules.generation == before + 1 && s.rules.complaints.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_very_first_rules_must_be_good() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("users.toml"), "[capability\n").expect("it writes");
    let config = ficus_orchestrator::Config {
        rules_dir: directory.path().to_owned(),
        state: ficus_orchestrator::Backend::Sqlite(directory.path().join("state.sqlite3")),
        ..ficus_orchestrator::Config::default()
    };
    match Orchestrator::start(config).await {
        Err(Error::Rules(complaints)) => assert_eq!(complaints[0].file, "users.toml"),
        other => panic!("{:?}", other.err()),
    }
}
