//! Who is silent is told, also by an orchestrator that began after it fell silent.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};

use crate::support::{RULES, World};

/// What a gauge shows for a label's value. Orchestrators of one process share it: names are of this file alone.
fn shown(gauge: &str, value: &str) -> Option<f64> {
    let families = prometheus::gather();
    let metrics = families.iter().find(|family| family.name() == gauge)?.get_metric();
    let metric = metrics.iter().find(|metric| metric.get_label().iter().any(|label| label.value() == value))?;
    Some(metric.get_gauge().get_value())
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// It grows: the time since somebody was heard.
async fn grows(gauge: &str, value: &str) {
    until(&format!("{gauge} of {value}"), || shown(gauge, value).is_some()).await;
    let first = shown(gauge, value).unwrap_or(f64::MAX);
    until(&format!("{gauge} of {value} grows"), || shown(gauge, value).is_some_and(|age| age > first)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fell_silent_before_the_leader_began_is_told_of() {
    let mut world = World::start(|_| {}).await;
    let parcels = RULES.replace("\"users\"", "\"parcels\"").replace("/users/", "/parcels/").replace("accounts_customuser", "post_parcel");
    let file = world.config.rules_dir.join("parcels.toml");
    std::fs::write(&file, parcels).expect("it writes");
    world.orchestrator().reload().await.expect("good rules");
    until("its phase", || shown("ficus_phase_age_seconds", "parcels").is_some()).await;
    assert_eq!(shown("ficus_agent_report_age_seconds", "parcels"), None, "a draft needs no agent");

    // GIVEN a capability that is copied by nobody, and a gateway that reports once.
    let body = r#"{"gateway":"gw-parted","incarnation":"a","generation":1,"trouble":null,"capabilities":{},"differences":[],"started":1,"serial":1}"#;
    assert_eq!(world.http.send(Method::POST, "/api/v1/gateways/report", Some(body.into())).await.0, StatusCode::OK);
    let wished = world.http.send(Method::POST, "/api/v1/capabilities/parcels/advance", Some(r#"{"by":"ada"}"#.into())).await;
    assert_eq!(wished.0, StatusCode::OK, "{}", wished.1);
    // WHEN another orchestrator takes over.
    world.down().await;
    world.up().await;
    // THEN both are told of.
    grows("ficus_agent_report_age_seconds", "parcels").await;
    grows("ficus_gateway_report_age_seconds", "gw-parted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capability_that_the_rules_have_no_more_is_shown_no_more() {
    let world = World::start(|_| {}).await;
    let letters = RULES.replace("\"users\"", "\"letters\"").replace("/users/", "/letters/").replace("accounts_customuser", "post_letter");
    let file = world.config.rules_dir.join("letters.toml");
    std::fs::write(&file, letters).expect("it writes");
    world.orchestrator().reload().await.expect("good rules");
    until("it is shown", || shown("ficus_phase", "letters").is_some()).await;
    std::fs::remove_file(&file).expect("it is there");
    world.orchestrator().reload().await.expect("good rules");
    until("it is gone", || ["ficus_phase", "ficus_phase_age_seconds", "ficus_owner"].iter().all(|gauge| shown(gauge, "letters").is_none()))
        .await;
}
