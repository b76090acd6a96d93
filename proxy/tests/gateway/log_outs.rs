//! Sessions that live in their cookie, ended at one gateway and shown to another: what nobody can end at its source, every gateway
//! knows of, by what passes between them and the orchestrator, and by the file that a restart begins with.

use std::path::Path;
use std::time::Duration;

use ficus_proxy::{FlaskIdentity, Gateway};
use ficus_rules::identity::django::Secrets;
use ficus_rules::identity::flask::SESSION;
use ficus_rules::identity::flask::login::remember;
use ficus_rules::identity::itsdangerous::dumps;
use ficus_rules::log_out::{Heard, LogOuts};
use ficus_rules::wire::ReportAnswer;

use super::support::{World, full, now, soaking, told};

const SECRET: &str = "strangler-test-secret-key";

fn secrets() -> Secrets {
    Secrets { keys: vec![SECRET.into()] }
}

fn session(json: &str) -> String {
    format!("session={}", dumps(json.as_bytes(), SESSION, &secrets(), now()))
}

/// A gateway that keeps its state in a folder.
async fn world(folder: &Path) -> World {
    let world = World::with(|config| {
        let mut flask = FlaskIdentity::new(vec![SECRET.into()]);
        flask.cache_for = Duration::from_millis(100);
        config.identity.flask = Some(flask);
        config.snapshot_file = Some(folder.join("gateway-snapshot.json"));
    })
    .await;
    world.serve(soaking());
    world
}

async fn told_by(world: &World, cookie: &str) -> Option<String> {
    told(world, &[("cookie", cookie)]).await.map(|claims| claims["sub"].as_str().unwrap().to_owned())
}

/// Through the world's monolith, whose answer does this to cookies.
async fn answered(world: &World, cookie: &str, lines: &[String]) {
    let lines = lines.iter().map(|line| ("set-cookie", &*line.clone().leak()));
    *world.legacy.state.headers.lock().unwrap() = lines.collect();
    world.send("GET", "/elsewhere/thing", &[("cookie", cookie)], full("")).await;
}

/// As the orchestrator does, as often as it takes.
fn exchange(gateways: &[&Gateway], list: &str, known: &mut LogOuts) {
    for gateway in gateways.iter().cycle().take(gateways.len() * 3) {
        let report = gateway.report();
        for word in report.log_outs {
            known.take(word, now());
        }
        let heard = report.log_outs_heard;
        let (log_outs, through) = known.after(if heard.list == list { heard.through } else { 0 });
        let log_outs_heard = Heard { list: list.to_owned(), through };
        let generation = gateway.generation();
        gateway.answered(&ReportAnswer { generation, valid_for_ms: 60_000, log_outs, log_outs_heard, ..ReportAnswer::default() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_cookie_is_nobodys_at_any_gateway_nor_after_a_restart() {
    let (here, there, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, mut other, mut list) = (world(here.path()).await, world(there.path()).await, LogOuts::default());
    let (mine, another) = (session(r#"{"_user_id":"42"}"#), session(r#"{"_user_id":"42","other":1}"#));
    assert_eq!(told_by(&other, &mine).await.as_deref(), Some("42"));
    answered(&one, &mine, &["session=; Max-Age=0; Path=/".to_owned()]).await;
    assert_eq!(told_by(&other, &mine).await.as_deref(), Some("42"), "it was not told yet: else nothing is shown below");
    exchange(&[&one.gateway, &other.gateway], "first", &mut list);
    assert_eq!(told_by(&other, &mine).await, None, "at once, whatever it believed");
    assert_eq!(told_by(&other, &another).await.as_deref(), Some("42"), "another browser");
    // GIVEN a restart, and nobody who tells
    tokio::task::block_in_place(|| other.stop());
    let other = world(there.path()).await;
    assert_eq!([told_by(&other, &mine).await, told_by(&other, &another).await], [None, Some("42".to_owned())]);
    // AND an orchestrator that was started anew, and a gateway that is new
    let (third, mut next) = (world(new.path()).await, LogOuts::default());
    assert_eq!(told_by(&third, &mine).await.as_deref(), Some("42"));
    exchange(&[&other.gateway, &third.gateway], "second", &mut next);
    assert_eq!(told_by(&third, &mine).await, None);
}

/// Flask-Login gives one user the same cookie after each log-in.
#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_remembers_is_ended_everywhere_until_it_is_given_out_once_more() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other, mut list) = (world(here.path()).await, world(there.path()).await, LogOuts::default());
    let remembered = format!("remember_token={}", remember("42", &secrets()));
    answered(&one, &remembered, &["remember_token=; Max-Age=0; Path=/".to_owned()]).await;
    exchange(&[&one.gateway, &other.gateway], "first", &mut list);
    assert_eq!([told_by(&one, &remembered).await, told_by(&other, &remembered).await], [None, None]);
    answered(&other, "a=1", &[format!("{remembered}; Path=/; HttpOnly")]).await;
    exchange(&[&other.gateway, &one.gateway], "first", &mut list);
    assert_eq!([told_by(&one, &remembered).await, told_by(&other, &remembered).await], [Some("42".to_owned()), Some("42".to_owned())]);
}

/// The process that follows begins while this one is still there.
#[tokio::test(flavor = "multi_thread")]
async fn who_makes_way_leaves_what_it_knows_to_the_one_that_follows() {
    let folder = tempfile::tempdir().unwrap();
    let old = world(folder.path()).await;
    let mine = session(r#"{"_user_id":"42"}"#);
    answered(&old, &mine, &["session=; Max-Age=0; Path=/".to_owned()]).await;
    let aside = old.gateway.clone();
    let stepping = tokio::spawn(async move { aside.step_aside().await });
    while !stepping.is_finished() {
        old.confirm();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let next = world(folder.path()).await;
    assert_eq!(told_by(&next, &mine).await, None);
}
