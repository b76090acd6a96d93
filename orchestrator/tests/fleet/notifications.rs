//! Who is told of transitions: in order, at least once, over failures and restarts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use ficus_orchestrator::{Format, Notifier};
use ficus_rules::Side;
use ficus_rules::api::CapabilityStatus;
use ficus_rules::migration::Phase;
use ficus_rules::wire::Strays;
use serde_json::Value;

use crate::support::World;

/// Somebody who is told, and answers as he is told to.
#[derive(Clone, Default)]
struct Receiver {
    /// What it answers next; 200 when there is nothing more.
    answers: Arc<Mutex<Vec<u16>>>,
    /// The key of each message, and the message.
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Receiver {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook?secret=s3cr3t", listener.local_addr().expect("an address"));
        let router = Router::new().route("/hook", post(Receiver::hear)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        url
    }

    async fn hear(State(this): State<Receiver>, headers: HeaderMap, body: String) -> StatusCode {
        let key = headers["idempotency-key"].to_str().expect("a key").to_owned();
        this.heard.lock().expect("not poisoned").push((key, serde_json::from_str(&body).expect("JSON")));
        let mut answers = this.answers.lock().expect("not poisoned");
        if answers.is_empty() { StatusCode::OK } else { StatusCode::from_u16(answers.remove(0)).expect("a status") }
    }

    fn heard(&self) -> Vec<(String, Value)> {
        self.heard.lock().expect("not poisoned").clone()
    }

    async fn until(&self, what: &str, done: impl Fn(&[(String, Value)]) -> bool) {
        for _ in 0..600 {
            if done(&self.heard()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never heard: {what}; {:#?}", self.heard());
    }
}

fn notifier(name: &str, url: String, format: Format, kinds: Option<&[&str]>) -> Notifier {
    let kinds = kinds.map(|kinds| kinds.iter().map(|kind| (*kind).to_owned()).collect::<BTreeSet<_>>());
    Notifier { name: name.into(), url, format, kinds, give_up: Duration::from_secs(3_600) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transitions_are_told_in_order_and_again_until_they_are_taken() {
    let (all, chat, deaf) = (Receiver::default(), Receiver::default(), Receiver::default());
    // The first message fails, meets a deployment, and is taken.
    *all.answers.lock().expect("not poisoned") = vec![500, 404];
    // The message is refused: not asked again.
    *deaf.answers.lock().expect("not poisoned") = vec![422; 100];
    let (to_all, to_chat, to_deaf) = (all.start().await, chat.start().await, deaf.start().await);
    let mut world = World::start(|config| {
        config.notifiers = vec![
            notifier("all", to_all, Format::Json, Some(&["*"])),
            notifier("chat", to_chat, Format::Slack, None),
            notifier("deaf", to_deaf, Format::Json, Some(&["phase"])),
        ];
    })
    .await;
    // Who is told for the first time hears nothing of the past: let them begin.
    tokio::time::sleep(Duration::from_millis(700)).await;
    world.must("advance").await;
    world.until("the cutover step", |s| s.step_action.as_deref() == Some("cutover")).await;
    world.must("approve").await;
    world.until("soaking", |s| s.phase == Phase::Soaking).await;
    all.until("the switch", |heard| heard.iter().any(|(_, told)| told["kind"] == "switched")).await;

    let heard = all.heard();
    assert_eq!((&heard[0], &heard[1]), (&heard[1], &heard[2]), "told again, the same, until it was taken");
    let ids: Vec<u64> = heard[2..].iter().map(|(_, told)| told["id"].as_u64().expect("an id")).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "every entry once, in order: {ids:?}");
    chat.until("the switch", |heard| heard.iter().any(|(_, told)| told["text"].as_str().is_some_and(|t| t.contains("every gateway"))))
        .await;
    let texts: Vec<String> = chat.heard().iter().map(|(_, told)| told["text"].as_str().expect("a text").to_owned()).collect();
    assert!(texts[0].starts_with("*users*: existing rows are copied"), "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains("comparing")), "stages and verifications are nobody's news: {texts:?}");
    deaf.until("two phases", |heard| heard.len() >= 2).await;
    let keys: BTreeSet<String> = deaf.heard().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), deaf.heard().len(), "who refuses is not asked again");

    // What happens while a receiver is away is told after a restart.
    *all.answers.lock().expect("not poisoned") = vec![503; 2];
    world.must("revert").await;
    world.until("reverted", |s| s.phase == Phase::Reverted).await;
    world.down().await;
    let before = all.heard().len();
    world.up().await;
    all.until("the revert", |heard| heard.iter().any(|(_, told)| told["kind"] == "switched" && told["detail"]["direction"] == "revert"))
        .await;
    let told: BTreeSet<u64> = all.heard().iter().map(|(_, told)| told["id"].as_u64().expect("an id")).collect();
    let (first, last) = (*told.first().expect("some"), *told.last().expect("some"));
    assert_eq!(told.len() as u64, last - first + 1, "none is missing");
    assert!(all.heard().len() > before);
}

/// Whoever asks for nothing in particular hears of writes past the gateway: once, whoever leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_past_the_gateway_are_told_once_over_a_change_of_lead() {
    let chat = Receiver::default();
    let to_chat = chat.start().await;
    let mut world = World::start(|config| config.notifiers = vec![notifier("chat", to_chat, Format::Slack, None)]).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    world.must("advance").await;
    world.until("the cutover step", |s| s.step_action.as_deref() == Some("cutover")).await;
    world.must("approve").await;
    world.until("soaking", |s| s.phase == Phase::Soaking).await;
    let tables = [("accounts_customuser".to_owned(), 3)].into();
    let wrote = vec!["role `cron`, application `psql`".to_owned()];
    let strays = Strays { side: Side::Legacy, refused: 0, writers: vec![], reported: 3, unsettled: 3, untried: 0, wrote, tables };
    *world.agent.strays.lock().expect("not poisoned") = vec![strays.clone()];
    let told = "*users*: 3 rows were written to legacy past the gateway (accounts_customuser: 3; role `cron`, application `psql`)";
    let is_told = |heard: &[(String, Value)]| heard.iter().any(|(_, said)| said["text"].as_str().is_some_and(|t| t.starts_with(told)));
    chat.until("the strays", is_told).await;

    // Another one leads, on what is stored; more follow at once.
    world.down().await;
    world.up().await;
    *world.agent.strays.lock().expect("not poisoned") = vec![Strays { reported: 4, unsettled: 4, ..strays }];
    let seen = |s: &CapabilityStatus| s.agent.as_ref().is_some_and(|agent| agent.strays.iter().any(|strays| strays.reported == 4));
    world.until("the agent's word", seen).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let lines: Vec<_> = world.journal().await.into_iter().filter(|entry| entry.line.kind == "strays").collect();
    assert_eq!(lines.len(), 1, "the fourth is summed up later: {lines:?}");
    assert_eq!(lines[0].line.detail["undecided"], 3);
    assert_eq!(chat.heard().iter().filter(|heard| is_told(std::slice::from_ref(heard))).count(), 1);
}

/// Else each of many would be tried for as long as one is, and news would come last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_takes_is_given_up_by_its_age() {
    let receiver = Receiver::default();
    *receiver.answers.lock().expect("not poisoned") = vec![503; 1_000];
    let url = receiver.start().await;
    let world = World::start(|config| {
        config.notifiers = vec![Notifier { give_up: Duration::from_secs(4), ..notifier("ill", url, Format::Json, Some(&["hold"])) }];
    })
    .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    for _ in 0..6 {
        world.must("hold").await;
    }
    let keys = |heard: &[(String, Value)]| heard.iter().map(|(key, _)| key.clone()).collect::<BTreeSet<_>>();
    receiver.until("the last of them", |heard| keys(heard).len() == 6).await;
    let heard = receiver.heard();
    let times = |key: &String| heard.iter().filter(|(one, _)| one == key).count();
    let (first, before_last) = (&heard[0].0, &heard[heard.len() - 2].0);
    assert!(times(first) > 1 && times(before_last) == 1, "{heard:#?}");
}

/// It takes what it is sent, and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_holds_up_no_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let (tell, mut asked) = tokio::sync::mpsc::channel::<()>(1);
    let hang = move || {
        let _ = tell.try_send(());
        std::future::pending::<StatusCode>()
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/hook", post(hang))).await.expect("it serves") });
    let mut world = World::start(|config| config.notifiers = vec![notifier("deaf", url, Format::Json, Some(&["*"]))]).await;
    // Who is told for the first time hears nothing of the past: something new happens until it is asked.
    loop {
        world.must("hold").await;
        if tokio::time::timeout(Duration::from_secs(1), asked.recv()).await.is_ok() {
            break;
        }
    }
    let begun = std::time::Instant::now();
    world.down().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "it waited for the receiver's deadline: {:?}", begun.elapsed());
}
