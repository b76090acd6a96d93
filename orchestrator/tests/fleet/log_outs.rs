//! What one gateway says of log-outs, another one is told; after a restart of the orchestrator by the gateways that know of them.

use std::time::SystemTime;

use ficus_rules::Timestamp;
use ficus_rules::log_out::{AT_ONCE, Heard, LogOut};
use ficus_rules::wire::{GatewayReport, ReportAnswer};
use hyper::{Method, StatusCode};

use crate::support::World;

fn word(digest: &str) -> LogOut {
    let now = Timestamp::from(SystemTime::now()).0;
    LogOut { digest: digest.to_owned(), at: Timestamp(now), until: Timestamp(now + 3_600_000), undone: false }
}

async fn say(world: &World, gateway: &str, log_outs: Vec<LogOut>, heard: &Heard) -> ReportAnswer {
    let report = GatewayReport { gateway: gateway.into(), log_outs, log_outs_heard: heard.clone(), ..GatewayReport::default() };
    let body = serde_json::to_string(&report).expect("JSON");
    let (status, answer) = world.http.send(Method::POST, "/api/v1/gateways/report", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    serde_json::from_value(answer).expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_says_of_log_outs_another_is_told() {
    let mut world = World::start(|_| {}).await;
    let ended = word("a");
    let said = say(&world, "gw-a", vec![ended.clone()], &Heard::default()).await.log_outs_heard;
    assert!(!said.list.is_empty());
    let first = say(&world, "gw-b", Vec::new(), &Heard::default()).await;
    assert_eq!((first.log_outs, &first.log_outs_heard), (vec![ended.clone()], &said));
    let second = say(&world, "gw-b", vec![ended.clone()], &said).await;
    assert_eq!((second.log_outs, &second.log_outs_heard), (vec![], &said), "it knows that one");
    // WHEN another orchestrator is there
    world.down().await;
    world.up().await;
    let third = say(&world, "gw-b", Vec::new(), &said).await;
    assert!(third.log_outs.is_empty() && third.log_outs_heard.list != said.list, "by which the gateway knows that it has to tell all");
    let many: Vec<LogOut> = (0..AT_ONCE + 1).map(|nth| word(&nth.to_string())).collect();
    let (some, rest) = many.split_at(AT_ONCE);
    say(&world, "gw-b", some.to_vec(), &third.log_outs_heard).await;
    say(&world, "gw-b", rest.to_vec(), &third.log_outs_heard).await;
    let told = say(&world, "gw-a", vec![ended.clone()], &said).await;
    assert_eq!((told.log_outs.len(), &told.log_outs_heard.list), (AT_ONCE, &third.log_outs_heard.list), "a number of another list is none");
    let told = say(&world, "gw-a", Vec::new(), &told.log_outs_heard).await;
    assert_eq!(told.log_outs.iter().map(|word| word.digest.as_str()).collect::<Vec<_>>(), ["1000", "a"]);
}
